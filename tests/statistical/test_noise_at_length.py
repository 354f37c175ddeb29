# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A hundred million samples on the lattice; and keystreams that no two processes share."""

import math
import multiprocessing
import os
import time

import numpy as np
import pytest
from scipy import stats

from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import LATTICE

BINS, CHUNK = 1000, 2_000_000
MISTAKE = 1e-6  # the chance that right samples are rejected


class Sample:
    """Counts in cells that are equally likely, and the sum of squares: all that is kept of many.

    The lattice is 2^-18 of the standard deviation wide: cells are cut between its points.
    """

    def __init__(self) -> None:
        inner = stats.norm.ppf(np.arange(1, BINS) / BINS) * LATTICE
        self.edges = np.floor(inner) + 0.5
        self.cells = stats.norm.cdf(self.edges / LATTICE)
        self.counts = np.zeros(BINS, np.int64)
        self.squares = 0.0

    def add(self, points: np.ndarray) -> None:
        self.counts += np.bincount(np.searchsorted(self.edges, points), minlength=BINS)
        self.squares += float(np.square(points / LATTICE).sum())

    @property
    def size(self) -> int:
        return int(self.counts.sum())

    def distance(self) -> float:
        """Kolmogorov–Smirnov's, on the cells."""
        return float(np.abs(np.cumsum(self.counts)[:-1] / self.size - self.cells).max())

    def is_gaussian(self) -> bool:
        return self.distance() < math.sqrt(-math.log(MISTAKE / 2) / 2 / self.size)

    def has_its_variance(self) -> bool:
        below = stats.chi2.cdf(self.squares, self.size)
        return bool(2 * min(below, 1 - below) > MISTAKE)


def drawn(size, factor=1.0):
    sample, generator = Sample(), SecureGenerator()
    for start in range(0, size, CHUNK):
        number = min(CHUNK, size - start)
        sample.add(generator.rounded_gaussian(number, factor * LATTICE))
    return sample


def test_a_million_samples_are_gaussian_and_of_their_scale() -> None:
    sample = drawn(1_000_000)
    assert sample.is_gaussian()
    assert sample.has_its_variance()


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_scale_that_is_wrong_by_a_twentieth_is_rejected(factor) -> None:
    sample = drawn(1_000_000, factor)
    assert not sample.is_gaussian()
    assert not sample.has_its_variance()


@pytest.mark.slow
def test_a_hundred_million_samples(capsys) -> None:
    start = time.perf_counter()
    sample = drawn(100_000_000)
    with capsys.disabled():
        print(
            f"\n{sample.size:,} samples in {time.perf_counter() - start:.0f} s: "
            f"distance {sample.distance():.1e}, variance {sample.squares / sample.size:.6f}"
        )
    assert sample.is_gaussian()
    assert sample.has_its_variance()
    for factor in (0.999, 1.001):
        wrong = drawn(100_000_000, factor)
        assert not wrong.is_gaussian()
        assert not wrong.has_its_variance()


# Keystreams.

WORDS = 4096


def stream(_):
    """The first words of a generator of this process, and the process."""
    return os.getpid(), SecureGenerator()._integers(WORDS).tolist()


def shared(streams):
    """How many 53-bit words stand in more than one stream."""
    words = [word for _, found in streams for word in set(found)]
    return len(words) - len(set(words))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_two_processes_never_share_a_keystream(method) -> None:
    with multiprocessing.get_context(method).Pool(3, maxtasksperchild=2) as pool:
        streams = pool.map(stream, range(12), chunksize=1)
    assert len({process for process, _ in streams}) >= 3
    assert shared([*streams, stream(0), stream(0)]) == 0


def test_a_shared_keystream_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda n: bytes(n))
    assert shared([stream(0), stream(0)]) == WORDS
