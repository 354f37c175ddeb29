# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members' plain local steps, one member after the other or many in one program.

Both engines take the same steps on the same rows, in evaluation mode: no dropout, no batch
statistics. What a member's rows are never changes what another one computes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from fedcode.simulation.population.problem import World
from fedcode.simulation.population.stacking import (
    ahead,
    at_once,
    pick,
    programs,
    split,
    stacked,
    tensors_of,
)
from fedcode.training import network
from fedcode.weights import Vector

E = TypeVar("E")
B = TypeVar("B")

_ROUNDING = 1e-6  # of a norm in float32: what is clipped stays below C all the same


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """What a member does in a round it takes part in.

    Attributes:
        steps: gradient steps, one pass over its examples at most.
        batch: examples of a step; the last one of a pass may have fewer.
        learning_rate: of plain SGD.
        clipping_norm: of the whole change of weights; None clips nothing.
    """

    steps: int
    batch: int
    learning_rate: float
    clipping_norm: float | None

    def window(self, examples: int, number: int) -> NDArray[np.int64]:
        """Which examples a member trains on in round ``number``, in order, shape (n,).

        Each round goes on where the one before ended.
        """
        most = self.steps * self.batch
        start = (number - 1) * most % max(1, examples)
        return (start + np.arange(min(most, examples))) % max(1, examples)


@dataclass(slots=True)
class Tally:
    """How some members of a cohort fared. Private.

    Attributes:
        members: how many were asked.
        trained: those of them that had anything to train on.
        left_out: those whose change, or in local mode a gradient, was not finite.
        refused: those that had too few examples for their policy.
        loss: sum of the mean losses of those that trained.
    """

    members: int = 0
    trained: int = 0
    left_out: int = 0
    refused: int = 0
    loss: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Tally(*(one + another for one, another in pairs))


Part = tuple[NDArray[np.float64], Tally]
"""The sum of some members' changes, shape (d,), and how they fared."""


class Engine(Protocol):
    """Adds up the changes of members."""

    def run(self, weights: Vector, number: int, parts: Sequence[Sequence[int]]) -> list[Part]:
        """Every member takes its steps of round ``number`` from ``weights``.

        Args:
            weights: shape (d,).
            number: from 1.
            parts: members; each part has a sum of its own.
        """
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Adding:
    """Clips members' changes, each as a whole, and adds them up in double precision.

    Args:
        start: the weights that all started from, shape (d,).
        clipping_norm: None clips nothing.
        members: how many were asked.
    """

    def __init__(self, start: Vector, clipping_norm: float | None, members: int) -> None:
        self._start, self._norm = torch.tensor(start, dtype=torch.float64), clipping_norm
        self._total, self._tally = torch.zeros_like(self._start), Tally(members)

    @property
    def part(self) -> Part:
        """The sum so far."""
        return self._total.numpy(), self._tally

    def add(self, ends: Sequence[Tensor], losses: Tensor) -> None:
        """Takes members' weights, (members, ...) each, and mean losses of shape (members,).

        Whether a change was not finite is as private as the change: it adds nothing.
        """
        changes = torch.empty(len(losses), len(self._start), dtype=torch.float64)
        columns = changes.split([end[0].numel() for end in ends], 1)  # type: ignore[no-untyped-call]
        for column, end in zip(columns, ends, strict=True):
            column.copy_(end.flatten(1))
        changes -= self._start
        norms = torch.linalg.vector_norm(changes, dim=1)
        finite = torch.isfinite(norms)
        if not finite.all():
            changes[~finite] = 0
            norms = torch.where(finite, norms, 0)
        factors = torch.ones_like(norms)
        if self._norm is not None:
            factors = (self._norm * (1 - _ROUNDING) / norms.clamp(min=1e-300)).clamp(max=1)
        self._total += factors @ changes
        self._tally.left_out += int((~finite).sum())
        self._tally.loss += float(losses.double().nan_to_num(0, 0, 0).sum())
        self._tally.trained += len(losses)


