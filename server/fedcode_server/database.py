# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's database: one SQLite file that several processes read and write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session

from fedcode.errors import ConfigError, RunError
from fedcode_server.tables import SCHEMA, Base

_WAIT = 10.0  # seconds, for another process's write
_CONNECTIONS = 32  # more than a server has threads


class Database:
    """Sessions on the file; a commit is on disk when it returns.

    A writing session has the file to itself from its beginning, so that what it reads is still true
    when it writes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(immediate=True)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the file, and makes what a new one lacks.

        Raises:
            ConfigError: it is no database of ours, or another version's.
            RunError: it cannot be opened.
        """
        engine = create_engine(
            f"sqlite:///{path}", connect_args={"timeout": _WAIT}, pool_size=_CONNECTIONS
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        made = cls(engine)
        try:
            with made._writing.begin() as connection:
                _prepare(connection, path)
            path.chmod(0o600)
        except BaseException as error:
            engine.dispose()
            if isinstance(error, OperationalError):
                raise RunError(
                    f"{path} cannot be opened", "is its folder there, and the disk not full?"
                ) from error
            if isinstance(error, DatabaseError):
                raise ConfigError(f"{path} is no database", "bring back a backup") from error
            raise
        return made

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the file."""
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is committed at its end, and undone by an exception."""
        with Session(self._writing) as session, session.begin():
            yield session

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin`
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _prepare(connection: Connection, path: Path) -> None:
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    if version not in (0, SCHEMA) or (version == 0 and tables):
        raise ConfigError(
            f"{path} was written by another version of this program",
            "use that version, or bring back a backup",
        )
    if version == 0:
        Base.metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA}")
