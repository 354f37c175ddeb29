# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""ε against values that others have published or that can be computed exactly."""

import itertools
import logging
import math

import numpy as np
import pytest
from scipy import optimize, stats

from fedcode.errors import ConfigError
from fedcode.privacy import accountant
from fedcode.privacy.accountant import ORDERS, converted, epsilon, rdp

OPACUS_ORDERS = [o for o in [1 + x / 10 for x in range(1, 100)] + list(range(12, 64)) if o >= 3.25]


def rdp_epsilon(charges, delta, orders=ORDERS):
    """The best ε over all orders of Rényi accounting."""
    totals = {o: sum(k * rdp(o, s, q) for (s, q), k in charges.items()) for o in orders}
    return min(converted(order, total, delta) for order, total in totals.items())


def gaussian_epsilon(mu, delta):
    """Exact ε of μ-Gaussian privacy (Balle & Wang 2018, arXiv:1805.06530, theorem 8)."""

    def excess(e):
        upper = stats.norm.cdf(mu / 2 - e / mu)
        lower = math.exp(e + stats.norm.logcdf(-mu / 2 - e / mu))
        return upper - lower - delta

    return optimize.brentq(excess, 0.0, 200.0, xtol=1e-12)


def one_step_delta(noise, rate, e):
    """Exact δ(ε) of one subsampled step when a unit is removed, and when one is added.

    P = (1-q) N(0, σ²) + q N(1, σ²) with the unit, Q = N(0, σ²) without; the likelihood ratio P/Q
    grows with the output, so that the worst events are half-lines.
    """

    def threshold(ratio):
        return noise**2 * math.log((ratio - (1 - rate)) / rate) + 0.5

    def with_unit(x):
        return (1 - rate) * stats.norm.sf(x, 0, noise) + rate * stats.norm.sf(x, 1, noise)

    x = threshold(math.exp(e))
    removed = with_unit(x) - math.exp(e) * stats.norm.sf(x, 0, noise)
    added = 0.0
    if math.exp(-e) > 1 - rate:
        x = threshold(math.exp(-e))
        added = stats.norm.cdf(x, 0, noise) - math.exp(e) * (1 - with_unit(x))
    return removed, added


def test_opacus_golden_value() -> None:
    """opacus/tests/accountants_test.py: σ = 1.5, q = 0.04, 90 epochs, δ = 1e-5."""
    charges = {(1.5, 0.04): 90 * 25}
    # Opacus' best order is 3.9; dp-accounting's bound there is above the exact value by a trifle.
    found = rdp_epsilon(charges, 1e-5, OPACUS_ORDERS)
    assert 7.32911117143 <= found <= 7.32911117143 * 1.0001
    assert 0.9 * 7.32911117143 < epsilon(charges, 1e-5) < 7.32911117143


@pytest.mark.parametrize(
    ("order", "published"), [(5.0, 2.18075656e-03), (50.0, 2.38460375e-02), (100.0, 1.67416308e02)]
)
def test_dp_accounting_golden_divergences(order, published) -> None:
    """rdp_privacy_accountant_test.py: 50 steps of σ = 2.5, q = 0.01."""
    assert 50 * rdp(order, 2.5, 0.01) == pytest.approx(published, rel=1e-4)


def test_dp_accounting_golden_subsampled_pld() -> None:
    """pld_privacy_accountant_test.py: three steps of σ = 0.5, q = 0.2 are (1, 0.15594)-private."""
    assert epsilon({(0.5, 0.2): 3}, 0.15594) == pytest.approx(1.0, abs=1e-3)


def test_dp_accounting_golden_gaussian_pld() -> None:
    """pld_privacy_accountant_test.py: three Gaussians of σ = √3 are (1, 0.126936)-private."""
    assert epsilon({(math.sqrt(3), 1.0): 3}, 0.126936) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("order", [2.0, 3.25, 8.0, 64.0])
def test_divergence_of_the_plain_gaussian_is_exact(order) -> None:
    assert rdp(order, 1.7, 1.0) == pytest.approx(order / (2 * 1.7**2), rel=1e-12)


@pytest.mark.parametrize(
    ("noise", "steps", "delta"),
    [(0.6, 1, 1e-5), (1.0, 1, 1e-6), (10.0, 1, 1e-5), (20.0, 100, 1e-5), (5.0, 1000, 1e-7),
     (100.0, 10, 1e-8), (3.0, 3, 1e-3)],
)  # fmt: skip
def test_the_plain_gaussian_is_never_below_the_exact_value_and_within_a_percent(
    noise, steps, delta
) -> None:
    exact = gaussian_epsilon(math.sqrt(steps) / noise, delta)
    found = epsilon({(noise, 1.0): steps}, delta)
    assert exact <= found <= 1.01 * exact


