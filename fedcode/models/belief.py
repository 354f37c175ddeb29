# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A deep belief network: Boltzmann machines on top of one another, and a head.

Each layer is one matrix with two uses. While it is a Boltzmann machine's, contrastive divergence
trains it on what the layers below give; unrolled, it is a linear layer before a sigmoid, and the
error at the head reaches it. The weights are the same tensors, under the same names.

Source: Hinton, Osindero, Teh 2006, doi:10.1162/neco.2006.18.7.1527; for defects Wang, Liu, Tan
2016, doi:10.1145/2884781.2884804.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fedcode.models.boltzmann import BoltzmannMachine


class DeepBelief(nn.Module):
    """Layers of sigmoid units, and a logit.

    Args:
        visible: number of visible units, whose values lie in [0, 1].
        hidden: number of hidden units of each layer, from the lowest.
        std: of the layers' first weights.

    Attributes:
        layers: the machines' weights and hidden biases, as linear layers.
        machines: the Boltzmann machines themselves; what they add is a visible bias each.
        head: from the highest layer to a logit; 0 at first.
    """

    def __init__(self, visible: int, hidden: Sequence[int], std: float) -> None:
        super().__init__()
        widths = list(pairwise((visible, *hidden)))
        machines = [BoltzmannMachine(below, above) for below, above in widths]
        self.layers = nn.ModuleList(_unrolled(machine, std) for machine in machines)
        self.machines = nn.ModuleList(machines)
        self.head = nn.Linear(hidden[-1], 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, v: Tensor) -> Tensor:
        """Logits, shape (batch,), of ``v`` (batch, visible)."""
        logits: Tensor = self.head(self.below(v, len(self.layers))).squeeze(1)
        return logits

    def below(self, v: Tensor, layer: int) -> Tensor:
        """What enters ``layer``, from 0, shape (batch, its visible units)."""
        for below in self.layers[:layer]:
            v = below(v).sigmoid()
        return v

    def divergence(self, v: Tensor, layer: int, draws: Tensor) -> Tensor:
        """The loss of one layer's Boltzmann machine, shape (batch,).

        Args:
            v: shape (batch, visible).
            layer: which, from 0; those below it count as given.
            draws: shape (batch, hidden), in [0, 1): a unit is on where its chance is above.
        """
        with torch.no_grad():
            entered = self.below(v, layer)
        losses: Tensor = self.machines[layer](entered, draws)
        return losses

    def reconstructed(self, entered: Tensor, layer: int) -> Tensor:
        """What one layer's machine makes of what ``entered`` it, by way of its hidden units."""
        machine = self.machines[layer]
        if not isinstance(machine, BoltzmannMachine):
            raise TypeError("a BoltzmannMachine was expected")
        return machine.visible(machine.hidden(entered))

    def train_layer(self, layer: int) -> None:
        """Leaves all weights but those of one Boltzmann machine as they are."""
        self.requires_grad_(False)
        self.machines[layer].requires_grad_(True)

    def train_unrolled(self) -> None:
        """Trains what the logits depend on."""
        self.requires_grad_(False)
        self.layers.requires_grad_(True)
        self.head.requires_grad_(True)


def _unrolled(machine: BoltzmannMachine, std: float) -> nn.Linear:
    """The way up of ``machine``, on its own weights."""
    hidden, visible = machine.weight.shape
    layer = nn.Linear(visible, hidden)
    nn.init.normal_(machine.weight, std=std)
    layer.weight, layer.bias = machine.weight, machine.hidden_bias
    return layer
