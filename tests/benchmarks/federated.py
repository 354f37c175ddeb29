# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Trains tasks as a simulation does, on records that are at hand: for figures on real data.

One organization is one member. Private training is the rounds, the ledger and the noise of a
simulation, all tasks on one budget; without privacy everybody's records are in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fedcode.budgets import calibrated
from fedcode.federation import check
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import Corpus, Record, SourceFile
from fedcode.simulation.arms import Arm, Bench, Noise
from fedcode.simulation.dataset import Dataset
from fedcode.simulation.learners import GradientLearner, warm_start
from fedcode.tasks import make

DELTA = 1e-5
NOBODY = Corpus("nobody", ())
"""Of nothing: where there is no public code."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training.

    Attributes:
        task: the last one.
        model: its network, with what was learned.
        spent: the most ε that a member was charged, over all tasks; 0 without privacy.
    """

    task: Any
    model: torch.nn.Module
    spent: float


def files_of(records: Sequence[Record]) -> tuple[SourceFile, ...]:
    """A file for each record, of nothing else."""
    return tuple(SourceFile(record.path, (), (record,)) for record in records)


def trained(
    members: Mapping[str, Sequence[Record]],
    tasks: Sequence[Mapping[str, Any]],
    *,
    seed: int,
    epsilon: float | None,
    public: Corpus = NOBODY,
) -> Trained:
    """The tasks one after another; those that ``continues`` names hand their weights on.

    Args:
        members: who trains, each with its records.
        tasks: tables ``[[tasks]]`` of a federation's file.
        seed: of training and of the noise.
        epsilon: cap of each member; None trains without privacy.
        public: for vocabularies and warm starts.
    """
    federation = check(
        {
            "name": "figures",
            "seed": seed,
            "privacy": {"epsilon": epsilon or 1.0, "delta": DELTA},
            "tasks": list(tasks),
            "organizations": [{"name": name, "source": f"path:{name}"} for name in members],
        }
    )
    calibration = None if epsilon is None else calibrated(federation)
    data = Dataset(
        public,
        {name: Corpus(name, files_of(own)) for name, own in members.items()},
        dict.fromkeys(members, NOBODY),
        {},
        {},
    )
    arm = Arm("centralized-plain" if calibration is None else "federated", tuple(members))
    weights: dict[str, Any] = {}
    with BudgetLedger.open(":memory:") as ledger:
        for number, settings in enumerate(federation.tasks):
            task: Any = make(settings.name, settings.model, public)
            before = settings.continues
            warm = weights[before] if before else warm_start(task, settings, public.files, seed)
            learner = GradientLearner(
                task, settings, public.files, seed, warm, everything=calibration is None
            )
            noise = (
                Noise(calibration, calibration.noise_multipliers[number]) if calibration else None
            )
            bench = Bench(
                federation, settings, data, learner, task.fingerprint(), "0" * 64, [], noise, seed
            )
            state = bench.run(arm, ledger)
            weights[settings.name] = learner.tensors(state.released)
        spent = max(ledger.epsilon(f"path:{name}") for name in members) if calibration else 0.0
    return Trained(task, learner.model(state.released), spent)
