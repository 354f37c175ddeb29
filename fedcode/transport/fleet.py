# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An organization's end of the network: what may come in, what may go out, and nothing else.

A message is a chain of three objects of Flower's, the last of which holds one of ours as bytes. All
else is refused before its content is fetched: other types, other records, more objects, more bytes.
"""

from __future__ import annotations

import contextlib
import logging
import math
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Error, Message, MessageType, RecordDict

from fedcode.errors import FedcodeError, TransportError, TransportRefusal, WireError
from fedcode.transport.flower import pack, unpack
from fedcode.transport.internals.common import (
    SUPERLINK_NODE_ID,
    ErrorCode,
    ObjectTree,
    inflated,
    objects_of,
    parts,
)
from fedcode.transport.internals.fleet import FleetCalls

logging.getLogger("httpx").setLevel(logging.WARNING)

INTERVAL = 10.0
"""Seconds between heartbeats: after two without one a node counts as offline."""

_SECONDS = 30.0
_WHOLE = 600.0
"""For a whole answer, while each of its pieces comes in time."""

_SHORT = 64
_FRAME = 1 << 16
"""What Flower puts around our bytes, at most."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that was announced, and is one that may be answered.

    Attributes:
        message: without content.
        tree: of its objects.
    """

    message: Message = field(repr=False)
    tree: ObjectTree = field(repr=False)

    @property
    def run(self) -> int:
        """The SuperLink's run that it belongs to."""
        return int(self.message.metadata.run_id)


class Fleet:
    """One node of a federation.

    Args:
        address: ``host:port`` of the coordinator's listener.
        tls: with the organization's certificate, and the coordinator's authority alone.
        key: of Flower's node authentication.
        largest: bytes that a message of ours may have, either way.
        before: the node's identity when it was last online, if it was: an earlier process of ours
            may not have gone offline.

    Attributes:
        node: its identity; 0 before :meth:`open`.
    """

    def __init__(
        self,
        address: str,
        tls: ssl.SSLContext,
        key: ec.EllipticCurvePrivateKey,
        *,
        largest: int,
        before: int = 0,
    ) -> None:
        self._largest = largest
        transport = _Bounded(tls, largest + _FRAME)
        self._calls = FleetCalls(address, tls, key, transport, _SECONDS)
        self._beating = threading.Event()
        self.node = before

    def open(self) -> None:
        """Comes online; heartbeats go on in the background until :meth:`close`.

        Raises:
            TransportError: the coordinator cannot be reached now.
            TransportRefusal: it does not let us in.
        """
        if self.node:
            with contextlib.suppress(TransportRefusal), _translated():  # it was offline
                self._calls.deactivate(self.node)
        with _translated():
            self.node = self._calls.activate(INTERVAL)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def close(self) -> None:
        """Goes offline, if the coordinator can be told."""
        self._beating.set()
        if self.node:
            with contextlib.suppress(TransportError, TransportRefusal), _translated():
                self._calls.deactivate(self.node)
        self._calls.close()

    def receive(self) -> Arrived | None:
        """What waits for an answer, if anything.

        Raises:
            WireError: something that is never answered; it is dropped, and its sender told so.
            TransportError: the coordinator cannot be reached now.
            TransportRefusal: it does not let us in.
        """
        with _translated():
            found = self._calls.next(self.node)
        if found is None:
            return None
        arrived = Arrived(*found)
        try:
            _check(arrived, self.node)
        except WireError:
            self._refuse(arrived)
            raise
        return arrived

    def content(self, arrived: Arrived) -> bytes:
        """The bytes of ours that a message brings.

        Raises:
            WireError: it brings something else, or too much.
            TransportError: as :meth:`receive`.
            TransportRefusal: as :meth:`receive`.
        """
        contents: dict[str, bytes] = {}
        left = self._largest + _FRAME
        with _translated():
            for identity in objects_of(arrived.tree):
                found = self._calls.object(self.node, arrived.run, identity)
                if found is None:
                    raise TransportError("an object of a message is not there")
                left -= len(found)
                if left < 0:
                    self._refuse(arrived)
                    raise WireError("a message of more bytes than any")
                contents[identity] = found
            identity = arrived.message.metadata.message_id
            try:
                message = inflated(arrived.tree, contents, identity)
                data = unpack(message.content)
            except WireError:
                self._refuse(arrived)
                raise
            except Exception as error:
                self._refuse(arrived)
                raise WireError("a message that Flower cannot read") from error
            self._calls.confirm(self.node, arrived.run, identity)
        return data

    def reply(self, arrived: Arrived, data: bytes) -> None:
        """Sends the answer; once more where a connection breaks, until it is there.

        Raises:
            WireError: it has more bytes than any answer.
            TransportError: as :meth:`receive`; the answer can be sent again.
            TransportRefusal: nobody waits for it any more.
        """
        if len(data) > self._largest:
            raise WireError("an answer of more bytes than any")
        self._send(arrived, pack(data))

    def _send(self, arrived: Arrived, answer: RecordDict | Error) -> None:
        run = arrived.run
        with _translated():
            message = Message(answer, reply_to=arrived.message)
            tree, contents = parts(message)
            wanted, session = self._calls.announce(self.node, message, tree)
            for identity in objects_of(tree):
                if identity in wanted and not self._calls.put(
                    self.node, run, session, identity, contents[identity]
                ):
                    raise TransportError("an object of an answer was not stored")

    def _refuse(self, arrived: Arrived) -> None:
        """Tells whoever sent it that there is no answer, by a code."""
        error = Error(ErrorCode.UNKNOWN, "refused")
        with contextlib.suppress(TransportError, TransportRefusal):
            self._send(arrived, error)

    def _beat(self) -> None:
        while not self._beating.wait(INTERVAL * 0.8):
            try:
                with _translated():
                    self._calls.heartbeat(self.node, INTERVAL)
            except (TransportError, TransportRefusal):
                continue


