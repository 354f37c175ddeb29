# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Messages over sockets: who is let in, what is taken, and what happens to what is lost."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from numpy import zeros

from fedcode import certificates
from fedcode.errors import Interrupted
from fedcode.transport.flower import message_to, pack, unpack
from fedcode.transport.internals.fleet import FleetCalls
from tests.network import Killed, Network, network


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


def echo(data: bytes) -> bytes:
    return b"heard " + data


def asked(net: Network, nodes: list[int], data: bytes, timeout: float = 20) -> dict[int, bytes]:
    replies = net.link.grid().send_and_receive(
        [message_to(node, data) for node in nodes], timeout=timeout
    )
    return {one.metadata.src_node_id: unpack(one.content) for one in replies if one.has_content()}


def test_members_are_asked_and_answer(net: Network) -> None:
    members = [net.member(f"m{i}", echo) for i in range(3)]
    nodes = [one.node for one in members]
    assert asked(net, nodes, b"one") == dict.fromkeys(nodes, b"heard one")
    assert asked(net, nodes[:2], b"two") == dict.fromkeys(nodes[:2], b"heard two")
    for one in members:
        one.stop()


def test_a_node_that_comes_later_is_asked_when_it_comes(net: Network) -> None:
    member = net.member("late", echo)
    member.stop()
    found: dict[int, bytes] = {}
    waiting = threading.Thread(target=lambda: found.update(asked(net, [member.node], b"one")))
    waiting.start()
    time.sleep(0.5)
    member.start()
    waiting.join(20)
    assert found == {member.node: b"heard one"}
    member.stop()


def test_a_node_that_starts_again_in_the_midst_is_asked_again(net: Network) -> None:
    heard: list[bytes] = []
    gone = threading.Event()

    def dies(data: bytes) -> bytes:
        heard.append(data)
        gone.set()
        raise Killed

    member = net.member("dying", dies)
    found: dict[int, bytes] = {}
    waiting = threading.Thread(target=lambda: found.update(asked(net, [member.node], b"one", 30)))
    waiting.start()
    assert gone.wait(20)
    member.answer = echo
    member.start()
    waiting.join(30)
    assert (heard, found) == ([b"one"], {member.node: b"heard one"})
    member.stop()


def test_a_coordinator_that_starts_again_is_found_again(net: Network) -> None:
    member = net.member("patient", echo)
    assert asked(net, [member.node], b"one")
    port = net.listener.port
    net.stop()
    net.start(port)
    assert asked(net, [member.node], b"two") == {member.node: b"heard two"}
    member.stop()


def test_who_does_not_answer_in_time_is_not_waited_for(net: Network) -> None:
    slow, quick = net.member("slow", lambda _: time.sleep(9) or b"late"), net.member("quick", echo)
    for one in (slow, quick):
        one.online()
    assert asked(net, [slow.node, quick.node], b"one", 5) == {quick.node: b"heard one"}
    slow.stop()
    quick.stop()


def test_a_late_answer_is_never_taken_for_the_next_one(net: Network) -> None:
    member = net.member("slow", lambda data: time.sleep(3) or data)
    member.online()
    assert asked(net, [member.node], b"one", 1.5) == {}
    assert asked(net, [member.node], b"two", 30) == {member.node: b"two"}
    member.stop()


