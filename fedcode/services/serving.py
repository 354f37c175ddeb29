# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC servers and channels: mutual TLS always, bounded, and silent about what went wrong inside.

Whoever calls is known by a certificate that is looked at in every call, not in every connection: an
open one ends with the certificate. What a call is refused with is a code and a fixed word; whatever
else happens is INTERNAL without a word, for an exception's text can hold what is private.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc
from cryptography import x509
from grpc_health.v1 import health, health_pb2_grpc

from fedcode.errors import RunError

logger = logging.getLogger(__name__)

LARGEST = 4 << 20
"""Bytes of a message, either way."""

DEADLINE = 20.0
"""Seconds that a call may take, where the caller does not say."""

_HANDSHAKE_MS = 10_000
_IDLE_MS = 10 * 60_000
_AGE_MS = 60 * 60_000
_GRACE_MS = 60_000  # for calls under way when a connection has become too old
_PING_MS = 30_000
_CALLS, _THREADS = 128, 16

Permits = Callable[[x509.Certificate, str], bool]
"""Whether who holds a certificate may call a method, ``/package.Service/Method``; every call asks.

The handshake has shown already that the certificate is from whom the server trusts, and that the
caller has its key.
"""

Shown = tuple[bytes, bytes]
"""PEM of what a server shows, and of what it trusts."""

LOOK = 0.25
"""Seconds between two looks at what is to be shown and trusted."""

_GRACE = 60.0

Adds = Callable[[grpc.Server], object]
"""Registers a servicer: ``partial(add_EnrollmentServicer_to_server, servicer)``."""


class Refused(Exception):
    """A servicer refuses a call: all that the caller gets to know is the code and the word.

    Args:
        code: gRPC's.
        word: fixed, with nothing in it of what was asked or of what is here.
    """

    def __init__(self, code: grpc.StatusCode, word: str = "") -> None:
        super().__init__(word)
        self.code, self.word = code, word


class Serving:
    """A server that runs, and is replaced when what it trusts or shows is another.

    gRPC can ask for its certificates at every handshake, but replaces them without regard to
    handshakes under way, and then crashes now and again. So a second server takes over the port,
    and the first one ends when its calls have.

    Args:
        make: a server, not yet started, with such credentials at such a port, and its port.
        credentials: what is shown and trusted now.
        watched: whether that may change.

    Attributes:
        port: where it listens; the one that the system has chosen where 0 was asked for.
    """

    def __init__(
        self,
        make: Callable[[Shown, int | None], tuple[grpc.Server, int]],
        credentials: Callable[[], Shown],
        *,
        watched: bool,
    ) -> None:
        self._make, self._credentials = make, credentials
        self._shown = credentials()
        self._server, self.port = make(self._shown, None)
        self._server.start()
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._watching, name="credentials", daemon=True)
        if watched:
            self._watch.start()

    def stop(self, grace: float | None = None) -> None:
        """Takes no more calls, gives those under way ``grace`` seconds, and waits for the end."""
        self._ending.set()
        if self._watch.is_alive():
            self._watch.join()
        self._server.stop(grace).wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _watching(self) -> None:
        while not self._ending.wait(LOOK):
            try:
                self._refresh()
            except Exception as error:  # noqa: BLE001  the server that runs goes on
                logger.error("credentials: %s", type(error).__name__)  # noqa: TRY400

    def _refresh(self) -> None:
        now = self._credentials()
        if now == self._shown:
            return
        made, _ = self._make(now, self.port)
        made.start()
        self._server.stop(_GRACE)
        self._server, self._shown = made, now


def server(
    bind: str,
    *,
    servicers: Sequence[Adds],
    private_key: bytes,
    chain: bytes | Callable[[], bytes],
    trusted: bytes | Callable[[], bytes],
    permits: Permits,
    largest: int = LARGEST,
) -> Serving:
    """Starts a server, with gRPC's health service beside ``servicers``.

    Args:
        bind: ``HOST:PORT``; port 0 for any.
        servicers: what registers each of them.
        private_key: PEM.
        chain: PEM, the server's certificate first and the authority's last; a function is asked
            every :data:`LOOK` seconds, so that a new certificate needs no restart.
        trusted: PEM of those whose certificates are taken in a handshake; a function as well.
        permits: asked in every call.
        largest: bytes of a message, either way.

    Raises:
        RunError: it cannot listen there.
    """
    watched = callable(chain) or callable(trusted)
    host, _, _ = bind.rpartition(":")

    def shown() -> Shown:
        return (
            chain() if callable(chain) else chain,
            trusted() if callable(trusted) else trusted,
        )

    def make(now: Shown, port: int | None) -> tuple[grpc.Server, int]:
        credentials = grpc.ssl_server_credentials([(private_key, now[0])], now[1], True)
        made = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="service"),
            interceptors=[_Guard(permits)],
            options=_options(largest, shared=watched),
            maximum_concurrent_rpcs=_CALLS,
        )
        for add in servicers:
            add(made)
        health_pb2_grpc.add_HealthServicer_to_server(_Health(), made)
        try:
            where = bind if port is None else f"{host}:{port}"
            return made, made.add_secure_port(where, credentials)
        except RuntimeError as error:
            raise RunError(f"cannot listen at {bind}", "is another program there?") from error

    if watched:
        _check_free(bind)
    return Serving(make, shown, watched=watched)


