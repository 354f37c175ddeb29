# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Rounds of masked updates: exact totals, members that are lost at every step, and what is paid."""

import dataclasses
import math

import numpy as np
import pytest
from few_numbers import (
    COST,
    FOUR,
    POLICY,
    SEED,
    START,
    WEIGHTS,
    Federation,
    PullTrainer,
    SumTrainer,
    agreement_of,
    read,
)
from officers import KEYS, policy
from test_rounds import SERVERS

import fedcode.rounds.coordinator
from fedcode.federation import AggregationSettings, ServerSettings, TrainingSettings
from fedcode.groups import groups
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.rounds.coordinator import State
from fedcode.rounds.exchange import ABSENT
from fedcode.rounds.optimizer import ServerOptimizer
from fedcode.secure_sum import shamir
from fedcode.simulation.identities import key_of
from fedcode.transport.in_memory import Silent
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Plan,
    RefusalCode,
    ShareDelivery,
    SurvivorList,
    encode,
    sign,
    verified,
)

STEPS = (Plan, KeyBook, ShareDelivery, SurvivorList, ConfirmationList)
SEVEN = tuple("abcdefg")

KINDS = {
    "local-steps": TrainingSettings(sampling_rate=0.5),
    "gradient-sum": TrainingSettings(
        kind="gradient-sum", sampling_rate=0.5, clipping_norm=0.1, nominal_batch=4
    ),
    "coarser gradient-sum": TrainingSettings(
        kind="gradient-sum", sampling_rate=0.5, clipping_norm=0.1, learning_rate=0.5
    ),
}


def federation_of(agreement, **more):
    """Members whose trainers make the agreement's kind of release."""
    trainers = {}
    for number, name in enumerate(agreement.roster.names):
        if agreement.training.kind == "gradient-sum":
            trainers[name] = SumTrainer(float(number), agreement)
        else:
            trainers[name] = PullTrainer(float(number))
    return Federation(agreement, trainers=trainers | more.pop("trainers", {}), **more)


def terms(federation, number, names):
    """The integers that so many members added up in one of their rounds, by hand."""
    lattice = federation.agreement.lattice()
    found = []
    for name in names:
        release = federation.trainers[name].releases[number]
        if release.sum is None:
            points = np.rint(release.vector / np.float64(lattice.blocks[0][1]))
        else:
            ratio = release.sum.spacing / lattice.blocks[0][1]
            points = np.floor(release.sum.points * ratio + 0.5)
        found.append(points.astype(np.int64))
    return np.sum(found, axis=0)


@pytest.fixture
def gathered(monkeypatch):
    """The parts of each round, as the coordinator unmasked them."""
    seen, honest = [], fedcode.rounds.coordinator.secure_sums

    def spied(*given):
        seen.append(honest(*given))
        return seen[-1]

    monkeypatch.setattr(fedcode.rounds.coordinator, "secure_sums", spied)
    return seen


# Totals.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server", SERVERS)
def test_the_total_is_the_sum_of_the_members_terms_exactly(kind, server, gathered) -> None:
    agreement = agreement_of(SERVERS[server], roster=FOUR, mode="secagg", training=KINDS[kind])
    federation = federation_of(agreement)
    states, outcomes = federation.run(3)
    spacing = agreement.lattice().blocks[0][1]
    before = State(0, START)
    for number, (found, after, outcome) in enumerate(zip(gathered, states, outcomes, strict=True)):
        (part,) = found.parts
        total = spacing * terms(federation, number, FOUR)
        np.testing.assert_array_equal(part.total, total)
        optimizer = ServerOptimizer(agreement.server, 0.0, before.moments)
        change = total / 4 * agreement.factor
        expected = optimizer.apply(number + 1, before.weights, change, federation.grid)
        np.testing.assert_array_equal(after.weights, expected)
        assert outcome.survivors == FOUR
        before = after
    assert np.abs(states[-1].weights - START).max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seeds_in_the_open_differ_by_rounding_alone(kind) -> None:
    agreement = agreement_of(roster=FOUR, mode="secagg", training=KINDS[kind])
    plain = dataclasses.replace(agreement, aggregation=AggregationSettings(mode="open"))
    (masked,), _ = federation_of(agreement).run(1)
    (unmasked,), _ = federation_of(plain).run(1)
    half = abs(agreement.factor) * agreement.lattice().blocks[0][1] / 2
    single = np.finfo(np.float32).eps * np.abs(unmasked.weights).max()
    assert np.abs(masked.weights - unmasked.weights).max() <= half + 4 * single


