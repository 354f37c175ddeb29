# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The agent: takes what the coordinator asks over a line, and sends back what we answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from fedcode.errors import LedgerDamaged, TransportError, TransportRefusal, WireError
from fedcode.logs import event
from fedcode.transport.line import Arrived, Line
from fedcode_client.answering import Answering, kind
from fedcode_client.home import Home
from fedcode_client.joining import renewed_if_due

logger = logging.getLogger(__name__)

_QUICK, _IDLE = 0.1, 2.0
_AWAKE = 30.0
_AGAIN = 1.0
_TRIES = 300
_FETCHES = 10
_HOURLY = 3600.0
_SYNC, _LONGEST = 5.0, 60.0
_ENDING = 5.0


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
        self._stop, self._known = threading.Event(), threading.Event()
        self._renewed, self._unseen = threading.Event(), threading.Event()
        self._unseen.set()
        self._looked = -_HOURLY
        self._broken: BaseException | None = None
        self.connected = False

    def stop(self) -> None:
        """Ends :meth:`run` when what is being answered is answered."""
        self._stop.set()

    def run(self) -> None:
        """Answers until :meth:`stop`, through whatever happens to the network.

        Raises:
            LedgerDamaged: nothing can be charged any more.
        """
        beside = threading.Thread(target=self._beside, name="desk", daemon=True)
        beside.start()
        try:
            while not self._stop.is_set():
                try:
                    self._online()
                except (TransportError, TransportRefusal, OSError) as error:
                    self._lost(error)
        finally:
            self._stop.set()
            beside.join(_ENDING)
        self._answering.close()
        if self._broken is not None:
            raise self._broken

    def _online(self) -> None:
        """One time online, which outlives connections; it ends when the coordinator refuses us."""
        while not self._known.wait(_QUICK):
            if self._stop.is_set():
                return
        self._renewed.clear()
        line = self._line()
        try:
            line.open()
            while not self._stop.is_set() and not self._renewed.is_set():
                try:
                    self._step(line)
                except TransportError as error:
                    self._lost(error)
        finally:
            line.close()

    def _step(self, line: Line) -> None:
        try:
            arrived = line.receive()
            self._reached()
            if arrived is None:
                awake = time.time() - self._answering.counts.last < _AWAKE
                self._stop.wait(_QUICK if awake else _IDLE)
                return
            self._answering.counts.last = time.time()
            data = self._content(line, arrived)
        except WireError as error:
            self._answering.objected(error)
            return
        answer = self._answering.answer(data)
        self._unseen.set()
        self._reply(line, arrived, answer)

    def _content(self, line: Line, arrived: Arrived) -> bytes:
        """What a message brings; it has been announced, and is not announced soon again."""
        for _ in range(_FETCHES - 1):
            try:
                return line.content(arrived)
            except TransportError:
                if self._stop.wait(_AGAIN):
                    raise
        return line.content(arrived)

    # What is said beside the rounds, which go on in the meantime: also where nobody answers there.

    def _beside(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                self._renew()
                self._answering.sync()
                self._known.set()
                if self._unseen.is_set():
                    self._unseen.clear()
                    self._after()
                pause = _SYNC
            except LedgerDamaged as error:
                self._broken = error  # it is raised where somebody sees it
                self._stop.set()
            except Exception as error:  # noqa: BLE001  whatever a coordinator says: it goes on
                event(logger, "no word from the coordinator", logging.WARNING, why=kind(error))
                pause = min(2 * (pause or _AGAIN), _LONGEST if self._known.is_set() else _SYNC)

    def _renew(self) -> None:
        """Looks after our certificate now and then; with a new one we come online anew."""
        if time.monotonic() - self._looked < _HOURLY:
            return
        if renewed_if_due(self._home):
            event(logger, "certificate renewed")
            self._renewed.set()
        self._looked = time.monotonic()

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

    def _lost(self, error: Exception) -> None:
        if self.connected:
            event(logger, "connection lost", logging.WARNING, why=kind(error))
        self.connected = False
        pause = _AGAIN if isinstance(error, TransportError) else 3 * _AGAIN
        self._stop.wait(pause)
