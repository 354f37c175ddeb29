# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a repository's history says of the functions of one of its commits, and what it said later.

Features look back from the commit: who wrote a function's lines, and when. Labels look ahead (SZZ):
a function is defective if a fix of the time after takes away, or changes, a line that already stood
in it. So labels of one commit know what came after it, and only of what came after it: a later
commit whose date lies beyond the horizon shares nothing of that future.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from fedcode.corpus import git
from fedcode.corpus.changes import Change
from fedcode.corpus.fixes import Fixes, builds
from fedcode.corpus.git import History
from fedcode.corpus.idle import idle
from fedcode.corpus.kept import READER, Kept
from fedcode.corpus.languages import LANGUAGES
from fedcode.corpus.log import Commit, changes
from fedcode.corpus.origins import Lines, Numbers, Step, origin, walk
from fedcode.corpus.revisions import Revision
from fedcode.corpus.sources import counts
from fedcode.corpus.views import changed
from fedcode.record import Corpus, Record, SourceFile

PATTERNS = [f"*{suffix}" for suffix in sorted(LANGUAGES)]
"""Git's, of source files."""

DAY = 86_400
RECENT = 365
"""Days that churn and recent lines look back."""

FEATURES = (
    *("age_days", "last_change_days", "commits", "authors", "recent_lines"),
    *("file_commits", "file_authors", "file_fixes", "file_churn"),
)
"""Of a function: days since its oldest and its newest line was written, distinct commits and
authors of its lines, lines younger than a year; of its file: commits, authors and fixes so far,
lines added and taken in the last year."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a label.

    Attributes:
        fixes: which commits mend a bug.
        horizon: days after the snapshot in which fixes are looked for.
        most_files: a commit that changes more source files mends no single bug.
        insertions: whether lines that a fix adds between two lines of a function count, too.
    """

    fixes: Fixes = field(default_factory=Fixes)
    horizon: int = 365
    most_files: int = 10
    insertions: bool = False

    def mends(self, commit: Commit) -> bool:
        """Whether a commit mends a bug of the code, as far as its message and files tell."""
        own = sum(counts(one.path) and not builds(one.path) for one in commit.changes)
        return 0 < own <= self.most_files and self.fixes.said(commit.message)


@dataclass(frozen=True, slots=True)
class Fix:
    """What a fix did to lines that may have stood in the snapshot.

    Attributes:
        commit: its id.
        taken: the lines that it took away.
        between: lines next to each other, between which it added others.
    """

    commit: str
    taken: frozenset[int]
    between: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class FilePast:
    """One file of the snapshot.

    Attributes:
        lines: of the file, by their numbers.
        commits: that changed it.
        authors: that did.
        fixes: that it had.
        churn: lines added and taken in the year before the snapshot.
    """

    lines: Numbers[int] = field(default_factory=lambda: array("I"))
    commits: int = 0
    authors: set[str] = field(default_factory=set)
    fixes: int = 0
    churn: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """All that is known of a snapshot's files.

    Attributes:
        moment: of the snapshot: seconds since 1970.
        files: by path.
        starts: for each commit the number of the first line that it wrote.
        times: of commits, by number.
        authors: of commits, by number: e-mail addresses, which stay in this package.
        fixes: of the time after the snapshot.
        covered: whether the history reaches to the end of the horizon.
    """

    moment: int
    files: Mapping[str, FilePast]
    starts: Numbers[int]
    times: Sequence[int]
    authors: Sequence[str]
    fixes: Sequence[Fix]
    covered: bool


def look(revision: Revision, rules: Rules, cache: Path | None = None) -> Past:
    """Walks along a history once.

    Args:
        revision: what is looked back and ahead from.
        rules: what counts as a fix.
        cache: a folder to keep in what commits did, so that the next walk asks for new ones alone.

    Raises:
        CorpusError: git cannot read it.
        CacheDamaged: what was kept is not what was written.
    """
    tip = git.newest(revision.snapshot, PATTERNS)
    reader = _Reader(rules, revision, tip)
    for step in steps(revision.latest, cache):
        reader.take(step)
    return reader.past()


def steps(history: History, cache: Path | None) -> Iterator[Step]:
    """Every commit that changes source files, as :func:`fedcode.corpus.origins.walk` gives it.

    Args:
        history: what is walked.
        cache: a folder that knows what commits did, and learns it; None for none.

    Raises:
        CorpusError: git cannot read the history.
        CacheDamaged: what was kept is not what was written.
    """
    if cache is None:
        yield from walk(history, PATTERNS)
        return
    key = json.dumps([READER, git.first_commit(history), PATTERNS])
    folder = cache / "commits" / hashlib.sha256(key.encode()).hexdigest()
    with Kept.opened(folder) as kept:
        yield from walk(history, PATTERNS, kept)


