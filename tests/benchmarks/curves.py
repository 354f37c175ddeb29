# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a study measured at each ε, from bench.json: a table, and a figure for docs/results.md.

``python -m tests.benchmarks.curves FOLDER`` prints the tables and writes ``FOLDER/STUDY.svg``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert as vlc

_LEVEL = re.compile(
    r"(?P<study>[^,]+), (?P<level>ε ≤ (?P<epsilon>[\d.]+)|no privacy): (?P<key>\w+)"
)
_BASELINE = re.compile(r"(?P<study>[^,]+), (?P<title>(?!permuted)[^:]+): (?P<key>\w+)")
_INK, _LINE = "#6a6f76", "#3d7ab8"
_WIDTH, _HEIGHT = 360, 240

Rows = Sequence[Mapping[str, Any]]


def main(words: Sequence[str]) -> int:
    """Writes a figure for each study; 2 without a folder."""
    if len(words) != 1:
        sys.stderr.write("curves: name a folder for the figures\n")
        return 2
    figures = json.loads(Path("bench.json").read_text(encoding="utf-8"))
    levels = [(found, row) for row in figures if (found := _LEVEL.fullmatch(row["name"]))]
    for study in dict.fromkeys(found["study"] for found, _ in levels):
        own = [(found, row) for found, row in levels if found["study"] == study]
        lead = own[0][0]["key"]
        print(table(own))
        points = [
            {
                "level": _level(found["epsilon"]),
                "order": float(found["epsilon"] or "inf"),
                "value": row["value"],
                "spread": row["spread"] or 0.0,
            }
            for found, row in own
            if found["key"] == lead
        ]
        baselines = [
            {"title": found["title"], "value": row["value"]}
            for row in figures
            if (found := _BASELINE.fullmatch(row["name"]))
            and found["study"] == study
            and found["key"] == lead
            and not _LEVEL.fullmatch(row["name"])
        ]
        drawn = figure(sorted(points, key=lambda point: point["order"]), baselines, lead)
        (Path(words[0]) / f"{study}.svg").write_text(drawn, encoding="utf-8")
    return 0


def table(own: Sequence[tuple[re.Match[str], Mapping[str, Any]]]) -> str:
    """The figures at each ε, as Markdown."""
    keys = list(dict.fromkeys(found["key"] for found, _ in own))
    rows: dict[str, dict[str, str]] = {}
    for found, row in own:
        half = f" ± {row['spread']:.3f}" if row["spread"] is not None else ""
        rows.setdefault(found["level"], {})[found["key"]] = f"{row['value']:.3f}{half}"
    lines = [f"| {own[0][0]['study']} | {' | '.join(keys)} |", "|---" * (len(keys) + 1) + "|"]
    lines += [
        f"| {level} | {' | '.join(found.get(key, '–') for key in keys)} |"
        for level, found in rows.items()
    ]
    return "\n".join(lines)


def figure(points: Rows, baselines: Rows, title: str) -> str:
    """The leading figure by ε, with its intervals, and what it is compared with, as SVG."""
    values = [
        {**p, "low": p["value"] - p["spread"], "high": p["value"] + p["spread"]} for p in points
    ]
    x = alt.X("level:N", title="ε", sort=[p["level"] for p in points], axis=alt.Axis(labelAngle=0))
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False, nice=True))
    base = alt.Chart(alt.Data(values=values)).encode(x=x)
    drawn = [
        base.mark_rule(color=_LINE, strokeWidth=2).encode(alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_line(color=_LINE, strokeWidth=2).encode(y=y),
        base.mark_point(color=_LINE, fill=_LINE, size=40, opacity=1).encode(y=y),
    ]
    if baselines:
        rules = alt.Chart(alt.Data(values=list(baselines)))
        drawn += [
            rules.mark_rule(color=_INK, strokeDash=[4, 3]).encode(y=y),
            rules.mark_text(color=_INK, align="right", dx=-4, dy=-6).encode(
                y=y, text="title:N", x=alt.value(_WIDTH)
            ),
        ]
    chart = (
        alt.layer(*drawn)
        .properties(width=_WIDTH, height=_HEIGHT, background="transparent")
        .configure_axis(labelColor=_INK, titleColor=_INK, gridOpacity=0.3, domainColor=_INK)
        .configure_view(stroke=None)
    )
    return str(vlc.vegalite_to_svg(chart.to_dict()))


def _level(epsilon: str | None) -> str:
    return "∞" if epsilon is None else f"{float(epsilon):g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
