# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A member's half of a secure sum: keys, shares, mask, confirm, reveal. In this order, always."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import numpy as np

from fedcode.errors import Misbehaviour, PrivacyError, SecureSumError
from fedcode.identity import COORDINATOR
from fedcode.privacy.release import Masked, Term
from fedcode.secure_sum import randomness, shamir
from fedcode.secure_sum.checks import FromCoordinator, blame
from fedcode.secure_sum.keys import (
    commitment,
    mask_key,
    private_key,
    public_of,
    seal,
    sharers_digest,
    survivors_digest,
    transcript,
    unseal,
)
from fedcode.secure_sum.masks import add_masks
from fedcode.secure_sum.requests import (
    check_book,
    check_confirmations,
    check_coordinator,
    check_delivery,
    check_recipient,
    check_same,
    check_sharers,
    check_survivors,
)
from fedcode.secure_sum.session import Session
from fedcode.signing import SigningKey
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Keys,
    MaskedUpdate,
    Reveal,
    ShareDelivery,
    Shares,
    SurvivorList,
    encode,
    sign,
)

Step = TypeVar("Step")


class Latch(Protocol):
    """What a member has answered in a sum, remembered beyond a crash."""

    def latch(self, step: str, digest: str) -> None:
        """Remembers ``digest`` as the one answer to ``step``; durable when it returns.

        Raises:
            PrivacyError: there is another one.
        """


