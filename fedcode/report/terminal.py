# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The end of a run in a terminal: about 15 lines, 80 columns, readable without colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedcode.modes import counted
from fedcode.report import table as figures
from fedcode.report import words
from fedcode.report.result import Metric, Result, TaskResult, read_result

_SIDE_BY_SIDE = 2
_VERDICTS = 4
_BESIDE = ("result.json", "manifest.json", "models", "ledger.sqlite")


def summary(values: Mapping[str, Any], folder: Path) -> Group:
    """Comparison, verdicts, privacy, and where the files are.

    Args:
        values: what ``result.json`` holds.
        folder: where it lies.

    Raises:
        RunError: ``values`` are no result.
    """
    result = read_result(values)
    return Group(
        *_comparisons(result),
        *_verdicts(result),
        *_notes(result),
        _files(folder, bool(result.ledger) and result.simulation.simulated),
    )


def _comparisons(result: Result) -> Iterator[RenderableType]:
    for start in range(0, len(result.tasks), _SIDE_BY_SIDE):
        yield _comparison(result.tasks[start : start + _SIDE_BY_SIDE])


def _comparison(tasks: Sequence[TaskResult]) -> Table:
    """Arms against figures, the tasks side by side; a row with privacy and the best is marked."""
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    grid.add_column("on unseen code\n* best with privacy", overflow="fold", vertical="bottom")
    columns = [(task, metric) for task in tasks for metric in _chosen(task, len(tasks))]
    for task, metric in columns:
        head = Text(_head(task, metric))
        grid.add_column(head, justify="right", no_wrap=True, vertical="bottom")
    spent_head = "ε" if len(tasks) == 1 else "ε of\neach"
    grid.add_column(spent_head, justify="right", no_wrap=True, vertical="bottom")
    found = {task.name: {_place(r): r for r in figures.condensed_rows(task)} for task in tasks}
    for place in dict.fromkeys(p for rows in found.values() for p in rows):
        there = {name: rows[place] for name, rows in found.items() if place in rows}
        cells = [_cell(there.get(task.name), task, metric) for task, metric in columns]
        spent = max(row.epsilon for row in there.values())
        first = next(iter(there.values()))
        style = "bold" if any(row.best for row in there.values()) else ""
        grid.add_row(Text(first.title), *cells, figures.epsilon(spent), style=style)
    return grid


def _head(task: TaskResult, metric: Metric) -> str:
    """The metric's key, a word a line; the task's name above its leading one."""
    lines = f"{metric.key} {'↓' if metric.lower_is_better else '↑'}".replace("_", "\n")
    return f"{task.name}\n{lines}" if metric is task.leading else lines


def _chosen(task: TaskResult, tasks: int) -> Sequence[Metric]:
    """As many of the task's metrics as 80 columns hold."""
    return task.metrics[:4] if tasks == 1 else task.metrics[:2]


def _place(row: figures.Row) -> tuple[str, str]:
    """Which rows of two tasks are the same row: baselines, and the two of ``alone``, by title."""
    return (row.key, row.title if row.key in ("baseline", "alone") else "")


def _cell(row: figures.Row | None, task: TaskResult, metric: Metric) -> str:
    value = row and row.unseen.get(metric.key)
    if metric is not task.leading:
        return figures.number(value.mean if value else None, metric.digits)
    mark = "*" if row and row.best else " "
    return figures.interval(value or None, metric.digits) + mark


def _verdicts(result: Result) -> Iterator[Text]:
    """Every claim that does not hold; those that hold one by one only where they are few."""
    every = [(task.name, verdict) for task in result.tasks for verdict in task.verdict]
    holding = sum(verdict.holds for _, verdict in every)
    if len(every) > _VERDICTS and holding:
        yield Text(f"yes  {holding} of {counted(len(every), 'claim')} hold")
    for name, verdict in every:
        if not verdict.holds:
            yield Text(f"NO   {name}: {verdict.claim} ({verdict.detail})")
        elif len(every) <= _VERDICTS:
            yield Text(f"yes  {name}: {verdict.claim}")


def _notes(result: Result) -> Iterator[Text]:
    yield Text(words.standing(result))
    yield from (Text(said) for said in words.summing(result))
    yield from (Text(said) for said in words.stops(result.tasks))
    yield from (Text(said, "bold") for said in result.few)
    if not result.finished:
        yield Text("not finished: `fedcode simulate --resume` goes on")
    if result.simulation.seeded_noise:
        yield Text(f"{words.SEEDED}: these weights are for looking at, not for giving away", "bold")


def _files(folder: Path, ledger: bool) -> Text:
    beside = [name for name in _BESIDE if ledger or name != "ledger.sqlite"]
    return Text(f"{folder / 'report.html'}  (beside it: {', '.join(beside)})", overflow="fold")
