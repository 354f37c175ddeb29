# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Of Flower's internals: the tasks of a SuperNode, by its Runtime API; and what it is sent."""

from __future__ import annotations

import time

import httpx
from flwr.app import Message
from flwr.common.constant import SubStatus
from flwr.common.serde import message_from_proto
from flwr.proto.fab_pb2 import GetFabResponse
from flwr.proto.message_pb2 import (
    ObjectTree,
    PullObjectRequest,
)
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.runtime import RuntimeHttpClient

from fedcode.transport.internals.calls import ObjectCalls, bare

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"

_POLL = 0.05
_SOON = 30.0
"""Seconds in which a task's message is there."""


class TaskCalls(ObjectCalls[RuntimeHttpClient]):
    """The calls of the Runtime API that a worker makes, of one task at a time.

    Args:
        address: ``host:port`` of the SuperNode.
        secret: that the SuperNode shares with its workers.
        transport: over which to send.
        seconds: for a request.

    Attributes:
        bundle: the app bundle that came with the task; nobody opens it.

    Each raises httpx.HTTPError, or ValueError for an answer that is none.
    """

    def __init__(
        self, address: str, secret: bytes, transport: httpx.BaseTransport, seconds: float
    ) -> None:
        self.bundle = b""
        self._token, self._following = "", ""
        client = RuntimeHttpClient(
            f"http://{address}",
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"),
                SuperExecAuthHttpInterceptor(
                    master_secret=secret, protected_methods=frozenset({ACQUIRE})
                ),
                self,
            ],
            timeout=seconds,
        )
        super().__init__(client, transport, seconds)

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Shows the task's token, where there is a task."""
        if not self._token or context.rpc_method == ACQUIRE:
            return call_next(context)
        return RuntimeTokenHttpInterceptor(self._token).intercept(context, call_next)

    def greet(self) -> None:
        """Asks for no task: whether the SuperNode is there, and takes the secret."""
        self._client.AcquireTask(AcquireTaskRequest())

    def heartbeat(self) -> None:
        """Says that the task is worked on; each half minute at least."""
        if self._token:
            self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())

    def next(self) -> tuple[Message, ObjectTree] | None:
        """Takes a task: its message without content, and the tree of its objects."""
        token, self._following = self._following or self._acquire(), ""
        if not token:
            return None
        self._token = token
        given = self._client.PullTaskInput(PullTaskInputRequest())
        self.node, self.bundle = given.context.node_id, given.fab.content
        end = time.monotonic() + _SOON
        while time.monotonic() < end:  # a task is there before its message
            response = self._client.PullMessages(PullAppMessagesRequest())
            if response.messages_list:
                message = message_from_proto(response.messages_list[0])
                return message, response.message_object_trees[0]
            time.sleep(_POLL)
        raise ValueError("a task without a message")

    def object(self, run: int, identity: str) -> bytes | None:
        """An object's bytes, when the SuperNode has it; None if it is not to come.

        A SuperNode works on one message at a time. Where another task is there, it has given this
        one's message up, and waits for no answer.
        """
        request = PullObjectRequest(node=self._node, run_id=run, object_id=identity)
        while not self._following:
            response = self._client.PullObject(request)
            if not response.object_found:
                return None
            if response.object_available:
                return response.object_content
            time.sleep(_POLL)
            self._following = self._acquire()
        return None

    def announce(self, message: Message, tree: ObjectTree) -> tuple[set[str], str]:
        """Sends a reply without its content.

        Returns:
            The objects that are wanted, and the session to send them in.
        """
        response = self._client.PushMessages(
            PushAppMessagesRequest(messages_list=[bare(message)], message_object_trees=[tree])
        )
        return set(response.objects_to_push), response.session_id

    def done(self, *, answered: bool) -> None:
        """Ends the task: its answer is with the SuperNode, or none is waited for."""
        status = SubStatus.COMPLETED if answered else SubStatus.FAILED
        try:
            self._client.PushTaskOutput(PushTaskOutputRequest(sub_status=status))
        finally:
            self._token, self.bundle = "", b""

    def _acquire(self) -> str:
        """The token of a task that nobody has taken yet; empty where there is none."""
        request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        return str(self._client.AcquireTask(request).token)


def bundle_in(body: bytes) -> bytes:
    """The app bundle in the answer to a SuperNode that asked for one.

    Raises:
        ValueError: it is no answer.
    """
    try:
        return bytes(GetFabResponse.FromString(body).fab.content)
    except Exception as error:
        raise ValueError("no answer of Flower's") from error
