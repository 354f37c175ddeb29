# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Per-record gradients of ``nn.GRU`` and ``nn.LSTM``, for Opacus.

Opacus replaces a recurrent layer by a loop of small linear layers, one Python step per token and
gate. Registered here instead: the fused layer runs forward and backward as it is, and the
per-record gradients of its weights come from one backward pass through time over the whole batch,
followed by one batched product per weight.

Supported: one layer, one direction, ``batch_first``, with biases, started from the zero state.
Everything else is refused with the layer's name.
"""

from __future__ import annotations

import torch
from opacus.grad_sample.utils import register_grad_sampler
from torch import Tensor, nn

from fedcode.errors import TrainingError

GradSamples = dict[nn.Parameter, Tensor]


class _Weights:
    """The weights of a layer, with their types."""

    def __init__(self, layer: nn.GRU | nn.LSTM) -> None:
        named = dict(layer.named_parameters())
        self.of_input, self.input_bias = named["weight_ih_l0"], named["bias_ih_l0"]
        self.of_state, self.state_bias = named["weight_hh_l0"], named["bias_hh_l0"]


def _require_plain(layer: nn.GRU | nn.LSTM, activations: list[Tensor]) -> None:
    plain = layer.num_layers == 1 and layer.batch_first and layer.bias
    if not plain or layer.bidirectional or layer.proj_size or len(activations) != 1:
        raise TrainingError(
            f"no per-record gradients for {layer}",
            "use one layer, one direction, batch_first, biases, and start from the zero state",
        )


def _previous(outputs: Tensor) -> Tensor:
    """h_{t-1} for every t: outputs (batch, time, hidden) moved one step later, zero first."""
    return torch.cat([torch.zeros_like(outputs[:, :1]), outputs[:, :-1]], dim=1)


def _weight_gradients(
    weights: _Weights, inputs: Tensor, previous: Tensor, from_input: Tensor, from_state: Tensor
) -> GradSamples:
    """Products per record: gate gradients (batch, time, gates) with what entered the gates."""
    pairs = (
        (weights.of_input, weights.input_bias, from_input, inputs),
        (weights.of_state, weights.state_bias, from_state, previous),
    )
    samples: GradSamples = {}
    for weight, bias, gates, entered in pairs:
        if weight.requires_grad:
            samples[weight] = torch.bmm(gates.transpose(1, 2), entered)
        if bias.requires_grad:
            samples[bias] = gates.sum(1)
    return samples


@register_grad_sampler(nn.GRU)
def gru_gradients(layer: nn.GRU, activations: list[Tensor], backprops: Tensor) -> GradSamples:
    """Per-record gradients of a GRU's weights.

    Args:
        layer: the GRU.
        activations: its input, shape (batch, time, input).
        backprops: gradient of the loss by its output, shape (batch, time, hidden).

    Returns:
        For each weight of shape s, a tensor of shape (batch, *s).
    """
    _require_plain(layer, activations)
    weights = _Weights(layer)
    inputs = activations[0]
    hidden = layer.hidden_size
    with torch.no_grad():
        previous = _previous(layer(inputs)[0])
        of_input = torch.addmm(weights.input_bias, inputs.flatten(0, 1), weights.of_input.t())
        of_state = torch.addmm(weights.state_bias, previous.flatten(0, 1), weights.of_state.t())
        shape = (*inputs.shape[:2], 3 * hidden)
        of_input, of_state = of_input.view(shape), of_state.view(shape)
        both = torch.sigmoid(of_input[..., : 2 * hidden] + of_state[..., : 2 * hidden])
        reset, update = torch.chunk(both, 2, dim=-1)
        state_new = of_state[..., 2 * hidden :]
        new = torch.tanh(of_input[..., 2 * hidden :] + reset * state_new)
        # by dh: what each gate's pre-activation receives per unit of dh
        to_new = (1 - update) * (1 - new * new)
        to_update = (previous - new) * update * (1 - update)
        to_reset = to_new * state_new * reset * (1 - reset)
        from_state = torch.cat([to_reset, to_update, to_new * reset], dim=-1)
        gradient = torch.zeros_like(backprops[:, 0])
        from_input = torch.cat([to_reset, to_update, to_new], dim=-1)
        for t in range(inputs.shape[1] - 1, -1, -1):
            gradient = gradient + backprops[:, t]
            times3 = gradient.repeat(1, 3)
            from_input[:, t] *= times3
            from_state[:, t] *= times3
            gradient = gradient * update[:, t] + from_state[:, t] @ weights.of_state
    return _weight_gradients(weights, inputs, previous, from_input, from_state)


@register_grad_sampler(nn.LSTM)
def lstm_gradients(layer: nn.LSTM, activations: list[Tensor], backprops: Tensor) -> GradSamples:
    """Per-record gradients of an LSTM's weights; shapes as in :func:`gru_gradients`."""
    _require_plain(layer, activations)
    weights = _Weights(layer)
    inputs = activations[0]
    hidden = layer.hidden_size
    with torch.no_grad():
        previous = _previous(layer(inputs)[0])
        gates = torch.addmm(
            weights.input_bias + weights.state_bias, inputs.flatten(0, 1), weights.of_input.t()
        )
        gates = gates.addmm_(previous.flatten(0, 1), weights.of_state.t())
        gates = gates.view(*inputs.shape[:2], 4 * hidden)
        enter, forget, _, leave = torch.chunk(torch.sigmoid(gates), 4, dim=-1)
        new = torch.tanh(gates[..., 2 * hidden : 3 * hidden])
        cells = torch.empty_like(new)
        cell = torch.zeros_like(new[:, 0])
        for t in range(inputs.shape[1]):
            cell = forget[:, t] * cell + enter[:, t] * new[:, t]
            cells[:, t] = cell
        squashed = torch.tanh(cells)
        before = _previous(cells)
        d_gates = torch.empty_like(gates)
        d_hidden = torch.zeros_like(backprops[:, 0])
        d_cell = torch.zeros_like(d_hidden)
        for t in range(inputs.shape[1] - 1, -1, -1):
            d_hidden = d_hidden + backprops[:, t]
            o, s = leave[:, t], squashed[:, t]
            d_cell = d_cell + d_hidden * o * (1 - s * s)
            i, f, g = enter[:, t], forget[:, t], new[:, t]
            d_gates[:, t] = torch.cat(
                [
                    d_cell * g * i * (1 - i),
                    d_cell * before[:, t] * f * (1 - f),
                    d_cell * i * (1 - g * g),
                    d_hidden * s * o * (1 - o),
                ],
                dim=-1,
            )
            d_hidden = d_gates[:, t] @ weights.of_state
            d_cell = d_cell * f
    return _weight_gradients(weights, inputs, previous, d_gates, d_gates)
