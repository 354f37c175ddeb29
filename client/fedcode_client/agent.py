# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The agent: takes what the coordinator asks over a line, and sends back what we answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from fedcode.errors import (
    FedcodeError,
    MembershipError,
    TransportError,
    TransportRefusal,
    WireError,
)
from fedcode.logs import event
from fedcode.transport.line import Arrived, Line
from fedcode_client.answering import Answering
from fedcode_client.home import Home
from fedcode_client.joining import renewed_if_due

logger = logging.getLogger(__name__)

_QUICK, _IDLE = 0.1, 2.0
_AWAKE = 30.0
_AGAIN = 1.0
_TRIES = 300
_DAILY = 3600.0


class Agent:
    """One organization's end of the rounds.

    Args:
        home: the organization's folder.
        answering: what is answered.
        line: makes the line that requests come over; asked whenever we come online.
        after: shows the ledger's head to the witness; called soon after something was answered.

    Attributes:
        connected: whether the coordinator was reached at the last try.
    """

    def __init__(
        self,
        home: Home,
        answering: Answering,
        line: Callable[[], Line],
        after: Callable[[], None],
    ) -> None:
        self._home, self._answering, self._line, self._after = home, answering, line, after
        self._stop = threading.Event()
        self._looked = 0.0
        self._unseen = True
        self.connected = False

    def stop(self) -> None:
        """Ends :meth:`run` when what is being answered is answered."""
        self._stop.set()

    def run(self) -> None:
        """Answers until :meth:`stop`, through whatever happens to the network.

        Raises:
            LedgerDamaged: nothing can be charged any more.
        """
        while not self._stop.is_set():
            try:
                self._online()
            except (TransportError, TransportRefusal, MembershipError) as error:
                self._lost(error)
        self._answering.close()

    def _online(self) -> None:
        """One time online: from the first connection to the first that fails."""
        if renewed_if_due(self._home):
            event(logger, "certificate renewed")
        self._answering.sync()
        line = self._line()
        try:
            line.open()
            self._reached()
            self._looked = time.monotonic()
            while not self._stop.is_set() and time.monotonic() - self._looked < _DAILY:
                self._step(line)
        finally:
            line.close()

    def _step(self, line: Line) -> None:
        if self._answering.due:
            self._answering.sync()
        try:
            arrived = line.receive()
            if arrived is None:
                self._show()
                awake = time.time() - self._answering.counts.last < _AWAKE
                self._stop.wait(_QUICK if awake else _IDLE)
                return
            self._answering.counts.last = time.time()
            data = line.content(arrived)
        except WireError as error:
            self._answering.objected(error)
            return
        answer = self._answering.answer(data)
        self._unseen = True
        self._reply(line, arrived, answer)

    def _show(self) -> None:
        """Shows the ledger's head, when there is time for it."""
        if self._unseen:
            self._after()
            self._unseen = False

    def _reply(self, line: Line, arrived: Arrived, answer: bytes) -> None:
        """Sends an answer for as long as it can be of use."""
        for _ in range(_TRIES):
            try:
                line.reply(arrived, answer)
            except TransportRefusal:
                event(logger, "answer not wanted any more", logging.WARNING)
                return
            except TransportError:
                if self._stop.wait(_AGAIN):
                    return
            else:
                return

    def _reached(self) -> None:
        if not self.connected:
            event(logger, "connected")
        self.connected = True

    def _lost(self, error: FedcodeError) -> None:
        if self.connected:
            event(logger, "connection lost", logging.WARNING, why=type(error).__name__)
        self.connected = False
        pause = _AGAIN if isinstance(error, TransportError) else 3 * _AGAIN
        self._stop.wait(pause)
