# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`defects-belief`: which functions or classes are defective, by a deep belief network.

A record is a vector of visible units: what its syntax tree calls and declares, where it lies, and
numbers that are known of it. The unrolled network is trained on labels, mostly after the Boltzmann
machines of its layers (``fedcode.tasks.belief_layers``). All phases build the same network, so that
each can go on from the one before.

Names become units by hashing, and numbers by public constants: nothing is learned from private
data but by the losses.

Source: Wang, Liu, Tan 2016, doi:10.1145/2884781.2884804.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Annotated, Any, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from fedcode.corpus.words import parts_of
from fedcode.errors import CorpusError
from fedcode.models.belief import DeepBelief
from fedcode.record import Corpus, Record, SourceFile
from fedcode.strict import Count, Positive, Probability, Strict, checked
from fedcode.task import GradientTask, Judgement, Labels, Metric, Metrics
from fedcode.tasks.defect_measures import (
    FIELD,
    field_measures,
    labelled,
    lines_baseline,
    numbers_baseline,
    size_of,
    tokens_baseline,
)

Values = NDArray[np.float32]
Units = Annotated[int, Field(ge=0, le=1 << 16, strict=True)]

LARGEST = 2.0**12
"""Of a count or a number: this and more is 1 as a visible unit's value."""

TOGETHER = 1024
"""Records that are measured at a time."""


class BeliefSettings(Strict):
    """The visible units and the layers; the same in all phases.

    Attributes:
        words: visible units for the parts of the names in the syntax tree; 0 is none.
        folders: visible units for the folders (packages) above a record; 0 is none.
        features: names of the numbers of ``Record.features`` that are read, a unit each.
        hidden: units of each layer, from the lowest.
        std: of the first weights.
        prior: the share of defective records that a chance of 0.5 stands for. A public guess: the
            network learns how much likelier than that a record is defective.
    """

    words: Units = 128
    folders: Units = 128
    features: tuple[str, ...] = ()
    hidden: Annotated[tuple[Count, ...], Field(min_length=1, max_length=3)] = (64,)
    std: Positive = 0.1
    prior: Probability = 0.2


@dataclass(frozen=True, slots=True)
class Example:
    """A record as numbers.

    Attributes:
        visible: values of the visible units, shape (visible,), in [0, 1].
        label: 1 defective, 0 not or not known.
        draws: what a layer's hidden units are drawn by, shape (hidden,), in [0, 1); empty without.
    """

    visible: Values
    label: int
    draws: Values


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples; shapes as there, the batch first."""

    visible: Tensor
    labels: Tensor
    draws: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        return Batch(*(part.to(device) for part in (self.visible, self.labels, self.draws)))


class Belief:
    """What the phases have in common."""

    name: str
    layer: int | None = None
    metrics: Sequence[Metric]
    labels: Labels

    def __init__(self, settings: BeliefSettings) -> None:
        self.settings = settings

    @classmethod
    def make(cls, settings: Mapping[str, Any], public: Corpus) -> Self:
        """The task; nothing of it is made from ``public``.

        Raises:
            ConfigError: a setting is unknown, or there is no such layer.
        """
        del public
        return cls(checked(BeliefSettings, settings, cls.name))

    @property
    def places(self) -> int:
        """A layer looks at a record once."""
        return 1

    @property
    def visible(self) -> int:
        """Number of visible units."""
        s = self.settings
        return len(size_of(_NOTHING)) + len(s.features) + s.words + s.folders

    def fingerprint(self) -> str:
        """SHA-256 over the settings, and the way units are made."""
        text = f"{self.name}\x00units 2\x00{self.settings.model_dump_json()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def build(self) -> nn.Module:
        """The network; only what this phase trains is not frozen."""
        model = DeepBelief(self.visible, self.settings.hidden, self.settings.std)
        if self.layer is None:
            model.train_unrolled()
        else:
            model.train_layer(self.layer)
        return model

    def length(self, example: Example) -> int:
        """All cost the same."""
        del example
        return 1

    def collate(self, examples: Sequence[Example]) -> Batch:
        """One row for each of ``examples``."""
        return Batch(
            torch.from_numpy(np.stack([e.visible for e in examples])),
            torch.tensor([float(e.label) for e in examples]),
            torch.from_numpy(np.stack([e.draws for e in examples])),
        )

    def _units(self, record: Record) -> dict[int, str]:
        """The words of a record by their visible unit."""
        first = self.visible - self.settings.words - self.settings.folders
        found: dict[int, list[str]] = {}
        for word in _words(record.ast) if self.settings.words else ():
            found.setdefault(first + place(word, self.settings.words), []).append(word)
        return {unit: ", ".join(map(_spoken, words)) for unit, words in found.items()}

    def encode(self, record: Record) -> Values:
        """The visible units' values of ``record``, shape (visible,), in [0, 1]."""
        s = self.settings
        known = dict(record.features)
        numbers = [*size_of(record), *(known.get(name, 0.0) for name in s.features)]
        words, folders = np.zeros(s.words), np.zeros(s.folders)
        if s.words:
            for word, times in _words(record.ast).items():
                words[place(word, s.words)] += times
        if s.folders:
            for folder in record.path.split("/")[:-1]:
                folders[place(folder, s.folders)] = 1
        scaled = np.log1p(np.abs([*numbers, *words])) / math.log1p(LARGEST)
        return np.concatenate([scaled.clip(0, 1), folders]).astype(np.float32)


