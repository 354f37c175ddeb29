# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Remembers the heads of members' ledgers: what was countersigned cannot be undone unnoticed.

A head says nothing of what a ledger holds. One that follows is countersigned for whoever knows the
one before: a ledger that was set back, and shows an older one, gets no signature.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
from sqlalchemy import func, select

from fedcode.identity import HEX
from fedcode.privacy.ledger import CountersignedHead
from fedcode.services import enrollment_pb2 as messages
from fedcode.services.serving import Refused
from fedcode.signing import SigningKey
from fedcode_server.database import Database
from fedcode_server.enrolment import Enrolment
from fedcode_server.tables import WitnessRow

MOST = 16
"""Ledgers of one member: it should have one, and another when that was lost."""


class NotTheLast(Exception):
    """The head before is another one than who asks has said."""


class TooManyLedgers(Exception):
    """A member has shown more ledgers than there is room for."""


class Witness:
    """The last head of each ledger of each member; on disk before a signature leaves.

    Args:
        database: with the registry's members.
        key: the coordinator's.
        clock: seconds since 1970.
    """

    def __init__(
        self, database: Database, key: SigningKey, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._key, self._clock = database, key, clock

    def countersign(self, member: str, ledger: str, head: str, previous: str) -> CountersignedHead:
        """Signs a head; the same one again if its signature was lost.

        Args:
            member: whose ledger it is.
            ledger: the hash of its first row.
            head: the hash of its last row.
            previous: the last head that was countersigned; empty for the first.

        Raises:
            NotTheLast: another one was.
            TooManyLedgers: there is no room for one more.
        """
        with self._database.writing() as session:
            row = session.get(WitnessRow, (member, ledger))
            if row is not None and row.head == head:
                return self._plain(row)
            if (row.head if row else "") != previous:
                raise NotTheLast
            made = CountersignedHead.make(ledger, head, self._key)
            if row is None:
                own = select(func.count()).where(WitnessRow.member == member)
                if (session.scalar(own) or 0) >= MOST:
                    raise TooManyLedgers
                row = WitnessRow(member=member, ledger=ledger)
                session.add(row)
            row.head, row.signature, row.signed = head, made.signature, int(self._clock())
        return made

    def countersigned(self, member: str) -> list[CountersignedHead]:
        """The last head of each of a member's ledgers."""
        with self._database.reading() as session:
            rows = session.scalars(
                select(WitnessRow).where(WitnessRow.member == member).order_by(WitnessRow.signed)
            )
            return [self._plain(row) for row in rows]

    def _plain(self, row: WitnessRow) -> CountersignedHead:
        return CountersignedHead(row.ledger, row.head, self._key.public, row.signature)


class Witnessing(Enrolment):
    """Adds Countersign and Countersigned; ``witness`` is set by who derives from this class."""

    witness: Witness

    def Countersign(self, request: messages.Head, context: Any) -> messages.CountersignedHead:
        """The coordinator's signature on the head of the ledger of the member that calls."""
        member = self.caller(context).name
        if not HEX.fullmatch(request.ledger) or not HEX.fullmatch(request.head):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "head")
        try:
            made = self.witness.countersign(member, request.ledger, request.head, request.previous)
        except NotTheLast:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "not the last head") from None
        except TooManyLedgers:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many ledgers") from None
        return _message(made)

    def Countersigned(
        self, _request: messages.CountersignedRequest, context: Any
    ) -> messages.CountersignedHeads:
        """The last heads of the member that calls."""
        heads = self.witness.countersigned(self.caller(context).name)
        return messages.CountersignedHeads(heads=[_message(one) for one in heads])


def _message(made: CountersignedHead) -> messages.CountersignedHead:
    return messages.CountersignedHead(ledger=made.ledger, head=made.head, signature=made.signature)
