# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What must not be trained on, for good."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from fedcode.corpus.filters import WHAT
from fedcode.errors import ConfigError
from fedcode_client.commands.membership import InHome
from fedcode_client.home import Home
from fedcode_client.screening import erase as erased
from fedcode_client.screening import erased_of, opted_out_of
from fedcode_client.screening import opt_out as opted_out

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
def erase(
    what: Annotated[str, typer.Argument(metavar="unit|file|repository|author")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="path::name, a path, a folder or account, an address; - for stdin."
        ),
    ],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Never train on something again. Its name is not kept; what was released stays released.

    Deletes what was read into the cache. An agent that is up goes on with what it has read: start
    it again.
    """
    if what not in WHAT:
        raise ConfigError(f"{what} cannot be erased", f"name one of: {', '.join(WHAT)}")
    found = Home.find(home)
    new = erased(found, what, _named(name))
    _say(what, new, str(erased_of(found)), as_json)


@app.command(name="opt-out")
def opt_out(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="An author's e-mail address; - for stdin.")
    ],
    home: InHome = None,
    as_json: AsJson = False,
) -> None:
    """Train no more on files and functions of which an author wrote most. The name is not kept."""
    found = Home.find(home)
    _say("author", opted_out(found, _named(address)), str(opted_out_of(found)), as_json)


def _named(name: str) -> str:
    return sys.stdin.readline().rstrip("\r\n") if name == "-" else name


def _say(what: str, new: bool, file: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"what": what, "new": new, "file": file}))
    else:
        print(f"{what} {'added to' if new else 'is already in'} {file}")
