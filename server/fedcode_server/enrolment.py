# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's half of enrolment, as a gRPC service."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NoReturn

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fedcode.certificates import check_request
from fedcode.errors import ConfigError, MembershipError
from fedcode.identity import HEX
from fedcode.services import enrollment_pb2 as messages
from fedcode.services import enrollment_pb2_grpc as stubs
from fedcode.services.enrolling import SERVICE, check_node_key, proved
from fedcode.services.serving import Refused, Serving, peer, server
from fedcode.signing import usable
from fedcode_server.registry import KeyTaken, Member, Registry
from fedcode_server.settings import Home

_HEALTH = "/grpc.health.v1.Health/"


class Enrolment(stubs.EnrollmentServicer):
    """Enroll, Renew, Standing and Leave.

    Further calls of the service are added by who derives from this class: :meth:`caller` and
    :meth:`approved` say who calls, and have looked the certificate up.
    """

    def __init__(self, home: Home, registry: Registry) -> None:
        self.home, self.registry = home, registry
        self._settings, self._authority = home.settings(), home.authority()
        self._coordinator = home.signing_key().public

    def permits(self, certificate: x509.Certificate, method: str) -> bool:
        """Whether who holds ``certificate`` may call ``method``; asked in every call.

        An invitation enrols, and that is all; a member does everything else.
        """
        if method == f"/{SERVICE}/Enroll":
            return self.registry.invited(certificate) is not None
        if self.registry.holder(certificate) is not None:
            return True
        return method.startswith(_HEALTH) and self.registry.invited(certificate) is not None

    def trusted(self) -> bytes:
        """Whose certificates a handshake takes, PEM."""
        return self._authority.pem + self.registry.invitations()

    def caller(self, context: Any) -> Member:
        """The member that calls, approved or pending.

        Raises:
            Refused: its certificate has ended since the call began.
        """
        member = self.registry.holder(peer(context))
        if member is None:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "certificate not accepted")
        return member

    def approved(self, context: Any) -> Member:
        """The member that calls.

        Raises:
            Refused: it is not approved.
        """
        member = self.caller(context)
        if member.state != "approved":
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "not approved yet")
        return member

    def Enroll(self, request: messages.EnrollRequest, context: Any) -> messages.Certificate:
        """Makes a member of who was invited; the invitation gives the name."""
        key, node_key = _checked(request.certificate_request), _node_key(request.node_key)
        signing_key = request.signing_key
        if not HEX.fullmatch(signing_key) or not usable(signing_key):
            _refuse("signing key")
        if signing_key == self._coordinator:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, "signing key")
        if not proved(request, self._authority.fingerprint):
            _refuse("signature")
        try:
            name, made = self.registry.enrol(
                peer(context), signing_key, node_key, partial(self._issue, key)
            )
        except KeyTaken as taken:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, taken.which) from taken
        except MembershipError as error:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "certificate not accepted") from error
        return self._answer(name, made)

    def Renew(self, request: messages.RenewRequest, context: Any) -> messages.Certificate:
        """A further certificate for the member that calls."""
        name, key = self.caller(context).name, _checked(request.certificate_request)
        made = self._issue(key, name)
        self.registry.renewed(name, made)
        return self._answer(name, made)

    def Standing(self, _request: messages.StandingRequest, context: Any) -> messages.MemberStanding:
        """How the member that calls stands."""
        member = self.caller(context)
        return messages.MemberStanding(
            member=member.name,
            state=member.state,
            expires=member.expires,
            clock=time.time_ns() // 1_000_000,
        )

    def Leave(self, _request: messages.LeaveRequest, context: Any) -> messages.LeaveReply:
        """The member that calls is one no more."""
        self.registry.leave(self.caller(context).name)
        return messages.LeaveReply()

    def _issue(self, key: ec.EllipticCurvePublicKey, name: str) -> x509.Certificate:
        return self._authority.for_member(key, name, self._settings.certificates.member_days)

    def _answer(self, name: str, made: x509.Certificate) -> messages.Certificate:
        return messages.Certificate(
            certificate=made.public_bytes(Encoding.DER),
            member=name,
            federation=self._settings.federation,
            coordinator=self._coordinator,
            fleet_port=self._settings.listen.fleet,
        )


def serve(home: Home, servicer: Enrolment) -> Serving:
    """Serves ``servicer`` where the settings say."""
    listen = home.settings().listen
    return server(
        listen.at(listen.enrolment),
        servicers=[partial(stubs.add_EnrollmentServicer_to_server, servicer)],
        private_key=home.server_key(),
        chain=home.server_chain,
        trusted=servicer.trusted,
        permits=servicer.permits,
    )


def _checked(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return check_request(request)
    except ConfigError:
        _refuse("certificate request")


def _node_key(data: bytes) -> str:
    try:
        return check_node_key(data)
    except ConfigError:
        _refuse("node key")


def _refuse(word: str) -> NoReturn:
    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, word)
