# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which examples are in memory together. It changes speed and memory, never the sum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedcode.record import PrivacyUnit, Record, owner_of
from fedcode.task import Losses

E = TypeVar("E")
B = TypeVar("B")

_ENCODED = 1024
"""Records that become examples at a time."""


@dataclass(frozen=True, slots=True)
class WholeUnits(Generic[B]):
    """Privacy units whose gradients are in memory together, each with all its examples.

    Attributes:
        units: how many.
        single: whether every unit is one example, so that ``batches`` is one batch, in their order.
        batches: for each example the number of its unit, from 0; and the batch.
    """

    units: int
    single: bool
    batches: Iterator[tuple[list[int], B]]


def whole_units(
    task: Losses[E, B], chosen: Sequence[Sequence[E]], size: int
) -> Iterator[WholeUnits[B]]:
    """At most ``size`` units at a time, in batches of at most ``size`` examples of similar length.

    A unit is never split between two groups: it is clipped as one. The memory for gradients is that
    of ``size`` examples, and of as many units beside them where a unit has more than one.
    """
    ordered = sorted(chosen, key=lambda unit: sum(map(task.length, unit)))
    for start in range(0, len(ordered), size):
        group = ordered[start : start + size]
        examples = [(owner, example) for owner, unit in enumerate(group) for example in unit]
        examples.sort(key=lambda pair: task.length(pair[1]))
        parts = (examples[i : i + size] for i in range(0, len(examples), size))
        yield WholeUnits(
            len(group),
            all(len(unit) == 1 for unit in group),
            (([owner for owner, _ in part], task.collate([e for _, e in part])) for part in parts),
        )


def passes(ordered: Sequence[Sequence[E]], size: int) -> int:
    """How many batches :func:`whole_units` makes of units that are in its order already."""
    groups = (ordered[start : start + size] for start in range(0, len(ordered), size))
    return sum(math.ceil(sum(map(len, group)) / size) for group in groups)


def examples_by_unit(
    task: Losses[E, B], records: Iterable[Record], unit: PrivacyUnit
) -> list[Sequence[E]]:
    """The examples of each unit that has any.

    Records that are in no list become examples a few at a time, and no more of them are in memory.
    """
    if unit is PrivacyUnit.FUNCTION:
        parts = [records] if isinstance(records, Sequence) else _parts(records)
        return [(example,) for part in parts for example in task.examples(part)]
    found: dict[str, list[E]] = {}
    for owner, own in groupby(records, lambda record: owner_of(record, unit)):
        found.setdefault(owner, []).extend(task.examples(list(own)))
    return [examples for examples in found.values() if examples]


def _parts(records: Iterable[Record]) -> Iterator[list[Record]]:
    left = iter(records)
    return iter(lambda: list(islice(left, _ENCODED)), [])


def shuffled_batches(
    task: Losses[E, B], examples: Sequence[E], size: int, order: np.random.Generator
) -> Iterator[B]:
    """One epoch in random batches of similar length. For public data and plain training only."""
    lengths: NDArray[np.int64] = np.array([task.length(e) for e in examples], dtype=np.int64)
    ranked = np.argsort(lengths + order.uniform(0, 0.2, len(lengths)) * lengths, kind="stable")
    starts = np.arange(0, len(examples), size)
    for start in order.permutation(starts):
        yield task.collate([examples[i] for i in ranked[start : start + size]])
