# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How early the right ones come in rankings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcode.task import Metric, Metrics

Scores = NDArray[np.float64]
Right = NDArray[np.bool_]

METRICS = (
    Metric("map", "mean average precision", lower_is_better=False),
    Metric("mrr", "mean reciprocal rank", lower_is_better=False),
    Metric("top1", "right at the top", lower_is_better=False),
    Metric("top5", "right in the first 5", lower_is_better=False),
    Metric("top10", "right in the first 10", lower_is_better=False),
)


def measures(rankings: Sequence[tuple[Scores, Right]]) -> Metrics:
    """Means over rankings; of equal scores the first comes first.

    Args:
        rankings: scores of the candidates, and which are right, shape (candidates,) each; one
            without a right one counts nothing.

    Returns:
        Nothing where no ranking has a right one.
    """
    found = []
    for scores, right in rankings:
        places = np.flatnonzero(right[np.argsort(-scores, kind="stable")])
        if not len(places):
            continue
        precision = float(np.mean(np.arange(1, len(places) + 1) / (places + 1)))
        first = int(places[0])
        found.append((precision, 1 / (first + 1), first < 1, first < 5, first < 10))
    if not found:
        return {}
    means = np.mean(np.array(found, dtype=np.float64), axis=0)
    return {metric.key: float(mean) for metric, mean in zip(METRICS, means, strict=True)}
