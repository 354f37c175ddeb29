# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An organization's end of a line to the coordinator: what may come in, and what may go out.

A message is a chain of three objects of Flower's, the last of which holds one of ours as bytes. All
else is refused before its content is fetched: other types, other records, more objects, more bytes.
Over which of Flower's APIs the objects come and go is the calls' business.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Error, Message, MessageType

from fedcode.errors import TransportError, TransportRefusal, WireError
from fedcode.transport.bounded import translated
from fedcode.transport.flower import pack, unpack
from fedcode.transport.internals.common import (
    SUPERLINK_NODE_ID,
    ErrorCode,
    ObjectTree,
    inflated,
    objects_of,
    parts,
)

FRAME = 1 << 16
"""What Flower puts around our bytes, at most."""

_SHORT = 64


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


class Calls(Protocol):
    """How a message's objects are fetched, and an answer's sent.

    Each raises httpx.HTTPError, or ValueError for an answer that is none.
    """

    def next(self) -> tuple[Message, ObjectTree] | None:
        """The next message without its content, and the tree of its objects."""

    def object(self, run: int, identity: str) -> bytes | None:
        """An object's bytes; None if it is not there, or not yet."""

    def confirm(self, run: int, identity: str) -> None:
        """Says that a message is there whole."""

    def announce(self, message: Message, tree: ObjectTree) -> tuple[set[str], str]:
        """Sends a reply without its content.

        Returns:
            The objects that are wanted, and the session to send them in.
        """

    def put(self, run: int, session: str, identity: str, content: bytes) -> bool:
        """Sends one object; whether it was stored."""


class Line:
    """Takes requests, one after the other, and sends answers.

    Args:
        calls: of Flower's API.
        whom: is called, for a person who reads that it cannot be reached.
        largest: bytes that a message of ours may have, either way.
    """

    def __init__(self, calls: Calls, whom: str, largest: int) -> None:
        self._calls, self._whom, self._largest = calls, whom, largest
        self._replied: tuple[Arrived, bytes, Message] | None = None

    @property
    def node(self) -> int | None:
        """Whom requests must be for; None where whoever passes them on has looked."""
        return None

    def open(self) -> None:
        """Requests may come from now on.

        Raises:
            TransportError: the other end cannot be reached now.
            TransportRefusal: it does not let us in.
        """

    def close(self) -> None:
        """No more requests are taken."""

    def receive(self) -> Arrived | None:
        """What waits for an answer, if anything.

        Raises:
            WireError: something that is never answered; it is dropped, and its sender told so.
            TransportError: the other end cannot be reached now.
            TransportRefusal: it does not let us in.
        """
        with translated(self._whom):
            found = self._calls.next()
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
        with translated(self._whom):
            contents = self._fetch(arrived)
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
            self._calls.confirm(arrived.run, identity)
        return data

    def reply(self, arrived: Arrived, data: bytes) -> None:
        """Sends the answer; where a connection breaks, the same again is what was missing of it.

        Raises:
            WireError: it has more bytes than any answer.
            TransportError: as :meth:`receive`; the answer can be sent again.
            TransportRefusal: nobody waits for it any more.
        """
        if len(data) > self._largest:
            raise WireError("an answer of more bytes than any")
        self._send(arrived, self._replying(arrived, data))
        self._replied = None

    def _replying(self, arrived: Arrived, data: bytes) -> Message:
        """One message however often it is sent: the SuperLink takes no second one for a request."""
        before = self._replied
        if before is not None and before[0] is arrived and before[1] == data:
            return before[2]
        with translated(self._whom):
            made = Message(pack(data), reply_to=arrived.message)
        self._replied = arrived, data, made
        return made

    def _fetch(self, arrived: Arrived) -> dict[str, bytes]:
        """The bytes of all objects of a message."""
        contents: dict[str, bytes] = {}
        left = self._largest + FRAME
        for identity in objects_of(arrived.tree):
            found = self._calls.object(arrived.run, identity)
            if found is None:
                raise TransportError("an object of a message is not there")
            left -= len(found)
            if left < 0:
                self._refuse(arrived)
                raise WireError("a message of more bytes than any")
            contents[identity] = found
        return contents

    def _send(self, arrived: Arrived, message: Message) -> None:
        tree, contents = parts(message)
        with translated(self._whom):
            wanted, session = self._calls.announce(message, tree)
            for identity in objects_of(tree):
                if identity in wanted and not self._calls.put(
                    arrived.run, session, identity, contents[identity]
                ):
                    raise TransportError("an object of an answer was not stored")

    def _refuse(self, arrived: Arrived) -> None:
        """Tells whoever sent it that there is no answer, by a code."""
        error = Error(ErrorCode.UNKNOWN, "refused")
        with contextlib.suppress(TransportError, TransportRefusal):
            with translated(self._whom):
                refusal = Message(error, reply_to=arrived.message)
            self._send(arrived, refusal)


def _check(arrived: Arrived, node: int | None) -> None:
    """Refuses what is not a request of ours to us, by what is announced of it."""
    metadata, below = arrived.message.metadata, arrived.tree
    to = metadata.dst_node_id if node is None else node
    if (metadata.src_node_id, metadata.dst_node_id) != (SUPERLINK_NODE_ID, to):
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