def grouped(count=3, rule="median", members=12, **changes):
    settings = AggregationSettings(mode="secagg-groups", groups=count, rule=rule, malicious=1)
    names = tuple(f"m{n:02}" for n in range(members))
    return agreement_of(roster=names, aggregation=settings, **changes)


def group_means(federation, number, names):
    """By hand: the means of the groups of one round, from their members' terms."""
    agreement = federation.agreement
    each = groups(agreement.digest(), number, names, agreement.aggregation.groups)
    spacing = agreement.lattice().blocks[0][1] * agreement.factor
    return [spacing * terms(federation, number - 1, group) / len(group) for group in each]


@pytest.mark.parametrize("kind", ["local-steps", "gradient-sum"])
@pytest.mark.parametrize(("rule", "count"), [("median", 3), ("trimmed-mean", 3), ("median", 4)])
def test_groups_are_combined_by_their_rule(kind, rule, count) -> None:
    agreement = grouped(count, rule, 4 * count + 1, training=KINDS[kind])
    federation = federation_of(agreement)
    states, outcomes = federation.run(2)
    before = START
    for number, (state, outcome) in enumerate(zip(states, outcomes, strict=True), 1):
        means = np.sort(group_means(federation, number, agreement.roster.names), axis=0)
        middle = means[1:-1].mean(0) if rule == "trimmed-mean" else np.median(means, 0)
        np.testing.assert_allclose(state.weights, before + middle, rtol=1e-6, atol=1e-6)
        assert len(outcome.sums) == count
        assert outcome.survivors == agreement.roster.names
        assert {len(story.members) for story in outcome.sums} == {4, 5}
        before = state.weights
    first, second = ({s.members for s in o.sums} for o in outcomes)
    assert first != second, "another round has other groups"


def by_hand(updates, settings):
    """The rules of single members, written out."""
    rows = np.array(updates, np.float64)
    match settings.rule:
        case "trimmed-mean":
            return np.sort(rows, axis=0)[1:-1].mean(0)
        case "krum":
            far = ((rows[:, None] - rows) ** 2).sum(-1)
            nearest = np.sort(far, axis=1)[:, 1 : len(rows) - 2]
            return rows[nearest.sum(1).argmin()]
        case "centred-clipping":
            centre = np.zeros(rows.shape[1])
            for _ in range(3):
                ways = rows - centre
                lengths = np.linalg.norm(ways, axis=1, keepdims=True)
                centre = centre + (ways * np.minimum(1, settings.radius / lengths)).mean(0)
            return centre
    raise AssertionError(settings.rule)


class Liar(PullTrainer):
    """Sends what it likes, as far as it fits."""

    def released(self, weights, receipt, noise):
        mechanism = GaussianMechanism(POLICY, noise, receipt)
        units = len(mechanism.sample(100))
        mechanism.noised(ClippedSum(np.zeros(WEIGHTS, np.float32), 0.1))
        mechanism.end_step(units)
        self.changes.append(np.full(WEIGHTS, 60.0, np.float32))
        return mechanism.release(self.changes[-1])


@pytest.mark.parametrize("rule", ["trimmed-mean", "krum", "centred-clipping"])
@pytest.mark.parametrize("liar", [False, True])
def test_open_robust_rounds_are_their_rule_and_bear_one_that_lies(rule, liar) -> None:
    settings = AggregationSettings(mode="open-robust", rule=rule, malicious=1)
    agreement = agreement_of(roster=SEVEN, aggregation=settings)
    federation = Federation(agreement, trainers={"d": Liar(0.0)} if liar else {})
    (state,), (outcome,) = federation.run(1)
    updates = [federation.trainers[name].changes[0] for name in SEVEN]
    np.testing.assert_allclose(state.weights, START + by_hand(updates, settings), atol=1e-5)
    assert outcome.survivors == SEVEN
    honest = [u for u, name in zip(updates, SEVEN, strict=True) if not (liar and name == "d")]
    if rule == "centred-clipping":
        assert np.linalg.norm(state.weights - START) < 3
    else:
        assert (state.weights - START <= np.max(honest, axis=0) + 1e-5).all()


