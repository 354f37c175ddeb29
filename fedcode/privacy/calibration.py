# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How much noise a task needs so that its rounds fit into its share of a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedcode.errors import ConfigError
from fedcode.privacy import _validate
from fedcode.privacy.accountant import NANO, ORDERS, Filter, converted, price
from fedcode.privacy.accountant import epsilon as epsilon_of

_SMALLEST_NOISE, _LARGEST_NOISE = 0.05, 1e5
_STRIDE = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What one task means to do with its share of a budget.

    Attributes:
        sampling_rate: q.
        rounds: T.
        steps_per_round: K.
        share: of the budget; all plans together have at most 1.
        noise_multiplier: σ where it is fixed already; calibrated where it is None.
    """

    sampling_rate: float
    rounds: int
    steps_per_round: int = 1
    share: float = 1.0
    noise_multiplier: float | None = None

    def __post_init__(self) -> None:
        _validate.rate(sampling_rate=self.sampling_rate, share=self.share)
        _validate.count(rounds=self.rounds, steps_per_round=self.steps_per_round)
        if self.noise_multiplier is not None:
            _validate.positive(noise_multiplier=self.noise_multiplier)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A budget and the noise with which every plan fits into it.

    Attributes:
        filter: (ε, δ), the order chosen, the budget.
        noise_multipliers: one per plan, in the plans' order.
    """

    filter: Filter
    noise_multipliers: tuple[float, ...]


def calibrate(epsilon: float, delta: float, plans: Sequence[Plan]) -> Calibration:
    """Chooses the order of a budget and the smallest noise multipliers for what it shall pay.

    A run planned for T rounds is never stopped before round T: the noise is calibrated against the
    integer costs that the ledger will charge. Plans with a fixed noise multiplier get the order
    that pays for most of their rounds, which may still be fewer than planned.

    Raises:
        ConfigError: the shares add up to more than 1, or (ε, δ) buys nothing.
    """
    _validate.positive("an ε of 0 lets nothing be learned", epsilon=epsilon)
    _validate.probability(delta=delta)
    shares = sum(plan.share for plan in plans)
    if not plans or shares > 1 + 1e-9:
        raise ConfigError(
            f"the plans' shares of the budget add up to {shares:g}",
            "there must be a plan, and the shares must be 1 at most",
        )
    plans = [replace(plan, share=plan.share / max(1.0, shares)) for plan in plans]
    best = _best_filter(_filters(epsilon, delta), plans)
    return Calibration(best, tuple(p.noise_multiplier or smallest_noise(best, p) for p in plans))


TYPICAL = Plan(sampling_rate=0.01, rounds=1000)
"""What a budget is made for before anybody knows what it will pay for: many small steps."""


def order_for(caps: Sequence[float], delta: float, plans: Sequence[Plan] = (TYPICAL,)) -> float:
    """The order of a budget for good: the best one for the largest of ``caps``.

    A low order is best for much noise at a large ε, and lets a small cap buy nothing; so it is the
    best one at which every cap buys something.

    Args:
        caps: every ε that must buy something.
        delta: of all of them.
        plans: what the budget is to pay for.

    Raises:
        ConfigError: a cap buys nothing at any order.
    """
    best = calibrate(max(caps), delta, plans).filter.order
    every = {order: _buys(caps, delta, order) for order in ORDERS}
    fit = [order for order, buys in every.items() if buys]
    if not fit:
        raise ConfigError(
            f"epsilon {min(caps):g} is too small for delta {delta:g}", "choose a larger epsilon"
        )
    return min(fit, key=lambda order: (abs(order - best), order))


def _buys(caps: Sequence[float], delta: float, order: float) -> bool:
    try:
        return all(Filter.for_budget(cap, delta, order).budget_nano for cap in caps)
    except ConfigError:
        return False


def smallest_epsilon(delta: float, plans: Sequence[Plan]) -> Filter:
    """The smallest budget that pays for every round of plans whose noise is given.

    Raises:
        ConfigError: a plan's noise is not given.
    """
    if not plans or any(plan.noise_multiplier is None for plan in plans):
        raise ConfigError("a plan has no noise multiplier", "give it, or ask for it instead")
    found = []
    for order in ORDERS:
        total = sum(p.rounds * _each(order, p) for p in plans)
        least = converted(order, total / NANO, delta)
        if not math.isfinite(least):
            continue
        budget = Filter.for_budget(math.nextafter(least, math.inf), delta, order)
        while budget.budget_nano < total:  # the conversion rounds the other way
            budget = Filter.for_budget(budget.epsilon * (1 + 1e-12), delta, order)
        found.append(budget)
    return min(found, key=lambda budget: budget.epsilon)


