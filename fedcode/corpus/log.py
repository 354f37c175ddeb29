# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A history as it was made: every commit, the oldest first, with the lines that it took and added.

Git tells it as streams: what is held at a time is one commit, and everybody's place. What commits
did is kept, so that a second reading asks git for new ones alone. White space alone is no change of
a line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import IO, Any

from fedcode.corpus import git
from fedcode.corpus.changes import LONGEST_HUNK, Change, Hunk, Meeting
from fedcode.corpus.git import History
from fedcode.corpus.kept import Kept
from fedcode.errors import CorpusError

_ORDER = ("--topo-order", "--reverse", "--full-history", "--parents")
_EACH = (
    *("log", "--no-walk=unsorted", "--stdin", "--root", "-w", "-M", "--text", "--full-index"),
    *("--no-abbrev", "--no-color", "--no-ext-diff", "--no-textconv", "--no-notes"),
    *("--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=all"),
)
_HEAD = "--format=%x01%H%x00%at%x00%ct%x00%aE%x00%B%x00"
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_ESCAPED = re.compile(rb'\\([abtnvfr"\\]|[0-7]{3})')
_LETTERS = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit.

    Attributes:
        id: in hexadecimal.
        parents: see :class:`Place`.
        written: seconds since 1970, as its author's clock said.
        committed: as the committer's said.
        author: an e-mail address in lower case, as the ``.mailmap`` of the history's end has it.
        message: subject and body.
        changes: against the first parent.
    """

    id: str
    parents: tuple[str, ...]
    written: int
    committed: int
    author: str
    message: str
    changes: tuple[Change, ...]

    @property
    def subject(self) -> str:
        """The message's first line."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a commit stands among those that change files of some kinds.

    Attributes:
        id: in hexadecimal.
        parents: of those, the nearest.
    """

    id: str
    parents: tuple[str, ...]


def order(history: History, patterns: Sequence[str]) -> list[Place]:
    """All commits that change files of these kinds, every parent before its children.

    Args:
        history: up to one commit.
        patterns: git's, as ``*.py``.

    Raises:
        CorpusError: git cannot read all of it.
    """
    found = []
    with git.stream(history, "rev-list", *_ORDER, history.commit, "--", *patterns) as lines:
        for line in lines:
            own, *parents = line.decode("ascii").split()
            found.append(Place(own, tuple(parents)))
    return found


def commits(
    history: History, patterns: Sequence[str], places: Sequence[Place], kept: Kept | None = None
) -> Iterator[Commit]:
    """What commits did, without the text of their lines.

    Args:
        history: up to one commit.
        patterns: as ``places`` were found by.
        places: from :func:`order`.
        kept: what is known of commits; it learns the others.

    Raises:
        CorpusError: git cannot read all of it.
        CacheDamaged: what was kept is not what was written.
    """
    if not places:
        return
    new = [place for place in places if kept is None or place.id not in kept]
    merged = _merges(history, patterns, [p.id for p in new if len(p.parents) > 1])
    plain = [place.id for place in new if len(place.parents) < 2]
    asked = [place.id for place in places]
    with (
        git.stream(history, *_EACH, "-s", _HEAD, given=asked) as told,
        closing(changes(history, patterns, plain)) as differences,
    ):
        heads = _Reader(told)
        for place in places:
            id_, written, committed, author, message = heads.head(5) or [b""] * 5
            if id_.decode("ascii") != place.id:
                raise _broken()
            if kept is not None and place.id in kept:
                done = kept[place.id]
            elif len(place.parents) > 1:
                done = merged.get(place.id, ())
            else:
                done = next(differences, ())
            if kept is not None and place.id not in kept:
                kept.learn(place.id, done)
            yield Commit(
                place.id,
                place.parents,
                _seconds(written),
                _seconds(committed),
                sys.intern(author.decode("utf-8", "replace").strip().lower()),
                message.decode("utf-8", "replace").strip(),
                done,
            )
        if heads.head(1) is not None or next(differences, None) is not None:
            raise _broken()


def changes(
    history: History, patterns: Sequence[str], ids: Sequence[str], *, text: bool = False
) -> Generator[tuple[Change, ...]]:
    """What each of some commits changed against its parent, in the order asked for.

    Args:
        history: that they belong to.
        patterns: git's, of the files that count.
        ids: of commits that are no merges.
        text: whether the lines themselves are wanted.

    Raises:
        CorpusError: git cannot read all of it.
    """
    if not ids:
        return
    words = (*_EACH, "--raw", "-p", "-U0", "--format=%x01%H%x00", "--", *patterns)
    with git.stream(history, *words, given=ids) as lines:
        reader = _Reader(lines, text=text)
        head = reader.head(1)
        for id_ in ids:
            if head is None or head[0].decode("ascii") != id_:
                yield ()  # a merge of what changed no such files
                continue
            yield tuple(reader.changes())
            head = reader.head(1)
        if head is not None:
            raise _broken()


def _merges(
    history: History, patterns: Sequence[str], ids: Sequence[str]
) -> Mapping[str, tuple[Change, ...]]:
    """What merges changed against their first parents, without hunks."""
    if not ids:
        return {}
    met = dict(_met(history, patterns, ids))
    words = (*_EACH, "--raw", "--diff-merges=first-parent", "--format=%x01%H%x00")
    found = {}
    with git.stream(history, *words, "--", *patterns, given=ids) as lines:
        reader = _Reader(lines)
        while (head := reader.head(1)) is not None:
            own = head[0].decode("ascii")
            both = met.get(own, {})
            found[own] = tuple(replace(one, **both.get(one.new, {})) for one in reader.changes())
    return found


def _met(
    history: History, patterns: Sequence[str], ids: Sequence[str]
) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Files of merges that no parent has as they are: parents and meetings, by the blob."""
    words = (*_EACH, "--diff-merges=combined", "-p", "-U0", "--format=%x01%H%x00")
    with git.stream(history, *words, "--", *patterns, given=ids) as lines:
        reader = _Reader(lines)
        while (head := reader.head(1)) is not None:
            yield (
                head[0].decode("ascii"),
                {
                    new: {"parents": parents, "meetings": meetings}
                    for new, parents, meetings in reader.combined()
                },
            )


