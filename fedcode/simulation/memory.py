# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a language model has learned by heart: planted secrets, and functions word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedcode.record import Record
from fedcode.simulation.canaries import Secret
from fedcode.task import Generates, GradientTask
from fedcode.training.observer import record_losses

COPIES = (1, 1, 1, 1, 16, 16, 16, 16)
"""How often each secret is planted."""

GIVEN, ASKED = 16, 8
"""Pieces of a function that the model is given, and pieces that it must go on with."""

PASSES = 4.0
"""Over the records, at least, in training without privacy: as often as it takes to remember."""

_OTHERS = 1_023
_FUNCTIONS = 512


def exposure(loss: float, others: NDArray[np.float64]) -> float:
    """log2 |R| - log2 rank of a secret of this loss among R, itself and ``others``, in bits.

    Ties count against the secret. A model that knows nothing gives 1.44 bits on average.

    Source: Carlini et al. 2019, arXiv:1802.08232, section 4.3.
    """
    rank = 1 + int((others <= loss).sum())
    return float(np.log2(len(others) + 1) - np.log2(rank))


def exposures(
    task: GradientTask[Any, Any],
    model: nn.Module,
    planted: Sequence[Secret],
    draw: np.random.Generator,
) -> list[dict[str, Any]]:
    """Exposure of the secrets, by how often they were planted; see docs/audit.md."""
    found: dict[int, list[float]] = {}
    for secret in planted:
        candidates = [secret.records()[0], *secret.others(_OTHERS, draw)]
        losses = record_losses(task, model, task.examples(candidates))
        found.setdefault(secret.copies, []).append(exposure(losses[0], losses[1:]))
    return [
        {
            "copies": copies,
            "secrets": len(bits),
            "mean": float(np.mean(bits)),
            "largest": max(bits),
            "detectable": float(np.log2(_OTHERS + 1)),
        }
        for copies, bits in found.items()
    ]


def extraction(
    task: Generates, model: nn.Module, records: Sequence[Record], draw: np.random.Generator
) -> dict[str, Any]:
    """How many of a sample of functions the model goes on with word for word; see docs/audit.md."""
    functions = [record for record in records if record.kind == "function"]
    chosen = draw.permutation(len(functions))[:_FUNCTIONS]
    long, same = task.verbatim(model, [functions[i] for i in chosen], GIVEN, ASKED)
    return {"functions": long, "verbatim": same, "rate": same / long if long else None}
