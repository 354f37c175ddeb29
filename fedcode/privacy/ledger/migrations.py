# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The schema of a ledger's file, one numbered SQL script after another.

A script and the number that says it was run are one transaction: a file is at one version or at
another, whatever happens. No script changes a row: whoever only reads can read an older file.
docs/decisions/0008-ledger.md says why this is not Alembic.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from importlib.resources import files


def scripts() -> list[str]:
    """The scripts in order; the first one makes an empty file a ledger."""
    folder = files("fedcode.privacy.ledger").joinpath("schema")
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [file.read_text(encoding="utf-8") for file in found]


def version(connection: sqlite3.Connection) -> int:
    """How many scripts were run on the file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def foreign(connection: sqlite3.Connection) -> bool:
    """Whether the file has tables of somebody else's."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return bool(tables) and version(connection) == 0


def migrate(connection: sqlite3.Connection, wanted: Sequence[str]) -> None:
    """Runs the scripts that the file lacks; to be called inside a transaction.

    A file of a later version is left as it is.
    """
    done = version(connection)
    if done >= len(wanted):
        return
    for script in wanted[done:]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(wanted)}")


def _statements(script: str) -> Iterator[str]:
    """``executescript`` would commit; so the statements one by one."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
