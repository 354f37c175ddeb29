# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A member behind a stock SuperNode: it answers as others do, and no app is ever run for it."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from flwr.app import Message

from fedcode import certificates
from fedcode.errors import RunError, TransportError
from fedcode.transport.flower import message_to, unpack
from fedcode.transport.front import CALLS
from fedcode.transport.tasks import Tasks
from fedcode_client.supernode import Beside
from tests.federation.test_network import OTHERS
from tests.network import LARGEST, Network, network
from tests.stage import free_ports, stage
from tests.supernode import QUIET, SuperNode, bundle, free_port, supernode


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


def echo(data: bytes) -> bytes:
    return b"heard " + data


def replies(net: Network, nodes: list[int], data: bytes, timeout: float = 30) -> list[Message]:
    asked = [message_to(node, data) for node in nodes]
    return list(net.link.grid().send_and_receive(asked, timeout=timeout))


def answers(net: Network, nodes: list[int], data: bytes) -> dict[int, bytes]:
    found = replies(net, nodes, data)
    return {one.metadata.src_node_id: unpack(one.content) for one in found if one.has_content()}


def wait(what: Callable[[], bool], seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.05)
    return what()


def test_members_are_asked_whichever_way_they_take_and_what_is_no_request_is_refused(
    net: Network,
) -> None:
    heard: list[bytes] = []

    def listens(data: bytes) -> bytes:
        heard.append(data)
        return echo(data)

    members = [net.member(f"m{i}", echo) for i in range(2)]
    with supernode(net, "behind", listens) as one:
        nodes = [*(each.node for each in members), one.node]
        assert answers(net, nodes, b"one") == dict.fromkeys(nodes, b"heard one")
        net.link.grid().push_messages([make(one.node) for make in OTHERS.values()])
        late = 1  # what is too long gets no farther than the front
        assert wait(lambda: one.worker.objections.count("WireError") == len(OTHERS) - late)
        large = bytes(5 << 20)
        assert answers(net, nodes, large) == dict.fromkeys(nodes, b"heard " + large)
        assert heard == [b"one", large]
        assert one.alive()
        assert not one.worker.bundles
    for each in members:
        each.stop()


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bundle that the coordinator's runs name from now on."""
    made = bundle(tmp_path / "written")
    named = {"EMPTY": made, "DIGEST": hashlib.sha256(made).hexdigest(), "NAME": "p/evil"}
    for name, value in named.items():
        monkeypatch.setattr(f"fedcode.transport.internals.superlink.{name}", value)
    return made


def holds(one: SuperNode, part: bytes) -> list[Path]:
    """Files in all that the SuperNode and we may write to that hold ``part``."""
    found = (path for path in one.worker.network.folder.rglob("*") if path.is_file())
    return [p for p in found if not p.name.startswith("superlink") and part in p.read_bytes()]


def test_an_app_does_not_reach_the_supernode(evil: bytes, net: Network) -> None:
    with supernode(net, "behind", echo) as one:
        assert replies(net, [one.node], b"one", 8) == []
        assert one.worker.bundles
        assert one.alive()
        assert not holds(one, b"evil")
        assert not (net.folder / "written").exists()


