# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a federation costs its members, from public numbers alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fedcode.federation import Federation
from fedcode.privacy.accountant import epsilon, epsilon_of_sums
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
        epsilon: of all its rounds (PLD): what each member is charged.
        epsilon_release: against whoever sees the sums alone, if nobody drops out and as many
            members collude as the federation says; None where noises do not add up in a sum.
    """

    task: str
    rounds: int
    steps: int
    sampling_rate: float
    noise_multiplier: float
    epsilon: float
    epsilon_release: float | None

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def prices(federation: Federation, calibration: Calibration) -> list[Price]:
    """One price per task, in the federation's order."""
    found, aggregation, members = [], federation.aggregation, len(federation.members)
    sums = (aggregation.groups or 1) if aggregation.masked else 0
    for task, sigma in zip(federation.tasks, calibration.noise_multipliers, strict=True):
        steps = task.rounds * task.training.steps_per_round
        rate = task.training.sampling_rate
        spent = epsilon({(sigma, rate): steps}, federation.privacy.delta)
        release = None
        if task.training.kind == "gradient-sum" and sums:
            noises = {(sigma, rate, members // sums): steps}
            release = epsilon_of_sums(noises, federation.privacy.delta, aggregation.colluding)
        found.append(Price(task.name, task.rounds, steps, rate, sigma, spent, release))
    return found
