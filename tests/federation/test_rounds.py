# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whole rounds of a federation of a few numbers, against the algorithms written out by hand."""

import dataclasses

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedcode.agreement import Agreement
from fedcode.errors import ConfigError, LedgerDamaged, PrivacyError, TrainingError, WireError
from fedcode.federation import ServerSettings, TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.release import GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.rounds.coordinator import Coordinator, State
from fedcode.rounds.member import Member
from fedcode.rounds.strategy import SummingStrategy, arrays_of, flower_strategy, vector_of
from fedcode.trainer import LocalReport
from fedcode.transport.flower import member_app, pack, unpack
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.weights import digest
from fedcode.wire import Plan, Refusal, RefusalCode, decode, encode

WEIGHTS, ROUNDS = 5, 6
START = np.linspace(-1, 1, WEIGHTS, dtype=np.float32)
POLICY = PrivacyPolicy(PrivacyUnit.FUNCTION, 0.1, 1.0, 0.5, 1, 1e-5, 200.0)
BUDGET = Filter.for_budget(200.0, 1e-5, 4.0)
COST = BUDGET.cost(1.0, 0.5, 1)


def agreement_of(server=None, proximal=0.0, roster=("a", "b", "c"), **changes):
    values = {
        "federation": "toy",
        "purpose": "test",
        "task": "toy",
        "task_fingerprint": "0" * 64,
        "weights": WEIGHTS,
        "rounds": ROUNDS,
        "roster": roster,
        "unit": "function",
        "epsilon": 200.0,
        "delta": 1e-5,
        "noise_multiplier": 1.0,
        "training": TrainingSettings(proximal=proximal),
        "server": server or ServerSettings(),
    }
    return Agreement(**values | changes)


class PullTrainer:
    """Moves the weights a part of the way to a target, with the noise that the receipt pays."""

    def __init__(self, target, generator=SeededGenerator):
        self.target = np.float32(target)
        self.report = LocalReport()
        self.generator = generator
        self.changes = []

    def train(self, weights, receipt):
        noise = self.generator(3, receipt.round) if self.generator else SecureGenerator()
        mechanism = GaussianMechanism(POLICY, noise, receipt)
        mechanism.sample(100)
        change = 0.3 * (self.target - weights) + mechanism.noise(weights.shape, 0.1)
        mechanism.end_step()
        self.changes.append(change)
        return mechanism.release(change)


class Federation:
    """Members with ledgers of their own, and a coordinator."""

    def __init__(self, agreement, *, budgets=None, trainers=None, seeded=True):
        self.agreement = agreement
        self.ledgers, self.members, self.trainers = {}, {}, {}
        for number, name in enumerate(agreement.roster):
            ledger = BudgetLedger.open(":memory:")
            budget = dataclasses.replace(BUDGET, budget_nano=(budgets or {}).get(name, 10**12))
            budget = BUDGET if budget.budget_nano > BUDGET.budget_nano else budget
            ledger.open_account(
                "code", organization=name, unit=POLICY.unit, budget=budget, seeded=seeded
            )
            trainer = (trainers or {}).get(name) or PullTrainer(float(number))
            member = Member(name, "code", agreement, COST, budget.budget_nano, ledger, trainer)
            self.ledgers[name], self.members[name] = ledger, member
            self.trainers[name] = trainer
        self.grid = InMemoryGrid({n: member_app(m.answer) for n, m in self.members.items()})
        self.coordinator = Coordinator(agreement, self.grid, self.grid.nodes)

    def run(self, rounds=ROUNDS, state=None):
        """States after each round, and outcomes."""
        state = state or State(0, START)
        states, outcomes = [], []
        for _ in range(rounds):
            state, outcome = self.coordinator.run(state)
            states.append(state)
            outcomes.append(outcome)
        return states, outcomes

    def mean(self, number):
        """What the members' changes of one round add up to, over their number."""
        found = [t.changes[number] for t in self.trainers.values()]
        return np.sum(np.asarray(found, np.float64), axis=0) / len(found)


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


@pytest.fixture(params=SERVERS)
def server(request):
    return SERVERS[request.param]


