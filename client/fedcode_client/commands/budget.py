# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What privacy officers decide about the budget, and what trainers may know of it."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fedcode.budgets import calibrated
from fedcode.errors import ConfigError
from fedcode.federation import load
from fedcode.privacy.calibration import order_for
from fedcode.privacy.ledger import Acknowledgement
from fedcode.privacy.organization import OrganizationPolicy, SignedPolicy
from fedcode.record import PrivacyUnit
from fedcode.report.table import delta, epsilon
from fedcode.signing import SigningKey
from fedcode.storage import write_json
from fedcode_client import caps, desk
from fedcode_client.budget.keys import Role, grant
from fedcode_client.budget.officers import OfficersDesk
from fedcode_client.budget.process import serve as served
from fedcode_client.budget.service import KEYS, LOCAL
from fedcode_client.budget.totals import AccountTotals, Part
from fedcode_client.budget.where import connected
from fedcode_client.commands.membership import AsJson, InHome
from fedcode_client.costs import RoundsLeft, accepted, costs, rounds_left
from fedcode_client.home import Home

app = typer.Typer(no_args_is_help=True, help="What may be spent, and what was.")

KeyFile = Annotated[Path, typer.Option("--key", metavar="FILE", help="An officer's signing key.")]
PolicyFile = Annotated[Path, typer.Option("--policy", metavar="POLICY.toml", help="The policy.")]
Window = Annotated[
    float | None,
    typer.Option("--per-30-days", metavar="EPSILON", help="Another cap for 30 days, too."),
]
_ASSET = re.compile(r"git:[0-9a-f]{40,64}|folder:[0-9a-f]{32}")


