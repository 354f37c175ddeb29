# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What privacy officers ask of the budget service; what it does still needs their signatures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc

from fedcode.errors import PrivacyError
from fedcode.privacy.ledger import Account, Acknowledgement
from fedcode.privacy.organization import SignedPolicy
from fedcode.record import PrivacyUnit
from fedcode.services import budget_pb2 as messages
from fedcode_client.budget.asking import BudgetClient
from fedcode_client.budget.totals import AccountTotals

_PATIENCE = 10.0


class OfficersDesk(BudgetClient):
    """The service, with an officer's certificate; a trainer's may ask for totals only.

    Args:
        connect: makes a channel.
        patience: seconds that a service may be lost.
    """

    def __init__(self, connect: Callable[[], grpc.Channel], patience: float = _PATIENCE) -> None:
        super().__init__(connect, patience)

    def totals(self, units: int = 1) -> list[AccountTotals]:
        """What was spent of every account; ε for the owner of so many units."""
        reply = self._asking.call("GetTotals", messages.TotalsRequest(units=units))
        return [AccountTotals.read(values) for values in json.loads(reply.json)]

    def head(self) -> tuple[str, str]:
        """The ledger's identity, and the hash of its last row."""
        reply = self._asking.call("GetHead", messages.HeadRequest())
        return reply.ledger, reply.head

    def open_accounts(
        self, assets: Sequence[str], policy: SignedPolicy, unit: PrivacyUnit, order: float
    ) -> list[Account]:
        """Opens accounts under what officers have signed, all that are missing or none."""
        asked = messages.OpenRequest(
            assets=assets, policy=json.dumps(policy.plain()), unit=str(unit), order=order
        )
        made = self._asking.call("OpenAccounts", asked).accounts
        if len(made) != len(assets):
            raise PrivacyError("the budget service has not opened every account")
        return [
            Account.read(asset, json.loads(account))
            for asset, account in zip(assets, made, strict=True)
        ]

    def adopt(self, policy: SignedPolicy) -> None:
        """Puts a later policy in force."""
        self._asking.call("Adopt", _document(policy.plain()))

    def acknowledge(self, known: Acknowledgement) -> None:
        """Books what may have been spent in rows that are lost."""
        self._asking.call("Acknowledge", _document(known.plain()))

    def verify(self, head: str | None = None) -> tuple[int, str]:
        """Checks every row; their number, and the head."""
        reply = self._asking.call("Verify", messages.VerifyRequest(head=head))
        return reply.rows, reply.head

    def export(self) -> list[str]:
        """Every row as a line of JSON."""

        def lines(replies: Iterator[messages.Document]) -> list[str]:
            return [reply.json for reply in replies]

        return self._asking.stream("Export", messages.ExportRequest(), lines)


def _document(values: dict[str, Any]) -> messages.Document:
    return messages.Document(json=json.dumps(values))