def test_rounds_are_the_algorithms_on_the_mean(server) -> None:
    federation = Federation(agreement_of(server, proximal=0.1))
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
    again = Federation(agreement_of(server))
    strategy = SummingStrategy(flower_strategy(server), again.agreement, again.grid.nodes)
    weights = arrays_of(START)
    for number, state in enumerate(states, 1):
        plans = strategy.configure_train(number, weights, ConfigRecord(), again.grid)
        weights, _ = strategy.aggregate_train(number, again.grid.send_and_receive(plans))
        weights = arrays_of(vector_of(weights))
        np.testing.assert_array_equal(vector_of(weights), state.weights)


def test_a_run_that_is_continued_is_the_run_that_was_not_stopped(server) -> None:
    whole, _ = Federation(agreement_of(server)).run()
    first, _ = Federation(agreement_of(server)).run(3)
    stored = State(3, first[-1].weights.copy(), {k: v.copy() for k, v in first[-1].moments.items()})
    rest, _ = Federation(agreement_of(server)).run(ROUNDS - 3, stored)
    np.testing.assert_array_equal(rest[-1].weights, whole[-1].weights)
    if server.algorithm in ("fedadam", "fedyogi"):
        assert stored.moments.keys() == {"m_t", "v_t"}
        lost, _ = Federation(agreement_of(server)).run(ROUNDS - 3, State(3, first[-1].weights))
        assert (lost[-1].weights != whole[-1].weights).any()


def test_flowers_rates_that_would_be_ignored_are_refused() -> None:
    for algorithm in ("fedavg", "fedprox"):
        with pytest.raises(ConfigError, match="has no server learning rate"):
            flower_strategy(ServerSettings(algorithm=algorithm, learning_rate=0.5))


# Members that do not take part.


def test_a_member_without_budget_refuses_and_the_others_go_on() -> None:
    federation = Federation(agreement_of(), budgets={"b": 2 * COST.nano})
    states, outcomes = federation.run(4)
    assert [o.survivors for o in outcomes] == [("a", "b", "c")] * 2 + [("a", "c")] * 2
    assert [dict(o.refusals) for o in outcomes[2:]] == [{"b": RefusalCode.BUDGET}] * 2
    assert len(federation.trainers["b"].changes) == 2
    assert federation.ledgers["b"].spent("code") == 2 * COST.nano
    changes = [federation.trainers[n].changes[3] for n in ("a", "c")]
    expected = states[2].weights + np.mean(changes, axis=0)
    np.testing.assert_allclose(states[3].weights, expected, atol=1e-6)


def test_the_account_has_the_last_word_over_the_allowance() -> None:
    federation = Federation(agreement_of(), budgets={"b": COST.nano})
    federation.members["b"]._allowance = 10**12
    _, outcomes = federation.run(2)
    assert outcomes[1].refusals == {"b": RefusalCode.BUDGET}
    assert federation.ledgers["b"].spent("code") == COST.nano


def test_an_allowance_holds_though_the_account_has_more() -> None:
    federation = Federation(agreement_of())
    member, ledger = federation.members["a"], federation.ledgers["a"]
    member._allowance = COST.nano
    ledger.charge(COST, asset="code", agreement="f" * 64, task="other", round=1)
    _, outcomes = federation.run(2)
    assert [dict(o.refusals) for o in outcomes] == [{}, {"a": RefusalCode.BUDGET}]


def test_a_round_without_anybody_changes_nothing(server) -> None:
    federation = Federation(agreement_of(server), budgets=dict.fromkeys("abc", 2 * COST.nano))
    states, outcomes = federation.run(4)
    assert outcomes[-1].survivors == ()
    assert set(outcomes[-1].refusals) == set("abc")
    np.testing.assert_array_equal(states[1].weights, states[3].weights)
    assert states[3].moments.keys() == states[1].moments.keys()
    for name, moment in states[1].moments.items():
        np.testing.assert_array_equal(states[3].moments[name], moment)
    assert states[3].round == 4


SECRET = "def proprietary(): return 31337"


