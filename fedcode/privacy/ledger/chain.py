# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A table in SQLite that only grows, each row bound to the one before it by its hash.

A row that is changed, taken out, put in or moved is found by :meth:`Chain.rows`. Rows cut off at
the end are found by whoever remembers the hash of a later row (see :attr:`Chain.head`).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from fedcode.errors import LedgerDamaged, PrivacyError
from fedcode.privacy.ledger.migrations import foreign, migrate, version

START = "0" * 64
"""What the first row has for the hash of the row before it."""

DAMAGED = "train on nothing until a person has looked at it; keep the file as it is"
"""What to do with a ledger that is not what was written: a hint."""

_WAIT = 60.0  # seconds for another process' transaction to end
_PAUSE = 0.01
_SELECT = "SELECT seq, time, kind, asset, body, previous, hash FROM entries"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row.

    Attributes:
        seq: from 1, without gaps.
        time: UTC, ISO 8601 with microseconds; never before the row before.
        kind: what happened.
        asset: whose account it happened to.
        body: the rest, canonical JSON.
        previous: the hash of the row before.
        hash: SHA-256 over all of the above.
    """

    seq: int
    time: str
    kind: str
    asset: str
    body: str
    previous: str
    hash: str

    @classmethod
    def after(cls, last: tuple[int, str, str], kind: str, asset: str, body: str) -> Entry:
        """The row that follows the one of which ``last`` is seq, time and hash."""
        seq, time, previous = last
        values = (seq + 1, max(time, now()), kind, asset, body, previous)
        return cls(*values, hash=_hash(values))

    @property
    def values(self) -> dict[str, Any]:
        """The body as a dictionary."""
        values: dict[str, Any] = json.loads(self.body)
        return values

    def follows(self, last: tuple[int, str, str]) -> bool:
        """Whether this row follows the one of which ``last`` is seq, time and hash."""
        seq, time, previous = last
        content = (self.seq, self.time, self.kind, self.asset, self.body, self.previous)
        stands = self.seq == seq + 1 and self.previous == previous and self.time >= time
        return stands and self.hash == _hash(content)


class Chain:
    """The table ``entries`` of one SQLite file: written by one transaction at a time, durably.

    Args:
        path: the file, or ``:memory:``.
        scripts: of the schema (see :mod:`~fedcode.privacy.ledger.migrations`); a later file than
            they make is refused.
        read_only: nothing is written, and a missing file is an error.
    """

    def __init__(
        self, path: Path | str, *, scripts: Sequence[str], read_only: bool = False
    ) -> None:
        self._name, self._read_only = str(path), read_only
        self._lock, self._process = threading.RLock(), os.getpid()
        self._stamp: tuple[int, int] | None = None  # of a file that is read as if it stayed
        try:
            if not read_only and self._name != ":memory:":
                # a new file is nobody else's to read
                os.close(os.open(self._name, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = self._connect()
            if not read_only and not foreign(self._connection):
                self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file
                self._write_ahead()
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute("PRAGMA secure_delete = ON")
                with self.writing():
                    migrate(self._connection, scripts)
            found = version(self._connection)
        except (sqlite3.OperationalError, OSError) as error:
            raise PrivacyError(
                f"the ledger {path} cannot be opened: {error}", "is its folder there and writable?"
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise LedgerDamaged(f"{path} is not a ledger: {error}", DAMAGED) from error
        oldest = 1 if read_only else len(scripts)  # what an older file lacks are indexes
        if not oldest <= found <= len(scripts):
            self.close()
            what = f"has schema version {found}, not {len(scripts)}" if found else "holds no ledger"
            raise LedgerDamaged(
                f"{path} {what}",
                "name a ledger.sqlite that this version of fedcode wrote; a copy of one that is in "
                "use needs the files beside it, -wal and -shm, too",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @property
    def head(self) -> str:
        """The hash of the last row: whoever remembers it notices when rows are cut off."""
        last = self.entry()
        return last.hash if last else START

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that excludes all other writers; durable when the block has been left.

        Raises:
            PrivacyError: opened for reading only, or the disk does not take it; nothing is written.
        """
        if self._read_only:
            raise PrivacyError(f"the ledger {self._name} was opened for reading only")
        self._check_process()
        with self._lock, self._told("written"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def append(self, kind: str, asset: str, body: Mapping[str, Any]) -> Entry:
        """Adds a row; to be called inside :meth:`writing`."""
        last = self.query("SELECT seq, time, hash FROM entries ORDER BY seq DESC LIMIT 1")
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        entry = Entry.after(last[0] if last else (0, "", START), kind, asset, text)
        self.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.seq, entry.time, kind, asset, text, entry.previous, entry.hash),
        )
        return entry

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        """Changes what is beside the chain; to be called inside :meth:`writing`."""
        self._connection.execute(sql, values)

    def shrink(self) -> None:
        """Gives pages that are not in use any more back to the disk."""
        self._check_process()
        with self._lock, self._told("written"):
            self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` frees one

    def interrupt(self) -> None:
        """Ends a query of another thread."""
        self._connection.interrupt()

    def entry(self, where: str = "", values: tuple[Any, ...] = ()) -> Entry | None:
        """The latest row of those that a condition in SQL picks."""
        found = self.query(
            f"{_SELECT} {where and 'WHERE'} {where} ORDER BY seq DESC LIMIT 1", values
        )
        return Entry(*found[0]) if found else None

    def rows_from(self, seq: int, number: int) -> list[Entry]:
        """So many rows in order, the one numbered ``seq`` first."""
        found = self.query(f"{_SELECT} WHERE seq >= ? ORDER BY seq LIMIT ?", (seq, number))
        return [Entry(*row) for row in found]

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            PrivacyError: the disk does not give them.
            LedgerDamaged: the file is no database any more.
        """
        self._check_process()
        with self._lock, self._told("read"):
            return self._connection.execute(sql, values).fetchall()

    def rows(self) -> Iterator[Entry]:
        """All rows in order.

        Raises:
            LedgerDamaged: names the first row that does not stand on the one before it.
            PrivacyError: somebody has written in the meantime, and the file was opened when nobody
                had it open: then what was read fits to nothing.
        """
        try:
            yield from self._rows()
        except LedgerDamaged:
            if self._stamp is not None and self._stamp != _stamp(self._name):
                raise PrivacyError(
                    f"the ledger {self._name} was written while it was read", "read it again"
                ) from None
            raise

    def _rows(self) -> Iterator[Entry]:
        last = (0, "", START)
        try:
            for values in self._connection.execute(f"{_SELECT} ORDER BY seq"):
                entry = Entry(*values)
                if not entry.follows(last):
                    raise LedgerDamaged(
                        f"row {last[0] + 1} of the ledger {self._name} does not chain", DAMAGED
                    )
                last = (entry.seq, entry.time, entry.hash)
                yield entry
            if self.query("PRAGMA integrity_check(1)") != [("ok",)]:
                raise LedgerDamaged(
                    f"the file of the ledger {self._name} is damaged outside its rows", DAMAGED
                )
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise LedgerDamaged(
                f"row {last[0] + 1} of the ledger {self._name} cannot be read: {error}", DAMAGED
            ) from error

    def _connect(self) -> sqlite3.Connection:
        target, uri = self._name, False
        if self._read_only:
            target, uri = f"{Path(self._name).absolute().as_uri()}?mode=ro", True
            if not Path(f"{self._name}-wal").exists():  # nobody has it open: leave no side files
                target += "&immutable=1"
                self._stamp = _stamp(self._name)
        return sqlite3.connect(
            target, uri=uri, timeout=_WAIT, isolation_level=None, check_same_thread=False
        )

    def _write_ahead(self) -> None:
        """Switches the file to a write-ahead log; SQLite itself does not wait for others here."""
        until = time.monotonic() + _WAIT
        while not self._switched(time.monotonic() > until):
            time.sleep(_PAUSE)

    def _switched(self, last: bool) -> bool:
        """Whether the switch succeeded; a ``last`` attempt that does not is an error."""
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
            raise PrivacyError(f"the ledger {self._name} cannot be {what}: {error}") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise LedgerDamaged(f"the ledger {self._name} is damaged: {error}", DAMAGED) from error

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise PrivacyError("a ledger of another process: open it again after a fork")


def now() -> str:
    """The time as rows have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _stamp(name: str) -> tuple[int, int]:
    """When a file was written, and how long it is."""
    try:
        found = Path(name).stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _hash(values: tuple[int | str, ...]) -> str:
    digest = hashlib.sha256(b"fedcode/ledger/1")
    for value in values:
        raw = str(value).encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