def _check_free(bind: str) -> None:
    """That no other program listens there: with a port that can be shared, gRPC would not say so.

    Raises:
        RunError: one does.
    """
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host.strip("[]"), int(port)))
            tried.listen(1)
        except OSError as error:
            raise RunError(f"cannot listen at {bind}", "is another program there?") from error


def peer(context: Any) -> x509.Certificate:
    """The certificate of who calls.

    Raises:
        Refused: there is none.
    """
    shown = context.auth_context().get("x509_pem_cert", ())
    if len(shown) != 1:
        raise Refused(grpc.StatusCode.UNAUTHENTICATED, "no certificate")
    return x509.load_pem_x509_certificate(shown[0])


def channel(
    address: str,
    *,
    ca: bytes,
    key: bytes,
    certificate: bytes,
    server_name: str | None = None,
    idempotent: Sequence[str] = (),
    deadline: float = DEADLINE,
    largest: int = LARGEST,
) -> grpc.Channel:
    """A channel under mutual TLS; it connects when it is first called, and is to be closed.

    Args:
        address: ``HOST:PORT``.
        ca: PEM; the server's certificate must come from here, and name the host.
        key: PEM, ours.
        certificate: PEM, ours.
        server_name: what the server's certificate must name, if not the host of ``address``.
        idempotent: methods, ``package.Service/Method``, that are tried up to four times while the
            server cannot be reached, or hands its port over; others once.
        deadline: seconds of a call that names no timeout.
        largest: bytes of a message, either way.
    """
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", largest),
        ("grpc.keepalive_time_ms", 2 * _PING_MS),
        ("grpc.keepalive_timeout_ms", _PING_MS),
        ("grpc.service_config", _retrying(idempotent)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    made = grpc.secure_channel(address, credentials, options)
    return grpc.intercept_channel(made, _Deadlines(deadline))


def _options(largest: int, *, shared: bool) -> list[tuple[str, Any]]:
    return [
        ("grpc.so_reuseport", int(shared)),  # else a second server at one port is a mistake
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", largest),
        ("grpc.max_metadata_size", 16 << 10),
        ("grpc.max_concurrent_streams", 16),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.keepalive_time_ms", _PING_MS),
        ("grpc.keepalive_timeout_ms", _PING_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_MS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.max_connection_age_ms", _AGE_MS),
        ("grpc.max_connection_age_grace_ms", _GRACE_MS),
    ]


def _retrying(methods: Sequence[str]) -> str:
    """A service config: gRPC's own retries, with its own back-off, and for these methods only.

    CANCELLED is what a server says that ends (:class:`Serving`) of a call that it has just been
    sent; no servicer of ours says so.
    """
    if not methods:
        return "{}"
    pairs = [method.split("/") for method in methods]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.2s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    names = [{"service": service, "method": method} for service, method in pairs]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


class _Health(health.HealthServicer):
    """Answers when asked; nobody's watching keeps a thread."""

    def Watch(self, *_: object) -> NoReturn:
        raise Refused(grpc.StatusCode.UNIMPLEMENTED)


class _Guard(grpc.ServerInterceptor):
    """Asks for every call whether it may be, and keeps to itself what went wrong."""

    def __init__(self, permits: Permits) -> None:
        self._permits = permits

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        if handler.request_streaming and handler.response_streaming:
            raise TypeError("no service here streams both ways")
        make = grpc.unary_unary_rpc_method_handler
        behaviour = self._unary(handler.unary_unary, details.method)
        if handler.request_streaming:
            make = grpc.stream_unary_rpc_method_handler
            behaviour = self._unary(handler.stream_unary, details.method)
        if handler.response_streaming:
            make = grpc.unary_stream_rpc_method_handler
            behaviour = self._stream(handler.unary_stream, details.method)
        return make(behaviour, handler.request_deserializer, handler.response_serializer)

    def _unary(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
        def answer(request: Any, context: Any) -> Any:
            with self._checked(context, method):
                return behaviour(request, context)

        return answer

    def _stream(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Iterator[Any]]:
        def answers(request: Any, context: Any) -> Iterator[Any]:
            with self._checked(context, method):
                yield from behaviour(request, context)

        return answers

    def _check(self, context: Any, method: str) -> None:
        if not self._permits(peer(context), method):
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, "certificate not accepted")

    @contextmanager
    def _checked(self, context: Any, method: str) -> Iterator[None]:
        code, word = grpc.StatusCode.INTERNAL, ""
        try:
            self._check(context, method)
            yield
        except Refused as refused:
            code, word = refused.code, refused.word
        except Exception as error:  # noqa: BLE001 - whatever it is, it stays here
            logger.error("a call failed: %s", type(error).__name__)  # noqa: TRY400
        else:
            return
        context.abort(code, word)


class _Deadlines(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    """No call without an end."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def _ending(self, details: Any) -> Any:
        return details if details.timeout is not None else details._replace(timeout=self._seconds)

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._ending(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._ending(details), request)

    def intercept_stream_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._ending(details), request)
