# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The one-run audit: its bound is right and close, and broken trainers are called broken."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from test_step_audit import scaled, unclipped
from torch import nn

from fedcode.errors import ConfigError, PrivacyError
from fedcode.federation import TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.one_run import (
    Guesses,
    chance,
    detectable,
    least_epsilon,
    one_run_finding,
    plan_canaries,
    plan_guesses,
)
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import Corpus, PrivacyUnit, Record, SourceFile, UnitId
from fedcode.simulation.canaries import canaries
from fedcode.tasks.ngram import NgramTask
from fedcode.training.counting import CountTrainer
from fedcode.training.observer import ObservedTrainer, count_scores, gradient_scores, over_rounds
from fedcode.training.private import PrivateNetwork, PrivateOptimizer, PrivateTrainer

# The statistics, on a mechanism whose ε is known exactly.


def randomized_response(epsilon, m, draw):
    """m coins, each told rightly with odds e^ε: ε-DP exactly."""
    coins = draw.random(m) < 0.5
    told = np.where(draw.random(m) < 1 / (1 + np.exp(-epsilon)), coins, ~coins)
    return told + draw.random(m) / 2, coins


def found_in_responses(epsilon, m, runs, bound=least_epsilon, mistake=0.05):
    draw = np.random.default_rng(1)
    found = []
    for _ in range(runs):
        scores, coins = randomized_response(epsilon, m, draw)
        right = int(((scores >= 1) == coins).sum())
        found.append(bound(m, m, right, 0.0, mistake))
    return np.array(found)


@pytest.mark.parametrize(("epsilon", "m"), [(0.5, 200), (1.0, 500), (3.0, 500)])
def test_the_bound_is_wrong_no_more_often_than_it_says(epsilon, m) -> None:
    found = found_in_responses(epsilon, m, 400)
    wrong = (found > epsilon).mean()
    assert wrong <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    assert wrong > 0.005, "so careful a bound would find little"


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_the_bound_is_close_where_there_are_many_canaries(epsilon) -> None:
    assert found_in_responses(epsilon, 50_000, 4).min() > 0.93 * epsilon


def test_a_bound_without_its_confidence_is_rejected() -> None:
    """The log odds of the share that was right: about as often too high as too low."""

    def naive(m, guesses, right, delta, mistake):
        return float(np.log(right / (guesses - right)))

    wrong = (found_in_responses(1.0, 1_000, 600, naive) > 1.0).mean()
    assert wrong > 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_delta_that_reveals_whole_records_needs_its_term() -> None:
    """With chance δ each coin is told outright: (0, δ)-DP. Without the term of δ it is accused."""
    m, delta, runs = 2_000, 0.01, 400
    draw = np.random.default_rng(2)
    with_term = without = 0
    for _ in range(runs):
        coins = draw.random(m) < 0.5
        told = draw.random(m) < delta
        scores = np.where(told, np.where(coins, 2.0, -2.0), draw.random(m))
        guess = Guesses(8)
        with_term += one_run_finding(scores, coins, [guess], 0.0, delta).broken
        right = int(coins[np.argsort(scores, kind="stable")[m - 8 :]].sum())
        without += least_epsilon(m, 8, right, 0.0, 0.05) > 0
    assert with_term <= 0.05 * runs
    assert without > 0.5 * runs


def test_a_small_case_by_hand() -> None:
    """Two guesses, both right, at ε = 0: 1/4, and δ adds 2mδ · max(1/2, 3/8)."""
    assert chance(10, 2, 2, 0.0, 0.0) == pytest.approx(0.25)
    assert chance(10, 2, 2, 0.0, 1e-3) == pytest.approx(0.25 + 2 * 10 * 1e-3 * 0.5)
    assert least_epsilon(10, 2, 0, 0.0, 0.05) == 0.0


def test_the_bound_grows_with_right_guesses_and_falls_with_delta() -> None:
    bounds = [least_epsilon(1_000, 100, right, 1e-5, 0.05) for right in (60, 75, 90, 100)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]
    assert least_epsilon(1_000, 100, 100, 1e-3, 0.05) < bounds[-1]


def test_every_choice_more_is_paid_for() -> None:
    scores, coins = randomized_response(2.0, 2_000, np.random.default_rng(3))
    one = one_run_finding(scores, coins, [Guesses(400)], 2.0, 1e-6)
    many = one_run_finding(scores, coins, [Guesses(400)] * 10, 2.0, 1e-6)
    assert many.found < one.found
    assert many.detectable < one.detectable


def test_every_guess_right_is_what_could_have_been_found() -> None:
    coins = np.random.default_rng(4).random(1_000) < 0.5
    choices = [Guesses(400, 400), Guesses(100)]
    finding = one_run_finding(coins.astype(float), coins, choices, 1.0, 1e-6)
    assert finding.found == finding.detectable
    assert finding.broken
    assert (finding.guesses, finding.right) == (800, 800)