def _broken() -> CorpusError:
    return CorpusError("git's log breaks off", "check the repository: git fsck")


def _seconds(text: bytes) -> int:
    """A commit's time; some programs have written what is none."""
    try:
        return int(text)
    except ValueError:
        return 0


class _Reader:
    """Reads what git prints, line by line.

    A commit begins with a line that begins with a byte 1. In what follows, a line of a file begins
    with a sign or a backslash, so that nothing in a file is taken for anything else; the message,
    which may be anything, ends with a byte 0.
    """

    def __init__(self, lines: IO[bytes], *, text: bool = False) -> None:
        self._lines, self._text = lines, text
        self._next = lines.readline()

    def head(self, parts: int) -> list[bytes] | None:
        """What is said of the next commit, in so many parts; None after the last."""
        while self._next and not self._next.startswith(b"\x01"):
            self._next = self._lines.readline()
        if not self._next:
            return None
        text = self._next[1:]
        while text.count(b"\0") < parts:
            more = self._lines.readline()
            if not more:
                raise _broken()
            text += more
        self._next = self._lines.readline()
        return text.split(b"\0")[:parts]

    def changes(self) -> list[Change]:
        """Those of the commit whose head was read."""
        raw: list[tuple[bytes, bytes, bytes, list[bytes]]] = []
        hunks: dict[tuple[bytes, bytes], tuple[Hunk, ...]] = {}
        while self._next and not self._next.startswith(b"\x01"):
            line = self._next
            if line.startswith(b":"):
                words, *paths = line.rstrip(b"\n").split(b"\t")
                _, _, old, new, status = words.split(b" ")
                raw.append((status[:1], old, new, paths))
            elif line.startswith(b"index "):
                old, _, new = line.split()[1].partition(b"..")
                self._next = self._lines.readline()
                hunks[old, new] = tuple(self._hunks())
                continue
            self._next = self._lines.readline()
        return [_change(*one, hunks.get((one[1], one[2]), ())) for one in raw]

    def combined(self) -> Iterator[tuple[str, tuple[str, ...], tuple[Meeting, ...]]]:
        """Blob, parents' blobs and meetings of each file of the merge whose head was read."""
        while self._next and not self._next.startswith(b"\x01"):
            line = self._next
            self._next = self._lines.readline()
            if not line.startswith(b"index "):
                continue
            before, _, new = line.split()[1].decode("ascii").partition("..")
            parents = tuple(before.split(","))
            while self._next.startswith((b"mode ", b"--- ", b"+++ ")):
                self._next = self._lines.readline()
            meetings = tuple(self._meetings(len(parents)))
            if None not in meetings:
                yield new, parents, tuple(one for one in meetings if one)

    def _meetings(self, parents: int) -> Iterator[Meeting | None]:
        """Those of a file; None for one whose numbers of lines do not add up."""
        mark = b"@" * (parents + 1)
        while self._next.startswith(mark + b" "):
            spans = [_span(word) for word in self._next.split(mark)[1].split()]
            self._next = self._lines.readline()
            columns = []
            while self._next[:1] in (b" ", b"+", b"-", b"\\"):
                if self._next[:1] != b"\\":
                    columns.append(self._next[:parents])
                self._next = self._lines.readline()
            counted = [_lines_of(parent, columns) for parent in range(parents)]
            counted.append(sum(b"-" not in one for one in columns))
            sound = counted == [length for _, length in spans]
            yield Meeting(spans[0][0] - 1, tuple(columns)) if sound else None

    def _hunks(self) -> Iterator[Hunk]:
        while self._next.startswith((b"--- ", b"+++ ")):
            self._next = self._lines.readline()
        while match := _HUNK.match(self._next):
            first, taken, added = (1 if part is None else int(part) for part in match.groups())
            short = self._text and max(taken, added) <= LONGEST_HUNK
            old, new = self._body(taken, keep=short), self._body(added, keep=short)
            self._next = self._lines.readline()
            while self._next.startswith(b"\\"):
                self._next = self._lines.readline()
            yield Hunk(first - 1 if taken else first, taken, added, old, new)

    def _body(self, number: int, *, keep: bool) -> tuple[bytes, ...]:
        found = []
        while number:
            line = self._lines.readline()
            if not line:
                raise _broken()
            if line.startswith(b"\\"):  # "No newline at end of file"
                continue
            number -= 1
            if keep:
                found.append(line[1:].rstrip(b"\r\n"))
        return tuple(found)


