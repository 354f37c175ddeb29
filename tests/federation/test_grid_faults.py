# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Messages that the grid doubles, shuffles, holds back and repeats: the sums stay exact."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from few_numbers import FOUR, SEED, START, Federation, PullTrainer, agreement_of
from flwr.app import Error, Message
from flwr.app.metadata import Metadata

import fedcode.rounds.coordinator
from fedcode.rounds.coordinator import Coordinator, State
from fedcode.rounds.exchange import Patience
from fedcode.rounds.gathering import Gathered
from fedcode.simulation.identities import coordinator_of
from fedcode.transport.flower import message_to, unpack
from fedcode.transport.internals.common import SUPERLINK_NODE_ID, identify
from fedcode.transport.internals.fleet import FleetCalls
from fedcode.transport.superlink import LinkGrid
from tests.network import Network, network

ROUNDS = 2


class ByRound(PullTrainer):
    """Knows what it released in which round."""

    def __init__(self, target: float) -> None:
        super().__init__(target)
        self.of: dict[int, object] = {}

    def train(self, weights, receipt):
        assert receipt.round not in self.of, "trained twice for one round"
        self.of[receipt.round] = super().train(weights, receipt)
        return self.of[receipt.round]


class Shuffled:
    """A store whose replies come in any order, some later, some again and again."""

    def __init__(self, store, draw: random.Random) -> None:
        self._store, self._draw = store, draw
        self._held: list = []
        self._seen: list = []

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def replies(self, run, messages):
        self._held += self._store.replies(run, messages)
        now = [one for one in self._held if self._draw.random() < 0.5]
        self._held = [one for one in self._held if one not in now]
        again = self._draw.sample(self._seen, min(3, len(self._seen)))
        self._seen += now
        found = [*now, *now, *again]
        self._draw.shuffle(found)
        return found


class Doubling(LinkGrid):
    """Sends everything twice."""

    def _send(self, node, one, online) -> None:
        super()._send(node, one, online)
        super()._send(node, one, online)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


@pytest.fixture
def gathered(monkeypatch) -> list[Gathered]:
    """The parts of each round, as the coordinator unmasked them."""
    seen, honest = [], fedcode.rounds.coordinator.secure_sums

    def spied(*given):
        seen.append(honest(*given))
        return seen[-1]

    monkeypatch.setattr(fedcode.rounds.coordinator, "secure_sums", spied)
    return seen


def terms(federation: Federation, number: int, names: tuple[str, ...]) -> np.ndarray:
    """What the members released in a round, added up by hand."""
    spacing = federation.agreement.lattice().blocks[0][1]
    found = [
        np.rint(federation.trainers[name].of[number].vector / np.float64(spacing)) for name in names
    ]
    return np.float64(spacing) * np.sum(found, axis=0)


def carried_out(net: Network, gathered, answers, grid, patience) -> tuple[Federation, int]:
    """All rounds; says how many had a total, which is exact."""
    agreement = agreement_of(roster=FOUR, mode="secagg")
    trainers = {name: ByRound(float(n)) for n, name in enumerate(FOUR)}
    federation = Federation(agreement, trainers=trainers)
    identify(net.link._run, SUPERLINK_NODE_ID)  # its own grid has said something else
    members = {name: net.member(name, answers(federation.members[name])) for name in FOUR}
    for one in members.values():
        one.online()
    nodes = {name: one.node for name, one in members.items()}
    coordinator = Coordinator(agreement, grid, nodes, coordinator_of(SEED), patience)
    state, totals = State(0, START), 0
    for number in range(1, ROUNDS + 1):
        before = len(gathered)
        state, outcome = coordinator.run(state)
        for found in gathered[before:]:
            for part in found.parts:
                assert part.survivors == outcome.survivors
                expected = terms(federation, number, part.survivors)
                np.testing.assert_array_equal(part.total, expected)
                totals += 1
    for name, one in members.items():
        one.stop()
        charged = [each.round for each in federation.ledgers[name].history("code")]
        assert len(charged) == len(set(charged))
    return federation, totals


