# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What both sides check of what arrives, in one order: of this sum, signed, and then the rest.

What is not of this sum or not signed by its sender proves nothing: :class:`SecureSumError`. What
the sender did sign, for this sum, and may not say in it, proves who is to blame:
:class:`Misbehaviour`.
"""

from __future__ import annotations

from fedcode.errors import Misbehaviour, SecureSumError
from fedcode.secure_sum.keys import usable
from fedcode.secure_sum.session import Session
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Keys,
    MaskedUpdate,
    ReceivedMasked,
    Reveal,
    ShareDelivery,
    Shares,
    SurvivorList,
    attested,
    verified,
)

FromMember = Keys | Shares | MaskedUpdate | ReceivedMasked | Confirmation | Reveal
FromCoordinator = KeyBook | ShareDelivery | SurvivorList | ConfirmationList


def check_member(session: Session, message: FromMember) -> None:
    """Whether a member of the sum has signed ``message`` for it.

    Raises:
        SecureSumError: nobody of the sum has.
    """
    public = session.key(message.member)
    if public is None:
        raise SecureSumError(f"{message.member} is no member of the sum")
    if not session.concerns(message):
        raise SecureSumError(f"a message of {message.member} is of another sum")
    if not verified(message, public):
        raise SecureSumError(f"a message in the name of {message.member} is not signed by it")


def check_keys(session: Session, keys: Keys) -> None:
    """Whether a member's keys can be used.

    Raises:
        SecureSumError: they are not signed by the member, or of another sum.
        Misbehaviour: they are, and are unusable or for other weights.
    """
    check_member(session, keys)
    if keys.weights != session.weights:
        raise blame(keys.member, "keys for other weights than the plan's", keys)
    if not (usable(keys.sharing) and usable(keys.masking)):
        raise blame(keys.member, "a key with which no secret is secret", keys)
    if keys.sharing == keys.masking:
        raise blame(keys.member, "one key for shares and masks", keys)


def blame(culprit: str, message: str, *evidence: FromMember | FromCoordinator) -> Misbehaviour:
    """The error that names who broke the protocol, with what it signed."""
    return Misbehaviour(culprit, f"{culprit}: {message}", tuple(attested(one) for one in evidence))


def ascending(names: list[str] | tuple[str, ...]) -> bool:
    """Whether names are sorted, each once."""
    return list(names) == sorted(set(names))
