# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The step audit: the private step as it is, thousands of times, with and without a canary.

The canary is one privacy unit: a record, or several that belong together. It pulls one way with
gradients far above the clipping norm, everybody else the other way. Whoever clips too little, or a
batch or a record at a time, or adds too little noise, lets the canary be seen better than the noise
multiplier allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.federation import Clip, Kind, TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.audit import Finding, gaussian_finding
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.release import Release
from fedcode.record import PrivacyUnit, Record, UnitId
from fedcode.strict import checked
from fedcode.training.clipping import VOTE
from fedcode.training.private import PrivateNetwork, PrivateTrainer

_WEIGHTS, _AT = 16, 3
_OTHERS, _LOUD = 8, 20.0
_RECORDS, _IN_MEMORY = 6, 4
_NORM, _DELTA = 1.0, 1e-5
_PLENTY = Filter.for_budget(1e7, _DELTA, 2.0)


def step_audit(
    trials: int = 10_000,
    noise_multiplier: float = 1.0,
    unit: PrivacyUnit = PrivacyUnit.FUNCTION,
    clipping: Clip = "flat",
    kind: Kind = "local-steps",
    generator: Callable[[], SecureGenerator] = SecureGenerator,
    tell: Callable[[int], None] = lambda _done: None,
) -> Finding:
    """Audits :class:`PrivateTrainer`, its optimizer, its mechanism and its noise.

    Args:
        trials: steps, half of them with the canary.
        noise_multiplier: σ; what is claimed is the ε of one step with it.
        unit: what the canary is. Wider than a function, each unit is 6 records, of which 5 take
            part in the step, spread over batches of 4.
        clipping: as in a federation's file. With ``adaptive`` the votes are looked at, too.
        kind: of the release that is looked at.
        generator: gives the noise of one trial.
        tell: called now and then with the number of trials done.

    Raises:
        ConfigError: too few trials to find anything, or a clipping that the kind has not.
    """
    wide = unit is not PrivacyUnit.FUNCTION
    settings = _settings(kind, clipping, _IN_MEMORY if wide else 64)
    policy = PrivacyPolicy(
        unit=unit,
        clipping_norm=_NORM,
        weights=settings.coordinates(_WEIGHTS),
        noise_multiplier=noise_multiplier,
        sampling_rate=1.0,
        steps_per_round=1,
        delta=_DELTA,
        max_epsilon=_PLENTY.epsilon,
    )
    network, task = PrivateNetwork(_Pulled()), _PullTask()
    each = range(_RECORDS if wide else 1)
    others = [_record(i, j, -_NORM) for i in range(_OTHERS) for j in each]
    canary = [_record(_OTHERS, j, _LOUD * _NORM) for j in each]
    cost = _PLENTY.cost(noise_multiplier, 1.0, 1)
    start = np.zeros(_WEIGHTS, np.float32)
    with BudgetLedger.open(":memory:") as ledger:
        ledger.open_simulated("audit", organization="audit", unit=policy.unit, budget=_PLENTY)

        def world(records: Sequence[Record], done: int) -> NDArray[np.float64]:
            seen = np.empty(trials // 2)
            for number in range(len(seen)):
                trainer = PrivateTrainer(
                    task, network, records, settings, policy, lambda _: generator()
                )
                receipt = ledger.charge(
                    cost,
                    asset="audit",
                    agreement="audit",
                    purpose="audit",
                    task="audit",
                    round=number + 1,
                )
                release = trainer.train(start, receipt)
                seen[number] = _canary_in(release, trainer.report.level, settings)
                if number % 500 == 0:
                    tell(done + number)
            return seen

        without = world(others, 0)
        with_ = world([*others, *canary], trials // 2)
    return gaussian_finding(without, with_, 1 / noise_multiplier, _DELTA)


def _settings(kind: Kind, clipping: Clip, physical_batch: int) -> TrainingSettings:
    values = {
        "kind": kind,
        "sampling_rate": 1.0,
        "nominal_batch": 1,
        "clipping": clipping,
        "clipping_norm": _NORM,
        "records_per_unit": _RECORDS - 1,
        "physical_batch": physical_batch,
    }
    return checked(TrainingSettings, values, "the step audit", "leave out one of the two")


def _canary_in(release: Release, level: float | None, settings: TrainingSettings) -> float:
    """How far a step's sum lies in the direction that the canary has in it.

    With adaptive clipping that is along its gradient and against its vote, each by its length; the
    first level is C.
    """
    pulled = float(release.vector[_AT]) * (-1 if release.sum is None else 1)
    if level is None:
        return pulled
    votes = -2 * VOTE * math.log(level / _NORM) / settings.quantile_rate
    return (1 - VOTE**2) * pulled - VOTE * votes


class _Pulled(nn.Module):
    """A row of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Linear(_WEIGHTS, 1, bias=False)

    def forward(self, directions: Tensor) -> Tensor:
        """How far the weights lie in each of ``directions`` (batch, weights), shape (batch,)."""
        pulled: Tensor = self.row(directions)
        return pulled.squeeze(1)


class _PullTask:
    """Each record's gradient is its own direction, as strong as its one token says."""

    def examples(self, records: Sequence[Record]) -> Sequence[float]:
        return [float(record.tokens[0]) for record in records]

    def length(self, example: float) -> int:
        del example
        return 1

    def collate(self, examples: Sequence[float]) -> Tensor:
        directions = torch.zeros(len(examples), _WEIGHTS)
        directions[:, _AT] = torch.tensor(examples)
        return directions

    def losses(self, model: nn.Module, batch: Tensor) -> Tensor:
        pulled: Tensor = model(batch)
        return pulled


def _record(owner: int, number: int, strength: float) -> Record:
    """The record ``number`` of a file, an author and a repository of its own."""
    path, name, tokens = f"{owner}/a.py", f"f{number}", (str(strength),)
    unit = UnitId(f"{path}::{name}")
    return Record(unit, path, name, "function", tokens, 1, author=f"{owner}", repository=f"{owner}")
