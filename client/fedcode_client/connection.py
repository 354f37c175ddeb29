# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How an organization reaches its coordinator, and what a person is told when it does not."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fedcode.certificates import fingerprint, key_pem, load_certificate
from fedcode.errors import MembershipError
from fedcode.services.enrolling import SERVICE
from fedcode.services.serving import channel
from fedcode_client.home import Home, joined

IDEMPOTENT = [f"{SERVICE}/{name}" for name in ("Standing", "Renew", "Offers", "Countersigned")]
"""Calls that are tried again while the coordinator cannot be reached."""

_LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # by a server that has just been stopped or replaced
)
_GRPC = "h2"
_SECONDS = 20.0
_READY = (1.5, 3.0, 6.0)
"""Seconds that one channel after another is waited for."""

_TRIES, _PAUSE = 4, 0.3


def connect(home: Home) -> grpc.Channel:
    """A channel to the coordinator as the member that we are; to be closed.

    It is waited for: a coordinator that has just invited somebody hands its port over, and a
    handshake at that moment is ended. A channel whose connection ends right after that is not
    always opened again, or takes too long: another one is made.

    Raises:
        MembershipError: we have not joined, our certificate has expired, or nobody answers.
    """
    membership = home.membership()
    if load_certificate(home.certificate).not_valid_after_utc <= datetime.now(UTC):
        raise MembershipError(
            f"{membership.member}'s certificate has expired",
            f"ask the coordinator for another invitation: fedcode-server renew {membership.member}",
        )
    for seconds in _READY:
        opened = channel(
            membership.address,
            ca=home.authority.read_bytes(),
            key=key_pem(home.tls_key()),
            certificate=home.certificate.read_bytes(),
            idempotent=IDEMPOTENT,
        )
        try:
            grpc.channel_ready_future(opened).result(seconds)
        except grpc.FutureTimeoutError:
            opened.close()
        else:
            return opened
    raise _silent(membership.address)


@contextmanager
def asking(address: str) -> Iterator[None]:
    """Says what gRPC's codes mean.

    Raises:
        MembershipError: the call did not succeed.
    """
    try:
        yield
    except grpc.RpcError as error:
        code, word = error.code(), error.details() or ""
        raise _meaning(code, word, address) from error


def _meaning(code: grpc.StatusCode, word: str, address: str) -> MembershipError:
    again = "`fedcode-client join` with another invitation"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return NotAccepted("the coordinator does not take our certificate", again)
    if code is grpc.StatusCode.ALREADY_EXISTS:
        return MembershipError(
            f"another member has our {_known(word)}", "`fedcode-client init` a new folder"
        )
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return MembershipError(
            "the coordinator has not approved us yet", "ask for it: fedcode-server approve"
        )
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return MembershipError(
            "the coordinator does not wait for this any more",
            "`fedcode-client offers` shows what is asked of us",
        )
    if code in _LOST:
        return _silent(address)
    return MembershipError(
        f"the coordinator refuses: {code.name.lower().replace('_', ' ')}",
        "are both programs of one version?",
    )


def _silent(address: str) -> Unreachable:
    return Unreachable(f"{address} does not answer us", "is it up, and are we still a member?")


class NotAccepted(MembershipError):
    """Our certificate was revoked, or has been followed by another."""


class Unreachable(MembershipError):
    """No answer: the network, a coordinator that is down, or a handshake that it has ended."""


def _known(word: str) -> str:
    """Of what a server says, only what it is known to say goes to a terminal."""
    return word if word in ("signing key", "node key") else "key"


def authority_of(host: str, port: int, expected: bytes) -> x509.Certificate:
    """The authority that ``expected`` is the fingerprint of, as the server shows it.

    The server's own certificate must come from it, name ``host``, and be good today. Nothing has
    been sent but what begins a handshake.

    Raises:
        MembershipError: it shows another one, or no such certificate; or it is not for enrolment.
    """
    chain, protocol = _shown(host, port)
    found = [each for each in chain if fingerprint(each) == expected]
    if not found:
        raise MembershipError(
            f"{joined(host, port)} is not the coordinator that the invitation is from",
            "is the host right? Nothing was sent; somebody may be in between",
        )
    authority, leaf, now = found[0], chain[0], datetime.now(UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise MembershipError(
            f"the certificate of {joined(host, port)} has expired, or is not good yet",
            "is the clock right? Otherwise the coordinator makes another one",
        )
    verifier = PolicyBuilder().store(Store([authority])).build_server_verifier(_subject(host))
    try:
        verifier.verify(leaf, [])
    except VerificationError as error:
        raise MembershipError(
            f"the certificate of {joined(host, port)} is not for {host}",
            "use a name that the coordinator's `hosts` has",
        ) from error
    if protocol != _GRPC:
        raise MembershipError(
            f"{joined(host, port)} is the coordinator's, but not its port of enrolment",
            "take the line as `fedcode-server invite` has printed it, with its port",
        )
    return authority


def _subject(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _shown(host: str, port: int) -> tuple[list[x509.Certificate], str | None]:
    """The certificates that a server shows, and the protocol that it chooses; nothing is checked.

    The rounds' port speaks HTTP/1.1, enrolment's gRPC.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # before, a server would ask for ours first
    context.set_alpn_protocols([_GRPC])
    for left in reversed(range(_TRIES)):
        try:
            with (
                socket.create_connection((host, port), _SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=host) as secure,
            ):
                chain = [x509.load_der_x509_certificate(each) for each in _chain(secure)]
                return chain, secure.selected_alpn_protocol()
        except (OSError, ValueError) as error:
            if not left or not isinstance(error, (ConnectionError, ssl.SSLError)):
                raise Unreachable(
                    f"no coordinator answers at {joined(host, port)}",
                    "is the host right, and is it up?",
                ) from error
            time.sleep(_PAUSE)
    return [], None


def _chain(secure: ssl.SSLSocket) -> list[bytes]:
    if sys.version_info >= (3, 13):
        return secure.get_unverified_chain()
    inner: Any = secure._sslobj  # type: ignore[attr-defined]  # noqa: SLF001  public since 3.13
    shown = inner.get_unverified_chain()
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in shown or ()]
