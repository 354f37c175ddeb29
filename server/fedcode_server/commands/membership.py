# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who may take part: a coordinator's folder, invitations, members."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fedcode.certificates import Invitation
from fedcode.errors import ConfigError
from fedcode.report.table import NOTHING
from fedcode_server.founding import found
from fedcode_server.registry import Registry
from fedcode_server.settings import Home

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
InHome = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help=f"The coordinator's folder; else {Home.VARIABLE}, or ."
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The member's name.")]
Approve = Annotated[
    bool, typer.Option("--approve", help="Whoever enrols with it needs no `approve`.")
]
Days = Annotated[
    int | None,
    typer.Option(
        min=0, max=90, help="How long the invitation is good; 7 unless --hours are named."
    ),
]
_DAYS = 7
_WIDTH = 200
"""Of the table of members: a key is read out by telephone, all of it."""

Hours = Annotated[
    int | None, typer.Option(min=0, max=2160, help="Added to the days that are named.")
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one of ours.")],
    federation: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its name; else the folder's.")
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Under which members reach us; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a coordinator's folder: settings, keys, certificates. What is there stays."""
    made, home = found(folder, federation, host or []), Home(folder)
    settings, authority = home.settings(), home.authority().fingerprint.hex()
    if as_json:
        print(
            json.dumps(
                {
                    "home": str(folder),
                    "federation": settings.federation,
                    "hosts": settings.hosts,
                    "authority": authority,
                    "coordinator": home.signing_key().public,
                    "made": [str(path.relative_to(folder)) for path in made],
                }
            )
        )
        return
    for path in made:
        print(f"made {path}")
    if not made:
        print(f"{folder} is complete; nothing was changed")
    print(f"federation   {settings.federation}")
    print(f"hosts        {', '.join(settings.hosts)}")
    print(f"authority    {authority}")
    print(f"coordinator  {home.signing_key().public}")
    place = f"--home {shlex.quote(str(folder))}"
    print(f"next: fedcode-server up {place}, then fedcode-server invite NAME {place}")


@app.command()
def invite(
    name: Name,
    days: Days = None,
    hours: Hours = None,
    approve: Approve = False,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Print a token with which one organization can join, once."""
    _invite(Home.find(home), name, _ends(days, hours), approve, again=False, as_json=as_json)


@app.command()
def renew(
    name: Name,
    days: Days = None,
    hours: Hours = None,
    approve: Approve = False,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Invite a member again, which has lost its keys or let its certificate expire.

    Nothing changes until it has joined again; then its earlier certificates are good no more.
    """
    _invite(Home.find(home), name, _ends(days, hours), approve, again=True, as_json=as_json)


@app.command()
def members(home: InHome = None, as_json: AsJson = False) -> None:
    """Show who is a member, who waits for approval, who is invited; and the coordinator's keys."""
    there = Home.find(home)
    ours, authority = there.signing_key().public, there.authority().fingerprint.hex()
    with Registry.open(there.registry) as registry:
        known, invited = registry.members(), registry.waiting()
    if as_json:
        found = {
            "members": [member.plain() for member in known],
            "invited": [asdict(each) for each in invited],
            "authority": authority,
            "coordinator": ours,
        }
        print(json.dumps(found))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("member", "state", "good until", "signing key"):
        table.add_column(title, no_wrap=True)
    for member in known:
        table.add_row(member.name, member.state, _day(member.expires), member.signing_key)
    for each in invited:
        table.add_row(each.name, "invited", _day(each.expires), NOTHING)
    Console(width=_WIDTH).print(table)
    print(f"authority    {authority}")
    print(f"coordinator  {ours}")


@app.command()
def approve(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Who has enrolled.")],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Let organizations that have enrolled take part."""
    with Registry.open(Home.find(home).registry) as registry:
        keys = registry.approve(names)
    lines = [f"{name} is approved, key {key}" for name, key in keys.items()]
    _said({"approved": names, "signing_keys": keys}, lines, as_json)


@app.command()
def revoke(name: Name, home: InHome = None, as_json: AsJson = False) -> None:
    """Take no certificate and no invitation of a member any more, from now on."""
    with Registry.open(Home.find(home).registry) as registry:
        registry.revoke(name)
    _said({"revoked": name}, [f"{name} is revoked: its next call is refused"], as_json)


def _invite(
    home: Home, name: str, expires: int, approve: bool, *, again: bool, as_json: bool
) -> None:
    settings = home.settings()
    invitation = Invitation.make(home.authority().fingerprint, expires)
    with Registry.open(home.registry) as registry:
        registry.invite(invitation, name, approve=approve, again=again)
    host = settings.hosts[0]
    place = f"[{host}]" if ":" in host else host
    joined = f"{invitation.token}@{place}:{settings.listen.enrolment}"
    values = {"name": name, "token": invitation.token, "join": joined, "expires": expires}
    lines = [
        joined,
        f"for {name} alone, once, until {_day(expires)}; whoever has it can join as {name}",
        f"there: fedcode-client join {invitation.shown}@{place}:{settings.listen.enrolment}",
    ]
    if not approve:
        lines.append(f"then here: fedcode-server approve {name}")
    _said(values, lines, as_json)


def _ends(days: int | None, hours: int | None) -> int:
    if days is None and hours is None:
        days = _DAYS
    seconds = (days or 0) * 86400 + (hours or 0) * 3600
    if not seconds:
        raise ConfigError("an invitation is good for an hour at least", "--hours 1, or --days 1")
    return int(time.time()) + seconds


def _said(values: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    print(json.dumps(values) if as_json else "\n".join(lines))


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
