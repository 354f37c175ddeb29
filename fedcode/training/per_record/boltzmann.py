# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A restricted Boltzmann machine: what a record adds is two outer products of one place each.

With v the visible and h the hidden units' values, of the data (0) and of the model (1), the squared
norm of the weight's gradient is |v0|²|h0|² + |v1|²|h1|² - 2 (v0·v1) (h0·h1).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from fedcode.errors import TrainingError
from fedcode.models.boltzmann import BoltzmannMachine, Chain, Draws
from fedcode.training.per_record.outer import Dense, Outer, Samples
from fedcode.training.per_record.tape import Tape


def boltzmann(layer: BoltzmannMachine, tape: Tape, v: Tensor, generator: Draws) -> Tensor:
    """See :class:`BoltzmannMachine`."""
    if v.dim() != 2 or tape.batch not in (None, len(v)):
        raise TrainingError(
            f"a BoltzmannMachine was given {tuple(v.shape)} in a batch of {tape.batch} records",
            "give (batch, visible)",
        )
    tape.expect(layer.weight, layer.weight, layer.visible_bias, layer.hidden_bias)
    entered: list[Chain] = []

    def compute() -> Tensor:
        chain = layer.chain(v, generator)
        entered.append(Chain(*(part.detach() for part in chain)))
        return layer.losses(chain)

    def note(gradient: Tensor) -> None:
        chain, scale = entered.pop(), gradient.unsqueeze(1)
        h0 = chain.data_inputs.sigmoid().mul_(-scale)
        h1 = chain.model_inputs.sigmoid().mul_(scale)
        for h, x in ((h0, chain.data), (h1, chain.model)):
            left, right = Dense(h.unsqueeze(1)), Dense(x.unsqueeze(1))
            tape.add(layer.weight, partial(Outer, left, right, single=True))
        tape.add(layer.visible_bias, lambda: Samples((chain.model - chain.data).mul_(scale)))
        tape.add(layer.hidden_bias, lambda: Samples(h0 + h1))

    return tape.watch(compute, [v], note)
