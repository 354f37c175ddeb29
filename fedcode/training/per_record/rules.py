# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How each kind of layer notes its gradients. A layer without a rule is refused.

A rule stands in for the layer's ``forward`` while a batch is recorded: it computes what the layer
would, and tells the tape what entered and what gradient came back. All want the records first.
What entered is handed over, not held: the graph of a batch outlives its backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from fedcode.errors import TrainingError
from fedcode.training.per_record.boltzmann import boltzmann
from fedcode.training.per_record.outer import Bag, Dense, Outer, Rows, Samples, ones
from fedcode.training.per_record.recurrent import recurrent
from fedcode.training.per_record.tape import Tape
from fedcode.training.per_record.vocabulary import token_losses

Rule = Callable[..., Any]
"""(layer, tape, *what ``forward`` takes) -> what ``forward`` gives."""


def batch_first(layer: nn.Module, tape: Tape, x: Tensor) -> Tensor:
    """``x`` with one row for each record; a single row that all share is repeated.

    Raises:
        TrainingError: the first dimension is not the records': whose gradient is whose could not
            be told.
    """
    if tape.batch is None or (x.dim() and x.shape[0] == tape.batch):
        return x
    if x.dim() > 1 and x.shape[0] == 1:
        return x.expand(tape.batch, *x.shape[1:])
    raise TrainingError(
        f"{layer} was given a tensor of shape {tuple(x.shape)} in a batch of {tape.batch} records",
        "records come first; give what all records share (positions, say) as one row",
    )


def linear(layer: nn.Linear, tape: Tape, x: Tensor) -> Tensor:
    """``nn.Linear`` on (batch, ..., n)."""
    x = batch_first(layer, tape, x)
    if tape.batch is not None and x.dim() == 1:
        raise TrainingError(f"{layer} was given one number for each record", "unsqueeze(1) them")
    tape.expect(layer.weight, layer.bias)

    def note(gradient: Tensor, entered: Tensor) -> None:
        left, right = Dense(_flat(gradient)), Dense(_flat(entered))
        single = x.dim() == 2
        tape.add(layer.weight, lambda: Outer(left, right, single=single))
        tape.add(layer.bias, lambda: Outer(left, ones(left), single=single))
        left.forget()

    output: Tensor = _Linear.apply(tape.anchor, x, layer, note)  # type: ignore[no-untyped-call]
    return output


