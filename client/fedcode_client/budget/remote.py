# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The organization's ledger, as a training host sees it: over gRPC, and only to be spent from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import Answer, CountersignedHead
from fedcode.privacy.receipt import LEDGER, Receipt
from fedcode.record import PrivacyUnit
from fedcode.services import budget_pb2 as messages
from fedcode_client.budget.asking import BudgetClient
from fedcode_client.budget.pieces import check_size, cut, joined, seconds


class RemoteLedger(BudgetClient):
    """:class:`fedcode.privacy.ledger.WitnessedLedger`, in another process.

    Whatever is asked is asked again where the answer is lost. The service knows a charge by the
    request that it came with, and all else by what it says: nothing is done twice.

    The receipt is made here, of the service's answer. That is fair: a trainer that made its own
    could as well train without one, for it holds the data. What it cannot do is write the ledger,
    raise a cap, or have one charge counted for two rounds. For honest code the receipt is what it
    is anywhere: taken once, in the process that paid.
    """

    def charge(
        self,
        cost: Cost,
        *,
        asset: str,
        agreement: str,
        purpose: str,
        task: str,
        round: int,  # noqa: A002  # the field's word
        others: Sequence[str] = (),
        cohort: int = 1,
        allowance: int | None = None,
    ) -> Receipt:
        """Pays for one release: durable when this returns; see ``BudgetLedger.charge``.

        Raises:
            LedgerUnreachable: nobody knows whether it was paid. If it was, it stays so.
        """
        asked = _asked(cost, asset, agreement, purpose, task, others, cohort, allowance)
        asked.request, asked.round = os.urandom(16).hex(), round
        paid = self._asking.call("Charge", asked)
        return Receipt(
            seq=paid.charge.seq,
            hash=paid.charge.hash,
            asset=asset,
            agreement=agreement,
            task=task,
            round=round,
            unit=PrivacyUnit(paid.unit),
            epsilon=paid.epsilon,
            delta=paid.delta,
            noise_multiplier=cost.noise_multiplier,
            sampling_rate=cost.sampling_rate,
            steps=cost.steps,
            cost_nano=cost.nano,
            seeded=paid.seeded,
            maker=LEDGER,
        )

    def check_charge(
        self,
        cost: Cost,
        *,
        asset: str,
        agreement: str,
        purpose: str,
        task: str,
        others: Sequence[str] = (),
        cohort: int = 1,
        allowance: int | None = None,
    ) -> None:
        """Whether :meth:`charge` would be made now."""
        asked = _asked(cost, asset, agreement, purpose, task, others, cohort, allowance)
        self._asking.call("CheckCharge", asked)

    def arm(self, receipt: Receipt, plan: str, message: bytes) -> None:
        """Keeps the exact bytes that may leave from now on."""
        check_size(len(message))
        header = messages.ArmHeader(charge=_charge(receipt), plan=plan, size=len(message))

        def parts() -> Iterator[messages.ArmPart]:
            yield messages.ArmPart(header=header)
            for piece in cut(message):
                yield messages.ArmPart(content=piece)

        self._asking.call("Arm", parts, more=seconds(len(message)))

    def sent(self, receipt: Receipt) -> None:
        """Notes that the message of ``receipt`` has left, or is about to."""
        self._asking.call("Sent", _charge(receipt))

    def sent_again(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> None:
        """Notes that an answer that was kept has left, or is about to, if that is not noted yet."""
        self._asking.call("SentAgain", _round(asset, agreement, round))

    def refund(self, receipt: Receipt) -> None:
        """Gives a charge back for which nothing was computed, and nothing can be any more."""
        receipt.use()
        self._asking.call("Refund", _charge(receipt))

    def answer(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> Answer | None:
        """What was armed for a round, if anything."""

        def whole(parts: Iterator[messages.AnswerPart]) -> Answer | None:
            header = next(parts, messages.AnswerPart()).header
            if not header.answered:
                return None
            if not header.HasField("size"):
                return Answer(header.plan, None)
            return Answer(header.plan, joined(header.size, (part.content for part in parts)))

        return self._asking.stream("Answer", _round(asset, agreement, round), whole)

    def latch(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
        step: str,
        digest: str,
    ) -> None:
        """Fixes the one answer to a step of a protocol: durable when this returns."""
        where = _round(asset, agreement, round)
        self._asking.call("Latch", messages.LatchRequest(round=where, step=step, digest=digest))

    @property
    def identity(self) -> str:
        """Names this ledger; empty while it has no row."""
        return str(self._asking.call("GetHead", messages.HeadRequest()).ledger)

    @property
    def head(self) -> str:
        """Hash of the last row."""
        return str(self._asking.call("GetHead", messages.HeadRequest()).head)

    def witnessed(self, seen: CountersignedHead) -> None:
        """Keeps what a witness has countersigned."""
        self._asking.call("Witness", _seen(seen))

    def check_witnessed(self, witnessed: Sequence[CountersignedHead]) -> None:
        """Whether all heads are there, or officers have acknowledged that they are lost."""
        heads = messages.WitnessedHeads(heads=[_seen(one) for one in witnessed])
        self._asking.call("CheckWitnessed", heads)


def _asked(
    cost: Cost,
    asset: str,
    agreement: str,
    purpose: str,
    task: str,
    others: Sequence[str],
    cohort: int,
    allowance: int | None,
) -> messages.ChargeRequest:
    return messages.ChargeRequest(
        cost_nano=cost.nano,
        order=cost.order,
        noise_multiplier=cost.noise_multiplier,
        sampling_rate=cost.sampling_rate,
        steps=cost.steps,
        asset=asset,
        agreement=agreement,
        purpose=purpose,
        task=task,
        others=others,
        cohort=cohort,
        allowance=allowance,
    )


def _charge(receipt: Receipt) -> messages.ChargeId:
    return messages.ChargeId(seq=receipt.seq, hash=receipt.hash)


def _round(asset: str, agreement: str, number: int) -> messages.Round:
    return messages.Round(asset=asset, agreement=agreement, round=number)


def _seen(seen: CountersignedHead) -> messages.WitnessedHead:
    return messages.WitnessedHead(
        ledger=seen.ledger, head=seen.head, witness=seen.witness, signature=seen.signature
    )
