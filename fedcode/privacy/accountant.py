# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What noise costs, how much of it a budget buys, and the ε that is shown.

Two accountants on purpose (docs/decisions/0002-accounting.md):

* a run is stopped by a :class:`Filter`, Rényi differential privacy at one order that is fixed when
  the budget is created: valid when later charges depend on earlier releases (Feldman & Zrnic
  2021, arXiv:2008.11193);
* people are shown :func:`epsilon`, the composed privacy loss distribution, which is tighter but
  must not decide when to stop.

All of it is for adding or removing one unit, and pessimistic: rounded towards the larger cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy import _validate

NANO = 1_000_000_000
"""Costs and budgets are integers: so many to one unit of Rényi divergence."""

ORDERS: tuple[float, ...] = (
    *(2.0, 3.0, 3.25, 3.5, 3.75, 4.0, 4.25, 4.5, 4.75, 5.0, 5.25, 5.5, 5.75, 6.0, 6.5, 7.0, 7.5),
    *(8.0, 8.5, 9.0, 9.5, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 18.0, 20.0, 22.0, 24.0, 28.0),
    *(32.0, 40.0, 48.0, 64.0, 80.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0),
)
"""Orders that a budget can be fixed at. Below 3.25, the series of a fractional order does not
converge for every noise multiplier and sampling rate; for these orders it does."""

_UNLIKELY = 1e-18
_ARITHMETIC = 1e-6  # of an ε: more than what composing by Fourier transforms was seen to lose

SMALLEST_NOISE = 0.01
"""Below it the divergences overflow, and no budget pays for them anyway."""


@lru_cache(maxsize=1 << 14)
def rdp(order: float, noise_multiplier: float, sampling_rate: float) -> float:
    """Rényi divergence of one step of the Poisson-subsampled Gaussian mechanism.

    Exact at integer orders; a little above at others, where a series of alternating signs is summed
    without them.

    Source: Mironov, Talwar & Zhang 2019, arXiv:1908.10530, section 3.3.
    """
    import dp_accounting
    from dp_accounting import rdp as renyi

    _validate.positive(noise_multiplier=noise_multiplier)
    _validate.rate(sampling_rate=sampling_rate)
    if noise_multiplier < SMALLEST_NOISE:
        raise ConfigError(
            f"noise_multiplier {noise_multiplier:g} is too small to be accounted for",
            f"choose at least {SMALLEST_NOISE}",
        )
    accountant = renyi.RdpAccountant([order])
    step = dp_accounting.GaussianDpEvent(noise_multiplier)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(sampling_rate, step))
    return max(0.0, float(accountant.rdp[0]))


