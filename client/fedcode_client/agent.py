# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The agent: takes what the coordinator asks, and answers what its organization has agreed to.

It runs its own installed code and no other: a message is one of ours, of an agreement that all have
signed, or it is refused by a code. Why is for the organization's own log.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedcode.errors import (
    FedcodeError,
    LedgerDamaged,
    Misbehaviour,
    TransportError,
    TransportRefusal,
    WireError,
)
from fedcode.logs import event
from fedcode.rounds.member import Member
from fedcode.signing import canonical
from fedcode.storage import write_atomically, write_json
from fedcode.transport.fleet import Arrived, Fleet
from fedcode.wire import Refusal, RefusalCode, agreement_of, encode, sign
from fedcode_client.home import Home, joined
from fedcode_client.joining import renewed_if_due
from fedcode_client.offers import Desk, Offer

logger = logging.getLogger(__name__)

_QUICK, _IDLE = 0.1, 2.0
_AWAKE = 30.0
_SYNC = 5.0
_AGAIN = 1.0
_TRIES = 300
_DAILY = 3600.0

_NOBODY = "0" * 64

Build = Callable[[Offer], dict[str, Member]]
"""Makes our members of a run's agreements, by their digests."""


@dataclass(slots=True)
class Counts:
    """What the agent has done since it started.

    Attributes:
        answered: requests that were answered as they wanted.
        refused: the others, by code.
        objections: messages that were none of ours.
        last: when a request came last, seconds since 1970; 0 for never.
    """

    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    objections: int = 0
    last: float = 0.0


