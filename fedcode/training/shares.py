# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One step's units, dealt to the ranks; what each does with its share.

Whole units are dealt, and each is clipped by one rank. The sums meet on rank 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.errors import ConfigError, TrainingError
from fedcode.federation import TrainingSettings
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import Record
from fedcode.task import Losses
from fedcode.training.batches import WholeUnits, passes, whole_units
from fedcode.training.clipping import clipping_of, layers
from fedcode.training.memory import fitting
from fedcode.training.network import device, layout, of_all, read, trainable, write
from fedcode.training.optimizers import pull
from fedcode.training.per_record.gathered import Gathered
from fedcode.training.ranks import Numbers, Ranks
from fedcode.training.sharding import hand_out, is_sharded, stored
from fedcode.training.sums import ClippedSums, Means
from fedcode.weights import Vector, digest

if TYPE_CHECKING:
    from fedcode.training.private import PrivateNetwork

E = TypeVar("E")
B = TypeVar("B")

Drawn = Sequence[tuple[int, NDArray[np.int64]]]
"""Units of one step, each with those of its examples that take part, by number."""

READY, BEGIN, RESULT = (np.array([number], np.int64) for number in range(3))
"""Orders of one number; that of a step has more."""


@dataclass(frozen=True, slots=True)
class Order:
    """What all ranks must know of one step; the weights come after it.

    Attributes:
        drawn: as rank 0 drew it.
        level: of adaptive clipping; None for any other.
        last: of the round.
    """

    drawn: Drawn
    level: float | None
    last: bool

    def numbers(self) -> Numbers:
        """As ranks send it."""
        level = np.float64(np.nan if self.level is None else self.level)
        parts = [np.array([self.last, level.view(np.int64)], np.int64)]
        for unit, examples in self.drawn:
            parts += [np.array([unit, len(examples)], np.int64), examples]
        return np.concatenate(parts)

    @classmethod
    def of(cls, numbers: Numbers) -> Self:
        """From what was sent."""
        level = float(numbers[1].view(np.float64))
        return cls(list(_drawn(numbers[2:])), None if np.isnan(level) else level, bool(numbers[0]))


def _drawn(numbers: Numbers) -> Iterator[tuple[int, Numbers]]:
    while len(numbers):
        end = 2 + int(numbers[1])
        yield int(numbers[0]), numbers[2:end]
        numbers = numbers[end:]


