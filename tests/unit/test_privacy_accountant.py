# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Budgets, prices and the noise that a plan needs."""

import dataclasses
import math
import subprocess
import sys
import time

import pytest

from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy.accountant import NANO, ORDERS, Cost, Filter, converted, epsilon, price, rdp
from fedcode.privacy.calibration import Plan, calibrate, smallest_noise

DELTA = 1e-5


@pytest.mark.parametrize("order", [3.0, 4.0, 8.0, 64.0])
def test_a_budget_is_the_largest_that_converts_to_its_epsilon(order) -> None:
    budget = Filter.for_budget(8.0, DELTA, order)
    assert converted(order, budget.budget_nano / NANO, DELTA) <= 8.0
    assert converted(order, (budget.budget_nano + 10) / NANO, DELTA) > 8.0


def test_an_order_that_buys_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="too small for delta"):
        Filter.for_budget(0.5, DELTA, 2.0)


def test_an_order_off_the_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an order"):
        Filter.for_budget(8.0, DELTA, 2.75)


def test_a_price_is_rounded_up_and_never_nothing() -> None:
    exact = NANO * 7 * rdp(4.0, 1.1, 0.1)
    assert price(4.0, 1.1, 0.1, 7) == math.ceil(exact)
    assert price(4.0, 1e6, 1e-6, 1) == 1


def test_a_price_is_of_the_whole_round_not_of_each_step() -> None:
    assert price(4.0, 1e4, 0.5, 1000) < 1000 * price(4.0, 1e4, 0.5, 1)


@pytest.mark.parametrize("nano", [0, -1, 1.0, math.nan, math.inf, True, "1"])
def test_a_cost_that_is_no_positive_integer_is_refused(nano) -> None:
    with pytest.raises(PrivacyError, match="cost must be an integer from 1"):
        Cost(nano, 4.0, 1.0, 0.1, 1)


def test_noise_too_small_to_be_accounted_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="too small to be accounted for"):
        price(512.0, 0.009, 1.0, 1)


def charged(budget, plan, noise):
    """What T rounds cost, one integer after the other."""
    each = budget.cost(noise, plan.sampling_rate, plan.steps_per_round)
    return sum(each.nano for _ in range(plan.rounds))


PLANS = [
    (8.0, [Plan(0.1, 50)]),
    (1.0, [Plan(0.01, 100, steps_per_round=10)]),
    (3.0, [Plan(0.02, 1000)]),
    (20.0, [Plan(0.2, 60)]),
    (0.1, [Plan(0.01, 300)]),
    (8.0, [Plan(0.1, 30, 2, 0.6), Plan(0.05, 40, 1, 0.3), Plan(1.0, 1, 1, 0.1)]),
    (8.0, [Plan(0.1, 20, 1, 1 / 3), Plan(0.2, 20, 1, 1 / 3), Plan(0.3, 20, 1, 1 / 3)]),
]


@pytest.mark.parametrize(("cap", "plans"), PLANS)
def test_a_calibrated_run_reaches_its_last_round_with_hardly_less_noise_than_needed(
    cap, plans
) -> None:
    found = calibrate(cap, DELTA, plans)
    total = 0
    for plan, noise in zip(plans, found.noise_multipliers, strict=True):
        share = plan.share * found.filter.budget_nano
        assert charged(found.filter, plan, noise) <= share
        assert charged(found.filter, plan, noise * 0.999 - 1e-4) > share
        total += charged(found.filter, plan, noise)
    assert total <= found.filter.budget_nano
    spent = {}
    for plan, noise in zip(plans, found.noise_multipliers, strict=True):
        key = (noise, plan.sampling_rate)
        spent[key] = spent.get(key, 0) + plan.rounds * plan.steps_per_round
    assert 0.8 * cap < epsilon(spent, DELTA) < cap


