# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What we are asked to take part in, and the agent that does."""

from __future__ import annotations

import json
import shlex
import signal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fedcode.budgets import calibrated
from fedcode.checks import show
from fedcode.errors import MembershipError, RunError
from fedcode.logs import configure
from fedcode.modes import leaving, tradeoff
from fedcode.privacy.accountant import epsilon as epsilon_of
from fedcode.report.table import epsilon
from fedcode.terminal import confirm
from fedcode_client.commands.membership import AsJson, InHome
from fedcode_client.doctor import examine, health
from fedcode_client.home import Home
from fedcode_client.offers import OFFERED, Desk, Offer, document
from fedcode_client.paying import paying

app = typer.Typer()

Run = Annotated[str, typer.Argument(metavar="RUN", help="As `offers` names it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]


@app.command()
def offers(home: InHome = None, as_json: AsJson = False) -> None:
    """Show the runs that we are asked to take part in."""
    desk = Desk(Home.find(home))
    found, accepted = desk.offers(), desk.accepted()
    if as_json:
        said = [json.loads(document(one)) | {"ours": _ours(one, accepted)} for one in found]
        print(json.dumps(said))
        return
    if not found:
        print("nothing is asked of us now")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("run", "state", "tasks", "members", "ours", "still to sign"):
        table.add_column(title)
    for one in found:
        tasks = ", ".join(each.agreement.task for each in one.agreements)
        missing = ", ".join(one.missing()) if one.state == OFFERED else ""
        members = str(len(one.roster.members))
        table.add_row(one.run, one.state, tasks, members, _ours(one, accepted), missing)
    _console().print(table)


@app.command()
def accept(run: Run, yes: Yes = False, home: InHome = None, as_json: AsJson = False) -> None:
    """Look at what a run asks of us, and sign it."""
    desk = Desk(Home.find(home))
    offer = desk.asked(run)
    desk.check(offer)
    pays = paying(desk.home, offer.federation, desk.membership.member)
    if not as_json:
        _show(offer, desk)
        print(*pays.lines(), sep="\n")
    pays.check()
    if not yes:
        hint = f"to say no to it: fedcode-client decline {run}"
        confirm("sign this for our organization?", RunError("nothing was signed", hint))
    desk.accept(offer)
    rest = [name for name in offer.missing() if name != desk.membership.member]
    if as_json:
        print(json.dumps({"accepted": run, "agreements": offer.digests, "missing": rest}))
        return
    waits = f"; {', '.join(rest)} have not signed yet" if rest else "; everybody has"
    print(f"signed {run}{waits}")
    print("it is carried out by: fedcode-client up")


@app.command()
def decline(run: Run, home: InHome = None, as_json: AsJson = False) -> None:
    """Say no to a run: it does not take place."""
    desk = Desk(Home.find(home))
    desk.decline(desk.asked(run).run)
    print(json.dumps({"declined": run}) if as_json else f"declined {run}")


@app.command()
def up(
    supernode: Annotated[
        bool, typer.Option("--supernode", help="Through a stock flower-supernode beside us.")
    ] = False,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Answer for our organization, until Ctrl-C or SIGTERM."""
    from fedcode_client.up import Process  # it takes a second to load

    found = Home.find(home)
    configure(found.log / "client.log")
    with Process(found, supernode=supernode, tell=_tell) as process:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: process.stop())
        member = found.membership()
        if as_json:
            beside = {"supernode": process.command} if supernode else {}
            print(json.dumps({"up": member.member, "local": process.port} | beside), flush=True)
        else:
            print(
                f"{member.member} is up in {member.federation}; "
                f"health and metrics at http://127.0.0.1:{process.port}",
                flush=True,
            )
            if supernode:
                print(f"run beside it: {shlex.join(process.command)}", flush=True)
        process.run()


@app.command()
def status(home: InHome = None, as_json: AsJson = False) -> None:
    """Say what we take part in, and whether our agent is there."""
    found = Home.find(home)
    membership, agent, unreachable = found.membership(), health(found), None
    try:
        runs = [(one.run, one.state) for one in Desk(found).offers()]
    except MembershipError as error:
        runs, unreachable = [], str(error)
        typer.echo(f"the coordinator does not tell: {error}", err=True)
    if as_json:
        said = {"member": membership.member, "federation": membership.federation}
        print(json.dumps(said | {"agent": agent, "runs": dict(runs), "unreachable": unreachable}))
        return
    print(f"{membership.member} in {membership.federation}, coordinator at {membership.host}")
    if agent is None:
        print("agent: not up")
    else:
        there = "connected" if agent["ok"] else "not connected"
        codes = ", ".join(f"{number} {code}" for code, number in sorted(agent["refused"].items()))
        print(f"agent: {there}; {agent['answered']} requests answered, refused: {codes or 'none'}")
    for run, state in runs:
        print(f"{run}: {state}")


@app.command()
def doctor(home: InHome = None, as_json: AsJson = False) -> None:
    """Check our folder, keys, ledger and way to the coordinator; say what to do."""
    show(examine(Home.find(home)), as_json=as_json)


def _tell(line: str) -> None:
    typer.echo(f"fedcode-client: {line}", err=True)


def _console() -> Console:
    """Prints what others have written as it is: a square bracket in it hides or colours nothing."""
    return Console(markup=False, emoji=False, highlight=False)


def _ours(offer: Offer, accepted: dict[str, list[str]]) -> str:
    return "accepted" if accepted.get(offer.run) == offer.digests else "not answered"


def _show(offer: Offer, desk: Desk) -> None:
    """What a person must have seen before signing."""
    console, federation, roster = _console(), offer.federation, offer.roster
    console.print(
        f"{offer.run}: {federation.name}, for the purpose: {federation.purpose}; "
        f"privacy unit {federation.privacy.unit}, ε ≤ {federation.privacy.epsilon:g}, "
        f"δ = {federation.privacy.delta:g}",
        soft_wrap=True,
    )
    known = desk.known_roster()
    if known is None:
        news = "the first that we sign"
    elif known.digest() == roster.digest():
        news = "the one that we signed before"
    else:
        news = "not the one that we signed before: compare"
    console.print(f"roster, epoch {roster.epoch}, {news}:")
    table = Table(box=None, pad_edge=False)
    table.add_column("member")
    table.add_column("key", no_wrap=True)
    before = dict(known.members) if known else {}
    for name, key in roster.members:
        note = ""
        if known is not None and name not in before:
            note = " (new member)"
        elif known is not None and before[name] != key:
            note = " (ANOTHER KEY than the one that we signed before)"
        table.add_row(name, key + note)
    table.add_row("coordinator", roster.coordinator)
    console.print(table)
    if gone := sorted(set(before) - set(roster.names)):
        console.print(f"no more in it: {', '.join(gone)}")
    console.print(_tasks(offer))
    for task in federation.tasks:
        console.print(f"{task.name} sends {leaving(task.training)}", soft_wrap=True)
    console.print(tradeoff(federation.aggregation, len(roster.members)), soft_wrap=True)
    console.print("compare the keys with the members' own people: by telephone, not by mail")


def _tasks(offer: Offer) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("task", "rounds", "sampling rate", "noise multiplier", "ε"):
        table.add_column(title, justify="left" if title == "task" else "right")
    federation = offer.federation
    noises = calibrated(federation).noise_multipliers
    every: dict[tuple[float, float], int] = {}
    for task, noise in zip(federation.tasks, noises, strict=True):
        step = (noise, task.training.sampling_rate)
        steps = task.rounds * task.training.steps_per_round
        every[step] = every.get(step, 0) + steps
        spent = epsilon_of({step: steps}, federation.privacy.delta)
        row: list[Any] = [task.name, task.rounds, f"{step[1]:g}", f"{noise:.3f}", epsilon(spent)]
        table.add_row(*map(str, row))
    together = epsilon_of(every, federation.privacy.delta)
    table.add_row("together", "", "", "", epsilon(together))
    return table
