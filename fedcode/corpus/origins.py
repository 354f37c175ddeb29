# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who wrote every line: what each line of each file comes from, all along a history.

Every line that was ever written has a number, which it keeps as long as it stands, in whatever file
and on whatever branch: so a line that a fix takes away is found again in the function that it stood
in a year before. What ``git blame -w`` says of one file of one commit, this says of all files of
all commits in one walk from the first commit to the last: a commit's lines are its parent's, but
for its hunks. Where a merge made of a file what none of its parents had, git is asked about that
file. Of a rename the two may think otherwise, for git's blame looks at one file alone.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedcode.corpus import git
from fedcode.corpus.changes import Change, Hunk
from fedcode.corpus.git import History
from fedcode.corpus.kept import Kept
from fedcode.corpus.log import Commit, commits, order

_BLOCK = re.compile(rb"([0-9a-f]{40,64}) \d+ (\d+) (\d+)")

_SPACE, _MINUS = b" -"

Numbers = array
"""Of lines: type code ``I``."""


@dataclass(frozen=True, slots=True)
class Lines:
    """One file of one commit.

    Attributes:
        blob: its content's id.
        numbers: of its lines.
        file: what the file is called here; it keeps this number when it is renamed.
    """

    blob: str
    numbers: Numbers[int]
    file: int


@dataclass(frozen=True, slots=True)
class Step:
    """A commit in its place.

    Attributes:
        number: from 0, in the order of the walk.
        commit: what was done.
        before: for each of its changes the file that it changed, None for a new one; empty for a
            merge.
        files: all files afterwards, by path. It changes with the next step: copy what is to stay.
        starts: for each commit up to this one the number of the first line that it wrote. It grows.
    """

    number: int
    commit: Commit
    before: tuple[Lines | None, ...]
    files: Mapping[str, Lines]
    starts: Numbers[int]


def origin(starts: Numbers[int], line: int) -> int:
    """The number of the commit that wrote a line."""
    return bisect_right(starts, line) - 1


def walk(history: History, patterns: Sequence[str], kept: Kept | None = None) -> Iterator[Step]:
    """The history's commits in order, each with every file's lines.

    Args:
        history: up to one commit.
        patterns: git's, of the files that count.
        kept: what is known of commits; it learns the others.

    Raises:
        CorpusError: git cannot read all of it.
    """
    places = order(history, patterns)
    walker = _Walker(history, Counter(parent for place in places for parent in place.parents))
    for commit in commits(history, patterns, places, kept):
        yield walker.step(commit)


