# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a repository among which a report of a bug is searched, with what their past says.

One walk along the history counts what changed and what was mended; the files themselves are those
of the commit that is checked out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fedcode.corpus import git
from fedcode.corpus.languages import LANGUAGES
from fedcode.corpus.past import DAY, Rules, steps
from fedcode.corpus.revisions import revision
from fedcode.corpus.sources import counts
from fedcode.corpus.words import likeness, together, words_of
from fedcode.errors import CorpusError
from fedcode.record import Candidate


@dataclass(slots=True)
class _Past:
    """One file so far; times are seconds since 1970, 0 for never."""

    changes: int = 0
    fixes: int = 0
    changed: int = 0
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class _Fix:
    """What was mended: its message's words, and the files, by what they are called in the walk."""

    words: Mapping[str, int]
    files: frozenset[int]


@dataclass(slots=True)
class _Story:
    """What the walk tells: each file's past, fixes, and the files at its end."""

    files: dict[int, _Past] = field(default_factory=dict)
    fixes: list[_Fix] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)


def searched(place: str, text: str, cache: Path | None = None) -> tuple[Candidate, ...]:
    """The source files of a repository, in path order.

    Args:
        place: ``DIR``, ``DIR@REVISION`` or ``DIR@DATE``.
        text: of the report: what was mended before for a message like it is ``alike``.
        cache: a folder that knows what commits did, and learns it.

    Raises:
        CorpusError: no such repository or commit, a history that is cut off, or no source file.
        CacheDamaged: what was kept is not what was written.
    """
    at = revision(place)
    story = _told(at.snapshot, cache)
    own = [
        one
        for one in git.listed(at.snapshot)
        if one.mode.startswith("100")
        and counts(one.path)
        and PurePosixPath(one.path).suffix in LANGUAGES
    ]
    alike = _alike(together(text), story.fixes)
    found = []
    contents = git.contents(at.snapshot, [one.blob for one in own])
    for one, data in zip(own, contents, strict=True):
        try:
            if data is None:
                continue
            words = words_of(one.path, LANGUAGES[PurePosixPath(one.path).suffix].decode(data))
        except CorpusError:  # what cannot be read cannot be searched
            continue
        number = story.ends.get(one.path)
        past = story.files.get(number, _Past()) if number is not None else _Past()
        found.append(
            Candidate(
                one.path,
                words,
                changes=past.changes,
                fixes=past.fixes,
                changed=(at.moment - past.changed) / DAY if past.changed else None,
                fixed=(at.moment - past.fixed) / DAY if past.fixed else None,
                alike=alike.get(number, 0.0) if number is not None else 0.0,
            )
        )
    if not found:
        raise CorpusError(f"{place} has no source file to search", "name another repository")
    return tuple(sorted(found, key=lambda one: one.path))


def _told(history: git.History, cache: Path | None) -> _Story:
    story, rules, last = _Story(), Rules(), None
    for step in steps(history, cache):
        commit, last = step.commit, step
        if len(commit.parents) > 1:
            continue
        mends = rules.mends(commit)
        own = [c for c in commit.changes if c.new and counts(c.path) and c.path in step.files]
        mended = set()
        for change in own:
            number = step.files[change.path].file
            past = story.files.setdefault(number, _Past())
            past.changes += 1
            past.changed = max(past.changed, commit.committed)
            if mends and change.old:
                past.fixes += 1
                past.fixed = max(past.fixed, commit.committed)
                mended.add(number)
        if mended:
            story.fixes.append(_Fix(together(commit.message), frozenset(mended)))
    if last is not None:
        story.ends = {path: lines.file for path, lines in last.files.items()}
    return story


def _alike(asked: Mapping[str, int], fixes: Sequence[_Fix]) -> Mapping[int, float]:
    """For each file how much earlier fixes of it are like the report (Zhou et al. 2012)."""
    found: defaultdict[int, float] = defaultdict(float)
    for fix in fixes:
        share = likeness(asked, fix.words) / len(fix.files)
        for file in fix.files:
            found[file] += share
    return found
