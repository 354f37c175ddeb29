# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC under mutual TLS, over real sockets: who gets in, what gets out."""

import socket
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fedcode.certificates import Authority, common_name, key_pem, new_key, pem
from fedcode.errors import RunError
from fedcode.services import enrollment_pb2 as messages
from fedcode.services import enrollment_pb2_grpc as stubs
from fedcode.services.serving import LOOK, Refused, channel, peer, server

OURS, OTHERS = Authority.make("ours"), Authority.make("others")
SECRET = "def secret_function(): pass"
STANDING = "/fedcode.enrollment.v1.Enrollment/Standing"


class Servicer(stubs.EnrollmentServicer):
    """Does what ``does`` says."""

    def __init__(self):
        self.calls, self.does = 0, lambda context: messages.MemberStanding(member="acme")

    def Standing(self, request, context):
        self.calls += 1
        return self.does(context)

    def Start(self, request, context):
        yield messages.Piece(content=b"one")
        raise ValueError(SECRET)


def served_by(authority, hosts=("localhost", "127.0.0.1"), *, days=1, now=None):
    """A server's key and chain, in PEM."""
    key = new_key()
    chain = pem(authority.for_server(key.public_key(), hosts, days, now), authority.certificate)
    return {"private_key": key_pem(key), "chain": chain}


def held_by(name="acme", authority=OURS, *, days=1, now=None):
    """A member's key and certificate, in PEM."""
    key = new_key()
    certificate = pem(authority.for_member(key.public_key(), name, days, now))
    return {"key": key_pem(key), "certificate": certificate}


@pytest.fixture
def served():
    """A server and what it permits; both can be changed while it runs."""
    state = SimpleNamespace(servicer=Servicer(), trusted=OURS.pem, permitted=lambda *_: True)
    with server(
        "127.0.0.1:0",
        servicers=[partial(stubs.add_EnrollmentServicer_to_server, state.servicer)],
        trusted=lambda: state.trusted,
        permits=lambda *asked: state.permitted(*asked),
        **served_by(OURS),
    ) as running:
        state.port = running.port
        state.running = running
        yield state


def standing(port, host="localhost", *, ca=OURS, holding=None, **more):
    with channel(f"{host}:{port}", ca=ca.pem, **(holding or held_by()), **more) as opened:
        return stubs.EnrollmentStub(opened).Standing(messages.StandingRequest())


def refused(call, *words, **more):
    with pytest.raises(grpc.RpcError) as caught:
        call(*words, **more)
    return caught.value


def test_a_call_arrives_with_the_certificate_of_who_calls(served) -> None:
    found = []
    served.permitted = lambda certificate, method: (
        not found.append((common_name(certificate), method))
    )
    assert standing(served.port).member == "acme"
    assert found == [("acme", STANDING)]


def test_the_host_may_be_an_address_or_a_name_of_its_own(served) -> None:
    assert standing(served.port, "127.0.0.1").member == "acme"
    assert standing(served.port, "127.0.0.1", server_name="localhost").member == "acme"


@pytest.mark.parametrize(
    "shown",
    [
        held_by(authority=OTHERS),
        held_by(now=datetime.now(UTC) - timedelta(days=2)),
        served_by(OURS),
    ],
    ids=["another authority", "expired", "a server's"],
)
def test_other_certificates_end_the_handshake(served, shown) -> None:
    shown = {"key": shown.get("key", shown.get("private_key")),
             "certificate": shown.get("certificate", shown.get("chain"))}  # fmt: skip
    error = refused(standing, served.port, holding=shown)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert served.servicer.calls == 0


def test_nobody_gets_in_without_a_certificate(served) -> None:
    credentials = grpc.ssl_channel_credentials(OURS.pem)
    with grpc.secure_channel(f"localhost:{served.port}", credentials) as opened:
        stub = stubs.EnrollmentStub(opened)
        error = refused(stub.Standing, messages.StandingRequest(), timeout=5)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        check = health_pb2_grpc.HealthStub(opened).Check
        assert refused(check, health_pb2.HealthCheckRequest(), timeout=5)
    assert served.servicer.calls == 0


def test_nothing_is_said_without_tls(served) -> None:
    with grpc.insecure_channel(f"localhost:{served.port}") as opened:
        stub = stubs.EnrollmentStub(opened)
        assert refused(stub.Standing, messages.StandingRequest(), timeout=5)
    with socket.create_connection(("127.0.0.1", served.port), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)
    assert served.servicer.calls == 0


