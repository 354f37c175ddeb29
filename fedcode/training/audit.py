# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The step audit: the private step as it is, thousands of times, with and without a canary.

The canary pulls one way with a gradient far above the clipping norm, everybody else the other way.
Whoever clips too little, or a batch at a time, or adds too little noise, lets the canary be seen
better than the noise multiplier allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.federation import TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.audit import Finding, gaussian_finding
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import PrivacyUnit, Record, UnitId
from fedcode.training.private import PrivateNetwork, PrivateTrainer

_WEIGHTS, _AT = 16, 3
_OTHERS, _LOUD = 8, 20.0
_NORM, _DELTA = 1.0, 1e-5
_PLENTY = Filter.for_budget(1e7, _DELTA, 2.0)


def step_audit(
    trials: int = 10_000,
    noise_multiplier: float = 1.0,
    generator: Callable[[], SecureGenerator] = SecureGenerator,
    tell: Callable[[int], None] = lambda _done: None,
) -> Finding:
    """Audits :class:`PrivateTrainer`, its optimizer, its mechanism and its noise.

    Args:
        trials: steps, half of them with the canary.
        noise_multiplier: σ; what is claimed is the ε of one step with it.
        generator: gives the noise of one trial.
        tell: called now and then with the number of trials done.

    Raises:
        ConfigError: too few trials to find anything.
    """
    settings = TrainingSettings(
        sampling_rate=1.0, nominal_batch=1, clipping_norm=_NORM, physical_batch=64
    )
    policy = PrivacyPolicy(
        PrivacyUnit.FUNCTION, _NORM, _WEIGHTS, noise_multiplier, 1.0, 1, _DELTA, _PLENTY.epsilon
    )
    network = PrivateNetwork(_Pulled())
    others = [_record(i, -_NORM) for i in range(_OTHERS)]
    canary = _record(_OTHERS, _LOUD * _NORM)
    cost = _PLENTY.cost(noise_multiplier, 1.0, 1)
    start = np.zeros(_WEIGHTS, np.float32)
    with BudgetLedger.open(":memory:") as ledger:
        ledger.open_simulated("audit", organization="audit", unit=policy.unit, budget=_PLENTY)

        def world(records: Sequence[Record], done: int) -> NDArray[np.float64]:
            trainer = PrivateTrainer(
                _PullTask(), network, records, settings, policy, lambda _: generator()
            )
            seen = np.empty(trials // 2)
            for number in range(len(seen)):
                receipt = ledger.charge(
                    cost,
                    asset="audit",
                    agreement="audit",
                    purpose="audit",
                    task="audit",
                    round=number + 1,
                )
                seen[number] = -trainer.train(start, receipt).vector[_AT]
                if number % 500 == 0:
                    tell(done + number)
            return seen

        without = world(others, 0)
        with_ = world([*others, canary], trials // 2)
    return gaussian_finding(without, with_, 1 / noise_multiplier, _DELTA)


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


def _record(number: int, strength: float) -> Record:
    unit = UnitId(f"audit.py::f{number}")
    return Record(unit, "audit.py", f"f{number}", "function", (str(strength),), 1)
