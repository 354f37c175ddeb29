# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where labels come from: a labeller is given a corpus and hands back a labelled one."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from fedcode.corpus import cache as cached
from fedcode.corpus import commits, git, past, revisions
from fedcode.corpus.fixes import Fixes, tracker
from fedcode.corpus.injection import Function, Site, attributes, sites
from fedcode.corpus.tables import TableLabels
from fedcode.corpus.views import changed
from fedcode.errors import CorpusError
from fedcode.federation import Federation, FixSettings, HistoryLabelSettings, InjectedLabels
from fedcode.record import Corpus, Record, SourceFile, UnitId


class Labeller(Protocol):
    """Says of records whether they are defective."""

    def label(self, corpus: Corpus) -> Corpus:
        """``corpus`` with labels. Units, order and fingerprint (of the data read) stay."""
        ...


def labeller_of(federation: Federation) -> Labeller | None:
    """Gives the labels that the federation's settings ask for.

    Returns:
        None where records have their labels already: from tables, or by :func:`of_history`.

    Raises:
        CorpusError: the table of labels cannot be read.
    """
    settings = federation.labels
    if isinstance(settings, InjectedLabels):
        return InjectedBugs(federation.seed)
    if isinstance(settings, HistoryLabelSettings) or settings.table is None:
        return None
    return TableLabels.load(Path(settings.table), settings.columns, settings.rows)


def of_history(
    corpus: Corpus,
    source: str,
    settings: HistoryLabelSettings,
    fixes: FixSettings | None = None,
    cache: Path | None = None,
) -> Corpus:
    """``corpus`` with labels and features from its repository's history (docs/histories.md).

    Args:
        corpus: as it was read.
        source: that it was read from: ``git:`` or ``commits:``.
        settings: of the labels.
        fixes: the organization's own, instead of those of ``settings``.
        cache: a folder to keep in what commits did, and the labels.

    Raises:
        CorpusError: the source has no history, or one that ends before the horizon.
        ConfigError: the tracker's export cannot be read.
        CacheDamaged: what was kept is not what was written.
    """
    scheme, _, place = source.partition(":")
    if scheme not in (revisions.SCHEME, commits.SCHEME):
        raise CorpusError(f"{source} has no history to take labels from", "name it as git:DIR")
    at, rules = revisions.revision(place), rules_of(settings, fixes or settings.fixes)
    _check_horizon(at, rules, source)
    words = [settings.model_dump(mode="json", exclude={"later", "fixes"}), rules.fixes.said_by()]
    key = [LABELS, scheme, at.snapshot.commit, at.latest.commit, at.moment, words]
    text = json.dumps([*key, corpus.fingerprint])
    kept = cache / "labels" / f"{hashlib.sha256(text.encode()).hexdigest()}.zz" if cache else None
    if kept is not None and kept.exists():
        return _put(corpus, _loaded(kept))
    known: _Known
    if scheme == commits.SCHEME:
        known = commits.labels_of(at, rules, cache)
    else:
        found = past.with_past(corpus, past.look(at, rules, cache), rules).stream()
        known = {r.unit: (r.label, r.features) for r in found if r.label is not None}
    if kept is not None:
        cached.keep(kept, json.dumps(known))
    return _put(corpus, known)


def later_than(source: str, settings: HistoryLabelSettings) -> str:
    """The source at ``labels.later``.

    Raises:
        CorpusError: what follows the earlier snapshot is not over by then: labels of the one would
            be made of what the other is measured on.
    """
    scheme, _, place = source.partition(":")
    at, later = revisions.revision(place), f"{revisions.folder_of(place)}@{settings.later}"
    missing = at.moment + settings.horizon_days * past.DAY - revisions.revision(later).moment
    if missing > 0:
        days = math.ceil(missing / past.DAY)
        raise CorpusError(
            f"labels.later, {settings.later}, is {days} days too early for {source}: what follows "
            f"in {settings.horizon_days} days is not over by then",
            "name a later date there, or earlier ones for the members",
        )
    return f"{scheme}:{later}"


LABELS = 1
"""Raised when other labels or features would come from the same history."""

_Known = Mapping[UnitId, tuple[int | None, tuple[tuple[str, float], ...]]]


