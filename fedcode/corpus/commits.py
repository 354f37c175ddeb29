# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Commits as records, for just-in-time prediction: will this change have to be mended?

A commit is defective if a fix takes away lines that it wrote, within the horizon after it. Its
features are those that Kamei et al. 2013 found to say something (doi:10.1109/TSE.2012.70), all of
them known when it is made; its tokens are those of the lines that it adds. Merges and commits that
change tests and the like alone are none.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

from fedcode.corpus.changes import Change
from fedcode.corpus.filters import Screen, models
from fedcode.corpus.languages.general import of_pieces
from fedcode.corpus.log import changes
from fedcode.corpus.origins import Lines, Step, origin
from fedcode.corpus.past import DAY, PATTERNS, RECENT, Rules, mended, steps
from fedcode.corpus.revisions import Revision, revision
from fedcode.corpus.sources import counts
from fedcode.errors import CorpusError
from fedcode.record import Corpus, Record, SourceFile, Taken, UnitId

SCHEME = "commits"

FEATURES = (
    *("subsystems", "folders", "files", "entropy", "added", "taken", "size", "fix"),
    *("developers", "age_days", "changes", "experience", "recent_experience", "own_subsystem"),
)
"""Of a commit: top folders, folders and files that it changes and how evenly; lines that it adds
and takes, and that the files had; whether it mends; who changed the files before, how many days
ago on average, and how often; and commits of its author: all, each the less the older it is, and
those in the same top folders."""

MOST_TOKENS = 4_000
"""Of a commit; further ones are left out."""


@dataclass(slots=True)
class _File:
    """What is known of a file before a commit."""

    developers: set[str] = field(default_factory=set)
    changes: int = 0
    last: int = 0


@dataclass(slots=True)
class _Person:
    """What somebody did before a commit, by year and by top folder."""

    years: Counter[int] = field(default_factory=Counter)
    subsystems: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Made:
    """A commit that becomes a record."""

    id: str
    author: str
    message: str
    features: tuple[float, ...]

    def named(self) -> tuple[tuple[str, float], ...]:
        """The features with their names."""
        return tuple(zip(FEATURES, self.features, strict=True))


def read(
    place: str,
    name: str,
    max_tokens: int | None = None,
    cache: Path | None = None,
    screen: Screen | None = None,
    refused: Sequence[str] = (),
) -> Corpus:
    """The commits up to a place, without labels: what an organization holds.

    Args:
        place: see :func:`fedcode.corpus.revisions.revision`.
        name: the organization's.
        max_tokens: the last commits are taken that have no more tokens together.
        cache: a folder to keep in what commits did.
        screen: what must not be trained on; it is in ``taken``.
        refused: files, and folders with a slash at their ends, whose lines are left out.

    Raises:
        CorpusError: no such place, no commits, or none that fits into ``max_tokens``; or something
            was erased, which cannot be told apart in the lines of a commit.
        CacheDamaged: what was kept is not what was written.
    """
    if screen and screen.erased:
        raise CorpusError(
            "something was erased, and in lines of commits it cannot be told from the rest",
            f"read the files instead: git:{place}",
        )
    corpus, _ = read_commits(revision(place), name, Rules(), cache, screen, refused)
    files, total = [], 0
    for file in reversed(corpus.files):
        total += len(file.tokens)
        if max_tokens is not None and total > max_tokens:
            break
        (record,) = file.records
        files.append(replace(file, records=(replace(record, label=None, features=()),)))
    if not files:
        raise CorpusError(
            f"no commit of {place} fits into {max_tokens:,} tokens",
            "raise max_tokens, or leave it out",
        )
    files.sort(key=lambda file: file.path)
    return Corpus(name, tuple(files), taken=corpus.taken)


def authors_of(place: str, cache: Path | None) -> dict[str, str]:
    """Of each commit up to a place, by its record's path, the address of its author."""
    return {
        _path(one.id): one.author
        for one in _walked(revision(place), Rules(), cache).records.values()
    }


def labels_of(
    at: Revision, rules: Rules, cache: Path | None
) -> dict[UnitId, tuple[int, tuple[tuple[str, float], ...]]]:
    """Of each commit up to a snapshot, by its record's unit, the label and the features."""
    reader = _walked(at, rules, cache)
    defective = reader.defective()
    return {
        UnitId(_path(one.id)): (int(number in defective), one.named())
        for number, one in reader.records.items()
    }


