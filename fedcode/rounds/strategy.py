# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""fedcode's Flower strategy: it sends plans and adds up what comes back.

A Flower strategy applies the mean as if it were one reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, FedYogi, Strategy

from fedcode.agreement import Agreement
from fedcode.errors import ConfigError, WireError
from fedcode.federation import ServerSettings
from fedcode.transport.flower import plan_message, unpack
from fedcode.weights import Vector
from fedcode.wire import Plan, Refusal, RefusalCode, decode, encode
from fedcode.wire.messages import ReceivedUpdate

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
    inner.min_train_nodes = inner.min_available_nodes = 1
    return inner


class SummingStrategy(Strategy):
    """Wraps a Flower strategy: the mean of the members' updates is its only reply.

    Args:
        inner: applies the mean.
        agreement: what the plans offer.
        nodes: the grid's node of each member.
    """

    def __init__(self, inner: FedAvg, agreement: Agreement, nodes: Mapping[str, int]) -> None:
        self.inner = inner
        self.agreement = agreement
        self.members = {node: name for name, node in nodes.items()}
        self.survivors: tuple[str, ...] = ()
        self.refusals: dict[str, RefusalCode] = {}
        self._weights: Vector = np.zeros(0, np.float32)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One signed-off plan for every node that the inner strategy samples."""
        self._weights = vector_of(arrays)
        sampled = self.inner.configure_train(server_round, arrays, config, grid)
        nodes = [m.metadata.dst_node_id for m in sampled]
        cohort = tuple(sorted(self.members[n] for n in nodes))
        plan = encode(Plan(self.agreement.digest(), server_round, cohort, self._weights))
        return [plan_message(plan, node) for node in nodes]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The inner strategy's step on the mean of the updates; None when nobody sent one."""
        self.refusals = {}
        updates: dict[str, Vector] = {}
        for reply in replies:
            member = self.members[reply.metadata.src_node_id]
            received = self._read(reply, member, server_round)
            if isinstance(received, Refusal):
                self.refusals[member] = received.code
            else:
                updates[member] = received.values
        self.survivors = tuple(sorted(updates))
        if not updates:
            return None, None
        total = np.sum([updates[name].astype(np.float64) for name in self.survivors], axis=0)
        mean = (self._weights + total / len(updates)).astype(np.float32)
        return self.inner.aggregate_train(server_round, [_as_reply(mean)])

    def _read(self, reply: Message, member: str, server_round: int) -> ReceivedUpdate | Refusal:
        digest = self.agreement.digest()
        if reply.has_error():
            return Refusal(digest, server_round, member, RefusalCode.FAILED)
        received = decode(
            unpack(reply.content), weights=self.agreement.weights, length=self.agreement.weights
        )
        # Who refuses may not have been able to read the plan, or names the agreement it does know.
        if isinstance(received, Refusal) and received.member == member:
            return received
        asked = (digest, server_round, member)
        if not isinstance(received, ReceivedUpdate) or asked != (
            received.agreement,
            received.round,
            received.member,
        ):
            raise WireError(f"{member} answered another plan")
        return received

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nobody is asked: one organization's figures are private data."""
        del server_round, arrays, config, grid
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Nothing to add up, see :meth:`configure_evaluate`."""
        del server_round, replies
        return None

    def summary(self) -> None:
        """The inner strategy's summary."""
        self.inner.summary()

    def state(self) -> dict[str, Vector]:
        """The inner strategy's moments, to be stored with a checkpoint."""
        found = {name: getattr(self.inner, name, None) for name in _STATE}
        return {
            name: np.asarray(next(iter(v.values())) if isinstance(v, dict) else v[0], np.float32)
            for name, v in found.items()
            if v
        }

    def restore(self, state: Mapping[str, Vector]) -> None:
        """Puts back what :meth:`state` gave."""
        for name, value in state.items():
            setattr(self.inner, name, [value] if name == "momentum_vector" else {_WEIGHTS: value})


def arrays_of(weights: Vector) -> ArrayRecord:
    """The weights as Flower's strategies want them: one array."""
    return ArrayRecord({_WEIGHTS: Array(weights)})


def vector_of(arrays: ArrayRecord) -> Vector:
    """The weights that :func:`arrays_of` put in."""
    return np.asarray(arrays[_WEIGHTS].numpy(), dtype=np.float32)


def _as_reply(mean: Vector) -> Message:
    content = RecordDict({"arrays": arrays_of(mean), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content, 1, MessageType.TRAIN)