def test_gaussians_of_different_noise_compose_exactly() -> None:
    charges = {(2.0, 1.0): 3, (5.0, 1.0): 20, (1.5, 1.0): 1}
    mu = math.sqrt(sum(k / s**2 for (s, _), k in charges.items()))
    exact = gaussian_epsilon(mu, 1e-6)
    assert exact <= epsilon(charges, 1e-6) <= 1.01 * exact


@pytest.mark.parametrize(("noise", "rate"), [(0.7, 0.1), (1.0, 0.01), (1.0, 0.5), (2.0, 0.3)])
def test_one_subsampled_step_covers_adding_and_removing_a_unit(noise, rate) -> None:
    for delta in (1e-3, 1e-5):
        found = epsilon({(noise, rate): 1}, delta)
        removed, added = one_step_delta(noise, rate, found)
        assert max(removed, added) <= delta, "ε is below the exact value"
        removed, added = one_step_delta(noise, rate, 0.99 * found)
        assert max(removed, added) > delta, "ε is more than 1 % above the exact value"


def test_adjacency_is_not_to_replace_a_unit() -> None:
    replaced = gaussian_epsilon(2 / 3.0, 1e-5)  # replacing moves the sum by 2 C
    assert epsilon({(3.0, 1.0): 1}, 1e-5) < 0.6 * replaced


CONFIGURATIONS = [
    {(1.0, 0.01): 1000},
    {(0.8, 0.1): 50},
    {(5.0, 0.01): 3000},
    {(20.0, 0.1): 500},
    {(2.0, 0.3): 7},
    {(0.9, 0.1): 40, (1.3, 0.05): 60, (3.0, 1.0): 1},
]


@pytest.mark.parametrize("charges", CONFIGURATIONS)
def test_the_shown_epsilon_is_at_most_the_one_of_renyi_accounting(charges) -> None:
    assert epsilon(charges, 1e-5) <= rdp_epsilon(charges, 1e-5)


@pytest.mark.parametrize("charges", CONFIGURATIONS)
def test_a_tenfold_finer_grid_changes_little(charges, monkeypatch) -> None:
    found = epsilon(charges, 1e-5)
    grid = accountant._grid(charges, 1) / 10
    monkeypatch.setattr(accountant, "_grid", lambda *_: grid)
    finer = epsilon(charges, 1e-5)
    assert finer * (1 - 1e-9) <= found <= 1.005 * finer


def test_epsilon_grows_with_every_charge() -> None:
    values = [epsilon({(1.0, 0.1): steps}, 1e-5) for steps in (1, 2, 10, 50)]
    values.append(epsilon({(1.0, 0.1): 50, (4.0, 0.1): 5}, 1e-5))
    assert values == sorted(set(values))


def test_nothing_charged_is_nothing_spent() -> None:
    assert epsilon({}, 1e-5) == 0.0


@pytest.mark.parametrize(
    ("charges", "delta", "message"),
    [
        ({(1.0, 0.1): 0}, 1e-5, "steps"),
        ({(1.0, 0.1): -5}, 1e-5, "steps"),
        ({(0.0, 0.1): 1}, 1e-5, "noise_multiplier"),
        ({(math.inf, 0.1): 1}, 1e-5, "noise_multiplier"),
        ({(1.0, 0.0): 1}, 1e-5, "sampling_rate"),
        ({(1.0, 0.1): 1}, 0.0, "delta"),
    ],
)
def test_charges_that_cannot_be_are_refused(charges, delta, message) -> None:
    with pytest.raises(ConfigError, match=message):
        epsilon(charges, delta)


def test_every_order_converges_without_a_word(caplog) -> None:
    noises = np.geomspace(accountant.SMALLEST_NOISE, 1e5, 9)
    rates = [1e-6, 1e-3, 0.04, 0.3, 0.45, 0.499, 0.5, 0.501, 0.6, 0.9, 0.999]
    with caplog.at_level(logging.DEBUG):
        for order, noise, rate in itertools.product(ORDERS[:25], noises, rates):
            assert math.isfinite(rdp(order, float(noise), rate))
    assert not caplog.records
