# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The member's half of a round: consent, charge, train, send. In this order, always."""

from __future__ import annotations

from fedcode.agreement import Agreement
from fedcode.errors import BudgetExhausted, WireError
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import BudgetLedger
from fedcode.trainer import LocalReport, Trainer
from fedcode.wire import Plan, Refusal, RefusalCode, Update, decode, encode


class Member:
    """One organization's half.

    Attributes:
        error: why the last ``failed`` was answered, for the organization's own eyes.

    Args:
        name: the member's name in the roster.
        asset: the ledger's account that the data belongs to.
        agreement: what the organization agreed to; another plan is refused.
        cost: what one round costs on the account.
        allowance: the most that this agreement may spend on the account.
        ledger: the organization's ledger; the account is open.
        trainer: local training.
    """

    def __init__(
        self,
        name: str,
        asset: str,
        agreement: Agreement,
        cost: Cost,
        allowance: int,
        ledger: BudgetLedger,
        trainer: Trainer,
    ) -> None:
        self.name = name
        self.asset = asset
        self.error: Exception | None = None
        self._agreement = agreement
        self._cost = cost
        self._allowance = allowance
        self._ledger = ledger
        self._trainer = trainer

    @property
    def report(self) -> LocalReport:
        """The trainer's last figures, for the organization's own eyes."""
        return self._trainer.report

    def answer(self, data: bytes) -> bytes:
        """The bytes of an update, or of a refusal that says no more than a code."""
        digest = self._agreement.digest()
        try:
            plan = decode(data, weights=self._agreement.weights)
        except WireError:
            return encode(Refusal(digest, 1, self.name, RefusalCode.PLAN))
        if not isinstance(plan, Plan):
            return encode(Refusal(digest, 1, self.name, RefusalCode.PLAN))
        code = self._object(plan)
        if code is not None:
            return encode(Refusal(digest, plan.round, self.name, code))
        try:
            return encode(self._take_part(plan))
        except BudgetExhausted:
            return encode(Refusal(digest, plan.round, self.name, RefusalCode.BUDGET))
        except Exception as error:  # noqa: BLE001  a text could hold source code: none may leave
            self.error = error
            return encode(Refusal(digest, plan.round, self.name, RefusalCode.FAILED))

    def _object(self, plan: Plan) -> RefusalCode | None:
        """Consent: the reason not to take part, if there is one."""
        if plan.agreement != self._agreement.digest():
            return RefusalCode.AGREEMENT
        if self.name not in plan.cohort or not set(plan.cohort) <= set(self._agreement.roster):
            return RefusalCode.PLAN
        if plan.round > self._agreement.rounds:
            return RefusalCode.PLAN
        spent = self._ledger.spent(self.asset, plan.agreement)
        if spent + self._cost.nano > self._allowance:
            return RefusalCode.BUDGET
        return None

    def _take_part(self, plan: Plan) -> Update:
        receipt = self._ledger.charge(
            self._cost,
            asset=self.asset,
            agreement=plan.agreement,
            task=self._agreement.task,
            round=plan.round,
        )
        release = self._trainer.train(plan.weights, receipt)
        self._ledger.sent(receipt)
        return Update(plan.agreement, plan.round, self.name, release.unmasked())
