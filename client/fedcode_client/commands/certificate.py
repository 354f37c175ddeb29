# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an officer signs of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fedcode.errors import ConfigError
from fedcode.privacy.organization import SignedPolicy
from fedcode.report.table import delta, epsilon
from fedcode.signing import SigningKey
from fedcode.storage import write_json
from fedcode_client import certificate
from fedcode_client.budget.keys import Role
from fedcode_client.budget.totals import AccountTotals
from fedcode_client.budget.where import connected
from fedcode_client.commands.membership import AsJson, InHome
from fedcode_client.home import Home

app = typer.Typer()


@app.command("certificate")
def certify(
    run: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run, or with --verify a file.")],
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="An officer's key.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="RUN.certificate.json if not named.")
    ] = None,
    transcript: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The coordinator's transcript.jsonl.")
    ] = None,
    audit: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="An audit.json of the run.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check a certificate's file.")] = False,
    policy: Annotated[
        Path | None, typer.Option(metavar="POLICY.toml", help="With --verify: whose officers.")
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Sign what a run has cost in privacy: unit, ε, δ and what they rest on; or check it."""
    written = Path(run)
    if verify:
        made = certificate.verify(Path(run))
        if policy is not None:
            _check_officer(made, SignedPolicy.load(policy))
    else:
        if key is None:
            raise ConfigError("a certificate is signed by an officer", "name the key: --key FILE")
        folder = Home.find(home)
        records = certificate.Records.load(folder.state / "agreements" / run, transcript)
        made = _made(folder, records, SigningKey.load(key), audit or [])
        written = out or Path(f"{run}.certificate.json")
        write_json(written, made)
    if as_json:
        print(json.dumps(made))
    else:
        _print(made)
        if not verify:
            Console().print(f"written to {written}", soft_wrap=True, highlight=False)
        elif policy is None:
            print("the signature fits to the key; --policy says whether it is an officer's")
        else:
            print(f"the signature is good: {made['officer']} is an officer of the policy")


def _made(
    home: Home,
    records: certificate.Records,
    key: SigningKey,
    audits: list[Path],
) -> dict[str, Any]:
    with connected(home, Role.OFFICER) as office:
        accounts = _charged(office.totals(), records)
        ours = office.account(accounts[0].asset)
        rows = office.export()
    officers = ours.policy.policy.officers if ours and ours.policy else ()
    officer = next((one.name for one in officers if one.key == key.public), None)
    if officer is None:
        raise ConfigError("this key is no officer's of the policy in force", "ask an officer")
    head = json.loads(rows[-1])["hash"]
    member = home.membership().member
    values = certificate.document(records, member, accounts, rows, head, audits=audits)
    return certificate.sign(values, officer, key)


def _charged(accounts: list[AccountTotals], records: certificate.Records) -> list[AccountTotals]:
    """The accounts that paid for a run, in the order of opening."""
    digests = {agreed.digest() for agreed in records.agreements}
    found = [one for one in accounts if digests & one.agreements.keys()]
    if not found:
        raise ConfigError(f"nothing was charged for {records.run}", "is this its ledger?")
    return found


def _check_officer(made: dict[str, Any], signed: SignedPolicy) -> None:
    named = {(officer.name, officer.key) for officer in signed.policy.officers}
    if (made["officer"], made["key"]) not in named:
        raise ConfigError(f"{made['officer']} with this key is no officer of the policy")
    if made["certificate"]["organization"] != signed.policy.organization:
        raise ConfigError("the certificate is another organization's than the policy")


def _print(made: dict[str, Any]) -> None:
    values, console = made["certificate"], Console()
    lines = [
        f"{values['organization']}: run {values['run']} of {values['federation']}",
        f"ε = {epsilon(values['epsilon_local'])}, δ = {delta(values['delta'])} for a "
        f"{values['unit']}, {values['adjacency']}, against everybody (ε_local, "
        f"{values['accountant']['shown']})",
    ]
    for task in values["agreements"]:
        lines += _task(task)
    lines += [
        f"{one['asset']}: ε = {epsilon(one['epsilon_spent'])} of "
        f"{one['epsilon_cap']:g} at δ = {delta(one['delta'])} spent on everything so far"
        for one in values["accounts"]
    ]
    lines += [
        *(f"assumed: {text}" for text in values["assumptions"]),
        *(f"audit: {one['file']}, SHA-256 {one['digest']}" for one in values["audits"]),
        f"ledger head {values['ledger_head']}",
        f"signed by {made['officer']}, {made['key']}, {values['issued']}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _task(task: dict[str, Any]) -> list[str]:
    lines = [
        f"{task['task']} ({task['purpose']}): {task['charges']} charges, "
        f"{task['rounds_charged']} of {task['rounds']} rounds, "
        f"ε_local = {epsilon(task['epsilon_local'])}; with {', '.join(task['members'])}; "
        f"agreement {task['digest']}"
    ]
    if task["epsilon_release"] is None:
        return [*lines, f"{task['task']}: no noises add up; ε_local is what holds"]
    lines += [
        f"{task['task']}: ε = {epsilon(one['epsilon'])} against whoever sees sums alone, "
        f"{one['colluding']} colluding (ε_release)"
        for one in task["epsilon_release"]
    ]
    if task["sums_not_proved"]:
        lines.append(
            f"{task['task']}: of {task['sums_not_proved']} sums no signatures show who survived; "
            "they count with the fewest that there can have been"
        )
    return lines
