# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a request is answered: by our member of its agreement, or by a refusal.

Only our own installed code runs: a request is one of ours, of an agreement that all have signed, or
it is refused by a code. Why is for the organization's own log.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fedcode.errors import (
    FedcodeError,
    LedgerDamaged,
    MembershipError,
    Misbehaviour,
    WireError,
)
from fedcode.logs import event
from fedcode.rounds.member import Member
from fedcode.signing import canonical
from fedcode.storage import write_json
from fedcode.wire import Refusal, RefusalCode, agreement_of, encode, sign
from fedcode_client.home import Home
from fedcode_client.offers import Desk, Offer

logger = logging.getLogger(__name__)

_LATER = 60.0

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


class Answering:
    """Our members of all agreements that we take part in now.

    One thread answers, and another one may :meth:`sync` beside it.

    Args:
        home: the organization's folder.
        build: makes members of what was agreed on by all.

    Attributes:
        counts: for health and metrics.
    """

    def __init__(self, home: Home, build: Build) -> None:
        self._home, self._build = home, build
        self._desk = Desk(home)
        self._members: Mapping[str, Member] = {}
        self._runs: dict[str, list[str]] = {}
        self._later: dict[str, float] = {}
        self._one_at_a_time = threading.Lock()
        self.counts = Counts()

    @property
    def agreements(self) -> tuple[str, ...]:
        """Digests of the agreements that are answered for now."""
        return tuple(self._members)

    def close(self) -> None:
        """Ends all members."""
        for member in self._members.values():
            member.close()

    def answer(self, data: bytes) -> bytes:
        """Our member's answer to a request, or a refusal.

        Raises:
            LedgerDamaged: nothing can be charged any more.
        """
        try:
            digest = agreement_of(data)
        except WireError:
            return self._refusal(RefusalCode.PLAN)
        if digest not in self._members:
            self._sync_now()
        member = self._members.get(digest)
        if member is None:
            return self._refusal(RefusalCode.AGREEMENT)
        answer = member.answer(data)
        self._note(member, digest)
        return answer

    def objected(self, error: WireError) -> None:
        """Notes that a message was none of ours, and never reached a member."""
        self.counts.objections += 1
        event(logger, "no message of ours", logging.WARNING, why=str(error))

    def bundle_refused(self) -> None:
        """Notes that the coordinator has sent an app."""
        self.counts.objections += 1

    def sync(self) -> None:
        """Makes members of what all have signed, and drops those of runs that are over.

        Raises:
            LedgerDamaged: nothing can be charged any more.
            MembershipError: the coordinator cannot be reached, or does not let us in.
        """
        with self._one_at_a_time:
            accepted = self._desk.accepted()
            offers = {
                offer.run: offer
                for offer in self._desk.offers(only_open=True)
                if offer.state in ("offered", "running")
                and accepted.get(offer.run) == offer.digests
            }
            for run in set(self._runs) - set(offers):
                self._drop(run)
            for run, offer in offers.items():
                if run not in self._runs and not offer.missing():
                    self._take(offer)

    def _sync_now(self) -> None:
        """For an agreement that everybody may have signed a moment ago."""
        try:
            self.sync()
        except (MembershipError, OSError) as error:
            event(logger, "no word from the coordinator", logging.WARNING, why=kind(error))

    def _drop(self, run: str) -> None:
        """Ends our part in a run that is over."""
        over = self._runs.pop(run)
        gone = [self._members[digest] for digest in over]
        self._members = {key: one for key, one in self._members.items() if key not in over}
        for member in gone:
            member.close()
        event(logger, "run is over", run=run)

    def _take(self, offer: Offer) -> None:
        """Becomes a member of a run; where that cannot be now, it is tried again later."""
        if time.monotonic() < self._later.get(offer.run, 0.0):
            return
        try:
            for one in offer.agreements:
                one.check()
            self._desk.check(offer)
            made = self._build(offer)
            self._desk.keep(offer)
        except (LedgerDamaged, MembershipError):
            raise
        except Exception as error:  # noqa: BLE001  settings can ask for what no machine can do
            event(logger, "cannot take part", logging.ERROR, run=offer.run, why=_words(error))
            self._later[offer.run] = time.monotonic() + _LATER
            return
        self._members = {**self._members, **made}
        self._runs[offer.run] = list(made)
        event(logger, "takes part", run=offer.run)

    def _refusal(self, code: RefusalCode) -> bytes:
        self._refused(code)
        refusal = Refusal(_NOBODY, 1, self._desk.membership.member, code)
        return encode(sign(refusal, self._home.signing_key()))

    def _refused(self, code: RefusalCode, why: str = "") -> None:
        refused = self.counts.refused
        refused[code] = refused.get(code, 0) + 1
        words = {"why": why} if why else {}
        event(logger, "refused", logging.WARNING, code=str(code), **words)

    def _note(self, member: Member, digest: str) -> None:
        """What an answer was, for our own people; a proof of misbehaviour is kept whole."""
        code = member.refused
        if code is None:
            self.counts.answered += 1
            event(logger, "answered", agreement=digest[:12])
            return
        self._refused(code, member.why)
        if member.error is not None:
            event(logger, "failed", logging.ERROR, why=_words(member.error))
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


def kind(error: Exception) -> str:
    """What may be said of an error whose words may be anybody's."""
    return type(error).__name__


def _words(error: Exception) -> str:
    """Why, where the words are our own."""
    return str(error) if isinstance(error, FedcodeError) else kind(error)
