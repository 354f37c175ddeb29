# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a curious coordinator can work out about records whose content it knows.

It knows the weights that it sent and the update that it got, round by round. A record that was in
a round's batch has moved the update along its own gradient. A sum of gradients moves the weights
the other way, and a sum of counts where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import Release
from fedcode.record import Record
from fedcode.task import CountTask, Losses
from fedcode.trainer import LocalReport, Trainer
from fedcode.training.counting import CountTrainer
from fedcode.training.network import device, read, trainable, write
from fedcode.weights import Vector

E = TypeVar("E")
B = TypeVar("B")

_TOGETHER = 256
_STEP = 0.01
_RAISED = 2.0


class Seen(NamedTuple):
    """One round, as a coordinator sees it: both of shape (d,); the scale of updates is its own."""

    weights: Vector
    update: Vector


class ObservedTrainer:
    """A trainer whose rounds are written down, exactly as they leave it.

    Args:
        trainer: does the work.

    Attributes:
        seen: the rounds so far.
        report: the trainer's last figures.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.seen: list[Seen] = []
        self.report: LocalReport = trainer.report
        self._trainer = trainer

    def train(self, weights: Vector, receipt: Receipt) -> Release:
        """The trainer's release."""
        release = self._trainer.train(weights, receipt)
        self.report = self._trainer.report
        update = release.vector[: weights.size]
        against = release.sum is not None and not isinstance(self._trainer, CountTrainer)
        self.seen.append(Seen(weights.copy(), -update if against else update))
        return release


def record_losses(
    task: Losses[E, B], model: nn.Module, examples: Sequence[E]
) -> NDArray[np.float64]:
    """The loss of each example, shape (examples,), in the examples' order."""
    order = sorted(range(len(examples)), key=lambda i: task.length(examples[i]))
    found = np.empty(len(examples))
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), _TOGETHER):
            part = order[start : start + _TOGETHER]
            losses = task.losses(model, task.collate([examples[i] for i in part]))
            found[part] = losses.double().cpu().numpy()
    return found


def gradient_scores(
    task: Losses[E, B],
    model: nn.Module,
    examples: Sequence[E],
    rounds: Sequence[Seen],
    decoys: Sequence[E] = (),
) -> NDArray[np.float64]:
    """How far each update lies along each example's own descent, shape (rounds, examples).

    It is <update, -gradient of the example's loss>. The product is the loss's derivative along the
    update, and is measured as one: by the losses a little before and a little after the weights
    that were sent (central difference; two forward passes a round).

    Args:
        task: gives the losses.
        model: of the task, without hooks; its weights are the same afterwards.
        examples: to be scored.
        rounds: what was seen.
        decoys: examples of the same kind that were in no batch. What an update has in common with
            their gradients says nothing about one example, and is taken out of it first.
    """
    before = read(model)
    model = model.to(device())
    scores = np.zeros((len(rounds), len(examples)))
    shared = np.zeros((len(before), 0), np.float32)
    if rounds and decoys:
        write(model, rounds[0].weights)
        shared = _directions(task, model, decoys)
    for number, (weights, update) in enumerate(rounds):
        own = update - shared @ (shared.T @ update)
        length = float(np.linalg.norm(own))
        if not length:
            continue
        step = np.float32(_STEP * max(1.0, float(np.linalg.norm(weights))) / length)
        write(model, weights + step * own)
        after = record_losses(task, model, examples)
        write(model, weights - step * own)
        scores[number] = (record_losses(task, model, examples) - after) / (2 * step)
    write(model, before)
    return scores


def _directions(task: Losses[E, B], model: nn.Module, examples: Sequence[E]) -> Vector:
    """An orthonormal basis of the examples' gradients, shape (d, examples)."""
    model.eval()
    weights = list(trainable(model).values())
    gradients = []
    with torch.backends.cudnn.flags(enabled=False):  # it has no backward pass in this mode
        for example in examples:
            loss = task.losses(model, task.collate([example])).sum()
            parts = torch.autograd.grad(loss, weights)
            gradients.append(torch.cat([part.flatten() for part in parts]))
    basis: Vector = torch.linalg.qr(torch.stack(gradients, dim=1)).Q.cpu().numpy()
    return basis


def count_scores(
    task: CountTask, records: Sequence[Record], rounds: Sequence[Seen]
) -> NDArray[np.float64]:
    """How much of each record's own counts each update holds, shape (rounds, records).

    The update is taken apart into the records' counts, which are scaled to length 1: least squares
    with a small penalty, so that records with counts in common share them.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import lsmr

    places, values, ends = [], [], [0]
    for record in records:
        where, counts = task.counts(record)
        places.append(where)
        values.append(counts / max(float(np.linalg.norm(counts)), 1e-12))
        ends.append(ends[-1] + len(where))
    parts = (np.concatenate(values), np.concatenate(places), np.array(ends))
    matrix = csr_matrix(parts, shape=(len(records), task.size))
    scores = np.zeros((len(rounds), len(records)))
    for number, (_, update) in enumerate(rounds):
        scores[number] = lsmr(matrix.T, update.astype(np.float64), damp=1.0)[0]
    return scores


def over_rounds(scores: NDArray[np.float64], reached: float) -> NDArray[np.float64]:
    """One score for each example, shape (examples,), from those of the rounds.

    The log of the likelihood of having been in, over that of having been out, if a round that
    sampled an example raised its score by two deviations. Where few rounds sample it, one that
    stands out counts for more than the sum of all, which is mostly noise.

    Args:
        scores: shape (rounds, examples).
        reached: the chance that one round samples a record at least once.
    """
    spread = scores.std(axis=1, keepdims=True)
    standing = (scores - np.median(scores, axis=1, keepdims=True)) / np.where(spread, spread, 1)
    raised = _RAISED * standing - _RAISED**2 / 2
    if reached < 1:
        raised = np.logaddexp(np.log1p(-reached), np.log(reached) + raised)
    total: NDArray[np.float64] = raised.sum(axis=0)
    return total
