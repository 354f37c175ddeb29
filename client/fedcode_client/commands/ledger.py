# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a budget ledger."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedcode.errors import ConfigError, RunError
from fedcode.privacy.ledger import BudgetLedger
from fedcode_client import desk
from fedcode_client.budget.service import LEDGER
from fedcode_client.commands.membership import AsJson, InHome
from fedcode_client.home import Home

app = typer.Typer(no_args_is_help=True, help="Read a budget ledger; nothing is changed.")

LedgerFile = Annotated[
    Path | None,
    typer.Argument(metavar="[LEDGER]", help="A ledger.sqlite; the home's if none is named."),
]


@app.command()
def show(
    path: LedgerFile = None,
    units: Annotated[
        int, typer.Option(min=1, help="ε for somebody to whom so many units belong.")
    ] = 1,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Say what was spent and what is left, by data asset."""
    with _opened(path or Home.find(home).ledger / LEDGER) as opened:
        opened.verify()
        rows = desk.accounts(opened, units)
    if as_json:
        print(json.dumps([row.plain() for row in rows]))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("organization", "asset", "unit", "ε spent", "cap", "δ", "charges", "left"):
        table.add_column(title, justify="right" if title in ("ε spent", "cap", "left") else "left")
    for row in rows:
        table.add_row(
            row.organization,
            row.asset,
            row.unit,
            f"{row.epsilon_spent:.3f}",
            f"{row.epsilon_cap:g}",
            f"{row.delta:g}",
            str(row.charges),
            f"{row.left:.1%}",
        )
    console = Console()
    console.print(table)
    if units > 1:
        console.print(f"ε spent: for somebody to whom {units} units belong; the cap is for one")
    console.print(
        "ε spent: by privacy loss distribution. left: of the Rényi budget, which stops training; "
        "it runs out before ε spent reaches the cap",
        soft_wrap=True,
    )
    if any(row.seeded for row in rows):
        console.print("A simulation's ledger: its noise came from a seed", soft_wrap=True)


@app.command()
def verify(
    path: LedgerFile = None,
    head: Annotated[
        str | None, typer.Option(help="A head noted earlier; its row must still be there.")
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Check that every row is as it was written, and that no total was passed."""
    if head is not None and not re.fullmatch("[0-9a-f]{64}", head):
        raise ConfigError("a head has 64 hexadecimal digits", "copy what `verify` has printed")
    with _opened(path or Home.find(home).ledger / LEDGER) as opened:
        number, now = opened.verify(head), opened.head
    if as_json:
        print(json.dumps({"rows": number, "head": now}))
        return
    print(f"{number} rows, every one in order; head {now}")
    if head is None:
        print("note the head: only `verify --head` notices rows that were cut off at the end")


@app.command()
def export(path: LedgerFile = None, home: InHome = None) -> None:
    """Print every row as one line of JSON."""
    with _opened(path or Home.find(home).ledger / LEDGER) as opened:
        for line in opened.export():
            print(line)


def _opened(path: Path) -> BudgetLedger:
    if not path.is_file():
        raise RunError(f"{path} is not a file", "name a ledger.sqlite")
    return BudgetLedger.open(path, read_only=True)
