# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode-client`: an organization's side. Nothing it prints leaves the machine."""

from __future__ import annotations

from typing import NoReturn

import typer

from fedcode.terminal import run
from fedcode_client.commands import (
    budget,
    certificate,
    data,
    federations,
    ledger,
    membership,
    policy,
    rounds,
    screening,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(membership.app)
app.add_typer(federations.app)
app.add_typer(rounds.app)
app.add_typer(screening.app)
app.add_typer(data.app)
app.add_typer(certificate.app)
app.add_typer(budget.app, name="budget")
app.add_typer(ledger.app, name="ledger")
app.add_typer(policy.app, name="policy")


@app.callback()
def program() -> None:
    """An organization's side of a federation."""


def main() -> NoReturn:
    """The program."""
    run(app, "fedcode-client")
