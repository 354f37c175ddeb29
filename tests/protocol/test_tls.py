# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Every port of both programs: whom it lets in, in which TLS, and whom it is taken for."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fedcode import certificates
from fedcode.errors import RunError, TransportError
from fedcode.services import enrollment_pb2 as messages
from fedcode.services import enrollment_pb2_grpc as stubs
from fedcode.services.serving import channel, server
from fedcode.transport.fleet import Fleet
from fedcode.transport.front import Listener
from fedcode_client.budget.process import ADDRESS, start_local
from fedcode_client.home import Home, make
from fedcode_server.up import Process
from tests.parties import Parties


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Parties, Process]]:
    parties = Parties(tmp_path_factory.mktemp("tls"))
    with Process(parties.home) as process:
        parties.join("acme")
        yield parties, process


@pytest.fixture(scope="module")
def budget(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an organization's budget service."""
    root = tmp_path_factory.mktemp("budget") / "acme"
    make(root)
    with start_local(Home(root)):
        yield int((root / "ledger" / ADDRESS).read_text(encoding="ascii").rpartition(":")[2])


@pytest.fixture(params=["enrolment", "fleet", "budget"])
def port(request: pytest.FixtureRequest, up: tuple[Parties, Process], budget: int) -> int:
    """Of each service that is not bound to loopback by design."""
    return budget if request.param == "budget" else up[1].ports[request.param]


def anything(port: int, context: ssl.SSLContext) -> bytes:
    """What a port says after a handshake: nothing, or the end, where it does not let us in."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        return secure.recv(100)


def anybody() -> ssl.SSLContext:
    """A caller that looks at no certificate, and has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def test_nobody_is_let_in_without_a_certificate(port: int) -> None:
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert anything(port, anybody()) == b""


def test_nobody_is_let_in_with_a_certificate_of_ones_own(port: int, tmp_path: Path) -> None:
    authority, key = certificates.Authority.make("mine"), certificates.new_key()
    made = authority.for_member(key.public_key(), "acme", 1)
    (tmp_path / "own.pem").write_bytes(certificates.key_pem(key) + certificates.pem(made))
    context = anybody()
    context.load_cert_chain(tmp_path / "own.pem")
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert anything(port, context) == b""


def test_no_port_speaks_plain_text(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        seen = b""
        with contextlib.suppress(ConnectionError):
            seen = plain.recv(100)
    assert b"HTTP" not in seen


def test_a_servers_certificate_does_not_call(up: tuple[Parties, Process]) -> None:
    """It is of the same authority, and for serving alone."""
    parties, process = up
    context = anybody()
    context.load_cert_chain(parties.home.keys / "server.crt", parties.home.keys / "server.key")
    for name in ("enrolment", "fleet"):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert anything(process.ports[name], context) == b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2])
def test_the_rounds_have_the_last_tls_alone(
    up: tuple[Parties, Process], version: ssl.TLSVersion
) -> None:
    parties, process = up
    home = parties.organizations["acme"].home
    context = anybody()
    context.load_cert_chain(home.certificate, home.keys / "tls.key")
    context.maximum_version = version
    with pytest.raises(ssl.SSLError):
        anything(process.ports["fleet"], context)


def test_an_expired_members_certificate_is_refused(
    up: tuple[Parties, Process], tmp_path: Path
) -> None:
    parties, process = up
    before = datetime.now(UTC) - timedelta(days=10)
    key = certificates.new_key()
    made = parties.home.authority().for_member(key.public_key(), "acme", 1, before)
    (tmp_path / "old.pem").write_bytes(certificates.key_pem(key) + certificates.pem(made))
    context = anybody()
    context.load_cert_chain(tmp_path / "old.pem")
    for name in ("enrolment", "fleet"):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert anything(process.ports[name], context) == b""


# What a member's programs take a server for.

NOW = datetime.now(UTC)
SERVERS = {
    "another host": (["elsewhere.example"], NOW, True),
    "an expired certificate": (["127.0.0.1"], NOW - timedelta(days=30), True),
    "a certificate of tomorrow": (["127.0.0.1"], NOW + timedelta(days=1), True),
    "another authority": (["127.0.0.1"], NOW, False),
}


@pytest.fixture(params=[*SERVERS, "a member for a server"])
def false(
    request: pytest.FixtureRequest, up: tuple[Parties, Process], tmp_path: Path
) -> tuple[Path, Path, Path]:
    """Chain, key and authority of somebody who is not our coordinator."""
    ours, key = up[0].home.authority(), certificates.new_key()
    if request.param in SERVERS:
        hosts, now, same = SERVERS[request.param]
        authority = ours if same else certificates.Authority.make("ours")
        made = authority.for_server(key.public_key(), hosts, 7, now)
    else:
        made = ours.for_member(key.public_key(), "127.0.0.1", 7)
    files = tmp_path / "false.crt", tmp_path / "false.key", tmp_path / "ca.crt"
    for path, content in zip(files, (certificates.pem(made), certificates.key_pem(key), ours.pem),
                             strict=True):  # fmt: skip
        path.write_bytes(content)
    return files


async def _app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("somebody has called")


def test_an_agent_does_not_speak_to_a_false_coordinator(
    up: tuple[Parties, Process], false: tuple[Path, Path, Path]
) -> None:
    home = up[0].organizations["acme"].home
    listener = Listener(_app, "127.0.0.1", 0, false)
    listener.start()
    tls = ssl.create_default_context(cafile=str(home.authority))
    tls.load_cert_chain(home.certificate, home.keys / "tls.key")
    key = ec.generate_private_key(ec.SECP384R1())
    fleet = Fleet(f"127.0.0.1:{listener.port}", tls, key, largest=1 << 20)
    try:
        with pytest.raises(TransportError):
            fleet.open()
    finally:
        fleet.close()
        listener.stop()


def test_no_call_is_made_to_a_false_service(
    up: tuple[Parties, Process], false: tuple[Path, Path, Path]
) -> None:
    home = up[0].organizations["acme"].home
    called: list[str] = []
    chain, key, authority = (path.read_bytes() for path in false)
    with (
        server(
            "127.0.0.1:0", servicers=[], private_key=key, chain=chain,
            trusted=lambda: authority, permits=lambda _, method: bool(called.append(method)),
        ) as serving,
        channel(
            f"127.0.0.1:{serving.port}", ca=home.authority.read_bytes(),
            key=certificates.key_pem(home.tls_key()), certificate=home.certificate.read_bytes(),
            deadline=3,
        ) as opened,
    ):  # fmt: skip
        call = stubs.EnrollmentStub(opened).Standing.future(messages.StandingRequest())
        assert call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert called == []


# Where ports are.


def listening() -> set[tuple[str, int]]:
    """Addresses and ports on which something listens on this machine."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":  # it listens; IPv4 stands at the end of IPv6
                address, port = local.split(":")
                found.add((socket.inet_ntoa(bytes.fromhex(address[-8:])[::-1]), int(port, 16)))
    return found


def test_ports_are_where_the_settings_say(up: tuple[Parties, Process], budget: int) -> None:
    listen = up[0].home.settings().listen
    own = {listen.enrolment, listen.fleet, listen.local, budget}
    assert set(up[1].ports.values()) == own - {budget}
    assert {(a, p) for a, p in listening() if p in own} == {("127.0.0.1", p) for p in own}


def test_what_has_no_tls_stays_on_loopback() -> None:
    with pytest.raises(RunError, match="without mutual TLS"):
        Listener(_app, "0.0.0.0", 0, None)
