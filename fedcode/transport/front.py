# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's public listener: mutual TLS, the Fleet API, and nothing else."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedcode.errors import RunError
from fedcode.transport.internals.superlink import claimed_key

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Admission = Callable[[bytes, bytes], bool]
"""Whether a request may come in: by its certificate, DER, and the node's key it names, PEM."""

Files = tuple[Path, Path, Path]
"""Certificate chain, its key, and the authority of those who may connect."""

CALLS = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
"""All that is passed on; the rest of Flower's API is not there."""

_PEER = "fedcode.peer"
_SECONDS = 300.0

_CONTENT = "/v1/fleet/push-object"
_SMALL = 1 << 16
"""Bytes of a request that carries no object."""

_AT_ONCE = 16
"""Requests of one member at a time."""

_CONNECTIONS, _HEAD_SECONDS = 32, 30.0
"""Of one member at a time; and how long the head of a request may take."""

_PASSED = (b"content-type", b"content-length")
_FLOWERS = b"flwr-"


class Front:
    """Passes on what members ask; everything else gets a bare status.

    One member has so many requests at a time, and so many bytes on the way.

    Args:
        app: the Fleet API.
        admitted: who may come in.
        largest: bytes of a request.
    """

    def __init__(self, app: App, admitted: Admission, largest: int) -> None:
        self._app, self._admitted, self._largest = app, admitted, largest
        self._requests, self._bytes = Counter[bytes](), Counter[bytes]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        peer = scope.get("state", {}).get(_PEER) or b""
        length = headers.get(b"content-length", b"")
        most = self._largest if scope["path"] == _CONTENT else min(_SMALL, self._largest)
        if scope["method"] != "POST" or scope["path"] not in CALLS:
            await bare(send, 404)
        elif len(headers) < len(scope["headers"]) or b"transfer-encoding" in headers:
            await bare(send, 400)  # two ways to read it
        elif not length.isdigit() or len(length) > len(str(most)) or int(length) > most:
            await bare(send, 413)
        elif not await asyncio.to_thread(self._admitted, peer, claimed_key(headers)):
            await bare(send, 403)
        else:
            await self._counted(scope, receive, send, claimed_key(headers), int(length))

    async def _counted(
        self, scope: Scope, receive: Receive, send: Send, who: bytes, length: int
    ) -> None:
        """Passes a request on, if there is room for it."""
        if self._requests[who] >= _AT_ONCE or self._bytes[who] + length > self._largest + _SMALL:
            await bare(send, 429)
            return
        self._requests[who] += 1
        self._bytes[who] += length
        try:
            await self._pass(_bare_scope(scope), receive, send)
        finally:
            self._requests[who] -= 1
            self._bytes[who] -= length
            if not self._requests[who]:
                del self._requests[who], self._bytes[who]

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(_SECONDS):
                await self._app(scope, receive, sending)
        except TimeoutError:
            if not begun:
                await bare(send, 408)


def _bare_scope(scope: Scope) -> Scope:
    """A request with the headers that Flower needs, and no query."""
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name in _PASSED or name.startswith(_FLOWERS)
    ]
    return {**scope, "headers": headers, "query_string": b""}


async def bare(send: Send, status: int) -> None:
    """An answer that says no more than its status."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class _WithPeer(H11Protocol):
    """Tells the app whose certificate a connection has; ends those that say nothing.

    Attributes:
        subject: of the certificate.
    """

    subject: Any = None
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        super().connection_made(transport)
        secure = transport.get_extra_info("ssl_object")
        peer = secure.getpeercert(binary_form=True) if secure is not None else None
        self.app_state = {**self.app_state, _PEER: peer}
        if secure is not None:
            self.subject = (secure.getpeercert() or {}).get("subject")
        same = [one for one in self.connections if getattr(one, "subject", None) == self.subject]
        if self.subject is not None and len(same) > _CONNECTIONS:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def _watch(self) -> None:
        """A request's head is there within some time from its first byte, or from the connection.

        Between two requests uvicorn's own limit holds.
        """
        waiting = self.cycle is None or self.cycle.response_complete
        if self._late is not None and not waiting:
            self._late.cancel()
            self._late = None
        elif self._late is None and waiting:
            self._late = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)


class Listener:
    """A server in a thread of its own.

    Args:
        app: what it serves.
        host: address to listen on.
        port: 0 for any that is free.
        files: certificate chain, its key, and the authority of those who may connect. Without the
            authority anybody may, and without files there is no TLS: on loopback alone.

    Attributes:
        port: that it listens on.
    """

    def __init__(
        self, app: App, host: str, port: int, files: Files | tuple[Path, Path] | None
    ) -> None:
        open_to_all = files is None or len(files) == 2
        if open_to_all and host not in ("127.0.0.1", "::1", "localhost"):
            raise RunError(f"no listener on {host} without mutual TLS", "name 127.0.0.1")
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=_WithPeer,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=60,
            limit_concurrency=1024,
            **_tls(files),
        )
        config.load()
        if config.ssl is not None:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        self._config = config
        self._server = uvicorn.Server(config)
        try:
            self._socket = config.bind_socket()
        except SystemExit as error:  # uvicorn's way
            raise RunError(f"cannot listen on {host}:{port}", "is the port taken?") from error
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="listener", daemon=True)

    def start(self) -> None:
        """Serves until :meth:`stop`; connections are taken when this returns."""
        self._thread.start()
        while self._thread.is_alive() and not self._server.started:
            time.sleep(0.01)

    def renew(self, files: Files) -> None:
        """Shows the certificate that ``files`` hold now, to whoever connects from now on."""
        if self._config.ssl is not None:
            self._config.ssl.load_cert_chain(files[0], files[1])

    def stop(self) -> None:
        """Ends what is served within a second or so."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _tls(files: Files | tuple[Path, Path] | None) -> dict[str, Any]:
    if files is None:
        return {}
    ours = {"ssl_certfile": str(files[0]), "ssl_keyfile": str(files[1])}
    if len(files) == 2:
        return ours
    return ours | {"ssl_ca_certs": str(files[2]), "ssl_cert_reqs": ssl.CERT_REQUIRED}
