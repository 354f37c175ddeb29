# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The noise has the distribution that the accounting assumes, and the tests can tell when not.

Every check is run on right samples, which it must accept, and on wrong ones, which it must reject.
"""

import math

import numpy as np
import pytest
from scipy import stats

from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.seeded import SeededGenerator

N = 400_000
STD = 3.0
CERTAIN = 1e-6  # right samples are above it with every seed tried; wrong ones are far below
PLAUSIBLE = 1e-3


def ks(samples: np.ndarray) -> float:
    """p-value of the samples against the normal distribution with standard deviation STD."""
    return float(stats.kstest(samples, stats.norm(scale=STD).cdf, method="asymp").pvalue)


def variance(samples: np.ndarray) -> float:
    """p-value of the samples' mean square against STD squared, two-sided."""
    ratio = float(np.sum((samples / STD) ** 2))
    below = stats.chi2.cdf(ratio, len(samples))
    return float(2 * min(below, 1 - below))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gaussian_noise_is_gaussian_with_its_scale(seed) -> None:
    samples = SeededGenerator(seed, "gaussian").gaussian(N, STD)
    assert ks(samples) > PLAUSIBLE
    assert variance(samples) > PLAUSIBLE
    assert abs(stats.skew(samples)) < 5 * math.sqrt(6 / N)
    assert abs(stats.kurtosis(samples)) < 5 * math.sqrt(24 / N)


@pytest.mark.parametrize("factor", [0.5, 0.95, 0.98, 1.02, 1.05, 2.0])
def test_a_wrong_scale_is_rejected(factor) -> None:
    samples = SeededGenerator(1, "wrong scale").gaussian(N, STD * factor)
    assert ks(samples) < CERTAIN
    assert variance(samples) < CERTAIN


def test_no_noise_is_rejected() -> None:
    assert ks(np.zeros(N)) < CERTAIN
    assert variance(np.zeros(N)) < CERTAIN


@pytest.mark.parametrize(
    "wrong",
    [
        lambda u: stats.laplace(scale=STD / math.sqrt(2)).ppf(u),
        lambda u: stats.uniform(-STD * math.sqrt(3), 2 * STD * math.sqrt(3)).ppf(u),
        lambda u: np.round(stats.norm(scale=STD).ppf(u)),
        lambda u: stats.norm(loc=0.02 * STD, scale=STD).ppf(u),
        lambda u: np.abs(stats.norm(scale=STD).ppf(u)),
    ],
    ids=["laplace", "uniform", "rounded", "shifted", "one-sided"],
)
def test_another_distribution_of_equal_variance_is_rejected(wrong) -> None:
    uniform = np.clip(SeededGenerator(1, "wrong shape").uniform(N), 1e-12, 1 - 1e-12)
    assert ks(wrong(uniform)) < CERTAIN


def test_the_two_halves_of_box_muller_are_independent() -> None:
    pairs = SeededGenerator(5, "pairs").gaussian(1 << 16, 1.0).reshape(2, -1)
    assert abs(stats.pearsonr(*pairs).statistic) < 5 / math.sqrt(1 << 15)
    assert abs(stats.pearsonr(*pairs**2).statistic) < 5 / math.sqrt(1 << 15)
    assert abs(stats.pearsonr(*np.repeat(pairs[:1], 2, axis=0)).statistic) > 0.99


def test_tails_are_neither_cut_nor_fat() -> None:
    samples = np.abs(SeededGenerator(6, "tails").gaussian(5_000_000, 1.0))
    for bound in (3.0, 4.0, 4.5):
        expected = 2 * stats.norm.sf(bound) * len(samples)
        assert abs(np.sum(samples > bound) - expected) < 5 * math.sqrt(expected)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_uniform_fills_its_cells_evenly(seed) -> None:
    samples = SeededGenerator(seed, "uniform").uniform(N)
    assert samples.min() >= 0
    assert samples.max() < 1
    assert chi_square(samples) > PLAUSIBLE
    assert chi_square(samples * 0.99) < CERTAIN
    assert chi_square(samples**1.05) < CERTAIN


def chi_square(samples: np.ndarray) -> float:
    """p-value of the counts in 1,000 equal cells."""
    return float(stats.chisquare(np.histogram(samples, 1000, (0, 1))[0]).pvalue)


def test_uniform_uses_all_53_bits() -> None:
    integers = (SeededGenerator(1, "bits").uniform(20_000) * 2.0**53).astype(np.uint64)
    for bit in range(53):
        ones = int(np.sum((integers >> np.uint64(bit)) & np.uint64(1)))
        assert abs(ones - 10_000) < 5 * math.sqrt(5_000), f"bit {bit}"


POPULATION, RATE, STEPS = 400, 0.1, 2_000


