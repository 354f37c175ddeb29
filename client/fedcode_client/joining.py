# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The organization's half of enrolment: joining, renewing, leaving.

Nothing is sent before the coordinator has shown the authority that the invitation names, and a
certificate of it for the host. No private key is ever sent, nor the invitation's seed.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from fedcode.certificates import (
    Invitation,
    common_name,
    fingerprint,
    key_pem,
    load_certificate,
    pem,
    public_pem,
    request,
)
from fedcode.errors import ConfigError, MembershipError
from fedcode.identity import COORDINATOR, NAME
from fedcode.services import enrollment_pb2 as messages
from fedcode.services import enrollment_pb2_grpc as stubs
from fedcode.services.enrolling import enrol_request
from fedcode.services.serving import channel
from fedcode.signing import usable
from fedcode.strict import checked
from fedcode_client.connection import NotAccepted, Unreachable, asking, authority_of, connect
from fedcode_client.home import Home, Membership, joined

PORT = 9471
"""Of the enrolment service, where the invitation names none."""

_PLACE = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:/@\[\]]+))(:(?P<port>.*))?")
_PORT = re.compile(r"[0-9]{1,5}")
_ANSWER = "the coordinator's answer"
_VERSIONS = "are both programs of one version?"

_TAKEN, _PAUSE = 3.0, 0.25
"""Seconds until a coordinator knows of an invitation that it has just made; between two tries."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """``TOKEN@HOST[:PORT]``: what the coordinator's people have handed over."""

    invitation: Invitation
    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> Self:
        """What a person has typed.

        Raises:
            ConfigError: it is not of this form.
        """
        token, _, place = text.strip().partition("@")
        invitation, found = Invitation.read(token), _PLACE.fullmatch(place)
        if found is None:
            raise ConfigError("an invitation names its host", "fedcode-client join TOKEN@HOST")
        number = str(PORT) if found["port"] is None else found["port"]
        if not _PORT.fullmatch(number) or not 0 < int(number) < 1 << 16:
            raise ConfigError(
                f"{number!r} is no number of a port", f"leave it out for {PORT}: TOKEN@HOST"
            )
        return cls(invitation, found["address"] or found["name"], int(number))

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return joined(self.host, self.port)


def join(home: Home, ticket: Ticket) -> Membership:
    """Becomes a member; the folder is as it was where that fails.

    Raises:
        MembershipError: the coordinator is not who it should be, or does not take us.
    """
    invitation = ticket.invitation
    if invitation.expires <= time.time():
        raise MembershipError("the invitation has expired", "ask the coordinator for another one")
    _check_ours(home, invitation)
    signing, key = home.signing_key(), home.tls_key()
    node = public_pem(home.node_key().public_key())
    authority = authority_of(ticket.host, ticket.port, invitation.authority)
    answer = _enrol(
        ticket, authority, enrol_request(signing, request(key), node, invitation.authority)
    )
    values = {
        "member": answer.member,
        "federation": answer.federation,
        "host": ticket.host,
        "enrolment": ticket.port,
        "fleet": answer.fleet_port,
        "coordinator": answer.coordinator,
    }
    membership = checked(Membership, values, _ANSWER, _VERSIONS)
    if not usable(membership.coordinator) or membership.coordinator == signing.public:
        raise MembershipError(f"{_ANSWER} has no key with which it could sign", _VERSIONS)
    made = _checked(answer.certificate, membership.member, authority, home)
    home.keep(membership, pem(made), pem(authority))
    return membership


def standing(home: Home) -> messages.MemberStanding:
    """What the coordinator knows of us."""
    with connect(home) as opened, asking(home.membership().address):
        found: messages.MemberStanding = stubs.EnrollmentStub(opened).Standing(
            messages.StandingRequest()
        )
    if found.state not in ("pending", "approved") or not NAME.fullmatch(found.member):
        raise MembershipError(f"{_ANSWER} is none", _VERSIONS)
    return found


def renewed_if_due(home: Home, now: datetime | None = None) -> bool:
    """Takes a new certificate, for the same key, when a third of this one's life is left.

    Returns:
        Whether there is a new one: connections that are open have the old one still, which ends
        when the new one is first used.

    Raises:
        MembershipError: it was due, and the coordinator could not be reached, or refused.
    """
    there, now = load_certificate(home.certificate), now or datetime.now(UTC)
    life = there.not_valid_after_utc - there.not_valid_before_utc
    if there.not_valid_after_utc - now > life / 3:
        return False
    membership = home.membership()
    with connect(home) as opened, asking(membership.address):
        ask = messages.RenewRequest(certificate_request=request(home.tls_key()))
        answer = stubs.EnrollmentStub(opened).Renew(ask)
    authority = load_certificate(home.authority)
    made = _checked(answer.certificate, membership.member, authority, home)
    home.renew(pem(made))
    return True


def leave(home: Home) -> Membership:
    """Is a member no more, there and here; our keys, agreements and ledger stay.

    Raises:
        MembershipError: we are none, or the coordinator cannot be told.
    """
    membership = home.membership()
    try:
        with connect(home) as opened, asking(membership.address):
            stubs.EnrollmentStub(opened).Leave(messages.LeaveRequest())
    except NotAccepted:
        pass  # we were none already
    home.forget()
    return membership


def _enrol(
    ticket: Ticket, authority: x509.Certificate, ask: messages.EnrollRequest
) -> messages.Certificate:
    refused = MembershipError(
        "the coordinator does not take this invitation: it was used, withdrawn or altered",
        "ask for another one; if it was used and not by you, tell the coordinator",
    )
    until = time.monotonic() + _TAKEN
    while True:
        try:
            return _asked(ticket, authority, ask)
        except NotAccepted as error:
            raise refused from error
        except Unreachable as error:  # it has just answered: the handshake was ended
            if time.monotonic() >= until:
                raise refused from error
            time.sleep(_PAUSE)


def _asked(
    ticket: Ticket, authority: x509.Certificate, ask: messages.EnrollRequest
) -> messages.Certificate:
    invitation = ticket.invitation
    with (
        channel(
            ticket.address,
            ca=pem(authority),
            key=key_pem(invitation.key),
            certificate=pem(invitation.certificate),
        ) as opened,
        asking(ticket.address),
    ):
        answer: messages.Certificate = stubs.EnrollmentStub(opened).Enroll(ask)
    return answer


def _check_ours(home: Home, invitation: Invitation) -> None:
    there = home.member_of()
    if there is None or fingerprint(load_certificate(home.authority)) == invitation.authority:
        return
    raise MembershipError(
        f"{home.root} is a member of {there.federation}, and the invitation is from another one",
        "`fedcode-client init` a folder for each, or `leave` first",
    )


def _checked(data: bytes, member: str, authority: x509.Certificate, home: Home) -> x509.Certificate:
    """The certificate that we were given, if it is ours."""
    wrong = MembershipError(f"{_ANSWER} is no certificate for us", _VERSIONS)
    try:
        made = x509.load_der_x509_certificate(data)
        made.verify_directly_issued_by(authority)
        ours = made.public_key() == home.tls_key().public_key()
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise wrong from error
    if not ours or common_name(made) != member or member == COORDINATOR:
        raise wrong
    return made
