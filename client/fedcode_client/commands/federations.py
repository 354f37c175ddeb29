# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a federation asks of us: before anybody says yes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedcode.federation import load
from fedcode.modes import leaving, tradeoff
from fedcode.report.table import epsilon
from fedcode_client import desk

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def preview(
    federation: Annotated[Path, typer.Argument(metavar="FEDERATION.toml")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Our name in the federation.")],
    as_json: AsJson = False,
) -> None:
    """Say what a federation would ask of us, and what it would cost. Trains nothing."""
    asked = load(federation)
    found = desk.preview(asked, name, workers=os.cpu_count() or 1)
    if as_json:
        print(json.dumps(found.plain()))
        return
    console = Console()
    console.print(
        f"{found.files} files, {found.records} records to train on; "
        f"our cap is ε = {found.epsilon_cap:g}, "
        f"all tasks together cost ε = {epsilon(found.epsilon)}",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for title in ("task", "rounds", "we can pay", "units a step", "noise multiplier", "ε"):
        table.add_column(title, justify="left" if title == "task" else "right")
    for task in found.tasks:
        table.add_row(
            task.task,
            str(task.rounds),
            str(task.rounds_affordable),
            f"{task.expected_batch:.0f}",
            f"{task.noise_multiplier:.3f}",
            epsilon(task.epsilon),
        )
    console.print(table)
    for each in asked.tasks:
        console.print(f"{each.name} sends {leaving(each.training)}", soft_wrap=True)
    console.print(tradeoff(asked.aggregation, len(asked.members)), soft_wrap=True)
    for task in found.tasks:
        if task.rounds_affordable < task.rounds:
            console.print(
                f"our budget covers {task.rounds_affordable} of {task.rounds} rounds of "
                f"{task.task}: then we would stop, and the others go on",
                soft_wrap=True,
            )
    console.print(
        "A plan for data that has not been charged yet; `fedcode-client ledger show` says what has",
        soft_wrap=True,
    )


@app.command()
def asset(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="path:DIR, package:… or wheel:…")],
    register: Annotated[
        bool, typer.Option("--register", help="Name a folder without history, for good.")
    ] = False,
) -> None:
    """Say which account of the ledger pays for the use of a source."""
    print(desk.asset(source, register=register))
