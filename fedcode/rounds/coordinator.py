# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's half of a round: it holds weights and adds up updates; it sees no data."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import ConfigRecord
from flwr.serverapp import Grid

from fedcode.agreement import Agreement
from fedcode.rounds.strategy import SummingStrategy, arrays_of, flower_strategy, vector_of
from fedcode.weights import Vector, digest
from fedcode.wire import RefusalCode

logging.getLogger("flwr").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class State:
    """All that the next round depends on.

    Attributes:
        round: rounds done.
        weights: shape (d,); what the next plan carries.
        moments: the server optimizer's state, by name.
        average: of the weights over the rounds, shape (d,); None where there is none.
    """

    round: int
    weights: Vector
    moments: Mapping[str, Vector] = field(default_factory=dict)
    average: Vector | None = None

    @property
    def released(self) -> Vector:
        """The weights that are measured and handed out, shape (d,)."""
        return self.weights if self.average is None else self.average


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one round.

    Attributes:
        round: its number.
        survivors: members whose updates are in the sum.
        refusals: members that took no part, and why.
        weights: digest of the weights afterwards.
        seconds: from plan to weights.
    """

    round: int
    survivors: tuple[str, ...]
    refusals: Mapping[str, RefusalCode]
    weights: str
    seconds: float


class Coordinator:
    """Runs rounds over a Flower grid.

    Args:
        agreement: what the plans offer.
        grid: reaches the members.
        nodes: the grid's node of each member.
    """

    def __init__(self, agreement: Agreement, grid: Grid, nodes: Mapping[str, int]) -> None:
        self._agreement = agreement
        self._grid = grid
        self._nodes = nodes

    def run(self, state: State) -> tuple[State, Outcome]:
        """One round from ``state``.

        Weights, moments and average stay as they are if nobody took part, or if they would not be
        finite.
        """
        start = time.perf_counter()
        number = state.round + 1
        inner = flower_strategy(self._agreement.server, self._agreement.training.proximal)
        strategy = SummingStrategy(inner, self._agreement, self._nodes)
        strategy.restore(state.moments)
        plans = strategy.configure_train(
            number, arrays_of(state.weights), ConfigRecord(), self._grid
        )
        arrays, _ = strategy.aggregate_train(number, self._grid.send_and_receive(plans))
        weights = state.weights if arrays is None else vector_of(arrays)
        moments = strategy.state()
        if not all(np.isfinite(v).all() for v in (weights, *moments.values())):
            weights, moments, arrays = state.weights, dict(state.moments), None
        average = state.average if arrays is None else self._average(state, weights)
        outcome = Outcome(
            number,
            strategy.survivors,
            strategy.refusals,
            digest(weights),
            time.perf_counter() - start,
        )
        return State(number, weights, moments, average), outcome

    def _average(self, state: State, weights: Vector) -> Vector | None:
        """The moving average with ``weights`` in it.

        It begins at the weights that the federation starts from. In early rounds it forgets faster
        than its decay says: by round t, min(decay, t / (t + 9)).
        """
        decay = min(self._agreement.server.average, (state.round + 1) / (state.round + 10))
        if not decay:
            return None
        before = state.released.astype(np.float64)
        return (decay * before + (1 - decay) * weights).astype(np.float32)