class FailingTrainer(PullTrainer):
    def __init__(self, error):
        super().__init__(0.0)
        self.error = error

    def train(self, weights, receipt):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        TrainingError(f"the loss of {SECRET} is not finite"),
        ValueError(SECRET),
        MemoryError(SECRET),
        PrivacyError(SECRET),
        LedgerDamaged(SECRET),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_member_that_fails_says_a_code_and_no_text(error) -> None:
    federation = Federation(agreement_of(), trainers={"b": FailingTrainer(error)})
    answer = federation.members["b"].answer(plan(federation.agreement))
    assert decode(answer, weights=WEIGHTS) == Refusal(
        federation.agreement.digest(), 1, "b", RefusalCode.FAILED
    )
    assert b"proprietary" not in answer
    assert federation.members["b"].error is error
    _, outcomes = federation.run(2)
    assert [dict(o.refusals) for o in outcomes] == [{"b": RefusalCode.FAILED}] * 2
    assert [o.survivors for o in outcomes] == [("a", "c")] * 2


def test_a_round_that_fails_is_paid_all_the_same() -> None:
    federation = Federation(agreement_of(), trainers={"b": FailingTrainer(TrainingError("x"))})
    federation.run(2)
    history = federation.ledgers["b"].history("code")
    assert [(c.round, c.state, c.cost_nano) for c in history] == [
        (1, "RESERVED", COST.nano),
        (2, "RESERVED", COST.nano),
    ]
    assert [c.state for c in federation.ledgers["a"].history("code")] == ["SENT", "SENT"]


def test_a_stop_by_a_person_is_no_refusal() -> None:
    federation = Federation(agreement_of(), trainers={"b": FailingTrainer(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        federation.run(1)


def test_the_ledger_is_charged_before_training_starts() -> None:
    federation = Federation(agreement_of())
    ledger, seen = federation.ledgers["a"], []

    class Looking(PullTrainer):
        def train(self, weights, receipt):
            seen.append((ledger.spent("code"), [c.state for c in ledger.history("code")]))
            return super().train(weights, receipt)

    federation.members["a"]._trainer = Looking(0.0)
    federation.run(1)
    assert seen == [(COST.nano, ["RESERVED"])]


def test_every_round_is_charged_once_for_its_agreement() -> None:
    federation = Federation(agreement_of())
    federation.run()
    for ledger in federation.ledgers.values():
        history = ledger.history("code")
        assert [c.round for c in history] == list(range(1, ROUNDS + 1))
        assert {c.agreement for c in history} == {federation.agreement.digest()}
        assert ledger.spent("code", federation.agreement.digest()) == ROUNDS * COST.nano


# Plans that are not what was agreed on.


def plan(agreement, number=1, cohort=None, weights=START):
    return encode(Plan(agreement.digest(), number, cohort or agreement.roster, weights))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda a: plan(dataclasses.replace(a, noise_multiplier=0.5)), RefusalCode.AGREEMENT),
        (lambda a: plan(dataclasses.replace(a, purpose="other")), RefusalCode.AGREEMENT),
        (lambda a: plan(a, cohort=("a", "b", "stranger")), RefusalCode.PLAN),
        (lambda a: plan(a, cohort=("b", "c")), RefusalCode.PLAN),
        (lambda a: plan(a, number=ROUNDS + 1), RefusalCode.PLAN),
        (lambda a: plan(a, weights=np.zeros(WEIGHTS + 1, np.float32)), RefusalCode.PLAN),
        (lambda a: plan(a)[:-1], RefusalCode.PLAN),
        (lambda a: b"", RefusalCode.PLAN),
        (lambda a: encode(Refusal(a.digest(), 1, "a", RefusalCode.FAILED)), RefusalCode.PLAN),
    ],
    ids=[
        "noise",
        "purpose",
        "stranger",
        "not asked",
        "late",
        "weights",
        "short",
        "empty",
        "no plan",
    ],
)
def test_another_plan_is_refused_and_costs_nothing(make, code) -> None:
    federation = Federation(agreement_of())
    member, ledger = federation.members["a"], federation.ledgers["a"]
    head = ledger.head
    answer = decode(member.answer(make(federation.agreement)), weights=WEIGHTS)
    assert (type(answer), answer.code, answer.member) == (Refusal, code, "a")
    assert ledger.head == head
    assert ledger.spent("code") == 0
    assert not federation.trainers["a"].changes


def test_a_cohort_of_some_members_is_accepted() -> None:
    federation = Federation(agreement_of())
    answer = decode(
        federation.members["a"].answer(plan(federation.agreement, cohort=("a", "c"))),
        weights=WEIGHTS,
    )
    assert not isinstance(answer, Refusal)


