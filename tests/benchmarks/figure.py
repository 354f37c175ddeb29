# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One measured figure, and how figures are taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of bench.json; ``holds`` is None where nothing is wanted.

    ``note`` says more of the value, or what it was made of; ``spread`` is half its 95 % interval.
    """

    area: str
    name: str
    value: float
    unit: str
    wanted: str = ""
    holds: bool | None = None
    note: str = ""
    spread: float | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def at_least(
    area: str, name: str, value: float, unit: str, wanted: float, note: str = ""
) -> Figure:
    """A figure that should not be below ``wanted``."""
    return Figure(area, name, value, unit, f">= {wanted:g}", value >= wanted, note)


def at_most(area: str, name: str, value: float, unit: str, wanted: float, note: str = "") -> Figure:
    """A figure that should not be above ``wanted``."""
    return Figure(area, name, value, unit, f"<= {wanted:g}", value <= wanted, note)


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Median wall time after one run that is not counted."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken)
