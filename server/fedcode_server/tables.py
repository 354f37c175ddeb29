# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the coordinator remembers. Times are whole seconds since 1970.

A change of any table is a new :data:`SCHEMA`: a file of another one is refused.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = 1


class Base(DeclarativeBase):
    """Of all tables."""


class InvitationRow(Base):
    """What one token may do; the token itself, and its seed, are not here.

    Attributes:
        fingerprint: SHA-256 of the certificate that it makes, 64 hexadecimal digits.
        certificate: that certificate, PEM.
        name: of the member to be.
        approve: who enrols with it needs no further word.
        ended: when it was used, replaced or withdrawn; None while it is open.
    """

    __tablename__ = "invitation"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    certificate: Mapped[bytes]
    name: Mapped[str] = mapped_column(index=True)
    approve: Mapped[bool]
    made: Mapped[int]
    expires: Mapped[int]
    ended: Mapped[int | None]


class MemberRow(Base):
    """One who has enrolled, be it long ago: no row is ever removed.

    Attributes:
        state: ``pending``, ``approved``, ``revoked`` or ``left``.
        signing_key: Ed25519, 64 hexadecimal digits.
        node_key: EC P-384, PEM.
        enrolled: when it got these keys.
        changed: when it got its state.
    """

    __tablename__ = "member"

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    signing_key: Mapped[str] = mapped_column(unique=True)
    node_key: Mapped[str] = mapped_column(unique=True)
    enrolled: Mapped[int]
    changed: Mapped[int]


class CertificateRow(Base):
    """A certificate of a member: of all that it ever had.

    Attributes:
        fingerprint: SHA-256 of its DER, 64 hexadecimal digits.
        serial: hexadecimal.
        seen: when it was first shown; that ends the one before.
        ended: when it was last good for anything; None while it is.
    """

    __tablename__ = "certificate"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    member: Mapped[str] = mapped_column(ForeignKey("member.name"), index=True)
    serial: Mapped[str] = mapped_column(unique=True)
    issued: Mapped[int]
    expires: Mapped[int]
    seen: Mapped[int | None]
    ended: Mapped[int | None]


class RunRow(Base):
    """A run; its folder has all the rest.

    Attributes:
        state: ``offered``, ``running``, ``finished``, ``failed``, ``stopped`` or ``declined``.
        note: who declined, or why it failed.
        stop: whether a person wants it to stop.
    """

    __tablename__ = "run"

    name: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    note: Mapped[str]
    stop: Mapped[bool]
    created: Mapped[int]
    changed: Mapped[int]


class WitnessRow(Base):
    """The last head of a member's ledger that was countersigned.

    Attributes:
        ledger: the hash of its first row, 64 hexadecimal digits.
        head: the hash of its last row then.
        signature: ours of both.
        signed: when.
    """

    __tablename__ = "witness"

    member: Mapped[str] = mapped_column(ForeignKey("member.name"), primary_key=True)
    ledger: Mapped[str] = mapped_column(primary_key=True)
    head: Mapped[str]
    signature: Mapped[str]
    signed: Mapped[int]
