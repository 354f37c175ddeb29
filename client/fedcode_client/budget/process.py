# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The budget service of a home where none is configured: started, and started again if it dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import IO

import grpc

from fedcode.errors import FedcodeError, RunError
from fedcode.services import budget_pb2 as messages
from fedcode_client.budget.asking import Asking, address_in, connection
from fedcode_client.budget.keys import Role
from fedcode_client.budget.service import ADDRESS, KEYS, LOCAL, Service
from fedcode_client.home import Home

logger = logging.getLogger(__name__)

_START = 30.0  # seconds
_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_LOOK = 2.0


def serve(
    home: Home,
    bind: str = LOCAL,
    *,
    attached: IO[bytes] | None = None,
    patience: float = 0.0,
    hosts: Sequence[str] = (),
    tell: Callable[[str], object] = lambda _address: None,
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        home: the organization's folder.
        bind: ``HOST:PORT``.
        attached: ends when this ends, too: with the program that has started it.
        patience: seconds to wait for another service to end.
        hosts: names under which it is reached, beside this machine's own.
        tell: called with the address when it serves.

    Raises:
        RunError: another service has the ledger, or it cannot listen there.
        LedgerDamaged: the ledger does not open.
    """
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    def until_closed(stream: IO[bytes]) -> None:
        while os.read(stream.fileno(), 1):  # a buffered read would hold a lock at the end
            pass
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with Service(home.ledger, bind, patience, hosts) as service:
            if attached is not None:
                threading.Thread(target=until_closed, args=(attached,), daemon=True).start()
            tell(service.address)
            while not ended.wait(_PAUSE):  # a signal that another thread gets does not wake this
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LocalService:
    """A service that this program has started, or has found running."""

    def __init__(self, home: Home) -> None:
        self._home, self._folder = home, home.ledger
        self._ending, self._lock = threading.Event(), threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        if not self._answers():
            self._start()
        self._watch = threading.Thread(target=self._keep, daemon=True, name="budget service")
        self._watch.start()

    def __enter__(self) -> LocalService:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def connects(self, role: Role) -> Callable[[], grpc.Channel]:
        """What makes channels to it."""
        return connection(self._folder / KEYS, role, address_in(self._folder))

    @property
    def pid(self) -> int | None:
        """Of its process, if it is ours."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Ends the service, if it is ours: calls under way come to their end."""
        with self._lock:
            self._ending.set()
            if self._process is not None:
                self._process.terminate()
        self._watch.join()
        if self._process is not None:
            _ended(self._process)

    def _start(self) -> None:
        (self._folder / ADDRESS).unlink(missing_ok=True)
        self._process = self._spawned()
        until = time.monotonic() + _START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self._process.terminate()
                _ended(self._process)
                raise RunError(
                    "the budget service did not start", "fedcode-client budget serve says why"
                )
            time.sleep(_PAUSE)

    def _spawned(self) -> subprocess.Popen[bytes]:
        """In a session of its own: what a person types at us does not end it before us."""
        words = ["budget", "serve", "--home", str(self._home.root), "--attached"]
        return subprocess.Popen(
            [sys.executable, "-m", "fedcode_client", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _keep(self) -> None:
        """Starts it again whenever it ends, ever more seldom while it does not last.

        One that was found running may be that of a program before us, which has just ended.
        """
        pause = _PAUSE
        while self._process is None:
            if self._ending.wait(_LOOK):
                return
            if not self._answers():
                with self._lock:
                    if self._ending.is_set():
                        return
                    self._process = self._spawned()
        while True:
            begun = time.monotonic()
            code = _ended(self._process)
            if self._ending.is_set():
                return
            logger.warning("the budget service has ended, exit code %d", code)
            pause = _PAUSE if time.monotonic() - begun > _START else min(2 * pause, _LONGEST_PAUSE)
            self._ending.wait(pause)
            with self._lock:
                if self._ending.is_set():
                    return
                self._process = self._spawned()

    def _answers(self) -> bool:
        asking = Asking(self.connects(Role.TRAINER), 0.0)
        try:
            asking.call("GetHead", messages.HeadRequest())
        except FedcodeError:
            return False
        finally:
            asking.close()
        return True


def _ended(process: subprocess.Popen[bytes]) -> int:
    code = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    return code


def start_local(home: Home) -> LocalService:
    """The budget service of ``home``: the one that runs, or else a new one of our own.

    Raises:
        RunError: it does not start.
    """
    return LocalService(home)