class Agent:
    """One organization's end of the rounds.

    Args:
        home: the organization's folder.
        build: makes members of what was agreed on by all.
        after: shows the ledger's head to the witness; called soon after something was answered.
        largest: bytes of a message, either way.

    Attributes:
        counts: for health and metrics.
        connected: whether the coordinator was reached at the last try.
    """

    def __init__(
        self, home: Home, build: Build, after: Callable[[], None], *, largest: int
    ) -> None:
        self._home, self._build, self._after, self._largest = home, build, after, largest
        self._desk = Desk(home)
        self._members: dict[str, Member] = {}
        self._runs: dict[str, list[str]] = {}
        self._stop = threading.Event()
        self._synced = 0.0
        self._looked = 0.0
        self._unseen = True
        self.counts = Counts()
        self.connected = False

    @property
    def agreements(self) -> tuple[str, ...]:
        """Digests of the agreements that are answered for now."""
        return tuple(self._members)

    def stop(self) -> None:
        """Ends :meth:`run` when what is being answered is answered."""
        self._stop.set()

    def run(self) -> None:
        """Answers until :meth:`stop`, through whatever happens to the network.

        Raises:
            LedgerDamaged: nothing can be charged any more.
        """
        while not self._stop.is_set():
            try:
                self._online()
            except LedgerDamaged:
                raise
            except FedcodeError as error:
                self._lost(error)
        for member in self._members.values():
            member.close()

    def _online(self) -> None:
        """One time online: from the first connection to the first that fails."""
        if renewed_if_due(self._home):
            event(logger, "certificate renewed")
        self._sync()
        fleet = self._fleet()
        try:
            fleet.open()
            self._remember(fleet.node)
            self._reached()
            self._looked = time.monotonic()
            while not self._stop.is_set() and time.monotonic() - self._looked < _DAILY:
                self._step(fleet)
        finally:
            fleet.close()

    def _step(self, fleet: Fleet) -> None:
        if time.monotonic() - self._synced >= _SYNC:
            self._sync()
        try:
            arrived = fleet.receive()
            if arrived is None:
                self._show()
                awake = time.time() - self.counts.last < _AWAKE
                self._stop.wait(_QUICK if awake else _IDLE)
                return
            self.counts.last = time.time()
            data = fleet.content(arrived)
        except WireError as error:
            self.counts.objections += 1
            event(logger, "no message of ours", logging.WARNING, why=str(error))
            return
        self._reply(fleet, arrived, self._answer(data))

    def _show(self) -> None:
        """Shows the ledger's head, when there is time for it."""
        if self._unseen:
            self._after()
            self._unseen = False

    def _answer(self, data: bytes) -> bytes:
        """Ours, or a refusal."""
        try:
            digest = agreement_of(data)
        except WireError:
            return self._refusal(RefusalCode.PLAN)
        if digest not in self._members:
            self._sync()
        member = self._members.get(digest)
        if member is None:
            return self._refusal(RefusalCode.AGREEMENT)
        answer = member.answer(data)
        self._note(member, digest)
        self._unseen = True
        return answer

    def _refusal(self, code: RefusalCode) -> bytes:
        self._refused(code)
        refusal = Refusal(_NOBODY, 1, self._desk.membership.member, code)
        return encode(sign(refusal, self._home.signing_key()))

    def _refused(self, code: RefusalCode) -> None:
        refused = self.counts.refused
        refused[code] = refused.get(code, 0) + 1
        event(logger, "refused", logging.WARNING, code=str(code))

    def _note(self, member: Member, digest: str) -> None:
        """What an answer was, for our own people; a proof of misbehaviour is kept whole."""
        code = member.refused
        if code is None:
            self.counts.answered += 1
            event(logger, "answered", agreement=digest[:12])
            return
        self._refused(code)
        if member.error is not None:
            event(logger, "failed", logging.ERROR, error=type(member.error).__name__)
            if isinstance(member.error, LedgerDamaged):
                raise member.error
        if isinstance(member.objection, Misbehaviour):
            proof = member.objection
            event(logger, "misbehaviour proved", logging.ERROR, of=proof.culprit, what=str(proof))
            evidence = [one.hex() for one in proof.evidence]
            said = {"culprit": proof.culprit, "what": str(proof), "evidence": evidence}
            name = hashlib.sha256(canonical(said)).hexdigest()[:16]  # the same proof, one file
            path = self._home.state / "evidence" / f"{digest[:12]}-{name}.json"
            if not path.exists():
                write_json(path, said)

    def _reply(self, fleet: Fleet, arrived: Arrived, answer: bytes) -> None:
        """Sends an answer for as long as it can be of use."""
        for _ in range(_TRIES):
            try:
                fleet.reply(arrived, answer)
            except TransportRefusal:
                event(logger, "answer not wanted any more", logging.WARNING)
                return
            except TransportError:
                if self._stop.wait(_AGAIN):
                    return
            else:
                return

    def _sync(self) -> None:
        """Makes members of what all have signed, and drops those of runs that are over."""
        self._synced = time.monotonic()
        accepted = self._desk.accepted()
        offers = {
            offer.run: offer
            for offer in self._desk.offers()
            if offer.state in ("offered", "running") and accepted.get(offer.run) == offer.digests
        }
        for run in set(self._runs) - set(offers):
            for digest in self._runs.pop(run):
                self._members.pop(digest).close()
            event(logger, "run is over", run=run)
        for run, offer in offers.items():
            if run not in self._runs and not offer.missing():
                self._take(offer)

    def _take(self, offer: Offer) -> None:
        """Becomes a member of a run."""
        try:
            for one in offer.agreements:
                one.check()
            self._desk.check(offer)
            made = self._build(offer)
        except LedgerDamaged:
            raise
        except Exception as error:  # noqa: BLE001  settings can ask for what no machine can do
            why = {"why": str(error)} if isinstance(error, FedcodeError) else {}
            kind = type(error).__name__
            event(logger, "cannot take part", logging.ERROR, run=offer.run, error=kind, **why)
            self._runs[offer.run] = []
            return
        self._desk.keep(offer)
        self._members |= made
        self._runs[offer.run] = list(made)
        event(logger, "takes part", run=offer.run)

    def _fleet(self) -> Fleet:
        membership, home = self._desk.membership, self._home
        tls = ssl.create_default_context(cafile=str(home.authority))
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        tls.load_cert_chain(home.certificate, home.keys / "tls.key")
        path = home.state / "node"
        before = int(path.read_text(encoding="ascii")) if path.exists() else 0
        address = joined(membership.host, membership.fleet)
        return Fleet(address, tls, home.node_key(), largest=self._largest, before=before)

    def _remember(self, node: int) -> None:
        write_atomically(self._home.state / "node", str(node).encode())

    def _reached(self) -> None:
        if not self.connected:
            event(logger, "connected")
        self.connected = True

    def _lost(self, error: FedcodeError) -> None:
        if self.connected:
            event(logger, "connection lost", logging.WARNING, why=type(error).__name__)
        self.connected = False
        pause = _AGAIN if isinstance(error, TransportError) else 3 * _AGAIN
        self._stop.wait(pause)