def converted(order: float, divergence: float, delta: float) -> float:
    """The ε of a total Rényi divergence at one order.

    Source: Canonne, Kamath & Steinke 2020, arXiv:2004.00010, proposition 12.
    """
    from dp_accounting import rdp as renyi

    return float(renyi.compute_epsilon([order], [divergence], delta)[0])


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of one release of K noised sums, at the order of the account that pays it.

    Attributes:
        nano: the price, in nano-units of Rényi divergence, rounded up.
        order: the Rényi order.
        noise_multiplier: σ.
        sampling_rate: q.
        steps: K.
    """

    nano: int
    order: float
    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        if type(self.nano) is not int or self.nano < 1:
            raise PrivacyError(f"a cost must be an integer from 1, not {self.nano}")
        _validate.positive(order=self.order, noise_multiplier=self.noise_multiplier)
        _validate.rate(sampling_rate=self.sampling_rate)
        _validate.count(steps=self.steps)


def price(order: float, noise_multiplier: float, sampling_rate: float, steps: int) -> int:
    """What K steps cost at ``order``, in nano-units, rounded up and never nothing."""
    _validate.count(steps=steps)
    return max(1, math.ceil(NANO * steps * rdp(order, noise_multiplier, sampling_rate)))


@dataclass(frozen=True, slots=True)
class Filter:
    """A budget of Rényi divergence at one order: the hard stop.

    Attributes:
        epsilon: what the budget guarantees when all of it is spent.
        delta: of the guarantee.
        order: fixed for the life of the budget.
        budget_nano: the largest total of charges; 0 where ε buys nothing at this order.
    """

    epsilon: float
    delta: float
    order: float
    budget_nano: int

    def __post_init__(self) -> None:
        _validate.positive(epsilon=self.epsilon)
        _validate.probability(delta=self.delta)
        if type(self.budget_nano) is not int or self.budget_nano < 0:
            raise ConfigError(f"budget_nano must be an integer from 0, not {self.budget_nano}")
        if self.order not in ORDERS:
            raise ConfigError(f"{self.order} is not an order of fedcode.privacy.accountant.ORDERS")

    @classmethod
    def for_budget(cls, epsilon: float, delta: float, order: float) -> Filter:
        """The largest budget at ``order`` that stays within (ε, δ).

        Raises:
            ConfigError: not even an empty budget does at this order.
        """
        _validate.positive(epsilon=epsilon)
        _validate.probability(delta=delta)
        total = epsilon - math.log1p(-1 / order) + math.log(delta * order) / (order - 1)
        nano = math.floor(total * NANO)
        while nano > 0 and converted(order, nano / NANO, delta) > epsilon:
            nano -= 1
        if nano < 1:
            raise ConfigError(
                f"epsilon {epsilon:g} is too small for delta {delta:g} at order {order:g}",
                "choose a larger epsilon",
            )
        return cls(epsilon, delta, order, nano)

    def cost(self, noise_multiplier: float, sampling_rate: float, steps: int) -> Cost:
        """The price of one release of ``steps`` noised sums."""
        nano = price(self.order, noise_multiplier, sampling_rate, steps)
        return Cost(nano, self.order, noise_multiplier, sampling_rate, steps)

    def rounds_affordable(
        self,
        noise_multiplier: float,
        sampling_rate: float,
        steps_per_round: int,
        available_nano: int | None = None,
    ) -> int:
        """How many rounds the budget, or what is left of it, pays for."""
        available = self.budget_nano if available_nano is None else available_nano
        return available // price(self.order, noise_multiplier, sampling_rate, steps_per_round)


def epsilon(charges: Mapping[tuple[float, float], int], delta: float, records: int = 1) -> float:
    """The ε that was spent, from the composed privacy loss distribution: for showing, not stopping.

    Args:
        charges: steps by (noise multiplier, sampling rate).
        delta: of the guarantee.
        records: for somebody to whom so many units belong, each sampled and clipped by itself (an
            author of so many functions, say). In a step a binomial number of them takes part.

    Returns:
        An upper bound, within 1 % of the exact ε where that is above 0.01; may be infinite.

    Source: Doroshenko, Ghazi, Kamath, Kumar & Manurangsi 2022, arXiv:2207.04380 (connect the dots);
        Choquette-Choo, Ganesh, Steinke & Thakurta 2023, arXiv:2310.15526 (mixtures of Gaussians).
    """
    _validate.probability(delta=delta)
    _validate.count(records=records)
    for steps in charges.values():
        _validate.count(steps=steps)
    return _composed(tuple(sorted(charges.items())), delta, records) if charges else 0.0


def epsilon_of_sums(
    sums: Mapping[tuple[float, float, int], int], delta: float, colluding: int
) -> float:
    """The ε against whoever sees nothing of us but sums, in which all survivors' noises add up.

    It is what the members' signatures can show, never what is charged: the ledger charges our own
    noise alone.

    Args:
        sums: steps by (noise multiplier, sampling rate, survivors), ourselves among them.
        delta: of the guarantee.
        colluding: so many of the others tell their noise. Ours is always there.

    Returns:
        An upper bound as that of :func:`epsilon`.
    """
    if type(colluding) is not int or colluding < 0:
        raise ConfigError(f"colluding must be an integer from 0, not {colluding}")
    charges: dict[tuple[float, float], int] = {}
    for (noise_multiplier, sampling_rate, survivors), steps in sums.items():
        _validate.count(survivors=survivors)
        honest = max(1, survivors - colluding)
        key = (noise_multiplier * math.sqrt(honest), sampling_rate)
        charges[key] = charges.get(key, 0) + steps
    return epsilon(charges, delta)


@lru_cache(maxsize=1024)
def _composed(
    charges: tuple[tuple[tuple[float, float], int], ...], delta: float, records: int
) -> float:
    """Members of a federation have mostly spent the same: it is composed once."""
    grid = _grid(dict(charges), records)
    parts = [
        _loss(noise_multiplier, sampling_rate, grid, records).self_compose(steps)
        for (noise_multiplier, sampling_rate), steps in charges
    ]
    total = reduce(lambda one, other: one.compose(other), parts)
    return float(total.get_epsilon_for_delta(delta)) * (1 + _ARITHMETIC)


@lru_cache(maxsize=64)
def _loss(noise_multiplier: float, sampling_rate: float, grid: float, records: int) -> Any:
    """The privacy loss distribution of one step, on multiples of ``grid``."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    if records > 1:
        numbers, chances = _binomial(records, sampling_rate)
        return pld.from_mixture_gaussian_mechanism(
            noise_multiplier, numbers, chances, value_discretization_interval=grid
        )
    return pld.from_gaussian_mechanism(
        noise_multiplier,
        sampling_prob=sampling_rate,
        value_discretization_interval=grid,
        neighboring_relation=pld.NeighborRel.ADD_OR_REMOVE_ONE,
    )


def _binomial(records: int, rate: float) -> tuple[list[int], list[float]]:
    """How many of ``records`` a step takes, and with which chance.

    What is too unlikely to be told apart counts as if all of them were taken.
    """
    from scipy.stats import binom

    numbers = [n for n in range(records) if binom.pmf(n, records, rate) > _UNLIKELY]
    chances = [float(binom.pmf(n, records, rate)) for n in numbers]
    rest = max(0.0, 1.0 - math.fsum(chances))
    return ([*numbers, records], [*chances, rest]) if rest else (numbers, chances)


def _grid(charges: Mapping[tuple[float, float], int], records: int) -> float:
    """A grid fine enough for the losses of an average step.

    A grid of width h widens a step's loss, as if its variance were larger by about h². With h at
    most an eighth of the root mean square of the steps' deviations, that is 1/64 of the variance at
    the worst, and less than 1 % of ε. Powers of ten, so that distributions are made once.
    """
    variance = 0.0
    for (noise_multiplier, sampling_rate), steps in charges.items():
        _validate.positive(noise_multiplier=noise_multiplier)
        _validate.rate(sampling_rate=sampling_rate)
        taken = max(1.0, records * sampling_rate)
        spread = math.expm1(min((taken / noise_multiplier) ** 2, 50.0))
        variance += steps * min(1.0, (records * sampling_rate / taken) ** 2 * spread)
    deviation = math.sqrt(variance / sum(charges.values()))
    widest = 1e-3 if records == 1 else 1e-2
    return max(1e-6, min(widest, 10.0 ** math.floor(math.log10(deviation / 8))))
