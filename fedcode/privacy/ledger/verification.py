# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Checks all rows of a ledger while it is in use already."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from fedcode.errors import ConfigError, LedgerDamaged, PrivacyError
from fedcode.privacy.ledger.chain import DAMAGED, START, Chain, Entry
from fedcode.privacy.ledger.replay import Replay

PATIENCE = 0.5
"""Seconds that an opening waits: enough for ten thousand rows, which are then all checked."""


def verify(chain: Chain, head: str | None = None) -> int:
    """Checks every row, and every total against the rows before it.

    Args:
        chain: the rows.
        head: the hash of a row that must be there.

    Returns:
        The number of rows.

    Raises:
        LedgerDamaged: names the first row that is not as the ledger would have written it.
    """
    number, seen = 0, head is None or head == START
    for entry in _sound(chain):
        number = entry.seq
        seen = seen or entry.hash == head
    if not seen:
        raise LedgerDamaged(f"the ledger ends at row {number}, before the head remembered", DAMAGED)
    return number


def _sound(chain: Chain) -> Iterator[Entry]:
    replay = Replay()
    for entry in chain.rows():
        try:
            problem = replay.read(entry)
        except (KeyError, TypeError, ValueError, ConfigError, PrivacyError):
            problem = "is not of the form that this version writes"
        if problem:
            raise LedgerDamaged(f"row {entry.seq} of the ledger {problem}", DAMAGED)
        yield entry
    if not replay.whole:
        raise LedgerDamaged("the ledger ends in the middle of a charge", DAMAGED)


class Verification:
    """Verifies a chain in a thread of its own.

    Args:
        chain: for this purpose alone; :meth:`stop` closes it.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain, self._stop = chain, threading.Event()
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="ledger verification")
        self._thread.start()

    def check(self, wait: float | None = 0.0) -> bool:
        """Whether all rows that were there at the start are found to be in order.

        Args:
            wait: seconds to wait for the end; None waits as long as it takes.

        Raises:
            LedgerDamaged: a row is not.
        """
        self._thread.join(wait)
        if self._problem is not None:
            raise self._problem
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends it, before its end if need be."""
        self._stop.set()
        if self._thread.is_alive():
            self._chain.interrupt()
        self._thread.join()
        self._chain.close()

    def _run(self) -> None:
        try:
            for _ in _sound(self._chain):
                if self._stop.is_set():
                    return
        except Exception as error:  # noqa: BLE001  told to whoever uses the ledger
            if not self._stop.is_set():
                self._problem = error