def test_an_app_that_reaches_the_supernode_is_refused_by_the_worker(
    evil: bytes, net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcode.transport.passing.EMPTY", evil)
    heard: list[bytes] = []
    with supernode(net, "behind", lambda data: heard.append(data) or data) as one:
        for _ in range(2):
            (reply,) = replies(net, [one.node], b"one")
            assert reply.error.reason == "refused"
        assert one.worker.objections.count("WireError") == 2
        assert heard == []
        assert one.alive()
        assert not holds(one, b"evil")
        assert not (net.folder / "written").exists()


@pytest.mark.slow
def test_flowers_own_worker_would_run_that_app(
    evil: bytes, net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcode.transport.passing.EMPTY", evil)
    with supernode(net, "behind", echo, ("process", "subprocess")) as one:
        one.worker.stop()
        replies(net, [one.node], b"one", 40)
        assert (net.folder / "written").exists()
        assert holds(one, b"evil")


@pytest.mark.slow
def test_rounds_are_kept_with_a_member_behind_a_supernode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two members by their agents, one by a SuperNode: secure sums of all three."""
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))
    with stage(tmp_path) as made:
        made.end("c", signal.SIGTERM)
        front, runtime = free_ports(2)
        with made.homes["c"].toml.open("a", encoding="utf-8") as settings:
            settings.write(f"front = {front}\nsupernode = {runtime}\n")
        made.start("c", "--supernode")
        said = re.compile(r"^run beside it: (.*)$", re.MULTILINE)
        log = tmp_path / "stderr"
        made.until("the front", lambda: said.search(log.read_text(encoding="utf-8")))
        found = said.search(log.read_text(encoding="utf-8"))
        assert found is not None
        command = shlex.split(found[1])
        with log.open("ab") as out:
            made.processes["supernode"] = subprocess.Popen(
                [str(Path(sys.executable).parent / command[0]), *command[1:]],
                stdout=out,
                stderr=out,
                env=os.environ | QUIET,
            )

        def together() -> int:
            return sum(len(one["survivors"]) == 3 for one in made.run.done())

        before = together()
        made.until("two rounds of all", lambda: together() >= before + 2, 180)
        for name in ("a", "b", "c"):
            made.end(name, signal.SIGTERM)
        made.processes = {"coordinator": made.processes["coordinator"]} | {
            "supernode": made.processes["supernode"]
        }
        assert made.check() >= 2


# The front, by itself.


@pytest.fixture
def front(net: Network) -> Iterator[tuple[Beside, dict[str, str]]]:
    home = net.home("behind", free_port())
    made = Beside(home, LARGEST, lambda: None)
    public = certificates.public_pem(home.node_key().public_key())
    net.link.admit("behind", public)
    yield made, from_node(public)
    made.stop()


def from_node(key: bytes) -> dict[str, str]:
    kind = {"content-type": "application/protobuf", "accept": "application/protobuf"}
    return kind | {"flwr-public-key": b64encode(key).decode()}


def status(beside: Beside, path: str, headers: dict[str, str], size: int = 0) -> int:
    words = beside.command
    address, authority = words[2], words[4]
    context = ssl.create_default_context(cafile=authority)
    with httpx.Client(verify=context, trust_env=False) as client:
        found = client.post(f"https://{address}{path}", headers=headers, content=bytes(size))
        return found.status_code


def test_the_front_passes_on_flowers_calls_of_our_node_alone(
    net: Network, front: tuple[Beside, dict[str, str]]
) -> None:
    beside, ours = front
    assert {status(beside, path, ours) for path in CALLS} == {401}  # nothing is signed
    for path in ("/v1/control/list-runs", "/v1/fleet/register-node", "/"):
        assert status(beside, path, ours) == 404
    theirs = certificates.public_pem(certificates.new_key().public_key())
    assert status(beside, "/v1/fleet/pull-messages", from_node(theirs)) == 403
    assert status(beside, "/v1/fleet/pull-messages", {}) == 403
    assert status(beside, "/v1/fleet/pull-messages", ours, LARGEST + (1 << 20)) == 413
    net.listener.stop()
    assert status(beside, "/v1/fleet/pull-messages", ours) == 503


def test_what_a_supernode_needs_is_made_once_and_for_us_alone(
    net: Network, front: tuple[Beside, dict[str, str]]
) -> None:
    folder = net.folder / "behind" / "state" / "supernode"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    again = Beside(front[0]._home, LARGEST, lambda: None)
    again.stop()
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    before.pop("node.key"), after.pop("node.key")  # the form has random bytes in it
    assert before == after
    assert set(before) == {"ca.crt", "front.crt", "front.key", "secret"}


def test_without_a_supernode_there_is_no_line(front: tuple[Beside, dict[str, str]]) -> None:
    line = front[0].line()
    with pytest.raises(TransportError, match="the SuperNode cannot be reached"):
        line.open()
    line.close()


def test_a_supernode_on_another_machine_is_refused() -> None:
    with pytest.raises(RunError, match="without TLS"):
        Tasks("10.0.0.1:9483", b"x" * 32, largest=LARGEST)
