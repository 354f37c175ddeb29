# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``nn.GRU`` and ``nn.LSTM`` as they are: stacked, bidirectional, packed, from any state.

The input's part of all gates is one product; a loop over time adds the state's part and overwrites
the gates, going back, with the gradients of what they were computed from. These, with what entered,
are the layer's outer products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from fedcode.errors import TrainingError
from fedcode.training.per_record.outer import Dense, Outer, ones
from fedcode.training.per_record.tape import Tape

Layer = nn.GRU | nn.LSTM
State = tuple[Tensor, ...]
"""h, or h and c; each (batch, hidden)."""


class Weights(NamedTuple):
    """Of one layer and direction."""

    of_input: nn.Parameter
    of_state: nn.Parameter
    input_bias: nn.Parameter | None
    state_bias: nn.Parameter | None


class Gates(NamedTuple):
    """Gradients of what the gates were computed from, shape (time, batch, gates · hidden).

    An LSTM's two are the same tensor; a GRU's are the same but for the new gate, the last third.
    """

    from_input: Tensor
    from_state: Tensor


Note = Callable[[Gates, Tensor, Tensor], None]
"""Told the gates' gradients, the inputs and the states before, all with the time first."""


def recurrent(
    layer: Layer,
    tape: Tape,
    inputs: Tensor | PackedSequence,
    state: Tensor | tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor | PackedSequence, Tensor | tuple[Tensor, Tensor]]:
    """What the layer gives, and a note of its gradients; see ``nn.GRU`` and ``nn.LSTM``."""
    if layer.proj_size:
        raise TrainingError(f"no per-record gradients for {layer}", "use no projection")
    x, alive, repack = _unpacked(layer, inputs)
    if x.dim() != 3 or tape.batch not in (None, x.shape[1]):
        raise TrainingError(
            f"{layer} was given {tuple(x.shape)} in a batch of {tape.batch} records",
            "each record is one sequence; batch_first says which dimension they are",
        )
    first = _states(layer, x, state)
    last: list[State] = []
    directions = 2 if layer.bidirectional else 1
    for number in range(layer.num_layers):
        if number and layer.training and layer.dropout:
            x = F.dropout(x, layer.dropout)
        outputs = []
        for direction in range(directions):
            at = number * directions + direction
            weights = _weights(layer, number, direction)
            y, end = _run(layer, tape, weights, x, tuple(s[at] for s in first), alive, direction)
            outputs.append(y)
            last.append(end)
        x = torch.cat(outputs, 2) if layer.bidirectional else outputs[0]
    after = tuple(torch.stack(each) for each in zip(*last, strict=True))
    return repack(x, after)


def _weights(layer: Layer, number: int, direction: int) -> Weights:
    suffix = f"l{number}" + ("_reverse" if direction else "")
    names = [f"weight_ih_{suffix}", f"weight_hh_{suffix}"]
    names += [f"bias_ih_{suffix}", f"bias_hh_{suffix}"]
    return Weights(*(getattr(layer, name, None) for name in names))  # type: ignore[arg-type]


def _states(
    layer: Layer, x: Tensor, state: Tensor | tuple[Tensor, Tensor] | None
) -> tuple[Tensor, ...]:
    """The first states of all layers and directions, each (layers · directions, batch, hidden)."""
    if state is None:
        rows = layer.num_layers * (2 if layer.bidirectional else 1)
        zero = x.new_zeros(rows, x.shape[1], layer.hidden_size)
        return (zero, zero) if isinstance(layer, nn.LSTM) else (zero,)
    return state if isinstance(state, tuple) else (state,)


Repack = Callable[[Tensor, State], tuple[Any, Any]]


def _unpacked(
    layer: Layer, inputs: Tensor | PackedSequence
) -> tuple[Tensor, Tensor | None, Repack]:
    """Inputs with the time first, which places are within their record, and the way back."""

    def states(after: State) -> Tensor | State:
        return after if isinstance(layer, nn.LSTM) else after[0]

    if not isinstance(inputs, PackedSequence):
        x = inputs.transpose(0, 1) if layer.batch_first else inputs

        def padded(y: Tensor, after: State) -> tuple[Any, Any]:
            return (y.transpose(0, 1) if layer.batch_first else y), states(after)

        return x, None, padded
    x, lengths = pad_packed_sequence(inputs)
    time = torch.arange(x.shape[0], device=x.device)
    alive = (time.unsqueeze(1) < lengths.to(x.device)).unsqueeze(2)

    def packed(y: Tensor, after: State) -> tuple[Any, Any]:
        return _packed_as(inputs, y), states(after)

    return x, alive, packed