def _walked(at: Revision, rules: Rules, cache: Path | None) -> _Reader:
    reader = _Reader(at, rules)
    for step in steps(at.latest, cache):
        reader.take(step)
    return reader


def read_commits(
    at: Revision,
    name: str,
    rules: Rules,
    cache: Path | None = None,
    screen: Screen | None = None,
    refused: Sequence[str] = (),
) -> tuple[Corpus, list[str]]:
    """The commits up to a snapshot, the oldest first.

    Args:
        at: the snapshot, and what is known of what came after it.
        name: the organization's.
        rules: what counts as a fix.
        cache: a folder to keep in what commits did.
        screen: what must not be trained on; it is in ``taken``.
        refused: files, and folders with a slash at their ends, whose lines are left out.

    Returns:
        The commits, and the address of each one's author, which stays in this package.

    Raises:
        CorpusError: there is none, or git cannot read the history.
        CacheDamaged: what was kept is not what was written.
    """
    reader = _walked(at, rules, cache)
    gone = {n: why for n, one in reader.records.items() if (why := _refused(one, screen))}
    made = {n: one.id for n, one in reader.records.items() if n not in gone}
    taken = [Taken(_path(reader.records[n].id), why, "", "author") for n, why in gone.items()]
    if not made and not taken:
        raise CorpusError(
            f"{at.snapshot.root} has no commit that changes source files", "name a later date"
        )
    defective = reader.defective()
    texts = changes(at.latest, PATTERNS, list(made.values()), text=True)
    files, authors = [], []
    for number, done in zip(made, texts, strict=True):
        one = reader.records[number]
        own = [change for change in done if not _lies_in(change.path, refused)]
        found, more = _file(one, own, screen, defective=number in defective)
        taken += more
        if found is not None:
            files.append(found)
            authors.append(one.author)
    if not files:
        raise CorpusError(
            f"filters leave nothing of the commits of {at.snapshot.root} ({len(taken)} taken)",
            f"the first by {taken[0].filter}: {taken[0].reason}",
        )
    return Corpus(name, tuple(files), taken=tuple(sorted(taken))), authors


def _refused(made: _Made, screen: Screen | None) -> str:
    """The filter that takes a commit by who wrote it; empty for none."""
    if screen is None:
        return ""
    return (
        models.FILTER if screen.by_model(made.author, made.message) else screen.author(made.author)
    )


def _lies_in(path: str, places: Sequence[str]) -> bool:
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in places)


def _path(commit: str) -> str:
    return f"commits/{commit}"