class Sequential(Generic[E, B]):
    """One member after the other; the next ones' data are read by a thread meanwhile.

    Args:
        world: members and what they learn.
        steps: what each does.
    """

    def __init__(self, world: World[E, B], steps: LocalSteps) -> None:
        self._world, self._steps = world, steps
        self._model = copy.deepcopy(world.model).eval()  # the world's stays as it is
        self._parameters: list[Tensor] = list(network.trainable(self._model).values())

    def run(self, weights: Vector, number: int, parts: Sequence[Sequence[int]]) -> list[Part]:
        """See :class:`Engine`."""
        start = split(torch.tensor(weights), self._parameters)
        norm = self._steps.clipping_norm
        found = [Adding(weights, norm, len(members)) for members in parts]
        places = [adding for adding, members in zip(found, parts, strict=True) for _ in members]
        everybody = [member for members in parts for member in members]
        for adding, examples in zip(places, ahead(self._world.population, everybody), strict=True):
            chosen = self._steps.window(len(examples), number)
            if len(chosen):
                with torch.no_grad():
                    torch._foreach_copy_(self._parameters, start)
                loss = self._train(examples, chosen)
                adding.add([p.detach()[None] for p in self._parameters], loss[None])
        return [adding.part for adding in found]

    def close(self) -> None:
        """Nothing is held."""

    def _train(self, examples: Sequence[E], chosen: NDArray[np.int64]) -> Tensor:
        """Takes a member's steps; their mean loss."""
        sums, taken = torch.zeros(()), 0
        for first in range(0, len(chosen), self._steps.batch):
            picked = pick(examples, chosen[first : first + self._steps.batch])
            batch = self._world.problem.collate(picked)
            loss = self._world.problem.losses(self._model, batch).mean()
            gradients = torch.autograd.grad(loss, self._parameters)
            with torch.no_grad():
                torch._foreach_add_(self._parameters, gradients, alpha=-self._steps.learning_rate)
            sums, taken = sums + loss.detach(), taken + 1
        return sums / taken


class Together(Generic[E, B]):
    """Many members in one program: their weights are stacked, and ``vmap`` trains all at once.

    For networks of which every layer has a batching rule, and batches that are tuples of tensors of
    the same shape for all members. Members with fewer examples than others repeat their last one
    with a weight of nothing; every mean is over the member's own examples.

    Args:
        world: members and what they learn.
        steps: what each does.
    """

    def __init__(self, world: World[E, B], steps: LocalSteps) -> None:
        self._world, self._steps = world, steps
        self._called = Called(world)
        self._names = [f"model.{name}" for name in network.trainable(world.model)]
        self._losses = vmap(self._mean_loss)

    def run(self, weights: Vector, number: int, parts: Sequence[Sequence[int]]) -> list[Part]:
        """See :class:`Engine`."""
        start, norm = torch.tensor(weights), self._steps.clipping_norm
        found = [Adding(weights, norm, len(members)) for members in parts]
        for program in programs(parts, at_once(len(weights))):
            given = [
                (place, [one for one in map(self._world.population.member, members) if len(one)])
                for place, members in program
            ]
            rows = [self._rows(one, number) for _, examples in given for one in examples]
            if rows:
                ends, losses = self._train(start, rows)
                sizes = [len(examples) for _, examples in given]
                shares = zip(*(torch.split(e, sizes) for e in (*ends, losses)), strict=True)
                for (place, examples), share in zip(given, shares, strict=True):
                    if examples:
                        found[place].add(share[:-1], share[-1])
        return [adding.part for adding in found]

    def close(self) -> None:
        """Nothing is held."""

    def _rows(self, examples: Sequence[E], number: int) -> tuple[Tensor, ...]:
        batch: Any = self._world.problem.collate(
            pick(examples, self._steps.window(len(examples), number))
        )
        return tensors_of(batch)

    def _train(self, start: Tensor, rows: list[tuple[Tensor, ...]]) -> tuple[list[Tensor], Tensor]:
        """Members' weights (members, ...) and mean losses (members,)."""
        columns, here = stacked(rows, self._steps.batch)
        shapes = list(network.trainable(self._world.model).values())
        weights = [
            p.expand(len(rows), *p.shape).clone().requires_grad_() for p in split(start, shapes)
        ]
        named = dict(zip(self._names, weights, strict=True))
        sums, batch = torch.zeros(len(rows)), self._steps.batch
        for first in range(0, here.shape[1], batch):
            step = slice(first, first + batch)
            losses = self._losses(named, tuple(c[:, step] for c in columns), here[:, step])
            gradients = torch.autograd.grad(losses.sum(), weights)
            with torch.no_grad():
                torch._foreach_add_(weights, gradients, alpha=-self._steps.learning_rate)
            sums += losses.detach()
        taken = here[:, ::batch].sum(1)  # a step has its first example, or none
        return [w.detach() for w in weights], sums / taken

    def _mean_loss(
        self, weights: dict[str, Tensor], batch: tuple[Tensor, ...], here: Tensor
    ) -> Tensor:
        losses: Tensor = functional_call(self._called, weights, (batch,))
        return (losses * here).sum() / here.sum().clamp(min=1)


class Called(nn.Module):
    """A network and its losses as one module, so that both can be called with other weights."""

    def __init__(self, world: World[Any, Any]) -> None:
        super().__init__()
        self.model = world.model.eval()
        self._problem = world.problem

    def forward(self, batch: Any) -> Tensor:
        """One loss per example, shape (batch,)."""
        return self._problem.losses(self.model, batch)