@pytest.mark.parametrize(("cap", "plans"), PLANS[:5])
def test_no_other_order_needs_less_noise(cap, plans) -> None:
    found = calibrate(cap, DELTA, plans)
    others = []
    for order in ORDERS:
        try:
            others.append(smallest_noise(Filter.for_budget(cap, DELTA, order), plans[0]))
        except ConfigError:
            continue
    assert found.noise_multipliers == (min(others),)


def test_calibration_takes_less_than_a_second() -> None:
    calibrate(8.0, DELTA, [Plan(0.5, 3)])  # imports
    rdp.cache_clear()
    start = time.process_time()
    calibrate(7.9, 3e-6, PLANS[5][1])
    assert time.process_time() - start < 1.0


def test_given_noise_gets_the_order_that_pays_for_most_rounds() -> None:
    found = calibrate(8.0, DELTA, [Plan(0.1, 10_000, noise_multiplier=0.9)])
    assert found.noise_multipliers == (0.9,)
    rounds = {}
    for order in ORDERS:
        try:
            rounds[order] = Filter.for_budget(8.0, DELTA, order).rounds_affordable(0.9, 0.1, 1)
        except ConfigError:
            continue
    assert rounds[found.filter.order] == max(rounds.values())


def test_given_and_calibrated_noise_share_a_budget() -> None:
    plans = [Plan(0.1, 20, 1, 0.5, noise_multiplier=1.5), Plan(0.05, 40, 1, 0.5)]
    found = calibrate(8.0, DELTA, plans)
    assert found.noise_multipliers[0] == 1.5
    for plan, noise in zip(plans, found.noise_multipliers, strict=True):
        assert charged(found.filter, plan, noise) <= 0.5 * found.filter.budget_nano


def test_affordable_rounds_are_those_that_fit() -> None:
    budget = Filter.for_budget(8.0, DELTA, 4.0)
    each = budget.cost(1.0, 0.1, 3).nano
    rounds = budget.rounds_affordable(1.0, 0.1, 3)
    assert rounds * each <= budget.budget_nano < (rounds + 1) * each
    assert budget.rounds_affordable(1.0, 0.1, 3, available_nano=5 * each - 1) == 4


def test_noise_for_what_is_left_of_a_budget() -> None:
    budget = Filter.for_budget(8.0, DELTA, 4.0)
    plan = Plan(0.1, 10)
    left = budget.budget_nano // 3
    noise = smallest_noise(budget, plan, left)
    assert charged(budget, plan, noise) <= left
    assert noise > smallest_noise(budget, plan)


@pytest.mark.parametrize(
    ("cap", "delta", "plans", "message"),
    [
        (0.0, DELTA, [Plan(0.1, 1)], "epsilon must be a number above 0"),
        (math.nan, DELTA, [Plan(0.1, 1)], "epsilon must be a number above 0"),
        (8.0, 1.0, [Plan(0.1, 1)], "delta must be between 0 and 1"),
        (8.0, DELTA, [], "shares of the budget add up to 0"),
        (8.0, DELTA, [Plan(0.1, 1, 1, 0.6)] * 2, "shares of the budget add up to 1.2"),
        (1e-4, DELTA, [Plan(0.1, 1)], "epsilon 0.0001 is too small"),
        (1.0, DELTA, [Plan(0.5, 10**10)], "no noise is enough"),
    ],
)
def test_what_cannot_be_calibrated_is_said_with_a_hint(cap, delta, plans, message) -> None:
    with pytest.raises(ConfigError, match=message):
        calibrate(cap, delta, plans)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sampling_rate", 0.0),
        ("rounds", 0),
        ("steps_per_round", 0),
        ("share", 1.1),
        ("noise_multiplier", 0.0),
    ],
)
def test_a_plan_that_cannot_be_is_refused(field, value) -> None:
    with pytest.raises(ConfigError, match=field):
        dataclasses.replace(Plan(0.1, 1), **{field: value})


def test_messages_do_not_load_the_accounting_library_or_torch() -> None:
    code = (
        "import sys, fedcode.privacy.release, fedcode.privacy.ledger, fedcode.privacy.calibration\n"
        "print(sorted({'torch', 'opacus', 'dp_accounting', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