class Share(Generic[E, B]):
    """This rank's part of the steps on an organization's units.

    Args:
        task: builds batches and losses.
        network: this rank's copy, or its part of the only one.
        units: the examples of each unit, the same on all ranks.
        settings: the member's half of a round.
        policy: what a round pays for.
        ranks: this process and the others.

    Attributes:
        sharded: whether each rank stores a part of the network; else each has a copy.
        size: examples in memory at once; 0 before :meth:`measure`.
    """

    def __init__(
        self,
        task: Losses[E, B],
        network: PrivateNetwork,
        units: Sequence[Sequence[E]],
        settings: TrainingSettings,
        policy: PrivacyPolicy,
        ranks: Ranks,
    ) -> None:
        self._task, self._network, self._units = task, network, units
        self._settings, self._policy, self._ranks = settings, policy, ranks
        self.sharded = is_sharded(network.model)
        self.size = settings.physical_batch or 0
        if self.sharded and not self.size:
            raise ConfigError(
                "the memory of a sharded network is not measured", "set physical_batch"
            )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained, as the layers see them."""
        return self._network.recorder.parameters

    @property
    def stored(self) -> list[nn.Parameter]:
        """The same, as this rank stores them."""
        return stored(self._network.model)

    def agree(self, records: Iterable[Record]) -> None:
        """Whether all ranks train the same, before anything else.

        Raises:
            ConfigError: they do not.
        """
        if self._ranks.size > 1 and not self._ranks.agree(self._fingerprint(records)):
            raise ConfigError(
                "the ranks do not have the same records, settings or public weights",
                "give all of them the same files and the same seeds",
            )

    def measure(self) -> None:
        """Finds out how many examples fit into this rank's memory, if nobody has said it."""
        if self.size:
            return
        longest = max((e for unit in self._units for e in unit), key=self._task.length)
        room = self._settings.memory_mib << 20
        self.size = self._network.fitting(
            self._task,
            self._task.length(longest),
            lambda: fitting(partial(self._try, longest), room, device()),
        )

    def ready(self) -> None:
        """On rank 0, before anything is spent: whether all ranks are there.

        Raises:
            TrainingError: one is not.
        """
        self._order(READY)
        with self._ranks.together():
            pass

    def begin(self, weights: Vector) -> None:
        """On rank 0: a round, from ``weights``."""
        layout(self._network.model).unflatten(weights)  # fails, if it does, while nobody waits
        if self.sharded:
            self._order(BEGIN)
        self.write(weights)

    def lead(self, order: Order, sums: ClippedSums) -> None:
        """On rank 0: this step's units, over all ranks, added to ``sums``."""
        self._order(order.numbers())
        self.take(order, sums)

    def noising(self) -> AbstractContextManager[None]:
        """On rank 0, around the noise: the others wait if they are to take the step, too."""
        return self._ranks.together() if self.sharded else nullcontext()

    def result(self) -> Vector:
        """On rank 0: the weights, shape (d,)."""
        if self.sharded:
            self._order(RESULT)
        return read(self._network.model)

    def write(self, weights: Vector) -> None:
        """Sets the weights, of which only rank 0's count, for a round."""
        write(self._network.model, weights)
        self._network.train()

    def take(self, order: Order, sums: ClippedSums) -> None:
        """This rank's units of a step, added to ``sums``; on rank 0 then those of all ranks."""
        ranks, size = self._ranks, self.size
        if not self.sharded:
            ranks.spread([p.detach() for p in self.parameters])
        with ranks.together():
            shares = self._dealt(order.drawn)
            for group in whole_units(self._task, shares[ranks.rank], size):
                self._add(group, sums)
            if self.sharded:
                needed = [passes(share, size) for share in shares]
                self._keep_pace(max(needed) - needed[ranks.rank])
        if order.last and ranks.size > 1 and not self.sharded:
            used = digest(read(self._network.model))
            if not ranks.agree(bytes.fromhex(used)):
                raise TrainingError("the ranks did not have the same weights")
        sums.add_up(ranks)

    def step(self, optimizer: torch.optim.Optimizer, anchor: Mapping[nn.Parameter, Tensor]) -> None:
        """Takes a step on what this rank stores, with its part of rank 0's noised gradient."""
        hand_out(self.parameters, self.stored)
        pull(anchor, self._settings.proximal)
        optimizer.step()

    def _try(self, example: E, size: int) -> None:
        """A step of so many units of one example each, of which nothing is kept."""
        single = all(len(unit) == 1 for unit in self._units)
        batch = self._task.collate([example] * size)
        clipping, numbers = clipping_of(self._settings), layers(self._network.model)
        group = WholeUnits(size, single, iter([(list(range(size)), batch)]))
        self._add(group, ClippedSums(self.parameters, clipping, numbers, self._settings))

    def _order(self, numbers: Numbers) -> None:
        if self._ranks.size > 1:
            self._ranks.order(numbers)

    def _fingerprint(self, records: Iterable[Record]) -> bytes:
        """SHA-256 over all that the ranks must have in common; it stays among them."""
        model = self._network.model
        lengths = [[self._task.length(example) for example in unit] for unit in self._units]
        found = hashlib.sha256()
        for part in (self._settings, self._policy, layout(model), lengths, *records):
            found.update(f"{part!r}\n".encode("utf-8", "surrogatepass"))
        trained = trainable(model)
        for name, values in model.state_dict().items():
            if name not in trained:
                raw = of_all(values).cpu().contiguous().flatten().view(torch.uint8)
                found.update(name.encode() + raw.numpy().tobytes())
        return found.digest()

    def _dealt(self, drawn: Drawn) -> list[list[list[E]]]:
        """Each rank's units, whole; all ranks get short and long ones.

        Rank 0 gets the shorter ones: it draws the noise, too.
        """
        chosen = [[self._units[unit][i] for i in examples] for unit, examples in drawn]
        chosen.sort(key=lambda unit: sum(map(self._task.length, unit)))
        return [chosen[rank :: self._ranks.size] for rank in range(self._ranks.size)]

    def _keep_pace(self, more: int) -> None:
        """Passes of which nothing is kept: all ranks gather a sharded layer's weights at once."""
        for _ in range(more):
            with self._network.recorder.recording(1, "sums"):
                self._backward(1, self._task.collate([self._units[0][0]]))

    def _add(self, group: WholeUnits[B], sums: ClippedSums) -> None:
        recorder = self._network.recorder
        if group.single:
            for owners, batch in group.batches:
                with recorder.recording(len(owners), "norms") as tape:
                    losses = self._backward(len(owners), batch)
                sums.loss += _summed(losses)
                sums.add(tape, losses)
            return
        gathered, means = Gathered(recorder.parameters, group.units), Means(group.units)
        for owners, batch in group.batches:
            with recorder.recording(len(owners), "samples") as tape:
                losses = self._backward(len(owners), batch)
            sums.loss += _summed(losses)
            gathered.add(tape, owners)
            means.add(losses, owners)
        sums.add(gathered, means.values())

    def _backward(self, size: int, batch: B) -> Tensor:
        """The losses of the batch's examples, (size,), after its backward pass."""
        losses = self._task.losses(self._network.model, batch)
        if losses.shape != (size,):
            raise TrainingError(f"one loss per example was expected, not {tuple(losses.shape)}")
        torch.autograd.backward(losses.sum())
        return losses.detach()


def _summed(losses: Tensor) -> float:
    return float(losses.nan_to_num(0, 0, 0).sum())
