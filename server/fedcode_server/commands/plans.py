# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a federation would cost its members."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedcode.budgets import calibrated, shortfalls
from fedcode.federation import load
from fedcode.modes import leaving, tradeoff
from fedcode.report.table import NOTHING, epsilon
from fedcode_server.plan import Price, prices

app = typer.Typer()


@app.command()
def plan(
    federation: Annotated[Path, typer.Argument(metavar="FEDERATION.toml")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what a federation would ask of its members, and the ε it costs each of them."""
    asked = load(federation)
    calibration = calibrated(asked)
    found = prices(asked, calibration)
    if as_json:
        print(json.dumps([price.plain() for price in found]))
        return
    console = Console()
    console.print(
        f"{asked.name}: {len(asked.members)} members, unit {asked.privacy.unit}, "
        f"ε ≤ {asked.privacy.epsilon:g}, δ = {asked.privacy.delta:g}",
        soft_wrap=True,
    )
    console.print(_table(found))
    for each in asked.tasks:
        console.print(f"{each.name} sends {leaving(each.training)}", soft_wrap=True)
    console.print(tradeoff(asked.aggregation, len(asked.members)), soft_wrap=True)
    for shortfall in shortfalls(asked, calibration):
        console.print(str(shortfall), soft_wrap=True)


def _table(found: list[Price]) -> Table:
    table = Table(box=None, pad_edge=False)
    summed = any(price.epsilon_release is not None for price in found)
    titles = ["task", "rounds", "steps", "sampling rate", "noise multiplier", "ε"]
    for title in [*titles, *(["ε of the sums"] if summed else [])]:
        table.add_column(title, justify="left" if title == "task" else "right")
    for price in found:
        table.add_row(
            price.task,
            str(price.rounds),
            str(price.steps),
            f"{price.sampling_rate:g}",
            f"{price.noise_multiplier:.3f}",
            epsilon(price.epsilon),
            *([_or_dash(price.epsilon_release)] if summed else []),
        )
    return table


def _or_dash(value: float | None) -> str:
    return NOTHING if value is None else epsilon(value)
