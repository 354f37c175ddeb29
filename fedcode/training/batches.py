# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which examples are in memory together. It changes speed and memory, never the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedcode.task import Losses

E = TypeVar("E")
B = TypeVar("B")


def physical_batches(
    task: Losses[E, B], examples: Sequence[E], size: int
) -> Iterator[tuple[int, B]]:
    """Batches of at most ``size`` examples of similar length: (number of examples, batch)."""
    ordered = sorted(examples, key=task.length)
    for start in range(0, len(ordered), size):
        part = ordered[start : start + size]
        yield len(part), task.collate(part)


def shuffled_batches(
    task: Losses[E, B], examples: Sequence[E], size: int, order: np.random.Generator
) -> Iterator[B]:
    """One epoch in random batches of similar length. For public data and plain training only."""
    lengths: NDArray[np.int64] = np.array([task.length(e) for e in examples], dtype=np.int64)
    ranked = np.argsort(lengths + order.uniform(0, 0.2, len(lengths)) * lengths, kind="stable")
    starts = np.arange(0, len(examples), size)
    for start in order.permutation(starts):
        yield task.collate([examples[i] for i in ranked[start : start + size]])
