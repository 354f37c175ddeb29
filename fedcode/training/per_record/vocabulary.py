# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Output layer, softmax and cross-entropy of a large vocabulary, a few records at a time.

Logits become probabilities, and these the gradient, in one buffer and while they are hot. The
gradient of the hidden vectors and the Gram matrix follow at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fedcode.errors import TrainingError
from fedcode.models.vocabulary import TokenLosses
from fedcode.training.per_record.outer import Dense, Gram, Outer, gram_of
from fedcode.training.per_record.tape import Tape

_TOGETHER = 256  # places whose logits are computed at once
_APART = 16


def token_losses(layer: TokenLosses, tape: Tape, hidden: Tensor, targets: Tensor) -> Tensor:
    """See :class:`TokenLosses`."""
    if hidden.dim() != 3 or tape.batch not in (None, len(hidden)):
        raise TrainingError(
            f"{layer} was given {tuple(hidden.shape)} in a batch of {tape.batch} records",
            "give (batch, time, n)",
        )
    tape.expect(layer.output.weight, layer.output.bias)
    losses: Tensor = _Losses.apply(tape.anchor, hidden, targets, layer, tape)  # type: ignore[no-untyped-call]
    return losses


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, hidden: Tensor, targets: Tensor, layer: TokenLosses, tape: Tape
    ) -> Tensor:
        del anchor
        hidden = hidden.detach().contiguous()
        weight, bias = layer.output.weight, layer.output.bias
        batch, time, width = hidden.shape
        size = max(1, _TOGETHER // time)
        trained = tape.wants(weight) or tape.wants(bias)
        kept = batch if trained else min(size, batch)
        # rows a power of two apart would fall into the same few lines of a processor's cache
        buffer = tape.buffer((kept, time, len(weight) + _APART), hidden)[..., : len(weight)]
        losses = hidden.new_empty(batch, time)
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[1] else None
        wanted = tape.keep == "norms" and tape.wants(weight)
        wanted = wanted and tape.by_gram(len(weight), width)
        grams = []
        turned = weight.t()
        for start in range(0, batch, size):
            end = min(start + size, batch)
            part = buffer[start:end] if trained else buffer[: end - start]
            flat = part.flatten(0, 1)
            torch.mm(hidden[start:end].view(-1, width), turned, out=flat)
            if bias is not None:
                flat.add_(bias)
            each = _cross_entropy(flat, targets[start:end].flatten(), layer.ignored)
            losses[start:end] = each.view(-1, time)
            if d_hidden is not None:
                torch.mm(flat, weight, out=d_hidden[start:end].view(-1, width))
            if wanted:
                grams.append(gram_of(part))
        ctx.kept = (hidden, buffer if trained else None, d_hidden, grams, layer, tape)
        return losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        hidden, buffer, d_hidden, grams, layer, tape = ctx.kept
        ctx.kept = None
        scale = gradient.unsqueeze(2)
        if buffer is not None:
            left = Dense(buffer)
            if grams:
                left.know(_joined(grams))
            tape.add(layer.output.weight, lambda: Outer(left, Dense(hidden * scale)))
            tape.add(layer.output.bias, lambda: Outer(left, Dense(scale)))
            left.forget()
        return None, None if d_hidden is None else d_hidden.mul_(scale), None, None, None


def _cross_entropy(logits: Tensor, targets: Tensor, ignored: int) -> Tensor:
    """The losses, shape (n,); ``logits`` (n, V) become their gradients."""
    inside = targets != ignored
    right = targets.masked_fill(~inside, 0).unsqueeze(1)
    most = logits.amax(1, keepdim=True)
    of_right = logits.gather(1, right)
    logits.sub_(most).exp_()
    total = logits.sum(1, keepdim=True)
    losses = (total.log() + most - of_right).squeeze(1)
    weight = inside.unsqueeze(1).to(logits.dtype)
    logits.mul_(weight / total).scatter_add_(1, right, -weight)
    return losses.masked_fill(~inside, 0)


def _joined(grams: list[Gram]) -> Gram:
    panels = zip(*(gram.panels for gram in grams), strict=True)
    return Gram(tuple(torch.cat(each) for each in panels))
