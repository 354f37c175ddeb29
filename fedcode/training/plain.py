# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Training without privacy: on public code, and as the yardstick of a simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fedcode.errors import TrainingError
from fedcode.federation import Precision
from fedcode.task import GradientTask
from fedcode.training.batches import shuffled_batches
from fedcode.training.network import device, products
from fedcode.training.per_record.recorder import Recorder

E = TypeVar("E")
B = TypeVar("B")

_WARM_UP = 0.05
_CLIP = 1.0


def schedule(done: float) -> float:
    """Learning rate factor after a share ``done`` of the steps: linear warm-up, then a cosine."""
    return min(1.0, done / _WARM_UP + 0.02) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def record_losses(
    task: GradientTask[E, B],
    model: nn.Module,
    examples: Sequence[E],
    size: int,
    order: np.random.Generator,
) -> Iterator[Tensor]:
    """Mean losses of shuffled batches of records, pass after pass without end."""
    while True:
        for batch in shuffled_batches(task, examples, size, order):
            yield task.losses(model, batch).mean()


def mixed(
    records: Iterator[Tensor], public: Iterator[Tensor], share: float, order: np.random.Generator
) -> Iterator[Tensor]:
    """Losses of ``records``, but for a random ``share`` of the steps those of ``public``."""
    while True:
        yield next(public if order.random() < share else records)


class PlainTrainer:
    """AdamW with the gradient norm clipped at 1, on the weights of a model that are trained.

    The moments last as long as the object: several may take turns on one model.

    Args:
        model: trained in place, on the parameters that require gradients.
        total: steps of the whole training, for the learning rate's schedule.
        learning_rate: at its highest.
        weight_decay: of AdamW.
        precision: of the network's products.
    """

    def __init__(
        self,
        model: nn.Module,
        total: int,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        precision: Precision = "float32",
    ) -> None:
        self._model = model.to(device())
        self._total = total
        self._learning_rate = learning_rate
        self._precision: Precision = precision
        # on a processor these rules are faster than autograd's; they are float32 alone
        slow = device().type == "cpu" and precision == "float32"
        self._recorder = Recorder.of_sums(self._model) if slow else None
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=learning_rate,
            weight_decay=weight_decay,
            betas=(0.9, 0.99),
            fused=True,
        )

    def train(
        self,
        losses: Iterator[Tensor],
        steps: range,
        tell: Callable[[int, float], None] = lambda _step, _loss: None,
    ) -> float:
        """Takes steps.

        Args:
            losses: of the model as it then is: one is asked for per step.
            steps: the numbers of the steps to take, out of the total.
            tell: called after each step with its number and loss.

        Returns:
            The mean loss over the steps.

        Raises:
            TrainingError: a loss is not finite.
        """
        self._model.train()
        sum_of_losses = 0.0
        for step in steps:
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._gradients(losses)
            torch.nn.utils.clip_grad_norm_(self._parameters, _CLIP)
            for group in self._optimizer.param_groups:
                group["lr"] = self._learning_rate * schedule(step / self._total)
            self._optimizer.step()
            sum_of_losses += loss.item()
            tell(step, loss.item())
        return sum_of_losses / max(1, len(steps))

    def _gradients(self, losses: Iterator[Tensor]) -> Tensor:
        """The next loss, whose gradients are then in the parameters."""
        if self._recorder is None:
            with products(self._precision):
                return _backward(next(losses))
        with self._recorder.recording(None, "sums") as tape:
            loss = _backward(next(losses))
        for parameter, total in zip(self._recorder.parameters, tape.sums(), strict=True):
            parameter.grad = total if parameter.grad is None else total.add_(parameter.grad)
        return loss


def _backward(loss: Tensor) -> Tensor:
    if not torch.isfinite(loss):
        raise TrainingError("the loss is not finite", "lower the learning rate")
    torch.autograd.backward(loss)
    return loss.detach()
