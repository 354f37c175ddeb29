# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who is invited, who is a member, and whose certificate is good: now, in every call.

A certificate is known by the SHA-256 of all its bytes. Trust in the authority's signature alone
would accept one that was revoked, or that has been followed by another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from cryptography import x509
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fedcode.certificates import Invitation, fingerprint, pem
from fedcode.errors import MembershipError
from fedcode.identity import COORDINATOR, NAME
from fedcode_server.database import Database
from fedcode_server.tables import CertificateRow, InvitationRow, MemberRow

State = Literal["pending", "approved", "revoked", "left"]
IN: tuple[State, ...] = ("pending", "approved")
"""The states in which a certificate is good for something."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member as it stands.

    Attributes:
        signing_key: Ed25519, 64 hexadecimal digits: the roster's.
        node_key: EC P-384, PEM: Flower's.
        expires: the end of its newest certificate, seconds since 1970.
    """

    name: str
    state: State
    signing_key: str
    node_key: str
    enrolled: int
    expires: int

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that is still open.

    Attributes:
        approve: who enrols with it needs no further word.
        expires: seconds since 1970.
    """

    name: str
    approve: bool
    expires: int


class KeyTaken(Exception):
    """A key that another member has, or had.

    Args:
        which: ``signing key`` or ``node key``.
    """

    def __init__(self, which: str) -> None:
        super().__init__(which)
        self.which = which


class Registry:
    """The members of a federation, on disk; several processes may have it open."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self._clock = clock

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float] = time.time) -> Self:
        """Opens ``state/registry.sqlite``; ``clock`` gives seconds since 1970."""
        return cls(Database.open(path), clock)

    def close(self) -> None:
        """Closes the file."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What the administrator says.

    def invite(
        self, invitation: Invitation, name: str, *, approve: bool = False, again: bool = False
    ) -> None:
        """Opens an invitation; an earlier one for the same name is void from now on.

        Args:
            invitation: whose certificate is kept, and nothing else of it.
            name: of the member to be.
            approve: who enrols with it needs no further word.
            again: for one who has enrolled before, and only for such a one.

        Raises:
            MembershipError: the name is none, or is a member's already, or nobody's.
        """
        if not NAME.fullmatch(name) or name == COORDINATOR:
            raise MembershipError(
                f"{name!r} cannot be a member's name",
                "1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first",
            )
        with self.database.writing() as session:
            there = session.get(MemberRow, name)
            if there is not None and not again:
                raise MembershipError(
                    f"{name} has enrolled before, and is {there.state}",
                    f"for new keys or a new certificate: fedcode-server renew {name}",
                )
            if there is None and again:
                raise MembershipError(f"{name} is no member", f"fedcode-server invite {name}")
            self._withdraw(session, name)
            certificate = invitation.certificate
            session.add(
                InvitationRow(
                    fingerprint=fingerprint(certificate).hex(),
                    certificate=pem(certificate),
                    name=name,
                    approve=approve,
                    made=self._now(),
                    expires=invitation.expires,
                    ended=None,
                )
            )

    def approve(self, names: Sequence[str]) -> dict[str, str]:
        """Makes members of those who have enrolled; all of them, or none.

        Returns:
            The signing keys that are approved, by name.

        Raises:
            MembershipError: one of them has not enrolled, or is out.
        """
        keys = {}
        with self.database.writing() as session:
            for name in names:
                row = session.get(MemberRow, name)
                if row is None:
                    raise MembershipError(
                        f"there is no member {name}", "`fedcode-server members` shows all"
                    )
                if row.state not in IN:
                    raise MembershipError(f"{name} is {row.state}", f"fedcode-server renew {name}")
                self._set(row, "approved")
                keys[name] = row.signing_key
        return keys

    def revoke(self, name: str) -> None:
        """No certificate and no invitation of ``name`` is good for anything any more.

        Raises:
            MembershipError: nobody of this name has enrolled or is invited.
        """
        with self.database.writing() as session:
            row, withdrawn = session.get(MemberRow, name), self._withdraw(session, name)
            if row is None and not withdrawn:
                raise MembershipError(f"{name} is no member", "fedcode-server members")
            self._out(session, row, "revoked")

    # What members do.

    def enrol(
        self,
        invited: x509.Certificate,
        signing_key: str,
        node_key: str,
        issue: Callable[[str], x509.Certificate],
    ) -> tuple[str, x509.Certificate]:
        """Makes a member of who shows an open invitation, and ends it: name and certificate.

        Who has enrolled before keeps its certificates until now. It stays approved if its signing
        key is the same one: other keys are for the administrator to look at.

        Args:
            invited: the invitation's certificate.
            signing_key: checked already.
            node_key: checked already, in PEM.
            issue: makes the certificate for a name.

        Raises:
            KeyTaken: a key is another member's.
            MembershipError: the invitation is not open any more.
        """
        now = self._now()
        with self.database.writing() as session:
            row = self._open_row(session, invited)
            if row is None:
                raise MembershipError("the invitation is used or has ended")
            name = row.name
            for column, key in (("signing_key", signing_key), ("node_key", node_key)):
                taken = select(MemberRow.name).where(getattr(MemberRow, column) == key)
                if session.scalar(taken.where(MemberRow.name != name)) is not None:
                    raise KeyTaken(column.replace("_", " "))
            member = session.get(MemberRow, name)
            same = member is not None and (member.state, member.signing_key) == (
                "approved",
                signing_key,
            )
            state: State = "approved" if row.approve or same else "pending"
            row.ended = now
            self._end_certificates(session, name)
            if member is None:
                member = MemberRow(name=name)
                session.add(member)
            member.state, member.signing_key, member.node_key = state, signing_key, node_key
            member.enrolled = member.changed = now
            session.flush()
            made = issue(name)
            self._keep(session, name, made)
        return name, made

    def renewed(self, name: str, made: x509.Certificate) -> None:
        """Takes a further certificate of a member; the one before ends when this one is shown.

        Until then both are good: the answer that carries the new one can be lost.
        """
        with self.database.writing() as session:
            unseen = (
                update(CertificateRow)
                .where(CertificateRow.member == name, CertificateRow.seen.is_(None))
                .where(CertificateRow.ended.is_(None))
            )
            session.execute(unseen.values(ended=self._now()))
            self._keep(session, name, made)

    def leave(self, name: str) -> None:
        """A member is one no more, by its own wish."""
        with self.database.writing() as session:
            self._withdraw(session, name)
            self._out(session, session.get(MemberRow, name), "left")

    # What every connection and every call asks.

    def invitations(self) -> bytes:
        """The certificates of all open invitations, PEM: what a handshake may trust."""
        with self.database.reading() as session:
            rows = select(InvitationRow.certificate).where(*self._open())
            return b"".join(session.scalars(rows))

    def invited(self, certificate: x509.Certificate) -> Invited | None:
        """The open invitation that has this certificate."""
        with self.database.reading() as session:
            row = self._open_row(session, certificate)
            return Invited(row.name, row.approve, row.expires) if row else None

    def holder(self, certificate: x509.Certificate) -> Member | None:
        """The member, pending or approved, whose certificate this is, if it is still good."""
        shown, now = fingerprint(certificate).hex(), self._now()
        with self.database.reading() as session:
            row = session.get(CertificateRow, shown)
            if row is None or row.ended is not None or row.expires <= now:
                return None
            member = session.get_one(MemberRow, row.member)
            if member.state not in IN:
                return None
            found, seen = _member(member, row.expires), row.seen
        if seen is None and not self._seen(shown):
            return None
        return found

    def admits(self, certificate: x509.Certificate) -> str | None:
        """The name of the approved member whose certificate this is, if it is still good."""
        member = self.holder(certificate)
        return member.name if member is not None and member.state == "approved" else None

    def admission(self, shown: bytes, node_key: bytes) -> bool:
        """Whether a request to the rounds may come in.

        Args:
            shown: the connection's certificate, DER; empty where it has none.
            node_key: which Flower's node says is its own, PEM.
        """
        if not shown:
            return False
        member = self.holder(x509.load_der_x509_certificate(shown))
        return (
            member is not None
            and member.state == "approved"
            and member.node_key.encode() == node_key
        )

    # What there is.

    def members(self) -> list[Member]:
        """All who have ever enrolled, by name."""
        with self.database.reading() as session:
            columns = select(CertificateRow.member, CertificateRow.expires)
            found = session.execute(columns.order_by(CertificateRow.expires))
            ends = {row.member: row.expires for row in found}
            rows = session.scalars(select(MemberRow).order_by(MemberRow.name))
            return [_member(row, ends.get(row.name, 0)) for row in rows]

    def waiting(self) -> list[Invited]:
        """All open invitations, by name."""
        with self.database.reading() as session:
            rows = select(InvitationRow).where(*self._open()).order_by(InvitationRow.name)
            return [Invited(row.name, row.approve, row.expires) for row in session.scalars(rows)]

    def _now(self) -> int:
        return int(self._clock())

    def _open(self) -> tuple[Any, ...]:
        return (InvitationRow.ended.is_(None), InvitationRow.expires > self._now())

    def _open_row(self, session: Session, certificate: x509.Certificate) -> InvitationRow | None:
        shown = fingerprint(certificate).hex()
        return session.scalar(
            select(InvitationRow).where(InvitationRow.fingerprint == shown, *self._open())
        )

    def _withdraw(self, session: Session, name: str) -> bool:
        rows = list(
            session.scalars(select(InvitationRow).where(InvitationRow.name == name, *self._open()))
        )
        for row in rows:
            row.ended = self._now()
        return bool(rows)

    def _set(self, row: MemberRow, state: State) -> None:
        if row.state != state:
            row.state, row.changed = state, self._now()

    def _out(self, session: Session, row: MemberRow | None, state: State) -> None:
        if row is not None:
            self._set(row, state)
            self._end_certificates(session, row.name)

    def _end_certificates(self, session: Session, name: str, but: str = "") -> None:
        good = (CertificateRow.member == name, CertificateRow.ended.is_(None))
        others = update(CertificateRow).where(*good, CertificateRow.fingerprint != but)
        session.execute(others.values(ended=self._now()))

    def _keep(self, session: Session, name: str, made: x509.Certificate) -> None:
        session.add(
            CertificateRow(
                fingerprint=fingerprint(made).hex(),
                member=name,
                serial=f"{made.serial_number:x}",
                issued=self._now(),
                expires=int(made.not_valid_after_utc.timestamp()),
                seen=None,
                ended=None,
            )
        )

    def _seen(self, shown: str) -> bool:
        """Notes that a certificate was shown, which ends the others of its member."""
        with self.database.writing() as session:
            row = session.get_one(CertificateRow, shown)
            if row.ended is not None:
                return False
            if row.seen is None:
                row.seen = self._now()
                self._end_certificates(session, row.member, but=shown)
        return True


def _member(row: MemberRow, expires: int) -> Member:
    return Member(
        row.name,
        cast("State", row.state),
        row.signing_key,
        row.node_key,
        row.enrolled,
        expires,
    )
