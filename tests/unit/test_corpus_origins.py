# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A history's commits and every line's origin, beside what git itself says of each file."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from test_corpus_history import ANN, BOB, Repository, naive_git

from fedcode.corpus import git
from fedcode.corpus.changes import LONGEST_HUNK
from fedcode.corpus.log import Commit, changes, commits, order
from fedcode.corpus.origins import origin, walk
from fedcode.errors import CorpusError

PYTHON = ["*.py"]
REPOSITORY = os.environ.get("FEDCODE_REPOSITORY")
"""A clone on which the slow form is tried."""


@pytest.fixture
def made(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "code")


def history(made: Repository) -> git.History:
    found = git.checked_out(made.root)
    assert found is not None
    return found


def told(made: Repository) -> list[Commit]:
    """All commits, with the text of their lines but for merges."""
    past = history(made)
    places = order(past, PYTHON)
    found = list(commits(past, PYTHON, places))
    plain = [one.id for one in found if len(one.parents) < 2]
    texts = dict(zip(plain, changes(past, PYTHON, plain, text=True), strict=True))
    return [replace(one, changes=texts.get(one.id, one.changes)) for one in found]


def blamed(root: Path, path: str) -> list[str]:
    """The commit of each line, as anybody's git says it."""
    said = naive_git(root, "blame", "-w", "-s", "-l", "--root", "HEAD", "--", path).stdout
    return [line[:40] for line in said.splitlines()]


def agree(made: Repository) -> int:
    """That every file of HEAD has the origins that git says; how many lines there are."""
    steps = []
    for step in walk(history(made), PYTHON):
        steps.append(step.commit.id)
        last = step.files
    listed = naive_git(made.root, "ls-files", "-z", "--", *PYTHON).stdout.split("\0")[:-1]
    assert sorted(last) == sorted(listed)
    for path in listed:
        assert [steps[origin(step.starts, n)] for n in last[path].numbers] == blamed(
            made.root, path
        ), path
    return sum(len(one.numbers) for one in last.values())


def test_a_commit_is_told_with_its_lines(made) -> None:
    made.commit(ANN, a=("one", "two", "three"))
    made.commit(BOB, a=("one", "2", "3", "three"), b=("new",))
    first, second = told(made)
    assert (first.parents, first.author, second.author) == ((), ANN, BOB)
    assert second.parents == (first.id,)
    assert second.subject == "x"
    (a, b) = second.changes
    assert (a.path, a.before, b.path, b.before, b.old) == ("a.py", "a.py", "b.py", "", "")
    (hunk,) = a.hunks
    assert (hunk.start, hunk.old, hunk.new) == (1, (b"two",), (b"2", b"3"))
    assert [(h.start, h.taken, h.new) for h in b.hunks] == [(0, 0, (b"new",))]


def test_what_is_added_stands_before_a_line(made) -> None:
    made.commit(ANN, a=("one", "two"))
    made.commit(ANN, a=("one", "and", "two"))
    (hunk,) = told(made)[1].changes[0].hunks
    assert (hunk.start, hunk.taken, hunk.added) == (1, 0, 1)


def test_lines_that_look_like_gits_own(made) -> None:
    made.commit(ANN, a=("x",))
    odd = (
        "\x01abc",
        ":100644 1",
        "@@ -1 +1 @@",
        "--- a",
        "+++ b",
        "index 1..2",
        "\\ No",
        "diff --git",
    )
    made.commit(ANN, a=odd)
    made.write("c.py", "y")
    made.git("add", "-A")
    made.git("commit", "-q", "-m", f"subject\n\n{chr(10).join(odd[1:])}\n\x01 end")
    found = told(made)
    assert len(found) == 3
    assert found[1].changes[0].hunks[0].new == tuple(line.encode() for line in odd)
    assert found[2].message.endswith("\x01 end")
    assert agree(made) == len(odd) + 1


@pytest.mark.parametrize("last", ["", "\n"])
def test_a_last_line_without_its_end(made, last) -> None:
    made.commit(ANN, a=("one", "two"))
    (made.root / "a.py").write_text("one\ntwo\nthree" + last)
    made.commit(BOB)
    (made.root / "a.py").write_text("one\n2" + last)
    made.commit(BOB)
    assert agree(made) == 2


