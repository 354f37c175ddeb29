# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's half of a round: it holds weights and adds up updates; it sees no data."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedcode.agreement import Agreement
from fedcode.errors import ConfigError
from fedcode.metrics import Estimate, shared_metrics
from fedcode.rounds.exchange import Exchange, Patience
from fedcode.rounds.gathering import Gathered, Part, open_updates, secure_sums
from fedcode.rounds.optimizer import ServerOptimizer
from fedcode.rounds.record import RoundRecord
from fedcode.rounds.robust import combined
from fedcode.rounds.transcript import Story
from fedcode.signing import SigningKey
from fedcode.weights import Vector, digest
from fedcode.wire import Plan, RefusalCode, encode, sign


@dataclass(frozen=True, slots=True)
class State:
    """All that the next round depends on.

    Attributes:
        round: rounds done.
        weights: shape (d,); what the next plan carries.
        moments: the server optimizer's state, by name.
        average: of the weights over the rounds, shape (d,); None where there is none.
        spent: members whose budget is used up: they are not asked again.
    """

    round: int
    weights: Vector
    moments: Mapping[str, Vector] = field(default_factory=dict)
    average: Vector | None = None
    spent: frozenset[str] = frozenset()

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
        refusals: members that took no part, and why: a refusal's code, ``absent`` or ``malformed``;
            ``budget`` also of those that are not asked any more.
        weights: digest of the weights afterwards.
        seconds: from plan to weights.
        metrics: what the members measured, noised, if they agreed to.
        sums: the secure sums' stories; none where nothing is masked.
        changed: whether there are other weights than before: enough were left for a sum, or for the
            rule, and the step was finite.
    """

    round: int
    survivors: tuple[str, ...]
    refusals: Mapping[str, str]
    weights: str
    seconds: float
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    sums: tuple[Story, ...] = ()
    changed: bool = True


class Coordinator:
    """Runs rounds over a Flower grid.

    Args:
        agreement: what the plans offer.
        grid: reaches the members.
        nodes: the grid's node of each member.
        key: the one that the roster names; it signs all that is sent.
        patience: how long members have for their answers; for ever if None.

    Raises:
        ConfigError: another key than the roster's.
    """

    def __init__(
        self,
        agreement: Agreement,
        grid: Grid,
        nodes: Mapping[str, int],
        key: SigningKey,
        patience: Patience | None = None,
    ) -> None:
        if key.public != agreement.roster.coordinator:
            raise ConfigError("this key is not the coordinator's in the roster")
        self._agreement = agreement
        self._grid = grid
        self._nodes = nodes
        self._key = key
        self._patience = patience

    def run(
        self,
        state: State,
        record: RoundRecord | None = None,
        without: Collection[str] = (),
    ) -> tuple[State, Outcome]:
        """One round from ``state``.

        Weights, moments and average stay as they are if too few took part, or if they would not be
        finite.

        Args:
            state: what the round before has left.
            record: of this round: what it heard before is not asked again, and what it hears now
                is kept.
            without: members that are not asked this time; they may be asked again.
        """
        start = time.perf_counter()
        number = state.round + 1
        gathered = self._gather(state, number, record, without)
        optimizer = ServerOptimizer(
            self._agreement.server, self._agreement.training.proximal, state.moments
        )
        change = self._change(gathered.parts)
        weights, moments, average = state.weights, dict(state.moments), state.average
        if change is not None:
            found = optimizer.apply(number, state.weights, change, self._grid)
            if all(np.isfinite(v).all() for v in (found, *optimizer.moments.values())):
                weights, moments = found, optimizer.moments
                average = self._average(state, weights)
        survivors = tuple(sorted(name for part in gathered.parts for name in part.survivors))
        broke = {n for n, why in gathered.refusals.items() if why == RefusalCode.BUDGET}
        spent = state.spent | broke
        outcome = Outcome(
            number,
            survivors,
            {**gathered.refusals, **dict.fromkeys(sorted(spent), str(RefusalCode.BUDGET))},
            digest(weights),
            time.perf_counter() - start,
            self._metrics(gathered.parts),
            gathered.stories,
            weights is not state.weights,
        )
        return State(number, weights, moments, average, spent), outcome

    def _gather(
        self,
        state: State,
        number: int,
        record: RoundRecord | None,
        without: Collection[str],
    ) -> Gathered:
        """What the members answer to the round's plan.

        Nobody is asked where too few are left for a sum or for the rule: all would pay for nothing.
        """
        agreement = self._agreement
        cohort = tuple(sorted(set(self._nodes) - state.spent - set(without)))
        if record is not None:
            cohort = record.cohort(cohort)
        if not cohort or not agreement.possible(len(cohort)):
            return Gathered((), {}, ())
        exchange = Exchange(agreement, number, self._grid, self._nodes, self._patience, record)
        plan = sign(Plan(agreement.digest(), number, cohort, state.weights), self._key)
        data = encode(plan)
        if not agreement.aggregation.masked:
            return open_updates(exchange, plan, data)
        return secure_sums(exchange, agreement, plan, data, self._key)

    def _change(self, parts: tuple[Part, ...]) -> NDArray[np.float64] | None:
        """The mean change of weights, shape (d,); None where too few are left."""
        if not parts:
            return None
        agreed, weights = self._agreement.aggregation, self._agreement.weights
        if agreed.rule is None:
            total: NDArray[np.float64] = np.sum([part.total[:weights] for part in parts], axis=0)
            mean = total / sum(len(part.survivors) for part in parts)
        else:
            means = {
                min(part.survivors): part.total[:weights] / len(part.survivors) for part in parts
            }
            found = combined(
                means, agreed.rule, malicious=agreed.malicious or 0, radius=agreed.radius or 1.0
            )
            if found is None:
                return None
            mean = found
        return mean * self._agreement.factor

    def _metrics(self, parts: tuple[Part, ...]) -> dict[str, Estimate]:
        training, weights = self._agreement.training, self._agreement.weights
        if not training.metrics or not parts:
            return {}
        members = sum(len(part.survivors) for part in parts)
        total = np.sum([part.total[weights:] for part in parts], axis=0)
        return shared_metrics(training, total, members, self._agreement.policy.std)

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