def _packed_as(inputs: PackedSequence, y: Tensor) -> PackedSequence:
    """``y`` (time, batch, hidden) in the order of ``inputs``, also where lengths are alike."""
    _, sizes, order, back = inputs
    rows = y if order is None else y.index_select(1, order)
    inside = torch.arange(y.shape[1], device=y.device) < sizes.to(y.device).unsqueeze(1)
    return PackedSequence(rows[inside], sizes, order, back)


def _run(
    layer: Layer,
    tape: Tape,
    weights: Weights,
    x: Tensor,
    state: State,
    alive: Tensor | None,
    direction: int,
) -> tuple[Tensor, State]:
    """One layer in one direction: outputs (time, batch, hidden) and the last state."""
    tape.expect(*weights)

    def note(gates: Gates, entered: Tensor, before: Tensor) -> None:
        _note(tape, weights, gates, entered, before, isinstance(layer, nn.GRU))

    kind = _LSTM if isinstance(layer, nn.LSTM) else _GRU
    x = _reversed(x, alive) if direction else x
    y, *end = kind.apply(tape.anchor, x, weights, alive, note, *state)  # type: ignore[no-untyped-call]
    return (_reversed(y, alive) if direction else y), tuple(end)


def _reversed(x: Tensor, alive: Tensor | None) -> Tensor:
    """Each record from its own last place to its first; padding stays behind."""
    if alive is None:
        return x.flip(0)
    time = torch.arange(len(x), device=x.device).view(-1, 1, 1)
    mirror = torch.where(alive, alive.sum(0) - 1 - time, time)
    return x.gather(0, mirror.expand_as(x))


def _note(
    tape: Tape, weights: Weights, gates: Gates, entered: Tensor, before: Tensor, gru: bool
) -> None:
    """The outer products of all four weights; what they have in common is computed once."""
    x, h = Dense(entered.transpose(0, 1)), Dense(before.transpose(0, 1))
    from_input = from_state = Dense(gates.from_input.transpose(0, 1))
    if gru:
        hidden = before.shape[2]
        both = Dense(gates.from_input[..., : 2 * hidden].transpose(0, 1))
        one, two = (Dense(g[..., 2 * hidden :].transpose(0, 1)) for g in gates)
        from_input = Dense(from_input.values, (both, one))
        from_state = Dense(gates.from_state.transpose(0, 1), (both, two))
    tape.add(weights.of_input, lambda: Outer(from_input, x))
    tape.add(weights.of_state, lambda: Outer(from_state, h))
    tape.add(weights.input_bias, lambda: Outer(from_input, ones(from_input)))
    tape.add(weights.state_bias, lambda: Outer(from_state, ones(from_state)))
    from_input.forget()
    from_state.forget()


def _gates(x: Tensor, weight: Tensor, biases: Sequence[Tensor | None]) -> Tensor:
    """The input's part of the gates for all places at once."""
    flat = x.flatten(0, 1)
    given = [b for b in biases if b is not None]
    found = torch.addmm(sum(given[1:], given[0]), flat, weight.t()) if given else flat @ weight.t()
    return found.view(*x.shape[:2], -1)


def _steps(*tensors: Tensor | None) -> Any:
    """The tensors' places in time, one after another."""
    length = next(len(t) for t in tensors if t is not None)
    return zip(*([None] * length if t is None else t.unbind(0) for t in tensors), strict=True)


def _back(*tensors: Tensor | None) -> Any:
    """The same from the last place to the first."""
    length = next(len(t) for t in tensors if t is not None)
    parts = ([None] * length if t is None else t.unbind(0)[::-1] for t in tensors)
    return zip(*parts, strict=True)


