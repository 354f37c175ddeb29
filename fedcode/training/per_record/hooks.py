# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``nn.GRU`` and ``nn.LSTM`` for Opacus: import this module, and its hooks take them as they are.

Opacus replaces recurrent layers by loops of small linear ones. With this rule registered, its modes
``hooks`` and ``ghost`` train the fused layers: stacked, bidirectional, either dimension first, from
the zero state. Where a whole network can be recorded, :class:`Recorder` costs less than either.
"""

from __future__ import annotations

import torch
from opacus.grad_sample.utils import register_grad_sampler, register_norm_sampler
from torch import Tensor, nn

from fedcode.errors import TrainingError
from fedcode.training.per_record.recurrent import recurrent
from fedcode.training.per_record.tape import PLACES, Buffers, Keep, Tape


@register_grad_sampler([nn.GRU, nn.LSTM])
def gradients(
    layer: nn.GRU | nn.LSTM, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    """Each record's gradient of every weight, shape (batch, *shape).

    Args:
        layer: from the zero state.
        activations: its input, the records first or second as the layer has it.
        backprops: gradient of the loss by its outputs.

    Raises:
        TrainingError: the layer was given a state, or has projections.
    """
    tape = _replayed(layer, activations, backprops, "samples")
    parameters = [p for p in layer.parameters() if p.requires_grad]
    totals = [p.new_zeros(tape.units, *p.shape, requires_grad=False) for p in parameters]
    tape.gather(torch.arange(tape.units, device=backprops.device), totals)
    return dict(zip(parameters, totals, strict=True))


@register_norm_sampler([nn.GRU, nn.LSTM])
def norms(
    layer: nn.GRU | nn.LSTM, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    """The norm of each record's gradient of every weight, shape (batch,); see :func:`gradients`."""
    found = _replayed(layer, activations, backprops, "norms").squares().sqrt()
    parameters = [p for p in layer.parameters() if p.requires_grad]
    return dict(zip(parameters, found, strict=True))


def _replayed(
    layer: nn.GRU | nn.LSTM, activations: list[Tensor], backprops: Tensor, keep: Keep
) -> Tape:
    """The tape of the same forward and backward pass once more."""
    if len(activations) != 1:
        raise TrainingError(
            f"no per-record gradients for {layer}", "let it start from the zero state"
        )
    inputs = activations[0].detach()
    batch = inputs.shape[0 if layer.batch_first else 1]
    parameters = [p for p in layer.parameters() if p.requires_grad]
    tape = Tape(parameters, batch, keep, Buffers(), PLACES)
    with torch.enable_grad():
        outputs, _ = recurrent(layer, tape, inputs)
        torch.autograd.backward(outputs, backprops)  # type: ignore[arg-type]
    return tape
