# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whole rounds of a federation of a few numbers, against the algorithms written out by hand."""

import dataclasses

import numpy as np
import pytest
from few_numbers import (
    COST,
    POLICY,
    ROUNDS,
    START,
    WEIGHTS,
    Federation,
    PullTrainer,
    agreement_of,
    read,
)
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)

from fedcode.errors import ConfigError, WireError
from fedcode.federation import ServerSettings
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.rounds.coordinator import State
from fedcode.rounds.optimizer import flower_strategy
from fedcode.transport.flower import member_app, pack, unpack
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.weights import digest
from fedcode.wire import (
    ConfirmationList,
    KeyBook,
    Plan,
    RefusalCode,
    ShareDelivery,
    SurvivorList,
)


def by_hand(server, federation):
    """The weights after each round, from the members' changes (Reddi et al. 2021, algorithm 2)."""
    weights, first, second = START.astype(np.float64), np.zeros(WEIGHTS), np.zeros(WEIGHTS)
    rate, beta1, beta2 = server.learning_rate, server.momentum, server.second_momentum
    for number in range(ROUNDS):
        mean = federation.mean(number)
        if server.algorithm in ("fedavg", "fedprox"):
            weights = weights + mean
        elif server.algorithm == "fedavgm":
            first = beta1 * first + mean
            weights = weights + rate * first
        else:
            first = beta1 * first + (1 - beta1) * mean
            if server.algorithm == "fedadam":
                second = beta2 * second + (1 - beta2) * mean**2
                t = number + 2  # Flower counts one further than Kingma & Ba
                corrected = rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
            else:
                second = second - (1 - beta2) * mean**2 * np.sign(second - mean**2)
                corrected = rate
            weights = weights + corrected * first / (np.sqrt(second) + server.tau)
        yield weights


SERVERS = {
    "fedavg": ServerSettings(algorithm="fedavg"),
    "fedprox": ServerSettings(algorithm="fedprox"),
    "fedavgm": ServerSettings(algorithm="fedavgm", learning_rate=0.7, momentum=0.6),
    "plain fedavgm": ServerSettings(algorithm="fedavgm", momentum=0.0),
    "fedadam": ServerSettings(algorithm="fedadam", learning_rate=0.05),
    "fedyogi": ServerSettings(algorithm="fedyogi", learning_rate=0.05, tau=0.01),
}


MODES = ("open", "secagg")


@pytest.fixture(params=SERVERS)
def server(request):
    return SERVERS[request.param]


@pytest.mark.parametrize("mode", MODES)
def test_rounds_are_the_algorithms_on_the_mean(server, mode) -> None:
    federation = Federation(agreement_of(server, proximal=0.1, mode=mode))
    states, outcomes = federation.run()
    for state, outcome, expected in zip(states, outcomes, by_hand(server, federation), strict=True):
        np.testing.assert_allclose(state.weights, expected, rtol=1e-4, atol=1e-5)
        assert outcome.weights == digest(state.weights)
        assert outcome.survivors == ("a", "b", "c")
        assert not outcome.refusals
    assert [s.round for s in states] == [o.round for o in outcomes] == list(range(1, ROUNDS + 1))
    assert np.abs(states[-1].weights - START).max() > 0.05


def test_moments_carry_over_as_with_one_strategy_for_all_rounds(server) -> None:
    federation = Federation(agreement_of(server))
    states, _ = federation.run()
    strategy, weights = flower_strategy(server), START
    for number, state in enumerate(states, 1):
        before = ArrayRecord({"weights": Array(weights)})
        strategy.configure_train(number, before, ConfigRecord(), federation.grid)
        mean = (weights + federation.mean(number - 1)).astype(np.float32)
        content = {
            "arrays": ArrayRecord({"weights": Array(mean)}),
            "metrics": MetricRecord({"num-examples": 1}),
        }
        reply = Message(RecordDict(content), 1, MessageType.TRAIN)
        after, _ = strategy.aggregate_train(number, [reply])
        weights = after["weights"].numpy().astype(np.float32)
        np.testing.assert_array_equal(weights, state.weights)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_continued_is_the_run_that_was_not_stopped(server, mode) -> None:
    agreement = agreement_of(server, mode=mode)
    whole, _ = Federation(agreement).run()
    first, _ = Federation(agreement).run(3)
    stored = State(3, first[-1].weights.copy(), {k: v.copy() for k, v in first[-1].moments.items()})
    rest, _ = Federation(agreement).run(ROUNDS - 3, stored)
    np.testing.assert_array_equal(rest[-1].weights, whole[-1].weights)
    if server.algorithm in ("fedadam", "fedyogi"):
        assert stored.moments.keys() == {"m_t", "v_t"}
        lost, _ = Federation(agreement).run(ROUNDS - 3, State(3, first[-1].weights))
        assert (lost[-1].weights != whole[-1].weights).any()


def averages(states, decay):
    """The moving average after each round, by hand: it begins at the first weights."""
    average = START.astype(np.float64)
    for number, state in enumerate(states):
        own = min(decay, (number + 1) / (number + 10))
        average = own * average + (1 - own) * state.weights
        yield average


@pytest.mark.parametrize("decay", [0.2, 0.9])
def test_what_is_handed_out_is_the_moving_average(server, decay) -> None:
    averaging = server.model_copy(update={"average": decay})
    plain, _ = Federation(agreement_of(server)).run()
    states, outcomes = Federation(agreement_of(averaging)).run()
    for state, outcome, without, expected in zip(
        states, outcomes, plain, averages(plain, decay), strict=True
    ):
        np.testing.assert_array_equal(state.weights, without.weights)
        assert outcome.weights == digest(state.weights), "plans carry the weights as they are"
        np.testing.assert_allclose(state.released, expected, rtol=1e-5, atol=1e-6)
        assert without.average is None
        assert without.released is without.weights
    assert np.abs(states[-1].released - states[-1].weights).max() > 1e-3