def _check(arrived: Arrived, node: int) -> None:
    """Refuses what is not a request of ours to us, by what is announced of it."""
    metadata, below = arrived.message.metadata, arrived.tree
    if (metadata.src_node_id, metadata.dst_node_id) != (SUPERLINK_NODE_ID, node):
        raise WireError("a message that is not from the coordinator to us")
    if metadata.reply_to_message_id or len(metadata.group_id) > _SHORT:
        raise WireError("a message that is no request")
    if not all(0 <= value < math.inf for value in (metadata.created_at, metadata.ttl)):
        raise WireError("a message whose times are none")
    if metadata.message_type != MessageType.TRAIN or arrived.message.has_error():
        raise WireError("a message of a type that is never answered")
    for _ in range(2):
        if len(below.children) != 1:
            raise WireError("a message of other objects than ours")
        below = below.children[0]
    if below.children or metadata.message_id != arrived.tree.object_id:
        raise WireError("a message of other objects than ours")


class _translated:  # noqa: N801  a context manager, used like a function
    """What httpx and Flower raise, as two errors: try again, or do not."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, httpx.HTTPStatusError):
            status = error.response.status_code
            if status in (408, 429) or status >= 500:
                raise TransportError(f"the coordinator answers {status}") from error
            raise TransportRefusal(f"the coordinator answers {status}") from error
        if isinstance(error, (httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError)):
            raise TransportError("the coordinator cannot be reached") from error
        if isinstance(error, Exception) and not isinstance(error, FedcodeError):
            raise TransportError("the coordinator answers what is no answer") from error


class _Bounded(httpx.HTTPTransport):
    """Takes no more bytes of an answer than it may have, and none that are packed.

    Args:
        tls: of the connection.
        most: bytes of an answer.
    """

    def __init__(self, tls: ssl.SSLContext, most: int) -> None:
        super().__init__(verify=tls, retries=0)
        self._most = most

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See the class."""
        response = super().handle_request(request)
        length = response.headers.get("content-length", "0")
        packed = response.headers.get("content-encoding", "identity") != "identity"
        if packed or not length.isdecimal() or int(length) > self._most:
            response.close()
            raise httpx.ReadError("an answer of another form or size than any", request=request)
        response.headers.pop("set-cookie", None)  # or it could have us say something again
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Counted(response.stream, self._most)
        return response


class _Counted(httpx.SyncByteStream):
    """A stream that ends with an error when it grows too long, or takes too long."""

    def __init__(self, stream: httpx.SyncByteStream, most: int) -> None:
        self._stream, self._left = stream, most
        self._end = time.monotonic() + _WHOLE

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise httpx.ReadError("an answer of more bytes than any")
            if time.monotonic() > self._end:
                raise httpx.ReadTimeout("an answer that does not end")
            yield piece

    def close(self) -> None:
        """Closes the stream."""
        self._stream.close()
