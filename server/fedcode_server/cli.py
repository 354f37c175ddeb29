# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode-server`: the coordinator."""

from __future__ import annotations

from typing import NoReturn

import typer

from fedcode.terminal import run
from fedcode_server.commands import membership, plans, rounds

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(membership.app)
app.add_typer(plans.app)
app.add_typer(rounds.app)


@app.callback()
def program() -> None:
    """Coordinate a federation. This program reads no source code and builds no model."""


def main() -> NoReturn:
    """The program."""
    run(app, "fedcode-server")
