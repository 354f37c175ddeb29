# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Repositories read at one of their commits, and what hostile ones cannot do."""

import os
import resource
import subprocess
import zlib
from hashlib import sha1
from pathlib import Path

import pytest
from test_corpus_history import BOB, Repository, Trap, naive_git, repository, trap
from test_corpus_past import TWO, changed, commit

from fedcode.corpus import Screen, asset_of, named, read, reading, with_owners, without_refused
from fedcode.corpus.filters import Erased, new_salt
from fedcode.corpus.past import Rules, look, with_past
from fedcode.corpus.revisions import revision
from fedcode.errors import CorpusError
from fedcode.filters import FilterSettings
from fedcode.record import PrivacyUnit

__all__ = ["repository", "trap"]  # fixtures


@pytest.fixture
def made(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "code")
    commit(found, "2020-01-01", "Begin", a=("def f():", "    return 1"))
    commit(found, "2020-03-01", "More", BOB, b=("def g():", "    return 2"))
    found.git("tag", "v1", "HEAD~1")
    return found


def paths(place: str | Path, **options) -> list[str]:
    return [file.path for file in read(f"git:{place}", "x", **options).files]


def reasons(place: str | Path) -> dict[str, str]:
    return {one.path: one.reason for one in read(f"git:{place}", "x").skipped}


def test_what_is_committed_is_read_not_the_work_tree(made) -> None:
    made.write("a.py", "x = 1")
    made.write("c.py", "y = 1")
    assert paths(made.root) == ["a.py", "b.py"]
    (first, _) = read(f"git:{made.root}", "x").records("function")
    assert first.tokens[:3] == ("def", "f", "(")


@pytest.mark.parametrize("at", ["v1", "HEAD~1", "2020-02-01", "2020-02-01T10:00", "2020-03-01"])
def test_a_commit_can_be_named(made, at) -> None:
    assert paths(f"{made.root}@{at}") == ["a.py"]


def test_a_bare_repository_will_do(made, tmp_path) -> None:
    bare = tmp_path / "bare@home.git"
    made.git("clone", "-q", "--bare", str(made.root), str(bare))
    assert paths(bare) == paths(made.root)
    assert paths(f"{bare}@v1") == ["a.py"]
    assert asset_of(f"git:{bare}") == asset_of(f"git:{made.root}@v1")
    assert asset_of(f"git:{bare}") == asset_of(f"path:{made.root}")


def test_what_was_read_comes_from_the_cache(made, tmp_path, monkeypatch) -> None:
    first = read(f"git:{made.root}", "x", cache=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr("fedcode.corpus.reading.cut", None)
        assert read(f"git:{made.root}", "x", cache=tmp_path / "cache") == first


def test_a_second_reading_reads_what_is_new(made, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "cache"
    made.git("tag", "v2")
    read(f"git:{made.root}@v2", "x", cache=folder, screen=Screen())
    made.write("b.py", "def g():", f'    return "{"AKIA" + "IOSFODNN7EXAMPLF"}"', "def h(): pass")
    commit(made, "2020-05-01", "More", BOB, c=("def i(): pass",))
    cuts = []
    cut = reading.cut

    def counted(path, *rest):
        cuts.append(path)
        return cut(path, *rest)

    monkeypatch.setattr(reading, "cut", counted)
    read(f"git:{made.root}", "x", cache=folder, screen=Screen())
    assert cuts == ["b.py", "c.py"]
    made.write("c.py", "def i(): return 1")
    commit(made, "2020-06-01", "Once more", BOB)
    again = read(f"git:{made.root}", "x", cache=folder, screen=Screen())
    assert cuts == ["b.py", "c.py", "c.py"]
    assert again == read(f"git:{made.root}", "x", screen=Screen())
    assert again.taken_by() == {"secrets": 1}, "what filters took is known, too"


def test_several_processes_read_the_same(made) -> None:
    commit(made, "2020-04-01", "Many", **{f"m{n}": (f"def f{n}(): pass",) for n in range(80)})
    assert read(f"git:{made.root}", "x", workers=2) == read(f"git:{made.root}", "x")


def test_authors_are_those_of_the_commit(made, tmp_path) -> None:
    commit(made, "2020-04-01", "More", BOB, a=("def f():", *(f"    x = {n}" for n in range(9))))

    def authors(place: str) -> list[str]:
        corpus = read(f"git:{place}", "x")
        for _ in range(2):  # the second comes from the cache
            owned = with_owners(
                corpus, f"git:{place}", PrivacyUnit.AUTHOR, cache=tmp_path / "cache"
            )
        return [record.author for record in owned.records("function")]

    assert authors(f"{made.root}@2020-03-02") == ["1", "2"]
    assert authors(str(made.root)) == ["1", "1"]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("@nope", "has no commit nope"),
        ("@--all", "has no commit --all"),
        ("@2019-01-01", "has no commit before 2019-01-01"),
        ("@2020-13-01", "2020-13-01 is no date"),
        ("/a.py", "is not there"),
        ("x", "is not there"),
    ],
)
def test_commits_that_are_not_there(made, at, message) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        read(f"git:{made.root}{at}", "x")
    assert caught.value.hint