def test_guesses_are_planned_so_that_they_can_show_something() -> None:
    for reached, claimed in ((0.217, 5.05), (0.265, 5.12), (1.0, 1.0)):
        number = plan_canaries(reached, claimed, 1e-5, 50_000)
        choices = plan_guesses(number, reached, claimed, 1e-5)
        assert detectable(number, choices, 1e-5) > claimed
        assert max(choice.inside for choice in choices) < number * reached / 2
        assert bool(choices[0].outside) == (reached > 0.95)
    assert plan_canaries(0.2, 5.0, 1e-5, 300) == 300, "there is room for no more"
    with pytest.raises(ConfigError, match="too few"):
        plan_guesses(20, 0.01, 1.0, 1e-5)


@pytest.mark.parametrize("choices", [[], [Guesses(0)], [Guesses(8, 8)]])
def test_guesses_that_do_not_fit_are_refused(choices) -> None:
    with pytest.raises(ConfigError, match="guesses"):
        one_run_finding(np.zeros(10), np.zeros(10, np.bool_), choices, 1.0, 1e-5)


# Whole runs of the real trainer, on a network where each canary has a weight of its own.

CANARIES, STEPS, RATE, NOISE, NORM, DELTA = 1_000, 100, 0.25, 5.0, 1.0, 1e-5
LOUD, BACKGROUND = 10.0, 20
BUDGET = Filter.for_budget(50.0, DELTA, 4.0)
START = np.zeros(CANARIES + 1, np.float32)


class Apart(nn.Module):
    """A row of weights, one for each canary, and one for all others."""

    def __init__(self):
        super().__init__()
        self.row = nn.Linear(CANARIES + 1, 1, bias=False)

    def forward(self, directions):
        return self.row(directions).squeeze(1)


class ApartTask:
    """Each record pulls hard at its own weight."""

    def examples(self, records):
        return [int(record.tokens[0]) for record in records]

    def length(self, example):
        return 1

    def collate(self, examples):
        return LOUD * nn.functional.one_hot(torch.tensor(examples), CANARIES + 1).float()

    def losses(self, model, batch):
        return model(batch)


def record(number, weight):
    return Record(UnitId(f"a.py::f{number}"), "a.py", "f", "function", (str(weight),), 1)


class Run:
    """An organization whose records are some of the canaries and a few others."""

    def __init__(self, noise=lambda _: SecureGenerator()):
        self.coins = np.zeros(CANARIES, np.bool_)
        self.coins[SecureGenerator().poisson_sample(CANARIES, 0.5)] = True
        records = [record(i, i) for i in np.flatnonzero(self.coins)]
        records += [record(CANARIES + i, CANARIES) for i in range(BACKGROUND)]
        settings = TrainingSettings(
            sampling_rate=RATE, nominal_batch=1, clipping_norm=NORM, physical_batch=512
        )
        policy = PrivacyPolicy(
            PrivacyUnit.FUNCTION, NORM, CANARIES + 1, NOISE, RATE, 1, DELTA, BUDGET.epsilon
        )
        network = PrivateNetwork(Apart())
        trainer = PrivateTrainer(ApartTask(), network, records, settings, policy, noise)
        self.records = len(records)
        self.trainer = ObservedTrainer(trainer)
        self.sizes = []
        self.ledger = BudgetLedger.open(":memory:")
        self.ledger.open_simulated("a", organization="a", unit=policy.unit, budget=BUDGET)

    def charged(self, number):
        cost = BUDGET.cost(NOISE, RATE, 1)
        return self.ledger.charge(
            cost, asset="a", agreement="a", purpose="a", task="a", round=number
        )

    def rounds(self, steps=STEPS):
        for number in range(1, steps + 1):
            self.trainer.train(START, self.charged(number))
            self.sizes.append(self.trainer.report.examples)
        return self


def whole_run(generator=SecureGenerator):
    """A hundred rounds of the real trainer, each charged; and what they show."""
    run = Run(lambda _: generator()).rounds()
    claimed = run.ledger.epsilon("a")
    choices = plan_guesses(CANARIES, 1 - (1 - RATE) ** STEPS, claimed, DELTA)
    scores = gradient_scores(ApartTask(), Apart(), list(range(CANARIES)), run.trainer.seen)
    return one_run_finding(over_rounds(scores, RATE), run.coins, choices, claimed, DELTA)


def test_a_right_run_is_not_accused_though_something_is_found() -> None:
    findings = [whole_run() for _ in range(8)]
    assert not any(finding.broken for finding in findings)
    assert max(finding.found for finding in findings) > 0.1
    assert findings[0].detectable > findings[0].claimed > 1


@pytest.mark.parametrize("factor", [0.0, 0.1])
def test_too_little_noise_is_found(factor) -> None:
    assert whole_run(scaled(factor)).broken


def test_clipping_that_is_none_is_found(monkeypatch) -> None:
    monkeypatch.setattr(PrivateOptimizer, "clip_and_accumulate", unclipped)
    assert whole_run().broken


def test_a_claim_of_less_than_was_taken_is_found(monkeypatch) -> None:
    monkeypatch.setattr(BudgetLedger, "epsilon", lambda self, asset: 0.05)
    assert any(whole_run().broken for _ in range(3))


