# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The runs of a coordinator and their states; what a person wants of them comes the same way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select

from fedcode.errors import RunError
from fedcode_server.database import Database
from fedcode_server.tables import RunRow

OFFERED, RUNNING, FINISHED, FAILED, STOPPED, DECLINED = (
    "offered",
    "running",
    "finished",
    "failed",
    "stopped",
    "declined",
)
OPEN = (OFFERED, RUNNING)
"""States of runs that go on by themselves."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run.

    Attributes:
        name: of its folder, too.
        state: see above.
        note: that somebody declined, or why it failed, in words of ours.
        stop: whether a person wants it to stop.
        created: seconds since 1970; and so
        changed: when it got its state.
    """

    name: str
    state: str
    note: str
    stop: bool
    created: int
    changed: int

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


class Runs:
    """On disk; several processes may have it open.

    Attributes:
        one_at_a_time: for this process' changes of a run's folder.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.one_at_a_time = threading.Lock()

    def add(self, name: str) -> None:
        """A new run, which is offered.

        Raises:
            RunError: there is one of this name.
        """
        now = int(time.time())
        with self._database.writing() as session:
            if session.get(RunRow, name) is not None:
                raise RunError(f"there is a run {name}", "choose another --name")
            session.add(
                RunRow(name=name, state=OFFERED, note="", stop=False, created=now, changed=now)
            )

    def all(self) -> list[Row]:
        """All of them, the oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(select(RunRow).order_by(RunRow.created, RunRow.name))
            return [_row(row) for row in rows]

    def get(self, name: str) -> Row | None:
        """One of them."""
        with self._database.reading() as session:
            row = session.get(RunRow, name)
            return _row(row) if row else None

    def move(self, name: str, state: str, note: str = "", *, since: Iterable[str] = ()) -> bool:
        """Gives a run another state; only if it has one of ``since``, if they are named."""
        with self._database.writing() as session:
            row = session.get_one(RunRow, name)
            if since and row.state not in since:
                return False
            row.state, row.note, row.changed = state, note, int(time.time())
            row.stop = row.stop and state in OPEN
        return True

    def ask_to_stop(self, name: str) -> None:
        """The process that carries it out will stop it; an offer is stopped at once.

        Raises:
            RunError: it is over, or there is none.
        """
        with self._database.writing() as session:
            row = session.get(RunRow, name)
            if row is None or row.state not in OPEN:
                raise RunError(f"there is no run {name} that goes on", "fedcode-server status")
            if row.state == OFFERED:
                row.state, row.changed = STOPPED, int(time.time())
            else:
                row.stop = True


def _row(row: RunRow) -> Row:
    return Row(row.name, row.state, row.note, row.stop, row.created, row.changed)