def _change(
    status: bytes, old: bytes, new: bytes, paths: list[bytes], hunks: tuple[Hunk, ...]
) -> Change:
    before, path = _path(paths[0]), _path(paths[-1])
    if status == b"A":
        return Change(path, "", "", new.decode("ascii"), hunks)
    gone = "" if status == b"D" else new.decode("ascii")
    return Change(path, before, old.decode("ascii"), gone, hunks, status == b"C")


def _span(word: bytes) -> tuple[int, int]:
    """First line, from 1, and number of lines of one side of a combined hunk."""
    first, _, number = word[1:].partition(b",")
    return int(first), int(number or b"1")


def _lines_of(parent: int, columns: Sequence[bytes]) -> int:
    """How many of the lines a parent has."""
    return sum(one[parent : parent + 1] == (b"-" if b"-" in one else b" ") for one in columns)


def _path(text: bytes) -> str:
    """A path as git writes it: in quotation marks where it has uncommon characters."""
    if text.startswith(b'"') and text.endswith(b'"'):
        text = _ESCAPED.sub(_unescaped, text[1:-1])
    return text.decode("utf-8", "surrogateescape")


def _unescaped(match: re.Match[bytes]) -> bytes:
    found = match[1]
    return bytes([int(found, 8)]) if len(found) == 3 else bytes([_LETTERS[found[0]]])
