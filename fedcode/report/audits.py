# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``audit.json`` as types and as rows; docs/audit.md says what every field means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field
from rich.console import Group
from rich.table import Table
from rich.text import Text

from fedcode.report import table, words
from fedcode.report.result import Part, read

EPSILONS = (
    "Audit",
    "Claimed ε",
    "Found at least",
    "Could have found",
    "Right guesses",
    "Verdict",
)
EXPOSURES = ("Model", "Planted", "Secrets", "Exposure, mean", "Largest", "Largest possible")
EXTRACTIONS = ("Model", "Functions", "Asked", "Word for word", "Share")

NEVER_PASSED = (
    "An audit can show that a program is broken, never that it is right: what it could not have "
    "found may be there."
)


class Step(Part):
    """The private step, with and without a canary."""

    trials: int
    delta: float
    claimed: float
    found: float
    detectable: float
    broken: bool


class OneRun(Part):
    """One whole training with canaries in it."""

    canaries: int
    guesses: int
    right: int
    delta: float
    mistake: float
    claimed: float
    found: float
    detectable: float
    broken: bool


class Exposure(Part):
    """Secrets that were planted equally often."""

    copies: int
    secrets: int
    mean: float
    largest: float
    detectable: float


class Extraction(Part):
    """Functions that a model was asked to go on with."""

    functions: int
    verbatim: int
    rate: float | None


class ByHeart(Part):
    """What one model has learned by heart."""

    exposure: tuple[Exposure, ...]
    trained_on: Extraction
    held_out: Extraction


class Memory(Part):
    """What the private model, and the same training without privacy, have learned by heart."""

    given: int
    asked: int
    passes: float
    private: ByHeart
    plain: ByHeart


class TaskAudit(Part):
    """One trained system."""

    name: str
    one_run: OneRun
    memory: Memory | None
    seconds: float


class Audit(Part):
    """The whole of ``audit.json``."""

    schema_: Literal["fedcode/audit/1"] = Field(alias="schema")
    created: str
    seconds: float
    organization: str
    step: Step
    tasks: tuple[TaskAudit, ...]

    @property
    def broken(self) -> bool:
        """Whether any audit found more than is claimed."""
        return self.step.broken or any(task.one_run.broken for task in self.tasks)


def read_audit(values: Mapping[str, Any]) -> Audit:
    """``audit.json`` as types.

    Raises:
        RunError: what is wrong, in one line, with its place.
    """
    return read(Audit, values, "audit.json")


def verdict(found: Step | OneRun) -> str:
    """In words; never that all is well."""
    if found.broken:
        return "BROKEN: it reveals more than claimed"
    if found.detectable <= found.claimed:
        return "nothing found, and nothing could have been"
    return "nothing found"


def epsilon_rows(audit: Audit) -> list[list[str]]:
    """Under the titles of :data:`EPSILONS`."""
    step = [f"one step, {audit.step.trials:,} times", *_epsilons(audit.step), table.NOTHING]
    rows = [[*step, verdict(audit.step)]]
    for task in audit.tasks:
        one = task.one_run
        head = f"{task.name}, one run, {one.canaries:,} canaries"
        rows.append([head, *_epsilons(one), f"{one.right:,} of {one.guesses:,}", verdict(one)])
    return rows


def exposure_rows(audit: Audit) -> list[list[str]]:
    """Under the titles of :data:`EXPOSURES`."""
    return [
        [
            title,
            "once" if one.copies == 1 else f"{one.copies} times",
            str(one.secrets),
            *(f"{bits:.1f} bits" for bits in (one.mean, one.largest, one.detectable)),
        ]
        for title, _, model in _models(audit)
        for one in model.exposure
    ]


def extraction_rows(audit: Audit) -> list[list[str]]:
    """Under the titles of :data:`EXTRACTIONS`."""
    rows = []
    for title, _, model in _models(audit):
        for name, part in (("trained on", model.trained_on), ("held out", model.held_out)):
            share = table.NOTHING if part.rate is None else f"{100 * part.rate:.1f} %"
            rows.append([title, name, f"{part.functions:,}", f"{part.verbatim:,}", share])
    return rows


def memories(audit: Audit) -> list[Memory]:
    """Of the tasks whose models write code."""
    return [task.memory for task in audit.tasks if task.memory is not None]


def summary(values: Mapping[str, Any]) -> Group:
    """What a terminal shows: some aligned lines of 80 columns.

    Raises:
        RunError: ``values`` are no audit.
    """
    audit = read_audit(values)
    parts = [_grid(("audit", "claimed ε", "found ≥", "findable"), _short(audit))]
    if memories(audit):
        head = ("exposure of planted secrets", "planted", "mean", "largest", "possible")
        rows = [[row[0], row[1], *row[3:]] for row in exposure_rows(audit)]
        parts.append(_grid(head, rows))
        given = memories(audit)[0]
        title = f"{given.given} pieces given, next {given.asked} by heart"
        rows = [[row[0], f"{row[1]} ({row[2]})", row[4]] for row in extraction_rows(audit)]
        parts.append(_grid((title, "functions", "share"), rows))
    broken = [row[0] for row in epsilon_rows(audit) if row[-1].startswith("BROKEN")]
    said = f"BROKEN: {words.listed(broken)}: more is revealed than claimed"
    end = said if broken else "nothing found against it; what could not be found may be there"
    return Group(*parts, Text(end, "bold"))


def _short(audit: Audit) -> list[list[str]]:
    return [row[:4] for row in epsilon_rows(audit)]


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for place, title in enumerate(head):
        grid.add_column(title, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    return grid


def _models(audit: Audit) -> Iterator[tuple[str, Memory, ByHeart]]:
    for task in audit.tasks:
        if task.memory is not None:
            yield f"{task.name}, private", task.memory, task.memory.private
            yield f"{task.name}, no privacy", task.memory, task.memory.plain


def _epsilons(found: Step | OneRun) -> list[str]:
    """The claim is rounded up, what was found or could have been down: nobody is flattered."""
    return [table.epsilon(found.claimed), _down(found.found), _down(found.detectable)]


def _down(value: float) -> str:
    return f"{int(value * 100) / 100:.2f}"
