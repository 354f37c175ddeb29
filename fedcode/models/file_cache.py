# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A cache of the file so far: code is locally repetitive (Tu, Su and Devanbu 2014, FSE).

Beside any base model stands a 5-gram model of the file's own units so far, smoothed after Witten
and Bell, which leaves to the base model what it expects to be new. Its weight grows with the
longest context that the file has had before. A unit is a piece or a lexer token; with pieces the
mixture is better, since an identifier's later pieces are then recalled from its first ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEIGHTS = (0.1, 0.2, 0.35, 0.5, 0.6)
"""The cache's weight where the longest context seen before has 0, 1, … 4 units."""

_BITS = 32


def cached(log2p: Floats, units: Sequence[Hashable]) -> Floats:
    """The mixture of a base model and the cache, on one file.

    It sums to 1 over the units wherever the base model does, and looks at earlier units alone.

    Args:
        log2p: the base model's log2 probability of each unit, shape (units,).
        units: the file's units in order.

    Returns:
        The mixture's log2 probability of each unit, shape (units,).

    Raises:
        ValueError: the lengths differ.
    """
    if len(log2p) != len(units):
        raise ValueError(f"{len(log2p)} probabilities for {len(units)} units")
    own, left = _remembered(tuple(units))
    return np.log2(own + left * np.exp2(log2p))


@lru_cache(maxsize=2048)
def _remembered(units: tuple[Hashable, ...]) -> tuple[Floats, Floats]:
    """Several models are measured on the same files: a file's own half is the same for all."""
    return recall(units)


def recall(units: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """The cache's half of the mixture: own + left · (the base model's probability).

    Returns:
        own: the weighted probability that the cache itself gives each unit, shape (units,).
        left: what it leaves to the base model; the same for whatever unit stands there.
    """
    numbers: dict[Hashable, int] = {}
    history = [numbers.setdefault(unit, len(numbers)) for unit in units]
    own, left = np.zeros(len(history)), np.ones(len(history))
    seen: list[dict[int, tuple[list[int], dict[int, int]]]] = [{} for _ in WEIGHTS]
    for i, unit in enumerate(history):
        recalled, escaped, weight, context = 0.0, 1.0, 0.0, 0
        for k in range(min(i + 1, len(WEIGHTS))):
            if k:
                context = context << _BITS | history[i - k]
            node = seen[k].get(context)
            if node is None:
                seen[k][context] = ([1], {unit: 1})
                continue
            (total,), followers = node
            whole = total + len(followers)
            recalled = (followers.get(unit, 0) + len(followers) * recalled) / whole
            escaped *= len(followers) / whole
            weight = WEIGHTS[k]
            node[0][0] = total + 1
            followers[unit] = followers.get(unit, 0) + 1
        own[i] = weight * recalled
        left[i] = 1 - weight + weight * escaped
    return own, left