def test_groups_bear_one_member_that_lies_and_one_sum_does_not() -> None:
    agreement = grouped()
    federation = Federation(agreement, trainers={"m05": Liar(0.0)})
    (state,), _ = federation.run(1)
    means = group_means(federation, 1, agreement.roster.names)
    lied = [np.abs(mean).max() > 5 for mean in means]
    assert sum(lied) == 1
    honest = [mean for mean, bad in zip(means, lied, strict=True) if not bad]
    change = state.weights - START
    assert (change <= np.max(honest, axis=0) + 1e-5).all()
    assert (change >= np.min(honest, axis=0) - 1e-5).all()
    alone = dataclasses.replace(agreement, aggregation=AggregationSettings())
    (moved,), _ = Federation(alone, trainers={"m05": Liar(0.0)}).run(1)
    assert (moved.weights - START > 3).all(), "which is what the rule is for"


@pytest.mark.parametrize(("count", "goes_on"), [(3, False), (4, True)])
def test_a_group_without_a_total_is_left_out_or_ends_the_round(count, goes_on) -> None:
    agreement = grouped(count, members=4 * count)
    federation = Federation(agreement)
    lost = groups(agreement.digest(), 1, agreement.roster.names, count)[0]
    for name in lost[:2]:
        federation.ways[name] = silent
    (state,), (outcome,) = federation.run(1)
    assert sorted(bool(story.aborted) for story in outcome.sums) == [False] * (count - 1) + [True]
    assert not set(outcome.survivors) & set(lost)
    assert dict(outcome.refusals) == dict.fromkeys(lost[:2], ABSENT)
    assert (state.weights != START).any() == goes_on
    rest = [name for name in agreement.roster.names if name not in lost]
    assert {len(federation.trainers[name].changes) for name in rest} == {1}
    assert not any(federation.trainers[name].changes for name in lost)


def silent(_data):
    raise Silent


def test_metrics_are_coordinates_of_the_sum() -> None:
    training = KINDS["gradient-sum"].model_copy(update={"metrics": ("units",)})
    agreement = agreement_of(roster=FOUR, mode="secagg", training=training)

    class Counting(SumTrainer):
        def released(self, weights, receipt, noise):
            policy = self.agreement.policy
            mechanism = GaussianMechanism(policy, noise, receipt)
            units = len(mechanism.sample(100))
            one = 0.1 * policy.clipping_norm
            whole = np.append(np.zeros(WEIGHTS), 50 * self.target * one)
            parts = [mechanism.noised(ClippedSum(whole, policy.clipping_norm))]
            mechanism.end_step(units)
            return mechanism.release_sum(parts)

    trainers = {name: Counting(float(n), agreement) for n, name in enumerate(FOUR)}
    _, (outcome,) = Federation(agreement, trainers=trainers).run(1)
    found = outcome.metrics["units"]
    std = agreement.policy.std * math.sqrt(4) / (0.1 * 0.1) / 4
    assert found.std == pytest.approx(std)
    assert abs(found.value - 50 * (0 + 1 + 2 + 3) / 4) < 5 * std


# Members that are lost on the way.


class Leaving:
    """A member that is gone from one message on, in one round: before it works on it, or after."""

    def __init__(self, answer, step, *, after, number=1):
        self.answer, self.step, self.after, self.number = answer, step, after, number

    def __call__(self, data):
        message = read(data)
        step = STEPS.index(type(message))
        if message.round != self.number or step < self.step:
            return self.answer(data)
        if step == self.step and self.after:
            self.answer(data)
        raise Silent


def trained(federation, name):
    return len(federation.trainers[name].changes)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(5), ids=[step.__name__ for step in STEPS])
