# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A step's sum before it has its noise: on one rank, then over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedcode.federation import TrainingSettings
from fedcode.metrics import METRIC
from fedcode.training.clipping import Adaptive, Clipping, by_layer, finite
from fedcode.training.per_record.gathered import Gradients
from fedcode.training.ranks import Ranks


class ClippedSums:
    """Clips a gradient for each unit, adds them up, and counts.

    The sums stand in the parameters, as ``summed_grad``, where Opacus has them.

    Args:
        parameters: those that are trained.
        clipping: what gradients are multiplied by.
        layers: the number of its layer for each parameter.
        settings: the metrics, and what they are scaled by.

    Attributes:
        loss: summed over examples, since this object was made.
        left_out: units whose gradient was not finite, since then.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        clipping: Clipping,
        layers: Sequence[int],
        settings: TrainingSettings,
    ) -> None:
        self._parameters = parameters
        for parameter in self.params:
            parameter.summed_grad = None
        self._clipping, self._layers, self._settings = clipping, layers, settings
        self._gradients: Gradients | None = None
        self._losses: Tensor | None = None
        self._votes = 0.0  # of this step's units, about an adaptive level
        self._metrics = np.zeros(len(settings.metrics))  # of this step's units
        self._clipped = 0  # units in this step
        self.loss = 0.0
        self.left_out = 0

    @property
    def params(self) -> Sequence[Any]:
        """Those that are trained."""
        return self._parameters

    def add(self, gradients: Gradients, losses: Tensor) -> None:
        """Clips a gradient for each unit, adds them up, and counts the units.

        Args:
            gradients: of the units.
            losses: the mean loss of each unit's examples, (units,).
        """
        self._clipped += gradients.units
        self._gradients, self._losses = gradients, losses
        self.clip_and_accumulate()
        self._gradients = self._losses = None

    def clip_and_accumulate(self) -> None:
        """Adds the clipped gradients that were handed over to the sum.

        A unit whose gradient is not finite adds nothing, and nobody is told: whether there was one
        is as private as the gradient.
        """
        if self._gradients is None or self._losses is None:
            return
        squares = by_layer(self._gradients.squares(), self._layers)
        self.left_out += int((~finite(squares)).sum())
        if isinstance(self._clipping, Adaptive):
            self._votes += self._clipping.votes(squares)
        if self._settings.metrics:
            added = finite(squares).to(self._losses.device)
            self._metrics += metric_sums(self._settings, self._losses[added])
        factors = self._clipping.factors(squares)[self._layers]
        for parameter, part in zip(self.params, self._gradients.sums(factors), strict=True):
            total = parameter.summed_grad
            parameter.summed_grad = part if total is None else total + part

    def add_up(self, ranks: Ranks) -> None:
        """Adds the other ranks' sums and counts to those of rank 0."""
        if ranks.size == 1:
            return
        counts = [self._clipped, self._votes, self.left_out, self.loss]
        found = ranks.count([*counts, *map(float, self._metrics)])
        (clipped, self._votes, left_out, self.loss), metrics = found[:4], found[4:]
        self._metrics = np.array(metrics)
        self._clipped, self.left_out = int(clipped), int(left_out)
        for parameter in self.params:
            if parameter.summed_grad is None:
                parameter.summed_grad = torch.zeros_like(parameter, requires_grad=False)
        ranks.add_up([parameter.summed_grad for parameter in self.params])


class Means:
    """The mean loss of each unit's examples, over its batches.

    Args:
        units: how many there are.
    """

    def __init__(self, units: int) -> None:
        self._totals = torch.zeros(units, dtype=torch.float64)
        self._examples = torch.zeros(units, dtype=torch.float64)

    def add(self, losses: Tensor, owners: Sequence[int]) -> None:
        """Adds a batch's losses, each with the number of its unit."""
        where = torch.tensor(owners)
        self._totals.index_add_(0, where, losses.double().cpu())
        self._examples += where.bincount(minlength=len(self._examples))

    def values(self) -> Tensor:
        """Of all units that have an example, (units,)."""
        return self._totals / self._examples


def metric_sums(settings: TrainingSettings, losses: Tensor) -> NDArray[np.float64]:
    """What units add to the metrics' coordinates, (metrics,): s C each at most.

    Args:
        settings: which metrics, C and the loss' clip.
        losses: the units' mean losses, (units,). One that is no number counts as the clip: it adds
            as much as a loss may, and nobody is told.
    """
    clip = settings.loss_clip
    clipped = losses.double().nan_to_num(clip, clip, 0).clamp(0, clip)
    parts = {"units": float(len(losses)), "loss": float(clipped.sum()) / clip}
    sums = np.array([parts[name] for name in settings.metrics])
    return METRIC * settings.clipping_norm * sums
