# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy refuses, in words that a person can act on."""

import dataclasses
import math

import pytest

from fedcode.errors import ConfigError
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import PrivacyUnit

POLICY = PrivacyPolicy(
    unit=PrivacyUnit.FUNCTION,
    clipping_norm=0.5,
    weights=10_000,
    noise_multiplier=1.2,
    sampling_rate=0.1,
    steps_per_round=4,
    delta=1e-5,
    max_epsilon=8.0,
)


def test_the_noise_follows_from_multiplier_and_norm() -> None:
    assert POLICY.spacing == 0.5 / 2**18
    assert POLICY.sensitivity == pytest.approx(0.5 + 100 * 0.5 / 2**18)
    assert POLICY.std == pytest.approx(1.2 * POLICY.sensitivity)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("clipping_norm", 0.0, "clipping_norm must be a number above 0, not 0.0"),
        ("clipping_norm", math.inf, "clipping_norm must be a number above 0, not inf"),
        ("weights", 0, "weights must be an integer from 1, not 0"),
        ("noise_multiplier", 0.0, "noise_multiplier must be a number above 0, not 0.0"),
        ("noise_multiplier", -1.0, "noise_multiplier must be a number above 0, not -1.0"),
        ("noise_multiplier", math.nan, "noise_multiplier must be a number above 0, not nan"),
        ("noise_multiplier", math.inf, "noise_multiplier must be a number above 0, not inf"),
        ("sampling_rate", 0.0, "sampling_rate must be above 0 and at most 1, not 0.0"),
        ("sampling_rate", 1.01, "sampling_rate must be above 0 and at most 1, not 1.01"),
        ("sampling_rate", math.nan, "sampling_rate must be above 0 and at most 1, not nan"),
        ("steps_per_round", 0, "steps_per_round must be an integer from 1, not 0"),
        ("steps_per_round", True, "steps_per_round must be an integer from 1, not True"),
        ("steps_per_round", 1.5, "steps_per_round must be an integer from 1, not 1.5"),
        ("delta", 0.0, "delta must be between 0 and 1, not 0.0"),
        ("delta", 1.0, "delta must be between 0 and 1, not 1.0"),
        ("delta", math.nan, "delta must be between 0 and 1, not nan"),
        ("max_epsilon", 0.0, "epsilon must be a number above 0, not 0.0"),
        ("max_epsilon", -8.0, "epsilon must be a number above 0, not -8.0"),
        ("max_epsilon", math.nan, "epsilon must be a number above 0, not nan"),
    ],
)
def test_a_number_that_guarantees_nothing_is_refused(field, value, message) -> None:
    with pytest.raises(ConfigError) as caught:
        dataclasses.replace(POLICY, **{field: value})
    assert str(caught.value) == message


@pytest.mark.parametrize("field", ["noise_multiplier", "sampling_rate", "delta", "max_epsilon"])
def test_a_refusal_comes_with_a_hint(field) -> None:
    with pytest.raises(ConfigError) as caught:
        dataclasses.replace(POLICY, **{field: 0.0})
    assert caught.value.hint


def test_a_rate_of_one_takes_every_unit() -> None:
    dataclasses.replace(POLICY, sampling_rate=1.0).check_population(1)


def test_delta_must_be_below_one_over_the_records() -> None:
    policy = dataclasses.replace(POLICY, delta=1e-3)
    policy.check_population(999)
    with pytest.raises(
        ConfigError, match=r"delta 0.001 is not below 1/functions = 0.001"
    ) as caught:
        policy.check_population(1000)
    assert caught.value.hint == "choose delta below 1.0e-03"


def test_a_step_must_find_a_record_on_average() -> None:
    POLICY.check_population(10)
    with pytest.raises(
        ConfigError, match=r"9 functions are too few for sampling_rate 0.1"
    ) as caught:
        POLICY.check_population(9)
    assert "0.11" in caught.value.hint


def test_no_records_are_no_population() -> None:
    with pytest.raises(ConfigError, match="units must be an integer from 1"):
        POLICY.check_population(0)