def test_a_member_of_another_agreement_does_not_stop_the_others() -> None:
    federation = Federation(agreement_of())
    federation.members["b"]._agreement = agreement_of(purpose="other")
    federation.members["c"]._agreement = agreement_of(weights=WEIGHTS + 1)
    _, outcomes = federation.run(3)
    assert [o.survivors for o in outcomes] == [("a",)] * 3
    assert outcomes[-1].refusals == {"b": RefusalCode.AGREEMENT, "c": RefusalCode.PLAN}


def test_seeded_noise_is_refused_outside_a_simulation() -> None:
    federation = Federation(agreement_of(), seeded=False)
    _, outcomes = federation.run(1)
    assert outcomes[0].survivors == ()
    assert set(outcomes[0].refusals.values()) == {RefusalCode.FAILED}
    for member in federation.members.values():
        assert isinstance(member.error, PrivacyError)
        assert "seeded noise protects nobody" in str(member.error)
    assert not federation.trainers["a"].changes


def test_secure_noise_is_accepted_outside_a_simulation() -> None:
    trainers = {name: PullTrainer(1.0, generator=None) for name in "abc"}
    federation = Federation(agreement_of(), seeded=False, trainers=trainers)
    _, outcomes = federation.run(1)
    assert outcomes[0].survivors == ("a", "b", "c")
    changes = [t.changes[0] for t in trainers.values()]
    assert np.abs(changes[0] - changes[1]).min() > 0


# What arrives at the coordinator.


def answering(reply):
    """A federation whose member b answers with ``reply(honest answer)``."""
    federation = Federation(agreement_of())
    honest = federation.members["b"].answer
    apps = {n: member_app(m.answer) for n, m in federation.members.items()}
    apps["b"] = member_app(lambda data: reply(honest(data)))
    grid = InMemoryGrid(apps)
    federation.coordinator = Coordinator(federation.agreement, grid, grid.nodes)
    return federation


@pytest.mark.parametrize(
    "reply",
    [
        lambda data: data[:-4],
        lambda data: data + b"\x00\x00\x00\x00",
        lambda data: data.replace(b'"member":"b"', b'"member":"a"'),
        lambda data: data.replace(b'"round":1', b'"round":2'),
        lambda data: data.replace(b'"agreement":"', b'"agreement":"0')[:-1],
        lambda data: data[:-4] + np.float32(np.nan).tobytes(),
        lambda data: b"",
        lambda data: plan(agreement_of()),
        lambda data: encode(Refusal(agreement_of().digest(), 1, "a", RefusalCode.FAILED)),
    ],
    ids=["short", "long", "for a", "for 2", "agreement", "nan", "empty", "plan", "a refuses"],
)
def test_an_answer_to_something_else_never_enters_the_sum(reply) -> None:
    with pytest.raises(WireError):
        answering(reply).run(1)


def overflowing(name):
    class Loud(PullTrainer):
        def train(self, weights, receipt):
            mechanism = GaussianMechanism(POLICY, SeededGenerator(1), receipt)
            mechanism.sample(100)
            mechanism.noise(weights.shape, 0.1)
            mechanism.end_step()
            return mechanism.release(np.full(WEIGHTS, 3e38, np.float32))

    return {name: Loud(0.0)}


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_weights_and_moments_stay_as_they_are_when_they_would_not_be_finite(server) -> None:
    before, _ = Federation(agreement_of(server)).run(1)
    loud = Federation(agreement_of(server, roster=("a",)), trainers=overflowing("a"))
    state = dataclasses.replace(before[-1], weights=np.full(WEIGHTS, 3e38, np.float32))
    after, _ = loud.run(1, state)
    np.testing.assert_array_equal(after[0].weights, state.weights)
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


def test_one_members_figures_are_asked_of_nobody() -> None:
    federation = Federation(agreement_of())
    strategy = SummingStrategy(
        flower_strategy(ServerSettings()), federation.agreement, federation.grid.nodes
    )
    asked = strategy.configure_evaluate(1, arrays_of(START), ConfigRecord(), federation.grid)
    assert list(asked) == []
    assert strategy.aggregate_evaluate(1, []) is None
