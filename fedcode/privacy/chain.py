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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from fedcode.errors import LedgerDamaged, PrivacyError

START = "0" * 64
"""What the first row has for the hash of the row before it."""

DAMAGED = "train on nothing until a person has looked at it; keep the file as it is"
"""What to do with a ledger that is not what was written: a hint."""

_WAIT = 60.0  # seconds for another process' transaction to end
_PAUSE = 0.01
_SELECT = "SELECT seq, time, kind, asset, body, previous, hash FROM entries"
_TABLE = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, asset TEXT NOT NULL,
    body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX entries_by_asset ON entries (asset, kind, seq);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row.

    Attributes:
        seq: from 1, without gaps.
        time: UTC, ISO 8601.
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
    def after(cls, seq: int, previous: str, kind: str, asset: str, body: str) -> Entry:
        """The row that follows row ``seq - 1`` with the hash ``previous``."""
        values = (seq, datetime.now(UTC).isoformat(), kind, asset, body, previous)
        return cls(*values, hash=_hash(values))

    @property
    def values(self) -> dict[str, Any]:
        """The body as a dictionary."""
        values: dict[str, Any] = json.loads(self.body)
        return values

    def follows(self, seq: int, previous: str) -> bool:
        """Whether this is the row ``seq`` that stands on the row with the hash ``previous``."""
        content = (self.seq, self.time, self.kind, self.asset, self.body, self.previous)
        return self.seq == seq and self.previous == previous and self.hash == _hash(content)


class Chain:
    """The table ``entries`` of one SQLite file: written by one transaction at a time, durably.

    Args:
        path: the file, or ``:memory:``.
        version: of the schema; a file with another one is refused.
        schema: further SQL for a new file.
        read_only: nothing is written, and a missing file is an error.
    """

    def __init__(
        self, path: Path | str, *, version: int, schema: str = "", read_only: bool = False
    ) -> None:
        self._name, self._read_only = str(path), read_only
        self._lock = threading.RLock()
        try:
            if not read_only and self._name != ":memory:":
                # a new file is nobody else's to read
                os.close(os.open(self._name, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = self._connect()
            if not read_only:
                self._write_ahead()
                self._connection.execute("PRAGMA synchronous = FULL")
                with self.writing():
                    if self._version() == 0 and not self._tables():
                        for statement in (_TABLE + schema).split(";\n"):
                            self._connection.execute(statement)
                        self._connection.execute(f"PRAGMA user_version = {version}")
            found = self._version()
        except (sqlite3.OperationalError, OSError) as error:
            raise PrivacyError(
                f"the ledger {path} cannot be opened: {error}", "is its folder there and writable?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise LedgerDamaged(f"{path} is not a ledger: {error}", DAMAGED) from error
        if found != version:
            self.close()
            what = f"has schema version {found}, not {version}" if found else "holds no ledger"
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
        last = self.query("SELECT hash FROM entries ORDER BY seq DESC LIMIT 1")
        return str(last[0][0]) if last else START

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that excludes all other writers; durable when the block has been left.

        Raises:
            PrivacyError: opened for reading only, or the disk does not take it; nothing is written.
        """
        if self._read_only:
            raise PrivacyError(f"the ledger {self._name} was opened for reading only")
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._connection.execute("COMMIT")
                finally:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                raise PrivacyError(f"the ledger {self._name} cannot be written: {error}") from error

    def append(self, kind: str, asset: str, body: Mapping[str, Any]) -> Entry:
        """Adds a row; to be called inside :meth:`writing`."""
        last = self.query("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1")
        seq, previous = last[0] if last else (0, START)
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        entry = Entry.after(seq + 1, previous, kind, asset, text)
        self._connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
            (seq + 1, entry.time, kind, asset, text, previous, entry.hash),
        )
        return entry

    def entry(self, seq: int) -> Entry | None:
        """One row."""
        found = self.query(f"{_SELECT} WHERE seq = ?", (seq,))
        return Entry(*found[0]) if found else None

    def last(self, kind: str, asset: str) -> Entry | None:
        """The latest row of one kind and asset."""
        found = self.query(
            f"{_SELECT} WHERE asset = ? AND kind = ? ORDER BY seq DESC LIMIT 1", (asset, kind)
        )
        return Entry(*found[0]) if found else None

    def entries(self, kind: str, asset: str | None = None) -> list[Entry]:
        """All rows of one kind, and of one asset if it is given, in order."""
        of_asset, values = ("", (kind,)) if asset is None else ("AND asset = ?", (kind, asset))
        found = self.query(f"{_SELECT} WHERE kind = ? {of_asset} ORDER BY seq", values)
        return [Entry(*row) for row in found]

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def rows(self) -> Iterator[Entry]:
        """All rows in order.

        Raises:
            LedgerDamaged: names the first row that does not stand on the one before it.
        """
        seq, previous = 0, START
        try:
            for values in self._connection.execute(f"{_SELECT} ORDER BY seq"):
                seq, entry = seq + 1, Entry(*values)
                if not entry.follows(seq, previous):
                    raise LedgerDamaged(
                        f"row {seq} of the ledger {self._name} does not chain", DAMAGED
                    )
                previous = entry.hash
                yield entry
            if self.query("PRAGMA integrity_check(1)") != [("ok",)]:
                raise LedgerDamaged(
                    f"the file of the ledger {self._name} is damaged outside its rows", DAMAGED
                )
        except sqlite3.DatabaseError as error:
            raise LedgerDamaged(
                f"row {seq + 1} of the ledger {self._name} cannot be read: {error}", DAMAGED
            ) from error

    def _connect(self) -> sqlite3.Connection:
        target, uri = self._name, False
        if self._read_only:
            target, uri = f"{Path(self._name).absolute().as_uri()}?mode=ro", True
            if not Path(f"{self._name}-wal").exists():  # nobody has it open: leave no side files
                target += "&immutable=1"
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

    def _version(self) -> int:
        return int(self.query("PRAGMA user_version")[0][0])

    def _tables(self) -> int:
        return int(self.query("SELECT count(*) FROM sqlite_master")[0][0])


def _hash(values: tuple[int | str, ...]) -> str:
    digest = hashlib.sha256(b"fedcode/ledger/1")
    for value in values:
        raw = str(value).encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
