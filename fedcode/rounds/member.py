# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The member's half of a round: consent, charge, train, keep, send. In this order, always."""

from __future__ import annotations

import hashlib
import threading

from fedcode.agreement import Agreement
from fedcode.errors import BudgetExhausted, PolicyRefusal, PrivacyError, WireError
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import Release
from fedcode.trainer import LocalReport, Trainer
from fedcode.wire import Plan, Refusal, RefusalCode, Update, decode, encode


class _Refused(Exception):
    """The reason why nothing else is answered."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(code)
        self.code = code


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
        simulated: the account is a simulation's, under no policy; it protects nobody.

    Raises:
        PrivacyError: the account or the cost is not what the agreement says, or the account is a
            simulation's and this is none.
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
        *,
        simulated: bool = False,
    ) -> None:
        self.name = name
        self.asset = asset
        self.error: Exception | None = None
        self._agreement = agreement
        self._cost = cost
        self._allowance = allowance
        self._ledger = ledger
        self._trainer = trainer
        self._one_at_a_time = threading.Lock()
        self._check_account(simulated)

    @property
    def report(self) -> LocalReport:
        """The trainer's last figures, for the organization's own eyes."""
        return self._trainer.report

    def answer(self, data: bytes) -> bytes:
        """The bytes of an update, or of a refusal that says no more than a code."""
        number = 1
        try:
            plan = self._plan(data)
            number = plan.round
            with self._one_at_a_time:
                return self._answer(plan, hashlib.sha256(data).hexdigest())
        except _Refused as refused:
            code = refused.code
        except BudgetExhausted:
            code = RefusalCode.BUDGET
        except PolicyRefusal:
            code = RefusalCode.POLICY
        except Exception as error:  # noqa: BLE001  a text could hold source code: none may leave
            self.error, code = error, RefusalCode.FAILED
        return encode(Refusal(self._agreement.digest(), number, self.name, code))

    def _plan(self, data: bytes) -> Plan:
        try:
            plan = decode(data, weights=self._agreement.weights, length=self._agreement.weights)
        except WireError:
            raise _Refused(RefusalCode.PLAN) from None
        if not isinstance(plan, Plan):
            raise _Refused(RefusalCode.PLAN)
        return plan

    def _answer(self, plan: Plan, asked: str) -> bytes:
        """The bytes for ``plan``, of which ``asked`` is the digest: always the same for the same.

        A round is answered once: the same plan again gets the same bytes again, and another plan
        for the same round is refused.
        """
        self._consent(plan)
        before = self._ledger.answer(self.asset, plan.agreement, plan.round)
        if before is None:
            return self._take_part(plan, asked)
        if before.plan != asked or before.message is None:
            raise _Refused(RefusalCode.PLAN)
        self._ledger.sent_again(self.asset, plan.agreement, plan.round)
        return before.message

    def _consent(self, plan: Plan) -> None:
        """Refuses what is not what was agreed on."""
        if plan.agreement != self._agreement.digest():
            raise _Refused(RefusalCode.AGREEMENT)
        known = set(plan.cohort) <= set(self._agreement.roster)
        if self.name not in plan.cohort or not known or plan.round > self._agreement.rounds:
            raise _Refused(RefusalCode.PLAN)

    def _check_account(self, simulated: bool) -> None:
        account, agreed, cost = self._ledger.account(self.asset), self._agreement, self._cost
        if account is None or account.seeded != simulated:
            raise PrivacyError(f"asset {self.asset} has no account of the kind that is wanted")
        training = agreed.training
        for name, wanted, ours in (
            ("unit", agreed.unit, account.unit),
            ("delta", agreed.delta, account.budget.delta),
            ("noise_multiplier", agreed.noise_multiplier, cost.noise_multiplier),
            ("sampling_rate", training.sampling_rate, cost.sampling_rate),
            ("steps", training.steps_per_round, cost.steps),
        ):
            if wanted != ours:
                raise PrivacyError(f"{name} is {wanted} in the agreement, and {ours} here")

    def _take_part(self, plan: Plan, asked: str) -> bytes:
        receipt = self._ledger.charge(
            self._cost,
            asset=self.asset,
            agreement=plan.agreement,
            purpose=self._agreement.purpose,
            task=self._agreement.task,
            round=plan.round,
            cohort=len(plan.cohort),
            allowance=self._allowance,
        )
        release = self._train(plan, receipt)
        message = encode(Update(plan.agreement, plan.round, self.name, release.unmasked()))
        self._ledger.arm(receipt, asked, message)
        self._ledger.sent(receipt)
        return message

    def _train(self, plan: Plan, receipt: Receipt) -> Release:
        """Trains; where it fails before it has computed anything, the charge is given back."""
        try:
            return self._trainer.train(plan.weights, receipt)
        except Exception:
            if not receipt.used:
                self._ledger.refund(receipt)
            raise
