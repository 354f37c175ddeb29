# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The comparison as rows, and figures as text: the same in the page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fedcode.report.result import Arm, Interval, LedgerRow, Metric, TaskResult

Kind = Literal["public", "private", "plain"]
"""Trained on public data only, on members' data with privacy, or on members' data without."""

NOTHING = "–"

TESTED = ("Data test", "Outcome", "Measured", "Threshold", "Found")
"""Columns of :func:`tested`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a task's comparison.

    Attributes:
        key: the arm's key.
        title: for people.
        kind: what protects the data that it was trained on.
        epsilon: of one model of this row; 0 for public data, infinite without privacy.
        unseen: figures on organizations that were never trained on, by metric key.
        best: no other row with privacy has a better leading figure.
    """

    key: str
    title: str
    kind: Kind
    epsilon: float
    unseen: Mapping[str, Interval]
    best: bool = False


def rows(task: TaskResult) -> list[Row]:
    """Every arm of ``task``, in the result's order."""
    return _marked([_row(arm) for arm in task.arms], task.leading)


def condensed_rows(task: TaskResult) -> list[Row]:
    """As :func:`rows`, with the members' own models in two rows: the best and the mean."""
    every = rows(task)
    alone = [row for row in every if row.key == "alone"]
    if len(alone) < 2:
        return every
    place = every.index(alone[0])
    rest = [row for row in every if row.key != "alone"]
    return [*rest[:place], *_condensed(alone, task.leading), *rest[place:]]


def tested(
    test: str, state: str, value: float | None, threshold: float | None, said: str
) -> list[str]:
    """What one test of data found, as cells."""
    numbers = [NOTHING if one is None else f"{one:.4g}" for one in (value, threshold)]
    return [test, state.replace("-", " "), *numbers, said]


def figure(row: Row, metric: Metric) -> float | None:
    """The row's mean of ``metric``."""
    interval = row.unseen.get(metric.key)
    return None if interval is None else interval.mean


def better(metric: Metric, a: float, b: float) -> bool:
    """Whether ``a`` is a better value of ``metric`` than ``b``."""
    return a < b if metric.lower_is_better else a > b


def number(value: float | None, digits: int) -> str:
    """``value`` with a true minus sign, or a dash where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(value: Interval | None, digits: int) -> str:
    """Mean ± half the interval; the mean alone for one seed."""
    if value is None or value.mean is None:
        return NOTHING
    mean = number(value.mean, digits)
    if value.low is None or value.high is None or value.seeds < 2:
        return mean
    return f"{mean} ± {number((value.high - value.low) / 2, digits)}"


def epsilon(value: float) -> str:
    """ε to two digits, rounded up: what is promised is never understated."""
    if math.isinf(value):
        return "∞"
    return f"{math.ceil(round(value * 100, 9)) / 100:.2f}" if value else "0"


def delta(value: float) -> str:
    """δ with no place where a line could break: ``1e−5``."""
    return f"{value:g}".replace("e-0", "e-").replace("-", "−")


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there."""
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None


def largest_spent(ledger: Sequence[LedgerRow]) -> float:
    """The largest ε of any account."""
    return max((row.epsilon_spent for row in ledger), default=0.0)


def heldout(arms: Sequence[Arm], member: str, key: str) -> float | None:
    """Mean over arms and seeds of metric ``key`` on ``member``'s own held-out files."""
    return mean(s.local.heldout.get(member, {}).get(key) for arm in arms for s in arm.seeds)


def elsewhere(arms: Sequence[Arm], organization: str, key: str) -> float | None:
    """Mean over arms and seeds of metric ``key`` on an unseen organization's files."""
    return mean(s.by_organization.get(organization, {}).get(key) for a in arms for s in a.seeds)


def _row(arm: Arm) -> Row:
    kind: Kind = "public" if arm.key == "public" else "private" if arm.private else "plain"
    unprotected = kind == "plain" or arm.epsilon is None
    spent = 0.0 if kind == "public" else math.inf if unprotected else arm.epsilon or 0.0
    return Row(arm.key, arm.title, kind, spent, arm.unseen)


def _marked(every: list[Row], metric: Metric) -> list[Row]:
    winner = best([row for row in every if row.kind == "private"], metric)
    return [replace(row, best=row is winner) for row in every]


def best(candidates: Sequence[Row], metric: Metric) -> Row | None:
    """The candidate with the best figure; None where none has one."""
    sign = 1 if metric.lower_is_better else -1
    scored = [(sign * v, row) for row in candidates if (v := figure(row, metric)) is not None]
    return min(scored, key=lambda pair: pair[0])[1] if scored else None


def _condensed(alone: Sequence[Row], metric: Metric) -> list[Row]:
    count = len(alone)
    winner = best(alone, metric) or alone[0]
    keys = [key for key in winner.unseen if all(key in row.unseen for row in alone)]
    means = {key: mean(row.unseen[key].mean for row in alone) for key in keys}
    average = Row(
        key="alone",
        title=f"alone, mean of {count}",
        kind=winner.kind,
        epsilon=max(row.epsilon for row in alone),
        unseen={k: Interval(mean=m, low=None, high=None, seeds=1) for k, m in means.items()},
    )
    return [replace(winner, title=f"alone, best of {count}"), average]
