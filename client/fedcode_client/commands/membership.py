# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An organization's folder, and its membership."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fedcode.certificates import fingerprint, load_certificate
from fedcode.errors import MembershipError
from fedcode.terminal import confirm
from fedcode_client import joining
from fedcode_client.home import Home, make

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
InHome = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help=f"The organization's folder; else {Home.VARIABLE}, or ."
    ),
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or one of ours.")],
    as_json: AsJson = False,
) -> None:
    """Make an organization's folder: settings and keys. What is there stays."""
    made = make(folder)
    key = Home(folder).signing_key().public
    names = [str(path.relative_to(folder)) for path in made]
    lines = [f"made {path}" for path in made] or [f"{folder} is complete; nothing was changed"]
    quoted = shlex.quote(str(folder))
    lines += [f"our key  {key}", f"next: fedcode-client join TOKEN@HOST --home {quoted}"]
    _said({"home": str(folder), "signing_key": key, "made": names}, lines, as_json)


@app.command()
def join(
    ticket: Annotated[
        str, typer.Argument(metavar="TOKEN@HOST[:PORT]", help="What the coordinator has given us.")
    ],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Become a member of a federation. Our keys were made here, and stay here."""
    folder, asked = Home.find(home), joining.Ticket.read(ticket)
    membership = joining.join(folder, asked)
    found = joining.standing(folder)
    authority = fingerprint(load_certificate(folder.authority)).hex()
    lines = [
        f"{membership.member} is a member of {membership.federation}: {found.state}",
        f"coordinator  {membership.coordinator}",
        f"authority    {authority}",
        f"our key      {folder.signing_key().public}",
        "compare the keys with the coordinator's people: by telephone, say",
    ]
    if found.state == "pending":
        lines.append(f"next, there: fedcode-server approve {membership.member}")
    values = membership.model_dump() | {"state": found.state, "authority": authority}
    values["ours"] = folder.signing_key().public
    _said(values, lines, as_json)


@app.command()
def leave(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Be a member no more. What was released stays released; keys and ledger stay here."""
    folder = Home.find(home)
    there = folder.membership()
    if not yes:
        still = MembershipError(
            f"{there.member} is still a member of {there.federation}", "to leave, answer y"
        )
        confirm(f"leave {there.federation} as {there.member}?", still)
    joining.leave(folder)
    _said(
        {"member": there.member, "federation": there.federation, "state": "left"},
        [f"{there.member} has left {there.federation}; keys and ledger are still here"],
        as_json,
    )


def _said(values: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    print(json.dumps(values) if as_json else "\n".join(lines))
