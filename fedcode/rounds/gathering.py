# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""From a plan to totals: the members' updates as they are, or secure sums of what they masked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedcode.agreement import Agreement
from fedcode.errors import Misbehaviour, SecureSumError
from fedcode.rounds.exchange import MALFORMED, Exchange
from fedcode.rounds.sessions import sessions
from fedcode.rounds.transcript import Lost, Story
from fedcode.secure_sum import Session, Summation
from fedcode.signing import SigningKey
from fedcode.wire import (
    Confirmation,
    Keys,
    Plan,
    ReceivedMasked,
    ReceivedUpdate,
    Reveal,
    Shares,
    encode,
)

REFUSED = "refused"
"""Why a member is lost whose message does not fit the protocol."""

STEPS = ("keys", "shares", "masked", "confirmation", "reveal")
"""What a member sends in a secure sum, in this order."""

TRAINED = "masked"
"""The step before which a member trains."""

M = TypeVar("M")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one member, or one secure sum, adds to the round.

    Attributes:
        survivors: whose terms are in it.
        total: their sum, shape (length,).
    """

    survivors: tuple[str, ...]
    total: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What a plan brought.

    Attributes:
        parts: one for each member where nothing is masked, else for each secure sum that ended.
        refusals: who is not in any, and why.
        stories: of the secure sums.
    """

    parts: tuple[Part, ...]
    refusals: Mapping[str, str]
    stories: tuple[Story, ...]


def open_updates(exchange: Exchange, plan: Plan, data: bytes) -> Gathered:
    """The members' updates, unmasked.

    Args:
        exchange: reaches them.
        plan: of the round.
        data: its bytes.
    """
    found, refusals = [], {}
    for name, message in exchange.ask(dict.fromkeys(plan.cohort, data), training=True):
        if isinstance(message, str):
            refusals[name] = message
        elif isinstance(message, ReceivedUpdate) and (message.agreement, message.round) == (
            plan.agreement,
            plan.round,
        ):
            found.append(Part((name,), message.values.astype(np.float64)))
        else:
            refusals[name] = MALFORMED
    return Gathered(tuple(found), refusals, ())


def secure_sums(
    exchange: Exchange, agreement: Agreement, plan: Plan, data: bytes, key: SigningKey
) -> Gathered:
    """One secure sum over the cohort, or one for each of its groups, step by step in parallel.

    Args:
        exchange: reaches the members.
        agreement: what was agreed on.
        plan: of the round.
        data: its bytes.
        key: the coordinator's.
    """
    plan_digest = hashlib.sha256(data).hexdigest()
    running = [_Running(each, key) for each in sessions(agreement, plan, plan_digest)]
    for step, requests, wanted, add in _steps(data):
        _take(exchange, running, step, requests, wanted, add)
    lattice = agreement.lattice()
    done = []
    for one in running:
        total = one.total()
        if total is not None:
            done.append(Part(one.sum.survivor_names, lattice.values(total)))
    refusals = {name: lost.why for one in running for name, lost in one.lost.items()}
    inside = {name for part in done for name in part.survivors}
    return Gathered(
        tuple(done),
        {name: why for name, why in refusals.items() if name not in inside},
        tuple(one.story() for one in running),
    )