@app.command()
def serve(
    home: InHome = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0 for any.")] = LOCAL,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name of this machine that trainers know it by."),
    ] = None,
    attached: Annotated[
        bool, typer.Option("--attached", help="End when standard input does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve the ledger to the organization's own programs, until SIGTERM."""

    def tell(address: str) -> None:
        if not attached:
            found = {"serving": address}
            print(json.dumps(found) if as_json else f"serving the ledger at {address}", flush=True)

    served(
        Home.find(home),
        listen,
        attached=sys.stdin.buffer if attached else None,
        patience=5.0 if attached else 0.0,
        hosts=host or (),
        tell=tell,
    )


@app.command("grant")
def granted(
    role: Annotated[Role, typer.Argument(help="trainer or officer.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder, to be carried there.")],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Make the key with which another machine of the organization may ask the service."""
    grant(Home.find(home).ledger / KEYS, role, out)
    _say(
        as_json,
        {"role": str(role), "folder": str(out)},
        f"{out}: for a {role}; there it is the folder ledger/keys, and `budget` in client.toml",
    )


@app.command()
def create(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE|ASSET...", help="git:DIR, path:DIR, package:… or an asset."),
    ],
    policy: PolicyFile,
    unit: Annotated[PrivacyUnit, typer.Option(help="What adjacency adds or removes; for good.")],
    order: Annotated[float | None, typer.Option(help="The Rényi order; for good.")] = None,
    federation: Annotated[
        Path | None,
        typer.Option(metavar="FEDERATION.toml", help="Choose the order that is best for it."),
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Open the accounts of sources under the policy that officers have signed."""
    signed, found_home = SignedPolicy.load(policy), Home.find(home)
    joined, whose = found_home.member_of(), signed.policy.organization
    if joined is not None and joined.member != whose:
        raise ConfigError(
            f"the policy is {whose}'s, and we are {joined.member}",
            f'organization = "{joined.member}" in the policy, which officers then sign',
        )
    named: dict[str, str] = {}
    for source in sources:
        named.setdefault(_asset(source), source)
    with connected(found_home, Role.OFFICER) as office:
        there = office.totals()
        order = order or _order(signed.policy, federation, there)
        _warn_of_orders(there, order)
        open_before = {account.asset for account in there}
        for made in office.open_accounts(list(named), signed, unit, order):
            asset = made.asset
            found = {
                "source": named[asset],
                "asset": asset,
                "new": asset not in open_before,
                "unit": str(made.unit),
                "epsilon": made.budget.epsilon,
                "delta": made.budget.delta,
                "order": made.budget.order,
            }
            _say(
                as_json,
                found,
                f"{_who(named[asset], asset)}: ε ≤ {made.budget.epsilon:g}, "
                f"δ = {delta(made.budget.delta)} for a {made.unit}, at Rényi order "
                f"{made.budget.order:g}{'' if asset not in open_before else ': open already'}",
            )


def _who(source: str, asset: str) -> str:
    return asset if source == asset else f"{source}, account {asset}"


@app.command()
def show(
    units: Annotated[
        int, typer.Option(min=1, help="ε for somebody to whom so many units belong.")
    ] = 1,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Say what was spent and what is left: by asset, purpose and month, and how many rounds."""
    with connected(Home.find(home), Role.TRAINER) as office:
        found = office.totals(units)
    left = rounds_left(found, accepted(Home.find(home).state))
    if as_json:
        accounts = [one.plain() for one in found]
        print(json.dumps({"accounts": accounts, "agreements": [one.plain() for one in left]}))
        return
    console = Console()
    console.print(_accounts(found))
    for account in found:
        if len(account.caps) > 1:
            console.print(_caps(account))
        if account.purposes:
            console.print(_parts(account))
    if left:
        console.print(_rounds(left))
    console.print(
        "ε by privacy loss distribution, each line by itself; left: of the Rényi budget, which "
        "stops training; it runs out before ε reaches the cap",
        soft_wrap=True,
    )


@app.command()
def preview(
    federation: Annotated[Path, typer.Argument(metavar="FEDERATION.toml")],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Say what a federation would cost each account, and what would be left. Charges nothing."""
    asked = load(federation)
    with connected(Home.find(home), Role.TRAINER) as office:
        found = costs(office.totals(), asked)
    if as_json:
        print(json.dumps([one.plain() for one in found]))
        return
    table = _table("asset", "ε", "of the budget", "left now", "left then")
    for one in found:
        shares = (f"{one.share:.1%}", f"{one.left:.1%}", f"{max(0.0, one.after):.1%}")
        table.add_row(one.asset, epsilon(one.epsilon), *shares)
    console = Console()
    console.print(table)
    for one in found:
        for task in asked.tasks:
            if one.rounds[task.name] < task.rounds:
                console.print(
                    f"{one.asset} pays for {one.rounds[task.name]} of {task.rounds} rounds of "
                    f"{task.name}",
                    soft_wrap=True,
                )


@app.command("raise")
def raised(
    cap: Annotated[float, typer.Argument(metavar="EPSILON", help="The new cap on everything.")],
    policy: PolicyFile,
    key: KeyFile,
    per_30_days: Window = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Sign a version of the policy with a higher cap; in force when two officers have signed."""
    _changed(home, cap, per_30_days, policy, key, up=True, as_json=as_json)


@app.command()
def lower(
    cap: Annotated[float, typer.Argument(metavar="EPSILON", help="The new cap on everything.")],
    policy: PolicyFile,
    key: KeyFile,
    per_30_days: Window = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Sign a version of the policy with a lower cap; in force at once."""
    _changed(home, cap, per_30_days, policy, key, up=False, as_json=as_json)


@app.command()
def adopt(
    policy: Annotated[Path, typer.Argument(metavar="POLICY.toml", help="A later version.")],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Put a later version of the policy in force, which its officers have signed."""
    signed = SignedPolicy.load(policy)
    with connected(Home.find(home), Role.OFFICER) as office:
        office.adopt(signed)
    found = {"version": signed.policy.version, "epsilon": signed.policy.caps.epsilon}
    _say(as_json, found, f"version {signed.policy.version} is in force")


@app.command()
def acknowledge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New, or for the next signature.")],
    key: KeyFile,
    lost: Annotated[
        str | None, typer.Option(metavar="LEDGER", help="The ledger of the head that is lost.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(metavar="HEAD", help="The head that the coordinator remembers.")
    ] = None,
    highest: Annotated[
        float | None,
        typer.Option("--highest", metavar="EPSILON", help="The highest cap that ever was."),
    ] = None,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Sign that rows of the ledger are lost; with two signatures every cap counts as spent."""
    with connected(Home.find(home), Role.OFFICER) as office:
        force, mine = _force(office), SigningKey.load(key)
        known = _acknowledgement(file, office.head()[0], lost, head, highest or force.caps.epsilon)
        caps.check_officer(force, mine)
        _check_lost(known, force)
        known = known.sign(mine)
        who = known.signers(force)
        write_json(file, known.plain())
        done = len(who) > 1
        if done:
            office.acknowledge(known)
    found = {"file": str(file), "signed_by": list(who), "booked": done}
    if done:
        words = f"signed by {', '.join(who)}: all caps up to ε = {known.epsilon:g} count as spent"
    else:
        words = f"{file}: signed by {', '.join(who) or 'no officer'}; another officer must sign it"
    _say(as_json, found, words)


def _changed(
    home: Path | None,
    cap: float,
    per_30_days: float | None,
    path: Path,
    key: Path,
    *,
    up: bool,
    as_json: bool,
) -> None:
    mine = SigningKey.load(key)
    with connected(Home.find(home), Role.OFFICER) as office:
        force = _force(office)
        if per_30_days is None or cap != force.caps.epsilon:
            caps.check_direction(force, cap, up=up)
        wanted = caps.with_cap(force, cap, per_30_days)
        signed, said = caps.sign_next(path, force, wanted, mine)
        if not said.missing:
            office.adopt(signed)
    words = f"{said.path}: signed by {', '.join(said.signed_by)}"
    if said.missing:
        words += f"; one of {', '.join(said.may_sign)} must sign it, too, with the same command"
    else:
        words += f"; version {said.version} is in force, ε ≤ {said.epsilon:g}"
    _say(as_json, said.plain(), words)


def _force(office: OfficersDesk) -> OrganizationPolicy:
    accounts = [office.account(one.asset) for one in office.totals() if not one.seeded]
    signed = [one.policy.policy for one in accounts if one and one.policy]
    return caps.in_force(signed)


def _acknowledgement(
    file: Path, ledger: str, lost: str | None, head: str | None, highest: float
) -> Acknowledgement:
    """The one in the file, or a new one."""
    if file.exists():
        try:
            return Acknowledgement.read(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read", "name a file that is not there") from error
    hint = "the agent has printed the ledger and the head when it refused to start"
    if lost is None or head is None:
        raise ConfigError("say which head is lost: --lost and --head", hint)
    if not all(re.fullmatch("[0-9a-f]{64}", text) for text in (lost, head)):
        raise ConfigError("ledger and head have 64 hexadecimal digits each", hint)
    return Acknowledgement(ledger, lost, head, highest)


def _check_lost(known: Acknowledgement, force: OrganizationPolicy) -> None:
    """Before the first signature: what the second one would fail for, or would forfeit for nothing.

    Raises:
        ConfigError: the head is a ledger's name, or ε is below a cap.
    """
    if known.head == known.ledger:
        raise ConfigError(
            "--head names this ledger itself, and no head", "are --lost and --head exchanged?"
        )
    if known.epsilon < force.caps.epsilon:
        raise ConfigError(
            f"a cap of ε = {force.caps.epsilon:g} is in force, and --highest says "
            f"{known.epsilon:g}",
            "name the highest cap that there ever was",
        )


def _asset(source: str) -> str:
    if _ASSET.fullmatch(source):
        return source
    if ":" in source:
        return desk.asset(source, register=False)
    raise ConfigError(f"{source} is no source and no asset", "fedcode-client asset SOURCE")


def _order(
    policy: OrganizationPolicy, federation: Path | None, there: Sequence[AccountTotals]
) -> float:
    """The federation's best; or that of the accounts that are there; or the policy's best."""
    if federation is not None:
        return calibrated(load(federation)).filter.order
    if there:  # that of most: accounts that pay together need one
        ((most, _),) = Counter(account.order for account in there).most_common(1)
        return most
    own = policy.caps
    every = [own.epsilon, *own.purposes.values()]
    return order_for([*every, own.per_30_days or own.epsilon], policy.delta)


def _warn_of_orders(there: Sequence[AccountTotals], order: float) -> None:
    others = sorted({account.order for account in there} - {order})
    if others:
        print(
            f"fedcode: accounts that pay together need one order, and there are some of "
            f"{', '.join(f'{other:g}' for other in others)}; this is {order:g}",
            file=sys.stderr,
        )


def _accounts(found: Sequence[AccountTotals]) -> Table:
    table = _table("organization", "asset", "unit", "ε spent", "cap", "δ", "charges", "left")
    for one in found:
        table.add_row(
            one.organization,
            one.asset,
            one.unit,
            epsilon(one.epsilon_spent),
            f"{one.epsilon_cap:g}",
            delta(one.delta),
            str(one.charges),
            f"{max(0.0, one.left):.1%}",
        )
    return table


def _caps(account: AccountTotals) -> Table:
    table = _table(account.asset, "cap", "left of it")
    for one in account.caps:
        left = max(0.0, one.left_nano / max(1, one.budget_nano))
        table.add_row(one.what, f"{one.epsilon:g}", f"{left:.1%}")
    return table


def _parts(account: AccountTotals) -> Table:
    table = _table(account.asset, "ε", "charges", "of the budget")
    for key, part in (*account.purposes.items(), *account.months.items()):
        table.add_row(key, epsilon(part.epsilon), str(part.charges), _share(part, account))
    return table


def _share(part: Part, account: AccountTotals) -> str:
    return f"{part.nano / max(1, account.budget_nano):.1%}"


def _rounds(left: Sequence[RoundsLeft]) -> Table:
    table = _table("task", "asset", "agreement", "rounds", "charged", "left")
    for one in left:
        numbers = (str(one.planned), str(one.charged), str(one.left))
        table.add_row(one.task, one.asset, one.agreement[:12], *numbers)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title)
    return table


def _say(as_json: bool, values: dict[str, Any], words: str) -> None:
    if as_json:
        print(json.dumps(values))
    else:
        Console().print(words, soft_wrap=True, highlight=False)
