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
from collections.abc import Mapping
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
        _sync(self._folder)
        return chosen

    def step(self, requests: Mapping[str, bytes]) -> StepRecord:
        """What is heard in answer to ``requests``, by member."""
        return StepRecord(self._folder, requests)

    def forget(self) -> None:
        """Removes all of it: the round is over."""
        shutil.rmtree(self._folder, ignore_errors=True)


class StepRecord:
    """What members answered in one step of a round, each to its own request.

    Args:
        folder: the round's.
        requests: by member; bytes that go to many are hashed once.
    """

    def __init__(self, folder: Path, requests: Mapping[str, bytes]) -> None:
        digests = {data: hashlib.sha256(data).hexdigest()[:32] for data in set(requests.values())}
        self._folder = folder
        self._paths = {name: folder / f"{digests[data]}-{name}" for name, data in requests.items()}

    def unheard(self) -> list[str]:
        """Those of whom nothing is kept yet, not even that they did not answer."""
        return [name for name, path in self._paths.items() if not path.exists()]

    def heard(self, name: str) -> bytes:
        """What ``name`` answered; empty if nothing came in time.

        Raises:
            RunError: what is kept cannot be read.
        """
        path = self._paths[name]
        try:
            return path.read_bytes()
        except OSError as error:
            raise _damaged(path) from error

    def keep(self, name: str, answer: bytes) -> None:
        """Keeps what was answered, for good; an empty answer says that none came in time."""
        write_atomically(self._paths[name], answer)

    def settle(self) -> None:
        """What was kept is there after a crash when this returns."""
        _sync(self._folder)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _damaged(path: Path) -> RunError:
    return RunError(f"{path} cannot be read", "stop the run, and start it again")
