# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members that a simulation loses: as often as asked, at every step, and the same when resumed."""

from collections import Counter

import pytest
from scipy import stats

from fedcode.simulation.dropouts import Dropping
from fedcode.transport.in_memory import Silent

STEPS = 5


def heard(dropping, worked, rounds=1):
    """For each round, how many messages were worked on, and how many answers came."""
    found = []
    for _ in range(rounds):
        dropping.begin()
        del worked[:]
        answers = 0
        for step in range(STEPS):
            try:
                assert dropping.answer(bytes([step])) == bytes([step, step])
                answers += 1
            except Silent:
                pass
        found.append((len(worked), answers))
    return found


def dropping_of(rate, seed=(1, 2)):
    worked = []
    made = Dropping(lambda data: (worked.append(data), 2 * data)[1], rate, STEPS, list(seed))
    return made, worked


def test_who_stays_answers_all() -> None:
    assert heard(*dropping_of(0.0), rounds=50) == [(STEPS, STEPS)] * 50


def test_whoever_is_lost_is_silent_to_the_end_of_the_round_before_or_after_its_work() -> None:
    found = Counter(heard(*dropping_of(1.0), rounds=4000))
    places = {(n, n) for n in range(STEPS)} | {(n + 1, n) for n in range(STEPS)}
    assert found.keys() == places
    assert stats.chisquare(list(found.values())).pvalue > 1e-6


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_as_many_rounds_are_lost_as_asked(rate) -> None:
    whole = (STEPS, STEPS)
    lost = sum(one != whole for one in heard(*dropping_of(rate), rounds=4000))
    assert stats.binomtest(lost, 4000, rate).pvalue > 1e-6


def test_a_run_that_is_resumed_loses_the_same() -> None:
    whole = heard(*dropping_of(0.5), rounds=30)
    for done in (1, 7, 29):
        again, worked = dropping_of(0.5)
        for _ in range(done):
            again.begin()
        assert heard(again, worked, rounds=30 - done) == whole[done:]


def test_members_and_seeds_are_lost_each_for_itself() -> None:
    runs = [tuple(heard(*dropping_of(0.5, seed), rounds=30)) for seed in ((1, 1), (1, 2), (2, 1))]
    assert len(set(runs)) == 3