def test_names_of_files_may_be_anything(made) -> None:
    names = ("ä ö", 'quo"te', "tab\there", "back\\slash", "new\nline", "-dash", "d/e")
    for name in names:
        made.write(f"{name}.py", "x = 1", "y = 2")
    made.commit(ANN)
    made.write("tab\there.py", "x = 1", "y = 3")
    made.commit(BOB)
    found = told(made)
    assert {change.path for change in found[0].changes} == {f"{name}.py" for name in names}
    assert agree(made) == 14


def test_a_name_that_is_no_text(made) -> None:
    made.commit(ANN, a=("x",))
    (made.root / os.fsdecode(b"\xff.py")).write_text("x\n")
    made.commit(ANN)
    assert told(made)[1].changes[0].path == "\udcff.py"


def test_white_space_changes_no_line(made) -> None:
    made.commit(ANN, a=("if x:", "  y()", "z()"))
    made.commit(BOB, a=("if x:", "        y()", "z( )"))
    made.commit(BOB, a=("if x:", "        y()", "z( 1 )"))
    assert agree(made) == 3


def test_a_file_keeps_its_number_under_another_name(made) -> None:
    made.commit(ANN, a=("one", "two", "three", "four"), b=("other", "file", "here"))
    before = list(walk(history(made), PYTHON))[-1].files["a.py"].file
    made.git("mv", "a.py", "moved.py")
    made.commit(BOB)
    made.commit(BOB, moved=("one", "two", "three", "5"), a=("quite", "another"))
    *_, last = walk(history(made), PYTHON)
    assert last.files["moved.py"].file == before
    assert last.files["a.py"].file not in (before, last.files["b.py"].file)
    assert agree(made) == 4 + 3 + 2


def test_two_files_that_change_their_names(made) -> None:
    made.commit(ANN, a=("one", "two", "three"), b=("four", "five", "six"))
    for one, other in (("a", "t"), ("b", "a"), ("t", "b")):
        made.git("mv", f"{one}.py", f"{other}.py")
    made.commit(BOB)
    assert agree(made) == 6


def test_what_a_commit_takes_has_its_origins(made) -> None:
    made.commit(ANN, a=("one", "two", "three"))
    made.commit(BOB, a=("one", "2", "three"))
    made.commit(ANN, a=("one",))
    *_, last = walk(history(made), PYTHON)
    (change,), (before,) = last.commit.changes, last.before
    taken = [n for h in change.hunks for n in before.numbers[h.start : h.start + h.taken]]
    assert [origin(last.starts, n) for n in taken] == [1, 0]


def test_merges(made) -> None:
    """Of one side, of the other, of both, and of neither."""
    base = tuple(f"line {n}" for n in range(20))
    made.commit(ANN, a=base, b=base, c=base, gone=("x",))
    made.git("branch", "side")
    made.commit(ANN, a=("ours", *base), c=("ours", *base), mine=("x",))
    made.git("checkout", "-q", "side")
    made.commit(BOB, b=(*base, "theirs"), c=(*base, "theirs"), yours=("y",))
    made.git("rm", "-q", "gone.py")
    made.commit(BOB)
    made.git("merge", "-q", "-m", "both", "main")
    assert agree(made) == 21 + 21 + 22 + 2
    made.git("checkout", "-q", "main")
    made.commit(ANN, a=("more", "ours", *base))
    made.git("merge", "-q", "--no-commit", "side")
    made.write("c.py", "neither", *base[:10])
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "by hand")
    assert agree(made) == 22 + 21 + 11 + 2


def test_a_merge_of_three(made) -> None:
    base = tuple(f"line {n}" for n in range(9))
    made.commit(ANN, a=base, b=base)
    for name in ("one", "two"):
        made.git("checkout", "-q", "-b", name, "main")
        made.commit(BOB, **{name: (name,)}, **{"a" if name == "one" else "b": (*base, name)})
    made.git("checkout", "-q", "main")
    made.commit(ANN, c=("c",))
    made.git("merge", "-q", "-m", "all", "one", "two")
    assert agree(made) == 10 + 10 + 3


