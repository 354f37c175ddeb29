# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One step's units, dealt to the ranks; what each does with its share.

A rank that assists keeps nothing from one step to the next. It holds no receipt, draws nothing and
adds no noise: it cannot, for it is given no mechanism.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fedcode.errors import ConfigError, TrainingError
from fedcode.federation import TrainingSettings
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import Record
from fedcode.task import Losses
from fedcode.training.batches import WholeUnits, examples_by_unit, whole_units
from fedcode.training.clipping import clipping_of, layers
from fedcode.training.network import layout, read, trainable
from fedcode.training.per_record.gathered import Gathered
from fedcode.training.ranks import Numbers, Ranks
from fedcode.training.sums import ClippedSums
from fedcode.weights import digest

if TYPE_CHECKING:
    from fedcode.training.private import PrivateNetwork

E = TypeVar("E")
B = TypeVar("B")

Drawn = Sequence[tuple[int, NDArray[np.int64]]]
"""Units of one step, each with those of its examples that take part, by number."""

_READY = np.zeros(1, np.int64)


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
        network: this rank's copy.
        units: the examples of each unit, the same on all ranks.
        settings: the member's half of a round.
        ranks: this process and the others.
    """

    def __init__(
        self,
        task: Losses[E, B],
        network: PrivateNetwork,
        units: Sequence[Sequence[E]],
        settings: TrainingSettings,
        ranks: Ranks,
    ) -> None:
        self._task, self._network, self._units = task, network, units
        self._settings, self._ranks = settings, ranks

    def agree(self, records: Sequence[Record], policy: PrivacyPolicy) -> None:
        """Whether all ranks train the same, before anything else.

        Raises:
            ConfigError: they do not.
        """
        if self._ranks.size > 1 and not self._ranks.agree(self._fingerprint(records, policy)):
            raise ConfigError(
                "the ranks do not have the same records, settings or public weights",
                "give all of them the same files and the same seeds",
            )

    def ready(self) -> None:
        """On rank 0, before anything is spent: whether all ranks are there.

        Raises:
            TrainingError: one is not.
        """
        if self._ranks.size > 1:
            self._ranks.order(_READY)
            self._answer()

    def lead(self, order: Order, sums: ClippedSums) -> None:
        """On rank 0: this step's units, over all ranks, added to ``sums``."""
        if self._ranks.size > 1:
            self._ranks.order(order.numbers())
        self._take(order, sums)

    def assist(self) -> int:
        """On another rank: its part of all steps, until rank 0 is done.

        Returns:
            The number of steps.

        Raises:
            TrainingError: here or on another rank something failed. It is said when rank 0 is done,
                which has an answer to give.
        """
        steps, failure = 0, None
        while (numbers := self._ranks.order(None)).size:
            try:
                if numbers.size == _READY.size:
                    self._answer()
                    continue
                self._assist(Order.of(numbers))
                steps += 1
            except Exception as error:  # noqa: BLE001  whatever it was, rank 0 was told
                failure = error
        if failure is not None:
            raise failure
        return steps

    def _fingerprint(self, records: Sequence[Record], policy: PrivacyPolicy) -> bytes:
        """SHA-256 over all that the ranks must have in common; it stays among them."""
        model = self._network.model
        lengths = [[self._task.length(example) for example in unit] for unit in self._units]
        found = hashlib.sha256()
        for part in (self._settings, policy, layout(model), lengths, *records):
            found.update(f"{part!r}\n".encode("utf-8", "surrogatepass"))
        trained = trainable(model)
        for name, values in model.state_dict().items():
            if name not in trained:
                raw = values.cpu().contiguous().flatten().view(torch.uint8)
                found.update(name.encode() + raw.numpy().tobytes())
        return found.digest()

    def _answer(self) -> None:
        with self._ranks.together():
            pass

    def _assist(self, order: Order) -> None:
        recorder, model = self._network.recorder, self._network.model
        clipping = clipping_of(self._settings, order.level)
        self._network.train()
        self._take(order, ClippedSums(recorder.parameters, clipping, layers(model)))

    def _take(self, order: Order, sums: ClippedSums) -> None:
        ranks = self._ranks
        ranks.spread([p.detach() for p in self._network.recorder.parameters])
        with ranks.together():
            own = self._dealt(order.drawn)
            for group in whole_units(self._task, own, self._settings.physical_batch):
                self._add(group, sums)
        if order.last and ranks.size > 1:
            used = digest(read(self._network.model))
            if not ranks.agree(bytes.fromhex(used)):
                raise TrainingError("the ranks did not have the same weights")
        sums.add_up(ranks)

    def _dealt(self, drawn: Drawn) -> list[list[E]]:
        """This rank's units, whole; all ranks get short and long ones.

        Rank 0 gets the shorter ones: it draws the noise, too.
        """
        chosen = [[self._units[unit][i] for i in examples] for unit, examples in drawn]
        if self._ranks.size == 1:
            return chosen
        chosen.sort(key=lambda unit: sum(map(self._task.length, unit)))
        return chosen[self._ranks.rank :: self._ranks.size]

    def _add(self, group: WholeUnits[B], sums: ClippedSums) -> None:
        recorder = self._network.recorder
        if group.single:
            for owners, batch in group.batches:
                with recorder.recording(len(owners), "norms") as tape:
                    sums.loss += self._backward(len(owners), batch)
                sums.add(tape)
            return
        gathered = Gathered(recorder.parameters, group.units)
        for owners, batch in group.batches:
            with recorder.recording(len(owners), "samples") as tape:
                sums.loss += self._backward(len(owners), batch)
            gathered.add(tape, owners)
        sums.add(gathered)

    def _backward(self, size: int, batch: B) -> float:
        """The batch's summed loss, after its backward pass."""
        losses = self._task.losses(self._network.model, batch)
        if losses.shape != (size,):
            raise TrainingError(f"one loss per example was expected, not {tuple(losses.shape)}")
        torch.autograd.backward(losses.sum())
        return float(losses.detach().nan_to_num(0, 0, 0).sum())


def assist(
    task: Losses[E, B],
    network: PrivateNetwork,
    records: Sequence[Record],
    settings: TrainingSettings,
    policy: PrivacyPolicy,
    ranks: Ranks,
) -> int:
    """What ranks other than 0 do: their part of all rounds, until rank 0 is done.

    The arguments are those that rank 0 makes its trainer of.

    Returns:
        The number of steps.

    Raises:
        ConfigError: the ranks do not train the same.
        TrainingError: a rank failed.
    """
    units = examples_by_unit(task, records, policy.unit)
    network.verify(task, units)
    share = Share(task, network, units, settings, ranks)
    share.agree(records, policy)
    return share.assist()
