# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What one member may do to another, and to the coordinator, over the network: nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import get_object_id
from flwr.supercore.primitives.asymmetric import sign_message

from fedcode import certificates
from fedcode.transport.flower import message_to, pack, unpack
from fedcode.transport.internals.common import objects_of, parts
from fedcode.transport.internals.fleet import FleetCalls
from tests.network import LARGEST, Network, network


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("net")) as made:
        yield made


class Raw:
    """A node that calls the Fleet API as it likes.

    Attributes:
        answered: statuses of its last calls.
    """

    def __init__(self, net: Network, name: str) -> None:
        self.net, self.name = net, name
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.public = certificates.public_pem(self.key.public_key())
        self.node = net.link.admit(name, self.public)
        self.calls = self.as_(self.key)
        self.calls.activate(10)
        assert self.calls.node == self.node

    def as_(self, key: ec.EllipticCurvePrivateKey) -> FleetCalls:
        """Calls with a node's key."""
        transport = httpx.HTTPTransport(verify=self.net.tls(self.name))
        return FleetCalls(self.net.address, self.net.tls(self.name), key, transport, 10)

    def take(self) -> tuple[Message, ObjectTree]:
        """The message that waits."""
        end = time.monotonic() + 10
        while (found := self.calls.next()) is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        return found


@pytest.fixture
def two(net: Network) -> Iterator[tuple[Raw, Raw]]:
    """An honest node that has a request, and another one."""
    honest, other = Raw(net, "honest"), Raw(net, "other")
    yield honest, other
    for one in (honest, other):
        with contextlib.suppress(httpx.HTTPError):
            one.calls.deactivate()
        one.calls.close()


class Asking(threading.Thread):
    """The coordinator's grid, while it waits for nodes."""

    def __init__(self, net: Network, requests: dict[int, bytes], timeout: float = 15) -> None:
        super().__init__(daemon=True)
        self.grid, self.requests, self.timeout = net.link.grid(), requests, timeout
        self.replies: dict[int, Message] = {}
        self.start()

    def run(self) -> None:
        messages = [message_to(node, data) for node, data in self.requests.items()]
        for reply in self.grid.send_and_receive(messages, timeout=self.timeout):
            self.replies[reply.metadata.src_node_id] = reply

    def heard(self) -> dict[int, bytes]:
        self.join(self.timeout + 10)
        assert not self.is_alive()
        return {node: unpack(one.content) for node, one in self.replies.items()}


def answer(raw: Raw, asked: Message, data: bytes) -> None:
    """An honest answer."""
    send(raw, Message(pack(data), reply_to=asked))


def send(raw: Raw, message: Message) -> None:
    tree, contents = parts(message)
    wanted, session = raw.calls.announce(message, tree)
    for identity in wanted:
        raw.calls.put(message.metadata.run_id, session, identity, contents[identity])


def refused(call: Callable[[], object]) -> int:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        call()
    return caught.value.response.status_code


# Others' messages and objects.


def test_objects_of_others_are_not_given_out(net: Network, two: tuple[Raw, Raw]) -> None:
    honest, other = two
    asking = Asking(net, {honest.node: b"for the honest one"})
    message, tree = honest.take()
    run = message.metadata.run_id
    for identity in objects_of(tree):
        assert refused(lambda one=identity: other.calls.object(run, one)) == 403
        assert honest.calls.object(run, identity)
    answer(honest, message, b"mine")
    assert asking.heard() == {honest.node: b"mine"}


def test_what_goes_to_all_is_given_to_each(net: Network, two: tuple[Raw, Raw]) -> None:
    asking = Asking(net, dict.fromkeys([one.node for one in two], b"the same plan"))
    taken = [one.take() for one in two]
    for one, (message, tree) in zip(two, taken, strict=True):
        for identity in objects_of(tree):
            assert one.calls.object(message.metadata.run_id, identity)
        one.calls.confirm(message.metadata.run_id, message.metadata.message_id)
        answer(one, message, one.name.encode())
    assert asking.heard() == {one.node: one.name.encode() for one in two}


def test_messages_of_others_are_not_deleted(net: Network, two: tuple[Raw, Raw]) -> None:
    honest, other = two
    asking = Asking(net, {honest.node: b"keep this"})
    message, tree = honest.take()
    run = message.metadata.run_id
    for identity in objects_of(tree):
        assert refused(lambda one=identity: other.calls.confirm(run, one)) == 403
    assert all(honest.calls.object(run, one) for one in objects_of(tree))
    answer(honest, message, b"mine")
    assert asking.heard() == {honest.node: b"mine"}


