# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a federation asks of us: before anybody says yes."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedcode.corpus import Screen, check_apart, check_there, named
from fedcode.errors import ConfigError, CorpusError
from fedcode.federation import OWN, Federation, anchored, check_distinct, load
from fedcode.modes import leaving, tradeoff
from fedcode.privacy.ledger import BudgetLedger
from fedcode.report.table import NOTHING, epsilon
from fedcode_client import desk
from fedcode_client.commands.membership import InHome
from fedcode_client.home import Home
from fedcode_client.offers import Desk
from fedcode_client.ours import Ours, StartFiles
from fedcode_client.paying import paying
from fedcode_client.screening import screen_of
from fedcode_client.settings import ClientSettings

app = typer.Typer()

TAKEN = "taken.jsonl"
_MOST_SKIPPED = 20
"""In the folder of states: what filters took, a line each."""

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def preview(
    federation: Annotated[
        str, typer.Argument(metavar="RUN|FEDERATION.toml", help="What was offered, or a file.")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Our name in the file.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its start files: also say how long it would take here."),
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Say what a federation would ask of us, and what it would cost. Computes nothing on our code.

    Our code is where the federation's file says, or else where client.toml does. Of a run that was
    offered to us everything else is known.
    """
    asked, name, start = resolved(federation, name, start, home)
    member = asked.member(name)
    memory = pays = None
    if member.source == OWN:
        found_home = Home.find(home)
        pays = paying(found_home, asked, name)
        ours, settings = configured(found_home, name)
        memory = settings.memory_mib
    else:
        screen = Screen(asked.filters)
        ours = Ours.read(name, member.sources, member.max_tokens, os.cpu_count() or 1, screen)
    files = StartFiles.load(start, [task.name for task in asked.tasks]) if start else None
    found = desk.preview(asked, name, ours, files, memory_mib=memory)
    if as_json:
        accounts = [cost.plain() for cost in pays.costs] if pays else []
        print(json.dumps(found.plain() | {"accounts": accounts}))
        return
    console = Console()
    console.print(
        f"{found.files} files, {found.records} records to train on; "
        f"the federation's cap for us is ε = {found.epsilon_cap:g}, "
        f"all tasks together cost ε = {epsilon(found.epsilon)}",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    titles = ["task", "rounds", "permitted", "units a step", "noise multiplier", "ε"]
    for title in [*titles, *(["a round"] if start else [])]:
        table.add_column(title, justify="left" if title == "task" else "right")
    for task in found.tasks:
        table.add_row(
            task.task,
            str(task.rounds),
            str(task.rounds_affordable),
            f"{task.expected_batch:.0f}",
            f"{task.noise_multiplier:.3f}",
            epsilon(task.epsilon),
            *([_duration(task.seconds)] if start else []),
        )
    console.print(table)
    for each in asked.tasks:
        console.print(f"{each.name} sends {leaving(each.training)}", soft_wrap=True)
    console.print(tradeoff(asked.aggregation, len(asked.members)), soft_wrap=True)
    for task in found.tasks:
        if task.rounds_affordable < task.rounds:
            console.print(
                f"the cap covers {task.rounds_affordable} of {task.rounds} rounds of "
                f"{task.task}: then we would stop, and the others go on",
                soft_wrap=True,
            )
    if pays:
        console.print(*pays.lines(), sep="\n", soft_wrap=True, highlight=False)
    else:
        console.print(
            "A plan for data that has not been charged yet; `fedcode-client budget preview` says "
            "what an account pays",
            soft_wrap=True,
        )
    if start:
        console.print("A round: its training, as public code takes it here", soft_wrap=True)


def resolved(
    federation: str,
    name: str | None,
    start: Path | None,
    home: Path | None,
    command: str = "preview",
) -> tuple[Federation, str, Path | None]:
    """What is asked, our name in it, and its start files.

    Args:
        federation: a run that was offered, or a file.
        name: ours in the file.
        start: the file's start files.
        home: where we look for the run.
        command: that asks, for the hint.

    Raises:
        ConfigError: a file without our name.
    """
    path = Path(federation)
    if not path.is_file() and path.suffix != ".toml":
        offers = Desk(Home.find(home))
        offer = offers.offer(federation)
        offers.check(offer)
        return offer.federation, offers.membership.member, offers.fetch(offer)
    if name is None:
        hint = f"fedcode-client {command} {shlex.quote(federation)} NAME"
        raise ConfigError(f"{path} names several organizations", hint)
    return load(path), name, start


@app.command()
def ingest(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Folders and repositories; git:DIR@DATE, commits:DIR, package:…, wheel:…",
        ),
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Read our code, as client.toml names it, into the cache, and say what was found.

    A path that is a repository is read at the commit that is checked out.
    """
    found_home = Home.find(home)
    joined = found_home.member_of()
    name = joined.member if joined else "ours"
    ledger = found_home.ledger / "ledger.sqlite"
    console = Console(soft_wrap=True, highlight=False, markup=False)
    places = [anchored(named(source), Path.cwd()) for source in sources or ()]
    for each in places:
        check_there(each)  # before the first of them is read for an hour
    _note_common(places)
    screen, cores = screen_of(found_home), os.cpu_count() or 1
    apart = (Ours.read(name, [place], None, cores, screen) for place in places)
    for number, ours in enumerate(apart if places else configured(found_home, name)[0].apart()):
        with BudgetLedger.open(ledger, read_only=True) if ledger.exists() else nullcontext() as own:
            found = desk.ingest(ours, own, found_home.state / TAKEN, more=number > 0)
        if as_json:
            print(json.dumps(found.plain(), ensure_ascii=False))
        else:
            _say(console, found)


def _note_common(places: Sequence[str]) -> None:
    """Each is read by itself; as one organization's sources some would be refused."""
    try:
        check_distinct(places)
        check_apart(places)
    except (ValueError, CorpusError) as error:
        sys.stderr.write(f"note: {error}: as sources of one organization they are refused\n")


def _say(console: Console, found: desk.Ingested) -> None:
    """What was found in one source."""
    records = f"{found.commits:,} commits" if found.commits else f"{found.functions:,} functions"
    console.print(f"{found.source}: {found.files:,} files, {records}, {found.tokens:,} tokens")
    counted = ", ".join(f"{number:,} by {unit}" for unit, number in found.units.items())
    console.print(f"privacy units: {counted}")
    for path, reason in found.skipped[:_MOST_SKIPPED]:
        console.print(f"skipped {path}: {reason}")
    if (more := len(found.skipped) - _MOST_SKIPPED) > 0:
        console.print(f"skipped {more:,} more: --json names all")
    for line in _filtered(found):
        console.print(line)
    if found.asset is None:
        quoted = shlex.quote(found.source)
        console.print(f"no account can pay: fedcode-client asset {quoted} --register")
    else:
        standing = "has an account" if found.account else "has no account yet"
        console.print(f"{found.asset} {standing}")


def _filtered(found: desk.Ingested) -> list[str]:
    """What filters took, and which of them are off."""
    words = {"personal": "persons replaced", "near_duplicates": "functions much like another"}
    counts = [f"{name} {n:,} {words.get(name, 'taken')}" for name, n in found.taken.items()]
    lines = ["filters: nothing was taken"]
    if counts:
        lines = [f"filters: {', '.join(counts)}; all of it is in {found.report}"]
    if found.filters_off:
        lines.append(f"filters switched off: {', '.join(found.filters_off)}")
    return lines


def configured(home: Home, name: str) -> tuple[Ours, ClientSettings]:
    """Our code as the home's settings name it.

    Raises:
        ConfigError: they do not.
    """
    settings, sources = home.settings(), home.sources()
    if not sources:
        raise ConfigError(
            f"{home.toml} does not say where our code lies", 'set source = "git:DIR" there'
        )
    cores = os.cpu_count() or 1
    screen, fixes = screen_of(home), settings.fixes
    return Ours.read(name, sources, settings.max_tokens, cores, screen, fixes), settings


def _duration(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds:.1f} s"


@app.command()
def asset(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="git:DIR, path:DIR, package:… or wheel:…")
    ],
    register: Annotated[
        bool, typer.Option("--register", help="Name a folder without history, for good.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say which account of the ledger pays for the use of a source."""
    found = desk.asset(source, register=register)
    print(json.dumps({"source": source, "asset": found}) if as_json else found)
