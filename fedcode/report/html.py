# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``report.html``: one file that asks the network for nothing.

Names, paths and titles come from organizations; Jinja escapes all of them. Only the charts and the
style sheet, both made here, are put in as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from fedcode.modes import counted
from fedcode.report import audits, charts, sums, table, words
from fedcode.report.audits import Audit, read_audit
from fedcode.report.result import Arm, Manifest, Result, TaskResult, read_manifest, read_result

_SHOWN_SKIPPED = 100


@dataclass(frozen=True, slots=True)
class Grid:
    """A plain table.

    Attributes:
        head: column titles; the first is the rows' own.
        rows: cells; the first of each is its title.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task, ready to be shown.

    Attributes:
        curve: its learning curve as SVG, or empty.
        comparison: its comparison as SVG, or empty.
        rounds: the figures of the curve.
        unseen: the leading figure for each organization never trained on.
        heldout: private data: the leading figure on each member's own held-out files.
        training: private data: each member's half of the rounds.
        sums: the secure sums' stories.
        shared: what the members measured and let go, noised.
    """

    task: TaskResult
    rows: Sequence[table.Row]
    curve: Markup
    comparison: Markup
    rounds: Grid
    unseen: Grid
    heldout: Grid
    training: Grid
    sums: Grid
    shared: Grid


@dataclass(frozen=True, slots=True)
class AuditView:
    """The audits, ready to be shown."""

    audit: Audit
    epsilons: Grid
    exposures: Grid
    extractions: Grid


def render(
    result: Mapping[str, Any],
    manifest: Mapping[str, Any],
    audit: Mapping[str, Any] | None = None,
) -> str:
    """The page; equal arguments give equal text.

    Args:
        result: what ``result.json`` holds.
        manifest: what ``manifest.json`` holds.
        audit: what ``audit.json`` holds, where the run was audited.

    Raises:
        RunError: one of them is not what this version writes.
    """
    found, run = read_result(result), read_manifest(manifest)
    return _page(found, run, None if audit is None else _audit_view(read_audit(audit)))


def page(template: str, **values: Any) -> str:
    """A template of ours, filled in: all that is put in is escaped.

    Args:
        template: its file, beside this one.
        values: by name.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["epsilon"] = table.epsilon
    environment.filters["counted"] = counted
    environment.filters["clock"] = _clock
    environment.filters["known"] = lambda value: table.number(value, 0)
    style = Markup(_part("style.css"))  # noqa: S704  our own file
    return environment.from_string(_part(template)).render(style=style, **values)


def _clock(moment: str) -> str:
    """A moment of ISO 8601 in UTC, as people read it."""
    return moment.replace("T", " ").replace("+00:00", " UTC")


def _page(result: Result, manifest: Manifest, audited: AuditView | None) -> str:
    return page(
        "template.html.j2",
        result=result,
        manifest=manifest,
        views=[_view(task, result) for task in result.tasks],
        epsilon_chart=Markup(charts.epsilon_by_round(result)),  # noqa: S704  escaped by Vega
        spent=table.largest_spent(result.ledger),
        seeded=result.simulation.seeded_noise or manifest.seeded_noise,
        shown_skipped=_SHOWN_SKIPPED,
        audited=audited,
        tested=_tested(result),
        audits=audits,
        sums=sums,
        table=table,
        words=words,
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _view(task: TaskResult, result: Result) -> TaskView:
    unseen = [o.name for o in result.organizations if o.role == "unseen"]
    return TaskView(
        task=task,
        rows=table.rows(task),
        curve=Markup(charts.learning_curve(task)),  # noqa: S704  escaped by Vega
        comparison=Markup(charts.comparison(task)),  # noqa: S704  escaped by Vega
        rounds=_rounds(task),
        unseen=_unseen(task, unseen),
        heldout=_heldout(task, result.members),
        training=_training(task, result.members),
        sums=Grid(sums.HEAD, sums.rows(task)),
        shared=_shared(task),
    )


def _tested(result: Result) -> Grid:
    """What the tests of all members' data found."""
    found = result.data_tests.organizations if result.data_tests else {}
    rows = [
        [name, *table.tested(one.test, one.state, one.value, one.threshold, one.said)]
        for name, outcomes in found.items()
        for one in outcomes
    ]
    return Grid(["Organization", *table.TESTED], rows)


def _audit_view(audit: Audit) -> AuditView:
    return AuditView(
        audit,
        Grid(audits.EPSILONS, audits.epsilon_rows(audit)),
        Grid(audits.EXPOSURES, audits.exposure_rows(audit)),
        Grid(audits.EXTRACTIONS, audits.extraction_rows(audit)),
    )


def _rounds(task: TaskResult) -> Grid:
    head = ["Round", *(metric.title for metric in task.metrics), "Members", "Seconds"]
    rows = [
        [
            str(entry.round),
            *(table.number(entry.metrics.get(m.key), m.digits) for m in task.metrics),
            str(len(entry.survivors)),
            f"{entry.seconds:.1f}",
        ]
        for entry in task.curves
    ]
    return Grid(head, rows)


def _shared(task: TaskResult) -> Grid:
    keys = list(dict.fromkeys(key for entry in task.curves for key in entry.shared))
    rows = [
        [
            str(entry.round),
            *(
                f"{table.number(one.value, 2)} ± {table.number(one.std, 2)}"
                if (one := entry.shared.get(key))
                else table.NOTHING
                for key in keys
            ),
        ]
        for entry in task.curves
        if keys
    ]
    return Grid(["Round", *keys], rows)


def _columns(task: TaskResult) -> list[tuple[str, list[Arm]]]:
    """Arms as columns; the members' own models share one."""
    alone = [arm for arm in task.arms if arm.key == "alone"]
    columns = [(arm.title, [arm]) for arm in task.arms if arm.key != "alone"]
    return [*columns[:1], ("alone", alone), *columns[1:]] if alone else columns


def _unseen(task: TaskResult, organizations: Sequence[str]) -> Grid:
    """The column ``alone`` is the mean of the members' own models."""
    metric, columns = task.leading, _columns(task)
    rows = [
        [
            name,
            *(
                table.number(table.elsewhere(arms, name, metric.key), metric.digits)
                for _, arms in columns
            ),
        ]
        for name in organizations
    ]
    titles = ["alone, mean" if title == "alone" else title for title, _ in columns]
    return Grid(["Organization", *titles], rows)


def _heldout(task: TaskResult, members: Sequence[str]) -> Grid:
    """The column ``alone`` is the member's own model on its own files."""
    metric, columns = task.leading, _columns(task)
    rows = []
    for member in members:
        own = [[arm for arm in arms if arm.member in (None, member)] for _, arms in columns]
        cells = [table.heldout(arms, member, metric.key) for arms in own]
        rows.append([member, *(table.number(cell, metric.digits) for cell in cells)])
    return Grid(["Organization", *(title for title, _ in columns)], rows)


def _training(task: TaskResult, members: Sequence[str]) -> Grid:
    rows = []
    for member in members:
        played = [entry.local[member] for entry in task.curves if member in entry.local]
        losses = [part.loss for part in played if part.loss is not None]
        rows.append(
            [
                member,
                str(len(played)),
                f"{sum(part.examples for part in played):,}",
                f"{sum(part.empty_steps for part in played):,}",
                f"{sum(part.left_out for part in played):,}",
                table.number(losses[0] if losses else None, 3),
                table.number(losses[-1] if losses else None, 3),
            ]
        )
    drawn = ["Examples drawn", "Empty steps", "Left out"]
    return Grid(["Organization", "Rounds", *drawn, "First loss", "Last loss"], rows)