def told(raw: Raw, message: Message, tree: ObjectTree, **changes: object) -> PushMessagesRequest:
    """An announcement with something in it that is not as it should be."""
    made = message_to_proto(remove_content_from_message(message))
    for name, value in changes.items():
        setattr(made.metadata, name, value)
    return PushMessagesRequest(
        node=Node(node_id=raw.node), messages_list=[made], message_object_trees=[tree]
    )


def deep(levels: int) -> ObjectTree:
    tree = ObjectTree(object_id="0" * 64)
    for level in range(levels):
        tree = ObjectTree(object_id=f"{level:064x}", children=[tree])
    return tree


def wide(count: int) -> ObjectTree:
    children = [ObjectTree(object_id=f"{n:064x}") for n in range(1, count)]
    return ObjectTree(object_id="f" * 64, children=children)


FORGED = {
    "in another's name": lambda message, tree, honest: ({"src_node_id": honest.node}, tree),
    "as the SuperLink": lambda message, tree, honest: (
        {"src_node_id": 1, "dst_node_id": honest.node, "reply_to_message_id": ""}, tree,
    ),
    "to another member": lambda message, tree, honest: ({"dst_node_id": honest.node}, tree),
    "to nothing": lambda message, tree, honest: ({"reply_to_message_id": ""}, tree),
    "under another identity": lambda message, tree, honest: ({"message_id": "a" * 64}, tree),
    "at no time": lambda message, tree, honest: ({"created_at": float("nan")}, tree),
    "for ever": lambda message, tree, honest: ({"ttl": float("inf")}, tree),
    "before it was asked": lambda message, tree, honest: ({"ttl": -1.0}, tree),
    "with a deep tree": lambda message, tree, honest: ({"message_id": f"{39:064x}"}, deep(40)),
    "with a wide tree": lambda message, tree, honest: ({"message_id": "f" * 64}, wide(500)),
}  # fmt: skip


@pytest.mark.parametrize("how", FORGED)
def test_an_answer_is_the_senders_own_and_has_its_form(
    net: Network, two: tuple[Raw, Raw], how: str
) -> None:
    honest, other = two
    asking = Asking(net, {honest.node: b"1", other.node: b"2"})
    (message, _), (theirs, _) = honest.take(), other.take()
    forged = Message(pack(b"forged"), reply_to=message if how == "in another's name" else theirs)
    tree, _ = parts(forged)
    changes, tree = FORGED[how](forged, tree, honest)
    request = told(other, forged, tree, **changes)
    before = len(net.link._store._state.object_store)
    assert refused(lambda: other.calls._client.PushMessages(request)) == 403
    assert len(net.link._store._state.object_store) == before
    answer(honest, message, b"mine")
    answer(other, theirs, b"theirs")
    assert asking.heard() == {honest.node: b"mine", other.node: b"theirs"}


def test_several_answers_at_once_are_none(net: Network, two: tuple[Raw, Raw]) -> None:
    _, other = two
    asking = Asking(net, {other.node: b"1"})
    message, _ = other.take()
    mine = Message(pack(b"x"), reply_to=message)
    tree, _ = parts(mine)
    request = told(other, mine, tree)
    request.messages_list.append(request.messages_list[0])
    request.message_object_trees.append(tree)
    assert refused(lambda: other.calls._client.PushMessages(request)) == 403
    assert refused(lambda: other.calls._client.PushMessages(PushMessagesRequest(
        node=Node(node_id=other.node)))) == 403  # fmt: skip
    answer(other, message, b"one")
    assert asking.heard() == {other.node: b"one"}


def test_the_second_answer_to_a_request_is_not_taken(net: Network, two: tuple[Raw, Raw]) -> None:
    honest, other = two
    asking = Asking(net, {other.node: b"1", honest.node: b"1"})
    (message, _), (theirs, _) = other.take(), honest.take()
    answer(other, message, b"first")
    for _ in range(20):
        answer(other, message, b"second")
    answer(honest, theirs, b"mine")
    assert asking.heard() == {other.node: b"first", honest.node: b"mine"}


class Lies:
    """Objects that are not what was announced, under true digests."""

    def __init__(self, body: bytes, kind: str, children: str = "") -> None:
        self.content = f"{kind} {children} {len(body)}".encode() + b"\x00" + body
        self.identity = get_object_id(self.content)


