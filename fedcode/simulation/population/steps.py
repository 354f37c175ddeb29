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
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from fedcode.simulation.population.data import Population, Rows
from fedcode.simulation.population.problem import World
from fedcode.training import network
from fedcode.weights import Vector

E = TypeVar("E")
B = TypeVar("B")

_ROUNDING = 1e-6  # of a norm in float32: what is clipped stays below C all the same
_MEMORY = 256 << 20
_COPIES = 4  # of a member's weights: its own, its gradient, its change, and that in float64
_MOST = 128  # members of one program: beyond it nothing is gained
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
    if isinstance(examples, Rows):
        return cast("Sequence[E]", examples.take(chosen))
    return [examples[i] for i in chosen]


def tensors_of(batch: Any) -> tuple[Tensor, ...]:
    """``batch``, if members' batches of its kind can be stacked.

    Raises:
        TypeError: it is not a tuple of tensors.
    """
    if not isinstance(batch, tuple) or not all(isinstance(part, Tensor) for part in batch):
        raise TypeError("batches are not tuples of tensors")
    return batch


def stacked(
    rows: Sequence[tuple[Tensor, ...]], batch: int = 1
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Members' columns as one tensor each, (members, rows, ...).

    Args:
        rows: of each member.
        batch: there will be a multiple of it, so that a member's steps have the same shape, and
            the same bits, in any company.

    Returns:
        The columns; and 1 where there is a row, 0 where one is repeated, (members, rows).
    """
    lengths = torch.tensor([len(columns[0]) for columns in rows])
    most = -(-int(lengths.max()) // batch) * batch
    here = (torch.arange(most) < lengths[:, None]).float()
    if int(lengths.min()) < most:
        rows = [tuple(_repeated(column, most) for column in columns) for columns in rows]
    return tuple(map(torch.stack, zip(*rows, strict=True))), here


def _repeated(column: Tensor, size: int) -> Tensor:
    """A column with its last row repeated."""
    return torch.cat([column, column[-1:].expand(size - len(column), *column.shape[1:])])


def programs(
    parts: Sequence[Sequence[int]], size: int
) -> Iterator[list[tuple[int, Sequence[int]]]]:
    """What is trained together: at most ``size`` members, of whole parts if they are so small.

    A part is cut in the same places whatever other parts there are, so that its sum is the same.

    Returns:
        For each program its pieces: the number of the part, and members of it.
    """
    program: list[tuple[int, Sequence[int]]] = []
    filled = 0
    for place, members in enumerate(parts):
        for first in range(0, len(members), size):
            piece = members[first : first + size]
            if program and filled + len(piece) > size:
                yield program
                program, filled = [], 0
            program.append((place, piece))
            filled += len(piece)
    if program:
        yield program


def at_once(weights: int) -> int:
    """How many members' weights are in memory together: public, and the same on every machine."""
    return max(1, min(_MOST, _MEMORY // (4 * (_COPIES + 2) * weights)))


def split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A flat vector as tensors of the shapes of ``like``: views."""
    parts = torch.split(vector, [p.numel() for p in like])
    return [part.view(p.shape) for part, p in zip(parts, like, strict=True)]
