# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's optimizer: a Flower strategy, to which the mean change is its only reply."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, FedYogi
from numpy.typing import NDArray

from fedcode.errors import ConfigError
from fedcode.federation import ServerSettings
from fedcode.weights import Vector

_WEIGHTS = "weights"
_STATE = ("m_t", "v_t", "momentum_vector")


def flower_strategy(server: ServerSettings, proximal: float = 0.0) -> FedAvg:
    """The Flower strategy that ``server`` names, for one reply at a time."""
    if server.algorithm in ("fedavg", "fedprox") and server.learning_rate != 1.0:
        raise ConfigError(
            f"{server.algorithm} has no server learning rate",
            "set server.learning_rate = 1, or take fedavgm, fedadam or fedyogi",
        )
    inner: FedAvg
    if server.algorithm == "fedavg":
        inner = FedAvg()
    elif server.algorithm == "fedprox":
        inner = FedProx(proximal_mu=proximal)
    elif server.algorithm == "fedavgm":
        inner = FedAvgM(server_learning_rate=server.learning_rate, server_momentum=server.momentum)
    else:
        adaptive = FedAdam if server.algorithm == "fedadam" else FedYogi
        inner = adaptive(
            eta=server.learning_rate,
            beta_1=server.momentum,
            beta_2=server.second_momentum,
            tau=server.tau,
        )
    inner.fraction_train = 0.0  # it samples nobody: whom to ask is not its business
    return inner


class ServerOptimizer:
    """Applies mean changes of weights, one a round.

    Args:
        server: names the Flower strategy.
        proximal: FedProx' mu.
        moments: what :attr:`moments` was after the round before.
    """

    def __init__(
        self, server: ServerSettings, proximal: float, moments: Mapping[str, Vector]
    ) -> None:
        self._inner = flower_strategy(server, proximal)
        for name, value in moments.items():
            one = [value] if name == "momentum_vector" else {_WEIGHTS: value}
            setattr(self._inner, name, one)

    def apply(
        self, number: int, weights: Vector, change: NDArray[np.float64], grid: Grid
    ) -> Vector:
        """The weights after round ``number``, shape (d,).

        Args:
            number: from 1.
            weights: before the round, shape (d,).
            change: the mean of the members' changes, shape (d,).
            grid: strategies ask for one; nothing is sent.
        """
        self._inner.configure_train(number, _arrays(weights), ConfigRecord(), grid)
        arrays, _ = self._inner.aggregate_train(
            number, [_as_reply((weights + change).astype(np.float32))]
        )
        if arrays is None:
            return weights
        return np.asarray(arrays[_WEIGHTS].numpy(), dtype=np.float32)

    @property
    def moments(self) -> dict[str, Vector]:
        """The strategy's moments by name, to be stored with a checkpoint."""
        found = {name: getattr(self._inner, name, None) for name in _STATE}
        return {
            name: np.asarray(next(iter(v.values())) if isinstance(v, dict) else v[0], np.float32)
            for name, v in found.items()
            if v
        }


def _arrays(weights: Vector) -> ArrayRecord:
    return ArrayRecord({_WEIGHTS: Array(weights)})


def _as_reply(mean: Vector) -> Message:
    content = RecordDict({"arrays": _arrays(mean), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content, 1, MessageType.TRAIN)