def test_an_answer_that_is_cut_off_on_its_way_is_sent_to_its_end(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its objects once, when the SuperLink knows of the answer already."""
    put, cuts = FleetCalls.put, iter(range(1, 7))

    def cut(*words: object) -> bool:
        if next(cuts, 0) % 2:
            raise httpx.ReadError("reset")
        return put(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(FleetCalls, "put", cut)
    member = net.member("m", echo)
    assert asked(net, [member.node], b"one", 15) == {member.node: b"heard one"}
    member.stop()


def test_waiting_ends_when_it_is_to(net: Network) -> None:
    stop = threading.Event()
    node = net.member("quiet", lambda _: time.sleep(5) or b"").node
    threading.Timer(0.5, stop.set).start()
    start = time.monotonic()
    with pytest.raises(Interrupted):
        list(net.link.grid(stop).send_and_receive([message_to(node, b"one")]))
    assert time.monotonic() - start < 3


def test_nothing_of_a_round_stays_behind(net: Network) -> None:
    member = net.member("m", echo)
    for number in range(3):
        assert asked(net, [member.node], bytes([number]) * 100_000)
    state = net.link._store._state
    time.sleep(0.5)
    assert (state.num_message_ins(), state.num_message_res(), len(state.object_store)) == (0, 0, 0)
    member.stop()


OTHERS = {
    "another type": lambda node: Message(pack(b"x"), node, MessageType.QUERY),
    "weights": lambda node: Message(
        RecordDict({"arrays": ArrayRecord([zeros(4)])}), node, MessageType.TRAIN
    ),
    "two records": lambda node: Message(
        RecordDict({"fedcode": ConfigRecord({"message": b"x"}), "more": ConfigRecord({"x": 1})}),
        node,
        MessageType.TRAIN,
    ),
    "another field": lambda node: Message(
        RecordDict({"fedcode": ConfigRecord({"message": b"x", "run": "sh"})}),
        node,
        MessageType.TRAIN,
    ),
    "a text": lambda node: Message(
        RecordDict({"fedcode": ConfigRecord({"message": "x"})}), node, MessageType.TRAIN
    ),
    "nothing": lambda node: Message(RecordDict({}), node, MessageType.TRAIN),
    "too much": lambda node: message_to(node, bytes(9 << 20)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_no_request_of_ours_never_reaches_a_member(net: Network, what: str) -> None:
    heard: list[bytes] = []

    def listens(data: bytes) -> bytes:
        heard.append(data)
        return b"ok"

    member = net.member("wary", listens)
    member.online()
    grid = net.link.grid()
    grid.push_messages([OTHERS[what](member.node)])
    until = time.monotonic() + 15
    while not member.objections and time.monotonic() < until:
        time.sleep(0.05)
    assert member.objections
    assert asked(net, [member.node], b"one") == {member.node: b"ok"}  # and it lives on
    assert heard == [b"one"]
    member.stop()


def test_a_node_that_is_not_let_in_hears_nothing(net: Network) -> None:
    member = net.member("expelled", echo)
    assert asked(net, [member.node], b"one")
    net.refused.add(member.public)
    assert asked(net, [member.node], b"two", 1.5) == {}
    assert "TransportRefusal" in member.objections
    member.stop()


def shake(net: Network, context: ssl.SSLContext, host: str = "127.0.0.1") -> bytes:
    """What the listener says to a request: nothing, where it does not take the certificate."""
    with (
        socket.create_connection(("127.0.0.1", net.listener.port), 5) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        secure.sendall(b"GET /v1/control/list-runs HTTP/1.1\r\nhost: x\r\n\r\n")
        return secure.recv(100)


def test_nobody_connects_without_a_certificate(net: Network) -> None:
    bare = ssl.create_default_context(cafile=str(net.folder / "ca.crt"))
    with contextlib.suppress(ssl.SSLError, ConnectionResetError):
        assert shake(net, bare) == b""
    assert shake(net, net.tls("m0")).startswith(b"HTTP/1.1 404")


def test_nobody_connects_with_the_certificate_of_another_authority(
    net: Network, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = certificates.Authority.make("other")
    key = certificates.new_key()
    made = other.for_member(key.public_key(), "m0", 1)
    (folder / "m.pem").write_bytes(certificates.key_pem(key) + certificates.pem(made))
    context = ssl.create_default_context(cafile=str(net.folder / "ca.crt"))
    context.load_cert_chain(folder / "m.pem")
    with contextlib.suppress(ssl.SSLError, ConnectionResetError):
        assert shake(net, context) == b""


def test_no_byte_is_answered_in_plain_text(net: Network) -> None:
    with socket.create_connection(("127.0.0.1", net.listener.port), 5) as plain:
        plain.sendall(b"POST /v1/fleet/pull-messages HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)


@pytest.mark.parametrize(
    "path", ["/v1/control/list-runs", "/v1/fleet/register-node", "/v1/runtime/acquire-task", "/"]
)
def test_there_is_nothing_but_the_fleet_api(net: Network, path: str) -> None:
    context = net.tls("m0")
    with (
        socket.create_connection(("127.0.0.1", net.listener.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        request = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
        secure.sendall(request.encode())
        assert secure.recv(100).startswith(b"HTTP/1.1 404")
