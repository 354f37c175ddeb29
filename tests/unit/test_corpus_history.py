# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Authors and repositories of files, and that a hostile repository makes nothing run."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from fedcode.corpus import git, read, with_owners
from fedcode.errors import CacheDamaged, CorpusError
from fedcode.record import PrivacyUnit, units

ANN, BOB = "ann@example.org", "bob@example.org"


class Repository:
    """A work tree in which several people commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q")

    def git(self, *words: str, author: str = ANN, when: str = "") -> str:
        return naive_git(self.root, *words, author=author, when=when).stdout

    def write(self, path: str, *lines: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def commit(self, author: str, **files: tuple[str, ...]) -> None:
        for name, lines in files.items():
            self.write(f"{name}.py", *lines)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x", author=author)


def naive_git(
    root: Path, *words: str, author: str = ANN, check: bool = True, when: str = ""
) -> subprocess.CompletedProcess[str]:
    """Git as anybody would run it, whatever the repository's configuration says."""
    name = author.partition("@")[0] or "somebody"
    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    people = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name), ("EMAIL", author))
    }
    if when:
        people |= {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    environment = own | people | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", "-C", str(root), "-c", "init.defaultBranch=main", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=check,
        timeout=60,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Ann wrote most of a.py, Bob most of b.py and, by one line, of c.py."""
    made = Repository(tmp_path / "code")
    made.commit(ANN, a=("x = 1", "y = 2", "z = 3"), b=("u = 1",), c=("p = 1", "q = 2"))
    made.commit("Bob@Example.ORG", a=("x = 1", "y = 2", "z = 4"), b=("v = 1", "w = 2"))
    made.commit(BOB, c=("p = 1", "r = 2", "s = 3"))
    return made


def author(made: Repository, path: str) -> str:
    history = git.checked_out(made.root)
    assert history is not None
    return git.main_author(history, path)


def owned(root: Path, unit=PrivacyUnit.AUTHOR, **options):
    source = f"path:{root}"
    return with_owners(read(source, "ours"), source, unit, **options)


def authors(root: Path, **options) -> dict[str, str]:
    return {r.path: r.author for r in owned(root, **options).records()}


def test_the_main_author_wrote_most_lines(repository) -> None:
    assert [author(repository, f"{name}.py") for name in "abc"] == [ANN, BOB, BOB]


def test_of_two_who_wrote_as_much_it_is_the_first_by_name(repository) -> None:
    repository.commit(BOB, tie=("one = 1",))
    repository.commit(ANN, tie=("one = 1", "two = 2"))
    assert author(repository, "tie.py") == ANN


def test_white_space_is_nobodys_line(repository) -> None:
    repository.commit(BOB, a=("x  =  1", "y  =  2", "z = 4"))
    assert author(repository, "a.py") == ANN


def test_the_repositorys_own_mailmap_counts(repository) -> None:
    repository.write(".mailmap", f"Ann <{ANN}> <{BOB}>")
    repository.commit(ANN)
    assert author(repository, "b.py") == ANN


def test_authors_are_numbers_in_the_order_of_their_files(repository) -> None:
    assert authors(repository.root) == {"a.py": "1", "b.py": "2", "c.py": "2"}
    found = units(owned(repository.root).records(), PrivacyUnit.AUTHOR)
    assert [{r.path for r in unit} for unit in found] == [{"a.py"}, {"b.py", "c.py"}]


def test_a_source_may_be_a_part_of_a_repository(repository) -> None:
    repository.write("inner/d.py", "d = 1")
    repository.commit(BOB)
    assert authors(repository.root / "inner") == {"d.py": "1"}


def test_several_processes_find_the_same(repository) -> None:
    assert authors(repository.root, workers=3) == authors(repository.root)


def test_repositories_are_told_apart_by_their_roots(tmp_path) -> None:
    for name in ("one", "two", "two/deep/three"):
        Repository(tmp_path / name).commit(ANN, m=(f"{name.replace('/', '_')} = 1",))
    Repository(tmp_path / "two").write("lib/n.py", "n = 1")
    (tmp_path / "plain.py").write_text("plain = 1\n")
    found = {r.path: r.repository for r in owned(tmp_path, PrivacyUnit.REPOSITORY).records()}
    assert found == {
        "one/m.py": "one",
        "plain.py": "",
        "two/deep/three/m.py": "two/deep/three",
        "two/lib/n.py": "two",
        "two/m.py": "two",
    }


def test_an_author_in_two_repositories_is_one_unit(tmp_path) -> None:
    for name in ("one", "two"):
        Repository(tmp_path / name).commit(ANN, m=(f"{name} = 1",))
    assert authors(tmp_path) == {"one/m.py": "1", "two/m.py": "1"}


def test_without_git_all_is_one_repository(tmp_path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    assert {r.repository for r in owned(tmp_path, PrivacyUnit.REPOSITORY).records()} == {""}
    package = read("package:networkx", "nx", max_tokens=2_000)
    one = with_owners(package, "package:networkx", PrivacyUnit.REPOSITORY)
    assert len(units(one.records(), PrivacyUnit.REPOSITORY)) == 1


@pytest.mark.parametrize("unit", [PrivacyUnit.FUNCTION, PrivacyUnit.FILE])
def test_where_nobody_asks_for_owners_git_is_not_run(repository, unit, monkeypatch) -> None:
    monkeypatch.setattr(git, "_run", None)
    assert owned(repository.root, unit) == read(f"path:{repository.root}", "ours")


def refused(root: Path, **options) -> str:
    with pytest.raises(CorpusError) as caught:
        authors(root, **options)
    assert caught.value.hint
    return str(caught.value)


def test_a_file_that_is_not_tracked_has_no_author(repository) -> None:
    repository.write("new.py", "new = 1")
    assert refused(repository.root) == (
        "ours: no history says who wrote 1 of 4 files (new.py, for one)"
    )


def test_a_folder_or_package_without_history_has_no_author(tmp_path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    assert "no history says who wrote 1 of 1 files" in refused(tmp_path)
    Repository(tmp_path)
    assert "no history says who wrote 1 of 1 files" in refused(tmp_path), "nothing committed"
    package = read("package:networkx", "nx", max_tokens=2_000)
    with pytest.raises(CorpusError, match="no history says"):
        with_owners(package, "package:networkx", PrivacyUnit.AUTHOR)


def test_an_address_that_is_empty_is_no_author(repository) -> None:
    repository.write("d.py", "d = 1")
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "x", author="")
    assert "d.py" in refused(repository.root)


def test_a_history_that_is_cut_off_is_refused(repository, tmp_path) -> None:
    """Its oldest commit would be said to have written everything before it."""
    naive_git(
        tmp_path, "clone", "-q", "--depth=1", f"file://{repository.root}", str(tmp_path / "cut")
    )
    assert "is cut off" in refused(tmp_path / "cut")


def test_git_that_is_missing_or_too_slow_is_said(repository, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(git, "_PATIENCE", 1e-4)
        assert "git took more than" in refused(repository.root)
    monkeypatch.setenv("PATH", str(repository.root))
    assert refused(repository.root) == "git cannot be started"


def test_a_history_that_is_damaged_is_said(repository) -> None:
    blob = repository.git("rev-parse", "HEAD~2:c.py").strip()
    (repository.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert "git cannot read the history" in refused(repository.root)


def test_authors_come_from_the_cache_until_a_commit(repository, tmp_path, monkeypatch) -> None:
    cache = tmp_path / "cache"
    first = authors(repository.root, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(git, "main_author", None)
        assert authors(repository.root, cache=cache) == first
    text = "".join(str(p.read_bytes()) for p in cache.rglob("*") if p.is_file())
    assert "example" not in text
    repository.git("commit", "-q", "--amend", "-m", "x", "--author", f"Ann <{ANN}>")
    assert authors(repository.root, cache=cache) == first | {"c.py": "1"}


def test_a_cache_that_was_changed_is_refused(repository, tmp_path) -> None:
    cache = tmp_path / "cache"
    authors(repository.root, cache=cache)
    (file,) = (cache / "authors").iterdir()
    content = bytearray(file.read_bytes())
    content[-5] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(CacheDamaged):
        authors(repository.root, cache=cache)


def test_replaced_and_grafted_commits_do_not_change_who_wrote(repository) -> None:
    before = authors(repository.root)
    last = repository.git("rev-parse", "HEAD").strip()
    forged = repository.git("commit-tree", "HEAD^{tree}", "-m", "x", author=ANN).strip()
    repository.git("replace", last, forged)
    (repository.root / ".git" / "info").mkdir(exist_ok=True)
    (repository.root / ".git" / "info" / "grafts").write_text(f"{last}\n")
    assert authors(repository.root) == before


class Trap:
    """Programs that leave a mark when they run, named wherever a configuration can name one."""

    def __init__(self, repository: Repository) -> None:
        self.repository, self.marks = repository, repository.root.parent / "marks"
        self.marks.mkdir()
        self.programs = repository.root.parent / "programs"
        self.programs.mkdir()

    def program(self, name: str) -> str:
        path = self.programs / name
        path.write_text(f'#!/bin/sh\ntouch "{self.marks}/{name}"\ncat "$1" 2>/dev/null\nexit 1\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def sprung(self) -> set[str]:
        names = {mark.name for mark in self.marks.iterdir()}
        for mark in self.marks.iterdir():
            mark.unlink()
        return names

    def set(self, **settings: str) -> None:
        for key, value in settings.items():
            self.repository.git("config", key.replace("__", "."), value)

    def lose(self, file: str) -> None:
        """An object is missing, and a program of the repository's own would fetch it."""
        root = self.repository.root
        self.set(
            core__repositoryFormatVersion="1",
            extensions__partialClone="evil",
            remote__evil__url=str(root),
            remote__evil__promisor="true",
            remote__evil__uploadpack=self.program("uploadpack"),
            core__fsmonitor="false",
        )
        blob = self.repository.git("rev-parse", file).strip()
        (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()


@pytest.fixture
def trap(repository) -> Trap:
    made = Trap(repository)
    attributes = "*.py diff=evil filter=evil\n.mailmap diff=evil filter=evil\n"
    (repository.root / ".gitattributes").write_text(attributes)
    repository.commit(ANN)
    hooks = repository.root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc"):
        (hooks / hook).write_text(Path(made.program("hook")).read_text())
        (hooks / hook).chmod(0o755)
    made.set(
        core__fsmonitor=made.program("fsmonitor"),
        core__pager=made.program("pager"),
        core__sshCommand=made.program("ssh"),
        core__editor=made.program("editor"),
        diff__evil__textconv=made.program("textconv"),
        diff__evil__command=made.program("command"),
        diff__external=made.program("external"),
        filter__evil__clean=made.program("clean"),
        filter__evil__smudge=made.program("smudge"),
        filter__evil__process=made.program("process"),
        gpg__program=made.program("gpg"),
        log__showSignature="true",
        pager__blame=made.program("pager"),
        pager__log=made.program("pager"),
    )
    return made


def test_a_hostile_repository_makes_nothing_run(trap, monkeypatch) -> None:
    root = trap.repository.root
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", trap.program("inherited"))
    assert authors(root) == {"a.py": "1", "b.py": "2", "c.py": "2"}
    assert trap.sprung() == set()
    for words in ("blame a.py", "status", "diff HEAD~1", "update-ref refs/heads/y HEAD"):
        (root / "a.py").touch()
        naive_git(root, *words.split(), check=False)
    assert {"fsmonitor", "textconv", "process", "hook"} <= trap.sprung(), "the trap is none"


@pytest.mark.parametrize("protected", [True, False])
def test_a_missing_object_is_not_fetched_by_the_repositorys_program(trap, protected) -> None:
    root = trap.repository.root
    trap.lose("HEAD~2:c.py")
    if protected:
        assert "git cannot read the history" in refused(root)
        assert trap.sprung() == set()
    else:
        naive_git(root, "blame", "--no-textconv", "HEAD", "--", "c.py", check=False)
        assert trap.sprung() == {"uploadpack"}, "the trap is none"


def test_the_repository_does_not_say_where_its_files_lie(trap, tmp_path) -> None:
    other = Repository(tmp_path / "other")
    other.commit(BOB, a=("other = 1",))
    before = authors(trap.repository.root)
    trap.set(core__worktree=str(other.root), blame__ignoreRevsFile=".git-blame-ignore-revs")
    assert authors(trap.repository.root) == before
    assert trap.sprung() == set()


def test_a_linked_work_tree_has_its_repositorys_history(repository, tmp_path) -> None:
    repository.git("worktree", "add", "-q", str(tmp_path / "linked"), "HEAD")
    assert authors(tmp_path / "linked") == authors(repository.root)


def test_names_of_objects_may_be_longer(tmp_path) -> None:
    made = Repository(tmp_path)
    (tmp_path / ".git").rename(tmp_path / "old")
    made.git("init", "-q", "--object-format=sha256")
    made.commit(BOB, a=("a = 1",))
    assert author(made, "a.py") == BOB
