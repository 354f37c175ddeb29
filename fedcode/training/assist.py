# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What ranks other than 0 do: their part of the sums, by rank 0's orders.

They hold no receipt, draw nothing and add no noise: they are given no mechanism. Where each has a
copy of the network they keep nothing from one step to the next; of a sharded one they keep their
part, and the optimizer's, for a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fedcode.federation import TrainingSettings
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import Record
from fedcode.task import Losses
from fedcode.training.batches import examples_by_unit
from fedcode.training.clipping import clipping_of, denominator, layers
from fedcode.training.network import layout, read
from fedcode.training.optimizers import AdamBC, anchor_of, optimizer_of
from fedcode.training.ranks import Numbers, Ranks
from fedcode.training.shares import BEGIN, READY, Order, Share
from fedcode.training.sums import ClippedSums

if TYPE_CHECKING:
    from fedcode.training.private import PrivateNetwork

E = TypeVar("E")
B = TypeVar("B")


def assist(
    task: Losses[E, B],
    network: PrivateNetwork,
    records: Sequence[Record],
    settings: TrainingSettings,
    policy: PrivacyPolicy,
    ranks: Ranks,
) -> int:
    """This rank's part of all rounds, until rank 0 is done.

    The arguments are those that rank 0 makes its trainer of.

    Returns:
        The number of steps.

    Raises:
        ConfigError: the ranks do not train the same.
        TrainingError: another rank failed. Whatever fails here is raised as it is. Both are said
            when rank 0 is done, which has an answer to give.
    """
    units = examples_by_unit(task, records, policy.unit)
    share = Share(task, network, units, settings, policy, ranks)
    share.agree(records)
    network.verify(task, units)
    share.measure()
    assistant = Assistant(share, network, settings, policy, ranks)
    failure = None
    while (numbers := ranks.order(None)).size:
        try:
            assistant.obey(numbers)
        except Exception as error:  # noqa: BLE001  whatever it was, rank 0 was told
            failure = error
    if failure is not None:
        raise failure
    return assistant.steps


class Assistant:
    """Carries out rank 0's orders.

    Args:
        share: this rank's.
        network: this rank's copy, or its part of the only one.
        settings: the member's half of a round.
        policy: what a round pays for.
        ranks: this process and the others.

    Attributes:
        steps: taken so far.
    """

    def __init__(
        self,
        share: Share[E, B],
        network: PrivateNetwork,
        settings: TrainingSettings,
        policy: PrivacyPolicy,
        ranks: Ranks,
    ) -> None:
        self.steps = 0
        self._share, self._model = share, network.model
        self._settings, self._policy, self._ranks = settings, policy, ranks
        network.train()
        self._begin()

    def obey(self, numbers: Numbers) -> None:
        """Carries out one order."""
        if numbers.size > 1:
            self._step(Order.of(numbers))
        elif numbers[0] == READY[0]:
            self._answer()
        elif numbers[0] == BEGIN[0]:
            self._share.write(np.zeros(layout(self._model).size, np.float32))
            self._begin()
        else:
            read(self._model)

    def _begin(self) -> None:
        self._optimizer = optimizer_of(self._settings, self._share.stored)
        self._anchor = anchor_of(self._settings, self._share.stored)

    def _step(self, order: Order) -> None:
        clipping = clipping_of(self._settings, order.level)
        sums = ClippedSums(self._share.parameters, clipping, layers(self._model), self._settings)
        self._share.take(order, sums)
        self.steps += 1
        if self._share.sharded:
            self._answer()
            if self._settings.kind == "gradient-sum":
                return
            if isinstance(self._optimizer, AdamBC):
                by = denominator(clipping, self._settings.nominal_batch)
                self._optimizer.noise_std = self._policy.std / by
            self._share.step(self._optimizer, self._anchor)
            self._optimizer.zero_grad(set_to_none=True)

    def _answer(self) -> None:
        with self._ranks.together():
            pass
