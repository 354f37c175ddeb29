# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Of Flower's internals: an organization's end of the Fleet API."""

from __future__ import annotations

import ssl

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ObjectTree,
    PullObjectRequest,
)
from flwr.supercore.interceptors.http.utils import add_headers
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import (
    ProtobufCall,
    ProtobufClientInterceptor,
    ProtobufRequestContext,
)
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedcode.transport.internals.calls import ObjectCalls, bare


class _Version:
    """Says which Flower this is.

    Flower's own interceptor also ends the process with a text of the other side's, if that says so.
    """

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        own = RuntimeVersionMetadata.from_local_component("SuperNode")
        add_headers(context.request, dict(own.as_metadata()))
        return call_next(context)


class FleetCalls(ObjectCalls[FleetHttpClient]):
    """The calls of the Fleet API that an agent makes; an app bundle is never asked for.

    Args:
        address: ``host:port``.
        tls: with the organization's certificate, and the coordinator's authority alone.
        key: of Flower's node authentication.
        transport: over which to send.
        seconds: for a request.

    Attributes:
        node: which it calls as; 0 before :meth:`activate`.

    Each raises httpx.HTTPError, or ValueError for an answer that is none.
    """

    def __init__(
        self,
        address: str,
        tls: ssl.SSLContext,
        key: ec.EllipticCurvePrivateKey,
        transport: httpx.BaseTransport,
        seconds: float,
    ) -> None:
        self._public = public_key_to_bytes(key.public_key())
        interceptors: list[ProtobufClientInterceptor] = [
            _Version(),
            NodeAuthHttpInterceptor(key, key.public_key()),
        ]
        client = FleetHttpClient(
            f"https://{address}", interceptors=interceptors, verify=tls, timeout=seconds
        )
        super().__init__(client, transport, seconds)

    def activate(self, interval: float) -> None:
        """The node is online from now on; heartbeats follow each ``interval`` seconds."""
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=interval)
        self.node = int(self._client.ActivateNode(request).node_id)

    def deactivate(self) -> None:
        """The node is offline from now on."""
        self._client.DeactivateNode(DeactivateNodeRequest(node_id=self.node))

    def heartbeat(self, interval: float) -> bool:
        """Whether the coordinator knows the node."""
        request = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=interval)
        return bool(self._client.SendNodeHeartbeat(request).success)

    def next(self) -> tuple[Message, ObjectTree] | None:
        """The next message without its content, and the tree of its objects."""
        response = self._client.PullMessages(PullMessagesRequest(node=self._node))
        if not response.messages_list:
            return None
        return message_from_proto(response.messages_list[0]), response.message_object_trees[0]

    def object(self, run: int, identity: str) -> bytes | None:
        """An object's bytes; None if it is not there, or not yet."""
        request = PullObjectRequest(node=self._node, run_id=run, object_id=identity)
        response = self._client.PullObject(request)
        found = response.object_found and response.object_available
        return response.object_content if found else None

    def announce(self, message: Message, tree: ObjectTree) -> tuple[set[str], str]:
        """Sends a reply without its content.

        Returns:
            The objects that are wanted, and the session to send them in.
        """
        response = self._client.PushMessages(
            PushMessagesRequest(
                node=self._node,
                messages_list=[bare(message)],
                message_object_trees=[tree],
                clientapp_runtime_list=[0.0],  # how long training took is nobody's business
            )
        )
        return set(response.objects_to_push), response.session_id
