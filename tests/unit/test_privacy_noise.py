# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How generators behave; whether their numbers are right is in tests/statistical."""

import os
import sys

import numpy as np
import pytest

from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.seeded import SeededGenerator


def test_two_secure_generators_share_no_stream() -> None:
    one, other = SecureGenerator(), SecureGenerator()
    assert not one.seeded
    assert not np.isin(one.uniform(1000), other.uniform(1000)).any()


def test_the_same_seed_and_labels_give_the_same_numbers() -> None:
    def draw(*labels):
        generator = SeededGenerator(*labels)
        return np.concatenate([generator.gaussian(70_001, 2.0), generator.uniform(3)])

    assert SeededGenerator(1).seeded
    np.testing.assert_array_equal(draw(1, "task", "a", 3), draw(1, "task", "a", 3))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, "a", 1), (2, "a", 1)),
        ((1, "a", 1), (1, "a", 2)),
        ((1, "ab", "c"), (1, "a", "bc")),
        ((1, "1"), (1, 1)),
        ((1, "a"), (1, "a", "")),
        ((1,), (1, 1)),
        ((1, "a", "b"), (1, "astr:b")),
    ],
)
def test_other_labels_give_another_stream(one, other) -> None:
    first, second = SeededGenerator(*one).uniform(100), SeededGenerator(*other).uniform(100)
    assert not np.isin(first, second).any()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 65_535, 65_536, 65_537, 131_073])
def test_any_number_of_samples_may_be_asked_for(n) -> None:
    generator = SeededGenerator(n)
    for samples in (generator.gaussian(n, 1.0), generator.uniform(n)):
        assert samples.shape == (n,)
        assert samples.dtype == np.float64
        assert np.isfinite(samples).all()
        assert len(np.unique(samples)) == n, "a part of the buffer was not filled, or filled twice"


def test_a_sample_is_ascending_indices_of_the_population() -> None:
    taken = SeededGenerator(3).poisson_sample(10_000, 0.2)
    assert taken.dtype == np.int64
    assert (np.diff(taken) > 0).all()
    assert taken[0] >= 0
    assert taken[-1] < 10_000


def test_a_rate_of_one_takes_all() -> None:
    np.testing.assert_array_equal(SecureGenerator().poisson_sample(5, 1.0), np.arange(5))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate) -> None:
    with pytest.raises(ConfigError, match="sampling_rate"):
        SecureGenerator().poisson_sample(5, rate)


@pytest.mark.parametrize("std", [0.0, -1.0, float("inf"), float("nan")])
def test_noise_without_a_scale_is_refused(std) -> None:
    with pytest.raises(ConfigError, match="std"):
        SecureGenerator().gaussian(5, std)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_copy_does_not_repeat_the_stream() -> None:
    generator = SecureGenerator()
    child = os.fork()
    if child == 0:
        try:
            generator.uniform(1)
        except PrivacyError:
            os._exit(17)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert generator.uniform(1).shape == (1,)