class _Linear(torch.autograd.Function):
    """``F.linear``, but for its output, which is no view: a later layer may work in place."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        x: Tensor,
        layer: nn.Linear,
        note: Callable[[Tensor, Tensor], None],
    ) -> Tensor:
        del anchor
        weight, bias = layer.weight, layer.bias
        output = x.new_empty(*x.shape[:-1], len(weight))
        flat, out = x.reshape(-1, x.shape[-1]), output.view(-1, len(weight))
        if bias is None:
            torch.mm(flat, weight.t(), out=out)
        else:
            torch.addmm(bias, flat, weight.t(), out=out)
        ctx.kept = (x.detach(), weight, note)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight, note = ctx.kept
        ctx.kept = None
        d_x = torch.matmul(gradient, weight) if ctx.needs_input_grad[1] else None
        note(gradient, x)
        return None, d_x, None, None


def _flat(x: Tensor) -> Tensor:
    """(batch, ..., n) as (batch, T, n)."""
    if x.dim() < 3:
        return x.view(-1, 1, x.shape[-1])
    return x.flatten(1, -2) if x.dim() > 3 else x


def embedding(layer: nn.Embedding, tape: Tape, index: Tensor) -> Tensor:
    """``nn.Embedding`` on (batch, ...)."""
    if layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse:
        raise TrainingError(
            f"no per-record gradients for {layer}",
            "max_norm, scale_grad_by_freq and sparse gradients mix records or change weights",
        )
    index = batch_first(layer, tape, index)
    tape.expect(layer.weight)

    def note(gradient: Tensor) -> None:
        first = len(index) if index.dim() > 1 else index.numel()
        rows, width = _rows(index.reshape(first, -1), layer), layer.embedding_dim
        tape.add(layer.weight, lambda: Outer(rows, Dense(gradient.reshape(first, -1, width))))

    def compute() -> Tensor:
        return F.embedding(index, layer.weight, layer.padding_idx)

    if tape.batch is not None and index.dim() == 1:
        raise TrainingError(f"{layer} was given one index for each record", "unsqueeze(1) it")
    return tape.watch(compute, [], note)


def _rows(index: Tensor, layer: nn.Embedding | nn.EmbeddingBag) -> Rows:
    if layer.padding_idx is not None:
        index = index.masked_fill(index == layer.padding_idx, -1)
    return Rows(index, layer.num_embeddings)


def embedding_bag(
    layer: nn.EmbeddingBag,
    tape: Tape,
    index: Tensor,
    offsets: Tensor | None = None,
    per_sample_weights: Tensor | None = None,
) -> Tensor:
    """``nn.EmbeddingBag`` by sum or mean, one bag for each record."""
    weighted = per_sample_weights is not None and per_sample_weights.requires_grad
    if layer.mode == "max" or layer.max_norm is not None or layer.sparse or weighted:
        raise TrainingError(
            f"no per-record gradients for {layer}",
            "add up or average; no max_norm, no sparse gradients, no trained weights",
        )
    bags = index if offsets is None else _bags(layer, index, offsets)
    batch_first(layer, tape, bags)
    tape.expect(layer.weight)

    def note(gradient: Tensor) -> None:
        rows = _rows(bags, layer)
        inside = rows.index >= 0
        weights = inside.to(gradient.dtype)
        if per_sample_weights is not None:
            given = per_sample_weights
            given = given if offsets is None else _padded(layer, given, offsets, 0)
            weights = weights * given
        elif layer.mode == "mean":
            weights = weights / inside.sum(1, keepdim=True).clamp(min=1)
        tape.add(layer.weight, lambda: Bag(rows.index, weights, gradient, rows.width))

    def compute() -> Tensor:
        return nn.EmbeddingBag.forward(layer, index, offsets, per_sample_weights)

    return tape.watch(compute, [], note)


def _bags(layer: nn.EmbeddingBag, index: Tensor, offsets: Tensor) -> Tensor:
    """Bags one after another as rows, padded with -1."""
    return _padded(layer, index, offsets, -1)


def _padded(layer: nn.EmbeddingBag, values: Tensor, offsets: Tensor, fill: int) -> Tensor:
    ends = offsets if layer.include_last_offset else F.pad(offsets, (0, 1), value=len(values))
    lengths = ends.diff()
    place = torch.arange(int(lengths.max()), device=values.device)
    inside = place < lengths.unsqueeze(1)
    found = values.new_full(inside.shape, fill)
    found[inside] = values
    return found


def layer_norm(layer: nn.LayerNorm, tape: Tape, x: Tensor) -> Tensor:
    """``nn.LayerNorm``."""
    x = batch_first(layer, tape, x)
    shape = tuple(layer.normalized_shape)

    def normalized(x: Tensor) -> Tensor:
        return F.layer_norm(x, shape, eps=layer.eps)

    def compute() -> Tensor:
        return F.layer_norm(x, shape, layer.weight, layer.bias, layer.eps)

    return _scaled(layer, tape, x, compute, normalized, x.dim() - len(shape))


def rms_norm(layer: nn.RMSNorm, tape: Tape, x: Tensor) -> Tensor:
    """``nn.RMSNorm``."""
    x = batch_first(layer, tape, x)
    shape = tuple(layer.normalized_shape)

    def normalized(x: Tensor) -> Tensor:
        return F.rms_norm(x, shape, eps=layer.eps)

    def compute() -> Tensor:
        return F.rms_norm(x, shape, layer.weight, layer.eps)

    return _scaled(layer, tape, x, compute, normalized, x.dim() - len(shape))


def _scaled(
    layer: nn.LayerNorm | nn.RMSNorm,
    tape: Tape,
    x: Tensor,
    compute: Callable[[], Tensor],
    normalized: Callable[[Tensor], Tensor],
    ahead: int,
) -> Tensor:
    """A layer that scales what it has ``normalized`` over all but ``ahead`` dimensions."""
    bias = getattr(layer, "bias", None)
    tape.expect(layer.weight, bias)
    over = tuple(range(1, ahead))
    entered = [x.detach()]

    def summed(values: Tensor) -> Tensor:
        return values.sum(over) if over else values

    def note(gradient: Tensor) -> None:
        x = entered.pop()
        tape.add(layer.weight, lambda: Samples(summed(normalized(x).mul_(gradient))))
        tape.add(bias, lambda: Samples(summed(gradient)))

    return tape.watch(compute, [x], note)


def group_norm(layer: nn.GroupNorm, tape: Tape, x: Tensor) -> Tensor:
    """``nn.GroupNorm``: channels come after the records."""
    x = batch_first(layer, tape, x)
    tape.expect(layer.weight, layer.bias)
    entered = [x.detach()]

    def compute() -> Tensor:
        return F.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)

    def note(gradient: Tensor) -> None:
        x = entered.pop()

        def scale() -> Samples:
            normalized = F.group_norm(x, layer.num_groups, eps=layer.eps)
            return Samples(_by_channel(normalized.mul_(gradient)))

        tape.add(layer.weight, scale)
        tape.add(layer.bias, lambda: Samples(_by_channel(gradient)))

    return tape.watch(compute, [x], note)


def _by_channel(values: Tensor) -> Tensor:
    return values.flatten(2).sum(2) if values.dim() > 2 else values


def convolution(layer: nn.Conv1d | nn.Conv2d, tape: Tape, x: Tensor) -> Tensor:
    """``nn.Conv1d`` and ``nn.Conv2d`` on (batch, channels, ...)."""
    x = batch_first(layer, tape, x)
    if x.dim() != layer.weight.dim():
        raise TrainingError(f"{layer} was given no batch", "records come first")
    tape.expect(layer.weight, layer.bias)
    entered = [x.detach()]
    forward: Callable[..., Tensor] = type(layer).forward

    def note(gradient: Tensor) -> None:
        left, x = Dense(gradient.flatten(2).transpose(1, 2)), entered.pop()
        tape.add(layer.weight, lambda: _convolved(layer, left, x))
        tape.add(layer.bias, lambda: Outer(left, ones(left)))
        left.forget()

    return tape.watch(partial(forward, layer, x), [x], note)


def _convolved(layer: nn.Conv1d | nn.Conv2d, left: Dense, x: Tensor) -> Outer | Samples:
    """Σ over the places of gradient (out) times patch (in · kernel)."""
    patches = _patches(layer, x)
    if layer.groups == 1:
        return Outer(left, Dense(patches.transpose(1, 2)))
    batch, groups = len(x), layer.groups
    own = patches.view(batch, groups, -1, patches.shape[2])
    out = left.values.transpose(1, 2).reshape(batch, groups, -1, patches.shape[2])
    return Samples(torch.matmul(out, own.transpose(2, 3)).reshape(batch, *layer.weight.shape))


def _patches(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """What each place of the output has seen, shape (batch, in · kernel, places)."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, list(layer._reversed_padding_repeated_twice), mode)  # noqa: SLF001  as torch has it
    flat = isinstance(layer, nn.Conv1d)
    one = (1,) if flat else ()
    return F.unfold(
        x.unsqueeze(2) if flat else x,
        kernel_size=(*one, *layer.kernel_size),
        dilation=(*one, *layer.dilation),
        stride=(*one, *layer.stride),
    )


def rules() -> Mapping[type[nn.Module], Rule]:
    """Every kind of layer that has a rule. A subclass may compute anything, and has none."""
    from fedcode.models.boltzmann import BoltzmannMachine
    from fedcode.models.vocabulary import TokenLosses

    return {
        nn.Linear: linear,
        nn.Embedding: embedding,
        nn.EmbeddingBag: embedding_bag,
        nn.LayerNorm: layer_norm,
        nn.RMSNorm: rms_norm,
        nn.GroupNorm: group_norm,
        nn.Conv1d: convolution,
        nn.Conv2d: convolution,
        nn.GRU: recurrent,
        nn.LSTM: recurrent,
        TokenLosses: token_losses,
        BoltzmannMachine: boltzmann,
    }