def most_rounds(epsilon: float, delta: float, plan: Plan) -> tuple[int, Filter]:
    """How many rounds of a plan whose noise is given a budget pays for, and its best order.

    The plan's own number of rounds and its share do not matter.

    Raises:
        ConfigError: the plan's noise is not given, or (ε, δ) buys nothing.
    """
    if plan.noise_multiplier is None:
        raise ConfigError("the plan has no noise multiplier", "give it, or ask for it instead")
    rounds = {b: b.budget_nano // _each(b.order, plan) for b in _filters(epsilon, delta)}
    best = max(rounds, key=rounds.__getitem__)
    return rounds[best], best


def smallest_noise(budget: Filter, plan: Plan, available_nano: int | None = None) -> float:
    """The smallest noise multiplier, to four decimals, with which all of T rounds are paid.

    Args:
        budget: the filter that will stop the run.
        plan: the task's rounds, steps and sampling rate.
        available_nano: what it may spend; its share of the whole budget if None.

    Raises:
        ConfigError: no amount of noise is enough.
    """
    available = _share(budget, plan) if available_nano is None else available_nano

    def enough(noise: float) -> bool:
        each = price(budget.order, noise, plan.sampling_rate, plan.steps_per_round)
        return plan.rounds * each <= available

    low = high = _SMALLEST_NOISE
    while not enough(high):
        low, high = high, 2 * high
        if high > _LARGEST_NOISE:
            raise ConfigError(
                f"no noise is enough for {plan.rounds} rounds at epsilon {budget.epsilon:g}",
                "choose fewer rounds, a smaller sampling_rate or a larger epsilon",
            )
    while high - low > 2e-5 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return math.ceil(high * 10_000) / 10_000


@dataclass(frozen=True, slots=True)
class Quote:
    """What a plan is, once two of its noise, its rounds and its ε have decided the third.

    Attributes:
        plan: with its noise and rounds.
        filter: (ε, δ) and the order: what stops the run.
        shown: ε of all rounds by privacy loss distribution; the filter costs the difference.
    """

    plan: Plan
    filter: Filter
    shown: float


def quote(
    sampling_rate: float,
    steps_per_round: int,
    delta: float,
    *,
    epsilon: float | None = None,
    noise_multiplier: float | None = None,
    rounds: int | None = None,
) -> Quote:
    """Finds the one of ε, σ and T that is None.

    Raises:
        ConfigError: not exactly one of them is None, or there is none that fits.
    """
    if [epsilon, noise_multiplier, rounds].count(None) != 1:
        raise ConfigError("two of epsilon, noise and rounds decide the third", "give two of them")
    plan = Plan(
        sampling_rate, 1 if rounds is None else rounds, steps_per_round, 1.0, noise_multiplier
    )
    if epsilon is None:
        filter_ = smallest_epsilon(delta, [plan])
    elif rounds is None:
        affordable, filter_ = most_rounds(epsilon, delta, plan)
        if not affordable:
            raise ConfigError(
                f"epsilon {epsilon:g} does not pay for one round", "choose more noise"
            )
        plan = replace(plan, rounds=affordable)
    else:
        found = calibrate(epsilon, delta, [plan])
        filter_, plan = found.filter, replace(plan, noise_multiplier=found.noise_multipliers[0])
    noise = plan.noise_multiplier or 0.0
    shown = epsilon_of({(noise, sampling_rate): plan.rounds * steps_per_round}, delta)
    return Quote(plan, filter_, shown)


def _filters(epsilon: float, delta: float) -> list[Filter]:
    filters = []
    for order in ORDERS:
        try:
            filters.append(Filter.for_budget(epsilon, delta, order))
        except ConfigError:  # small orders convert to no budget at all
            continue
    if not filters:
        raise ConfigError(
            f"epsilon {epsilon:g} is too small for delta {delta:g}", "choose a larger epsilon"
        )
    return filters


def _best_filter(filters: Sequence[Filter], plans: Sequence[Plan]) -> Filter:
    # The score has one peak over the orders: look at every fifth, then around the best one.
    scores: dict[int, tuple[float, ...]] = {}

    def score(i: int) -> tuple[float, ...]:
        if i not in scores:
            scores[i] = _score(filters[i], plans)
        return scores[i]

    last = len(filters) - 1
    peak = max([*range(0, last, _STRIDE), last], key=score)
    near = range(max(0, peak - _STRIDE + 1), min(last, peak + _STRIDE - 1) + 1)
    return filters[max(near, key=score)]


def _score(budget: Filter, plans: Sequence[Plan]) -> tuple[float, ...]:
    """Larger is better: first the fixed plans' rounds, then little noise, then rounds to spare."""
    noise, paid = 0.0, math.inf
    for plan in plans:
        if plan.noise_multiplier is None:
            try:
                noise += math.log(smallest_noise(budget, plan))
            except ConfigError:
                return (-math.inf, -math.inf, -math.inf)
        else:
            paid = min(paid, _share(budget, plan) / _each(budget.order, plan) / plan.rounds)
    return (min(1.0, paid), -noise, paid)


def _share(budget: Filter, plan: Plan) -> int:
    return math.floor(plan.share * budget.budget_nano)


def _each(order: float, plan: Plan) -> int:
    """The price of one round of a plan whose noise is given."""
    noise = plan.noise_multiplier or 0.0
    return price(order, noise, plan.sampling_rate, plan.steps_per_round)
