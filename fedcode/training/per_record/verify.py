# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a network and its losses are what clipping needs: no record looks at another one.

A denominator that counts the batch, statistics of the batch, a tensor whose first dimension is not
the records: each lets one record change what others add, by more than the clipping norm. None can
be seen in the code. So a few records are tried, alone and in batches of two sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from fedcode.errors import TrainingError
from fedcode.task import Losses
from fedcode.training.per_record.recorder import Recorder

E = TypeVar("E")
B = TypeVar("B")

_TOLERANCE = 1e-2
_TOGETHER = (2, 3)


def verify(task: Losses[E, B], recorder: Recorder, examples: Sequence[E]) -> None:
    """Compares a few short records' gradients alone with those in batches, and with autograd's.

    Raises:
        TrainingError: they differ.
    """
    tried = _few(task, examples)
    alone = torch.stack([_squares(task, recorder, [example])[0] for example in tried])
    for size in _TOGETHER:
        if size > len(tried):
            break
        beside = _squares(task, recorder, tried[:size])
        own = alone[:size]
        if not _agree(beside.sqrt(), own.sqrt()):
            raise TrainingError(
                "the losses or the layers of a batch look at more than one record",
                "a record's loss must be the same beside others: no batch statistics, no "
                "denominator that counts the batch, records first in every tensor",
            )
    _verify_whole(task, recorder, tried)


def _few(task: Losses[E, B], examples: Sequence[E]) -> list[E]:
    """At most three of the shorter half, of different lengths if there are such."""
    ranked = sorted(examples, key=task.length)[: len(examples) // 2 + 2]
    return [ranked[i * (len(ranked) - 1) // 2] for i in range(3)] if len(ranked) > 2 else ranked


def _squares(task: Losses[E, B], recorder: Recorder, examples: Sequence[E]) -> Tensor:
    """Squared norms of the examples' gradients, shape (examples,)."""
    with recorder.recording(len(examples), "norms") as tape:
        losses = task.losses(recorder.model, task.collate(examples))
        if losses.shape != (len(examples),):
            raise TrainingError(f"one loss per example was expected, not {tuple(losses.shape)}")
        torch.autograd.backward(losses.sum())
    return tape.squares().sum(0)


def _verify_whole(task: Losses[E, B], recorder: Recorder, examples: Sequence[E]) -> None:
    """Whether what was noted is all that autograd finds."""
    batch = task.collate(examples)
    with recorder.recording(len(examples), "sums") as tape:
        torch.autograd.backward(task.losses(recorder.model, batch).sum())
    with torch.enable_grad():
        total = task.losses(recorder.model, batch).sum()
        found = torch.autograd.grad(
            total, recorder.parameters, allow_unused=True, materialize_grads=True
        )
    names = [name for name, p in recorder.model.named_parameters() if p.requires_grad]
    for name, noted, whole in zip(names, tape.sums(), found, strict=True):
        if not _agree(noted.flatten(), whole.flatten()):
            raise TrainingError(
                f"not every use of {name} is noted",
                "use weights by way of their layers alone",
            )


def _agree(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors are the same but for rounding; where either is not finite, they are."""
    length = torch.maximum(one.norm(), two.norm())
    return bool(~length.isfinite() | ((one - two).norm() <= _TOLERANCE * length + 1e-12))