def test_histories_that_have_nothing_in_common(made) -> None:
    made.commit(ANN, a=("one",))
    made.git("checkout", "-q", "--orphan", "other")
    made.git("rm", "-qrf", ".")
    made.commit(BOB, b=("two",))
    made.git("merge", "-q", "--allow-unrelated-histories", "-m", "one", "main")
    assert agree(made) == 2


@pytest.mark.parametrize("seed", range(6))
def test_any_history(made, seed) -> None:
    """Branches, merges, renames and changes as they come."""
    draw = random.Random(seed)
    made.commit(ANN, **{name: tuple(f"{name} {n}" for n in range(12)) for name in "abc"})
    made.git("branch", "side")
    for turn in range(12):
        step(made, draw, turn)
    made.git("checkout", "-q", "main")
    assert agree(made) > 0


def step(made: Repository, draw: random.Random, turn: int) -> None:
    kind = draw.choice(["change", "change", "change", "switch", "merge", "rename"])
    here = made.git("branch", "--show-current").strip()
    other = "side" if here == "main" else "main"
    paths = sorted(made.root.glob("*.py"))
    if kind == "switch":
        made.git("checkout", "-q", other)
    elif kind == "merge":
        naive_git(made.root, "merge", "-q", "-X", "ours", "-m", "merge", other, check=False)
        made.git("add", "-A")
        naive_git(made.root, "commit", "-q", "-m", "merge", check=False)
    elif kind == "rename":
        path = draw.choice(paths)
        made.git("mv", path.name, f"{here}{turn}.py")
        made.commit(draw.choice([ANN, BOB]))
    else:
        path = draw.choice(paths)
        lines = path.read_text().splitlines()
        at = draw.randrange(len(lines) + 1)
        lines[at : at + draw.randrange(3)] = [f"{turn} {n}" for n in range(draw.randrange(1, 4))]
        made.write(path.name, *lines)
        made.commit(draw.choice([ANN, BOB]))


def test_of_a_hunk_that_nobody_wrote_by_hand_only_the_size_is_kept(made) -> None:
    made.commit(ANN, a=("one",))
    made.write("a.py", *("x" for _ in range(LONGEST_HUNK + 1)), "one")
    made.commit(ANN)
    (hunk,) = told(made)[1].changes[0].hunks
    assert (hunk.added, hunk.new) == (LONGEST_HUNK + 1, ())
    assert agree(made) == LONGEST_HUNK + 2


def test_an_object_that_is_missing_is_said(made) -> None:
    made.commit(ANN, a=("one",))
    made.commit(ANN, a=("two",))
    blob = made.git("rev-parse", "HEAD~1:a.py").strip()
    (made.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(CorpusError, match="cannot read the history") as caught:
        told(made)
    assert "partial clone" in caught.value.hint


def test_a_reader_that_stops_early_leaves_no_process(made) -> None:
    for number in range(5):
        made.commit(ANN, a=tuple(f"{number} {n}" for n in range(20_000)))
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = set(children.read_text().split())
    found = commits(history(made), PYTHON, order(history(made), PYTHON))
    next(found)
    found.close()
    assert set(children.read_text().split()) <= before


@pytest.mark.slow
@pytest.mark.skipif(not REPOSITORY, reason="FEDCODE_REPOSITORY names no clone")
def test_a_real_history() -> None:
    """Of 99.8 % of the lines at least the two say the same: of some renames they do not."""
    found = git.checked_out(Path(REPOSITORY))
    steps = []
    for one in walk(found, PYTHON):
        steps.append(one.commit.id)
        last, starts = one.files, one.starts
    right = lines = 0
    for path in random.Random(1).sample(sorted(last), min(200, len(last))):
        said = blamed(Path(REPOSITORY), path)
        right += sum(
            a == steps[origin(starts, b)] for a, b in zip(said, last[path].numbers, strict=True)
        )
        lines += len(said)
    assert right >= 0.998 * lines
