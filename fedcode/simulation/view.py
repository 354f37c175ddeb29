# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a simulation runs: on stderr, so that stdout stays for results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from fedcode.budgets import Shortfall
from fedcode.corpus.data_tests import Outcome, State, failing
from fedcode.federation import Federation
from fedcode.modes import tradeoff
from fedcode.privacy.calibration import Calibration
from fedcode.record import Corpus
from fedcode.report.table import epsilon
from fedcode.simulation.jobs import Job
from fedcode.simulation.jobs import Progress as Told
from fedcode.task import Metric
from fedcode.tasks import metrics_of

_SHOWN = 3
_LARGE = 20.0  # e^20 times as likely: whoever asks for more has probably mistyped it


class View:
    """Progress bars: one per task's main run, one for the rest of the comparison.

    Args:
        console: where to; a quiet one shows nothing.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._metrics: dict[str, Metric] = {}
        self._rest: TaskID | None = None

    def reading(self, federation: Federation) -> None:
        """The first line."""
        members = ", ".join(o.name for o in federation.members)
        tasks = " and ".join(t.name for t in federation.tasks)
        self._console.print(
            f"[bold]{federation.name}[/]: {len(federation.members)} organizations ({members}) "
            f"train {tasks}"
        )

    def reading_one(self, name: str) -> None:
        """Called before each corpus is read."""
        if self._console.is_terminal:
            self._console.print(f"  reading {name} …", end="\r", style="dim")

    def read(
        self,
        whole: Mapping[str, Corpus],
        calibration: Calibration | None,
        federation: Federation,
        population: Mapping[str, int],
    ) -> None:
        """Sums up what was read, what is protected and what the noise is.

        Args:
            whole: every organization as it was read.
            calibration: None without privacy.
            federation: what they take part in.
            population: every member's number of units; none without privacy.
        """
        records = sum(1 for c in whole.values() for _ in c.stream())
        tokens = sum(c.lexer_tokens for c in whole.values())
        skipped = sum(len(c.skipped) for c in whole.values())
        left_out = f", {skipped} files left out (named in the report)" if skipped else ""
        self._console.print(f"read {records:,} records, {tokens:,} lexer tokens{left_out}")
        if all(one.role != "unseen" for one in federation.organizations):
            self._console.print(
                "no organization is unseen: nothing is measured but members' own held-out files"
            )
        if calibration is None:
            self._console.print("no privacy: for comparison only", style="bold")
            return
        unit = federation.privacy.unit
        noise = ", ".join(f"{sigma:.2f}" for sigma in calibration.noise_multipliers)
        budget = calibration.filter
        fewest, most = min(population.values()), max(population.values())
        several = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        self._console.print(
            f"privacy unit: {unit}; each organization trains on {several} "
            f"{unit if most == 1 else unit.plural}"
        )
        self._console.print(
            f"privacy: ε ≤ {budget.epsilon:g} for each organization, δ = {budget.delta:g}, "
            f"noise multiplier {noise}"
        )
        self._console.print(tradeoff(federation.aggregation, len(federation.members)))
        if budget.epsilon > _LARGE:
            self._console.print(
                f"an ε of {budget.epsilon:g} promises next to nothing", style="bold"
            )

    def shortfalls(self, found: Sequence[Shortfall]) -> None:
        """Says before the training who will stop early."""
        for shortfall in found:
            self._console.print(f"{shortfall}, then its budget does not cover the next")

    def tested(self, found: Mapping[str, Sequence[Outcome]]) -> None:
        """Says how the members' data did in its tests."""
        states = Counter(one.state for outcomes in found.values() for one in outcomes)
        words: dict[State, str] = {
            "passed": "passed",
            "not-applicable": "not applicable",
            "off": "switched off",
        }
        said = [f"{states[state]} {word}" for state, word in words.items() if states[state]]
        if states["failed"]:
            failed = sorted({test for outcomes in found.values() for test in failing(outcomes)})
            said.append(f"{states['failed']} failed and accepted: {', '.join(failed)}")
        self._console.print(f"data tests: {', '.join(said)}")

    def unmatched(self, table: Path, rows: Sequence[str]) -> None:
        """Says which rows of a table of labels name no function that was read."""
        if rows:
            self._console.print(
                f"{len(rows):,} rows of {table.name} name no function that was read, as "
                f"{', '.join(rows[:_SHOWN])}"
            )

    @contextmanager
    def training(self, federation: Federation, others: int) -> Iterator[None]:
        """Shows the bars while the block runs; ``others`` arms are there to compare with."""
        bars = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=self._console.quiet,
        )
        with bars:
            self._bars = bars
            for task in federation.tasks:
                self._metrics[task.name] = metrics_of(task.name)[0]
                self._tasks[task.name] = bars.add_task(task.name, total=task.rounds, said="")
            self._rest = bars.add_task("comparison", total=others, said="")
            yield
        self._bars = None

    def progress(self, told: Told) -> None:
        """One step of one job."""
        if self._bars is None:
            return
        task = told.task
        if told.loss is not None:
            self._bars.update(
                self._tasks[task],
                said=f"warm start {told.done / told.of:4.0%}, loss {told.loss:.2f}",
            )
        elif told.line is not None and told.line["metrics"]:
            self._bars.update(
                self._tasks[task], completed=told.done, said=self._line(task, told.line)
            )

    def finished(self, job: Job) -> None:
        """An arm is done."""
        if self._bars is not None and self._rest is not None and job.folder is None:
            self._bars.update(
                self._rest, advance=1, said=f"{job.task}, {job.arm.title}" if job.arm else ""
            )

    def _line(self, task: str, line: Mapping[str, Any]) -> str:
        metric = self._metrics[task]
        losses = [one["loss"] for one in line["local"].values() if one["loss"] is not None]
        parts = [f"sample {metric.key} {line['metrics'][metric.key]:.{metric.digits}f}"]
        if losses:
            parts.insert(0, f"loss {sum(losses) / len(losses):.2f}")
        if line["epsilon"]:
            parts.append(f"ε {epsilon(max(line['epsilon'].values()))}")
        return ", ".join([*parts, f"{line['seconds']:.1f} s"])


@contextmanager
def warming(console: Console) -> Iterator[Callable[[Told], None]]:
    """A bar for every warm start, while it lasts; yields what to tell of each step."""
    with Progress(console=console, transient=True) as bars:
        known: dict[str, TaskID] = {}

        def tell(told: Told) -> None:
            if told.task not in known:
                known[told.task] = bars.add_task(f"warm start of {told.task}", total=told.of)
            bars.update(known[told.task], completed=told.done)

        yield tell
