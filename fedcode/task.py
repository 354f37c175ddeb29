# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a learned system must say about itself so that fedcode can train it privately.

Two shapes of task cover the field:

* a :class:`GradientTask` has a network and a loss per example; it is trained by DP-SGD;
* a :class:`CountTask` has counts per example; it is trained by one noised sum.

An example is whatever the task makes of a record: a sequence, a tree, a pair; only ``collate`` and
``losses`` look inside. A task in several phases (a greedy stack, say) is several tasks that hand
their weights on: each phase has its own name, plan and charge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fedcode.record import Record, SourceFile
from fedcode.weights import Vector

if TYPE_CHECKING:
    import torch
    from torch import nn

Example = TypeVar("Example")
Batch = TypeVar("Batch")

Metrics = Mapping[str, float]
"""Figures of one model on one set of files, by metric key."""

Labels = Literal["none", "defects"]
"""What labels a task needs on its records: none, or which of them are defective.

Where these come from is the federation's to say (``fedcode.federation.LabelSettings``).
"""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that a task reports.

    Attributes:
        key: its key in :data:`Metrics` and ``result.json``.
        title: what tables and charts call it, with its unit.
        lower_is_better: the direction of improvement.
        digits: digits after the point that are worth printing.
    """

    key: str
    title: str
    lower_is_better: bool
    digits: int = 3


class Task(Protocol):
    """What every task has.

    Attributes:
        name: the key in ``fedcode.tasks.TASKS``.
        metrics: what ``measure`` reports; the first one leads tables and charts.
        labels: what labels it needs on its records.
    """

    name: str
    metrics: Sequence[Metric]
    labels: Labels

    def fingerprint(self) -> str:
        """SHA-256 over everything public that the task was made from (vocabulary, settings)."""
        ...

    def baselines(
        self, train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """Simple methods on the same data, without privacy: title -> set of files -> metrics."""
        ...


class Losses(Protocol[Example, Batch]):
    """A loss per example: what local training needs of a task.

    The losses of a batch must not look at one another: no batch statistics, no denominator that
    counts the batch. With a mean over the batch's tokens, one record moved the clipped sum by
    1.9 times the clipping norm.
    """

    def examples(self, records: Sequence[Record]) -> Sequence[Example]:
        """What is trained on: at most one example per record; a record may give none."""
        ...

    def length(self, example: Example) -> int:
        """Cost of one example, so that batches can be made of examples of similar length."""
        ...

    def collate(self, examples: Sequence[Example]) -> Batch:
        """A batch of at least one example; tensors have the batch first."""
        ...

    def losses(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """One loss per example, shape (batch,), normalized by public constants only."""
        ...


class GradientTask(Task, Losses[Example, Batch], Protocol[Example, Batch]):
    """A network and a loss per example.

    Attributes:
        places: of a typical example: how often a layer looks at one. Public; it decides which of
            two equal ways to compute norms is taken.
    """

    @property
    def places(self) -> int:
        """See above."""
        ...

    def build(self) -> nn.Module:
        """A fresh network. Parameters with ``requires_grad=False`` are public and stay."""
        ...

    def public_steps(self, public: Sequence[SourceFile], batch: int) -> int:
        """Optimizer steps of one pass over public code with :meth:`public_losses`."""
        ...

    def public_losses(
        self, model: nn.Module, public: Sequence[SourceFile], batch: int, order: np.random.Generator
    ) -> Iterator[torch.Tensor]:
        """The warm start: mean losses on public code, pass after pass without end.

        The caller takes an optimizer step between two of them. Public code protects nobody, so
        that a loss may look at whole files, and carry a state from one step to the next.
        """
        ...

    def measure(self, model: nn.Module, files: Sequence[SourceFile]) -> Metrics:
        """Figures of ``model`` on ``files``. They are private data when the files are."""
        ...


@runtime_checkable
class Generates(Protocol):
    """A task whose model writes code on its own: it may write what it has read."""

    def verbatim(
        self, model: nn.Module, records: Sequence[Record], given: int, asked: int
    ) -> tuple[int, int]:
        """What the model goes on with by heart.

        It is given the first ``given`` pieces of each record that is long enough, and its likeliest
        next ``asked`` pieces are compared with the record's.

        Returns:
            How many records were long enough, and how many went on word for word.
        """
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model says of one record.

    Attributes:
        chance: of being defective, as the model puts it; made for ranks.
        because: what speaks for it, the weightiest first: its words, and its weight.
    """

    chance: float
    because: tuple[tuple[str, float], ...]


@runtime_checkable
class Judges(Protocol):
    """A task whose model says of records how likely they are defective, and why."""

    def judgements(
        self, model: nn.Module, records: Sequence[Record], reasons: int
    ) -> Sequence[Judgement]:
        """One for each of ``records``, with at most so many reasons."""
        ...


@dataclass(frozen=True, slots=True)
class Continuation:
    """How code may go on.

    Attributes:
        tokens: lexer tokens; the last one may be cut short.
        chance: of just these, as the model puts it.
    """

    tokens: tuple[str, ...]
    chance: float


class CountTask(Task, Protocol):
    """Counts per record; the model is made from their sum."""

    @property
    def size(self) -> int:
        """Number of public coordinates."""
        ...

    def counts(self, record: Record) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """One record's coordinates (unique, ascending) and counts; not yet clipped."""
        ...

    def measure_counts(self, counts: Vector, files: Sequence[SourceFile]) -> Metrics:
        """Figures of the model made from summed ``counts`` of shape (size,) on ``files``."""
        ...


AnyTask = GradientTask[Any, Any] | CountTask
"""A task of either shape."""


def gradients_of(task: AnyTask) -> GradientTask[Any, Any] | None:
    """``task``, if it is a network."""
    return None if hasattr(task, "counts") else task


def counts_of(task: AnyTask) -> CountTask | None:
    """``task``, if it is trained by one noised sum of counts."""
    return cast("CountTask", task) if hasattr(task, "counts") else None
