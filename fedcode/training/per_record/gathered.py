# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of privacy units of several records: added up, then clipped as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from fedcode.training.per_record.outer import Samples
from fedcode.training.per_record.tape import Tape


class Gradients(Protocol):
    """A gradient for each unit, of which the norms and the weighted sum can be had."""

    @property
    def units(self) -> int:
        """How many."""
        ...

    def squares(self) -> Tensor:
        """Squared norms of every parameter's gradients, shape (parameters, units)."""
        ...

    def sums(self, factors: Tensor) -> list[Tensor]:
        """Of every parameter the sum, each unit times its factor; (parameters, units)."""
        ...


class Gathered:
    """One gradient for each unit, written out.

    Args:
        parameters: those that are trained.
        units: how many there are.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], units: int) -> None:
        self.units = units
        self._totals = [p.new_zeros(units, *p.shape, requires_grad=False) for p in parameters]

    def add(self, tape: Tape, owners: Sequence[int]) -> None:
        """Adds a batch's gradients.

        Args:
            tape: of the batch; it kept samples.
            owners: of each record the number of its unit.
        """
        where = torch.tensor(owners, device=self._totals[0].device)
        tape.gather(where, self._totals)

    def squares(self) -> Tensor:
        """See :class:`Gradients`."""
        return torch.stack([Samples(total).squared_norms() for total in self._totals])

    def sums(self, factors: Tensor) -> list[Tensor]:
        """See :class:`Gradients`; units whose factors are all 0 add nothing."""
        none = (factors == 0).all(0)
        return [
            Samples(total).without(none).total(own, None)
            for total, own in zip(self._totals, factors, strict=True)
        ]
