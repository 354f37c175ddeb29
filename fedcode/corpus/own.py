# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization holds, in one source or in several, from reading to one corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path

from fedcode.corpus.filters import Screen
from fedcode.corpus.history import with_owners_of, without_refused
from fedcode.corpus.identity import places_of
from fedcode.corpus.joined import in_order, join, label_sources
from fedcode.corpus.labels import of_history
from fedcode.corpus.reading import read
from fedcode.errors import CorpusError
from fedcode.federation import FixSettings, HistoryLabelSettings
from fedcode.record import Corpus, PrivacyUnit


@dataclass(frozen=True, slots=True)
class Part:
    """What one source of an organization holds.

    Attributes:
        label: the folder that it lies in among the others (see ``fedcode.corpus.joined``).
        source: that it was read from.
        corpus: its paths and units are the source's own, without the label.
    """

    label: str
    source: str
    corpus: Corpus


def read_own(
    name: str,
    sources: Sequence[str],
    *,
    max_tokens: int | None = None,
    cache: Path | None = None,
    workers: int = 1,
    screen: Screen | None = None,
) -> tuple[Part, ...]:
    """Reads every source of an organization, without what ``screen`` takes by who wrote it.

    Args:
        name: the organization's.
        sources: as of :func:`fedcode.corpus.reading.read`; at least one.
        max_tokens: of each source.
        cache: a folder to keep in what was read.
        workers: processes that read.
        screen: what must not be trained on. What is erased is named below its source, or with the
            source's label before it.

    Returns:
        In the order of ``sources``.

    Raises:
        CorpusError: one is not there, or has nothing that can be read and trained on; or two have
            files in common (two revisions of a repository, say): what has changed between them
            would be two units.
        ConfigError: ``screen`` asks for what is not installed.
        CacheDamaged: what was kept is not what was written.
    """
    check_apart(sources)

    def part(label: str, source: str) -> Part:
        own = None if screen is None else replace(screen, label=label)
        corpus = read(source, name, max_tokens=max_tokens, cache=cache, workers=workers, screen=own)
        if own is not None:
            corpus = without_refused(corpus, source, own, cache=cache, workers=workers)
        return Part(label, source, corpus)

    return tuple(map(part, label_sources(sources), sources))


def check_apart(sources: Sequence[str]) -> None:
    """Whether no source lies within another; looks nothing up for a single one.

    Raises:
        CorpusError: two have files in common.
    """
    places = {source: places_of(source) for source in sources} if len(sources) > 1 else {}
    for before, source in combinations(places, 2):
        for (one, folder), (other, above) in product(places[before], places[source]):
            if one == other and (folder.is_relative_to(above) or above.is_relative_to(folder)):
                raise CorpusError(
                    f"{before} and {source} have files in common",
                    "name each repository once, or folders that do not lie in one another",
                )


def with_histories(
    parts: Iterable[Part],
    settings: HistoryLabelSettings,
    fixes: FixSettings | None = None,
    cache: Path | None = None,
) -> tuple[Part, ...]:
    """Each part with labels from its own history: see :func:`fedcode.corpus.labels.of_history`."""
    return tuple(
        replace(part, corpus=of_history(part.corpus, part.source, settings, fixes, cache))
        for part in parts
    )


def together(parts: Iterable[Part]) -> Corpus:
    """One corpus of all parts, at least one: see :func:`fedcode.corpus.joined.join`."""
    own = tuple(parts)
    return join(own[0].corpus.name, [(part.label, part.corpus) for part in own])


def owned(
    parts: Sequence[Part], unit: PrivacyUnit, *, cache: Path | None = None, workers: int = 1
) -> Corpus:
    """One corpus of all parts, its records with the owners that ``unit`` asks for.

    Somebody who wrote in several sources is one author.

    Args:
        parts: as they were read, at least one.
        unit: the privacy unit.
        cache: a folder to keep authors in.
        workers: git processes at a time.

    Raises:
        CorpusError: the unit is the author, and not every file has one.
        CacheDamaged: what was kept is not what was written.
    """
    ordered = sorted(parts, key=lambda part: in_order(part.label))
    corpora = with_owners_of(
        [(part.source, part.corpus) for part in ordered], unit, cache=cache, workers=workers
    )
    return together(
        replace(part, corpus=corpus) for part, corpus in zip(ordered, corpora, strict=True)
    )
