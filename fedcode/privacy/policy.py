# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization demands of every round of a task."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedcode.errors import ConfigError
from fedcode.privacy import _validate
from fedcode.record import PrivacyUnit

LATTICE = 1 << 18
"""Noised sums are multiples of the clipping norm over this."""


@dataclass(frozen=True, slots=True)
class PrivacyPolicy:
    """The numbers of the guarantee. Adjacency is to add or remove one unit.

    A step's sum is rounded to the lattice and noised there, see :class:`GaussianMechanism`. The
    sensitivity follows from the clipping norm and is never a parameter of its own, and the noise's
    standard deviation is ``noise_multiplier`` times it.

    Attributes:
        unit: what adjacency adds or removes.
        clipping_norm: C, the largest L2 norm of one unit's part of a step's sum.
        weights: d, the coordinates of a step's sum.
        noise_multiplier: σ, the standard deviation of the noise over the sensitivity.
        sampling_rate: q, the probability with which a unit takes part in a step (Poisson).
        steps_per_round: K, noised sums per release.
        delta: δ of the guarantee.
        max_epsilon: the ε that is promised to each who takes part; the number of rounds keeps it,
            however much the account that pays for them was opened for.
    """

    unit: PrivacyUnit
    clipping_norm: float
    weights: int
    noise_multiplier: float
    sampling_rate: float
    steps_per_round: int
    delta: float
    max_epsilon: float

    def __post_init__(self) -> None:
        _validate.positive(clipping_norm=self.clipping_norm)
        _validate.positive(
            "train without privacy on purpose rather than with no noise",
            noise_multiplier=self.noise_multiplier,
        )
        _validate.rate(
            "it is the part of the units that one step looks at, on average",
            sampling_rate=self.sampling_rate,
        )
        _validate.count(weights=self.weights, steps_per_round=self.steps_per_round)
        _validate.probability(
            "take a number well below one over the number of units", delta=self.delta
        )
        _validate.positive("an ε of 0 lets nothing be learned", epsilon=self.max_epsilon)

    @property
    def spacing(self) -> float:
        """s, between the points of the lattice."""
        return self.clipping_norm / LATTICE

    @property
    def sensitivity(self) -> float:
        """How far one unit moves the rounded sum at most, in L2 norm: C + s √d.

        Rounding moves each coordinate of either sum by s / 2 at most.
        """
        return self.clipping_norm + self.spacing * math.sqrt(self.weights)

    @property
    def std(self) -> float:
        """Standard deviation of the noise on every coordinate of one step's sum."""
        return self.noise_multiplier * self.sensitivity

    def check_population(self, units: int) -> None:
        """Whether the policy makes sense for so many privacy units; see the function."""
        check_population(units, self.delta, self.sampling_rate, self.unit)


def check_population(
    units: int,
    delta: float,
    sampling_rate: float,
    unit: PrivacyUnit = PrivacyUnit.FUNCTION,
    owner: str = "",
) -> None:
    """Whether δ and q make sense for so many privacy units.

    Args:
        units: how many there are.
        delta: δ.
        sampling_rate: q.
        unit: what they are.
        owner: the organization that has them, for the message.

    Raises:
        ConfigError: δ is not below one over ``units``, so that publishing a unit outright could
            satisfy the guarantee; or a step would find less than one unit on average.
    """
    _validate.count("is there any code to train on?", units=units)
    prefix, few = f"{owner}: " if owner else "", f"{units} {unit.plural if units > 1 else unit}"
    if delta >= 1 / units:
        raise ConfigError(
            f"{prefix}delta {delta:g} is not below 1/{unit.plural} = {1 / units:.3g}",
            f"choose delta below {1 / units:.1e}",
        )
    if units * sampling_rate < 1:
        raise ConfigError(
            f"{prefix}{few} {'are' if units > 1 else 'is'} too few for "
            f"sampling_rate {sampling_rate:g}",
            f"choose a sampling_rate of at least {1 / units:.2g}",
        )
