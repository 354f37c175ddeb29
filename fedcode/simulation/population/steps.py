# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members' plain local steps, one member after the other or many in one program.

Both engines take the same steps on the same rows, in evaluation mode: no dropout, no batch
statistics. What a member's rows are never changes what another one computes.
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from fedcode.simulation.population.data import Population
from fedcode.simulation.population.problem import World
from fedcode.training import network
from fedcode.weights import Vector

E = TypeVar("E")
B = TypeVar("B")

_ROUNDING = 1e-6  # of a norm in float32: what is clipped stays below C all the same
_MEMORY = 256 << 20
_COPIES = 4  # of a member's weights: its own, its gradient, its change, and that in float64
_MOST = 64  # members of one program: beyond it nothing is gained
_AHEAD = 2  # members that are read before their turn


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
    """Adds up the changes of some members."""

    def run(self, weights: Vector, number: int, members: Sequence[int]) -> Part:
        """Every member of ``members`` takes its steps of round ``number`` from ``weights``."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Adding:
    """Clips members' changes, each as a whole, and adds them up in double precision."""

    def __init__(self, size: int, clipping_norm: float | None, members: int) -> None:
        self._norm = clipping_norm
        self.total, self.tally = np.zeros(size), Tally(members)

    def add(self, changes: Tensor, losses: Tensor) -> None:
        """Takes changes of shape (members, d) and mean losses of shape (members,).

        Whether a change was not finite is as private as the change: it adds nothing.
        """
        wide = changes.double()
        norms = torch.linalg.vector_norm(wide, dim=1)
        finite = torch.isfinite(norms)
        if not finite.all():
            wide[~finite] = 0
            norms = torch.where(finite, norms, 0)
        factors = torch.ones_like(norms)
        if self._norm is not None:
            factors = (self._norm * (1 - _ROUNDING) / norms.clamp(min=1e-300)).clamp(max=1)
        self.total += (factors @ wide).numpy()
        self.tally.left_out += int((~finite).sum())
        self.tally.loss += float(losses.double().nan_to_num(0, 0, 0).sum())
        self.tally.trained += len(losses)


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

    def run(self, weights: Vector, number: int, members: Sequence[int]) -> Part:
        """See :class:`Engine`."""
        start = [t.clone() for t in split(torch.tensor(weights), self._parameters)]
        adding = Adding(len(weights), self._steps.clipping_norm, len(members))
        for examples in ahead(self._world.population, members):
            chosen = self._steps.window(len(examples), number)
            if len(chosen):
                with torch.no_grad():
                    torch._foreach_copy_(self._parameters, start)
                loss = self._train(examples, chosen)
                parts = zip(self._parameters, start, strict=True)
                change = torch.cat([(p.detach() - s).flatten() for p, s in parts])
                adding.add(change[None], loss[None])
        return adding.total, adding.tally

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

    def run(self, weights: Vector, number: int, members: Sequence[int]) -> Part:
        """See :class:`Engine`."""
        adding = Adding(len(weights), self._steps.clipping_norm, len(members))
        start = torch.tensor(weights)
        size = at_once(len(weights))
        for first in range(0, len(members), size):
            given = [self._world.population.member(m) for m in members[first : first + size]]
            given = [examples for examples in given if len(examples)]
            if given:
                adding.add(*self._train(start, [self._rows(one, number) for one in given]))
        return adding.total, adding.tally

    def close(self) -> None:
        """Nothing is held."""

    def _rows(self, examples: Sequence[E], number: int) -> tuple[Tensor, ...]:
        batch: Any = self._world.problem.collate(
            pick(examples, self._steps.window(len(examples), number))
        )
        return tensors_of(batch)

    def _train(self, start: Tensor, rows: list[tuple[Tensor, ...]]) -> tuple[Tensor, Tensor]:
        """Changes (members, d) and mean losses (members,)."""
        columns, here = stacked(rows)
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
        changes = torch.cat([w.detach().flatten(1) for w in weights], 1) - start
        return changes, sums / taken

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


def ahead(population: Population[E], members: Sequence[int]) -> Iterator[Sequence[E]]:
    """Members' examples in order, read by a thread before they are asked for."""
    found: queue.Queue[Sequence[E] | BaseException] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def read() -> None:
        for member in members:
            try:
                one: Sequence[E] | BaseException = population.member(member)
            except BaseException as error:  # noqa: BLE001  raised again where it is waited for
                one = error
            while not stop.is_set():
                try:
                    found.put(one, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if stop.is_set() or isinstance(one, BaseException):
                return

    thread = threading.Thread(target=read, daemon=True, name="members' data")
    thread.start()
    try:
        for _ in members:
            one = found.get()
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        stop.set()
        thread.join()


def pick(examples: Sequence[E], chosen: NDArray[np.int64]) -> Sequence[E]:
    """The examples at ``chosen``: a view where they follow one another."""
    first, last = int(chosen[0]), int(chosen[-1])
    if last - first + 1 == len(chosen):
        return examples[first : last + 1]
    return [examples[i] for i in chosen]


def tensors_of(batch: Any) -> tuple[Tensor, ...]:
    """``batch``, if members' batches of its kind can be stacked.

    Raises:
        TypeError: it is not a tuple of tensors.
    """
    if not isinstance(batch, tuple) or not all(isinstance(part, Tensor) for part in batch):
        raise TypeError("batches are not tuples of tensors")
    return batch


def stacked(rows: Sequence[tuple[Tensor, ...]]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Members' columns as one tensor each, (members, most rows, ...).

    Returns:
        The columns; and 1 where there is a row, 0 where one is repeated, (members, most rows).
    """
    lengths = torch.tensor([len(columns[0]) for columns in rows])
    most = int(lengths.max())
    here = (torch.arange(most) < lengths[:, None]).float()
    if int(lengths.min()) == most:
        return tuple(map(torch.stack, zip(*rows, strict=True))), here
    filled = [
        tuple(torch.cat([c, c[-1:].expand(most - len(c), *c.shape[1:])]) for c in columns)
        for columns in rows
    ]
    return tuple(map(torch.stack, zip(*filled, strict=True))), here


def at_once(weights: int) -> int:
    """How many members' weights are in memory together: public, and the same on every machine."""
    return max(1, min(_MOST, _MEMORY // (4 * (_COPIES + 2) * weights)))


def split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A flat vector as tensors of the shapes of ``like``: views."""
    parts = torch.split(vector, [p.numel() for p in like])
    return [part.view(p.shape) for part, p in zip(parts, like, strict=True)]
