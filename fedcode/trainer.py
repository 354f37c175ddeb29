# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Local training, as the member's half of a round sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import Release
from fedcode.weights import Vector


@dataclass(frozen=True, slots=True)
class LocalReport:
    """What a round looked like from inside. Private data: it stays with its owner.

    Attributes:
        loss: mean loss per sampled example; None if none was sampled or nothing was optimized.
        examples: how many were sampled, over all steps.
        empty_steps: steps whose Poisson batch was empty (noise alone).
        left_out: units that were sampled and added nothing, for their gradient was not finite.
        level: where the next round's adaptive clipping starts; None for any other clipping.
        physical_batch: examples that were in memory at once; None where nothing was optimized.
    """

    loss: float | None = None
    examples: int = 0
    empty_steps: int = 0
    left_out: int = 0
    level: float | None = None
    physical_batch: int | None = None


class Trainer(Protocol):
    """Computes nothing on the data before it is handed a receipt.

    Attributes:
        report: the last round's figures.
    """

    report: LocalReport

    def train(self, weights: Vector, receipt: Receipt) -> Release:
        """What the steps that ``receipt`` paid for make of ``weights``, noised.

        Shape (d + metrics,): the change of weights or, where the agreement says so, the sum of
        their gradients; then the metrics' sums.
        """
        ...
