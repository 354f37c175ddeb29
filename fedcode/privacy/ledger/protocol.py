# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a member asks of its organization's ledger, wherever that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger.account import Account
from fedcode.privacy.ledger.charge import Answer
from fedcode.privacy.ledger.witness import CountersignedHead
from fedcode.privacy.receipt import Receipt


class Ledger(Protocol):
    """A ledger in this process, or in one of its own; see ``BudgetLedger`` for each method.

    There is nothing here that opens an account or raises a cap: who trains cannot.
    """

    def account(self, asset: str) -> Account | None:
        """The account of ``asset``, if it has one, under the policy in force."""
        ...

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
        """Pays for one release: durable when this returns."""
        ...

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
        """Whether :meth:`charge` would be made now; nothing is charged or reserved."""
        ...

    def arm(self, receipt: Receipt, plan: str, message: bytes) -> None:
        """Keeps the exact bytes that may leave from now on."""
        ...

    def sent(self, receipt: Receipt) -> None:
        """Notes that the message of ``receipt`` has left, or is about to."""
        ...

    def sent_again(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> None:
        """Notes that an answer that was kept has left, or is about to, if that is not noted yet."""
        ...

    def refund(self, receipt: Receipt) -> None:
        """Gives a charge back for which nothing was computed, and nothing can be any more."""
        ...

    def answer(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
    ) -> Answer | None:
        """What was armed for a round, if anything."""
        ...

    def latch(
        self,
        asset: str,
        agreement: str,
        round: int,  # noqa: A002  # the field's word
        step: str,
        digest: str,
    ) -> None:
        """Fixes the one answer to a step of a protocol: durable when this returns."""
        ...


class WitnessedLedger(Ledger, Protocol):
    """A ledger whose head others can countersign."""

    @property
    def identity(self) -> str:
        """Names this ledger; empty while it has no row."""
        ...

    @property
    def head(self) -> str:
        """Hash of the last row."""
        ...

    def witnessed(self, seen: CountersignedHead) -> None:
        """Keeps what a witness has countersigned."""
        ...

    def check_witnessed(self, witnessed: Sequence[CountersignedHead]) -> None:
        """Whether all heads are there, or officers have acknowledged that they are lost."""
        ...