@pytest.mark.parametrize("lost", [("b", "f"), ("a", "d", "g")], ids=["enough", "too few"])
def test_members_that_are_lost_at_a_step(lost, step, after, gathered) -> None:
    agreement = agreement_of(SERVERS["fedadam"], roster=SEVEN, mode="secagg")
    federation = Federation(agreement)
    first, _ = federation.run(1)
    for name in lost:
        federation.ways[name] = Leaving(federation.ways[name], step, after=after, number=2)
    (state,), (outcome,) = federation.run(1, first[-1])
    story, enough = outcome.sums[0], len(lost) == 2
    named = {name: (ABSENT, story.lost[name].step) for name in lost}
    assert named == dict.fromkeys(
        lost, (ABSENT, ("keys", "shares", "masked", "confirmation", "reveal")[step])
    )

    left = tuple(name for name in SEVEN if name not in lost)
    summed = SEVEN if step > 2 else left
    assert bool(story.aborted) != enough
    assert outcome.survivors == (summed if enough else ())
    if enough:
        (part,) = gathered[1].parts
        spacing = agreement.lattice().blocks[0][1]
        np.testing.assert_array_equal(part.total, spacing * terms(federation, 1, summed))
        assert story.keys == (lost if step == 2 else ())
        assert set(outcome.refusals) == (set() if step > 2 else set(lost))
    else:
        np.testing.assert_array_equal(state.weights, first[-1].weights)
        for name, moment in first[-1].moments.items():
            np.testing.assert_array_equal(state.moments[name], moment)
        assert state.round == 2
        assert (story.self_masks, story.keys) == ((), ())

    asked = enough or step >= 2
    for name in SEVEN:
        there = name not in lost or step > 2 or (step == 2 and after)
        worked = asked and there
        assert trained(federation, name) == 1 + worked
        assert federation.ledgers[name].spent("code") == (1 + worked) * COST.nano

    _, (outcome,) = federation.run(1, state)
    assert outcome.survivors == SEVEN, "who was lost is asked again"
    assert not outcome.refusals
    assert not outcome.sums[0].aborted


def test_a_member_that_no_answer_reaches_is_charged_once_a_round() -> None:
    agreement = agreement_of(roster=FOUR, mode="secagg")
    federation = Federation(agreement)
    honest = federation.ways["c"]

    def lost(data):
        answer = honest(data)
        if isinstance(read(data), ShareDelivery):
            raise Silent
        return answer

    federation.ways["c"] = lost
    _, outcomes = federation.run(3)
    assert [o.survivors for o in outcomes] == [("a", "b", "d")] * 3
    assert [s.keys for o in outcomes for s in o.sums] == [("c",)] * 3
    assert federation.ledgers["c"].spent("code") == 3 * COST.nano


@pytest.mark.parametrize("who", FOUR)
def test_with_four_any_one_may_be_lost_and_with_three_nobody(who) -> None:
    for roster, survivors in ((FOUR, 3), (("a", "b", "c"), 0)):
        federation = Federation(agreement_of(roster=roster, mode="secagg"))
        name = who if who in roster else "a"
        federation.ways[name] = silent
        _, (outcome,) = federation.run(1)
        assert len(outcome.survivors) == survivors
        paid = {n for n in roster if federation.ledgers[n].spent("code")}
        assert paid == set(outcome.survivors), "too few have sent keys: nobody trained"


def test_nobody_is_asked_where_too_few_have_budget_left() -> None:
    """Two are no secure sum: a third would know one's term."""
    federation = Federation(agreement_of(mode="secagg"), budgets={"b": COST.nano})
    states, outcomes = federation.run(4)
    assert [o.survivors for o in outcomes] == [("a", "b", "c"), (), (), ()]
    assert [bool(o.sums) for o in outcomes] == [True, True, False, False]
    assert [dict(o.refusals) for o in outcomes[1:]] == [{"b": RefusalCode.BUDGET}] * 3
    np.testing.assert_array_equal(states[0].weights, states[-1].weights)
    for name in "ac":
        assert trained(federation, name) == 1, "nobody pays for what cannot be"


def test_nobody_is_asked_where_too_few_are_left_for_the_rule() -> None:
    settings = AggregationSettings(mode="open-robust", rule="trimmed-mean", malicious=1)
    agreement = agreement_of(roster=("a", "b", "c"), aggregation=settings)
    federation = Federation(agreement, budgets={"b": COST.nano})
    _, outcomes = federation.run(3)
    assert [o.survivors for o in outcomes] == [("a", "b", "c"), ("a", "c"), ()]
    assert {trained(federation, name) for name in "ac"} == {2}


def test_groups_that_would_be_too_small_ask_nobody() -> None:
    agreement = grouped()
    federation = Federation(agreement, budgets={"m03": COST.nano})
    states, outcomes = federation.run(3)
    assert [len(o.survivors) for o in outcomes] == [12, 11, 0]
    assert {trained(federation, n) for n in agreement.roster.names if n != "m03"} == {2}
    np.testing.assert_array_equal(states[1].weights, states[2].weights)


