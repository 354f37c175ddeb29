# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Sums for tests: members with keys of their own, and rounds in which some leave."""

from __future__ import annotations

from functools import cache

import numpy as np

from fedcode.errors import PrivacyError
from fedcode.privacy.release import Term
from fedcode.secure_sum import Session, Summation, SummingMember
from fedcode.signing import SigningKey
from fedcode.wire import decode, encode


class Points(Term):
    """A term without a release: what is masked does not depend on where it came from."""

    def __init__(self, values):
        object.__setattr__(self, "values", np.asarray(values, np.int32))


class Memory:
    """A latch; ``fails`` makes the next call one that is remembered and does not return."""

    def __init__(self):
        self.held = {}
        self.fails = False

    def latch(self, step, digest):
        if self.held.setdefault(step, digest) != digest:
            raise PrivacyError("another answer was latched")
        if self.fails:
            self.fails = False
            raise OSError("power cut")


@cache
def signing_key(name):
    return SigningKey.generate()


def names_of(n):
    return tuple(f"m{i:03}" for i in range(n))


def session_of(n, length=4, **changed):
    values = {
        "agreement": "aa" * 32,
        "round": 7,
        "plan": "bb" * 32,
        "weights": "cc" * 32,
        "coordinator": signing_key("coordinator").public,
        "members": tuple((name, signing_key(name).public) for name in names_of(n)),
        "length": length,
    }
    return Session(**(values | changed))


def arrived(message, length=4):
    """What the other side reads."""
    return decode(encode(message), weights=length, length=length)


class Round:
    """Both halves of one sum, and every message as it arrives."""

    def __init__(self, n=4, length=4, seed=0, **changed):
        self.session = session_of(n, length, **changed)
        self.names = self.session.names
        self.latches = {name: Memory() for name in self.names}
        self.members = {
            name: SummingMember(self.session, name, signing_key(name), self.latches[name])
            for name in self.names
        }
        self.coordinator = Summation(self.session, signing_key("coordinator"))
        draw = np.random.default_rng(seed)
        limit = (2**31 - 1) // n
        self.terms = {
            name: draw.integers(-limit, limit, length, endpoint=True).astype(np.int32)
            for name in self.names
        }

    def arrived(self, message):
        return arrived(message, self.session.length)

    def keys(self, leave=()):
        for name in self.names:
            if name not in leave:
                self.coordinator.add_keys(self.arrived(self.members[name].keys()))
        return self.arrived(self.coordinator.book())

    def shares(self, leave=()):
        """Those in the book share."""
        book = self.arrived(self.coordinator.book())
        for keys in book.keys:
            if keys.member not in leave:
                message = self.members[keys.member].shares(book)
                self.coordinator.add_shares(self.arrived(message))
        return {n: self.arrived(d) for n, d in self.coordinator.deliveries().items()}

    def masked(self, leave=()):
        """The sharers accept and mask."""
        for name, delivery in self.coordinator.deliveries().items():
            if name not in leave:
                self.members[name].accept(self.arrived(delivery))
                message = self.members[name].mask(Points(self.terms[name]))
                self.coordinator.add_masked(self.arrived(message))
        return self.arrived(self.coordinator.survivors())

    def confirmed(self, leave=()):
        """The survivors confirm."""
        survivors = self.arrived(self.coordinator.survivors())
        for name in survivors.survivors:
            if name not in leave:
                message = self.members[name].confirm(survivors)
                self.coordinator.add_confirmation(self.arrived(message))
        return self.arrived(self.coordinator.confirmations())

    def total(self, leave=()):
        """Those who have confirmed reveal."""
        confirmations = self.arrived(self.coordinator.confirmations())
        for name in self.coordinator.confirmed:
            if name not in leave:
                message = self.members[name].reveal(confirmations)
                self.coordinator.add_reveal(self.arrived(message))
        return self.coordinator.total()

    def expected(self):
        """The survivors' plain sum, shape (d,)."""
        terms = [self.terms[name].astype(np.int64) for name in self.coordinator.survivor_names]
        return np.sum(terms, axis=0)

    def run(self, leaves=((), (), (), (), ())):
        """The whole sum; ``leaves`` names who is gone from each step on."""
        gone = set()
        found = None
        for step, leave in zip(
            (self.keys, self.shares, self.masked, self.confirmed, self.total), leaves, strict=True
        ):
            gone |= set(leave)
            found = step(gone)
        return found