def rules_of(settings: HistoryLabelSettings, fixes: FixSettings) -> past.Rules:
    """What counts as a label.

    Raises:
        ConfigError: the tracker's export cannot be read.
    """
    own = Fixes(
        patterns=tuple(map(re.compile, fixes.patterns)),
        other=tuple(map(re.compile, fixes.other)),
        issues=re.compile(fixes.issues, re.IGNORECASE) if fixes.issues else None,
        bugs=tracker(Path(fixes.tracker)) if fixes.tracker else {},
    )
    return past.Rules(own, settings.horizon_days, settings.most_files, settings.insertions)


def _check_horizon(at: revisions.Revision, rules: past.Rules, source: str) -> None:
    missing = at.moment + rules.horizon * past.DAY - git.time_of(at.latest)
    if missing > 0:
        day = datetime.fromtimestamp(at.moment - missing, UTC).date()
        raise CorpusError(
            f"{source} ends {math.ceil(missing / past.DAY)} days before what follows is known",
            f"name an earlier date: {source.partition('@')[0]}@{day}; or lower labels.horizon_days",
        )


def _put(corpus: Corpus, known: _Known) -> Corpus:
    def label(record: Record) -> Record:
        found, features = known.get(record.unit, (None, ()))
        return replace(record, label=found, features=features)

    def labelled(_: int, file: SourceFile) -> SourceFile:
        return replace(file, records=tuple(map(label, file.records)))

    return replace(corpus, files=changed(corpus.files, labelled))


def _loaded(file: Path) -> _Known:
    try:
        known = json.loads(cached.kept(file))
        return {
            UnitId(unit): (label, tuple((str(name), float(value)) for name, value in features))
            for unit, (label, features) in known.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise cached.damaged(file) from error


INJECTOR = 2
"""Raised when other bugs would be made of the same functions."""


@dataclass(frozen=True, slots=True)
class _Bug:
    """What becomes of a record.

    Attributes:
        label: its own from now on.
        site: where it is changed.
        choice: what into.
    """

    label: int | None
    site: Site | None = None
    choice: int = 0

    def given(self, record: Record) -> Record:
        """The record with its label, and with the bug where there is one."""
        if self.site is None:
            return replace(record, label=self.label)
        tokens = self.site.apply(record.tokens, self.choice)
        place = min(self.site.start, len(tokens) - 1)
        return replace(record, tokens=tokens, label=self.label, place=place)


_SOUND, _UNLABELLED = _Bug(0), _Bug(None)


@dataclass(frozen=True, slots=True)
class InjectedBugs:
    """Real functions, about half of which are given one bug.

    A function is eligible if at least one pattern could strike in it and it is not too long to be
    read as a whole; all others stay unlabelled. Whether an eligible function becomes defective is
    the toss of a coin that knows its unit and ``seed`` alone, so neither its length nor its
    content, nor the order of reading, gives the label away. A function exists in one version only,
    which depends on that function alone: taking another one away changes nothing in it.

    Attributes:
        seed: of all choices. Another seed gives other bugs in another half of the functions.
        longest: functions of more lexer tokens are left unlabelled.
    """

    seed: int
    longest: int = 120

    def label(self, corpus: Corpus) -> Corpus:
        """See :class:`Labeller`."""
        made = {r.unit: bug for r in corpus.stream("function") if (bug := self._bug(r))}

        def labelled(_: int, file: SourceFile) -> SourceFile:
            records = (made.get(r.unit, _UNLABELLED).given(r) for r in file.records)
            return replace(file, records=tuple(records))

        return replace(corpus, files=changed(corpus.files, labelled))

    def _bug(self, record: Record) -> _Bug | None:
        """What becomes of a function; None if it cannot be labelled."""
        if len(record.tokens) > self.longest:
            return None
        # a bug is made of the function's own words: another function's would tell of that one
        found = sites(Function(record.tokens, attributes(record.tokens)))
        if not found:
            return None
        if self._draw(record, "defective", 2) == 0:
            return _SOUND
        patterns = [pattern for pattern in found for _ in range(pattern.weight)]
        places = found[patterns[self._draw(record, "pattern", len(patterns))]]
        site = places[self._draw(record, "site", len(places))]
        return _Bug(1, site, self._draw(record, "choice", len(site.choices)))

    def _draw(self, record: Record, what: str, n: int) -> int:
        """A number from 0 to ``n`` - 1, fixed by the seed, the unit and the question."""
        text = f"{self.seed}\x00{record.unit}\x00{what}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % n
