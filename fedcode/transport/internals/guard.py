# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Of Flower's internals: what a node may ask of the Fleet API, once Flower knows that it is itself.

Flower checks that a request is from the node it names, and then lets that node fetch and delete the
objects of all others, answer in their place, and send messages as the SuperLink. Here a node comes
near its own messages alone, and an answer has the form of one.
"""

from __future__ import annotations

import math

from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PushMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
from flwr.supercore.state.schema.linkstate_models import MessageIns
from flwr.supercore.state.schema.objectstore_models import ObjectChild
from flwr.supercore.utils import uint64_to_int64
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

LEVELS = 3
"""Of a message's tree of objects: the message, its records, the one record that is ours."""

_BEAT = 60.0
"""Seconds between heartbeats, at most: for twice as long a node counts as online."""


class Guard(BaseHTTPMiddleware):
    """Stands behind Flower's node authentication.

    Args:
        app: the routes.
        state: the SuperLink's.
    """

    def __init__(self, app: ASGIApp, state: SqlLinkState) -> None:
        super().__init__(app)
        self._state = state

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Passes on what may be, and refuses the rest without a word."""
        asked = getattr(request.state, "protobuf_request", None)
        if await run_in_threadpool(self._permitted, asked):
            return await call_next(request)
        return JSONResponse({}, 403)

    def _permitted(self, asked: object) -> bool:
        match asked:
            case None:
                return False
            case ActivateNodeRequest() | SendNodeHeartbeatRequest():
                return bool(asked.heartbeat_interval <= _BEAT)
            case PushMessagesRequest():
                return is_answer(asked)
            case PushObjectRequest():
                return bool(asked.session_id)  # without, Flower takes any node's
            case PullObjectRequest():
                return self._is_to(asked.node.node_id, self._above(asked.object_id))
            case ConfirmMessageReceivedRequest():
                return self._is_to(asked.node.node_id, {asked.message_object_id})
        return True

    def _above(self, identity: str) -> set[str]:
        """An object and those that it is a part of."""
        found, level = {identity}, {identity}
        with self._state.session() as session:
            for _ in range(LEVELS - 1):
                parents = select(ObjectChild.parent_id).where(ObjectChild.child_id.in_(level))
                level = set(session.scalars(parents))
                found |= level
        return found

    def _is_to(self, node: int, messages: set[str]) -> bool:
        """Whether one of ``messages`` was sent to ``node``."""
        sent = select(MessageIns.message_id).where(
            MessageIns.message_id.in_(messages), MessageIns.dst_node_id == uint64_to_int64(node)
        )
        with self._state.session() as session:
            return session.scalars(sent).first() is not None


def is_answer(asked: PushMessagesRequest) -> bool:
    """Whether this announces one answer of the node that sends it, and nothing else.

    That it answers a message which went to the node is checked where it is stored.
    """
    if len(asked.messages_list) != 1 or len(asked.message_object_trees) != 1:
        return False
    (message,), (tree,) = asked.messages_list, asked.message_object_trees
    told = message.metadata
    return (
        told.src_node_id == asked.node.node_id
        and told.dst_node_id == SUPERLINK_NODE_ID
        and bool(told.reply_to_message_id)
        and told.message_id == tree.object_id
        and not message.content.ByteSize()
        and all(0 <= value < math.inf for value in (told.created_at, told.ttl))
        and all(0 <= value < math.inf for value in asked.clientapp_runtime_list)
        and is_chain(tree)
    )


def is_chain(tree: ObjectTree) -> bool:
    """Whether no object has more than one part, and there are no more than there may be."""
    for _ in range(LEVELS):
        if not tree.children:
            return True
        if len(tree.children) > 1:
            return False
        tree = tree.children[0]
    return False
