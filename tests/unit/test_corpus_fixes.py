# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages speak of a bug that is mended, and which lines of a fix count."""

import re
import time

import pytest

from fedcode.corpus.changes import Change, Hunk
from fedcode.corpus.fixes import Fixes, tracker
from fedcode.corpus.idle import idle
from fedcode.errors import ConfigError


@pytest.mark.parametrize(
    "message",
    [
        "Fix crash when the list is empty",
        "fixed a bug with event callbacks",
        "fix(parser): accept a trailing comma",
        "[bug-fix] scheduler won't override running status",
        "IndexError in git_push",
        "Handle branch names with a slash",
        "Do not fail on non-ASCII headers",
        "Use os.pathsep to split PATH\n\nFixes #902",
        "Positional params\n\nThe change introduced in a78338c was a mistake.",
        "Merge pull request #7 from ann/x\n\nFix the redirect of relative links",
        "fix handling of comments in imports",
        "Tests! Also fixed some bytes-string issues",
    ],
)
def test_a_fix(message) -> None:
    assert Fixes().said(message)


@pytest.mark.parametrize(
    "message",
    [
        "Add support for aliases",
        "feat: handle empty files",
        "docs: fix the broken example",
        "fix: typo",
        "Fix typo in the documentation",
        "fix failing tests",
        "Fix flake8 errors",
        "refactor: remove the wrong layer",
        'Revert "fix crash when the list is empty"',
        "Merge branch 'bugfix/7' into main",
        "Bump version to 1.2",
        "Improve the speed of parsing",
        "",
    ],
)
def test_no_fix(message) -> None:
    assert not Fixes().said(message)


def test_an_organizations_own_words() -> None:
    own = Fixes(patterns=(re.compile(r"^Behebt "),), other=(re.compile(r"\[noise\]"),))
    assert own.said("Behebt den Absturz beim Start")
    assert not own.said("[noise] Behebt den Absturz beim Start")
    assert not Fixes().said("Behebt den Absturz beim Start")


def test_a_tracker_knows_better_than_words(tmp_path) -> None:
    export = tmp_path / "issues.csv"
    export.write_text("Summary,Issue key,Issue Type\nx,AB-1,Bug\ny,AB-2,Story\n", encoding="utf-8")
    known = Fixes(issues=re.compile(r"\bAB-\d+\b", re.IGNORECASE), bugs=tracker(export))
    assert known.said("ab-1: other columns")
    assert not known.said("AB-2: fix the columns")
    assert known.said("AB-2, AB-1: columns")
    assert known.said("AB-3: fix the columns"), "a key that nobody knows says nothing"
    assert not known.said("AB-3: columns")


@pytest.mark.parametrize(
    ("text", "message"),
    [("key,kind\n", "no columns key and type"), ("", "no columns"), ("\xff", "as CSV")],
)
def test_a_tracker_that_cannot_be_read(text, message, tmp_path) -> None:
    export = tmp_path / "issues.csv"
    export.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        tracker(export)
    with pytest.raises(ConfigError, match="is not there"):
        tracker(tmp_path / "none.csv")


@pytest.mark.parametrize("piece", ["fix ", "a", " ", "add ", "fix(", "#", "-by: ", "tests ", "\n"])
def test_no_message_takes_long(piece) -> None:
    start = time.process_time()
    Fixes().said(piece * 100_000)
    assert time.process_time() - start < 0.5


def marks(*hunks: tuple[str, str], path: str = "a.py") -> list[list[int]]:
    """Indices of the idle lines of each hunk, given the lines taken and those added."""
    made = [
        Hunk(0, len(old), len(new), tuple(old), tuple(new))
        for old, new in (
            (old.encode().splitlines(), new.encode().splitlines()) for old, new in hunks
        )
    ]
    return [sorted(one) for one in idle([Change(path, path, "1", "2", tuple(made))])[0]]


def test_what_says_nothing_is_idle() -> None:
    assert marks(("\n# x\n)\ny = 1", "y = 2")) == [[0, 1, 2]]
    assert marks(("// x\n*/\n#if A\n", "y"), path="a.c") == [[0, 1]]


def test_other_layout_is_idle() -> None:
    assert marks(("f(a, b)", "f(\n    a,\n    b,\n)")) == [[0]]
    assert marks(("x = 'a'", 'x = "a"')) == [[0]]
    assert marks(("f(a, b)", "f(a,\n    c)")) == [[]]


def test_moved_lines_are_idle() -> None:
    assert marks(("x = 1\ny = 2", ""), ("", "  x = 1\n  z = 3")) == [[0], []]


def test_a_renaming_is_idle_where_it_is_one() -> None:
    three = [("x = old()", "x = new()"), ("y = old(1)", "y = new(1)"), ("old(2)", "new(2)")]
    assert marks(*three) == [[0], [0], [0]]
    assert marks(*three[:2]) == [[], []], "twice may be a mistake made twice"
    assert marks(*three, ("z = old(1)", "z = new(2)")) == [[0], [0], [0], []]