def batch_sizes(batches: list[np.ndarray]) -> float:
    """p-value of the batch sizes' spread against the binomial one (two-sided)."""
    sizes = np.array([len(b) for b in batches])
    spread = np.sum((sizes - POPULATION * RATE) ** 2) / (POPULATION * RATE * (1 - RATE))
    below = stats.chi2.cdf(spread, len(sizes))
    return float(2 * min(below, 1 - below))


def inclusions(batches: list[np.ndarray]) -> float:
    """p-value of how often each index is taken against the binomial counts."""
    counts = np.bincount(np.concatenate(batches), minlength=POPULATION)
    spread = np.sum((counts - STEPS * RATE) ** 2) / (STEPS * RATE * (1 - RATE))
    below = stats.chi2.cdf(spread, POPULATION)
    return float(2 * min(below, 1 - below))


def test_poisson_sampling_takes_each_index_independently() -> None:
    generator = SeededGenerator(1, "poisson")
    batches = [generator.poisson_sample(POPULATION, RATE) for _ in range(STEPS)]
    assert batch_sizes(batches) > PLAUSIBLE
    assert inclusions(batches) > PLAUSIBLE


def test_samplers_that_are_not_poisson_are_rejected() -> None:
    generator = SeededGenerator(1, "not poisson")
    size = int(POPULATION * RATE)

    def shuffled() -> np.ndarray:
        return np.argsort(generator.uniform(POPULATION))

    fixed = [shuffled()[:size] for _ in range(STEPS)]
    assert batch_sizes(fixed) < CERTAIN
    epochs = [b for _ in range(STEPS // 10) for b in np.split(shuffled(), 10)]
    assert batch_sizes(epochs) < CERTAIN
    assert inclusions(epochs) < CERTAIN
    more = [generator.poisson_sample(POPULATION, RATE * 1.05) for _ in range(STEPS)]
    assert inclusions(more) < CERTAIN


def test_streams_of_other_labels_are_uncorrelated() -> None:
    streams = np.stack([SeededGenerator(1, "o", r).gaussian(20_000, 1.0) for r in range(12)])
    correlations = np.corrcoef(streams)[np.triu_indices(12, 1)]
    assert np.abs(correlations).max() < 5 / math.sqrt(20_000)


def cells(samples: np.ndarray, std: float) -> np.ndarray:
    """How many samples fall into each of 40 ranges of integers, about as many into each."""
    edges = np.unique(np.floor(stats.norm(scale=std).ppf(np.linspace(0, 1, 41)[1:-1]))) + 0.5
    return np.bincount(np.searchsorted(edges, samples), minlength=len(edges) + 1)


def exact(samples: np.ndarray, std: float) -> float:
    """p-value of integers against the normal distribution rounded to integers."""
    edges = np.unique(np.floor(stats.norm(scale=std).ppf(np.linspace(0, 1, 41)[1:-1]))) + 0.5
    chances = np.diff(stats.norm(scale=std).cdf(np.concatenate([[-np.inf], edges, [np.inf]])))
    return float(stats.chisquare(cells(samples, std), chances * len(samples)).pvalue)


@pytest.mark.parametrize("std", [0.4, 1.3, 30.0, 2.0**18])
def test_lattice_noise_is_a_rounded_gaussian(std) -> None:
    samples = SeededGenerator(1, "lattice").rounded_gaussian(N, std)
    assert samples.dtype == np.int64
    np.testing.assert_array_equal(
        samples, np.rint(SeededGenerator(1, "lattice").gaussian(N, std)).astype(np.int64)
    )
    assert exact(samples, std) > PLAUSIBLE
    noise = SeededGenerator(1, "lattice").gaussian(N, std)
    assert exact(np.rint(0.98 * noise), std) < CERTAIN
    assert exact(np.rint(noise + 0.05 * std), std) < CERTAIN
    if std < 100:  # on a finer lattice nobody can tell
        assert exact(np.trunc(noise), std) < CERTAIN


@pytest.mark.parametrize("std", [3.0, 40.0])
def test_lattice_noise_is_like_the_exact_sampler_of_opendp(std) -> None:
    """Where the lattice is fine the discrete and the rounded Gaussian are the same."""
    import opendp.prelude as dp

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64"), size=60_000), dp.l2_distance(T=float)
    oracle = np.array((space >> dp.m.then_gaussian(std))([0] * 60_000))

    def alike(samples: np.ndarray) -> float:
        table = np.stack([cells(samples, std), cells(oracle, std)])
        return float(stats.chi2_contingency(table[:, table.sum(0) > 0]).pvalue)

    assert alike(SecureGenerator().rounded_gaussian(60_000, std)) > CERTAIN
    for factor in (0.94, 1.06):
        assert alike(SecureGenerator().rounded_gaussian(60_000, factor * std)) < CERTAIN
