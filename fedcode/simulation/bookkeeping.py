# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One ledger for members in several processes: who keeps the file, and what members see of it.

The file is written by one process, on the machine where it lies: SQLite's write-ahead log is not
for files that several machines share.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import Account, Answer, BudgetLedger
from fedcode.privacy.receipt import LEDGER, Receipt
from fedcode.simulation.cluster import answer_of


class Bookkeeper:
    """Has the ledger open, and does to it what members ask; an actor of Ray's.

    Args:
        path: of the ledger.
    """

    def __init__(self, path: Path) -> None:
        self._ledger = BudgetLedger.open(path)
        self._receipts: dict[int, Receipt] = {}

    def charge(self, cost: Cost, charged_to: dict[str, Any]) -> dict[str, Any]:
        """What the receipt of a charge says; the receipt itself stays."""
        receipt = self._ledger.charge(cost, **charged_to)
        self._receipts[receipt.seq] = receipt
        return {one.name: getattr(receipt, one.name) for one in fields(receipt) if one.init}

    def arm(self, charge: int, plan: str, message: bytes) -> None:
        """Keeps what may leave for a charge."""
        self._ledger.arm(self._receipts[charge], plan, message)

    def sent(self, charge: int) -> None:
        """Notes that it has left; nothing more can come of the charge."""
        self._ledger.sent(self._receipts.pop(charge))

    def refund(self, charge: int) -> None:
        """Gives a charge back."""
        self._ledger.refund(self._receipts.pop(charge))

    def do(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What the ledger itself answers, where there is no receipt in it."""
        return getattr(self._ledger, method)(*arguments, **named)


class FarLedger:
    """What a member asks of its ledger, asked of a :class:`Bookkeeper`.

    Receipts are made here, one of each charge: who trains holds the data, and could as well do
    without one. What it cannot do is write the ledger, or have one charge counted twice. Accounts
    are opened where the ledger is.

    Args:
        keeper: the actor.
    """

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    def charge(self, cost: Cost, **charged_to: Any) -> Receipt:
        """See :meth:`BudgetLedger.charge`; so for all others."""
        values = answer_of(self._keeper.charge.remote(cost, charged_to))
        return Receipt(**values, maker=LEDGER)

    def arm(self, receipt: Receipt, plan: str, message: bytes) -> None:
        """See :meth:`BudgetLedger.arm`."""
        answer_of(self._keeper.arm.remote(receipt.seq, plan, message))

    def sent(self, receipt: Receipt) -> None:
        """See :meth:`BudgetLedger.sent`."""
        answer_of(self._keeper.sent.remote(receipt.seq))

    def refund(self, receipt: Receipt) -> None:
        """See :meth:`BudgetLedger.refund`."""
        receipt.use()
        answer_of(self._keeper.refund.remote(receipt.seq))

    def account(self, asset: str) -> Account | None:
        """See :meth:`BudgetLedger.account`."""
        found: Account | None = self._do("account", asset)
        return found

    def check_charge(self, cost: Cost, **charged_to: Any) -> None:
        """See :meth:`BudgetLedger.check_charge`."""
        self._do("check_charge", cost, **charged_to)

    def answer(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> Answer | None:
        """See :meth:`BudgetLedger.answer`."""
        found: Answer | None = self._do("answer", asset, agreement, round)
        return found

    def sent_again(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> None:
        """See :meth:`BudgetLedger.sent_again`."""
        self._do("sent_again", asset, agreement, round)

    def latch(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
        step: str,
        digest: str,
    ) -> None:
        """See :meth:`BudgetLedger.latch`."""
        self._do("latch", asset, agreement, round, step, digest)

    def _do(self, method: str, *arguments: Any, **named: Any) -> Any:
        return answer_of(self._keeper.do.remote(method, arguments, named))
