# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Of Flower's internals: what an agent's calls have in common, of whichever of Flower's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import httpx
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PushObjectRequest
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.node_pb2 import Node

if TYPE_CHECKING:
    from flwr.supercore.runtime import RuntimeHttpClient
    from flwr.supernode.fleet_http_client import FleetHttpClient

Client = TypeVar("Client", "FleetHttpClient", "RuntimeHttpClient")


class ObjectCalls(Generic[Client]):
    """The calls that are the same in the Fleet and in the Runtime API.

    Args:
        client: Flower's.
        transport: over which it is to send.
        seconds: for a request.

    Attributes:
        node: which it calls as; 0 as long as that is not known.

    Each call raises httpx.HTTPError, or ValueError for an answer that is none.
    """

    def __init__(self, client: Client, transport: httpx.BaseTransport, seconds: float) -> None:
        self.node = 0
        self._client: Client = client
        self._client._client.close()  # noqa: SLF001  Flower takes no transport
        self._client._client = httpx.Client(  # noqa: SLF001
            transport=transport,
            timeout=seconds,
            follow_redirects=False,
            trust_env=False,
            headers={"accept-encoding": "identity"},
        )

    def close(self) -> None:
        """Ends all connections."""
        self._client.close()

    def confirm(self, run: int, identity: str) -> None:
        """Says that a message is there whole: its objects are not needed any more."""
        request = ConfirmMessageReceivedRequest(
            node=self._node, run_id=run, message_object_id=identity
        )
        self._client.ConfirmMessageReceived(request)

    def put(self, run: int, session: str, identity: str, content: bytes) -> bool:
        """Sends one object; whether it was stored."""
        request = PushObjectRequest(
            node=self._node,
            run_id=run,
            object_id=identity,
            object_content=content,
            session_id=session,
        )
        return bool(self._client.PushObject(request).stored)

    @property
    def _node(self) -> Node:
        return Node(node_id=self.node)


def bare(message: Message) -> ProtoMessage:
    """A message as it is announced: without its content."""
    without = remove_content_from_message(message) if message.has_content() else message
    return message_to_proto(without)
