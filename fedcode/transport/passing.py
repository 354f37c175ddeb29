# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A front for a stock SuperNode, which has no client certificate: it adds the organization's.

On loopback, under TLS. It passes the Fleet API's calls on and nothing else, as they come and no
more than may come, for one node; and no app bundle reaches the SuperNode but the one without app.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any

import httpx

from fedcode.logs import event
from fedcode.transport.bundle import EMPTY
from fedcode.transport.front import CALLS, Receive, Scope, Send, bare
from fedcode.transport.internals.superlink import claimed_key
from fedcode.transport.internals.supernode import bundle_in

logger = logging.getLogger(__name__)

_BUNDLE = "/v1/fleet/get-fab"
_SECONDS, _WHOLE = 60.0, 300.0
"""Seconds for each step of a call, and for all of it."""

_KEPT = (b"content-type", b"content-length", b"accept")
_FLOWERS = b"flwr-"
_LARGEST_BUNDLE = 1 << 16


class _Unfit(Exception):
    """An answer of the coordinator's that goes no farther.

    Args:
        status: what the SuperNode is told. 403 is Flower's for a run that is over, and ends a
            message that has no task yet; any other ends one that has.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class Passing:
    """Passes on what one SuperNode asks; everything else gets a bare status.

    Args:
        address: ``host:port`` of the coordinator's listener.
        tls: with the organization's certificate, and the coordinator's authority alone.
        node_key: public, PEM: of the one node that is let through.
        largest: bytes, either way.
        refused: told when an app bundle was not passed on.
    """

    def __init__(
        self,
        address: str,
        tls: ssl.SSLContext,
        node_key: bytes,
        *,
        largest: int,
        refused: Callable[[], None],
    ) -> None:
        self._base, self._tls, self._node_key = f"https://{address}", tls, node_key
        self._largest, self._refused = largest, refused

    def renew(self, tls: ssl.SSLContext) -> None:
        """Connects with another certificate from now on."""
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if scope["method"] != "POST" or scope["path"] not in CALLS:
            await bare(send, 404)
        elif not length.isdigit() or int(length) > self._largest:
            await bare(send, 413)
        elif claimed_key(headers) != self._node_key:
            await bare(send, 403)
        else:
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Asks the coordinator; where it is away 503, after which a SuperNode tries again.

        Each call has a connection of its own: there are few, and none is left over at the end.
        What may not be passed on is a status after which a SuperNode drops the message.
        """
        url, begun = self._base + scope["path"], False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with (
                asyncio.timeout(_WHOLE),
                httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=_SECONDS) as client,
                client.stream("POST", url, headers=_kept(scope), content=_body(receive)) as given,
            ):
                if scope["path"] == _BUNDLE:
                    await self._bundle(given, sending)
                else:
                    await self._answer(given, sending)
        except _Unfit as error:
            await bare(send, error.status)
        except (httpx.HTTPError, OSError, TimeoutError):
            if begun:
                raise  # the connection ends in the middle of the answer
            await bare(send, 503)

    async def _answer(self, given: httpx.Response, send: Send) -> None:
        """Passes an answer on, piece by piece."""
        length = given.headers.get("content-length", "")
        packed = given.headers.get("content-encoding", "identity") != "identity"
        if packed or not length.isdecimal() or int(length) > self._largest:
            raise _Unfit(413)
        await send(_start(given, int(length)))
        async for piece in given.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _bundle(self, given: httpx.Response, send: Send) -> None:
        """Passes the bundle without app on; any other gets as far as here, and no farther."""
        if given.status_code != httpx.codes.OK:
            await self._answer(given, send)
            return
        body = b""
        async for piece in given.aiter_raw():
            body += piece
            if len(body) > _LARGEST_BUNDLE:
                break
        if not _empty(body):
            event(logger, "app bundle refused", logging.ERROR)
            self._refused()
            raise _Unfit(403)
        await send(_start(given, len(body)))
        await send({"type": "http.response.body", "body": body})


def _empty(body: bytes) -> bool:
    try:
        return bundle_in(body) == EMPTY
    except ValueError:
        return False


def _kept(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The headers that Flower's calls need, and none beside them."""
    found = [(k, v) for k, v in scope["headers"] if k in _KEPT or k.startswith(_FLOWERS)]
    return [*found, (b"accept-encoding", b"identity")]


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise httpx.WriteError("the SuperNode has gone")
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _start(given: httpx.Response, length: int) -> MutableMapping[str, Any]:
    kind = given.headers.get("content-type", "application/octet-stream")
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(length).encode()),
    ]
    return {"type": "http.response.start", "status": given.status_code, "headers": headers}