def test_objects_that_flower_cannot_read_end_no_round(net: Network, two: tuple[Raw, Raw]) -> None:
    """The objects say other things than their announcement: the coordinator must live on."""
    honest, other = two
    for number, lie in enumerate(
        (
            Lies(b"junk", "Message"),
            Lies(b"", "Message", "e" * 64),
            Lies(b"junk", "RecordDict"),
            Lies(b"", "ArrayRecord", ",".join(["d" * 64] * 3)),
        )
    ):
        asking = Asking(net, {honest.node: b"%d" % number, other.node: b"%d" % number})
        (mine, _), (theirs, _) = honest.take(), other.take()
        forged = Message(pack(b"x"), reply_to=theirs)
        parts(forged)
        request = told(other, forged, ObjectTree(object_id=lie.identity), message_id=lie.identity)
        session = other.calls._client.PushMessages(request).session_id
        run = theirs.metadata.run_id
        other.calls.put(run, session, lie.identity, lie.content)
        answer(honest, mine, b"mine")
        asking.join(20)
        assert unpack(asking.replies.pop(honest.node).content) == b"mine"
        assert not any(list(one.content) for one in asking.replies.values())


def test_whose_answer_it_is_does_not_come_from_its_objects(
    net: Network, two: tuple[Raw, Raw]
) -> None:
    """The announcement is the sender's own; the object behind it names another member."""
    honest, other = two
    asking = Asking(net, {honest.node: b"1", other.node: b"1"})
    (mine, _), (theirs, _) = honest.take(), other.take()
    forged = Message(pack(b"not mine"), reply_to=mine)  # from the honest node, to its request
    tree, contents = parts(forged)
    request = told(other, forged, tree, src_node_id=other.node,
                   reply_to_message_id=theirs.metadata.message_id)  # fmt: skip
    response = other.calls._client.PushMessages(request)
    for identity in response.objects_to_push:
        other.calls.put(mine.metadata.run_id, response.session_id, identity, contents[identity])
    time.sleep(0.3)
    answer(honest, mine, b"mine")
    assert asking.heard() == {honest.node: b"mine", other.node: b"not mine"}


def test_an_announcement_without_its_objects_leaves_nothing(
    net: Network, two: tuple[Raw, Raw]
) -> None:
    _, other = two
    asking = Asking(net, {other.node: b"1"}, timeout=2)
    message, _ = other.take()
    half = Message(RecordDict({"fedcode": ConfigRecord({"message": bytes(1 << 20)})}),
                   reply_to=message)  # fmt: skip
    tree, contents = parts(half)
    _, session = other.calls.announce(half, tree)
    big = max(contents, key=lambda one: len(contents[one]))
    assert other.calls.put(message.metadata.run_id, session, big, contents[big])
    assert asking.heard() == {}
    assert big not in net.link._store._state.object_store


def test_an_object_nobody_asked_for_is_not_stored(net: Network, two: tuple[Raw, Raw]) -> None:
    _, other = two
    run = net.link._run
    lie = Lies(b"x", "ConfigRecord")
    before = len(net.link._store._state.object_store)
    assert refused(lambda: other.calls.put(run, "", lie.identity, lie.content)) == 403
    assert not other.calls.put(run, "a session", lie.identity, lie.content)
    assert len(net.link._store._state.object_store) == before


def test_there_is_no_bundle_to_fetch(two: tuple[Raw, Raw]) -> None:
    _, other = two
    request = GetFabRequest(
        node=Node(node_id=other.node), hash_str="0" * 64, run_id=other.net.link._run
    )
    assert refused(lambda: other.calls._client.GetFab(request)) >= 400


def test_nobody_is_there_for_longer_than_two_beats(two: tuple[Raw, Raw]) -> None:
    _, other = two
    assert refused(lambda: other.calls.heartbeat(1800)) == 403
    other.calls.deactivate()
    assert refused(lambda: other.calls.activate(1800)) == 403


# Keys and certificates.


def test_the_key_of_a_node_does_not_speak_for_another(net: Network, two: tuple[Raw, Raw]) -> None:
    honest, other = two
    request = PullMessagesRequest(node=Node(node_id=honest.node))
    assert refused(lambda: other.calls._client.PullMessages(request)) == 401


def test_a_stolen_node_key_is_worth_nothing_without_its_certificate(
    net: Network, two: tuple[Raw, Raw]
) -> None:
    """Who is let in is asked for certificate and key together."""
    owner, thief = two
    pairs = {"honest": owner.public, "other": thief.public}

    def admitted(peer: bytes, key: bytes) -> bool:
        return pairs[certificates.common_name(x509.load_der_x509_certificate(peer))] == key

    front: Any = net.listener._config.loaded_app
    before, front._admitted = front._admitted, admitted
    stolen = thief.as_(owner.key)
    stolen.node = owner.node
    try:
        assert refused(lambda: stolen.next()) == 403
        assert owner.calls.next() is None
    finally:
        front._admitted = before
        stolen.close()


# Bytes.


def connected(net: Network, name: str = "raw") -> ssl.SSLSocket:
    context = net.tls(name)
    plain = socket.create_connection(("127.0.0.1", net.listener.port), 10)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


