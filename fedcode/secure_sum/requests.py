# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a member checks of each request before it answers.

All of it can be checked again by whoever has the session and the request: what the coordinator
has signed and may not ask proves its misbehaviour.
"""

from __future__ import annotations

from dataclasses import replace

from fedcode.errors import Misbehaviour, SecureSumError
from fedcode.identity import COORDINATOR
from fedcode.secure_sum.checks import FromCoordinator, ascending, blame, check_keys
from fedcode.secure_sum.session import Session
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Keys,
    ShareDelivery,
    SurvivorList,
    verified,
)


def check_coordinator(session: Session, message: FromCoordinator) -> None:
    """Whether the coordinator has signed ``message`` for the sum.

    Groups of one plan have sums of their own: what names none of ours is of another group's.

    Raises:
        SecureSumError: it has not.
    """
    named = _named(message)
    if not session.concerns(message) or (named and not named & set(session.names)):
        raise SecureSumError("a message of the coordinator is of another sum")
    if not verified(message, session.coordinator):
        raise SecureSumError("a message in the coordinator's name is not signed by it")


def check_recipient(name: str, delivery: ShareDelivery) -> None:
    """Whether ``delivery`` is for member ``name``: what others get contradicts nothing.

    Raises:
        SecureSumError: it is for another member.
    """
    if delivery.member != name:
        raise SecureSumError("the delivery is for another member")


def check_same(before: FromCoordinator | None, message: FromCoordinator, what: str) -> None:
    """Whether the coordinator asks what it has asked before, if it has.

    Raises:
        Misbehaviour: it has signed both, and they differ.
    """
    if before is not None and before != message:
        raise blame(COORDINATOR, f"two {what}", before, message)


def check_book(session: Session, own: Keys, book: KeyBook) -> None:
    """Whether the member's secrets can be shared among those in ``book``.

    Raises:
        SecureSumError: the member's own keys are not in it.
        Misbehaviour: too few members, keys that are unusable, not their owners' or there twice.
    """
    names = [keys.member for keys in book.keys]
    if not ascending(names) or len(names) < session.threshold:
        raise blame(COORDINATOR, "a key book of too few members", book)
    for keys in book.keys:
        try:
            check_keys(session, keys)
        except Misbehaviour:
            raise
        except SecureSumError as error:
            raise blame(COORDINATOR, f"in a key book, {error}", book) from error
    points = [point for keys in book.keys for point in (keys.sharing, keys.masking)]
    if len(set(points)) < len(points):
        raise blame(COORDINATOR, "a key book in which a key stands twice", book)
    if own not in book.keys:
        raise SecureSumError("the key book does not hold the member's own keys")


def check_delivery(
    session: Session, name: str, book: KeyBook, transcript: str, delivery: ShareDelivery
) -> None:
    """Whether ``delivery``, for member ``name``, is from enough of those in ``book``.

    Raises:
        Misbehaviour: of too few, of others, or of another book than ``transcript`` says.
    """
    if delivery.transcript != transcript:
        raise blame(COORDINATOR, "two key books", book, delivery)
    senders = [sender for sender, _ in delivery.ciphertexts]
    known = {keys.member for keys in book.keys} - {name}
    if not ascending(senders) or not set(senders) <= known:
        raise blame(COORDINATOR, "shares of others than the key book's", delivery)
    if len(senders) + 1 < session.threshold:
        raise blame(COORDINATOR, "shares of too few members", delivery)


def check_sharers(
    delivery: ShareDelivery, sharers: str, message: SurvivorList | ConfirmationList
) -> None:
    """Whether ``message`` is about those between whom the member has masks.

    Raises:
        Misbehaviour: it is not.
    """
    if (message.transcript, message.sharers) != (delivery.transcript, sharers):
        raise blame(COORDINATOR, "two sets of sharers", delivery, message)


def check_survivors(
    session: Session, name: str, sharers: tuple[str, ...], survivors: SurvivorList
) -> None:
    """Whether member ``name`` can answer for these survivors.

    Raises:
        SecureSumError: it is not one of them.
        Misbehaviour: too few of them, or others than ``sharers``.
    """
    names = survivors.survivors
    if not ascending(names) or not set(names) <= set(sharers):
        raise blame(COORDINATOR, "survivors that have not shared", survivors)
    if len(names) < session.threshold:
        raise blame(COORDINATOR, "too few survivors", survivors)
    if name not in names:
        raise SecureSumError("the member is not among the survivors that it should confirm")


def check_confirmations(
    session: Session, own: Confirmation, confirmations: ConfirmationList
) -> None:
    """Whether enough survivors have signed what the member has signed itself.

    Raises:
        Misbehaviour: too few, others, or a signature that is not theirs.
    """
    names = [name for name, _ in confirmations.confirmations]
    if not ascending(names) or not set(names) <= set(own.survivors):
        raise blame(COORDINATOR, "confirmations of others than survivors", confirmations)
    if len(names) < session.threshold:
        raise blame(COORDINATOR, "too few confirmations", confirmations)
    for name, signature in confirmations.confirmations:
        one = replace(own, member=name, signature=signature)
        if not verified(one, session.key(name) or ""):
            raise blame(COORDINATOR, f"a forged confirmation of {name}", confirmations)


def _named(message: FromCoordinator) -> set[str]:
    """Members that ``message`` is about."""
    match message:
        case KeyBook():
            return {keys.member for keys in message.keys}
        case ShareDelivery():
            return {message.member}
        case SurvivorList() | ConfirmationList():
            return set(message.survivors)