class _GRU(torch.autograd.Function):
    """(time, batch, n) -> (time, batch, hidden), and the last state."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        x: Tensor,
        weights: Weights,
        alive: Tensor | None,
        note: Note,
        state: Tensor,
    ) -> tuple[Tensor, Tensor]:
        del anchor
        x = x.detach().contiguous()
        hidden = state.shape[1]
        gates = _gates(x, weights.of_input, [weights.input_bias])
        states = x.new_empty(len(x) + 1, *state.shape)
        states[0] = state
        recurrent_part = torch.empty_like(gates)
        turned, bias = weights.of_state.t(), weights.state_bias
        for g, q, h, after, here in _steps(gates, recurrent_part, states[:-1], states[1:], alive):
            torch.mm(h, turned, out=q)
            if bias is not None:
                q.add_(bias)
            both = g[:, : 2 * hidden].add_(q[:, : 2 * hidden]).sigmoid_()
            new = g[:, 2 * hidden :].addcmul_(both[:, :hidden], q[:, 2 * hidden :]).tanh_()
            torch.lerp(new, h, both[:, hidden:], out=after)
            if here is not None:
                torch.where(here, after, h, out=after)
        ctx.kept = (x, gates, recurrent_part, states, weights, alive, note)
        outputs = states[1:] if alive is None else states[1:] * alive
        return outputs, states[-1].clone()

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_last: Tensor) -> Any:
        x, gates, back, states, weights, alive, note = ctx.kept
        ctx.kept = None
        hidden = states.shape[2]
        reset, update, new = gates.split(hidden, 2)
        state_new = back[..., 2 * hidden :]
        by_new = (1 - update) * (1 - new * new)
        by_update = (states[:-1] - new) * update * (1 - update)
        by_reset = state_new * reset * (1 - reset)
        kept = (by_new, by_update, by_reset, reset.clone(), update.clone())
        if alive is not None:
            d_outputs = d_outputs * alive
        d = d_last.clone()
        for g, q, d_out, here, n, u, r, gate, keep in _back(gates, back, d_outputs, alive, *kept):
            d_here = d + d_out
            d_now = d_here if here is None else d_here * here
            d_new = torch.mul(d_now, n, out=g[:, 2 * hidden :])
            torch.mul(d_now, u, out=g[:, hidden : 2 * hidden])
            torch.mul(d_new, r, out=g[:, :hidden])
            q[:, : 2 * hidden] = g[:, : 2 * hidden]
            torch.mul(d_new, gate, out=q[:, 2 * hidden :])
            d = torch.mul(d_now, keep).addmm_(q, weights.of_state)
            if here is not None:
                d = torch.where(here, d, d_here)
        note(Gates(gates, back), x, states[:-1])
        d_x = torch.matmul(gates, weights.of_input) if ctx.needs_input_grad[1] else None
        return None, d_x, None, None, None, d


class _LSTM(torch.autograd.Function):
    """(time, batch, n) -> (time, batch, hidden), and the last two states."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        x: Tensor,
        weights: Weights,
        alive: Tensor | None,
        note: Note,
        state: Tensor,
        cell: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        del anchor
        x = x.detach().contiguous()
        hidden = state.shape[1]
        gates = _gates(x, weights.of_input, [weights.input_bias, weights.state_bias])
        states, cells = (x.new_empty(len(x) + 1, *state.shape) for _ in range(2))
        states[0], cells[0] = state, cell
        squashed = x.new_empty(len(x), *state.shape)
        turned = weights.of_state.t()
        parts = (gates, states[:-1], cells[:-1], states[1:], cells[1:], squashed, alive)
        for g, h, c, h_after, c_after, t, here in _steps(*parts):
            g.addmm_(h, turned)
            g[:, : 2 * hidden].sigmoid_()
            g[:, 2 * hidden : 3 * hidden].tanh_()
            g[:, 3 * hidden :].sigmoid_()
            enter, forget, new, leave = g.split(hidden, 1)
            torch.mul(forget, c, out=c_after).addcmul_(enter, new)
            torch.mul(leave, torch.tanh(c_after, out=t), out=h_after)
            if here is not None:
                torch.where(here, c_after, c, out=c_after)
                torch.where(here, h_after, h, out=h_after)
        ctx.kept = (x, gates, states, cells, squashed, weights, alive, note)
        outputs = states[1:] if alive is None else states[1:] * alive
        return outputs, states[-1].clone(), cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_last: Tensor, d_cell: Tensor) -> Any:
        x, gates, states, cells, squashed, weights, alive, note = ctx.kept
        ctx.kept = None
        hidden = states.shape[2]
        enter, forget, new, leave = gates.split(hidden, 2)
        by_cell = torch.stack(
            (
                new * enter * (1 - enter),
                cells[:-1] * forget * (1 - forget),
                enter * (1 - new * new),
            ),
            2,
        )
        by_leave = squashed * leave * (1 - leave)
        to_cell = leave * (1 - squashed * squashed)
        if alive is not None:
            d_outputs = d_outputs * alive
        d, dc = d_last.clone(), d_cell.clone()
        kept = (by_cell, by_leave, to_cell, forget.clone())
        for g, d_out, here, three, last, into, keep in _back(gates, d_outputs, alive, *kept):
            d_here = d + d_out
            d_now, dc_now = (d_here, dc) if here is None else (d_here * here, dc * here)
            dc_now = torch.addcmul(dc_now, d_now, into)
            torch.mul(three, dc_now.unsqueeze(1), out=g.view(len(g), 4, hidden)[:, :3])
            torch.mul(d_now, last, out=g[:, 3 * hidden :])
            d = torch.mm(g, weights.of_state)
            after = dc_now * keep
            if here is not None:
                d, after = torch.where(here, d, d_here), torch.where(here, after, dc)
            dc = after
        note(Gates(gates, gates), x, states[:-1])
        d_x = torch.matmul(gates, weights.of_input) if ctx.needs_input_grad[1] else None
        return None, d_x, None, None, None, d, dc