PULL = b"POST /v1/fleet/pull-messages HTTP/1.1\r\nhost: x\r\n"
TYPE = b"content-type: application/x-protobuf\r\n"
ODD = {
    "no length": (PULL + b"\r\n", {413}),
    "chunks": (PULL + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", {400, 413}),
    "a length and chunks": (
        PULL + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", {400},
    ),
    "two lengths": (PULL + b"content-length: 0\r\ncontent-length: 9\r\n\r\n", {400}),
    "two node keys": (
        PULL + b"flwr-public-key: a\r\nflwr-public-key: b\r\ncontent-length: 0\r\n\r\n", {400},
    ),
    "too much": (PULL + b"content-length: 65537\r\n\r\n", {413}),
    "far too much": (
        b"POST /v1/fleet/push-object HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n", {413},
    ),
    "a length of many digits": (PULL + b"content-length: " + b"9" * 4000 + b"\r\n\r\n", {400, 413}),
    "no number": (PULL + b"content-length: 0x10\r\n\r\n", {400}),
    "another type": (PULL + b"content-type: text/plain\r\ncontent-length: 2\r\n\r\nhi", {415, 400}),
    "no protobuf": (PULL + TYPE + b"content-length: 2\r\n\r\n\xff\xff", {400, 401, 415, 422}),
    "another host in the path": (
        b"POST /v1/fleet/pull-object HTTP/1.1\r\nhost: x/v1/runtime/pull-object?\r\n"
        b"content-length: 0\r\n\r\n", {400, 401, 415},
    ),
    "a path in pieces": (
        b"POST /v1/fleet/../control/list-runs HTTP/1.1\r\nhost: x\r\n\r\n", {404},
    ),
    "an absolute address": (
        b"POST https://x/v1/control/list-runs HTTP/1.1\r\nhost: x\r\n\r\n", {404},
    ),
    "a head without end": (PULL + b"x: " + b"a" * 200_000, {400}),
    "an upgrade": (
        b"GET /v1/fleet/pull-messages HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
        b"connection: upgrade\r\n\r\n", {404},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_no_odd_request_gets_through(net: Network, what: str) -> None:
    request, statuses = ODD[what]
    with connected(net) as secure:
        with contextlib.suppress(OSError):
            secure.sendall(request)
        head = secure.recv(1000)
    assert int(head.split()[1]) in statuses, head
    assert b"Traceback" not in head
    assert b"error" not in head.lower() or b"application/json" in head


def test_a_request_does_not_hide_another_one(net: Network) -> None:
    """What follows a refused request on its connection is not read."""
    hidden = b"POST /v1/fleet/activate-node HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    with connected(net) as secure:
        secure.sendall(PULL + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n" + hidden)
        seen = b""
        with contextlib.suppress(OSError):
            while piece := secure.recv(1000):
                seen += piece
    assert seen.count(b"HTTP/1.1") == 1


def test_one_member_does_not_take_all_connections(net: Network) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            with contextlib.suppress(OSError):
                stack.enter_context(connected(net, "greedy"))
        with connected(net, "modest") as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert secure.recv(100).startswith(b"HTTP/1.1 404")
        held = list(net.listener._server.server_state.connections)
        assert len([one for one in held if "greedy" in str(one.subject)]) <= 32


def test_one_member_does_not_take_all_memory(net: Network, two: tuple[Raw, Raw]) -> None:
    """Bodies on the way are counted by member: the second that would be too much is refused."""
    _, other = two
    stamp = now().isoformat()
    headers = {
        "host": "x",
        "flwr-public-key": b64encode(other.public).decode(),
        "flwr-timestamp": stamp,
        "flwr-signature": b64encode(sign_message(other.key, stamp.encode())).decode(),
        "content-type": "application/protobuf",
        "content-length": str(LARGEST - 1000),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with connected(net, "other") as first, connected(net, "other") as second:
        for one in (first, second):
            one.sendall(f"POST /v1/fleet/push-object HTTP/1.1\r\n{head}\r\n".encode())
            one.sendall(b"some")
            time.sleep(0.3)
        assert second.recv(100).startswith(b"HTTP/1.1 429")
        assert other.calls.next() is None  # what is small has room
        first.settimeout(0.2)
        with pytest.raises(TimeoutError):
            first.recv(100)


def test_a_connection_that_says_nothing_is_ended(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcode.transport.front._HEAD_SECONDS", 0.5)
    with connected(net) as silent, connected(net) as slow:
        slow.sendall(b"POST /v1/fle")
        for one in (silent, slow):
            one.settimeout(5)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert one.recv(100) == b""
