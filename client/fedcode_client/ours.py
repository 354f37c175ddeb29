# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Our own code, and the start files that we were sent: what a member is made of, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedcode.corpus import (
    Screen,
    asset_of,
    cache_folder,
    deduplicate,
    near_duplicates,
    read,
    read_public,
    split_own,
    with_owners,
    without_refused,
)
from fedcode.corpus.data_tests import leaks
from fedcode.corpus.labels import labeller_of, of_history
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
        source: where it lies.
        corpus: as it was read.
        workers: processes that read more about it.
        screen: what must not be trained on; none of it is in ``corpus`` but near-duplicates.
        fixes: what we call a fix, where labels come from history.
        snapshots: what our data was like before; it is tested before a run trains on it.
    """

    source: str
    corpus: Corpus
    workers: int = 1
    screen: Screen = field(default_factory=Screen)
    fixes: FixSettings | None = None
    snapshots: Snapshots | None = None

    @classmethod
    def read(
        cls,
        name: str,
        source: str,
        max_tokens: int | None = None,
        workers: int = 1,
        screen: Screen | None = None,
        fixes: FixSettings | None = None,
    ) -> Ours:
        """Reads it into the cache, or takes it from there.

        Args:
            name: ours in the federation.
            source: ``git:DIR``, ``path:DIR``, ``package:NAME`` or ``wheel:FILE``.
            max_tokens: so many tokens at most.
            workers: processes that read.
            screen: what must not be trained on; if absent, what all filters take.
            fixes: what we call a fix, where labels come from history.

        Raises:
            CorpusError: there is nothing to read, or nothing that may be trained on.
            ConfigError: a filter needs what is not installed.
        """
        screen, folder = screen or Screen(), cache_folder()
        _refuse_erased(source, screen)
        corpus = read(
            source, name, max_tokens=max_tokens, cache=folder, workers=workers, screen=screen
        )
        corpus = without_refused(corpus, source, screen, cache=folder, workers=workers)
        return cls(source, corpus, workers, screen, fixes)

    @property
    def asset(self) -> str:
        """The account that pays for its use.

        Raises:
            CorpusError: it is a folder without history that is not registered.
        """
        return asset_of(self.source)

    @property
    def paying(self) -> str | None:
        """As :attr:`asset`; None for a folder without history that is not registered."""
        return _paying(self.source)

    def distinct(self) -> Corpus:
        """All of it but what equals another record, or is near one."""
        (found,) = near_duplicates(deduplicate([self.corpus]), self.screen.settings.near)
        return found

    def owned(self, unit: PrivacyUnit) -> Corpus:
        """All of it, its records with the owners that ``unit`` asks for."""
        return with_owners(
            self.corpus, self.source, unit, cache=cache_folder(), workers=self.workers
        )

    def trained_on(self, federation: Federation, public: Corpus, labels: Labels = "none") -> Corpus:
        """What is trained on: nothing that is public, or held out, and nothing twice.

        Args:
            federation: says what a privacy unit is, and how many files are held out.
            public: the federation's public corpus.
            labels: what the task wants on the records.

        Raises:
            CorpusError: nothing is left.
        """
        return self._labelled(self._split(federation, public)[0], federation, labels)

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
        train, heldout = self._split(federation, public)
        labelled = self._labelled(train, federation, labels)
        # before labels are injected, which may by chance make one function of another
        leaked = leaks(texts(train), texts(heldout))
        said = "" if labels == "none" else federation.labels.model_dump_json()
        subject = Subject(self.source, self.paying or self.source, said, federation.heldout)
        return labelled, snapshots.test(subject, profile(labelled), leaked, labels)

    def _split(self, federation: Federation, public: Corpus) -> tuple[Corpus, Corpus]:
        """What is trained on, without labels, and what is held out."""
        whole, near = self.owned(federation.privacy.unit), self.screen.settings.near
        train, heldout = split_own(whole, public, federation.heldout, near)
        if not any(train.stream()):
            raise CorpusError(
                f"{self.source} has nothing to train on that is not public",
                "name a source with more code of our own",
            )
        return train, heldout

    def _labelled(self, train: Corpus, federation: Federation, labels: Labels) -> Corpus:
        if labels == "none":
            return train
        federation.check_labels()
        if federation.labels.kind == "history":
            folder = cache_folder()
            return of_history(train, self.source, federation.labels, self.fixes, folder)
        labeller = labeller_of(federation)
        return train if labeller is None else labeller.label(train)


def _refuse_erased(source: str, screen: Screen) -> None:
    """Whether all of a source was erased, by the identity that its account has.

    Raises:
        CorpusError: it was.
    """
    asset = _paying(source) if screen.erased else None
    if asset is not None and screen.erased.holds("repository", asset):
        raise CorpusError("this repository was erased", "it is not read again; name another source")


def _paying(source: str) -> str | None:
    with suppress(CorpusError):  # a folder without history that is not registered
        return asset_of(source)
    return None
