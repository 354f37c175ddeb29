# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of our data, what we accept of it, and its card."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedcode.errors import RunError
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import Corpus
from fedcode.report.table import TESTED, tested
from fedcode_client.budget.service import LEDGER
from fedcode_client.commands.federations import configured, resolved
from fedcode_client.commands.membership import AsJson, InHome
from fedcode_client.data import ACCEPT, Snapshot, Snapshots
from fedcode_client.home import Home
from fedcode_client.ours import StartFiles

app = typer.Typer()


@app.command()
def data(
    federation: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|FEDERATION.toml]", help="Test what it would train on, now."),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Our name in the file.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The file's start files.")
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Say what tests of our data have found. Exit code 1 if one fails that nobody has accepted.

    Without a run: what was found last, by the agent or by this command.
    """
    found = Home.find(home)
    snapshots = Snapshots(found.data, found.settings().data_tests, noting=False)
    if federation is None:
        latest = snapshots.latest()
        if not latest:
            raise RunError("nothing was tested yet", "fedcode-client data RUN")
    else:
        latest = _tested(found, snapshots, federation, name, start)
    missing = {one.subject.key: snapshots.missing(one) for one in latest}
    if as_json:
        print(json.dumps([_plain(one, missing[one.subject.key]) for one in latest]))
    else:
        console = Console(soft_wrap=True, highlight=False, markup=False)
        for one in latest:
            _show(console, one, missing[one.subject.key])
    if any(missing.values()):
        raise typer.Exit(1)


@app.command(name="accept-data")
def accept_data(
    because: Annotated[str, typer.Option(help="Why it may be trained on; it is kept.")],
    test: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only what this test found.")
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Accept data that fails a test, as it was tested last; other data is tested again."""
    found = Home.find(home)
    snapshots = Snapshots(found.data, found.settings().data_tests)
    done = snapshots.accept(because, test or [])
    if as_json:
        said = [{"digest": one.digest, "accepted": tests} for one, tests in done]
        print(json.dumps(said))
        return
    for one, tests in done:
        print(f"accepted {', '.join(tests)} of {one.digest[:12]}")
        if missing := snapshots.missing(one):
            print(f"it is still not trained on: {', '.join(missing)}")
    print(f"kept in {snapshots.history}")


def _tested(
    home: Home, snapshots: Snapshots, federation: str, name: str | None, start: Path | None
) -> list[Snapshot]:
    """Snapshots of what every task of a federation would train on, each kind once."""
    from fedcode.tasks import labels_of

    asked, name, start = resolved(federation, name, start, home.root, "data")
    asked.member(name)
    ours, _ = configured(home, name)
    files = StartFiles.load(start, [task.name for task in asked.tasks]) if start else None
    public = files.public if files else Corpus("public", ())
    kinds = dict.fromkeys(labels_of(task.name) for task in asked.tasks)
    return [ours.tested(asked, public, labels, snapshots)[1] for labels in kinds]


def _plain(snapshot: Snapshot, missing: tuple[str, ...]) -> dict[str, Any]:
    return snapshot.plain() | {"digest": snapshot.digest, "not_accepted": list(missing)}


def _show(console: Console, snapshot: Snapshot, missing: tuple[str, ...]) -> None:
    profile, when = snapshot.profile, datetime.fromtimestamp(snapshot.time, UTC)
    labels = ", with labels" if snapshot.subject.labels else ""
    console.print(
        f"{', '.join(snapshot.subject.sources)}{labels}, tested {when:%Y-%m-%d %H:%M} UTC: "
        f"{profile.files:,} files, {profile.records:,} records, {profile.tokens:,} tokens, "
        f"{snapshot.digest[:12]}"
    )
    table = Table(box=None, pad_edge=False)
    for title in TESTED:
        table.add_column(title.lower(), justify="right" if title in TESTED[2:4] else "left")
    for one in snapshot.outcomes:
        cells = tested(one.test, one.state, one.value, one.threshold, one.said)
        if one.state == "failed" and one.test not in missing:
            cells[1] = "failed, accepted"
        table.add_row(*map(Text, cells))
    console.print(table)
    if missing:
        console.print(f"not trained on: {', '.join(missing)} failed; {ACCEPT} --because WHY")


@app.command()
def card(
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to; the home's folder data.")
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Write the card of our data: data-card.html and data-card.json. It is private."""
    from fedcode_client.card import card as made
    from fedcode_client.card import write

    found = Home.find(home)
    joined = found.member_of()
    name = joined.member if joined else "ours"
    ours, settings = configured(found, name)
    snapshots = Snapshots(found.data, settings.data_tests)
    path = found.ledger / LEDGER
    with BudgetLedger.open(path, read_only=True) if path.exists() else nullcontext() as ledger:
        shown = joined.member if joined else found.root.resolve().name
        said = made(found, shown, ours, snapshots, ledger, settings.max_tokens)
    page, plain = write(said, out or found.data)
    if as_json:
        print(json.dumps({"html": str(page), "json": str(plain)}))
        return
    print(f"wrote {page} and {plain}")
    print("both are private data of our organization: keep them to ourselves")
