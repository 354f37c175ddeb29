# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""ε against dp-accounting's own on random configurations; mixtures; sums; budgets both ways."""

import math
import random
import time

import dp_accounting
import numpy as np
import pytest
from dp_accounting import rdp as renyi
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy import integrate, stats

from fedcode.errors import ConfigError
from fedcode.privacy import accountant
from fedcode.privacy.accountant import NANO, ORDERS, Filter, epsilon, epsilon_of_sums, price
from fedcode.privacy.calibration import Plan, calibrate, most_rounds, quote, smallest_epsilon

DELTA = 1e-5


def configuration(draw):
    """A run as federations have them: (charges, δ); one in four has two kinds of steps."""
    delta = 10.0 ** -draw.randint(4, 8)
    charges = {}
    for _ in range(draw.choice([1, 1, 1, 2])):
        rate = draw.choice([10 ** draw.uniform(-3, -0.3), 1.0])
        noise = 10 ** draw.uniform(-0.15, 1.2)
        steps = draw.choice([1, draw.randint(2, 50), draw.randint(50, 2000)])
        charges[round(noise, 4), round(rate, 5)] = steps
    return charges, delta


def reference(charges, delta):
    """dp-accounting's own composition, on a grid four times finer than ours."""
    total, grid = None, accountant._grid(charges, 1) / 4
    for (noise, rate), steps in charges.items():
        one = pld.from_gaussian_mechanism(
            noise, sampling_prob=rate, value_discretization_interval=grid
        ).self_compose(steps)
        total = one if total is None else total.compose(one)
    return total.get_epsilon_for_delta(delta)


def compared(number, seed):
    """How far ε is above the reference, for random runs with 0.01 < ε < 30."""
    draw, found = random.Random(seed), []
    while len(found) < number:
        charges, delta = configuration(draw)
        mine = epsilon(charges, delta)
        if not 0.01 < mine < 30:
            continue
        found.append(mine / reference(charges, delta) - 1)
    return found


def priced(number, seed):
    """How far prices are above dp-accounting's divergence, for random rounds and orders."""
    draw, found = random.Random(seed), []
    for _ in range(number):
        ((noise, rate), steps), *_ = configuration(draw)[0].items()
        order = draw.choice(ORDERS)
        theirs = renyi.RdpAccountant([order])
        step = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
        theirs.compose(dp_accounting.SelfComposedDpEvent(step, steps))
        exact = NANO * float(theirs.rdp[0])
        found.append((price(order, noise, rate, steps) - exact) / max(exact, 100))
    return found


def test_epsilon_is_within_a_percent_of_dp_accounting_and_never_below() -> None:
    found = compared(12, seed=1) + priced(300, seed=1)
    assert min(found) >= -1e-9
    assert max(found) <= 0.01


@pytest.mark.slow
def test_epsilon_on_a_thousand_random_configurations(capsys) -> None:
    start = time.perf_counter()
    found, prices = compared(1000, seed=2), priced(1000, seed=2)
    with capsys.disabled():
        print(
            f"\nε over dp-accounting's: {min(found):+.2e} to {max(found):+.2%}, "
            f"prices: {min(prices):+.2e} to {max(prices):+.2%}, "
            f"in {time.perf_counter() - start:.0f} s"
        )
    assert min(found + prices) >= -1e-9
    assert max(found + prices) <= 0.01


# Somebody to whom several units belong.


def mixture_delta(noise, rate, records, e):
    """Exact δ(ε) of one step when all of somebody's records are removed, and when added."""
    numbers = np.arange(records + 1)
    chances = stats.binom.pmf(numbers, records, rate)

    def with_records(x):
        return float(chances @ stats.norm.pdf(x, numbers, noise))

    def without(x):
        return float(stats.norm.pdf(x, 0, noise))

    def excess(one, other):
        def positive(x):
            return max(0.0, one(x) - math.exp(e) * other(x))

        reach = 10 * noise + records
        return integrate.quad(positive, -reach, reach, limit=500, epsabs=1e-13)[0]

    return excess(with_records, without), excess(without, with_records)


@pytest.mark.parametrize(
    ("noise", "rate", "records"), [(1.0, 0.1, 3), (2.0, 0.3, 5), (4.0, 0.5, 9)]
)
def test_one_step_covers_adding_and_removing_all_of_somebodys_records(noise, rate, records) -> None:
    found = epsilon({(noise, rate): 1}, 1e-4, records)
    assert max(mixture_delta(noise, rate, records, found)) <= 1e-4
    assert max(mixture_delta(noise, rate, records, 0.97 * found)) > 1e-4


def test_without_sampling_records_are_so_much_less_noise() -> None:
    for records in (2, 3, 7):
        exact = epsilon({(5.0 / records, 1.0): 4}, DELTA)
        assert exact * (1 - 1e-6) <= epsilon({(5.0, 1.0): 4}, DELTA, records) <= 1.01 * exact


def test_a_mixture_is_far_below_what_group_privacy_says() -> None:
    charges = {(1.0, 0.01): 200}
    one, four = epsilon(charges, DELTA), epsilon(charges, DELTA, 4)
    group = 4 * epsilon(charges, DELTA * math.exp(-4 * one) / 4)
    assert one < four < 0.75 * group


def test_more_records_are_more_epsilon() -> None:
    values = [epsilon({(1.0, 0.05): 20}, DELTA, records) for records in (1, 2, 3, 5, 10)]
    assert values == sorted(set(values))
    with pytest.raises(ConfigError, match="records"):
        epsilon({(1.0, 0.05): 20}, DELTA, 0)


