# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization demands of every round of a task."""

from __future__ import annotations

from dataclasses import dataclass

from fedcode.errors import ConfigError
from fedcode.privacy import _validate
from fedcode.record import PrivacyUnit


@dataclass(frozen=True, slots=True)
class PrivacyPolicy:
    """The numbers of the guarantee. Adjacency is to add or remove one unit.

    The noise's standard deviation is ``noise_multiplier * clipping_norm``; the sensitivity is never
    a parameter of its own.

    Attributes:
        unit: what adjacency adds or removes.
        clipping_norm: C, the largest L2 norm of one unit's part of a step's sum.
        noise_multiplier: σ, the standard deviation of the noise over C.
        sampling_rate: q, the probability with which a unit takes part in a step (Poisson).
        steps_per_round: K, noised sums per release.
        delta: δ of the guarantee.
        max_epsilon: the largest ε that an account may be opened for.
    """

    unit: PrivacyUnit
    clipping_norm: float
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
            "it is the part of the records that one step looks at, on average",
            sampling_rate=self.sampling_rate,
        )
        _validate.count(steps_per_round=self.steps_per_round)
        _validate.probability(
            "take a number well below one over the number of records", delta=self.delta
        )
        _validate.positive("an ε of 0 lets nothing be learned", epsilon=self.max_epsilon)

    @property
    def std(self) -> float:
        """Standard deviation of the noise on every coordinate of one step's sum: σ C."""
        return self.noise_multiplier * self.clipping_norm

    def check_population(self, records: int) -> None:
        """Whether the policy makes sense for so many privacy units.

        Raises:
            ConfigError: δ is not below one over ``records``, so that publishing a unit outright
                could satisfy the guarantee; or a step would find less than one unit on average.
        """
        _validate.count("is there any code to train on?", records=records)
        if self.delta >= 1 / records:
            raise ConfigError(
                f"delta {self.delta:g} is not below 1/records = {1 / records:.3g}",
                f"choose delta below {1 / records:.1e}",
            )
        if records * self.sampling_rate < 1:
            raise ConfigError(
                f"{records} records are too few for sampling_rate {self.sampling_rate:g}",
                f"choose a sampling_rate of at least {1 / records:.2g}",
            )
