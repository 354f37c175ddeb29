# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A step's sum before it has its noise: on one rank, then over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

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

    Attributes:
        loss: summed over examples, since this object was made.
        left_out: units whose gradient was not finite, since then.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], clipping: Clipping, layers: Sequence[int]
    ) -> None:
        self._parameters = parameters
        for parameter in self.params:
            parameter.summed_grad = None
        self._clipping, self._layers = clipping, layers
        self._gradients: Gradients | None = None
        self._votes = 0.0  # of this step's units, about an adaptive level
        self._clipped = 0  # units in this step
        self.loss = 0.0
        self.left_out = 0

    @property
    def params(self) -> Sequence[Any]:
        """Those that are trained."""
        return self._parameters

    def add(self, gradients: Gradients) -> None:
        """Clips a gradient for each unit, adds them up, and counts the units."""
        self._clipped += gradients.units
        self._gradients = gradients
        self.clip_and_accumulate()
        self._gradients = None

    def clip_and_accumulate(self) -> None:
        """Adds the clipped gradients that were handed over to the sum.

        A unit whose gradient is not finite adds nothing, and nobody is told: whether there was one
        is as private as the gradient.
        """
        if self._gradients is None:
            return
        squares = by_layer(self._gradients.squares(), self._layers)
        self.left_out += int((~finite(squares)).sum())
        if isinstance(self._clipping, Adaptive):
            self._votes += self._clipping.votes(squares)
        factors = self._clipping.factors(squares)[self._layers]
        for parameter, part in zip(self.params, self._gradients.sums(factors), strict=True):
            total = parameter.summed_grad
            parameter.summed_grad = part if total is None else total + part

    def add_up(self, ranks: Ranks) -> None:
        """Adds the other ranks' sums and counts to those of rank 0."""
        if ranks.size == 1:
            return
        found = ranks.count([self._clipped, self._votes, self.left_out, self.loss])
        clipped, self._votes, left_out, self.loss = found
        self._clipped, self.left_out = int(clipped), int(left_out)
        for parameter in self.params:
            if parameter.summed_grad is None:
                parameter.summed_grad = torch.zeros_like(parameter, requires_grad=False)
        ranks.add_up([parameter.summed_grad for parameter in self.params])