# Sums, in which noises add up.


def test_the_noises_of_the_honest_add_up() -> None:
    sums = {(1.0, 0.1, 9): 50}
    assert epsilon_of_sums(sums, DELTA, 0) == epsilon({(3.0, 0.1): 50}, DELTA)
    assert epsilon_of_sums(sums, DELTA, 5) == epsilon({(2.0, 0.1): 50}, DELTA)
    own = epsilon({(1.0, 0.1): 50}, DELTA)
    assert epsilon_of_sums(sums, DELTA, 8) == epsilon_of_sums(sums, DELTA, 80) == own


def test_rounds_with_dropouts_count_as_they_were() -> None:
    few, many = {(1.0, 0.1, 3): 50}, {(1.0, 0.1, 9): 50}
    both = {(1.0, 0.1, 3): 25, (1.0, 0.1, 9): 25}
    low, middle, high = (epsilon_of_sums(s, DELTA, 1) for s in (many, both, few))
    assert low < middle < high


@pytest.mark.parametrize("colluding", [-1, 1.0, True])
def test_colluding_members_are_counted_in_integers(colluding) -> None:
    with pytest.raises(ConfigError, match="colluding must be an integer from 0"):
        epsilon_of_sums({(1.0, 0.1, 3): 1}, DELTA, colluding)
    with pytest.raises(ConfigError, match="survivors"):
        epsilon_of_sums({(1.0, 0.1, 0): 1}, DELTA, 0)


# σ from ε, ε from σ, rounds from both.

PLANS = [Plan(0.1, 50), Plan(0.02, 300, 3), Plan(0.5, 7), Plan(1.0, 1)]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("cap", [1.0, 8.0])
def test_epsilon_noise_and_rounds_fit_to_one_another(plan, cap) -> None:
    (noise,) = calibrate(cap, DELTA, [plan]).noise_multipliers
    fixed = Plan(plan.sampling_rate, plan.rounds, plan.steps_per_round, 1.0, noise)
    budget = smallest_epsilon(DELTA, [fixed])
    assert 0.995 * cap < budget.epsilon <= cap
    rounds, best = most_rounds(cap, DELTA, fixed)
    assert plan.rounds <= rounds <= 1.01 * plan.rounds + 1
    assert best.rounds_affordable(noise, plan.sampling_rate, plan.steps_per_round) == rounds


def test_the_smallest_budget_pays_for_the_last_round_and_a_smaller_one_does_not() -> None:
    plan = Plan(0.1, 40, noise_multiplier=1.1)
    budget = smallest_epsilon(DELTA, [plan, Plan(0.2, 10, noise_multiplier=2.0)])
    each = (price(budget.order, 1.1, 0.1, 1), price(budget.order, 2.0, 0.2, 1))
    total = 40 * each[0] + 10 * each[1]
    assert total <= budget.budget_nano <= total + 10
    for order in ORDERS:
        least = 40 * price(order, 1.1, 0.1, 1) + 10 * price(order, 2.0, 0.2, 1)
        try:
            smaller = Filter.for_budget(0.9999 * budget.epsilon, DELTA, order)
        except ConfigError:
            continue
        assert smaller.budget_nano < least


def test_without_noise_there_is_no_question() -> None:
    with pytest.raises(ConfigError, match="no noise multiplier"):
        smallest_epsilon(DELTA, [Plan(0.1, 5)])
    with pytest.raises(ConfigError, match="no noise multiplier"):
        most_rounds(8.0, DELTA, Plan(0.1, 5))


def test_two_of_noise_rounds_and_epsilon_decide_the_third() -> None:
    first = quote(0.1, 2, DELTA, epsilon=8.0, rounds=20)
    noise = first.plan.noise_multiplier
    assert first.shown == epsilon({(noise, 0.1): 40}, DELTA) < 8.0 == first.filter.epsilon
    assert quote(0.1, 2, DELTA, epsilon=8.0, noise_multiplier=noise).plan.rounds == 20
    assert 7.9 < quote(0.1, 2, DELTA, noise_multiplier=noise, rounds=20).filter.epsilon <= 8.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epsilon": 8.0}, "decide the third"),
        ({"epsilon": 8.0, "rounds": 3, "noise_multiplier": 1.0}, "decide the third"),
        ({"epsilon": 8.0, "rounds": 0}, "rounds must be an integer from 1"),
        ({"epsilon": 0.0, "rounds": 1}, "epsilon must be a number above 0"),
        ({"epsilon": 8.0, "noise_multiplier": 0.02}, "does not pay for one round"),
        ({"rounds": 3, "noise_multiplier": math.nan}, "noise_multiplier must be"),
    ],
)
def test_a_question_that_has_no_answer_is_refused(given, message) -> None:
    with pytest.raises(ConfigError, match=message):
        quote(0.1, 1, DELTA, **given)


def test_all_three_questions_take_less_than_a_second() -> None:
    calibrate(8.0, DELTA, [Plan(0.5, 3)])  # imports
    start = time.process_time()
    (noise,) = calibrate(7.7, 2e-6, [Plan(0.03, 77)]).noise_multipliers
    fixed = Plan(0.03, 77, noise_multiplier=noise)
    smallest_epsilon(2e-6, [fixed])
    most_rounds(7.7, 2e-6, fixed)
    assert time.process_time() - start < 1.0