def test_an_average_that_is_continued_is_the_one_that_was_not_stopped(server) -> None:
    averaging = server.model_copy(update={"average": 0.9})
    whole, _ = Federation(agreement_of(averaging)).run()
    first, _ = Federation(agreement_of(averaging)).run(3)
    rest, _ = Federation(agreement_of(averaging)).run(ROUNDS - 3, first[-1])
    np.testing.assert_array_equal(rest[-1].released, whole[-1].released)
    lost = dataclasses.replace(first[-1], average=None)
    other, _ = Federation(agreement_of(averaging)).run(ROUNDS - 3, lost)
    assert (other[-1].released != whole[-1].released).any()


def test_flowers_rates_that_would_be_ignored_are_refused() -> None:
    for algorithm in ("fedavg", "fedprox"):
        with pytest.raises(ConfigError, match="has no server learning rate"):
            flower_strategy(ServerSettings(algorithm=algorithm, learning_rate=0.5))


# Rounds that change nothing.


@pytest.mark.parametrize("mode", MODES)
def test_a_round_without_anybody_changes_nothing(server, mode) -> None:
    agreement = agreement_of(server.model_copy(update={"average": 0.9}), mode=mode)
    federation = Federation(agreement, budgets=dict.fromkeys("abc", 2 * COST.nano))
    states, outcomes = federation.run(4)
    assert [o.survivors for o in outcomes[2:]] == [(), ()]
    assert outcomes[2].refusals == outcomes[3].refusals == dict.fromkeys("abc", RefusalCode.BUDGET)
    np.testing.assert_array_equal(states[1].weights, states[3].weights)
    np.testing.assert_array_equal(states[1].average, states[3].average)
    assert states[3].moments.keys() == states[1].moments.keys()
    for name, moment in states[1].moments.items():
        np.testing.assert_array_equal(states[3].moments[name], moment)
    assert states[3].round == 4
    assert states[3].spent == set("abc")


def overflowing(name):
    class Loud(PullTrainer):
        def train(self, weights, receipt):
            mechanism = GaussianMechanism(POLICY, SeededGenerator(1), receipt)
            units = len(mechanism.sample(100))
            mechanism.noised(ClippedSum(weights, 0.1))
            mechanism.end_step(units)
            return mechanism.release(np.full(WEIGHTS, 3e38, np.float32))

    return {name: Loud(0.0)}


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_weights_and_moments_stay_as_they_are_when_they_would_not_be_finite(server) -> None:
    server = server.model_copy(update={"average": 0.9})
    before, _ = Federation(agreement_of(server)).run(1)
    loud = Federation(agreement_of(server, roster=("a",)), trainers=overflowing("a"))
    state = dataclasses.replace(before[-1], weights=np.full(WEIGHTS, 3e38, np.float32))
    after, _ = loud.run(1, state)
    np.testing.assert_array_equal(after[0].weights, state.weights)
    np.testing.assert_array_equal(after[0].average, state.average)
    assert after[0].round == 2
    for name, moment in state.moments.items():
        np.testing.assert_array_equal(after[0].moments[name], moment)


# The transport.


def test_a_flower_message_holds_our_bytes_and_nothing_else() -> None:
    assert unpack(pack(b"\x00\xff")) == b"\x00\xff"
    more = pack(b"x")
    more["other"] = ConfigRecord({"a": 1})
    with pytest.raises(WireError, match="other records"):
        unpack(more)
    for content in (
        RecordDict(),
        RecordDict({"fedcode": ConfigRecord({"message": "text"})}),
        RecordDict({"fedcode": ConfigRecord({"message": b"x", "more": 1})}),
        RecordDict({"fedcode": ArrayRecord({"message": Array(START)})}),
        RecordDict({"other": ConfigRecord({"message": b"x"})}),
    ):
        with pytest.raises(WireError):
            unpack(content)


def test_every_message_reaches_its_own_node_once() -> None:
    heard = {name: [] for name in "abc"}

    def app(name):
        return member_app(lambda data: (heard[name].append(data), data + name.encode())[1])

    grid = InMemoryGrid({name: app(name) for name in "abc"})
    assert list(grid.get_node_ids()) == list(grid.nodes.values())
    messages = [
        grid.create_message(pack(f"to {n}".encode()), "train", grid.nodes[n], "") for n in "cab"
    ]
    numbers = list(grid.push_messages(messages))
    replies = {m.metadata.src_node_id: unpack(m.content) for m in grid.pull_messages(numbers)}
    assert replies == {grid.nodes[n]: f"to {n}{n}".encode() for n in "abc"}
    assert heard == {n: [f"to {n}".encode()] for n in "abc"}
    assert not list(grid.pull_messages(numbers))


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("open", [Plan]),
        ("secagg", [Plan, KeyBook, ShareDelivery, SurvivorList, ConfirmationList]),
    ],
)
def test_one_members_figures_are_asked_of_nobody(mode, asked) -> None:
    federation = Federation(agreement_of(mode=mode))
    heard = {name: [] for name in "abc"}

    def hearing(name, answer):
        return lambda data: (heard[name].append(type(read(data))), answer(data))[1]

    for name, answer in federation.ways.items():
        federation.ways[name] = hearing(name, answer)
    federation.run(2)
    assert heard == dict.fromkeys("abc", 2 * asked)
