# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""fedcode's bytes inside Flower's messages, and a member as a Flower app."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp

from fedcode.errors import WireError

_RECORD, _FIELD = "fedcode", "message"

PLACE = "partition-id"
"""Flower's name, in a node's configuration, for its number in a simulation."""

Answer = Callable[[bytes], bytes]
"""A member's half: bytes of a request in, bytes of an answer out."""


def pack(data: bytes) -> RecordDict:
    """One message of ours as the only content of a Flower message."""
    return RecordDict({_RECORD: ConfigRecord({_FIELD: data})})


def unpack(content: RecordDict) -> bytes:
    """The bytes that :func:`pack` put in; anything else in the content is refused."""
    if list(content) != [_RECORD]:
        raise WireError("a Flower message with other records than ours")
    record = content[_RECORD]
    data = record.get(_FIELD) if isinstance(record, ConfigRecord) else None
    if not isinstance(data, bytes) or len(record) != 1:
        raise WireError("a Flower message with other fields than ours")
    return data


def member_app(answer: Answer) -> ClientApp:
    """A Flower app that passes requests to ``answer`` and its bytes back, and does nothing else."""
    app = ClientApp()

    @app.train()
    def train(message: Message, _context: Context) -> Message:
        return Message(pack(answer(unpack(message.content))), reply_to=message)

    return app


def members_app(answer: Callable[[int, bytes], bytes]) -> ClientApp:
    """The same for all nodes of a simulation; ``answer`` is told the node's place, too."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        place = int(context.node_config[PLACE])
        return Message(pack(answer(place, unpack(message.content))), reply_to=message)

    return app


def message_to(node: int, data: bytes) -> Message:
    """A Flower message that carries bytes of ours to ``node``."""
    return Message(pack(data), node, MessageType.TRAIN)


def messages_to(requests: Mapping[int, bytes]) -> list[Message]:
    """The same for several nodes; bytes that go to many are packed once."""
    packed = {id(data): data for data in requests.values()}
    records = {identity: pack(data) for identity, data in packed.items()}
    return [Message(records[id(data)], node, MessageType.TRAIN) for node, data in requests.items()]
