# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's half of a secure sum: it passes messages on, and learns the total."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import Misbehaviour, SecureSumError
from fedcode.secure_sum import randomness, shamir
from fedcode.secure_sum.checks import FromMember, blame, check_keys, check_member
from fedcode.secure_sum.keys import (
    commitment,
    mask_key,
    private_key,
    public_of,
    sharers_digest,
    transcript,
)
from fedcode.secure_sum.masks import add_masks
from fedcode.secure_sum.recovery import recovered
from fedcode.secure_sum.session import Session
from fedcode.signing import SigningKey
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Keys,
    ReceivedMasked,
    Reveal,
    ShareDelivery,
    Shares,
    SurvivorList,
    attested,
    sign,
)


class Summation:
    """One sum.

    Each step takes messages (``add_...``) until its result is asked for; the result is final, and
    needs at least the session's threshold of messages. A message that is refused changes nothing:
    the sum goes on without its sender.

    Args:
        session: the sum.
        key: the coordinator's signing key.

    Raises:
        SecureSumError: the key is not the session's.
    """

    def __init__(self, session: Session, key: SigningKey) -> None:
        if session.coordinator != key.public:
            raise SecureSumError("the coordinator is not in the session with this key")
        self._session, self._key = session, key
        self._keys: dict[str, Keys] = {}
        self._book: KeyBook | None = None
        self._transcript = self._sharers_digest = ""
        self._shares: dict[str, Shares] = {}
        self._deliveries: dict[str, ShareDelivery] | None = None
        self._masked: dict[str, bytes] = {}  # what remains of the messages: what was signed
        self._sum: NDArray[np.uint32] = np.zeros(session.length, np.uint32)
        self._survivors: SurvivorList | None = None
        self._confirmed: dict[str, Confirmation] = {}
        self._confirmations: ConfirmationList | None = None
        self._reveals: dict[str, Reveal] = {}
        self._total: NDArray[np.int64] | None = None

    @property
    def sharers(self) -> tuple[str, ...]:
        """Who has shared its secrets, so far or for good: masks are between them."""
        return tuple(sorted(self._shares))

    @property
    def survivor_names(self) -> tuple[str, ...]:
        """Whose terms are in the sum, so far or for good."""
        return tuple(sorted(self._masked))

    @property
    def dropped(self) -> tuple[str, ...]:
        """Who has shared and is not in the sum: its masks are taken out by its masking key."""
        return tuple(name for name in self.sharers if name not in self._masked)

    @property
    def confirmed(self) -> tuple[str, ...]:
        """Who has confirmed the survivors."""
        return tuple(sorted(self._confirmed))

    @property
    def revealed(self) -> tuple[str, ...]:
        """Who has revealed its shares."""
        return tuple(sorted(self._reveals))

    def add_keys(self, message: Keys) -> None:
        """R0: one member's keys.

        Raises:
            SecureSumError: not of this sum, not signed, too late, or somebody else's keys.
            Misbehaviour: unusable keys, or a second set of them.
        """
        check_keys(self._session, message)
        if self._again(self._keys, message, self._session.names, late=self._book):
            return
        points = {p for keys in self._keys.values() for p in (keys.sharing, keys.masking)}
        if points & {message.sharing, message.masking}:
            raise SecureSumError(f"{message.member} shows another member's key as its own")
        self._keys[message.member] = message

    def book(self) -> KeyBook:
        """R0: everybody's keys.

        Raises:
            SecureSumError: of fewer members than the threshold.
        """
        if self._book is None:
            self._check_enough(self._keys, "have sent keys")
            keys = tuple(self._keys[name] for name in sorted(self._keys))
            self._transcript = transcript(keys)
            self._book = sign(KeyBook(*self._place(), keys), self._key)
        return self._book

    def add_shares(self, message: Shares) -> None:
        """R1: one member's encrypted shares.

        Raises:
            SecureSumError: not of this sum, not signed, or out of order.
            Misbehaviour: for another key book, not for all in it, or a second message.
        """
        check_member(self._session, message)
        self._check_after(self._book)
        if self._again(self._shares, message, self._keys, late=self._deliveries):
            return
        recipients = [name for name, _ in message.ciphertexts]
        others = sorted(self._keys.keys() - {message.member})
        if message.transcript != self._transcript or recipients != others:
            raise blame(message.member, "shares for others than the key book's", message)
        self._shares[message.member] = message

    def deliveries(self) -> dict[str, ShareDelivery]:
        """R1: for each member that has shared, what the others have for it.

        Raises:
            SecureSumError: fewer than the threshold have shared.
        """
        if self._deliveries is None:
            self._check_enough(self._shares, "have shared their secrets")
            self._sharers_digest = sharers_digest(self._transcript, self.sharers)
            sent = {name: dict(self._shares[name].ciphertexts) for name in self.sharers}
            self._deliveries = {
                name: sign(
                    ShareDelivery(
                        *self._place(),
                        name,
                        self._transcript,
                        tuple((other, sent[other][name]) for other in sent if other != name),
                    ),
                    self._key,
                )
                for name in self.sharers
            }
        return self._deliveries

    def add_masked(self, message: ReceivedMasked) -> None:
        """R2: one member's masked term; it is added up at once and not kept.

        Raises:
            SecureSumError: not of this sum, not signed, of another length, or out of order.
            Misbehaviour: for other sharers, or a second term.
        """
        if message.values.shape != self._sum.shape or message.values.dtype != np.uint32:
            raise SecureSumError(f"the term of {message.member} is of another length")
        check_member(self._session, message)
        self._check_after(self._deliveries)
        signed = attested(message)
        before = self._masked.get(message.member)
        if before is not None and before != signed:
            raise Misbehaviour(
                message.member, f"{message.member}: two masked terms", (before, signed)
            )
        if before is not None:
            return
        self._check_expected(message, self._shares, late=self._survivors)
        self._check_sharers(message)
        np.add(self._sum, message.values, out=self._sum)
        self._masked[message.member] = signed

    def survivors(self) -> SurvivorList:
        """R2: whose terms are in the sum, for good.

        Raises:
            SecureSumError: fewer than the threshold.
        """
        if self._survivors is None:
            self._check_enough(self._masked, "have sent their terms")
            self._survivors = sign(
                SurvivorList(
                    *self._place(), self._transcript, self._sharers_digest, self.survivor_names
                ),
                self._key,
            )
        return self._survivors

    def add_confirmation(self, message: Confirmation) -> None:
        """R3: one survivor's confirmation.

        Raises:
            SecureSumError: not of this sum, not signed, or out of order.
            Misbehaviour: of another set.
        """
        check_member(self._session, message)
        self._check_after(self._survivors)
        if self._again(self._confirmed, message, self._masked, late=self._confirmations):
            return
        self._check_sharers(message)
        if message.survivors != self.survivor_names:
            raise blame(message.member, "it confirms other survivors", message)
        self._confirmed[message.member] = message

    def confirmations(self) -> ConfirmationList:
        """R3: all confirmations.

        Raises:
            SecureSumError: fewer than the threshold.
        """
        if self._confirmations is None:
            self._check_enough(self._confirmed, "have confirmed the survivors")
            signatures = [(name, self._confirmed[name].signature) for name in self.confirmed]
            self._confirmations = sign(
                ConfirmationList(
                    *self._place(),
                    self._transcript,
                    self._sharers_digest,
                    self.survivor_names,
                    tuple(signatures),
                ),
                self._key,
            )
        return self._confirmations

    def add_reveal(self, message: Reveal) -> None:
        """R4: one survivor's shares.

        Raises:
            SecureSumError: not of this sum, not signed, or out of order.
            Misbehaviour: shares of others than asked for, or no shares.
        """
        check_member(self._session, message)
        self._check_after(self._confirmations)
        if self._again(self._reveals, message, self._masked, late=self._total):
            return
        self._check_sharers(message)
        seeds, keys = [name for name, _ in message.seeds], [name for name, _ in message.keys]
        if (tuple(seeds), tuple(keys)) != (self.survivor_names, self.dropped):
            raise blame(message.member, "it reveals other shares than the survivors say", message)
        if not all(shamir.is_share(bytes.fromhex(x)) for _, x in (*message.seeds, *message.keys)):
            raise blame(message.member, "it reveals what are no shares", message)
        self._reveals[message.member] = message

    def total(self) -> NDArray[np.int64]:
        """The sum of the survivors' terms, shape (d,).

        Raises:
            SecureSumError: fewer than the threshold have revealed, or too many wrong shares.
        """
        if self._total is None:
            self._check_enough(self._reveals, "have revealed their shares")
            seeds = self._recovered({n: dict(r.seeds) for n, r in self._reveals.items()})
            keys = self._recovered({n: dict(r.keys) for n, r in self._reveals.items()}, keys=True)
            self._total = self._unmasked(seeds, keys)
        return self._total

    def _recovered(
        self, shares: dict[str, dict[str, str]], *, keys: bool = False
    ) -> dict[str, bytearray]:
        """Seeds, or masking keys, by owner: what their owners signed in the first step.

        Args:
            shares: by holder, then by owner.
            keys: whether they are of masking keys.
        """
        session = self._session

        def fits(owner: str, secret: bytearray) -> bool:
            signed = self._keys[owner]
            if keys:
                return public_of(secret) == signed.masking
            return commitment(session, session.index(owner), secret) == signed.commitment

        by_index = {session.index(holder): held for holder, held in shares.items()}
        found = recovered(session.threshold, by_index, fits)
        for owner in self.dropped if keys else self.survivor_names:
            if owner not in found:
                raise SecureSumError(
                    f"the shares of {owner}'s masking key do not fit its public key"
                    if keys
                    else f"the shares of {owner}'s seed do not fit its commitment"
                )
        return found

    def _unmasked(
        self, seeds: dict[str, bytearray], keys: dict[str, bytearray]
    ) -> NDArray[np.int64]:
        """Takes the masks out: of each survivor its own, and those with each who dropped."""
        earlier: list[bytearray] = []  # the survivor's name comes first: it added the mask
        later: list[bytearray] = []
        for dropped, data in keys.items():
            private = private_key(data)
            for name in self.survivor_names:
                pair = self._session.index(name), self._session.index(dropped)
                public = self._keys[name].masking
                key = mask_key(private, public, self._transcript, *pair)
                (earlier if name < dropped else later).append(key)
        add_masks(self._sum, later, [*seeds.values(), *earlier])
        for secret in (*seeds.values(), *keys.values(), *earlier, *later):
            randomness.wipe(secret)
        return self._sum.view(np.int32).astype(np.int64)

    def _again(
        self,
        taken: Mapping[str, FromMember],
        message: FromMember,
        expected: Container[str],
        late: object,
    ) -> bool:
        """Whether the same message has come before; others than expected are refused."""
        before = taken.get(message.member)
        if before is not None and before != message:
            raise blame(message.member, "two answers to one request", before, message)
        if before is None:
            self._check_expected(message, expected, late)
        return before is not None

    def _check_expected(self, message: FromMember, expected: Container[str], late: object) -> None:
        if message.member not in expected:
            raise SecureSumError(f"{message.member} has taken no part in an earlier step")
        if late is not None:
            raise SecureSumError(f"{message.member} is too late for this step")

    def _check_after(self, step: object) -> None:
        if step is None:
            raise SecureSumError("a message for a step that has not begun")

    def _check_enough(self, taken: Collection[str], what: str) -> None:
        if len(taken) < self._session.threshold:
            raise SecureSumError(
                f"{len(taken)} of {len(self._session.members)} members {what}, and "
                f"{self._session.threshold} are needed"
            )

    def _check_sharers(self, message: ReceivedMasked | Confirmation | Reveal) -> None:
        if (message.transcript, message.sharers) != (self._transcript, self._sharers_digest):
            raise blame(message.member, "a message about other sharers", message)

    def _place(self) -> tuple[str, int, str]:
        """What every message begins with."""
        return self._session.agreement, self._session.round, self._session.plan
