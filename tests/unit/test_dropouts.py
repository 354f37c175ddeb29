# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members that a simulation loses: as often as asked, at every step, and the same when resumed."""

from collections import Counter

import pytest
from flwr.app import Message
from scipy import stats

from fedcode.simulation.dropouts import Dropping
from fedcode.transport.flower import member_app, message_to, unpack
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.transport.lossy import Fate, LossyGrid

STEPS = 5


def heard(dropping, rounds=1):
    """For each round, how many messages are worked on, and how many answers come."""
    found = []
    for _ in range(rounds):
        dropping.begin()
        fates = [dropping.next() for _ in range(STEPS)]
        answers = fates.count(Fate.ANSWERED)
        found.append((answers + fates.count(Fate.UNHEARD), answers))
    return found


def dropping_of(rate, seed=(1, 2)):
    return Dropping(rate, STEPS, list(seed))


def test_who_stays_answers_all() -> None:
    assert heard(dropping_of(0.0), rounds=50) == [(STEPS, STEPS)] * 50


def test_whoever_is_lost_is_silent_to_the_end_of_the_round_before_or_after_its_work() -> None:
    found = Counter(heard(dropping_of(1.0), rounds=4000))
    places = {(n, n) for n in range(STEPS)} | {(n + 1, n) for n in range(STEPS)}
    assert found.keys() == places
    assert stats.chisquare(list(found.values())).pvalue > 1e-6


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_as_many_rounds_are_lost_as_asked(rate) -> None:
    whole = (STEPS, STEPS)
    lost = sum(one != whole for one in heard(dropping_of(rate), rounds=4000))
    assert stats.binomtest(lost, 4000, rate).pvalue > 1e-6


def test_a_run_that_is_resumed_loses_the_same() -> None:
    whole = heard(dropping_of(0.5), rounds=30)
    for done in (1, 7, 29):
        again = dropping_of(0.5)
        for _ in range(done):
            again.begin()
        assert heard(again, rounds=30 - done) == whole[done:]


def test_members_and_seeds_are_lost_each_for_itself() -> None:
    runs = [tuple(heard(dropping_of(0.5, seed), rounds=30)) for seed in ((1, 1), (1, 2), (2, 1))]
    assert len(set(runs)) == 3


FATES = {"a": Fate.ANSWERED, "b": Fate.UNSENT, "c": Fate.UNHEARD}


def lossy():
    """A grid of three nodes with a fate each, and who has worked."""
    worked = []

    def app(name):
        return member_app(lambda data: (worked.append(name), data + name.encode())[1])

    inner = InMemoryGrid({name: app(name) for name in FATES})
    names = {node: name for name, node in inner.nodes.items()}
    return LossyGrid(inner, lambda node: FATES[names[node]]), inner.nodes, worked


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_lost_is_not_answered_and_done_only_if_it_was_sent(apart) -> None:
    grid, nodes, worked = lossy()
    messages: list[Message] = [message_to(node, b"to ") for node in nodes.values()]
    if apart:
        replies = grid.pull_messages(grid.push_messages(messages))
    else:
        replies = grid.send_and_receive(messages)
    assert [unpack(reply.content) for reply in replies] == [b"to a"]
    assert worked == ["a", "c"]