class _Reader:
    """Gathers what the steps of a walk say.

    Args:
        rules: of the labels.
        revision: that is looked back and ahead from.
        tip: the snapshot's last commit that changed source files.
    """

    def __init__(self, rules: Rules, revision: Revision, tip: str) -> None:
        self._rules, self._tip, self._latest = rules, tip, revision.latest
        self._before = revision.leading()
        self._moment = revision.moment
        self._end = self._moment + rules.horizon * DAY
        self._times = array("q")
        self._authors: list[str] = []
        self._starts = array("I")
        self._known: defaultdict[int, FilePast] = defaultdict(FilePast)
        self._files: dict[str, FilePast] = {}
        self._mending: dict[str, tuple[Lines | None, ...]] = {}

    def take(self, step: Step) -> None:
        """One commit."""
        commit = step.commit
        self._starts = step.starts
        self._times.append(commit.committed)
        self._authors.append(commit.author)
        past = commit.id in self._before
        if past or commit.committed <= self._end:
            mends = self._rules.mends(commit)
            if past:
                self._remember(step, mends=mends)
            elif mends and len(commit.parents) < 2:
                self._mending[commit.id] = step.before
        if commit.id == self._tip:
            for path, lines in step.files.items():
                self._files[path] = self._known[lines.file]
                self._files[path].lines = lines.numbers

    def _remember(self, step: Step, *, mends: bool) -> None:
        commit = step.commit
        if len(commit.parents) > 1:
            return  # what it merged has been counted
        recent = commit.committed > self._moment - RECENT * DAY
        for change in commit.changes:
            if change.new:
                known = self._known[step.files[change.path].file]
                known.commits += 1
                known.authors.add(commit.author)
                known.fixes += mends
                if recent:
                    known.churn += sum(hunk.taken + hunk.added for hunk in change.hunks)

    def past(self) -> Past:
        """All of it, after the last step."""
        covered = git.time_of(self._latest) >= self._end
        told = changes(self._latest, PATTERNS, list(self._mending), text=True)
        found = (
            mended(commit, done, before)
            for (commit, before), done in zip(self._mending.items(), told, strict=True)
        )
        return Past(
            self._moment,
            self._files,
            self._starts,
            self._times,
            self._authors,
            tuple(fix for fix in found if fix),
            covered,
        )


def mended(commit: str, done: Sequence[Change], files: Sequence[Lines | None]) -> Fix | None:
    """Which lines a commit mended; None if none that can have been wrong."""
    taken: set[int] = set()
    between: list[tuple[int, int]] = []
    for change, before, still in zip(done, files, idle(done), strict=True):
        if before is None or not change.new or not counts(change.path) or builds(change.path):
            continue
        lines = before.numbers
        for hunk, marks in zip(change.hunks, still, strict=True):
            if hunk.taken:
                own = range(hunk.start, min(hunk.start + hunk.taken, len(lines)))
                taken.update(lines[n] for n in own if n - hunk.start not in marks)
            elif 0 < hunk.start < len(lines) and any(map(bytes.strip, hunk.new)):
                between.append((lines[hunk.start - 1], lines[hunk.start]))
    return Fix(commit, frozenset(taken), tuple(between)) if taken or between else None


def with_past(corpus: Corpus, past: Past, rules: Rules) -> Corpus:
    """``corpus`` with the features of its records' history, their authors, and labels of functions.

    Functions of files of which the history says nothing stay unlabelled.

    Args:
        corpus: the snapshot, as it was read.
        past: of the same commit.
        rules: those that ``past`` was looked up by.
    """
    taken = {line for fix in past.fixes for line in fix.taken}
    fixes = past.fixes if rules.insertions else ()
    around = {pair for fix in fixes for pair in fix.between}

    def labelled(_: int, file: SourceFile) -> SourceFile:
        known = past.files.get(file.path)
        if known is None:
            return file
        records = (_with_past(record, known, past, taken, around) for record in file.records)
        return replace(file, records=tuple(records))

    return replace(corpus, files=changed(corpus.files, labelled))


def _with_past(
    record: Record,
    file: FilePast,
    past: Past,
    taken: Set[int],
    around: Set[tuple[int, int]],
) -> Record:
    if record.kind != "function":
        return record
    lines = file.lines[record.first - 1 : record.last]
    if not lines:
        return record
    remarks = {n for first, last in record.comments for n in range(first, last + 1)}
    code = [n for place, n in enumerate(lines, start=record.first) if place not in remarks]
    defective = not taken.isdisjoint(code) or not around.isdisjoint(pairwise(lines))
    return replace(record, label=int(defective), features=_features(lines, file, past))


def _features(lines: Numbers[int], file: FilePast, past: Past) -> tuple[tuple[str, float], ...]:
    origins = [origin(past.starts, line) for line in lines]
    times = [past.times[one] for one in origins]
    recent = past.moment - RECENT * DAY
    values = (
        (past.moment - min(times)) / DAY,
        (past.moment - max(times)) / DAY,
        len(set(origins)),
        len({past.authors[one] for one in origins}),
        sum(time > recent for time in times),
        file.commits,
        len(file.authors),
        file.fixes,
        file.churn,
    )
    return tuple(zip(FEATURES, map(float, values), strict=True))


def main_authors(history: History) -> dict[str, str]:
    """For each source file of a commit the address of whoever wrote most of its lines.

    White space does not count; the commit's own ``.mailmap`` does. Of several who wrote as many
    lines it is the first by name. Empty files are left out.
    """
    found = line_owners(history, lambda commit: commit.author)
    return {path: git.most_frequent(owners) for path, owners in found.items()}


def line_owners(
    history: History, owner: Callable[[Commit], str], cache: Path | None = None
) -> dict[str, list[str]]:
    """For each source file of a commit that is not empty what ``owner`` says of each line's commit.

    Args:
        history: up to the commit.
        owner: is asked once for each commit.
        cache: a folder to keep in what commits did.

    Raises:
        CorpusError: git cannot read the history.
        CacheDamaged: what was kept is not what was written.
    """
    tip = git.newest(history, PATTERNS)
    owners: list[str] = []
    found = {}
    for step in steps(history, cache):
        owners.append(owner(step.commit))
        if step.commit.id == tip:
            for path, file in step.files.items():
                if file.numbers:
                    found[path] = [owners[origin(step.starts, n)] for n in file.numbers]
    return found
