# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a trusted aggregator promises: sensitivity, noise and cohorts, and counterproofs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from small_population import CLASSES, FEATURES, STEPS, ragged, start, summed

from fedcode.errors import ConfigError, PrivacyError, TrainingError
from fedcode.privacy.ledger import BudgetLedger
from fedcode.simulation.population.crew import PlainWork, ThisProcess
from fedcode.simulation.population.guards import Draw, Nothing, TrustedAggregator, guarantee
from fedcode.simulation.population.problem import Classifier
from fedcode.simulation.population.settings import check
from fedcode.simulation.population.steps import Sequential, Tally, Together

PLAUSIBLE, CERTAIN = 1e-3, 1e-6
SIZES = (12, 1, 5, 30, 4, 8, 11, 2)


class Sum:
    """A crew whose members add up to what a test says."""

    def __init__(self, total, *, forgotten=0):
        self.total, self.forgotten = total, forgotten

    def sum(self, engine, weights, number, cohort):
        return self.total, Tally(len(cohort) - self.forgotten)


def aggregator(members, cohort, weights, ledger, seed=1, **privacy):
    """The aggregator of so many members, with a budget for 5,000 rounds."""
    settings = check(
        {
            "name": "p",
            "source": "synthetic",
            "members": members,
            "cohort": cohort,
            "rounds": 5_000,
            "privacy": {"epsilon": 8.0, "delta": 1e-6} | privacy,
        }
    )
    promised = guarantee(settings, members, weights)
    draw = Draw("p", seed, members, cohort / members)
    return TrustedAggregator(
        draw, cohort, promised.policy, promised.budget, ledger, "p", "test", "a" * 64, "t"
    )


@pytest.fixture
def ledger():
    with BudgetLedger.open(":memory:") as ledger:
        yield ledger


def moves(engine, steps, scale=1.0):
    """How far the sum moves when one member is left out, for each member."""
    world = ragged(SIZES, problem=Classifier(FEATURES, (5,), CLASSES))
    for member in world.population.members:
        member.columns[0][:] *= scale
    everybody = list(range(len(SIZES)))
    made, weights = engine(world, steps), start(world)
    whole, _ = summed(made, weights, 1, everybody)
    rest = [summed(made, weights, 1, [m for m in everybody if m != one])[0] for one in everybody]
    return [float(np.linalg.norm(whole - sums)) for sums in rest]


@pytest.mark.parametrize("engine", [Sequential, Together])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1e3, 1e18])
def test_one_member_moves_the_sum_by_the_clipping_norm_at_most(engine, scale) -> None:
    norm = STEPS.clipping_norm
    found = moves(engine, STEPS, scale)
    assert max(found) <= norm
    if scale == 1.0:
        assert max(found) > 0.999 * norm  # it is not clipped to less


@pytest.mark.parametrize("engine", [Sequential, Together])
def test_without_the_clip_a_member_moves_it_further(engine) -> None:
    assert max(moves(engine, replace(STEPS, clipping_norm=None))) > 2 * STEPS.clipping_norm


def noise_of(ledger, weights=200_000, wrong=1.0):
    """What is left of a sum of nothing, over the standard deviation that is promised."""
    guard = aggregator(1_000, 100, weights, ledger)
    change = guard.run(Sum(np.zeros(weights)), "together", np.zeros(weights, np.float32), 1).change
    return change.astype(np.float64) * 100 / (guard.policy.std * wrong)


def test_noise_has_the_scale_that_was_paid_for(ledger) -> None:
    noise = noise_of(ledger)
    assert stats.kstest(noise, stats.norm.cdf, method="asymp").pvalue > PLAUSIBLE
    squares = float(np.sum(noise**2))
    below = stats.chi2.cdf(squares, len(noise))
    assert 2 * min(below, 1 - below) > PLAUSIBLE


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_a_scale_ten_percent_off_is_rejected(ledger, wrong) -> None:
    noise = noise_of(ledger, wrong=wrong)
    assert stats.kstest(noise, stats.norm.cdf, method="asymp").pvalue < CERTAIN


