# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a network and its losses are what clipping needs: no record looks at another one.

A denominator that counts the batch, statistics of the batch, a tensor whose first dimension is not
the records: each lets one record change what others add, by more than the clipping norm. None can
be seen in the code. So a few records are tried, alone and in batches of two sizes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from fedcode.errors import TrainingError
from fedcode.task import Losses
from fedcode.training.per_record.recorder import Recorder

E = TypeVar("E")
B = TypeVar("B")

_TOLERANCE = 1e-3  # of a weight's gradient
_OF_ALL = 1e-5  # of the whole gradient: some weights' gradients are nothing but rounding
_TOGETHER = (1, 2, 3)
_MOVED, _LEAST = 0.1, 0.01


def verify(task: Losses[E, B], recorder: Recorder, examples: Sequence[E]) -> None:
    """Compares a few short records' gradients in batches with autograd's of each alone.

    Each weight is looked at by itself, however little it adds to the whole: with other weights it
    may add the most. And weights are moved a little first: what starts at 0 hides what is behind.

    Raises:
        TrainingError: they differ, or a forward pass leaves traces in a buffer.
    """
    tried = _few(task, examples)
    with _moved(recorder.movable):
        with _untouched(recorder.model):
            alone = [_alone(task, recorder, example) for example in tried]
        for size in _TOGETHER[: len(tried)]:
            _compare(task, recorder, tried[:size], alone[:size])


def _few(task: Losses[E, B], examples: Sequence[E]) -> list[E]:
    """At most three of the shorter half, of different lengths if there are such."""
    ranked = sorted(examples, key=task.length)[: len(examples) // 2 + 2]
    return [ranked[i * (len(ranked) - 1) // 2] for i in range(3)] if len(ranked) > 2 else ranked


@contextmanager
def _moved(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within, every weight is a little another one."""
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p in parameters:
            wave = torch.arange(p.numel(), dtype=p.dtype, device=p.device).cos().view(p.shape)
            p.add_(wave * (_MOVED * p.square().mean().sqrt() + _LEAST))
    try:
        yield
    finally:
        with torch.no_grad():
            for p, own in zip(parameters, before, strict=True):
                p.copy_(own)


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Refuses a forward pass that leaves what it has seen for the next one."""
    before = {name: (b, b.clone()) for name, b in model.named_buffers()}
    yield
    for name, (buffer, own) in before.items():
        if not torch.equal(buffer, own):
            raise TrainingError(
                f"the buffer {name} keeps what records have left in it",
                "use no statistics of records: they pass by the noise",
            )


def _alone(task: Losses[E, B], recorder: Recorder, example: E) -> list[Tensor]:
    """A record's gradients as autograd has them."""
    # dropout is off, and cuDNN has no backward pass for recurrent layers in that mode
    own = torch.backends.cudnn.flags(enabled=False)
    with torch.enable_grad(), own, warnings.catch_warnings():
        # of a sharded layer whose output is a view: nothing here works in place on one
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
        loss = task.losses(recorder.model, task.collate([example])).sum()
        return list(
            torch.autograd.grad(
                loss, recorder.parameters, allow_unused=True, materialize_grads=True
            )
        )


def _compare(
    task: Losses[E, B], recorder: Recorder, examples: Sequence[E], alone: Sequence[list[Tensor]]
) -> None:
    """Whether what is noted of each record of a batch is what it has ``alone``."""
    size = len(examples)
    with recorder.recording(size, "norms") as tape:
        losses = task.losses(recorder.model, task.collate(examples))
        if losses.shape != (size,):
            raise TrainingError(f"one loss per example was expected, not {tuple(losses.shape)}")
        torch.autograd.backward(losses.sum())
    squares = tape.squares()
    names = [name for name, p in recorder.model.named_parameters() if p.requires_grad]
    for number, own in enumerate(alone):
        found = tape.sums(torch.eye(size, device=squares.device)[number])
        whole = torch.stack([g.norm() for g in own]).norm()
        for place, name in enumerate(names):
            length = squares[place, number].sqrt()
            if not _agree(found[place], own[place], whole) or not _reaches(length, own[place]):
                _refuse(name, size)


def _refuse(name: str, size: int) -> None:
    if size == 1:
        raise TrainingError(
            f"not every use of {name} is noted", "use weights by way of their layers alone"
        )
    raise TrainingError(
        "the losses or the layers of a batch look at more than one record",
        f"the gradient of {name} must be the same beside others: no batch statistics, no "
        "denominator that counts the batch, records first in every tensor",
    )


def _agree(found: Tensor, own: Tensor, whole: Tensor) -> bool:
    """Whether two gradients are the same but for rounding; where they are not finite, they are."""
    apart = (found - own).norm()
    return bool(~whole.isfinite() | (apart <= _TOLERANCE * own.norm() + _OF_ALL * whole + 1e-12))


def _reaches(length: Tensor, own: Tensor) -> bool:
    """Whether a norm is not too small; where the gradient is not finite, it is not."""
    wanted = own.norm()
    return bool(~wanted.isfinite() | (length >= (1 - _TOLERANCE) * wanted - 1e-12))
