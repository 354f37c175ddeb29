# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Runs: asking for them, carrying them out, looking at them."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fedcode.checks import show
from fedcode.errors import RunError
from fedcode.logs import configure
from fedcode.modes import tradeoff
from fedcode_server.asking import ask
from fedcode_server.commands.membership import AsJson, InHome
from fedcode_server.doctor import examine, health
from fedcode_server.register import FAILED, OFFERED, RUNNING, STOPPED, Row, Runs
from fedcode_server.registry import Registry
from fedcode_server.runs import UNREADABLE, RunFolder
from fedcode_server.settings import Home

app = typer.Typer()


@app.command()
def up(home: InHome = None, as_json: AsJson = False) -> None:
    """Serve members and carry out runs, until Ctrl-C or SIGTERM."""
    from fedcode_server.up import Process  # it takes a second to load

    found = Home.find(home)
    configure(found.log / "server.log")
    with Process(found) as process:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: process.stop())
        ports, settings = process.ports, found.settings()
        if as_json:
            print(json.dumps({"up": settings.federation, **ports}), flush=True)
        else:
            print(
                f"{settings.federation} is up: enrolment at port {ports['enrolment']}, rounds at "
                f"{ports['fleet']}, health and metrics at http://127.0.0.1:{ports['local']}",
                flush=True,
            )
        process.wait()


@app.command()
def run(
    federation: Annotated[
        Path | None, typer.Argument(metavar="FEDERATION.toml", help="What is asked for.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What `fedcode prepare` made of it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run; else a number.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with one that was stopped or failed.")
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Ask the members that a federation names for a run; it begins when all have signed."""
    found = Home.find(home)
    with Registry.open(found.registry) as registry:
        runs = Runs(registry.database)
        if resume is not None:
            _resume(runs, resume, as_json)
            return
        if federation is None or start is None:
            raise RunError(
                "a run needs a federation and its start files",
                "fedcode-server run FEDERATION.toml --start DIR, or --resume RUN",
            )
        folder = ask(found, registry, runs, federation, start, name)
    asked = folder.federation()
    roster = folder.agreements()[0].agreement.roster
    if as_json:
        agreements = {one.agreement.task: one.agreement.digest() for one in folder.agreements()}
        print(json.dumps({"run": folder.name, "agreements": agreements, "members": roster.names}))
        return
    print(f"{folder.name} is offered to {', '.join(roster.names)} (roster epoch {roster.epoch})")
    for one in folder.agreements():
        print(f"{one.agreement.task}  agreement {one.agreement.digest()}")
    Console().print(tradeoff(asked.aggregation, len(roster.names)), soft_wrap=True)
    print(f"each of them: fedcode-client accept {folder.name}")


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(metavar="RUN", help="One; else all.")] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Say how far runs have come."""
    found = Home.find(home)
    with Registry.open(found.registry) as registry:
        rows = [row for row in Runs(registry.database).all() if name in (None, row.name)]
    if name is not None and not rows:
        raise RunError(f"there is no run {name}", "fedcode-server status")
    running = any(row.state == RUNNING for row in rows)
    online = (health(found) or {}).get("online") if running else None
    said = [_status(found, row, online) for row in rows]
    if as_json:
        print(json.dumps(said))
        return
    if not said:
        print("no runs yet: fedcode-server run FEDERATION.toml --start DIR")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("run", "state", "rounds", "since", ""):
        table.add_column(title)
    for one in said:
        done = ", ".join(f"{task} {n}/{of}" for task, (n, of) in one["rounds"].items())
        table.add_row(one["run"], one["state"], done, one["since"], one["note"])
    Console().print(table)


@app.command()
def stop(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run; what was done is kept, and `run --resume` goes on with it."""
    with Registry.open(Home.find(home).registry) as registry:
        Runs(registry.database).ask_to_stop(name)
    print(json.dumps({"stopping": name}) if as_json else f"{name} stops")


@app.command()
def doctor(home: InHome = None, as_json: AsJson = False) -> None:
    """Check the coordinator's folder and process, and say what to do about what is wrong."""
    show(examine(Home.find(home)), as_json=as_json)


def _resume(runs: Runs, name: str, as_json: bool) -> None:
    row = runs.get(name)
    if row is None or not runs.move(name, RUNNING, since=(STOPPED, FAILED)):
        raise RunError(f"there is no run {name} to go on with", "fedcode-server status")
    print(json.dumps({"run": name}) if as_json else f"{name} goes on")


def _status(home: Home, row: Row, online: Sequence[str] | None) -> dict[str, Any]:
    """One run; ``online`` are the members whose agents are there, None where nobody knows."""
    folder = RunFolder(home.runs / row.name)
    try:
        note, rounds = _note(folder, row, online), _rounds(folder)
    except UNREADABLE:
        note, rounds = row.note or "its folder cannot be read", {}
    return {
        "run": row.name,
        "state": row.state,
        "rounds": rounds,
        "since": f"{datetime.fromtimestamp(row.changed, UTC):%Y-%m-%d %H:%M} UTC",
        "note": note,
        "folder": str(folder.path),
    }


def _note(folder: RunFolder, row: Row, online: Sequence[str] | None) -> str:
    if row.state == OFFERED:
        missing = folder.missing()
        return f"waits for {', '.join(missing)} to sign" if missing else "everybody has signed"
    if row.state != RUNNING:
        return row.note
    if online is None:
        return "the coordinator is not up: fedcode-server up"
    names = folder.agreements()[0].agreement.roster.names
    away = [name for name in names if name not in online]
    return f"not there: {', '.join(away)}" if away else "all are there"


def _rounds(folder: RunFolder) -> dict[str, tuple[int, int]]:
    """Of each task: rounds that are done, and all."""
    done = folder.done()
    return {
        one.agreement.task: (
            max((line["round"] for line in done if line["task"] == one.agreement.task), default=0),
            one.agreement.rounds,
        )
        for one in folder.agreements()
    }
