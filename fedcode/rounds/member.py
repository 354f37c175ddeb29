# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The member's half of a round: consent, charge, train, mask, keep, send. In this order, always."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from fedcode.agreement import Agreement
from fedcode.errors import (
    BudgetExhausted,
    DataRefused,
    LedgerDamaged,
    LedgerUnreachable,
    Misbehaviour,
    OutOfRange,
    PolicyRefusal,
    PrivacyError,
    SecureSumError,
    WireError,
)
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import Ledger
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import Release
from fedcode.rounds.sessions import sessions
from fedcode.secure_sum import Session, SummingMember
from fedcode.signing import SigningKey
from fedcode.trainer import LocalReport, Trainer
from fedcode.weights import Vector
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Message,
    Plan,
    Received,
    Refusal,
    RefusalCode,
    ShareDelivery,
    SurvivorList,
    Update,
    decode,
    encode,
    sign,
    verified,
)


class _ChargedTo(TypedDict):
    """What a charge is for, as the ledger wants it; beside its round and cost."""

    asset: str
    others: tuple[str, ...]
    agreement: str
    purpose: str
    task: str
    cohort: int
    allowance: int


class _Refused(Exception):
    """The reason why nothing else is answered."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True, eq=False)
class _Sum:
    """A secure sum that this member takes part in.

    Attributes:
        session: the sum.
        weights: where training starts.
        half: our half of the protocol.
        cohort: all whom the plan names, those of other groups too.
        paid: whether it was charged for: a term that could not be made is not made again.
    """

    session: Session
    weights: Vector
    half: SummingMember
    cohort: tuple[str, ...]
    paid: bool = False


@dataclass(frozen=True, slots=True)
class _RoundLatch:
    """The ledger, as a secure sum sees it: one answer to each step of a round, for good."""

    ledger: Ledger
    asset: str
    agreement: str
    round: int

    def latch(self, step: str, digest: str) -> None:
        try:
            self.ledger.latch(self.asset, self.agreement, self.round, step, digest)
        except (LedgerDamaged, LedgerUnreachable):
            raise
        except PrivacyError as error:  # of a sum that a restart has ended
            raise SecureSumError(str(error)) from error


class Member:
    """One organization's half.

    Attributes:
        error: why the last ``failed`` was answered, for the organization's own eyes.
        refused: the code that was answered last; None if it was no refusal.
        why: what the ledger or the data's tests said, where it was the budget, the policy or the
            data; our own eyes' as well.
        objection: what was wrong with the last message that did not fit the secure sum; a
            :class:`~fedcode.errors.Misbehaviour` names the culprit, has the evidence, and stays
            until there is another one.
        confirmed: called with the signed proof of who survived a sum of ours, which is a line of a
            transcript, before our shares leave.
        permitted: called before a round is charged for; raises :class:`~fedcode.errors.DataRefused`
            where our data may not be trained on now.

    Args:
        name: the member's name in the roster.
        asset: the ledger's account that the data belongs to; it has the answers.
        agreement: what the organization agreed to; another plan is refused.
        cost: what one round costs on each account.
        allowance: the most that this agreement may spend on each account.
        ledger: the organization's ledger; the accounts are open.
        trainer: local training.
        key: signs all that is sent; the one that the roster names.
        others: the accounts that the rest of the data belongs to: they all pay for every round.
        simulated: the accounts are a simulation's, under no policy; they protect nobody.

    Raises:
        PrivacyError: an account, the cost or the key is not what the agreement says, or an account
            is a simulation's and this is none.
    """

    def __init__(
        self,
        name: str,
        asset: str,
        agreement: Agreement,
        cost: Cost,
        allowance: int,
        ledger: Ledger,
        trainer: Trainer,
        key: SigningKey,
        *,
        others: Sequence[str] = (),
        simulated: bool = False,
    ) -> None:
        self.name = name
        self.asset, self._others = asset, tuple(others)
        self.error: Exception | None = None
        self.refused: RefusalCode | None = None
        self.why = ""
        self.objection: SecureSumError | None = None
        self.confirmed: Callable[[dict[str, Any]], None] = lambda _proof: None
        self.permitted: Callable[[], None] = lambda: None
        self._agreement = agreement
        self._digest = agreement.digest()
        self._cost = cost
        self._allowance = allowance
        self._ledger = ledger
        self._trainer = trainer
        self._key = key
        if agreement.aggregation.masked:
            self._lattice = agreement.lattice()
        self._sum: _Sum | None = None
        self._one_at_a_time = threading.Lock()
        self._check_accounts(simulated)

    @property
    def assets(self) -> tuple[str, ...]:
        """The accounts that pay, the one first that has the answers."""
        return (self.asset, *self._others)

    @property
    def report(self) -> LocalReport:
        """The trainer's last figures, for the organization's own eyes."""
        return self._trainer.report

    def answer(self, data: bytes) -> bytes:
        """The bytes of an answer, or of a refusal that says no more than a code."""
        number, self.refused, self.why = 1, None, ""
        try:
            message = self._read(data)
            number = message.round
            with self._one_at_a_time:
                return self._answer(message, hashlib.sha256(data).hexdigest())
        except _Refused as refused:
            code = refused.code
        except BudgetExhausted as error:
            code, self.why = RefusalCode.BUDGET, str(error)
        except PolicyRefusal as error:
            code, self.why = RefusalCode.POLICY, str(error)
        except DataRefused as error:
            code, self.why = RefusalCode.DATA, str(error)
        except OutOfRange:
            code = RefusalCode.RANGE
        except SecureSumError as error:
            self._object(error)
            code = RefusalCode.PROTOCOL
        except Exception as error:  # noqa: BLE001  a text could hold source code: none may leave
            self.error, code = error, RefusalCode.FAILED
        self.refused = code
        return encode(sign(Refusal(self._digest, number, self.name, code), self._key))

    def _object(self, error: SecureSumError) -> None:
        """Keeps what was wrong; a proof is not lost to what follows from it."""
        if isinstance(error, Misbehaviour) or not isinstance(self.objection, Misbehaviour):
            self.objection = error

    def _read(self, data: bytes) -> Received:
        """A message that the coordinator has signed."""
        agreed = self._agreement
        try:
            message = decode(data, weights=agreed.weights, length=agreed.length)
        except WireError:
            raise _Refused(RefusalCode.PLAN) from None
        if message.agreement != self._digest:
            raise _Refused(RefusalCode.AGREEMENT)
        if not verified(message, agreed.roster.coordinator):
            raise _Refused(RefusalCode.PLAN)
        return message

    def _answer(self, message: Received, asked: str) -> bytes:
        if isinstance(message, Plan):
            self._consent(message)
            if self._agreement.aggregation.masked:
                return self._begin(message, asked)
            return self._once(message.round, asked, lambda: self._update(message, asked))
        running = self._sum
        if running is None or message.round != running.session.round:
            raise _Refused(RefusalCode.PLAN)  # over, or lost in a restart: it cannot go on
        match message:
            case KeyBook():
                return encode(running.half.shares(message))
            case ShareDelivery():
                running.half.accept(message)
                return self._once(message.round, asked, lambda: self._masked(running, asked))
            case SurvivorList():
                return encode(running.half.confirm(message))
            case ConfirmationList():
                answer = encode(running.half.reveal(message))
                self.confirmed(_proof(running.cohort, message, self._agreement.task))
                return answer
        raise _Refused(RefusalCode.PLAN)

    def _consent(self, plan: Plan) -> None:
        """Refuses what is not what was agreed on, and a cohort too small for what was."""
        agreed = self._agreement
        known = self.name in plan.cohort and set(plan.cohort) <= set(agreed.roster.names)
        enough = agreed.possible(len(plan.cohort))
        if not known or not enough or plan.round > agreed.rounds:
            raise _Refused(RefusalCode.PLAN)

    def _begin(self, plan: Plan, asked: str) -> bytes:
        """The keys for a secure sum: one plan a round, and no round before one that has begun.

        Whoever could not pay refuses here: without it there may be no sum, and the others would pay
        for nothing.
        """
        running = self._sum
        if (
            running is not None
            and plan.round == running.session.round
            and asked == running.session.plan
        ):
            return encode(running.half.keys())
        late = running is not None and plan.round <= running.session.round
        if late or any(self._answered(asset, plan.round) for asset in self.assets):
            raise _Refused(RefusalCode.PLAN)
        self._forget()
        every = sessions(self._agreement, plan, asked)
        session = next(one for one in every if self.name in one.names)
        self.permitted()
        self._ledger.check_charge(self._cost, **self._charged_to(session.threshold))
        latch = _RoundLatch(self._ledger, self.asset, self._digest, plan.round)
        half = SummingMember(session, self.name, self._key, latch)
        keys = encode(half.keys())
        self._sum = _Sum(session, plan.weights, half, tuple(sorted(plan.cohort)))
        return keys

    def close(self) -> None:
        """Forgets the keys of a secure sum that is over, or will never be.

        It waits for an answer that is being made: its masks must not be wiped under it.
        """
        with self._one_at_a_time:
            self._forget()

    def _forget(self) -> None:
        if self._sum is not None:
            self._sum.half.wipe()
            self._sum = None

    def _once(self, number: int, asked: str, compute: Callable[[], bytes]) -> bytes:
        """What was sent for ``asked`` before, to the byte; else what is computed now.

        A round is answered once: the same request again gets the same bytes again, and another one
        for the same round is refused.
        """
        before = self._ledger.answer(self.asset, self._digest, number)
        if before is None:
            if any(self._answered(other, number) for other in self._others):
                raise _Refused(RefusalCode.PLAN)  # with less of our code: never twice with any
            return compute()
        if before.plan != asked or before.message is None:
            raise _Refused(RefusalCode.PLAN)
        self._ledger.sent_again(self.asset, self._digest, number)
        return before.message

    def _answered(self, asset: str, number: int) -> bool:
        return self._ledger.answer(asset, self._digest, number) is not None

    def _update(self, plan: Plan, asked: str) -> bytes:
        """What leaves where nothing is masked."""
        self.permitted()
        receipt = self._charge(plan.round, len(plan.cohort))
        release = self._train(plan.weights, receipt)
        update = Update(self._digest, plan.round, self.name, release.unmasked())
        return self._kept(sign(update, self._key), receipt, asked)

    def _masked(self, running: _Sum, asked: str) -> bytes:
        """What leaves in a secure sum."""
        if running.paid:
            raise _Refused(RefusalCode.PLAN)
        receipt = self._charge(running.session.round, running.session.threshold)
        running.paid = True
        release = self._train(running.weights, receipt)
        term = release.term(self._lattice)
        return self._kept(running.half.mask(term), receipt, asked)

    def _kept(self, message: Message, receipt: Receipt, asked: str) -> bytes:
        """The bytes of ``message``, which are in the outbox before they leave."""
        data = encode(message)
        self._ledger.arm(receipt, asked, data)
        self._ledger.sent(receipt)
        return data

    def _check_accounts(self, simulated: bool) -> None:
        for asset in self.assets:
            self._check_one(asset, simulated)

    def _check_one(self, asset: str, simulated: bool) -> None:
        account, agreed, cost = self._ledger.account(asset), self._agreement, self._cost
        if account is None or account.seeded != simulated:
            raise PrivacyError(f"asset {asset} has no account of the kind that is wanted")
        if account.budget.order != cost.order:
            raise PrivacyError(
                f"the accounts {self.asset} and {asset} are of different orders, "
                f"{cost.order:g} and {account.budget.order:g}",
                "open the accounts of one organization with one order",
            )
        training = agreed.training
        for name, wanted, ours in (
            ("key", dict(agreed.roster.members).get(self.name), self._key.public),
            ("unit", agreed.unit, account.unit),
            ("noise_multiplier", agreed.noise_multiplier, cost.noise_multiplier),
            ("sampling_rate", training.sampling_rate, cost.sampling_rate),
            ("steps", training.steps_per_round, cost.steps),
        ):
            if wanted != ours:
                raise PrivacyError(f"{name} is {wanted} in the agreement, and {ours} here")

    def _charge(self, number: int, cohort: int) -> Receipt:
        return self._ledger.charge(self._cost, round=number, **self._charged_to(cohort))

    def _charged_to(self, cohort: int) -> _ChargedTo:
        """What a round is charged to; ``cohort`` are those who are in it for certain."""
        return {
            "asset": self.asset,
            "others": self._others,
            "agreement": self._digest,
            "purpose": self._agreement.purpose,
            "task": self._agreement.task,
            "cohort": cohort,
            "allowance": self._allowance,
        }

    def _train(self, weights: Vector, receipt: Receipt) -> Release:
        """Trains; where it fails before it has computed anything, the charge is given back."""
        try:
            return self._trainer.train(weights, receipt)
        except Exception:
            if not receipt.used:
                self._ledger.refund(receipt)
            raise


def _proof(cohort: tuple[str, ...], confirmed: ConfirmationList, task: str) -> dict[str, Any]:
    """What members have signed of the survivors, as a coordinator's transcript has it."""
    said = confirmed
    about = (said.transcript, said.sharers, said.survivors)
    messages = (
        Confirmation(said.agreement, said.round, said.plan, name, *about, signature)
        for name, signature in said.confirmations
    )
    signed = [encode(message).hex() for message in messages]
    return {"task": task, "round": said.round, "cohort": list(cohort), "confirmations": signed}