def test_noise_is_fresh_in_every_round_and_the_same_for_the_same_seed(ledger) -> None:
    weights = np.zeros(500, np.float32)
    guard = aggregator(1_000, 100, 500, ledger)
    one, two = (guard.run(Sum(np.zeros(500)), "together", weights, n).change for n in (1, 2))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.2
    with BudgetLedger.open(":memory:") as other:
        again = aggregator(1_000, 100, 500, other)
        assert np.array_equal(again.run(Sum(np.zeros(500)), "x", weights, 1).change, one)


def spread(sizes, members, rate):
    """p-value of cohort sizes against the binomial distribution's variance, two-sided."""
    expected = members * rate * (1 - rate)
    ratio = float(np.sum((np.array(sizes) - members * rate) ** 2) / expected)
    below = stats.chi2.cdf(ratio, len(sizes))
    return 2 * min(below, 1 - below)


def test_cohorts_are_poisson_samples() -> None:
    draw = Draw("p", 1, 1_000, 0.1)
    cohorts = [draw.cohort(number) for number in range(1, 1_001)]
    sizes = [len(cohort) for cohort in cohorts]
    assert abs(np.mean(sizes) - 100) < 5 * np.sqrt(90 / 1_000)
    assert spread(sizes, 1_000, 0.1) > PLAUSIBLE
    taken = np.bincount(np.concatenate(cohorts), minlength=1_000)
    assert abs(taken.mean() - 100) < 1
    assert spread(taken, 1_000, 0.1) > PLAUSIBLE  # nobody more often than others


def test_cohorts_of_a_fixed_size_are_rejected() -> None:
    assert spread([100] * 1_000, 1_000, 0.1) < CERTAIN


def test_cohorts_do_not_depend_on_what_protects_them(ledger) -> None:
    guard = aggregator(500, 25, 10, ledger)
    seen = []

    class Sees(Sum):
        def sum(self, engine, weights, number, cohort):
            seen.append(cohort.tolist())
            return super().sum(engine, weights, number, cohort)

    weights = np.zeros(10, np.float32)
    for number in (1, 2, 3):
        guard.run(Sees(np.zeros(10)), "together", weights, number)
        Nothing(guard.draw, 25).run(Sees(np.zeros(10)), "together", weights, number)
    assert seen[::2] == seen[1::2]
    assert seen[0] != seen[2]


def test_a_round_without_members_is_noise_alone_and_is_paid_for(ledger) -> None:
    world = ragged((3,) * 20)
    weights = start(world)
    guard = aggregator(20, 1, len(weights), ledger, delta=1e-3)
    crew = ThisProcess(world, PlainWork(replace(STEPS, clipping_norm=guard.policy.clipping_norm)))
    empty = [n for n in range(1, 40) if not len(guard.draw.cohort(n))]
    assert empty
    outcome = guard.run(crew, "together", weights, empty[0])
    assert (outcome.cohort, outcome.tally.members) == (0, 0)
    assert np.std(outcome.change) == pytest.approx(guard.policy.std, rel=0.3)
    assert ledger.charges("p") == 1
    assert world.population.seen == []


def test_a_sum_that_is_not_of_the_sample_is_refused(ledger) -> None:
    guard = aggregator(1_000, 100, 10, ledger)
    with pytest.raises(PrivacyError, match="Poisson sample"):
        guard.run(Sum(np.zeros(10), forgotten=1), "together", np.zeros(10, np.float32), 1)
    assert ledger.charges("p") == 1  # it is spent all the same


def test_noise_for_another_number_of_weights_is_refused(ledger) -> None:
    guard = aggregator(1_000, 100, 10, ledger)
    with pytest.raises(PrivacyError, match="coordinates"):
        guard.run(Sum(np.zeros(9)), "together", np.zeros(9, np.float32), 1)


def test_an_aggregator_that_is_not_private_tells_a_sum_that_ran_away(ledger) -> None:
    with pytest.raises(TrainingError, match="not finite"):
        Nothing(Draw("p", 1, 10, 0.5), 5).run(Sum(np.full(3, 1e300)), "x", np.zeros(3), 1)


def test_delta_and_rate_are_held_against_the_number_of_members(ledger) -> None:
    with pytest.raises(ConfigError, match="delta"):
        aggregator(1_000, 100, 10, ledger, delta=1e-3)
    with pytest.raises(ConfigError, match="pays for"):
        aggregator(1_000, 100, 10, ledger, noise_multiplier=0.5)