def test_doubled_shuffled_and_repeated_messages_change_nothing(net, gathered) -> None:
    store = Shuffled(net.link._store, random.Random(1))
    plain = net.link.grid()
    grid = Doubling(store, plain._run_id, threading.Event(), 60.0)
    _, totals = carried_out(net, gathered, lambda one: one.answer, grid, Patience(20.0, 20.0))
    assert totals == ROUNDS, "nobody is lost by it"


def test_an_answer_that_comes_too_late_is_in_no_sum(net, gathered) -> None:
    """One member's masked term, of whom the sum bears the loss; it arrives in the next round."""
    late = iter([False, False, True])

    def answers(member):
        def answer(data: bytes) -> bytes:
            if member.name == "b" and next(late, False):
                time.sleep(6.0)
            return member.answer(data)

        return answer

    patience = Patience(5.0, 5.0)
    federation, totals = carried_out(net, gathered, answers, net.link.grid(), patience)
    assert totals == ROUNDS
    assert gathered[0].parts[0].survivors == ("a", "c", "d")
    assert 1 in federation.trainers["b"].of, "it was trained, and paid for"


def test_a_reply_beside_the_word_that_its_node_is_away(net) -> None:
    """Flower's own word of one copy, in one breath with the answer to the other."""
    member = net.member("m", lambda data: data)
    member.online()
    store = net.link._store

    class Both:
        def __getattr__(self, name):
            return getattr(store, name)

        def replies(self, run, messages):
            found = store.replies(run, messages)
            return [*found, *(_away(one) for one in found)]

    grid = LinkGrid(Both(), net.link.grid()._run_id, threading.Event(), 60.0)
    (reply,) = grid.send_and_receive([message_to(member.node, b"one")], timeout=20)
    assert unpack(reply.content) == b"one"
    member.stop()


def _away(reply: Message) -> Message:
    """An error that the SuperLink makes itself: another node's, of the same request."""
    old = reply.metadata
    metadata = Metadata(
        run_id=old.run_id,
        message_id=f"{old.message_id}-away",
        src_node_id=1,
        dst_node_id=old.dst_node_id,
        reply_to_message_id=old.reply_to_message_id,
        group_id="",
        created_at=old.created_at,
        ttl=old.ttl,
        message_type=old.message_type,
    )
    return Message(metadata=metadata, error=Error(3, "away"))


# What stays on disk.


def stored(net: Network) -> int:
    """Bytes of the SuperLink's state."""
    return sum(path.stat().st_size for path in net.folder.glob("superlink.sqlite*"))


@pytest.mark.parametrize(
    ("exchanges", "size"), [(24, 1 << 19), pytest.param(200, 1 << 20, marks=pytest.mark.slow)]
)
def test_the_state_on_disk_does_not_grow(net, exchanges: int, size: int) -> None:
    member = net.member("m", lambda data: data)
    grid, sizes = net.link.grid(), []
    for number in range(exchanges):
        asked = [message_to(member.node, bytes([number]) * size)]
        assert len(list(grid.send_and_receive(asked, timeout=60))) == 1
        sizes.append(stored(net))
    assert max(sizes[exchanges // 2 :]) <= 1.1 * max(sizes[: exchanges // 2])
    assert max(sizes) < 24 * size
    member.stop()


def test_nothing_stays_of_answers_that_never_became_whole(net, monkeypatch) -> None:
    put, cut = FleetCalls.put, threading.Event()

    def dies(*words):
        stored = put(*words)
        if not cut.is_set():
            raise httpx.ReadError("reset")
        return stored

    monkeypatch.setattr(FleetCalls, "put", dies)
    member = net.member("m", lambda data: data)
    grid = net.link.grid()
    assert list(grid.send_and_receive([message_to(member.node, b"one" * 9999)], timeout=1.5)) == []
    cut.set()
    assert len(list(grid.send_and_receive([message_to(member.node, b"two")], timeout=30))) == 1
    time.sleep(0.5)
    state = net.link._store._state
    assert (state.num_message_ins(), state.num_message_res(), len(state.object_store)) == (0, 0, 0)
    member.stop()
