# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator remembers our ledger's head: a ledger that is set back does not go unnoticed.

It learns when rows were written, and nothing of what is in them.
"""

from __future__ import annotations

from typing import Any, Protocol

import grpc

from fedcode.errors import PrivacyError
from fedcode.privacy.ledger import CountersignedHead, WitnessedLedger
from fedcode.services import enrollment_pb2 as messages


class Witness(Protocol):
    """The part of the ``Enrollment`` stub that is needed here."""

    def Countersign(self, request: messages.Head) -> Any:  # noqa: N802  the service's name
        """The coordinator's signature on a head."""
        ...

    def Countersigned(self, request: messages.CountersignedRequest) -> Any:  # noqa: N802
        """The last heads that it has signed for us."""
        ...


def check(ledger: WitnessedLedger, witness: Witness, coordinator: str) -> list[CountersignedHead]:
    """At the start, and before each new head: whether all that was countersigned is there.

    Args:
        ledger: ours.
        witness: the coordinator's service.
        coordinator: its public key, which we have known since we joined.

    Returns:
        What it has countersigned.

    Raises:
        LedgerDamaged: the ledger was set back, or another one is in its place.
        PrivacyError: the coordinator says that it has signed what it has not.
        grpc.RpcError: it does not answer.
    """
    found = []
    for said in witness.Countersigned(messages.CountersignedRequest()).heads:
        head = CountersignedHead(said.ledger, said.head, coordinator, said.signature)
        head.check(frozenset([coordinator]))
        found.append(head)
    ledger.check_witnessed(found)
    return found


def countersign(
    ledger: WitnessedLedger, witness: Witness, coordinator: str
) -> CountersignedHead | None:
    """After a round: shows the ledger's head, and keeps the answer in the ledger.

    Returns:
        The head as it was signed; None of a ledger without rows.

    Raises:
        LedgerDamaged, PrivacyError, grpc.RpcError: as :func:`check`.
    """
    identity = ledger.identity
    if not identity:
        return None
    previous = ""
    for seen in check(ledger, witness, coordinator):
        if seen.ledger == identity:
            previous = seen.head
            ledger.witnessed(seen)  # its answer may have been lost
    now = ledger.head
    asked = messages.Head(ledger=identity, head=now, previous=previous)
    try:
        said = witness.Countersign(asked)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            raise PrivacyError(
                "the coordinator has countersigned another head in the meantime",
                "does a second agent run with a copy of this ledger?",
            ) from None
        raise
    made = CountersignedHead(said.ledger, said.head, coordinator, said.signature)
    made.check(frozenset([coordinator]))
    if (made.ledger, made.head) != (identity, now):
        raise PrivacyError("the coordinator has countersigned another head than it was shown")
    ledger.witnessed(made)
    return made