@pytest.fixture(scope="module")
def counting():
    """Counts of some hundred public words."""
    words = [f"{a}{b}" for a in "bcdfghjklmnp" for b in range(60)]
    own = [
        Record(UnitId(f"p.py::f{i}"), "p.py", "f", "function", (*words[i::40], *words[i::41]), 1)
        for i in range(40)
    ]
    tokens = tuple(t for r in own for t in r.tokens)
    public = Corpus("public", (SourceFile("p.py", tokens, tuple(own)),))
    return NgramTask.make({"vocabulary": 2_000, "order": 1, "min_records": 1}, public), words


def counted_run(counting, generator):
    """One round of the real counts, σ = 2 and q = 1, over half of 500 canaries."""
    task, words = counting
    made = canaries(words, "none", 500, np.random.default_rng(1))
    coins = np.zeros(500, np.bool_)
    coins[SecureGenerator().poisson_sample(500, 0.5)] = True
    inside = [record for record, coin in zip(made, coins, strict=True) if coin]
    policy = PrivacyPolicy(PrivacyUnit.FUNCTION, 1.0, task.size, 2.0, 1.0, 1, DELTA, 50.0)
    observed = ObservedTrainer(
        CountTrainer(
            task, inside, TrainingSettings(kind="gradient-sum"), policy, lambda _: generator()
        )
    )
    with BudgetLedger.open(":memory:") as ledger:
        ledger.open_simulated("a", organization="a", unit=policy.unit, budget=BUDGET)
        cost = BUDGET.cost(2.0, 1.0, 1)
        receipt = ledger.charge(cost, asset="a", agreement="a", purpose="a", task="a", round=1)
        observed.train(np.zeros(task.size, np.float32), receipt)
        claimed = ledger.epsilon("a")
    choices = plan_guesses(500, 1.0, claimed, DELTA)
    scores = over_rounds(count_scores(task, made, observed.seen), 1.0)
    return one_run_finding(scores, coins, choices, claimed, DELTA)


def test_counts_are_audited_too(counting) -> None:
    right = counted_run(counting, SecureGenerator)
    assert right.found < right.claimed < right.detectable
    assert counted_run(counting, scaled(0.0)).broken


# What a bound on ε does not see, and what sees it.


def alike(seen):
    """The largest correlation between the updates of two rounds."""
    updates = np.array([update[CANARIES // 2 : CANARIES] for _, update in seen])
    return np.abs(np.corrcoef(updates) - np.eye(len(updates))).max()


def test_noise_that_is_repeated_between_rounds_is_found() -> None:
    """What two rounds have in common is noise: their difference would be free of it."""
    right = Run(lambda receipt: SeededGenerator(1, "noise", receipt.round)).rounds(5)
    fixed = Run(lambda receipt: SeededGenerator(1, "noise")).rounds(5)
    assert alike(right.trainer.seen) < 0.25
    assert alike(fixed.trainer.seen) > 0.9


class Shuffled(SecureGenerator):
    """A loader that goes through shuffled records, a batch of fixed size at a time."""

    order = np.zeros(0, np.int64)

    def poisson_sample(self, population, rate):
        size = round(population * rate)
        if len(self.order) < size:
            self.order = np.argsort(self.uniform(population))
        batch, self.order = np.sort(self.order[:size]), self.order[size:]
        return batch


class Grouped(SecureGenerator):
    """A sampler that takes four records together."""

    def poisson_sample(self, population, rate):
        groups = super().poisson_sample(-(-population // 4), rate)
        taken = (4 * groups[:, None] + np.arange(4)).ravel()
        return taken[taken < population]


def poisson_like(run):
    """Whether the sizes of the batches vary as those of Poisson samples do."""
    sizes, n = np.array(run.sizes), run.records
    spread = ((sizes - n * RATE) ** 2).sum() / (n * RATE * (1 - RATE))
    return 1e-6 < chi2.sf(spread, len(sizes)) < 1 - 1e-6


@pytest.mark.parametrize("sampler", [Shuffled, Grouped])
def test_a_loader_with_the_poisson_claim_is_found(sampler) -> None:
    kept = sampler()
    assert not poisson_like(Run(lambda _: kept).rounds())
    assert poisson_like(Run().rounds())


def test_a_skipped_charge_is_refused() -> None:
    run = Run()
    with pytest.raises(PrivacyError, match="receipt"):
        run.trainer.train(START, None)
    receipt = run.charged(1)
    run.trainer.train(START, receipt)
    with pytest.raises(PrivacyError, match="used already"):
        run.trainer.train(START, receipt)
    assert len(run.trainer.seen) == 1


@pytest.mark.slow
def test_a_right_run_is_never_accused_in_200_runs() -> None:
    findings = [whole_run() for _ in range(200)]
    found = [finding.found for finding in findings]
    print("found: mean", np.mean(found), "largest", max(found), "claimed", findings[0].claimed)
    print("could have found", findings[0].detectable)
    assert not any(finding.broken for finding in findings)
