# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What members learn: a loss per example, as every task has it, and the network of array data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.simulation.population.data import Population, Row, Rows
from fedcode.task import Metrics

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)
B = TypeVar("B")


class LocalProblem(Protocol[E_contra, B]):
    """What members learn; every ``GradientTask`` is one. Examples are made already."""

    def build(self) -> nn.Module:
        """A fresh network. Parameters with ``requires_grad=False`` are public and stay."""
        ...

    def length(self, example: E_contra) -> int:
        """See ``Losses``; so the two below."""
        ...

    def collate(self, examples: Sequence[E_contra]) -> B:
        """A batch of at least one example; tensors have the batch first."""
        ...

    def losses(self, model: nn.Module, batch: B) -> Tensor:
        """One loss per example, shape (batch,), normalized by public constants only."""
        ...


@dataclass(frozen=True, slots=True)
class World(Generic[E, B]):
    """All that a process needs to train members.

    Attributes:
        population: who there is.
        problem: what they learn.
        model: its network, with the public weights in those that are not trained.
        sample: public examples, for trying things out.
    """

    population: Population[E]
    problem: LocalProblem[E, B]
    model: nn.Module
    sample: Sequence[E]

    def made_up(self) -> World[E, B]:
        """The same with members that all have the public examples."""
        return replace(self, population=_Same(self.sample))


@dataclass(frozen=True, slots=True)
class _Same(Generic[E]):
    """As many members of the same examples as one likes."""

    examples: Sequence[E]

    def __len__(self) -> int:
        return sys.maxsize

    def member(self, number: int) -> Sequence[E]:  # noqa: ARG002  all alike
        return self.examples


class Classifier:
    """A dense network that tells classes of rows (features, class) apart.

    Args:
        features: in a row.
        hidden: widths of the layers between.
        classes: how many; public.
    """

    name = "classifier"

    def __init__(self, features: int, hidden: Sequence[int], classes: int) -> None:
        self._widths = (features, *hidden, classes)

    def build(self) -> nn.Module:
        """Linear layers with ReLU between them."""
        layers: list[nn.Module] = []
        for inside, outside in pairwise(self._widths):
            layers += [nn.Linear(inside, outside), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def length(self, example: Row) -> int:  # noqa: ARG002  all alike
        """One."""
        return 1

    def collate(self, examples: Sequence[Row]) -> tuple[Tensor, ...]:
        """The columns as tensors, rows first."""
        columns = examples.columns if isinstance(examples, Rows) else map(np.stack, zip(*examples))  # noqa: B905
        return tuple(torch.from_numpy(column) for column in columns)

    def losses(self, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Cross-entropy, shape (batch,)."""
        features, classes = batch
        return F.cross_entropy(model(features), classes, reduction="none")

    @torch.no_grad()
    def measure(self, model: nn.Module, rows: Sequence[Row]) -> Metrics:
        """Mean loss and the share of rows whose class the network finds."""
        features, classes = self.collate(rows)
        scores = model(features)
        right = (scores.argmax(1) == classes).double().mean()
        return {"loss": float(F.cross_entropy(scores, classes)), "accuracy": float(right)}


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Members that anybody can make again: as many, and with as many rows, as one likes.

    A row is normal, moved by what its member has for itself; its class is the highest of linear
    scores, the same for all members, with noise.

    Attributes:
        seed: of everything.
        records: rows of a member.
        features: in a row.
        classes: how many.
        shift: standard deviation of what a member has for itself.
    """

    seed: int
    records: int = 50
    features: int = 64
    classes: int = 2
    shift: float = 0.3

    def members(self, start: int, end: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """Members by number; each depends on its own number alone."""
        scores = np.random.default_rng((self.seed, 0)).standard_normal(
            (self.features, self.classes), np.float32
        )
        for number in range(start, end):
            draw = np.random.default_rng((self.seed, 1, number))
            own = np.float32(self.shift) * draw.standard_normal(self.features, np.float32)
            rows = draw.standard_normal((self.records, self.features), np.float32) + own
            noise = draw.standard_normal((self.records, self.classes), np.float32)
            yield rows, (rows @ scores + noise).argmax(1).astype(np.int64)
