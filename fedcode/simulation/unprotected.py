# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A member without privacy: the yardstick of a simulation.

It stands here, out of reach of the programs that organizations run. It sends a plain change of
weights through the same half of the coordinator.
"""

from __future__ import annotations

from fedcode.agreement import Agreement
from fedcode.errors import WireError
from fedcode.privacy.release import Unmasked
from fedcode.signing import SigningKey
from fedcode.simulation.learners import PlainTraining
from fedcode.trainer import LocalReport
from fedcode.weights import Vector
from fedcode.wire import Plan, Update, decode, encode, sign


class Unprotected(Unmasked):
    """A term that nothing was done to: no noise, no receipt. Simulations only."""

    def __init__(self, values: Vector) -> None:
        object.__setattr__(self, "values", values)


class UnprotectedMember:
    """Answers plans with plain changes of weights.

    Attributes:
        report: the last round's loss.
        error: none: what goes wrong here is raised.

    Args:
        name: the member's name.
        agreement: what it takes part in.
        train: its training.
        key: signs what it sends.
    """

    def __init__(
        self, name: str, agreement: Agreement, train: PlainTraining, key: SigningKey
    ) -> None:
        self.name = name
        self.report = LocalReport()
        self.error: Exception | None = None
        self._agreement = agreement
        self._train = train
        self._key = key

    def answer(self, data: bytes) -> bytes:
        """The bytes of an update."""
        agreed = self._agreement
        plan = decode(data, weights=agreed.weights, length=agreed.length)
        if not isinstance(plan, Plan):
            raise WireError("a plan was expected")
        change, loss = self._train(plan.weights, plan.round)
        self.report = LocalReport(loss)
        update = Update(plan.agreement, plan.round, self.name, Unprotected(change))
        return encode(sign(update, self._key))