def test_a_value_that_does_not_fit_is_refused_and_the_others_go_on() -> None:
    class Loud(Liar):
        def released(self, weights, receipt, noise):
            made = super().released(weights, receipt, noise)
            return dataclasses.replace(made, vector=made.vector * 1e6, steps_taken=1)

    agreement = agreement_of(ServerSettings(), roster=FOUR, mode="secagg")
    federation = Federation(agreement, trainers={"b": Loud(0.0)})
    _, (outcome,) = federation.run(1)
    assert outcome.survivors == ("a", "c", "d")
    assert outcome.refusals == {"b": RefusalCode.RANGE}
    assert federation.ledgers["b"].spent("code") == COST.nano, "it has trained"


@pytest.mark.parametrize("changes", [{"purposes": ["other"]}, {"minimum_cohort": 4}])
def test_others_pay_nothing_where_a_policy_refuses(changes) -> None:
    trainers = {name: PullTrainer(1.0, generator=None) for name in "abc"}
    federation = Federation(agreement_of(mode="secagg"), seeded=False, trainers=trainers)
    ledger = BudgetLedger.open(":memory:")
    signed = policy(*KEYS[:2], caps={"epsilon": 200.0}, permitted=changes)
    ledger.open_account("code", policy=signed, unit=POLICY.unit, order=4.0)
    federation.members["c"]._ledger = ledger
    _, outcomes = federation.run(3)
    assert [dict(o.refusals) for o in outcomes] == [{"c": RefusalCode.POLICY}] * 3
    assert [federation.ledgers[name].spent("code") for name in "ab"] == [0, 0]
    assert not any(trained(federation, name) for name in "abc")


@pytest.mark.parametrize(("members", "sum_of"), [(4, 3), (5, 4), (6, 5), (9, 7)])
def test_the_smallest_cohort_is_of_those_whose_terms_must_be_in_the_sum(members, sum_of) -> None:
    """The coordinator says who dropped out: it can leave out all whom it may."""
    roster = tuple("abcdefghi"[:members])
    for minimum, refused in ((sum_of, False), (sum_of + 1, True)):
        trainers = {name: PullTrainer(1.0, generator=None) for name in roster}
        federation = Federation(
            agreement_of(roster=roster, mode="secagg"), seeded=False, trainers=trainers
        )
        ledger = BudgetLedger.open(":memory:")
        signed = policy(*KEYS[:2], caps={"epsilon": 200.0}, permitted={"minimum_cohort": minimum})
        ledger.open_account("code", policy=signed, unit=POLICY.unit, order=4.0)
        federation.members["a"]._ledger = ledger
        _, (outcome,) = federation.run(1)
        assert ("a" not in outcome.survivors) == refused
        assert (ledger.spent("code") == 0) == refused


def test_the_story_keeps_the_proof_against_a_member() -> None:
    federation = Federation(agreement_of(roster=FOUR, mode="secagg"))
    honest, asked = federation.members["b"].answer, []

    def two_faced(data):
        answer = honest(data)
        if isinstance(read(answer), Confirmation):
            asked.append(answer)
            changed = dataclasses.replace(read(answer), survivors=("a", "b", "c"))
            return encode(sign(changed, key_of(SEED, "b")))
        return answer

    federation.ways["b"] = two_faced
    _, (outcome,) = federation.run(1)
    (story,) = outcome.sums
    assert story.blamed == ("b",)
    (piece,) = map(bytes.fromhex, story.evidence)
    proof = read(piece)
    assert verified(proof, federation.agreement.roster.key("b"))
    assert proof.survivors == ("a", "b", "c")
    assert outcome.survivors == FOUR, "its term is in the sum all the same"


def test_what_was_revealed_for_nothing_is_told(monkeypatch) -> None:
    """All have revealed, and one has dealt shares of another seed: whoever has them has them."""
    federation = Federation(agreement_of(mode="secagg"))
    honest, split = federation.members["a"].answer, shamir.split

    def crooked(data):
        with monkeypatch.context() as patch:
            patch.setattr(shamir, "split", lambda secret, *rest: split(b"\x07" * 32, *rest))
            return honest(data)

    federation.ways["a"] = crooked
    _, (outcome,) = federation.run(1)
    (story,) = outcome.sums
    assert "a's seed do not fit" in story.aborted
    assert story.self_masks == ("a", "b", "c")
    assert outcome.survivors == ()
