# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Noises that add up: what one release has on each coordinate, and what a sum of releases has.

All of it on the integers that a secure sum adds. Right samples are accepted and wrong ones are not.
"""

import math
from functools import cache
from unittest.mock import patch

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy import stats
from test_sharding import RecurrentTask
from test_step_audit import scaled, unclipped
from toy_task import Training, initial, receipt_for, records, settings_of
from typer.testing import CliRunner

from fedcode.cli import app
from fedcode.errors import ConfigError
from fedcode.privacy.lattice import RING, Lattice
from fedcode.privacy.release import GaussianMechanism, Masked, NoisedSum
from fedcode.privacy.seeded import SeededGenerator
from fedcode.training.audit import step_audit
from fedcode.training.private import PrivateOptimizer

SIGMA, MEMBERS = 0.8, 7
PLAUSIBLE, CERTAIN = 1e-4, 1e-9
METRICS = ("loss", "units")
DATA = records([3] * 10)


class Nobody(SeededGenerator):
    """Takes no unit: what is released is noise."""

    def poisson_sample(self, population, rate):
        return np.arange(0)


class Member:
    """A member whose releases are noise alone, each time another."""

    def __init__(self, name=0):
        self.name, self.round = name, 0
        settings = settings_of(kind="gradient-sum", metrics=METRICS, clipping_norm=0.5)
        self._training = Training(
            RecurrentTask(), DATA, settings, noise_multiplier=SIGMA, generator=Nobody(0)
        )
        self.policy = self._training.policy
        self._weights = initial(self._training.network.model)

    def release(self):
        self.round += 1
        self._training.generator = Nobody(1, "member", self.name, self.round)
        receipt = receipt_for(self.policy, seeded=True)
        return self._training.trainer.train(self._weights, receipt)

    @property
    def lattice(self):
        return Lattice(((self.policy.weights, self.policy.spacing),), MEMBERS)


def variance(points, std):
    """p-value of the mean square of ``points`` against ``std`` squared, by coordinate."""
    ratio = (np.asarray(points, np.float64) ** 2).sum(0) / std**2
    below = stats.chi2.cdf(ratio, len(points))
    return 2 * np.minimum(below, 1 - below)


def shape(points, std):
    """p-value of all ``points`` against the normal distribution."""
    cdf = stats.norm(scale=std).cdf
    return stats.kstest(np.ravel(points), cdf, method="asymp").pvalue


def released(rounds=300):
    """Points of one member's releases, (rounds, coordinates), and the policy's std in points."""
    member = Member()
    found = np.array([member.release().sum.points for _ in range(rounds)])
    return found, member.policy.std / member.policy.spacing


@pytest.fixture(scope="module")
def alone():
    return released()


# One release.


def test_each_coordinate_has_the_policys_noise(alone) -> None:
    points, std = alone
    assert points.shape[1] > 200
    assert variance(points, std).min() > PLAUSIBLE / points.shape[1]
    assert shape(points, std) > PLAUSIBLE


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_another_scale_would_be_seen(alone, factor) -> None:
    points, std = alone
    assert shape(points, factor * std) < CERTAIN
    assert variance(np.reshape(points, (-1, 1)), factor * std) < CERTAIN


@pytest.mark.parametrize("size", [2, 8], ids=["the metrics", "a bias"])
def test_a_tensor_without_noise_would_be_seen(size) -> None:
    noised = GaussianMechanism.noised

    def forgets(self, clipped):
        found = noised(self, clipped)
        if clipped.values.shape == (size,):
            return NoisedSum(np.zeros_like(found.points), found.spacing)
        return found

    with patch.object(GaussianMechanism, "noised", forgets):
        points, std = released(20)
    assert (variance(points, std) < CERTAIN).sum() == size


def test_coordinates_and_rounds_have_noises_of_their_own(alone) -> None:
    points, std = alone
    across = np.corrcoef(points)[np.triu_indices(len(points), 1)]
    assert np.abs(across).max() < 6 / math.sqrt(points.shape[1])
    between = np.corrcoef(points.T)[np.triu_indices(points.shape[1], 1)]
    assert np.abs(between).max() < 6 / math.sqrt(len(points))
    assert std > 10_000, "points are fine enough for their sum to be as good as a Gaussian"


# The sum of several members' terms.


def summed(members, rounds=60):
    """The totals of masked terms, (rounds, coordinates), and the terms of each member."""
    terms = np.array([[m.release().term(m.lattice) for m in members] for _ in range(rounds)])
    totals = [total_of(row, number) for number, row in enumerate(terms)]
    return np.array(totals), np.array([[t.values for t in row] for row in terms], np.int64)


def total_of(terms, seed):
    """As whoever unmasks it finds it: masks add up to nothing modulo 2^32."""
    draw = np.random.default_rng(seed)
    masks = draw.integers(0, RING, (len(terms), len(terms[0].values)), np.uint32)
    masks[-1] = -masks[:-1].sum(axis=0, dtype=np.uint32)
    parts = [Masked(t, mask.copy()).values for t, mask in zip(terms, masks, strict=True)]
    return np.sum(parts, axis=0, dtype=np.uint32).view(np.int32).astype(np.int64)


@pytest.fixture(scope="module")
def together():
    members = [Member(name) for name in range(MEMBERS)]
    return *summed(members), members[0].policy.std / members[0].policy.spacing


def flat(points):
    return np.reshape(points, (-1, 1))


def test_the_total_has_the_noise_of_all_members(together) -> None:
    totals, terms, std = together
    np.testing.assert_array_equal(totals, terms.sum(1))
    whole = math.sqrt(MEMBERS) * std
    assert variance(totals, whole).min() > PLAUSIBLE / totals.shape[1]
    assert variance(flat(totals), whole) > PLAUSIBLE
    assert shape(totals, whole) > PLAUSIBLE


@pytest.mark.parametrize("members", [1, MEMBERS - 1, MEMBERS + 1])
def test_the_noise_of_fewer_or_more_would_be_seen(together, members) -> None:
    totals, _, std = together
    assert variance(flat(totals), math.sqrt(members) * std) < CERTAIN


def test_a_member_that_leaves_its_noise_out_would_be_seen(together) -> None:
    totals, terms, std = together
    assert variance(flat(totals - terms[:, 3]), math.sqrt(MEMBERS) * std) < CERTAIN


@pytest.mark.parametrize("by", [MEMBERS, math.sqrt(MEMBERS)])
def test_an_average_would_be_seen(together, by) -> None:
    totals, _, std = together
    assert variance(flat(np.rint(totals / by)), math.sqrt(MEMBERS) * std) < CERTAIN


def correlation(terms):
    """The largest between two members, over all rounds and coordinates."""
    each = np.swapaxes(terms, 0, 1).reshape(terms.shape[1], -1)
    return np.abs(np.corrcoef(each)[np.triu_indices(len(each), 1)]).max()


def test_members_noises_are_independent(together) -> None:
    _, terms, _ = together
    assert correlation(terms) < 5 / math.sqrt(terms[:, 0].size)


def test_noise_that_members_have_in_common_would_be_seen() -> None:
    totals, terms = summed([Member("the same") for _ in range(MEMBERS)], rounds=5)
    assert correlation(terms) == pytest.approx(1)
    std = np.std(terms)
    assert variance(flat(totals), math.sqrt(MEMBERS) * std) < CERTAIN


# A sum of rounded Gaussians is as good as a Gaussian of their variances' sum, and a little better.


@cache
def rounded(std):
    """The chances of a rounded Gaussian at -reach, ..., reach."""
    edges = np.arange(-reach(std), reach(std) + 2) - 0.5
    return np.diff(stats.norm(scale=std).cdf(edges))


def reach(std):
    return math.ceil(14 * std)


def sum_of(n, std):
    """The chances of the sum of n independent ones, by convolution."""
    found = rounded(std)
    for _ in range(n - 1):
        found = np.convolve(found, rounded(std))
    return found


def gaussian_then_noise(n, std):
    """The chances of round(g + u) at the same places.

    Here g is Gaussian with standard deviation std √n, and u the sum of n - 1 numbers that are
    uniform between -1/2 and 1/2: post-processing of g.
    """
    nodes, weights = leggauss(24)
    shifts, chances = np.zeros(1), np.ones(1)
    for _ in range(n - 1):
        shifts = np.add.outer(shifts, nodes / 2).ravel()
        chances = np.multiply.outer(chances, weights / 2).ravel()
    places = np.arange(-n * reach(std), n * reach(std) + 1)[:, None] - shifts
    below = stats.norm(scale=math.sqrt(n) * std).cdf
    return (below(places + 0.5) - below(places - 0.5)) @ chances


@pytest.mark.parametrize("n", [2, 3])
def test_a_sum_of_rounded_gaussians_is_a_gaussian_and_more_noise(n) -> None:
    """But for aliasing, which vanishes with the square of the standard deviation."""
    apart = {
        std: np.abs(sum_of(n, std) - gaussian_then_noise(n, std)).sum() / 2
        for std in (0.3, 1.0, 1.8)
    }
    assert apart[0.3] > 1e-3
    assert apart[1.0] < 10 * math.exp(-(math.pi**2))
    assert apart[1.8] < 1e-12


def divergence(chances, shift, epsilon):
    """δ at ``epsilon``: of one distribution on integers against itself, ``shift`` away."""
    there, here = np.pad(chances, (shift, 0)), np.pad(chances, (0, shift))
    return max(
        np.maximum(there - math.exp(epsilon) * here, 0).sum(),
        np.maximum(here - math.exp(epsilon) * there, 0).sum(),
    )


def gaussian_divergence(mu, epsilon):
    """δ of the Gaussian mechanism (Balle & Wang 2018, arXiv:1805.06530, theorem 8)."""
    near, far = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    return stats.norm.cdf(near) - math.exp(epsilon) * stats.norm.cdf(far)


EPSILONS = [0.0, 0.1, 0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("shift", [1, 3, 8])
def test_it_protects_as_the_gaussian_does_that_is_accounted_for(n, shift) -> None:
    std = 2.0
    chances, whole = sum_of(n, std), math.sqrt(n) * std
    for epsilon in EPSILONS:
        found = divergence(chances, shift, epsilon)
        assert found <= gaussian_divergence(shift / whole, epsilon) + 1e-12


@pytest.mark.parametrize("n", [2, 10])
def test_one_noise_more_than_there_are_would_be_seen(n) -> None:
    """Well above the rounding, whose noise helps a little."""
    std = 5.0
    chances, wrong = sum_of(n, std), math.sqrt(n + 1) * std
    assert any(
        divergence(chances, 8, epsilon) > 1.02 * gaussian_divergence(8 / wrong, epsilon)
        for epsilon in EPSILONS
    )


# The auditor.


def test_the_released_sum_shows_no_more_than_is_claimed() -> None:
    finding = step_audit(2_000, kind="gradient-sum")
    assert not finding.broken
    assert 0 < finding.found < finding.claimed < finding.detectable


def test_the_auditor_finds_clipping_that_is_none(monkeypatch) -> None:
    monkeypatch.setattr(PrivateOptimizer, "clip_and_accumulate", unclipped)
    assert step_audit(600, kind="gradient-sum").broken


def test_the_auditor_finds_too_little_noise() -> None:
    assert step_audit(1_500, kind="gradient-sum", generator=scaled(0.5)).broken


def test_the_auditor_refuses_what_the_kind_has_not() -> None:
    with pytest.raises(ConfigError, match="cannot be adaptive"):
        step_audit(2_000, kind="gradient-sum", clipping="adaptive")


def test_the_program_audits_the_kind_that_it_is_asked_for(monkeypatch) -> None:
    asked = []

    def audit(trials, **options):
        asked.append(options["kind"])
        return step_audit(trials, **options)

    monkeypatch.setattr("fedcode.training.audit.step_audit", audit)
    for arguments in ([], ["--kind", "gradient-sum"]):
        said = CliRunner().invoke(app, ["audit", "--trials", "400", *arguments])
        assert said.exit_code == 0
    assert asked == ["local-steps", "gradient-sum"]


def test_a_run_is_audited_as_it_was(tmp_path) -> None:
    said = CliRunner().invoke(app, ["audit", str(tmp_path), "--kind", "gradient-sum"])
    assert isinstance(said.exception, ConfigError)
    assert "its own kind" in str(said.exception)
