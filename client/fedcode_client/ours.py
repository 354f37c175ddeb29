# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Our own code, and the start files that we were sent: what a member is made of, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedcode.corpus import (
    Part,
    Screen,
    asset_of,
    assets_of,
    cache_folder,
    deduplicate,
    near_duplicates,
    owned,
    read_own,
    read_public,
    split_own,
    together,
    with_histories,
)
from fedcode.corpus.data_tests import leaks
from fedcode.corpus.labels import labeller_of
from fedcode.corpus.profile import profile, texts
from fedcode.errors import CorpusError, RunError
from fedcode.federation import Federation, FixSettings
from fedcode.record import Corpus, PrivacyUnit
from fedcode.start import PUBLIC, Start, file_of
from fedcode.task import Labels
from fedcode_client.data import Snapshot, Snapshots, Subject


@dataclass(frozen=True, slots=True)
class StartFiles:
    """What all parties of a run begin from.

    Attributes:
        public: the corpus that the vocabularies were made from.
        digest: of it.
        starts: by task.
    """

    public: Corpus
    digest: str
    starts: Mapping[str, Start]

    @classmethod
    def load(cls, folder: Path, tasks: Iterable[str]) -> StartFiles:
        """Reads what ``fedcode prepare`` wrote, whoever sent it.

        Raises:
            RunError: a file is missing, or is not what another one names.
        """
        starts = {task: Start.load(folder / file_of(task)) for task in tasks}
        digests = {start.public for start in starts.values()}
        if len(digests) != 1:
            raise RunError(
                f"the start files in {folder} name {len(digests)} public corpora",
                "fetch the start files again",
            )
        (digest,) = digests
        return cls(read_public(folder / PUBLIC, digest), digest, starts)


@dataclass(frozen=True, slots=True)
class Ours:
    """Our code, read once.

    Attributes:
        parts: what each source holds, as it was read.
        workers: processes that read more about it.
        screen: what must not be trained on; none of it is in ``parts`` but near-duplicates.
        fixes: what we call a fix, where labels come from history.
        snapshots: what our data was like before; it is tested before a run trains on it.
    """

    parts: tuple[Part, ...]
    workers: int = 1
    screen: Screen = field(default_factory=Screen)
    fixes: FixSettings | None = None
    snapshots: Snapshots | None = None

    @classmethod
    def read(
        cls,
        name: str,
        sources: Sequence[str],
        max_tokens: int | None = None,
        workers: int = 1,
        screen: Screen | None = None,
        fixes: FixSettings | None = None,
    ) -> Ours:
        """Reads it into the cache, or takes it from there.

        Args:
            name: ours in the federation.
            sources: ``git:DIR``, ``commits:DIR``, ``path:DIR``, ``package:NAME`` or
                ``wheel:FILE``; at least one.
            max_tokens: so many tokens of each at most.
            workers: processes that read.
            screen: what must not be trained on; if absent, what all filters take.
            fixes: what we call a fix, where labels come from history.

        Raises:
            CorpusError: there is nothing to read, or nothing that may be trained on.
            ConfigError: a filter needs what is not installed.
        """
        screen = screen or Screen()
        for source in sources:
            _refuse_erased(source, screen)
        parts = read_own(
            name,
            sources,
            max_tokens=max_tokens,
            cache=cache_folder(),
            workers=workers,
            screen=screen,
        )
        return cls(parts, workers, screen, fixes)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it lies."""
        return tuple(part.source for part in self.parts)

    @property
    def source(self) -> str:
        """The same for people."""
        return ", ".join(self.sources)

    @property
    def corpus(self) -> Corpus:
        """All of it as it was read."""
        return together(self.parts)

    @property
    def assets(self) -> tuple[str, ...]:
        """The accounts that pay for its use, in an order that is not the sources'.

        Raises:
            CorpusError: a source is a folder without history that is not registered.
        """
        return assets_of(self.sources)

    def apart(self) -> Iterator[Ours]:
        """What each source holds by itself."""
        return (replace(self, parts=(part,)) for part in self.parts)

    def distinct(self) -> Corpus:
        """All of it but what equals another record, or is near one."""
        (found,) = near_duplicates(deduplicate([self.corpus]), self.screen.settings.near)
        return found

    def owned(self, unit: PrivacyUnit) -> Corpus:
        """All of it, its records with the owners that ``unit`` asks for."""
        return owned(self.parts, unit, cache=cache_folder(), workers=self.workers)

    def trained_on(self, federation: Federation, public: Corpus, labels: Labels = "none") -> Corpus:
        """What is trained on: nothing that is public, or held out, and nothing twice.

        Args:
            federation: says what a privacy unit is, and how many files are held out.
            public: the federation's public corpus.
            labels: what the task wants on the records.

        Raises:
            CorpusError: nothing is left.
        """
        return self._labelled(self._split(federation, public, labels)[0], federation, labels)

    def tested(
        self, federation: Federation, public: Corpus, labels: Labels, snapshots: Snapshots
    ) -> tuple[Corpus, Snapshot]:
        """As :meth:`trained_on`, with what the tests of it have found.

        Args:
            federation: says what a privacy unit is, and how many files are held out.
            public: the federation's public corpus.
            labels: what the task wants on the records.
            snapshots: those before it.

        Raises:
            CorpusError: nothing is left.
        """
        train, heldout = self._split(federation, public, labels)
        labelled = self._labelled(train, federation, labels)
        # before labels are injected, which may by chance make one function of another
        leaked = leaks(texts(train), texts(heldout))
        said = "" if labels == "none" else federation.labels.model_dump_json()
        assets = tuple(account_of(source) or source for source in self.sources)
        subject = Subject(self.sources, assets, said, federation.heldout)
        return labelled, snapshots.test(subject, profile(labelled), leaked, labels)

    def _split(
        self, federation: Federation, public: Corpus, labels: Labels
    ) -> tuple[Corpus, Corpus]:
        """What is trained on, with no labels but those of histories, and what is held out."""
        ours, unit = self._with_histories(federation, labels), federation.privacy.unit
        whole, near = ours.owned(unit), self.screen.settings.near
        train, heldout = split_own(whole, public, federation.heldout, near)
        if not any(train.stream()):
            raise CorpusError(
                f"{self.source} has nothing to train on that is not public",
                "name a source with more code of our own",
            )
        return train, heldout

    def _with_histories(self, federation: Federation, labels: Labels) -> Ours:
        """With labels of each source's own history, where they come from there."""
        settings = federation.labels
        if labels == "none" or settings.kind != "history":
            return self
        federation.check_labels()
        return replace(self, parts=with_histories(self.parts, settings, self.fixes, cache_folder()))

    def _labelled(self, train: Corpus, federation: Federation, labels: Labels) -> Corpus:
        if labels == "none":
            return train
        federation.check_labels()
        labeller = labeller_of(federation)
        return train if labeller is None else labeller.label(train)


def _refuse_erased(source: str, screen: Screen) -> None:
    """Whether all of a source was erased, by the identity that its account has.

    Raises:
        CorpusError: it was.
    """
    asset = account_of(source) if screen.erased else None
    if asset is not None and screen.erased.holds("repository", asset):
        raise CorpusError(
            f"{source}: this repository was erased", "it is not read again; name another source"
        )


def account_of(source: str) -> str | None:
    """The account that pays for a source; None for a folder that is not registered."""
    with suppress(CorpusError):  # a folder without history that is not registered
        return asset_of(source)
    return None
