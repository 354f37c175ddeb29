# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One task on real data: its baselines, its model at several ε, and with what it learns permuted.

A study says how its data are split and what is measured; here stand the seeds, the levels of ε and
how rows are made of them, the same for every task.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

from tests.benchmarks.figure import Figure

SEEDS = (1, 2, 3)
EPSILONS: tuple[float | None, ...] = (None, 8.0, 4.0, 2.0, 1.0)
"""None is without privacy."""

_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Of the 95 % t-interval of so many values."""

Metrics = Mapping[str, float]
Run = Callable[[int, float | None, bool], tuple[Metrics, float]]
"""(seed, ε or None, whether what is learned is permuted) -> (figures, ε spent by a member)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a figure should reach at least.

    Attributes:
        plain: without privacy; None for nothing.
        private: at ε ≤ 8.
    """

    plain: float | None = None
    private: float | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """A task on one set of data.

    Attributes:
        name: the task's, and the data's where it has several.
        wanted: by metric key; the first one leads.
        baselines: simple methods on the same split: title -> figures.
        run: trains and measures once.
        chance: where the leading figure must lie when what is learned is permuted.
        keys: of metrics that are shown beside those wanted.
    """

    name: str
    wanted: Mapping[str, Wanted]
    baselines: Callable[[], Mapping[str, Metrics]]
    run: Run
    chance: tuple[float, float]
    keys: tuple[str, ...] = field(default=())


def figures(area: str, study: Study) -> Iterator[Figure]:
    """All rows; ``FEDCODE_SEEDS`` for fewer seeds, ``FEDCODE_EPSILONS=8,inf`` for fewer levels."""
    keys = (*study.wanted, *study.keys)
    for title, found in study.baselines().items():
        for key in keys:
            if key in found:
                yield Figure(area, f"{study.name}, {title}: {key}", found[key], "")
    seeds = SEEDS[: int(os.environ.get("FEDCODE_SEEDS", len(SEEDS)))]
    for epsilon in _levels():
        title = f"{study.name}, " + ("no privacy" if epsilon is None else f"ε ≤ {epsilon:g}")
        runs = [study.run(seed, epsilon, False) for seed in seeds]
        for key in keys:
            values = [found[key] for found, _ in runs]
            wanted = study.wanted.get(key, Wanted())
            least = {None: wanted.plain, 8.0: wanted.private}.get(epsilon)
            yield Figure(
                area,
                f"{title}: {key}",
                mean(values),
                "",
                "" if least is None else f">= {least:g}",
                None if least is None else mean(values) >= least,
                *spread(values),
            )
        if epsilon is not None:
            yield Figure(area, f"{title}: ε spent by a member", max(e for _, e in runs), "")
    low, high = study.chance
    key = next(iter(study.wanted))
    for epsilon in (None, 8.0):
        values = [study.run(seed, epsilon, True)[0][key] for seed in seeds]
        title = "no privacy" if epsilon is None else f"ε ≤ {epsilon:g}"
        yield Figure(
            area,
            f"{study.name}, permuted, {title}: {key}",
            mean(values),
            "",
            f"{low:g} to {high:g}",
            low <= mean(values) <= high,
            *spread(values),
        )


def spread(values: list[float]) -> tuple[str, float | None]:
    """Half the 95 % t-interval of the seeds' values, in words and as a number; nothing for one."""
    if len(values) < min(_STUDENT):
        return "one seed", None
    half = _STUDENT[len(values)] * stdev(values) / len(values) ** 0.5
    return f"± {half:.3f} (95 %) over {len(values)} seeds", half


def data(variable: str = "FEDCODE_DATA") -> Path | None:
    """The folder that an environment variable names, if it is there."""
    folder = Path(os.environ.get(variable, ""))
    return folder if os.environ.get(variable) and folder.is_dir() else None


def _levels() -> tuple[float | None, ...]:
    asked = os.environ.get("FEDCODE_EPSILONS")
    if asked is None:
        return EPSILONS
    return tuple(None if one == "inf" else float(one) for one in asked.split(","))
