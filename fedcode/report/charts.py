# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG, drawn once: no script runs in the page.

Colours are CSS variables, so one drawing is right in light, in dark and on paper. No line is told
from another by its colour alone: each has its own dashes and its name beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt
import vl_convert as vlc

from fedcode.report.result import Metric, Result, Round, TaskResult
from fedcode.report.table import condensed_rows, epsilon, figure, number

_INK, _MUTED, _GRID = "var(--ink)", "var(--muted)", "var(--line)"
_PRIVATE, _PLAIN = "var(--private)", "var(--plain)"
_DASHES: Sequence[list[int]] = ([6, 3], [2, 2], [8, 3, 2, 3], [1, 4], [12, 4])
_CURVE = "federated, by round"

_WIDTH, _LABELS, _HEIGHT, _LINE = 230, 165, 250, 16
_PADDING = {"left": 4, "right": 16, "top": 4, "bottom": 4}


def learning_curve(task: TaskResult) -> str:
    """The leading metric of the federated run by round; the other rows as level lines."""
    metric = task.leading
    points = [
        {"x": entry.round, "y": value}
        for entry in task.curves
        if (value := entry.metrics.get(metric.key)) is not None
    ]
    levels = _levels(task, metric)
    if not points:
        return ""
    low, high = _domain([p["y"] for p in points] + [level["y"] for level in levels])
    last = max(task.rounds_planned, points[-1]["x"])
    x = alt.X("x:Q", title="round", scale=alt.Scale(domain=[0, last], nice=False), axis=_rounds())
    y = alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(tickCount=6, format=f".{min(metric.digits, 2)}f"),
    )
    curve = alt.Chart(_data(points)).encode(x=x, y=y)
    drawn = [
        curve.mark_line(color=_PRIVATE, strokeWidth=2.5),
        curve.mark_point(color=_PRIVATE, fill=_PRIVATE, size=22, opacity=1),
        alt.Chart(_data(levels)).mark_rule(strokeWidth=1.5).encode(y=y, **_own_stroke()),
        *_names_beside([*levels, _level(_CURVE, points[-1]["y"], None)], low, high),
    ]
    return _svg(alt.layer(*drawn).properties(width=_WIDTH, height=_HEIGHT))


def comparison(task: TaskResult) -> str:
    """Every row's leading metric with its interval: filled with privacy, hollow without."""
    metric = task.leading
    shown: list[dict[str, Any]] = [
        {
            "order": place,
            "name": row.title,
            "x": found.mean,
            "low": found.mean if found.low is None else found.low,
            "high": found.mean if found.high is None else found.high,
            "fill": _PRIVATE if row.kind == "private" else "var(--panel)",
            "edge": _PRIVATE if row.kind == "private" else _PLAIN,
            "text": number(found.mean, metric.digits),
        }
        for place, row in enumerate(condensed_rows(task))
        if (found := row.unseen.get(metric.key)) is not None and found.mean is not None
    ]
    if not shown:
        return ""
    low, high = _domain([s[key] for s in shown for key in ("x", "low", "high")])
    y = alt.Y("name:N", sort=alt.SortField("order"), title=None, axis=_names())
    x = alt.X(
        "x:Q",
        title=None,
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(tickCount=5, format=f".{min(metric.digits, 2)}f"),
    )
    base = alt.Chart(_data(shown)).encode(y=y)
    edge, fill = (alt.Color(f"{key}:N", scale=None) for key in ("edge", "fill"))
    drawn = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", color=edge),
        base.mark_point(size=60, strokeWidth=2, opacity=1).encode(x=x, fill=fill, stroke=edge),
        base.mark_text(dy=-11, fontSize=11, color=_INK).encode(x=x, text="text:N"),
    ]
    height = max(3, len(shown)) * 30
    return _svg(alt.layer(*drawn).properties(width=_WIDTH, height=height))


def epsilon_by_round(result: Result) -> str:
    """ε spent by round, a panel per organization; the cap is the dashed line."""
    caps = {row.organization: row.epsilon_cap for row in result.ledger}
    points = _spending(result)
    points = [point | {"cap": caps.get(point["name"], point["y"])} for point in points]
    if not points or result.privacy is None:
        return ""
    top = 1.25 * max(max(point["cap"], point["y"]) for point in points)
    scale = alt.Scale(domain=[0, top], nice=False)
    rounds = sum(len(task.curves) for task in result.tasks)
    x = alt.X(
        "x:Q",
        title=None,
        scale=alt.Scale(domain=[0, rounds], nice=False),
        axis=_rounds(),
    )
    y = alt.Y("y:Q", title="ε", scale=scale, axis=alt.Axis(tickCount=4))
    base = alt.Chart()
    line, last = base.encode(x=x, y=y), base.transform_filter("datum.text")
    drawn = [
        base.mark_rule(color=_INK, strokeDash=[5, 3]).encode(y=alt.Y("cap:Q", aggregate="max")),
        line.mark_line(color=_PRIVATE, strokeWidth=2),
        last.mark_point(color=_PRIVATE, fill=_PRIVATE, size=30, opacity=1).encode(x=x, y=y),
        last.mark_text(align="right", dy=16, fontSize=11, color=_INK).encode(
            x=x, y=y, text="text:N"
        ),
    ]
    panel = alt.layer(*drawn, data=_data(points)).properties(width=168, height=82)
    name = alt.Facet(
        "name:N", title=None, sort=list(result.members), header=alt.Header(labelLimit=165)
    )
    return _svg(panel.facet(facet=name, columns=2, spacing=18))


