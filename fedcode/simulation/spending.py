# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The most that a run can have cost its members, as its coordinator's lines tell it.

What it did cost stands in the members' own ledgers, which nobody else sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedcode.agreement import Agreement
from fedcode.budgets import budget
from fedcode.federation import OWN, Federation
from fedcode.privacy.accountant import epsilon as epsilon_of
from fedcode.privacy.calibration import Calibration
from fedcode.rounds.transcript import Summed
from fedcode.start import Start
from fedcode.weights import Vector

_UNPAID = frozenset({"budget", "policy", "plan", "agreement"})
"""Refusals that come before anything is charged."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One task of a finished run.

    Attributes:
        agreement: that all have signed.
        start: where it began.
        weights: where it ended, shape (d,).
        rounds: its lines, as JSON has them.
        sums: the secure sums of which members have signed who survived.
    """

    agreement: Agreement
    start: Start
    weights: Vector
    rounds: Sequence[dict[str, Any]]
    sums: Sequence[Summed]


def charged_at_most(agreed: Agreement, rounds: Sequence[Mapping[str, Any]]) -> list[frozenset[str]]:
    """For every round the members that it can have been charged to.

    In a secure sum those who shared their secrets: no one else was asked to train.
    """
    every = frozenset(agreed.roster.names)
    found = []
    for line in rounds:
        if agreed.aggregation.masked:
            found.append(frozenset(name for one in line["sums"] for name in one["sharers"]))
        else:
            refused = {name for name, why in line["refusals"].items() if why in _UNPAID}
            found.append(every - refused)
    return found


def spent_by_round(
    federation: Federation, trained: Mapping[str, Trained]
) -> dict[str, dict[str, Any]]:
    """The lines of each task and its ε, as an arm has them.

    A line says what was spent so far at most, on the tasks before, too: they are trained one after
    the other.
    """
    spent, found = _Spent(federation.privacy.delta), {}
    counts: dict[str, dict[str, int]] = {}
    for task, one in trained.items():
        names = one.agreement.roster.names
        counts[task] = dict.fromkeys(names, 0)
        lines = []
        for line, charged in zip(
            one.rounds, charged_at_most(one.agreement, one.rounds), strict=True
        ):
            counts[task] |= {name: counts[task][name] + 1 for name in charged}
            so_far = {
                name: spent.of([(trained[t].agreement, n[name]) for t, n in counts.items()])
                for name in names
            }
            lines.append({**line, "charged": sorted(charged), "epsilon": so_far})
        most = max(counts[task].values())
        found[task] = {
            "rounds": lines,
            "epsilon": spent.of([(one.agreement, most)]),
            "summed": list(one.sums),
        }
    return found


class _Spent:
    """ε (PLD) of rounds of several tasks; each is computed once."""

    def __init__(self, delta: float) -> None:
        self._delta = delta
        self._known: dict[tuple[tuple[float, float, int], ...], float] = {}

    def of(self, charged: Sequence[tuple[Agreement, int]]) -> float:
        """Of so many rounds of each agreement."""
        steps: dict[tuple[float, float], int] = {}
        for agreed, rounds in charged:
            key = agreed.noise_multiplier, agreed.training.sampling_rate
            if rounds:
                steps[key] = steps.get(key, 0) + rounds * agreed.training.steps_per_round
        place = tuple(sorted((*key, count) for key, count in steps.items()))
        if place not in self._known:
            self._known[place] = epsilon_of(steps, self._delta) if steps else 0.0
        return self._known[place]


def ledger_at_most(
    federation: Federation,
    calibration: Calibration,
    trained: Mapping[str, Trained],
) -> list[dict[str, Any]]:
    """What each member's ledger can have been charged at most, at the order of the calibration."""
    spent, rows = _Spent(federation.privacy.delta), []
    charges = {name: charged_at_most(one.agreement, one.rounds) for name, one in trained.items()}
    roster = next(iter(trained.values())).agreement.roster.names
    for organization in (o for o in federation.members if o.name in roster):
        name = organization.name
        filter_ = budget(federation, organization, calibration)
        counts = {task: sum(name in one for one in lines) for task, lines in charges.items()}
        nano = sum(
            counts[task]
            * filter_.cost(
                one.agreement.noise_multiplier,
                one.agreement.training.sampling_rate,
                one.agreement.training.steps_per_round,
            ).nano
            for task, one in trained.items()
        )
        rows.append(
            {
                "organization": name,
                "asset": OWN,
                "epsilon_cap": federation.cap(organization),
                "epsilon_spent": spent.of(
                    [(one.agreement, counts[t]) for t, one in trained.items()]
                ),
                "charges": sum(counts.values()),
                "budget_nano": filter_.budget_nano,
                "spent_nano": nano,
            }
        )
    return rows
