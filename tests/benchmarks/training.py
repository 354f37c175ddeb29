# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a private step costs beside a plain one: medians of ratios, round by round in one process.

Notes are the ratios' quartiles, or the two figures that were divided.

``python -m tests.benchmarks.training`` prints the table of the last ``make bench ONLY=training``.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from tests.benchmarks.figure import Figure, at_least, at_most
from tests.benchmarks.networks import CASES

_AREA = "training"
_TUNED = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
"""An allocator that keeps large memory instead of asking the system for fresh pages."""


@dataclass(frozen=True)
class Column:
    """One ratio of all cases.

    Attributes:
        title: as a table shows it.
        above: the variant whose seconds are divided ...
        below: ... by this one's.
        tuned: whether the allocator is.
        wanted: bounds by case; without one, the ratio is shown only.
    """

    title: str
    above: str
    below: str
    tuned: bool = False
    wanted: dict[str, float] = field(default_factory=dict)


_ROUNDS, _SMALL_ROUNDS = 9, 31
_LANGUAGE = ("gru-32", "gru-64", "lstm-32", "lstm-64")
_SMALL = ("rbm-small", "rbm-large", "bag")

_KERNELS = Column(
    "own kernels",
    "private",
    "kernels",
    wanted=dict.fromkeys(_LANGUAGE, 1.10)
    | {"transformer": 1.15, "lora": 1.05, "rbm-small": 1.15, "rbm-large": 1.15},
)
_STOCK = Column(
    "stock torch",
    "private",
    "stock",
    wanted=dict.fromkeys(_LANGUAGE, 0.90) | {"transformer": 1.05, "lora": 1.05, "bag": 1.2},
)
_ALLOCATOR = Column("stock torch, tuned allocator", "private", "stock", tuned=True)
_NOISE = Column("own kernels, with noise", "noised", "kernels")
_HOOKS = Column(
    "Opacus' hooks / private",
    "hooks",
    "private",
    wanted=dict.fromkeys(_LANGUAGE, 4.0) | {"transformer": 2.0, "bag": 20.0},
)
_GHOST = Column("Opacus' ghost clipping / private", "ghost", "private")
_MEMORY = "peak memory"
_LEAST_MEMORY = dict.fromkeys((*_LANGUAGE, "transformer"), 1.0)


def figures() -> list[Figure]:
    """GRU, LSTM, transformer, adapters, Boltzmann machines and a bag; one thread, or CUDA."""
    found = []
    for case in CASES:
        for columns in _together(case):
            found += _ratios(case, columns)
        found += _memory(case)
    return found


def _together(case: str) -> list[list[Column]]:
    """Columns that one process measures. Drawing noise empties the caches that small steps need."""
    if case in _SMALL:
        found = [[_KERNELS, _STOCK], [_ALLOCATOR], [_NOISE]]
    else:
        found = [[_KERNELS, _STOCK, _NOISE], [_ALLOCATOR]]
    if CASES[case].opacus:
        found.append([_HOOKS] if case.endswith("-64") else [_HOOKS, _GHOST])
    return found


def _ratios(case: str, columns: list[Column]) -> list[Figure]:
    opacus = _HOOKS in columns
    variants = list(dict.fromkeys(name for c in columns for name in (c.above, c.below)))
    rounds = _SMALL_ROUNDS if case in _SMALL and not opacus else _ROUNDS
    result = _measured(case, rounds, variants, _TUNED if columns[0].tuned else {})
    found = []
    for column in columns:
        if column.above in result["refused"]:
            why = result["refused"][column.above]
            found.append(Figure(_AREA, _name(case, column.title), math.nan, "x", note=why))
            continue
        above, below = (result["seconds"][name] for name in (column.above, column.below))
        low, middle, high = quantiles((a / b for a, b in zip(above, below, strict=True)), n=4)
        note = f"{low:.2f} to {high:.2f}, {result['device']}"
        name, wanted = _name(case, column.title), column.wanted.get(case)
        bound = at_least if opacus else at_most
        found.append(
            Figure(_AREA, name, middle, "x", note=note)
            if wanted is None
            else bound(_AREA, name, middle, "x", wanted, note)
        )
    return found


def _memory(case: str) -> list[Figure]:
    ours, theirs = (_measured(case, 2, [name], {})["peak"] for name in ("private", "stock"))
    note, name = f"{ours:.0f} / {theirs:.0f} MiB", _name(case, _MEMORY)
    if case in _LEAST_MEMORY:
        return [at_most(_AREA, name, ours / theirs, "x", _LEAST_MEMORY[case], note)]
    return [Figure(_AREA, name, ours / theirs, "x", note=note)]


def _measured(
    case: str, rounds: int, variants: list[str], environment: dict[str, str]
) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.steps", case, str(rounds), *variants]
    done = subprocess.run(
        command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def _name(case: str, column: str) -> str:
    return f"{CASES[case].name}: {column}"


def table(figures: list[dict[str, Any]]) -> str:
    """The figures as Markdown, a row for each network; what is not reached stands out."""
    cells = dict[str, dict[str, str]]()
    for figure in figures:
        row, column = figure["name"].split(": ")
        cells.setdefault(row, {})[column] = _cell(figure)
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[row, *(own.get(column, "") for column in columns)] for row, own in cells.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(figure: dict[str, Any]) -> str:
    if math.isnan(figure["value"]):
        return f"refuses: {figure['note']}"
    value = f"{figure['value']:.3g}" if figure["value"] >= 10 else f"{figure['value']:.2f}"
    value = value if figure["holds"] is not False else f"**{value}**"
    note = figure["note"].partition(",")[0].replace(" to ", "–")
    bound = figure["wanted"].replace("<=", "≤").replace(">=", "≥")
    wanted = f"; {bound}" if bound else ""
    return f"{value} ({note}{wanted})"


if __name__ == "__main__":
    written = Path("bench.json")
    if not written.exists():
        sys.exit("bench: there is no bench.json\nhint: make bench ONLY=training")
    everything = json.loads(written.read_text(encoding="utf-8"))
    print(table([figure for figure in everything if figure["area"] == _AREA]))
