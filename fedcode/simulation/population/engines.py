# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which engine trains a population: both are tried on made-up members, and the faster one wins.

No member's data is looked at for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from fedcode.errors import ConfigError
from fedcode.simulation.population.crew import EngineName, Work
from fedcode.simulation.population.problem import World
from fedcode.weights import Vector

_TRIED: dict[EngineName, int] = {"sequential": 4, "together": 48}
_TIMES = 3

_IMPOSSIBLE = (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError)
"""What torch raises where a layer has no batching rule, or a batch cannot be stacked."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and why.

    Attributes:
        engine: the one that was chosen.
        why: in words.
        milliseconds: a member, by engine, on made-up members; none where it was not measured.
    """

    engine: EngineName
    why: str
    milliseconds: dict[str, float]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Same:
    """Members that all have the same public examples."""

    examples: Sequence[Any]

    def __len__(self) -> int:
        return max(_TRIED.values()) * (_TIMES + 1)

    def member(self, number: int) -> Sequence[Any]:  # noqa: ARG002  all alike
        return self.examples


def choose(
    asked: Literal["auto", "together", "sequential"],
    work: Work,
    world: World[Any, Any],
    weights: Vector,
    cohort: int,
) -> Choice:
    """The engine that a file asks for, or the faster one.

    Args:
        asked: the file's word.
        work: what members do; what it charges is lost.
        world: whose problem and public examples are taken.
        weights: to start from.
        cohort: members of a round.

    Raises:
        ConfigError: the file asks for ``together``, and this network cannot be trained so.
    """
    if asked == "sequential":
        return Choice("sequential", "the file asks for it", {})
    made_up = replace(world, population=_Same(world.sample))
    try:
        together = _milliseconds(work, made_up, weights, "together", cohort)
    except _IMPOSSIBLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if asked == "together":
            raise ConfigError(
                f"members cannot be trained together: {reason}", 'write engine = "sequential"'
            ) from error
        return Choice("sequential", f"members cannot be trained together: {reason}", {})
    if asked == "together":
        return Choice("together", "the file asks for it", {"together": together})
    sequential = _milliseconds(work, made_up, weights, "sequential", cohort)
    found = {"sequential": sequential, "together": together}
    faster: EngineName = "together" if together < sequential else "sequential"
    return Choice(faster, "the faster one on made-up members", found)


def _milliseconds(
    work: Work, world: World[Any, Any], weights: Vector, name: EngineName, cohort: int
) -> float:
    """The fastest of several times, a member; one before them is not counted."""
    size = min(cohort, _TRIED[name])
    taken = []
    with closing(work.engine(name, world)) as engine:
        for turn in range(_TIMES + 1):
            members = range(turn * size, (turn + 1) * size)  # a budget may last for one round
            start = time.perf_counter()
            engine.run(weights, 1, members)
            taken.append(time.perf_counter() - start)
    return 1e3 * min(taken[1:]) / size
