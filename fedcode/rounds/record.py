# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a round has heard so far, on disk: a coordinator that starts again goes on in its midst.

The coordinator has no secrets and takes no chances: whom it asks and what it says next follow from
its weights and from what it heard. So whoever keeps that can repeat a round to the byte, and never
signs another set of survivors for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from fedcode.errors import RunError
from fedcode.storage import write_atomically

_COHORT = "cohort.json"


class RoundRecord:
    """One round of one task.

    Args:
        folder: its own; made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cohort(self, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """Those who are asked: the ones who were before, else ``chosen``, from now on.

        Raises:
            RunError: what is kept cannot be read.
        """
        path = self._folder / _COHORT
        try:
            if path.exists():
                return tuple(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise _damaged(path) from error
        write_atomically(path, json.dumps(chosen).encode())
        self._sync()
        return chosen

    def heard(self, name: str, asked: bytes) -> bytes | None:
        """What ``name`` answered to ``asked``: empty if nothing came; None if it is not kept.

        Raises:
            RunError: what is kept cannot be read.
        """
        path = self._path(name, asked)
        try:
            return path.read_bytes() if path.exists() else None
        except OSError as error:
            raise _damaged(path) from error

    def keep(self, name: str, asked: bytes, answer: bytes) -> None:
        """Keeps what was answered, for good; an empty answer says that none came in time."""
        write_atomically(self._path(name, asked), answer)

    def settle(self) -> None:
        """What was kept is there after a crash when this returns."""
        self._sync()

    def forget(self) -> None:
        """Removes all of it: the round is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str, asked: bytes) -> Path:
        return self._folder / f"{hashlib.sha256(asked).hexdigest()[:32]}-{name}"

    def _sync(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _damaged(path: Path) -> RunError:
    return RunError(f"{path} cannot be read", "stop the run, and start it again")
