# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A line through a stock SuperNode: fedcode's own worker takes the tasks that it has been sent.

The SuperNode fetches an app bundle with each run. It is compared, and never opened: what answers is
the code that is installed here.
"""

from __future__ import annotations

import contextlib
import threading

from flwr.app import Message

from fedcode.errors import RunError, TransportError, TransportRefusal, WireError
from fedcode.transport.bounded import Bounded, translated
from fedcode.transport.bundle import EMPTY
from fedcode.transport.internals.common import objects_of
from fedcode.transport.internals.supernode import TaskCalls
from fedcode.transport.line import FRAME, Arrived, Line

_BEAT = 10.0
_SECONDS = 30.0
_WHOM = "the SuperNode"


class Tasks(Line):
    """The tasks of one SuperNode, in ``--isolation process``.

    Args:
        address: ``host:port`` of its Runtime API; on this machine, since it has no TLS.
        secret: that it shares with its workers.
        largest: bytes that a message of ours may have, either way.

    Raises:
        RunError: the address is another machine's.
    """

    def __init__(self, address: str, secret: bytes, *, largest: int) -> None:
        if address.rpartition(":")[0] not in ("127.0.0.1", "[::1]", "localhost"):
            raise RunError(f"no SuperNode at {address} without TLS", "name 127.0.0.1")
        self._tasks = TaskCalls(address, secret, Bounded(largest + FRAME, None), _SECONDS)
        super().__init__(self._tasks, _WHOM, largest)
        self._ended = threading.Event()
        self._now: Arrived | None = None

    def open(self) -> None:
        """See :class:`Line`."""
        with translated(_WHOM):
            self._tasks.greet()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def close(self) -> None:
        """Takes no more tasks; one that was taken is refused, or the SuperNode waits for it."""
        if self._now is not None:
            self._refuse(self._now)
        self._ended.set()
        self._tasks.close()

    def receive(self) -> Arrived | None:
        """See :class:`Line`; a message that came with an app is refused before it is looked at."""
        self._now = arrived = super().receive()
        if arrived is not None and self._tasks.bundle != EMPTY:
            self._refuse(arrived)
            raise WireError("a message with an app bundle, which was not opened")
        return arrived

    def _fetch(self, arrived: Arrived) -> dict[str, bytes]:
        """See :class:`Line`; the task ends of a message that the SuperNode has given up."""
        try:
            contents = {one: self._object(arrived.run, one) for one in objects_of(arrived.tree)}
        except TransportRefusal as error:
            self._end(answered=False)
            raise WireError("a message that did not arrive whole") from error
        return contents

    def _object(self, run: int, identity: str) -> bytes:
        with translated(_WHOM):
            found = self._tasks.object(run, identity)
        if found is None:
            raise TransportRefusal("the SuperNode has given a message up")
        return found

    def _send(self, arrived: Arrived, message: Message) -> None:
        super()._send(arrived, message)
        self._end(answered=True)

    def _refuse(self, arrived: Arrived) -> None:
        """Lets the SuperNode drop the message, once it has it whole: it would fail before."""
        with contextlib.suppress(TransportError, TransportRefusal, WireError):
            self._fetch(arrived)
            with translated(_WHOM):
                self._tasks.confirm(arrived.run, arrived.message.metadata.message_id)
            super()._refuse(arrived)

    def _end(self, *, answered: bool) -> None:
        self._now = None
        with contextlib.suppress(TransportError, TransportRefusal), translated(_WHOM):
            self._tasks.done(answered=answered)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT):
            with contextlib.suppress(TransportError, TransportRefusal), translated(_WHOM):
                self._tasks.heartbeat()
