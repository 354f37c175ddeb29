# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Calls of the budget service that outlive its restarts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc

from fedcode.errors import LedgerUnreachable
from fedcode.privacy.ledger import Account
from fedcode.services import budget_pb2 as messages
from fedcode.services.budget_pb2_grpc import BudgetStub
from fedcode.services.serving import channel
from fedcode_client.budget.keys import Credentials, Role
from fedcode_client.budget.pieces import CARRIED, LARGEST, seconds
from fedcode_client.budget.wording import LOST, told

PATIENCE = 60.0
"""Seconds that a service may be lost: it may have to be started again."""

_CALL = 30.0  # seconds
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

Result = TypeVar("Result")


def connection(keys: Path, role: Role, address: Callable[[], str]) -> Callable[[], grpc.Channel]:
    """What makes a channel to the service, where it is now.

    Args:
        keys: the folder with the role's key and certificate.
        role: whose.
        address: says ``HOST:PORT``; asked for every channel.
    """

    def connect() -> grpc.Channel:
        where = address()
        ours = Credentials.load(keys, role)
        return channel(
            where,
            ca=ours.ca,
            key=ours.key,
            certificate=ours.certificate,
            deadline=_CALL,
            largest=CARRIED,
        )

    return connect


class Asking:
    """Asks until there is an answer; safe for several threads.

    Args:
        connect: makes a channel; asked again when the service was lost.
        patience: seconds that a service may be lost.
        waits: called once in each call that finds it lost.
    """

    def __init__(
        self,
        connect: Callable[[], grpc.Channel],
        patience: float = PATIENCE,
        waits: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect, self._patience, self._waits = connect, patience, waits
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._drop()

    def call(self, name: str, request: Any, more: float = 0.0) -> Any:
        """The reply to one request, or to the stream that ``request`` makes anew each time.

        Args:
            name: of the method.
            request: a message, or a function that makes an iterator of messages.
            more: seconds that it may take beside what any call may.

        Raises:
            FedcodeError: what the service has raised; LedgerUnreachable if it is lost for good.
        """

        def once(method: Callable[..., Any]) -> Any:
            asked = request() if callable(request) else request
            return method(asked, timeout=_CALL + more)

        return self._tried(name, once)

    def stream(self, name: str, request: Any, whole: Callable[[Iterator[Any]], Result]) -> Result:
        """What ``whole`` makes of the replies to one request; see :meth:`call`."""

        def once(method: Callable[..., Any]) -> Result:
            replies = method(request, timeout=_CALL + seconds(LARGEST))
            try:
                return whole(replies)
            finally:
                replies.cancel()

        return self._tried(name, once)

    def _tried(self, name: str, once: Callable[[Callable[..., Any]], Result]) -> Result:
        until, pause = time.monotonic() + self._patience, _PAUSE
        while True:
            opened = None
            try:
                opened = self._opened()
                return once(getattr(BudgetStub(opened), name))
            except grpc.RpcError as error:
                problem = told(error)
                if error.code() not in LOST:
                    raise problem from None
            except LedgerUnreachable as error:  # nobody knows yet where it is
                problem = error
            except ValueError:  # another thread has closed the channel that was lost
                if opened is self._channel:
                    raise
                continue
            if time.monotonic() + pause >= until:
                raise problem
            if pause == _PAUSE:
                self._waits()
            self._lost(opened)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _opened(self) -> grpc.Channel:
        with self._lock:
            if self._channel is None:
                self._channel = self._connect()
            return self._channel

    def _lost(self, opened: grpc.Channel | None) -> None:
        """The next call connects anew; another thread may have done so already."""
        with self._lock:
            if opened is not None and opened is self._channel:
                self._drop()

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None


class BudgetClient:
    """What everybody who comes with a certificate may do.

    Args:
        connect: makes a channel; asked again when the service was lost.
        patience: seconds that a service may be lost.
        waits: called once in each call that finds it lost.
    """

    def __init__(
        self,
        connect: Callable[[], grpc.Channel],
        patience: float = PATIENCE,
        waits: Callable[[], object] = lambda: None,
    ) -> None:
        self._asking = Asking(connect, patience, waits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._asking.close()

    def account(self, asset: str) -> Account | None:
        """The account of ``asset``, if it has one, under the policy in force."""
        asked = messages.AccountRequest(asset=asset)
        return read_account(asset, self._asking.call("GetAccount", asked))


def address_in(folder: Path) -> Callable[[], str]:
    """What says where the service of a ledger's folder listens, as it has written it."""
    return partial(_address, folder / "address")


def _address(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise LedgerUnreachable(
            "the budget service does not run", "fedcode-client budget serve"
        ) from None


def read_account(asset: str, reply: messages.AccountReply) -> Account | None:
    """The account of a reply, if there is one."""
    return Account.read(asset, json.loads(reply.account)) if reply.HasField("account") else None
