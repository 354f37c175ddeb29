# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a round's updates become where some of them may be meant to do harm.

An update is a member's, or the mean of a group whose secure sum divides it by its survivors. The
median, the trimmed mean and Krum are Flower's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.serverapp.strategy.fedtrimmedavg import trim_mean
from flwr.serverapp.strategy.multikrum import select_multikrum
from numpy.typing import NDArray

from fedcode.errors import TrainingError
from fedcode.rules import Rule, fewest

Update = NDArray[np.floating[Any]]
"""Shape (d,); finite in float32."""

_LARGEST = float(np.finfo(np.float32).max)
_BLOCK = 1 << 14  # coordinates at a time: 20 updates of them stay in cache
_ITERATIONS = 3


def combined(
    updates: Mapping[str, Update], rule: Rule, *, malicious: int, radius: float
) -> NDArray[np.float64] | None:
    """One update in place of all, in float64; the same whatever order they arrived in.

    Args:
        updates: by the name of the member or group, one length for all.
        rule: ``median`` and ``trimmed-mean`` (without the ``malicious`` largest and smallest), of
            each coordinate for itself (Yin et al. 2018, arXiv:1803.01498); ``krum``, the one update
            that is nearest to its n - f - 2 nearest others (Blanchard et al. 2017,
            arXiv:1703.02757); ``centred-clipping``, three steps from zero, each the mean of the way
            to all updates, of which every one counts up to ``radius`` (Karimireddy, He & Jaggi
            2021, arXiv:2012.10333).
        malicious: f, the harmful updates that are to be borne.
        radius: of ``centred-clipping``, a Euclidean norm.

    Returns:
        Shape (d,); None where fewer are left than ``fedcode.rules.fewest`` says: the harmful ones
        could make the result whatever they want.

    Raises:
        TrainingError: updates of several lengths, or not finite in float32.
    """
    if len(updates) < fewest(rule, malicious):
        return None
    rows = _rows(updates)
    match rule:
        case "median":
            return _by_coordinate(rows, lambda block: np.median(block, axis=0))
        case "trimmed-mean":
            # Flower takes the part cut off each end, and rounds n times it down: f, surely.
            part = (malicious + 0.25) / len(rows)
            return _by_coordinate(rows, lambda block: trim_mean(block, part))
        case "krum":
            return _krum(rows, malicious)
        case "centred-clipping":
            return _centred_clipping(rows, radius)


def _rows(updates: Mapping[str, Update]) -> list[Update]:
    """The updates in the order of their names."""
    rows = [updates[name] for name in sorted(updates)]
    if any(row.shape != rows[0].shape or row.ndim != 1 for row in rows):
        raise TrainingError("the updates are not of one length")
    for row in rows:
        if row.size and not (row.max() <= _LARGEST and row.min() >= -_LARGEST):
            raise TrainingError("an update is not finite")
    return rows


def _by_coordinate(
    rows: Sequence[Update], rule: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    found = np.empty(rows[0].size)
    for start in range(0, found.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        found[part] = rule(np.stack([row[part] for row in rows]).astype(np.float64))
    return found


def _krum(rows: Sequence[Update], malicious: int) -> NDArray[np.float64]:
    contents = [
        RecordDict({"arrays": ArrayRecord({"update": Array(row.astype(np.float64))})})
        for row in rows
    ]
    chosen = select_multikrum(contents, malicious, num_nodes_to_select=1)[0]
    return rows[next(i for i, c in enumerate(contents) if c is chosen)].astype(np.float64)


def _centred_clipping(rows: Sequence[Update], radius: float) -> NDArray[np.float64]:
    centre = np.zeros(rows[0].size)
    for _ in range(_ITERATIONS):
        step = np.zeros_like(centre)
        for row in rows:
            way = row - centre
            way *= radius / max(float(np.linalg.norm(way)), radius)
            step += way
        centre += step / len(rows)
    return centre
