# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The data of a whole federation, as only a simulation can see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedcode.corpus import (
    Part,
    Screen,
    arrange,
    cache_folder,
    owned,
    read,
    read_own,
    tables,
    together,
    with_histories,
    without,
)
from fedcode.corpus.filters.near import FILTER as NEAR
from fedcode.corpus.labels import Labeller, later_than
from fedcode.errors import CorpusError
from fedcode.federation import OWN, TABLE, Federation, OrganizationSettings
from fedcode.record import Corpus, SourceFile


@dataclass(frozen=True, slots=True)
class Dataset:
    """Every corpus of a federation by organization: no record stands in two of them.

    Attributes:
        public: for the vocabulary and the warm start.
        train: the members' training files.
        heldout: the members' held-out files.
        validation: organizations to choose on.
        unseen: organizations to report on.
    """

    public: Corpus
    train: Mapping[str, Corpus]
    heldout: Mapping[str, Corpus]
    validation: Mapping[str, Corpus]
    unseen: Mapping[str, Corpus]

    def labelled(self, labeller: Labeller) -> Dataset:
        """The same data with labels on the organizations' records.

        Public code stays as it is: a task makes labels of its own there, others in every pass.
        """

        def label(corpora: Mapping[str, Corpus]) -> dict[str, Corpus]:
            return {name: labeller.label(corpus) for name, corpus in corpora.items()}

        return replace(
            self,
            train=label(self.train),
            heldout=label(self.heldout),
            validation=label(self.validation),
            unseen=label(self.unseen),
        )


def load(
    federation: Federation,
    workers: int,
    tell: Callable[[str], None] = lambda _: None,
    *,
    known: bool = False,
) -> tuple[Dataset, dict[str, Corpus]]:
    """Reads all organizations, removes duplicates, and splits.

    Args:
        federation: names the sources.
        workers: processes that read.
        tell: called with the name of each corpus before it is read.
        known: pass over organizations of which only their own agents know the source.

    Returns:
        The data, and each organization as it was read, with what was then removed of it: its
        ``duplicates`` are records that equal others of the federation, and near ones are ``taken``.

    Raises:
        ConfigError: a source is not known here.
        CorpusError: an organization has nothing to train on, or not the owners that the privacy
            unit asks for.
    """
    if known:
        federation.check_public()
    else:
        federation.check_sources()
    readable = [o for o in federation.organizations if o.source != OWN]
    folder = cache_folder()

    screen = Screen(federation.filters)

    def parts_of(organization: OrganizationSettings, sources: Sequence[str]) -> tuple[Part, ...]:
        tell(organization.name)
        parts = read_own(
            organization.name,
            sources,
            max_tokens=organization.max_tokens,
            cache=folder,
            workers=workers,
            screen=screen,
        )
        if federation.labels.kind != "history":
            return parts
        return with_histories(parts, federation.labels, cache=folder)

    def corpus_of(organization: OrganizationSettings) -> Corpus:
        if organization.is_table:
            return _table(federation, organization, tell)
        parts = parts_of(organization, organization.sources)
        if organization.role != "train":
            return together(parts)
        return owned(parts, federation.privacy.unit, cache=folder, workers=workers)

    whole = {o.name: corpus_of(o) for o in readable}
    # what is public is everybody's already: filters keep back what an organization alone has
    public = _public(federation, folder, workers, tell)
    splits = arrange(
        [(o.role, whole[o.name]) for o in readable],
        public,
        federation.heldout,
        federation.filters.near,
    )
    for member in splits.train:
        if not any(member.stream()):
            raise CorpusError(
                f"{member.name} has nothing to train on that does not stand elsewhere too",
                "give it more code, or leave it out",
            )
    parts = [*splits.train, *splits.heldout, *splits.validation, *splits.unseen]
    for name, corpus in whole.items():
        whole[name] = _with_removed(corpus, [part for part in parts if part.name == name])
    heldout = _by_name(splits.heldout)
    if federation.labels.kind == "history" and federation.labels.later is not None:
        trained = [*splits.train, splits.public]
        for own in (o for o in readable if o.role == "train"):
            sources = [later_than(source, federation.labels) for source in own.sources]
            heldout[own.name] = without(together(parts_of(own, sources)), trained)
    data = Dataset(
        public=splits.public,
        train=_by_name(splits.train),
        heldout=heldout,
        validation=_by_name(splits.validation),
        unseen=_by_name(splits.unseen),
    )
    return data, whole


def _with_removed(corpus: Corpus, parts: Sequence[Corpus]) -> Corpus:
    """``corpus`` with what its parts lost as duplicates and as near ones."""
    near = [one for part in parts for one in part.taken if one.filter == NEAR]
    equal = sum(part.duplicates for part in parts) - len(near)
    return replace(corpus, duplicates=equal, taken=(*corpus.taken, *near))


def _public(
    federation: Federation, folder: Path, workers: int, tell: Callable[[str], None]
) -> Corpus:
    tell("public")
    settings = federation.public
    return read(
        settings.source, "public", max_tokens=settings.max_tokens, cache=folder, workers=workers
    )


def _table(
    federation: Federation, organization: OrganizationSettings, tell: Callable[[str], None]
) -> Corpus:
    tell(organization.name)
    path = Path(organization.sources[0].removeprefix(TABLE))
    return tables.corpus(path, organization.name, federation.columns, organization.rows)


def sample(corpora: Mapping[str, Corpus], tokens: int) -> list[SourceFile]:
    """A fixed choice of files, the same number of tokens from each organization if it has them."""
    chosen = []
    for corpus in corpora.values():
        left = tokens // len(corpora)
        sizes = sorted((len(f.tokens), f.path, i) for i, f in enumerate(corpus.files))
        for size, _, index in sizes[::-1][::3]:
            if size <= left:
                chosen.append(corpus.files[index])
                left -= size
    return chosen


def all_files(corpora: Mapping[str, Corpus]) -> list[SourceFile]:
    """The files of several organizations, one after another."""
    return [file for corpus in corpora.values() for file in corpus.files]


def _by_name(corpora: Sequence[Corpus]) -> dict[str, Corpus]:
    return {corpus.name: corpus for corpus in corpora}
