# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a federation costs its members, from public numbers alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fedcode.federation import Federation
from fedcode.privacy.accountant import epsilon
from fedcode.privacy.calibration import Calibration


@dataclass(frozen=True, slots=True)
class Price:
    """One task's part.

    Attributes:
        task: its name.
        rounds: T.
        steps: noised sums over all rounds.
        sampling_rate: q.
        noise_multiplier: σ.
        epsilon: of all its rounds (PLD).
    """

    task: str
    rounds: int
    steps: int
    sampling_rate: float
    noise_multiplier: float
    epsilon: float

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def prices(federation: Federation, calibration: Calibration) -> list[Price]:
    """One price per task, in the federation's order."""
    found = []
    for task, sigma in zip(federation.tasks, calibration.noise_multipliers, strict=True):
        steps = task.rounds * task.training.steps_per_round
        rate = task.training.sampling_rate
        spent = epsilon({(sigma, rate): steps}, federation.privacy.delta)
        found.append(Price(task.name, task.rounds, steps, rate, sigma, spent))
    return found
