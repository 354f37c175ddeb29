# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a repository among which a report is searched, and what their past says."""

import os
import subprocess

import pytest

from fedcode.corpus.searched import searched
from fedcode.corpus.words import counted, likeness, parts_of, words_of
from fedcode.errors import CorpusError

DAY = 86_400
START = 1_600_000_000


@pytest.fixture
def commit(tmp_path):
    """Commits files, some days after the first commit."""
    root = tmp_path / "own"
    root.mkdir()
    _git(root, 0, "init", "-q")

    def make(day, message, moved=None, **texts):
        if moved:
            _git(root, day, "mv", *moved)
        for name, text in texts.items():
            (root / f"{name}.py").write_text(text, encoding="utf-8")
        _git(root, day, "add", ".")
        _git(root, day, "commit", "-qm", message)
        return str(root)

    return make


def _git(root, day, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    when = f"@{START + day * DAY} +0000"
    environment = os.environ | {"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when}
    subprocess.run(["git", "-C", str(root), *who, *words], check=True, env=environment)


def code(name, number=1):
    lines = "".join(f"    total_{i} = {name}_value + {i}\n" for i in range(20))
    return f"def {name}({name}_value):\n    '''Reads sockets.'''\n{lines}    return {number}\n"


def test_changes_and_fixes_are_counted_and_follow_renames(commit) -> None:
    commit(0, "first", parser=code("parser"), cache=code("cache"))
    commit(10, "Fix a crash of the parser", parser=code("parser", 2))
    commit(20, "move", moved=("parser.py", "reader.py"))
    place = commit(30, "Add an option", cache=code("cache", 2))
    cache, reader = searched(place, "the parser crashes")
    assert (reader.path, cache.path) == ("reader.py", "cache.py")
    assert (reader.fixes, cache.fixes) == (1, 0)
    assert (cache.changes, reader.changes) == (2, 3)
    assert (cache.changed, cache.fixed) == (0, None)
    assert (reader.changed, reader.fixed) == (10, 20)
    assert reader.alike > 0
    assert cache.alike == 0
    assert not any(one.right for one in (reader, cache))


def test_files_are_those_of_the_commit_that_is_named(commit) -> None:
    commit(0, "first", parser=code("parser"))
    place = commit(10, "second", other=code("other"), test_other=code("tests"))
    assert [one.path for one in searched(place, "x")] == ["other.py", "parser.py"]
    (first,) = searched(f"{place}@HEAD~1", "x")
    assert first.path == "parser.py"
    assert first.words.definitions == {"parser": 1}
    assert first.words.prose == {"reads": 1, "sockets": 1}
    assert first.words.names["parser_value"] == 21


def test_a_repository_without_source_files_is_refused(commit) -> None:
    place = commit(0, "first", test_only=code("x"))
    with pytest.raises(CorpusError, match="no source file"):
        searched(place, "x")


def test_what_cannot_be_read_is_left_out(commit) -> None:
    place = commit(0, "first", good=code("good"), bad="def (:\n")
    assert [one.path for one in searched(place, "x")] == ["good.py"]


def test_names_are_split_where_their_parts_begin() -> None:
    assert parts_of("readAll_HTTPLines2") == ("read", "all", "http", "lines", "2")
    assert parts_of("größe_Zahl") == ("größe", "zahl")
    parts, names = counted("The parser of readAll in read_all: a b")
    assert parts == {"parser": 1, "read": 2}
    assert names == {"readall": 1, "read_all": 1}


def test_words_of_a_file_are_kept_apart_by_what_they_are() -> None:
    words = words_of("a.c", "// opens a socket\nint open_it(char *path) {\n  return f(path);\n}\n")
    assert words.definitions == {"open_it": 1}
    assert words.prose == {"opens": 1, "socket": 1}
    assert words.identifiers["path"] == 2
    assert words.lines == 4


def test_likeness_is_a_cosine() -> None:
    one = {"a": 1, "b": 3}
    assert likeness(one, one) == pytest.approx(1)
    assert likeness(one, {"c": 2}) == likeness(one, {}) == likeness({}, {}) == 0
    assert 0 < likeness(one, {"a": 1}) < 1
