# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What differs between tasks with gradients and tasks with counts, for the arms of a simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedcode.federation import TaskSettings
from fedcode.record import Record, SourceFile
from fedcode.task import CountTask, GradientTask, Metrics
from fedcode.training import network, plain
from fedcode.training.learner import PrivateCounts, PrivateGradients, PrivateLearner
from fedcode.weights import Vector

Tell = Callable[[int, int, float], None]
"""Called with step, number of steps and loss."""


PlainTraining = Callable[[Vector, int], tuple[Vector, float | None]]
"""Training without privacy: (weights, round) -> (change of weights, mean loss if there is one)."""


class Learner(PrivateLearner, Protocol):
    """One task on one set of public weights, with one seed."""

    def start(self) -> Vector:
        """The weights that the federation starts from, shape (d,)."""
        ...

    def plain(self, records: Sequence[Record], rounds: int) -> PlainTraining:
        """The same member's training without privacy, over so many rounds."""
        ...

    def measure(self, weights: Vector, files: Sequence[SourceFile]) -> Metrics:
        """Figures of the model with ``weights`` on ``files``."""
        ...

    def tensors(self, weights: Vector) -> dict[str, NDArray[np.float32]]:
        """The whole model as named tensors."""
        ...


class GradientLearner(PrivateGradients):
    """A network, from the weights of its warm start.

    Args:
        task: builds batches and losses.
        settings: the federation's for this task.
        public: code that training without privacy may go on with.
        seed: of everything random.
        warm: all weights after the warm start.
        everything: train every weight, also what is kept public for the sake of the noise.
    """

    def __init__(
        self,
        task: GradientTask[Any, Any],
        settings: TaskSettings,
        public: Sequence[SourceFile],
        seed: int,
        warm: Mapping[str, NDArray[np.float32]],
        *,
        everything: bool,
    ) -> None:
        super().__init__(task, build(task, seed), settings.training)
        self._settings = settings
        self._public = public
        self._seed = seed
        network.load(self._model, dict(warm))
        if everything:
            self._model.requires_grad_(True)
        self._start = network.read(self._model)

    def start(self) -> Vector:
        """The warm start's weights."""
        return self._start.copy()

    def plain(self, records: Sequence[Record], rounds: int) -> PlainTraining:
        """AdamW on ``records``, an equal share of the steps in each round; it keeps its moments."""
        examples = self._task.examples(records)
        s = self._settings.plain
        own_steps = s.epochs * len(examples) / s.batch
        total = max(rounds, round(own_steps / (1 - s.public_share)))
        order = np.random.default_rng((self._seed, len(examples)))
        losses = plain.record_losses(self._task, self._model, examples, s.batch, order)
        if s.public_share:
            losses = plain.mixed(losses, self._public_losses, s.public_share, order)

        trainer = plain.PlainTrainer(
            self._model,
            total,
            learning_rate=s.learning_rate,
            weight_decay=s.weight_decay,
            precision=s.precision,
        )

        def train(weights: Vector, number: int) -> tuple[Vector, float | None]:
            steps = range((number - 1) * total // rounds, number * total // rounds)
            network.write(self._model, weights)
            loss = trainer.train(losses, steps)
            return network.read(self._model) - weights, loss

        return train

    @cached_property
    def _public_losses(self) -> Iterator[Tensor]:
        """One stream, which the members of an arm share."""
        order = np.random.default_rng((self._seed, len(self._public)))
        batch = self._settings.warm_start.batch
        return self._task.public_losses(self._model, self._public, batch, order)

    def measure(self, weights: Vector, files: Sequence[SourceFile]) -> Metrics:
        """Figures of the network with ``weights``."""
        return self._task.measure(self.model(weights), files)

    def tensors(self, weights: Vector) -> dict[str, NDArray[np.float32]]:
        """All parameters, the public ones too."""
        return network.tensors(self.model(weights))

    def model(self, weights: Vector) -> torch.nn.Module:
        """The network with ``weights``; the next call of any method may change them."""
        network.write(self._model, weights)
        return self._model


class CountLearner(PrivateCounts):
    """Counts, from none."""

    _task: CountTask

    def start(self) -> Vector:
        """No counts."""
        return np.zeros(self._task.size, np.float32)

    def plain(self, records: Sequence[Record], rounds: int) -> PlainTraining:
        """The sum of the counts as they are, an equal share of the records in each round."""

        def train(weights: Vector, number: int) -> tuple[Vector, float | None]:
            total = np.zeros_like(weights)
            for record in records[number - 1 :: rounds]:
                where, counts = self._task.counts(record)
                total[where] += counts
            return total, None

        return train

    def measure(self, weights: Vector, files: Sequence[SourceFile]) -> Metrics:
        """Figures of the model made from the counts."""
        return self._task.measure_counts(weights, files)

    def tensors(self, weights: Vector) -> dict[str, NDArray[np.float32]]:
        """The counts."""
        return {"counts": weights}


def build(task: GradientTask[Any, Any], seed: int) -> torch.nn.Module:
    """A fresh network whose initial weights depend on ``seed`` alone."""
    torch.manual_seed(seed)
    return task.build()


def warm_start(
    task: GradientTask[Any, Any],
    settings: TaskSettings,
    public: Sequence[SourceFile],
    seed: int,
    tell: Tell = lambda _step, _of, _loss: None,
) -> dict[str, NDArray[np.float32]]:
    """Trains a fresh network on public code; every parameter, whether trained privately or not.

    Returns:
        All weights by name.
    """
    model = build(task, seed)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    s = settings.warm_start
    total = round(s.epochs * task.public_steps(public, s.batch))
    trainer = plain.PlainTrainer(
        model,
        total,
        learning_rate=s.learning_rate,
        weight_decay=s.weight_decay,
        precision=s.precision,
    )
    trainer.train(
        task.public_losses(model, public, s.batch, np.random.default_rng(seed)),
        range(total),
        tell=lambda step, loss: tell(step, total, loss),
    )
    for parameter in frozen:
        parameter.requires_grad_(False)
    return network.tensors(model)
