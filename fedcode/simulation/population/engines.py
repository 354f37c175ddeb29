# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which engine trains a population: both are tried on made-up members, and the faster one wins.

No member's data is looked at for it.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedcode.errors import ConfigError
from fedcode.simulation.population.crew import EngineName, Work
from fedcode.simulation.population.problem import World
from fedcode.weights import Vector

_TRIED: dict[EngineName, int] = {"sequential": 4, "together": 64}
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
        work: what members do; no account is charged.
        world: whose problem and public examples are taken.
        weights: to start from.
        cohort: members of a round.

    Raises:
        ConfigError: the file asks for ``together``, and this network cannot be trained so.
    """

    def measured(name: EngineName) -> dict[str, float]:
        return {name: _milliseconds(work.aside(), world.made_up(), weights, name, cohort)}

    if asked == "sequential":
        return Choice("sequential", "the file asks for it", measured("sequential"))
    try:
        found = measured("together")
    except _IMPOSSIBLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if asked == "together":
            raise ConfigError(
                f"members cannot be trained together: {reason}", 'write engine = "sequential"'
            ) from error
        why = f"members cannot be trained together: {reason}"
        return Choice("sequential", why, measured("sequential"))
    if asked == "together":
        return Choice("together", "the file asks for it", found)
    found |= measured("sequential")
    faster: EngineName = "together" if found["together"] < found["sequential"] else "sequential"
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
            engine.run(weights, 1, [members])
            taken.append(time.perf_counter() - start)
    return 1e3 * min(taken[1:]) / size
