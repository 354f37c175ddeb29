# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A restricted Boltzmann machine, trained by contrastive divergence of one step.

Source: Hinton 2002, doi:10.1162/089976602760128018.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

_STD = 0.01

Draws = torch.Generator | Tensor
"""Where a machine's draws come from."""


class Chain(NamedTuple):
    """One step of Gibbs sampling for each record.

    Attributes:
        data: shape (batch, visible).
        data_inputs: what the hidden units' probabilities are computed from, (batch, hidden).
        model: the visible units' probabilities after one step, (batch, visible).
        model_inputs: as ``data_inputs``, of ``model``.
    """

    data: Tensor
    data_inputs: Tensor
    model: Tensor
    model_inputs: Tensor


class BoltzmannMachine(nn.Module):
    """Visible units in [0, 1], hidden ones of 0 or 1, and a weight between any two of a kind each.

    Args:
        visible: number of visible units.
        hidden: number of hidden units.
    """

    def __init__(self, visible: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden, visible))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        nn.init.normal_(self.weight, std=_STD)

    def hidden(self, v: Tensor) -> Tensor:
        """Hidden units' probabilities, shape (batch, hidden), given ``v`` (batch, visible)."""
        return self._inputs(v).sigmoid()

    def visible(self, h: Tensor) -> Tensor:
        """Visible units' probabilities, shape (batch, visible), given ``h`` (batch, hidden)."""
        return torch.addmm(self.visible_bias, h, self.weight).sigmoid()

    def free_energy(self, v: Tensor) -> Tensor:
        """-log of the unnormalized probability of ``v`` (batch, visible), shape (batch,)."""
        return self._energy(v, self._inputs(v))

    def forward(self, v: Tensor, generator: Draws) -> Tensor:
        """How much lower the free energy of ``v`` is to become: one loss a record, shape (batch,).

        It is the free energy of the record less that of its reconstruction, which counts as given:
        its gradient is contrastive divergence's. It need not fall while the machine learns.

        Args:
            v: shape (batch, visible), in [0, 1].
            generator: draws the hidden units, each record's apart; or what was drawn before, in
                [0, 1), shape (batch, hidden), where a record's must not depend on its batch.
        """
        return self.losses(self.chain(v, generator))

    def chain(self, v: Tensor, generator: Draws) -> Chain:
        """From ``v`` to drawn hidden units, and back: what the losses are made of."""
        data_inputs = self._inputs(v)
        with torch.no_grad():
            model = self.visible(_drawn(data_inputs.sigmoid(), generator))
        return Chain(v, data_inputs, model, self._inputs(model))

    def losses(self, chain: Chain) -> Tensor:
        """See ``forward``."""
        data = self._energy(chain.data, chain.data_inputs)
        return data - self._energy(chain.model, chain.model_inputs)

    def _inputs(self, v: Tensor) -> Tensor:
        return F.linear(v, self.weight, self.hidden_bias)

    def _energy(self, v: Tensor, inputs: Tensor) -> Tensor:
        return -(v @ self.visible_bias) - F.softplus(inputs).sum(1)


def _drawn(chances: Tensor, generator: Draws) -> Tensor:
    """Zeros and ones."""
    if isinstance(generator, Tensor):
        uniform = generator
    else:
        uniform = torch.empty_like(chances).uniform_(generator=generator)
    return (uniform < chances).to(chances.dtype)
