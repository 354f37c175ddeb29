# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One service a ledger: a lock that its process holds, and that ends with it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from fedcode.errors import RunError

_PAUSE = 0.05


class Lock:
    """Held from the start on, until the block is left or the process ends.

    Args:
        folder: the ledger's; made where there is none.
        patience: seconds to wait for another process.

    Raises:
        RunError: another process has it, or the folder cannot be used.
    """

    def __init__(self, folder: Path, patience: float = 0.0) -> None:
        path = folder / "ledger.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RunError(f"{path} cannot be made", "is the folder writable?") from error
        until = time.monotonic() + patience
        while not self._taken():
            if time.monotonic() >= until:
                os.close(self._file)
                raise RunError(
                    f"another budget service has the ledger in {folder}", "one is enough: use it"
                )
            time.sleep(_PAUSE)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