class _Running:
    """One secure sum while it goes on."""

    def __init__(self, session: Session, key: SigningKey) -> None:
        self.session = session
        self.sum = Summation(session, key)
        self.lost: dict[str, Lost] = {}
        self.confirmations: list[str] = []
        self.seconds: dict[str, float] = dict.fromkeys(STEPS, 0.0)
        self.aborted = ""
        self.blamed: list[Misbehaviour] = []

    def confirm(self, message: Confirmation) -> None:
        """A survivor's confirmation, which is kept for others to check."""
        self.sum.add_confirmation(message)
        self.confirmations.append(encode(message).hex())

    def lose(self, name: str, step: str, why: str) -> None:
        self.lost.setdefault(name, Lost(step, why))

    def give_up(self, error: SecureSumError) -> None:
        """There will be no sum."""
        self.aborted = str(error)
        self.blame(error)

    def blame(self, error: SecureSumError) -> None:
        """Keeps what proves somebody's misbehaviour, for others to check."""
        if isinstance(error, Misbehaviour):
            self.blamed.append(error)

    def total(self) -> NDArray[np.int64] | None:
        if self.aborted:
            return None
        start = time.perf_counter()
        try:
            return self.sum.total()
        except SecureSumError as error:
            self.give_up(error)
            return None
        finally:
            self.seconds["unmasking"] = time.perf_counter() - start

    def story(self) -> Story:
        revealed = len(self.sum.revealed) >= self.session.threshold
        return Story(
            members=self.session.names,
            threshold=self.session.threshold,
            lost=self.lost,
            sharers=self.sum.sharers,
            survivors=self.sum.survivor_names,
            self_masks=self.sum.survivor_names if revealed else (),
            keys=self.sum.dropped if revealed else (),
            confirmations=tuple(self.confirmations),
            seconds=self.seconds,
            aborted=self.aborted,
            blamed=tuple(error.culprit for error in self.blamed),
            evidence=tuple(one.hex() for error in self.blamed for one in error.evidence),
        )


Requests = Callable[[_Running], Mapping[str, bytes]]
Add = Callable[[_Running, Any], None]


def _steps(plan: bytes) -> tuple[tuple[str, Requests, type, Add], ...]:
    """What a member sends in each step, what it is asked for it, and where its message goes."""

    def keys(one: _Running) -> dict[str, bytes]:
        return dict.fromkeys(one.session.names, plan)

    def shares(one: _Running) -> dict[str, bytes]:
        book = one.sum.book()
        return dict.fromkeys([each.member for each in book.keys], encode(book))

    def masked(one: _Running) -> dict[str, bytes]:
        return {name: encode(each) for name, each in one.sum.deliveries().items()}

    def confirmation(one: _Running) -> dict[str, bytes]:
        return dict.fromkeys(one.sum.survivor_names, encode(one.sum.survivors()))

    def reveal(one: _Running) -> dict[str, bytes]:
        return dict.fromkeys(one.sum.confirmed, encode(one.sum.confirmations()))

    return (
        ("keys", keys, Keys, lambda one, message: one.sum.add_keys(message)),
        ("shares", shares, Shares, lambda one, message: one.sum.add_shares(message)),
        ("masked", masked, ReceivedMasked, lambda one, message: one.sum.add_masked(message)),
        ("confirmation", confirmation, Confirmation, _Running.confirm),
        ("reveal", reveal, Reveal, lambda one, message: one.sum.add_reveal(message)),
    )


def _take(
    exchange: Exchange,
    running: Sequence[_Running],
    step: str,
    requests: Requests,
    wanted: type[M],
    add: Callable[[_Running, M], None],
) -> None:
    """One step of all sums at once."""
    asked: dict[str, bytes] = {}
    owner: dict[str, _Running] = {}
    start = time.perf_counter()
    for one in running:
        if one.aborted:
            continue
        try:
            own = requests(one)
        except SecureSumError as error:
            one.give_up(error)
            continue
        asked |= own
        owner |= dict.fromkeys(own, one)
    for name, message in exchange.ask(asked, training=step == TRAINED):
        one = owner[name]
        if isinstance(message, str):
            one.lose(name, step, message)
        elif not isinstance(message, wanted):
            one.lose(name, step, MALFORMED)
        else:
            _add(one, name, step, message, add)
    for one in {id(o): o for o in owner.values()}.values():
        one.seconds[step] = time.perf_counter() - start


def _add(
    one: _Running, name: str, step: str, message: M, add: Callable[[_Running, M], None]
) -> None:
    try:
        add(one, message)
    except SecureSumError as error:
        one.lose(name, step, REFUSED)
        one.blame(error)