class _Reader:
    def __init__(self, at: Revision, rules: Rules) -> None:
        self._rules, self._latest = rules, at.latest
        self._moment = at.moment
        self._before = at.leading()
        self._files: defaultdict[int, _File] = defaultdict(_File)
        self._people: defaultdict[str, _Person] = defaultdict(_Person)
        self._times, self._starts = array("q"), array("I")
        self._mending: dict[str, tuple[int, tuple[Lines | None, ...]]] = {}
        self.records: dict[int, _Made] = {}

    def take(self, step: Step) -> None:
        """One commit."""
        commit = step.commit
        self._times.append(commit.committed)
        self._starts = step.starts
        if len(commit.parents) > 1:
            return
        own = [
            (change, before)
            for change, before in zip(commit.changes, step.before, strict=True)
            if counts(change.path)
        ]
        mends = self._rules.mends(commit)
        if mends:
            self._mending[commit.id] = (commit.committed, step.before)
        if not own:
            return
        if commit.id in self._before and commit.committed <= self._moment:
            features = self._features(commit.author, commit.committed, own, mends=mends)
            self.records[step.number] = _Made(commit.id, commit.author, commit.message, features)
        self._remember(step, [change for change, _ in own])

    def _features(
        self,
        author: str,
        when: int,
        own: Sequence[tuple[Change, Lines | None]],
        *,
        mends: bool,
    ) -> tuple[float, ...]:
        paths = [change.path for change, _ in own]
        tops = _subsystems(paths)
        sizes = [sum(h.added + h.taken for h in change.hunks) for change, _ in own]
        known = [self._files[there.file] for _, there in own if there and there.file in self._files]
        person = self._people[author]
        year = when // (RECENT * DAY)
        return (
            len(tops),
            len({path.rpartition("/")[0] for path in paths}),
            len(paths),
            _entropy(sizes),
            sum(h.added for change, _ in own for h in change.hunks),
            sum(h.taken for change, _ in own for h in change.hunks),
            sum(len(there.numbers) for _, there in own if there) / len(own),
            float(mends),
            len(set().union(*(one.developers for one in known))),
            sum(max(0, when - one.last) for one in known) / DAY / max(1, len(known)),
            sum(one.changes for one in known),
            person.years.total(),
            sum(number / (1 + max(0, year - past)) for past, number in person.years.items()),
            sum(person.subsystems[top] for top in tops),
        )

    def _remember(self, step: Step, own: Sequence[Change]) -> None:
        commit = step.commit
        person = self._people[commit.author]
        person.years[commit.committed // (RECENT * DAY)] += 1
        person.subsystems.update(_subsystems(one.path for one in own))
        for change in own:
            if change.new:
                file = self._files[step.files[change.path].file]
                file.developers.add(commit.author)
                file.changes += 1
                file.last = commit.committed

    def defective(self) -> set[int]:
        """Numbers of the commits whose lines a fix took away in time."""
        horizon = self._rules.horizon * DAY
        found: set[int] = set()
        told = changes(self._latest, PATTERNS, list(self._mending), text=True)
        for (id_, (when, before)), done in zip(self._mending.items(), told, strict=True):
            fix = mended(id_, done, before)
            for line in fix.taken if fix else ():
                number = origin(self._starts, line)
                if self._times[number] <= when <= self._times[number] + horizon:
                    found.add(number)
        return found


def _file(
    made: _Made, done: Sequence[Change], screen: Screen | None, *, defective: bool
) -> tuple[SourceFile | None, list[Taken]]:
    """A commit's record, None if filters take it; and what they took."""
    path = _path(made.id)
    tokens: list[str] = []
    taken: list[Taken] = []
    lines = 0
    for change in done:
        if not counts(change.path):
            continue
        added = [line.decode("utf-8", "replace") for hunk in change.hunks for line in hunk.new]
        lines += sum(bool(line.strip()) for line in added)
        if len(tokens) >= MOST_TOKENS:
            continue
        text, language = "\n".join(added), of_pieces(change.path)
        if screen:
            seen = screen.text(path, text, language)
            why = [*(Taken(path, b.filter, "", b.reason) for b in seen.blocks), *seen.taken]
            if seen.blocks or seen.whole:
                return None, why[:1]
            taken += why
            text = seen.text
        tokens += language.read(text).tokens
    # no tree can be read of lines alone: what is called, and what steers, as it stands
    ast = [
        f"f:{one}" if one in _STEERS else f"c:{one}"
        for one, after in zip_longest(tokens, tokens[1:], fillvalue="")
        if one in _STEERS or (after == "(" and one.isidentifier())
    ]
    record = Record(
        unit=UnitId(path),
        path=path,
        name=made.id,
        kind="commit",
        tokens=tuple(tokens[:MOST_TOKENS]),
        lines=lines,
        label=int(defective),
        ast=tuple(ast[:MOST_TOKENS]),
        features=made.named(),
    )
    return SourceFile(path, record.tokens, (record,)), taken


_STEERS = frozenset(
    [
        "if",
        "elif",
        "else",
        "for",
        "while",
        "switch",
        "case",
        "try",
        "except",
        "catch",
        "finally",
        "with",
        "raise",
        "throw",
        "return",
        "break",
        "continue",
        "assert",
        "yield",
    ]
)


def _subsystems(paths: Iterable[str]) -> set[str]:
    """Top folders; the root is one, too."""
    return {path.split("/")[0] if "/" in path else "" for path in paths}


def _entropy(sizes: Sequence[int]) -> float:
    """How evenly a change is spread over its files: 0 in one file, 1 where all change as much."""
    total = sum(sizes)
    if len(sizes) < 2 or not total:
        return 0.0
    parts = [size / total for size in sizes if size]
    return -sum(part * math.log2(part) for part in parts) / math.log2(len(sizes))