class BeliefTask(Belief):
    """Trains the unrolled network on labels; see the module."""

    name = "defects-belief"
    metrics: Sequence[Metric] = FIELD
    labels: Labels = "defects"

    def examples(self, records: Sequence[Record]) -> Sequence[Example]:
        """One for each labelled function or class."""
        none = np.zeros(0, np.float32)
        return [
            Example(self.encode(r), int(r.label), none)
            for r in records
            if r.kind in KINDS and r.label is not None
        ]

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Nats to say of each record whether it is defective, shape (batch,)."""
        batch = batch.to(next(model.parameters()).device)
        prior = self.settings.prior
        logits = model(batch.visible) + math.log(prior / (1 - prior))
        return F.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none")

    def public_steps(self, public: Sequence[SourceFile], batch: int) -> int:
        """Steps of one pass over the labelled public records; mostly there are none."""
        return math.ceil(len(labelled(public)) / batch)

    def public_losses(
        self, model: nn.Module, public: Sequence[SourceFile], batch: int, order: np.random.Generator
    ) -> Iterator[Tensor]:
        """Mean losses of the labelled public records."""
        yield from public_means(self, model, self.examples(labelled(public)), batch, order)

    def chances(self, model: nn.Module, records: Sequence[Record]) -> NDArray[np.float64]:
        """How likely each record is defective, shape (records,)."""
        found = [np.zeros(0)]
        for start in range(0, len(records), TOGETHER):
            rows = np.stack([self.encode(r) for r in records[start : start + TOGETHER]])
            found.append(_chances(model, rows))
        return np.concatenate(found)

    def judgements(
        self, model: nn.Module, records: Sequence[Record], reasons: int
    ) -> Sequence[Judgement]:
        """See :class:`fedcode.task.Judges`: words by what the chance is lower without their unit.

        Words that share a unit cannot be told apart, and are named together.
        """
        found = []
        for record, chance in zip(records, self.chances(model, records), strict=True):
            named = self._units(record)
            rows = np.repeat(self.encode(record)[None], max(1, len(named)), axis=0)
            for row, unit in enumerate(named):
                rows[row, unit] = 0
            lower = (chance - _chances(model, rows)).tolist()
            weighed = sorted(zip(named.values(), lower, strict=False), key=lambda one: -one[1])
            speaking = tuple((words, weight) for words, weight in weighed[:reasons] if weight > 0)
            found.append(Judgement(float(chance), speaking))
        return found

    def measure(self, model: nn.Module, files: Sequence[SourceFile]) -> Metrics:
        """Figures on the labelled records of ``files``; none where they are all of one kind."""
        records = labelled(files)
        return field_measures(self.chances(model, records), records)

    def baselines(
        self, train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """Logistic regressions on everybody's labelled records, without privacy."""
        return {
            "lines of code only, no privacy": lines_baseline(train, test, field_measures),
            "size and features, no privacy": numbers_baseline(train, test, field_measures),
            "bag of tokens, no privacy": tokens_baseline(train, test, field_measures),
        }


def _chances(model: nn.Module, rows: Values) -> NDArray[np.float64]:
    """Of visible units' values, shape (rows, visible)."""
    model.eval()
    where = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(torch.from_numpy(rows).to(where))
    found: NDArray[np.float64] = torch.sigmoid(logits.double()).cpu().numpy()
    return found


KINDS = frozenset({"function", "class", "commit"})
"""Of records that can be defective."""

_NOTHING = Record(unit="", path="", name="", kind="class", tokens=(), lines=0)  # type: ignore[arg-type]


_KINDS_OF_WORDS = {"c": "calls ", "d": "declares ", "f": ""}


@lru_cache(1 << 18)
def place(word: str, units: int) -> int:
    """The visible unit, of so many, that stands for ``word``: the same everywhere."""
    digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % units


def _spoken(word: str) -> str:
    kind, _, name = word.partition(":")
    return f"{_KINDS_OF_WORDS.get(kind, kind)}{name}"


def _words(ast: Sequence[str]) -> Counter[str]:
    """What is called and declared by the parts of its name, and control flow by its kind."""
    found: Counter[str] = Counter()
    for token in ast:
        kind, _, name = token.partition(":")
        parts = [name] if kind == "f" else parts_of(name)
        found.update(f"{kind}:{part}" for part in parts)
    return found


def public_means(
    task: GradientTask[Example, Batch],
    model: nn.Module,
    examples: Sequence[Example],
    batch: int,
    order: np.random.Generator,
) -> Iterator[Tensor]:
    """Mean losses, pass after pass without end.

    Raises:
        CorpusError: there is no example.
    """
    if not examples:
        raise CorpusError(
            f"no public record is of use to {task.name}", "set warm_start.epochs = 0.0"
        )
    for _ in count():
        chosen = order.permutation(len(examples))
        for start in range(0, len(chosen), batch):
            own = [examples[i] for i in chosen[start : start + batch]]
            yield task.losses(model, task.collate(own)).mean()
