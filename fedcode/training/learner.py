# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a member does with a task, whatever its shape: its private training, from a start.

What differs between tasks with gradients and tasks with counts ends here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedcode.errors import RunError, TrainingError
from fedcode.federation import TaskSettings, TrainingSettings
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import Record
from fedcode.start import Start
from fedcode.task import AnyTask, CountTask, GradientTask, counts_of, gradients_of
from fedcode.trainer import Trainer
from fedcode.training import network
from fedcode.training.counting import CountTrainer
from fedcode.training.private import NoiseOf, PrivateNetwork, PrivateTrainer


class PrivateLearner(Protocol):
    """Makes the trainers of a task; those of one learner take turns."""

    def trainer(
        self,
        records: Iterable[Record],
        policy: PrivacyPolicy,
        noise: NoiseOf,
        level: float | None = None,
    ) -> Trainer:
        """A member's training under differential privacy, see :class:`PrivateTrainer`."""
        ...


class PrivateGradients:
    """DP-SGD on one network.

    Args:
        task: builds batches and losses.
        model: an ordinary network.
        settings: the member's half of a round.
    """

    def __init__(
        self, task: GradientTask[Any, Any], model: nn.Module, settings: TrainingSettings
    ) -> None:
        self._task = task
        self._model = model
        self._training = settings
        self._network: PrivateNetwork | None = None

    def trainer(
        self,
        records: Iterable[Record],
        policy: PrivacyPolicy,
        noise: NoiseOf,
        level: float | None = None,
    ) -> PrivateTrainer[Any, Any]:
        """DP-SGD on ``records``."""
        if self._network is None:
            layers = self._training.by_opacus
            self._network = PrivateNetwork(self._model, layers, self._task.places)
        return PrivateTrainer(
            self._task, self._network, records, self._training, policy, noise, level
        )


class PrivateCounts:
    """Noised sums of counts.

    Args:
        task: counts one record.
        settings: the member's half of a round.
    """

    def __init__(self, task: CountTask, settings: TrainingSettings) -> None:
        self._task = task
        self._training = settings

    def trainer(
        self,
        records: Iterable[Record],
        policy: PrivacyPolicy,
        noise: NoiseOf,
        level: float | None = None,
    ) -> CountTrainer:
        """A noised sum of clipped counts, which know no level."""
        del level
        return CountTrainer(self._task, records, self._training, policy, noise)


def private_learner(task: AnyTask, start: Start, settings: TrainingSettings) -> PrivateLearner:
    """The private training of ``task`` from ``start``.

    Raises:
        RunError: the start is another task's.
    """
    counting, gradients = counts_of(task), gradients_of(task)
    if task.fingerprint() != start.fingerprint:
        raise _other(start)
    if counting is not None:
        if len(start.weights) != counting.size or start.frozen:
            raise _other(start)
        return PrivateCounts(counting, settings)
    if gradients is None:
        raise _other(start)
    return PrivateGradients(gradients, network_of(gradients, start), settings)


def network_of(task: GradientTask[Any, Any], start: Start) -> nn.Module:
    """The network that ``start`` holds.

    Raises:
        RunError: it is another one than the task's.
    """
    model = task.build()
    try:
        trained = network.layout(model).unflatten(start.weights)
        network.load(model, {**start.frozen, **trained})
    except TrainingError as error:
        raise _other(start) from error
    return model


def start_of(
    task: AnyTask,
    settings: TaskSettings,
    warm: Mapping[str, NDArray[np.float32]],
    public: str,
) -> Start:
    """What a federation starts a task from.

    Args:
        task: it.
        settings: the federation's for it.
        warm: all weights after the warm start; none for a task of counts, which starts from none.
        public: digest of the public corpus.
    """
    gradients, counting = gradients_of(task), counts_of(task)
    frozen: dict[str, NDArray[np.float32]] = {}
    weights = np.zeros(counting.size if counting else 0, np.float32)
    if gradients is not None:
        model = gradients.build()
        network.load(model, dict(warm))
        weights = network.read(model)
        trained = network.trainable(model)
        frozen = {name: values for name, values in warm.items() if name not in trained}
    return Start.make(
        settings.name,
        settings.model,
        fingerprint=task.fingerprint(),
        public=public,
        weights=weights,
        frozen=frozen,
    )


def _other(start: Start) -> RunError:
    return RunError(
        f"the start file of {start.task} is not what its own public corpus and settings give",
        "is it of this version of fedcode?",
    )