def _spending(result: Result) -> list[dict[str, Any]]:
    """ε of each member after each round, the tasks' rounds one after another."""
    played: list[Round] = [entry for task in result.tasks for entry in task.curves]
    points: list[dict[str, Any]] = []
    for member in result.members:
        own = [{"x": 0, "y": 0.0, "name": member, "text": ""}]
        own += [
            {"x": place, "y": entry.epsilon[member], "name": member, "text": ""}
            for place, entry in enumerate(played, start=1)
            if member in entry.epsilon
        ]
        refused = played[-1].refusals.get(member) if played else None
        ending = f", refused: {refused}" if refused else ""
        own[-1]["text"] = f"{epsilon(float(str(own[-1]['y'])))}{ending}"
        points += own
    return points


def _levels(task: TaskResult, metric: Metric) -> list[dict[str, Any]]:
    """The rows that a curve is held against; the members' mean would only crowd it."""
    rows = [row for row in condensed_rows(task) if row.key != "federated"]
    named = [(row.title, figure(row, metric)) for row in rows if "mean of" not in row.title]
    return [
        _level(title, value, place)
        for place, (title, value) in enumerate(named)
        if value is not None
    ]


def _level(label: str, value: float, place: int | None) -> dict[str, Any]:
    """A line to be named beside the chart; the curve's own has no place among the others."""
    if place is None:
        return {"label": label, "y": value, "dash": [1, 0], "edge": _PRIVATE}
    return {"label": label, "y": value, "dash": _DASHES[place % len(_DASHES)], "edge": _MUTED}


def _own_stroke() -> dict[str, Any]:
    """Dashes and colour as the data say."""
    return {
        "strokeDash": alt.StrokeDash("dash:N", scale=None),
        "stroke": alt.Stroke("edge:N", scale=None),
    }


def _names_beside(levels: Sequence[dict[str, Any]], low: float, high: float) -> list[Any]:
    """Each line's name to its right, moved apart where they would overlap, with its dashes."""
    unit = (high - low) / _HEIGHT
    ordered = sorted(levels, key=lambda level: -level["y"])
    places = _spread([(high - level["y"]) / unit for level in ordered])
    moved = [
        level | {"y": high - place * unit} for level, place in zip(ordered, places, strict=True)
    ]
    at = alt.Chart(_data(moved)).encode(y="y:Q")
    text = at.mark_text(align="left", color=_INK, fontSize=11, limit=_LABELS - 26)
    return [
        at.mark_rule(strokeWidth=2).encode(
            x=alt.value(_WIDTH + 4), x2=alt.value(_WIDTH + 24), **_own_stroke()
        ),
        text.encode(x=alt.value(_WIDTH + 29), text="label:N"),
    ]


def _spread(places: Sequence[float]) -> list[float]:
    """Ascending places at least a line apart, inside the chart as far as they fit."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + _LINE) if moved else place)
    limit = float(_HEIGHT)
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - _LINE
    return moved


def _domain(values: Iterable[float]) -> tuple[float, float]:
    """Lowest and highest with a margin."""
    there = list(values)
    low, high = min(there), max(there)
    margin = 0.08 * (high - low) or max(abs(high) * 0.05, 1e-3)
    return low - margin, high + margin


def _data(values: Sequence[dict[str, Any]]) -> Any:
    return alt.Data(values=list(values))


def _rounds() -> Any:
    return alt.Axis(tickMinStep=1, tickCount=6, format="d", grid=False)


def _names() -> Any:
    return alt.Axis(labelLimit=_LABELS, minExtent=_LABELS, ticks=False, domain=False, grid=True)


def _svg(chart: Any) -> str:
    """The drawing, to stand in a page; screen readers pass it over for the tables beside it."""
    font = "system-ui, sans-serif"
    configured = (
        chart.configure(aria=False, background="transparent", font=font, padding=_PADDING)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_INK,
            titleColor=_INK,
            gridColor=_GRID,
            domainColor=_MUTED,
            tickColor=_MUTED,
            titleFontWeight="normal",
            labelFontSize=11,
            titleFontSize=11.5,
        )
        .configure_header(labelColor=_INK, labelFontSize=12, labelFontWeight="bold")
    )
    drawn: str = vlc.vegalite_to_svg(configured.to_dict())
    for namespace in ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"):
        for prefix in ("xmlns", "xmlns:xlink"):
            drawn = drawn.replace(f' {prefix}="{namespace}"', "", 1)
    return drawn.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
