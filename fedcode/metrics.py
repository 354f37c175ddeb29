# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Figures that leave an organization as further coordinates of its noised sums.

A privacy unit adds to a step's one sum its gradient and, for each metric, a number between 0 and
s C in a coordinate of its own. The whole is C long at most, so that metrics are clipped, noised and
charged with the gradients. What is read here was released: reading costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import ConfigError
from fedcode.federation import TrainingSettings

METRIC = 0.1
"""s, the largest part of one unit in a metric's coordinate, over C; see ``clipping.room``."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, as far as noise lets it be seen.

    Attributes:
        value: it may lie where no figure can, below 0 say.
        std: the standard deviation of the noise in it.
    """

    value: float
    std: float


def shared_metrics(
    training: TrainingSettings, total: NDArray[np.float64], members: int, std: float
) -> dict[str, Estimate]:
    """What the metrics' coordinates of one round say of all its members together.

    * ``units``: how many units a member found in a step, on average.
    * ``loss``: the mean, over units, of the mean loss of a unit's examples, each unit's at most
      ``loss_clip``. The sum of losses is divided by the noised number of units where that is a
      metric, too, but by no less than one for each member and step; else by ``nominal_batch`` for
      each. Never by a number that has no noise.

    Args:
        training: what the members agreed on.
        total: the last coordinates of the sum of their releases, shape (metrics,).
        members: whose releases were added up.
        std: of the noise on one coordinate of one step of one member: ``PrivacyPolicy.std``.

    Raises:
        ConfigError: as many coordinates as metrics were expected, and at least one member.
    """
    if total.shape != (len(training.metrics),) or members < 1:
        raise ConfigError(f"{len(training.metrics)} metrics of some members were expected")
    steps = members * training.steps_per_round
    one = METRIC * training.clipping_norm
    noise = math.sqrt(steps) * std / one
    sums = dict(zip(training.metrics, total / one, strict=True))
    found = {}
    if "units" in sums:
        found["units"] = Estimate(float(sums["units"]) / steps, noise / steps)
    if "loss" in sums:
        drawn = float(sums["units"]) if "units" in sums else steps * training.nominal_batch
        drawn = max(drawn, float(steps))
        mean = float(sums["loss"]) / drawn
        both = noise * math.hypot(1, mean) if drawn == sums.get("units") else noise
        found["loss"] = Estimate(training.loss_clip * mean, training.loss_clip * both / drawn)
    return found
