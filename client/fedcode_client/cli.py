# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode-client`: an organization's side. Nothing it prints leaves the machine."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from fedcode.errors import ConfigError, RunError
from fedcode.federation import load
from fedcode.modes import leaving, tradeoff
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.organization import SignedPolicy, beside
from fedcode.report.table import epsilon
from fedcode.signing import SigningKey
from fedcode.terminal import run
from fedcode_client import desk

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
ledger = typer.Typer(no_args_is_help=True, help="Read a budget ledger; nothing is changed.")
app.add_typer(ledger, name="ledger")
policy = typer.Typer(
    no_args_is_help=True, help="What the organization permits; see docs/policy.md."
)
app.add_typer(policy, name="policy")

PolicyFile = Annotated[Path, typer.Argument(metavar="POLICY.toml", help="The policy.")]
LedgerFile = Annotated[Path, typer.Argument(metavar="LEDGER", help="A ledger.sqlite.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def program() -> None:
    """An organization's side of a federation."""


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


@ledger.command()
def show(
    path: LedgerFile,
    units: Annotated[
        int, typer.Option(min=1, help="ε for somebody to whom so many units belong.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Say what was spent and what is left, by data asset."""
    with _opened(path) as opened:
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


@ledger.command()
def verify(
    path: LedgerFile,
    head: Annotated[
        str | None, typer.Option(help="A head noted earlier; its row must still be there.")
    ] = None,
) -> None:
    """Check that every row is as it was written, and that no total was passed."""
    if head is not None and not re.fullmatch("[0-9a-f]{64}", head):
        raise ConfigError("a head has 64 hexadecimal digits", "copy what `verify` has printed")
    with _opened(path) as opened:
        number, now = opened.verify(head), opened.head
    print(f"{number} rows, every one in order; head {now}")
    if head is None:
        print("note the head: only `verify --head` notices rows that were cut off at the end")


@ledger.command()
def export(path: LedgerFile) -> None:
    """Print every row as one line of JSON."""
    with _opened(path) as opened:
        for line in opened.export():
            print(line)


@policy.command()
def key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, for one officer.")],
) -> None:
    """Make an officer's signing key, and print the public one for the policy's file."""
    made = SigningKey.generate()
    made.save(path)
    print(made.public)


@policy.command()
def sign(
    path: PolicyFile,
    key: Annotated[Path, typer.Option(metavar="FILE", help="An officer's signing key.")],
) -> None:
    """Sign a policy as it is now; the signature goes to the file beside it."""
    signed, mine = SignedPolicy.load(path), SigningKey.load(key)
    if mine.public not in {officer.key for officer in signed.policy.officers}:
        Console(stderr=True).print(
            "this key is no officer's of this version; one before may need it", soft_wrap=True
        )
    signed.sign(mine).save_signatures(path)
    print(f"signed version {signed.policy.version}: {beside(path)}")


@policy.command()
def check(
    path: PolicyFile,
    before: Annotated[
        Path | None, typer.Option(metavar="POLICY.toml", help="The version in force.")
    ] = None,
) -> None:
    """Say whether a policy is well formed, who has signed it, and whether that is enough."""
    signed = SignedPolicy.load(path)
    force = SignedPolicy.load(before).policy if before else None
    if force is None and signed.policy.version > 1:
        raise ConfigError(
            f"version {signed.policy.version} follows another one", "name that one: --before FILE"
        )
    signed.check(force)
    terms, names = signed.policy, ", ".join(signed.signers((force or signed.policy).officers))
    print(f"{terms.organization}, version {terms.version}: signed by {names}")
    if force is None:
        print("enough for the first version")
    else:
        what = "no more" if terms.permits_no_more_than(force) else "more"
        print(f"enough: it permits {what} than version {force.version}, if {before} is in force")


def main() -> NoReturn:
    """The program."""
    run(app, "fedcode-client")


def _opened(path: Path) -> BudgetLedger:
    if not path.is_file():
        raise RunError(f"{path} is not a file", "name a ledger.sqlite")
    return BudgetLedger.open(path, read_only=True)
