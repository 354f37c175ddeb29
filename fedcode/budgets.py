# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a federation asks of its members' budgets, from public numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

from fedcode.federation import Federation, OrganizationSettings, TaskSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.calibration import Calibration, Plan, calibrate


def calibrated(federation: Federation) -> Calibration:
    """The noise of every task, in the federation's order, and the filter that will stop it.

    It depends on public numbers alone: every member and the coordinator find the same.

    Raises:
        ConfigError: no noise is enough.
    """
    plans = [_plan(task, task.training.noise_multiplier) for task in federation.tasks]
    return calibrate(federation.privacy.epsilon, federation.privacy.delta, plans)


def budget(
    federation: Federation, organization: OrganizationSettings, calibration: Calibration
) -> Filter:
    """The filter that stops one organization: for its own cap, where that is lower.

    Args:
        federation: the whole file.
        organization: a member.
        calibration: of the federation, see :func:`calibrated`.

    Raises:
        ConfigError: the cap buys nothing.
    """
    cap = federation.cap(organization)
    if cap == federation.privacy.epsilon:
        return calibration.filter
    noises = zip(federation.tasks, calibration.noise_multipliers, strict=True)
    plans = [_plan(task, noise) for task, noise in noises]
    return calibrate(cap, federation.privacy.delta, plans).filter


def permitted_rounds(
    federation: Federation, organization: OrganizationSettings, calibration: Calibration
) -> dict[str, int]:
    """How many rounds of each task one organization may be charged for, whatever else it could pay.

    There ends what the federation promises it: the ε of its cap at the federation's own δ. The
    account that pays may have another δ, another order, and be opened for much more: it lasts for
    years, and pays for other federations.
    """
    own = budget(federation, organization, calibration)
    return {
        task.name: rounds_covered(task, noise, own)
        for task, noise in zip(federation.tasks, calibration.noise_multipliers, strict=True)
    }


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A member whose own budget does not cover all rounds of a task.

    Attributes:
        member: its name.
        epsilon: its own cap.
        task: the task's name.
        rounds: how many its budget covers.
        planned: T.
    """

    member: str
    epsilon: float
    task: str
    rounds: int
    planned: int

    def __str__(self) -> str:
        return (
            f"{self.member} (ε ≤ {self.epsilon:g}) can take part in "
            f"{self.rounds} of {self.planned} rounds of {self.task}"
        )


def allowance(task: TaskSettings, filter_: Filter) -> int:
    """The most that a task may spend of a member's budget, in nano-units."""
    return int(task.budget_share * filter_.budget_nano)


def rounds_covered(task: TaskSettings, noise_multiplier: float, filter_: Filter) -> int:
    """How many of the task's rounds its share of a member's budget pays for."""
    training = task.training
    covered = filter_.rounds_affordable(
        noise_multiplier,
        training.sampling_rate,
        training.steps_per_round,
        allowance(task, filter_),
    )
    return min(task.rounds, covered)


def shortfalls(federation: Federation, calibration: Calibration) -> list[Shortfall]:
    """The members that would stop before the end, by public numbers alone."""
    found = []
    for member in federation.members:
        permitted = permitted_rounds(federation, member, calibration)
        for task in federation.tasks:
            covered = permitted[task.name]
            if covered < task.rounds:
                found.append(
                    Shortfall(member.name, federation.cap(member), task.name, covered, task.rounds)
                )
    return found


def _plan(task: TaskSettings, noise: float | None) -> Plan:
    training = task.training
    return Plan(
        training.sampling_rate, task.rounds, training.steps_per_round, task.budget_share, noise
    )