def test_a_folder_that_is_no_repository(tmp_path) -> None:
    with pytest.raises(CorpusError, match="is no git repository") as caught:
        read(f"git:{tmp_path}", "x")
    assert "path:DIR" in str(caught.value.hint)


def test_a_repository_without_commits(tmp_path) -> None:
    made = Repository(tmp_path / "code")
    with pytest.raises(CorpusError, match="has no commit"):
        read(f"git:{made.root}", "x")


# Hostile repositories.


def test_nothing_runs_where_a_commit_is_read(trap: Trap, monkeypatch) -> None:
    root = trap.repository.root
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", trap.program("inherited"))
    corpus = read(f"git:{root}", "x")
    place = revision(str(root))
    with_past(corpus, look(place, Rules()), Rules())
    with_owners(corpus, f"git:{root}", PrivacyUnit.AUTHOR)
    assert trap.sprung() == set()


def test_a_missing_file_is_named_and_not_fetched(trap: Trap) -> None:
    root = trap.repository.root
    trap.lose("HEAD:c.py")
    assert reasons(root) == {"c.py": "its repository lacks it"}
    assert trap.sprung() == set()


def test_links_and_repositories_in_it_are_named_and_not_followed(made, tmp_path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("def secret(): pass\n")
    (made.root / "link.py").symlink_to(outside)
    (made.root / "dir").symlink_to(tmp_path)
    other = Repository(tmp_path / "other")
    commit(other, "2020-01-01", "Other", d=("def h(): pass",))
    made.git(
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        f"file://{other.root}",
        "sub",
    )
    commit(made, "2020-04-01", "Links")
    assert paths(made.root) == ["a.py", "b.py"]
    assert reasons(made.root) == {
        "link.py": "symbolic link",
        "sub": "a repository of its own: name it as a source",
    }


def test_names_that_cannot_be_written_down(made) -> None:
    for name in (b"\xff.py", b"a\nb.py", b"\x1b[31m.py"):
        (Path(os.fsdecode(bytes(made.root) + b"/" + name))).write_text("def f(): pass\n")
    commit(made, "2020-04-01", "Names")
    assert paths(made.root) == ["a.py", "b.py"]
    assert len(reasons(made.root)) == 3
    assert all(path.isprintable() for path in reasons(made.root))
    look(revision(str(made.root)), Rules())


def declared(root: Path, size: int) -> str:
    """A blob that says it is larger than it is."""
    head = b"blob %d\0" % size
    name = sha1(head, usedforsecurity=False).hexdigest()
    file = root / ".git" / "objects" / name[:2] / name[2:]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(zlib.compress(head + b"x = 1\n"))
    return name


def test_a_file_of_ten_gigabytes_is_not_read(made) -> None:
    blob = declared(made.root, 10 << 30)
    made.git("update-index", "--add", "--cacheinfo", f"100644,{blob},big.py")
    made.git("commit", "-q", "-m", "Big")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert reasons(made.root) == {"big.py": "over 200,000 characters"}
    assert paths(made.root) == ["a.py", "b.py"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert after <= max(before, 1 << 20), "in KiB"


def test_a_history_that_holds_what_cannot_be_read_is_said(made) -> None:
    blob = declared(made.root, 10 << 30)
    made.git("update-index", "--add", "--cacheinfo", f"100644,{blob},big.py")
    made.git("commit", "-q", "-m", "Big")
    with pytest.raises(CorpusError, match="git cannot read the history"):
        look(revision(str(made.root)), Rules())


def test_replaced_commits_and_grafts_change_nothing(made) -> None:
    before = paths(made.root)
    other = made.git("commit-tree", "-m", "other", "HEAD~1^{tree}").strip()
    made.git("replace", "HEAD", other)
    assert naive_git(made.root, "ls-files", "--with-tree=HEAD").stdout
    (made.root / ".git" / "info").mkdir(exist_ok=True)
    head = made.git("--no-replace-objects", "rev-parse", "HEAD").strip()
    (made.root / ".git" / "info" / "grafts").write_text(f"{head}\n")
    assert paths(made.root) == before
    assert len(list(look(revision(str(made.root)), Rules()).times)) == 2


def test_a_shallow_clone_is_refused(made, tmp_path) -> None:
    cut = tmp_path / "cut"
    made.git("clone", "-q", "--depth=1", f"file://{made.root}", str(cut))
    with pytest.raises(CorpusError, match="is cut off") as caught:
        read(f"git:{cut}", "x")
    assert "unshallow" in str(caught.value.hint)


def many_files(root: Path, number: int) -> None:
    """One commit of so many files, all of one line, in folders of a thousand."""
    feed = ["blob\nmark :1\ndata 6\nx = 1\n\n", "commit refs/heads/main\n"]
    feed.append("committer A <a@example.org> 1577836800 +0000\ndata 1\nx\n")
    feed += [f"M 100644 :1 d{n // 1000}/f{n}.py\n" for n in range(number)]
    subprocess.run(["git", "init", "-q", "--bare", str(root)], check=True)
    environment = {**os.environ, "GIT_DIR": str(root)}
    command = ["git", "fast-import", "--quiet"]
    subprocess.run(command, input="".join(feed).encode(), env=environment, check=True)
    (root / "HEAD").write_text("ref: refs/heads/main\n")


def test_many_files_of_the_same_text(tmp_path) -> None:
    many_files(tmp_path / "many.git", 5_000)
    corpus = read(f"git:{tmp_path / 'many.git'}", "x")
    assert [file.path for file in corpus.files] == ["d0/f0.py"]
    assert len(corpus.skipped) == 4_999


@pytest.mark.slow
def test_a_million_files(tmp_path) -> None:
    many_files(tmp_path / "many.git", 1_000_000)
    corpus = read(f"git:{tmp_path / 'many.git'}", "x", workers=2)
    assert len(corpus.files) == 1
    assert len(corpus.skipped) == 999_999
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 << 20, "in KiB"


def test_a_fix_in_a_bare_repository_labels_as_well(made, tmp_path) -> None:
    commit(made, "2020-04-01", "Begin", c=TWO)
    commit(made, "2020-05-01", "Fix the sum", c=changed(TWO, 1, "    b = a + 2"))
    bare = tmp_path / "bare.git"
    made.git("clone", "-q", "--bare", str(made.root), str(bare))
    place, rules = f"{bare}@2020-04-15", Rules()
    found = with_past(read(f"git:{place}", "x"), look(revision(place), rules), rules)
    assert {r.name: r.label for r in found.records("function")} == {
        "f": 0,
        "g": 0,
        "first": 1,
        "second": 0,
    }


# Filters, where git gives the content.


def screened(place: str | Path, screen: Screen | None = None):
    return read(f"git:{place}", "x", screen=screen or Screen())


def test_a_folder_and_its_commit_are_filtered_alike(made) -> None:
    gpl = "SPDX-License-Identifier: GPL-3.0-only"
    for path, lines in {
        ".fedcodeignore": ("ignored.py", "gone/"),
        ".gitattributes": ("made.py linguist-generated", "theirs.py linguist-vendored=true"),
        "ignored.py": ("x = 1",),
        "gone/c.py": ("x = 2",),
        "made.py": ("x = 3",),
        "theirs.py": ("x = 4",),
        "copyleft.py": (f"# {gpl}", "x = 5"),
        "bundled/thirdparty/d.py": ("x = 6",),
        "written.py": ("# Code generated by protoc. DO NOT EDIT.", "x = 7"),
        "secret.py": ("def f():", f'    key = "{"AKIA" + "IOSFODNN7EXAMPLF"}"'),
        "deep/.fedcodeignore": ("!x.py", "y.py"),
        "deep/y.py": ("x = 8",),
        "deep/z.py": ("x = 9",),
    }.items():
        made.write(path, *lines)
    commit(made, "2020-04-01", "Filters")
    of_commit, of_folder = screened(made.root), read(f"path:{made.root}", "x", screen=Screen())
    assert [f.path for f in of_commit.files] == [f.path for f in of_folder.files]
    assert of_commit.taken == of_folder.taken
    assert [f.path for f in of_commit.files] == ["a.py", "b.py", "deep/z.py"]
    assert set(of_commit.taken_by()) == {"ignored", "generated", "vendored", "licences", "secrets"}


def test_an_ignore_file_that_cannot_be_read_is_said(made) -> None:
    (made.root / ".fedcodeignore").write_bytes(b"\xff")
    commit(made, "2020-04-01", "Ignore")
    with pytest.raises(CorpusError, match="fedcodeignore cannot be read"):
        screened(made.root)


def test_a_licence_file_holds_below_its_folder(made) -> None:
    made.write("lib/COPYING", "GNU GENERAL PUBLIC LICENSE", "Version 3, 29 June 2007")
    made.write("lib/c.py", "x = 1")
    commit(made, "2020-04-01", "Licence")
    assert [f.path for f in screened(made.root).files] == ["a.py", "b.py"]


def test_authors_of_the_repository_are_replaced_by_name(made) -> None:
    made.write("c.py", 'x = "Zed Q"', "def f(): return 1")
    made.git("add", "-A")
    made.git(
        "-c", "user.name=Zed Q", "commit", "-q", "-m", "x", "--author", "Zed Q <z@example.org>"
    )
    tokens = {t for r in screened(made.root).records() for t in r.tokens}
    assert '"Zed Q"' not in tokens
    assert '"Zed Q"' in {t for r in read(f"git:{made.root}", "x").records() for t in r.tokens}


def test_what_a_model_or_who_is_refused_wrote_goes(made) -> None:
    commit(made, "2020-04-01", "By\n\nCo-authored-by: Claude Opus <x@example.org>", c=TWO)
    mixed = (*TWO, "", "", "def third():", "    return 3")
    commit(made, "2020-05-01", "More", BOB, c=mixed)
    place = f"git:{made.root}"
    found = without_refused(screened(made.root), place, Screen())
    assert sorted(r.unit for r in found.records()) == ["a.py::f", "b.py::g"]
    assert found.taken_by() == {"models": 1}
    erased = Erased(new_salt()).having("author", BOB).denied()
    less = without_refused(
        read(place, "x"), place, Screen(FilterSettings(models=False), erased=erased)
    )
    assert sorted(r.name for r in less.records("function")) == ["f", "first", "second"]
    off = Screen(FilterSettings(models=False))
    assert without_refused(screened(made.root), place, off) == screened(made.root)


def test_a_revision_without_a_name_is_not_the_last_one(made) -> None:
    with pytest.raises(CorpusError, match="names no revision after the @"):
        read(f"git:{made.root}@", "x")


def test_a_path_is_named_as_what_it_is(made, tmp_path) -> None:
    bare = tmp_path / "bare.git"
    made.git("clone", "-q", "--bare", str(made.root), str(bare))
    (tmp_path / "plain").mkdir()
    assert named(str(made.root)) == f"git:{made.root}"
    assert named(f"{bare}@v1") == f"git:{bare}@v1"
    assert named(str(tmp_path / "plain")) == f"path:{tmp_path / 'plain'}"
    assert named("x/a-1.0-py3-none-any.whl") == "wheel:x/a-1.0-py3-none-any.whl"
    assert named("package:torch") == "package:torch"