class SummingMember:
    """One member in one sum.

    Each step answers one request. The same request again gets the same answer again; another one
    is refused, and if the coordinator has signed both, that proves its misbehaviour. After any
    proof of misbehaviour the member gives up: it wipes its secrets and answers nothing more. One
    thread at a time.

    Args:
        session: the sum.
        name: the member's.
        key: its signing key.
        latch: of this sum.

    Raises:
        SecureSumError: the member, with this key, is not in the session.
    """

    def __init__(self, session: Session, name: str, key: SigningKey, latch: Latch) -> None:
        if session.key(name) != key.public:
            raise SecureSumError(f"{name} is not in the session with this key")
        self._session, self._name, self._key, self._latch = session, name, key, latch
        self._index = session.index(name)
        self._seed = randomness.fresh(shamir.SECRET)
        self._sharing = randomness.fresh(shamir.SECRET)
        self._masking = randomness.fresh(shamir.SECRET)
        self._mask_keys: dict[str, bytearray] = {}
        self._held: dict[str, bytearray] = {}  # by owner: shares of its seed and its masking key
        self._keys: Keys | None = None
        self._book: KeyBook | None = None
        self._shares: Shares | None = None
        self._delivery: ShareDelivery | None = None
        self._masked = False
        self._survivors: SurvivorList | None = None
        self._confirmation: Confirmation | None = None
        self._reveal: Reveal | None = None
        self._sharers: tuple[str, ...] = ()
        self._sharers_digest = ""
        self._over = False

    def keys(self) -> Keys:
        """R0: fresh keys, latched so that the member has no others in this sum."""
        self._check_open()
        if self._keys is None:
            session = self._session
            keys = Keys(
                session.agreement,
                session.round,
                session.plan,
                session.weights,
                self._name,
                public_of(self._sharing),
                public_of(self._masking),
                commitment(session, self._index, self._seed),
            )
            signed = sign(keys, self._key)
            self._latch.latch("keys", hashlib.sha256(encode(signed)).hexdigest())
            self._keys = signed
        return self._keys

    def shares(self, book: KeyBook) -> Shares:
        """R1: the member's secrets, shared among those in the key book.

        Raises:
            SecureSumError: out of order, or the member's own keys are not in the book.
            Misbehaviour: the coordinator signed what cannot be, or a second book.
        """
        with self._request(book):
            own = _done(self._keys)
            check_same(self._book, book, "key books")
            if self._shares is None:
                check_book(self._session, own, book)
                try:
                    self._book, self._shares = book, sign(self._share(book), self._key)
                except BaseException:  # half of it done: what is wiped must not be shared
                    self.wipe()
                    raise
            return self._shares

    def accept(self, delivery: ShareDelivery) -> None:
        """R1: takes the others' shares. After it, nothing is left to check before the masking.

        Raises:
            SecureSumError: out of order, or shares that were made for somebody else.
            Misbehaviour: the coordinator signed what cannot be, or a second delivery.
        """
        with self._request(delivery):
            book, transcript = _done(self._book), _done(self._shares).transcript
            check_recipient(self._name, delivery)
            check_same(self._delivery, delivery, "deliveries")
            if self._delivery is None:
                check_delivery(self._session, self._name, book, transcript, delivery)
                opened = self._opened(book, delivery)
                self._sharers = tuple(sorted({self._name, *opened}))
                self._sharers_digest = sharers_digest(transcript, self._sharers)
                for name in self._mask_keys.keys() - opened.keys():
                    randomness.wipe(self._mask_keys.pop(name))
                randomness.wipe(self._sharing)
                self._held |= opened
                self._delivery = delivery

    def mask(self, term: Term) -> MaskedUpdate:
        """R2: the term under all masks; once. The masks' keys are wiped.

        Raises:
            SecureSumError: out of order, or masked already.
            PrivacyError: a term of another length.
        """
        self._check_open()
        _done(self._delivery)
        if self._masked:
            raise SecureSumError("a term is masked once")
        if not isinstance(term, Term) or term.values.shape != (self._session.length,):
            raise PrivacyError(f"a term of {self._session.length} coordinates is masked")
        self._masked = True
        total = np.zeros(self._session.length, np.uint32)
        later = [key for name, key in self._mask_keys.items() if name > self._name]
        earlier = [key for name, key in self._mask_keys.items() if name < self._name]
        try:
            add_masks(total, [self._seed, *later], earlier)
        finally:
            self._wipe_masks()
        self._check_open()  # keys that somebody wiped meanwhile would mask nothing
        return sign(MaskedUpdate(*self._place(), Masked(term, total)), self._key)

    def confirm(self, survivors: SurvivorList) -> Confirmation:
        """R3: the one set of survivors that the member answers for; latched, and then signed.

        Raises:
            SecureSumError: out of order, or the member is not in the set.
            PrivacyError: the latch holds another set.
            Misbehaviour: the coordinator signed what cannot be, or a second set.
        """
        with self._request(survivors):
            delivery = _done(self._delivery if self._masked else None)
            check_same(self._survivors, survivors, "sets of survivors")
            if self._confirmation is None:
                check_sharers(delivery, self._sharers_digest, survivors)
                check_survivors(self._session, self._name, self._sharers, survivors)
                names, digest = survivors.survivors, self._sharers_digest
                self._survivors = survivors
                pinned = survivors_digest(delivery.transcript, digest, names)
                self._latch.latch("survivors", pinned)
                self._confirmation = sign(Confirmation(*self._place(), names), self._key)
            return self._confirmation

    def reveal(self, confirmations: ConfirmationList) -> Reveal:
        """R4: the survivors' seeds in shares, the keys of those who dropped; never both of one.

        Raises:
            SecureSumError: out of order.
            Misbehaviour: the coordinator signed too few confirmations, forged ones, or those of
                another set.
        """
        with self._request(confirmations):
            own, asked = _done(self._confirmation), _done(self._survivors)
            check_sharers(_done(self._delivery), self._sharers_digest, confirmations)
            if confirmations.survivors != own.survivors:
                raise blame(COORDINATOR, "two sets of survivors", asked, confirmations)
            check_confirmations(self._session, own, confirmations)
            if self._reveal is None:
                self._reveal = sign(self._revealed(own.survivors), self._key)
                self._wipe_held()
            return self._reveal

    def wipe(self) -> None:
        """Ends the sum for this member: secrets are overwritten, nothing is answered any more."""
        self._over = True
        self._wipe_masks()
        randomness.wipe(self._sharing)
        self._wipe_held()

    @contextmanager
    def _request(self, message: FromCoordinator) -> Iterator[None]:
        """Answering a request of the coordinator's; a proof of misbehaviour ends it all."""
        self._check_open()
        check_coordinator(self._session, message)
        try:
            yield
        except Misbehaviour:
            self.wipe()
            raise

    def _share(self, book: KeyBook) -> Shares:
        """The message without its signature; what it takes for the masks is kept."""
        session, digest = self._session, transcript(book.keys)
        seeds = shamir.split(self._seed, session.threshold, len(session.members))
        keys = shamir.split(self._masking, session.threshold, len(session.members))
        sharing, masking = private_key(self._sharing), private_key(self._masking)
        ciphertexts = []
        for other in book.keys:
            index = session.index(other.member)
            both = seeds[index - 1] + keys[index - 1]
            if other.member == self._name:
                self._held[self._name] = both
                continue
            way = self._index, index
            sealed = seal(sharing, other.sharing, digest, way, both)
            ciphertexts.append((other.member, sealed.hex()))
            self._mask_keys[other.member] = mask_key(masking, other.masking, digest, *way)
            randomness.wipe(both)
        for secret in (*seeds, *keys, self._masking):
            randomness.wipe(secret)
        where = session.agreement, session.round, session.plan
        return Shares(*where, self._name, digest, tuple(ciphertexts))

    def _opened(self, book: KeyBook, delivery: ShareDelivery) -> dict[str, bytearray]:
        """The others' shares, by owner."""
        public = {keys.member: keys.sharing for keys in book.keys}
        own = private_key(self._sharing)
        opened = {}
        for sender, ciphertext in delivery.ciphertexts:
            way = self._session.index(sender), self._index
            data = bytes.fromhex(ciphertext)
            both = unseal(own, public[sender], delivery.transcript, way, data)
            if both is None or not _two_shares(both):
                raise SecureSumError(f"what came as shares of {sender} are none for {self._name}")
            opened[sender] = both
        return opened

    def _revealed(self, survivors: tuple[str, ...]) -> Reveal:
        dropped = tuple(name for name in self._sharers if name not in survivors)
        if sorted((*survivors, *dropped)) != sorted(self._held):
            raise PrivacyError("both shares of one member would be revealed")
        cut = shamir.SHARE
        return Reveal(
            *self._place(),
            tuple((name, self._held[name][:cut].hex()) for name in survivors),
            tuple((name, self._held[name][cut:].hex()) for name in dropped),
        )

    def _place(self) -> tuple[str, int, str, str, str, str]:
        """What a message about the sharers begins with."""
        session, digest = self._session, _done(self._delivery).transcript
        where = session.agreement, session.round, session.plan
        return (*where, self._name, digest, self._sharers_digest)

    def _check_open(self) -> None:
        if self._over:
            raise SecureSumError("the sum is over for this member")

    def _wipe_masks(self) -> None:
        for secret in (self._seed, self._masking, *self._mask_keys.values()):
            randomness.wipe(secret)
        self._mask_keys.clear()

    def _wipe_held(self) -> None:
        for both in self._held.values():
            randomness.wipe(both)
        self._held.clear()


def _done(step: Step | None) -> Step:
    """What an earlier step has left."""
    if step is None:
        raise SecureSumError("a step before the one that it follows")
    return step


def _two_shares(both: bytearray) -> bool:
    """Whether these are a share of a seed and one of a masking key."""
    return shamir.is_share(both[: shamir.SHARE]) and shamir.is_share(both[shamir.SHARE :])