class _Walker:
    """Files of the commits that have children yet to come.

    Args:
        history: what is walked.
        waiting: how many children each commit has.
    """

    def __init__(self, history: History, waiting: Counter[str]) -> None:
        self._history, self._waiting = history, waiting
        self._states: dict[str, dict[str, Lines]] = {}
        self._commits: dict[str, int] = {}
        self._starts = array("I")
        self._lines = 0
        self._files = 0

    def step(self, commit: Commit) -> Step:
        """The next commit."""
        number = self._commits.setdefault(commit.id, len(self._commits))
        self._starts.append(self._lines)
        parents = [self._leave(parent) for parent in commit.parents]
        files = parents[0] if parents else {}
        before: tuple[Lines | None, ...] = ()
        if len(parents) > 1:
            self._merge(commit, files, parents)
        else:
            before = tuple(files.get(change.before) for change in commit.changes)
            self._change(files, commit.changes, before)
        if self._waiting[commit.id]:
            self._states[commit.id] = files
        return Step(number, commit, before, files, self._starts)

    def _leave(self, parent: str) -> dict[str, Lines]:
        """A parent's files; themselves for its last child, which may change them."""
        self._waiting[parent] -= 1
        if self._waiting[parent] > 0:
            return dict(self._states[parent])
        return self._states.pop(parent)

    def _change(
        self,
        files: dict[str, Lines],
        changes: Sequence[Change],
        before: Sequence[Lines | None],
    ) -> None:
        _leave_out(files, changes)
        for change, there in zip(changes, before, strict=True):
            if change.new:
                old = there.numbers if there else array("I")
                file = there.file if there and not change.copied else self._name()
                files[change.path] = Lines(change.new, self._replaced(old, change.hunks), file)

    def _merge(
        self, commit: Commit, files: dict[str, Lines], parents: Sequence[Mapping[str, Lines]]
    ) -> None:
        """``files``, the first parent's, become the merge's."""
        first = [files.get(change.before) for change in commit.changes]
        _leave_out(files, commit.changes)
        for change, there in zip(commit.changes, first, strict=True):
            if not change.new:
                continue
            known = [parent.get(change.path) for parent in parents[1:]]
            all_ = (there, *known)
            same = next((one for one in all_ if one and one.blob == change.new), None)
            met = same or self._met(change, all_)
            files[change.path] = met or self._asked(commit, change, all_)

    def _met(self, change: Change, known: Sequence[Lines | None]) -> Lines | None:
        """A file that parents meet in; None where it is not known which files they are.

        Lines that a parent has are its, the first one's of several; others the merge's own.
        """
        there = [one for one in known if one]
        if [one.blob for one in there] != list(change.parents):
            return None
        parents = [one.numbers for one in there]
        made, at = array("I"), [0] * len(parents)
        for meeting in change.meetings:
            between = meeting.start - at[0]
            made += parents[0][at[0] : meeting.start]
            at = [place + between for place in at]
            for signs in meeting.columns:
                lost = b"-" in signs
                having = [n for n, sign in enumerate(signs) if sign == (_MINUS if lost else _SPACE)]
                if not lost:
                    made.append(parents[having[0]][at[having[0]]] if having else self._line())
                for parent in having:
                    at[parent] += 1
        made += parents[0][at[0] :]
        return Lines(change.new, made, there[0].file)

    def _asked(self, commit: Commit, change: Change, known: Sequence[Lines | None]) -> Lines:
        """A file as git's blame has it: each commit's lines are its next ones of the parents'."""
        there = [one for one in known if one]
        left: defaultdict[int, deque[int]] = defaultdict(deque)
        for line in dict.fromkeys(line for one in there for line in one.numbers):
            left[origin(self._starts, line)].append(line)
        made = array("I")
        for id_, start, number in sorted(
            blamed(self._history, commit.id, change.path), key=lambda block: block[1]
        ):
            own = left[self._commits.get(id_, len(self._starts) - 1)]
            made.extend([self._line()] * (start - len(made)))
            made.extend(own.popleft() if own else self._line() for _ in range(number))
        return Lines(change.new, made, there[0].file if there else self._name())

    def _replaced(self, old: Numbers[int], hunks: Sequence[Hunk]) -> Numbers[int]:
        made, at = array("I"), 0
        for hunk in hunks:
            made += old[at : hunk.start]
            made.extend(range(self._lines, self._lines + hunk.added))
            self._lines += hunk.added
            at = hunk.start + hunk.taken
        made += old[at:]
        return made

    def _line(self) -> int:
        self._lines += 1
        return self._lines - 1

    def _name(self) -> int:
        self._files += 1
        return self._files


def blamed(history: History, commit: str, path: str) -> Iterator[tuple[str, int, int]]:
    """What git says of one file: commit, index of a first line, how many come from there."""
    words = ("blame", "-w", "--incremental", "--no-textconv", commit, "--", path)
    for line in git.said(history, *words).split(b"\n"):
        if block := _BLOCK.fullmatch(line):
            yield block[1].decode("ascii"), int(block[2]) - 1, int(block[3])


def _leave_out(files: dict[str, Lines], changes: Sequence[Change]) -> None:
    """Takes out what is no more, or not what it was."""
    for change in changes:
        if not change.copied:
            files.pop(change.before, None)