@pytest.mark.parametrize(
    ("identity", "ca"),
    [
        (served_by(OURS, now=datetime.now(UTC) - timedelta(days=2)), OURS),
        (served_by(OURS, ["elsewhere.example"]), OURS),
        (served_by(OTHERS), OURS),
        (dict(zip(("private_key", "chain"), held_by("localhost").values(), strict=True)), OURS),
    ],
    ids=["expired", "another host", "another authority", "a member's"],
)  # fmt: skip
def test_a_caller_refuses_a_server(identity, ca) -> None:
    servicer = Servicer()
    with server(
        "127.0.0.1:0",
        servicers=[partial(stubs.add_EnrollmentServicer_to_server, servicer)],
        trusted=lambda: OURS.pem,
        permits=lambda *_: True,
        **identity,
    ) as running:
        error = refused(standing, running.port, ca=ca)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert servicer.calls == 0


def test_every_call_asks_again_on_an_open_connection(served) -> None:
    with channel(f"localhost:{served.port}", ca=OURS.pem, **held_by()) as opened:
        stub = stubs.EnrollmentStub(opened)
        health = health_pb2_grpc.HealthStub(opened)
        assert stub.Standing(messages.StandingRequest()).member == "acme"
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1
        served.permitted = lambda *_: False
        error = refused(stub.Standing, messages.StandingRequest())
        assert refused(health.Check, health_pb2.HealthCheckRequest())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error.details() == "certificate not accepted"
    assert served.servicer.calls == 1


def test_whom_the_server_trusts_may_change_while_it_runs(served) -> None:
    theirs = held_by(authority=OTHERS)
    assert refused(standing, served.port, holding=theirs)
    served.trusted = OURS.pem + OTHERS.pem
    time.sleep(3 * LOOK)
    assert standing(served.port, holding=theirs).member == "acme"


def test_what_went_wrong_inside_stays_inside(served, caplog) -> None:
    def fail(_context):
        raise ValueError(SECRET)

    served.servicer.does = fail
    error = refused(standing, served.port)
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "")
    assert "secret" not in str(error)
    with channel(f"localhost:{served.port}", ca=OURS.pem, **held_by()) as opened:
        pieces = stubs.EnrollmentStub(opened).Start(messages.StartRequest())
        assert next(pieces).content == b"one"
        error = refused(lambda: next(pieces))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "")
    assert "secret" not in caplog.text
    assert "a call failed: ValueError" in caplog.text


def test_a_refusal_is_a_code_and_a_word(served) -> None:
    def refuse(_context):
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "not yet")

    served.servicer.does = refuse
    error = refused(standing, served.port)
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not yet")


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE])
def test_what_may_be_asked_twice_is_where_a_server_has_ended(served, code) -> None:
    """A call that reaches a server as it hands its port over is cancelled, unread."""

    def refuse_once(_context):
        if served.servicer.calls == 1:
            raise Refused(code)
        return messages.MemberStanding(member="acme")

    served.servicer.does = refuse_once
    assert refused(standing, served.port).code() is code
    served.servicer.calls = 0
    assert standing(served.port, idempotent=[STANDING.strip("/")]).member == "acme"
    assert served.servicer.calls == 2


def test_a_method_that_nobody_has_written_is_refused(served) -> None:
    with channel(f"localhost:{served.port}", ca=OURS.pem, **held_by()) as opened:
        error = refused(stubs.EnrollmentStub(opened).Leave, messages.LeaveRequest())
        assert error.details() == ""
        watching = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest())
        assert refused(lambda: next(watching)).code() is grpc.StatusCode.UNIMPLEMENTED


def test_every_call_ends(served) -> None:
    served.servicer.does = lambda _context: time.sleep(1) or messages.MemberStanding()
    begin = time.monotonic()
    error = refused(standing, served.port, deadline=0.2)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - begin < 0.9


def test_messages_have_a_size(served) -> None:
    with channel(f"localhost:{served.port}", ca=OURS.pem, largest=1 << 30, **held_by()) as opened:
        large = messages.EnrollRequest(certificate_request=bytes(5 << 20))
        error = refused(stubs.EnrollmentStub(opened).Enroll, large)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(("idempotent", "calls"), [([STANDING[1:]], 3), ([], 1)])
def test_only_what_may_be_repeated_is(served, idempotent, calls) -> None:
    def twice_away(_context):
        if served.servicer.calls < 3:
            raise Refused(grpc.StatusCode.UNAVAILABLE)
        return messages.MemberStanding(member="acme")

    served.servicer.does = twice_away
    if calls > 1:
        assert standing(served.port, idempotent=idempotent).member == "acme"
    else:
        assert refused(standing, served.port, idempotent=idempotent)
    assert served.servicer.calls == calls


def test_two_servers_do_not_share_a_port(served) -> None:
    with pytest.raises(RunError, match="cannot listen"):
        server(
            f"127.0.0.1:{served.port}",
            servicers=[],
            trusted=lambda: OURS.pem,
            permits=lambda *_: True,
            **served_by(OURS),
        )


def test_a_call_without_a_certificate_has_no_peer() -> None:
    with pytest.raises(Refused):
        peer(SimpleNamespace(auth_context=dict))
