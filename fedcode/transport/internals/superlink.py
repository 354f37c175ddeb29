# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Of Flower's internals: the SuperLink's state, and its Fleet API alone as an ASGI app."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
from flwr.supercore.constant import (
    FLEET_HTTP_PUBLIC_KEY_HEADER,
    NOOP_FEDERATION_ID,
    TaskType,
)
from flwr.supercore.constant import NodeStatus as _NodeStatus
from flwr.supercore.error import http_error_translator
from flwr.supercore.fab import Fab
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
from flwr.supercore.state.schema.linkstate_models import MessageRes
from flwr.superlink.config_loader import get_objectstore_linkstate_factories
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
from flwr.superlink.routers.fleet.router import router
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from fedcode.transport.bundle import DIGEST, EMPTY, NAME, VERSION
from fedcode.transport.internals.common import ObjectTree, objects_of
from fedcode.transport.internals.guard import Guard

ONLINE = _NodeStatus.ONLINE

Unwritable = OperationalError
"""Flower's state cannot be read or written now."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """What the SuperLink knows of a node.

    Attributes:
        online: whether heartbeats arrive.
        activated: when it last came online; changes with each start.
    """

    online: bool
    activated: str


class LinkStore:
    """Nodes, messages and their objects, in one SQLite file.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        manager = NoOpFederationManager(simulation=False)
        _, self._factory = get_objectstore_linkstate_factories(str(path), manager)
        self._state = cast("SqlLinkState", self._factory.state())

    def fleet_app(self) -> FastAPI:
        """The Fleet API with node authentication; Control and Runtime are not in it.

        A node reaches its own messages alone, see :mod:`fedcode.transport.internals.guard`.
        """
        app = FastAPI(
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            middleware=[
                Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
                Middleware(ProtobufTranslationMiddleware),
                Middleware(NodeAuthMiddleware),
                Middleware(Guard, state=self._state),
            ],
        )
        app.state.linkstate_factory = self._factory
        app.state.enable_supernode_auth = True
        app.include_router(router)
        return app

    # Nodes.

    def node(self, public_key: bytes, name: str) -> int:
        """The node of a public key, PEM, made where there is none."""
        known = self._state.get_node_id_by_public_key(public_key)
        if known is not None:
            return known
        return self._state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, public_key, 0, name=name)

    def seen(self, nodes: list[int]) -> dict[int, NodeSeen]:
        """What is known of ``nodes``, of each that is registered."""
        found = self._state.get_node_info(node_ids=nodes)
        return {
            one.node_id: NodeSeen(one.status == ONLINE, str(one.last_activated_at))
            for one in found
            if one.status != _NodeStatus.UNREGISTERED
        }

    # Runs.

    def begin(self) -> tuple[int, int]:
        """A new run after the end of all others, and the task that keeps it running.

        It names the bundle without app, which a stock SuperNode asks for.
        """
        for old in self._state.get_run_info():
            self._state.stop_run(old.run_id)
        self._state.store_fab(Fab(DIGEST, EMPTY, {}))
        run = self._state.create_run(
            NAME, VERSION, DIGEST, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        (made,) = self._state.get_run_info(run_ids=[run])
        task = made.primary_task_id
        if task is None or not (self._state.claim_task(task) and self._state.activate_task(task)):
            raise RuntimeError("the SuperLink's run does not start")
        return run, task

    def keep(self, task: int) -> bool:
        """Keeps a run running; every half minute at least."""
        return self._state.acknowledge_task_heartbeat(task)

    def end(self, run: int) -> None:
        """Ends a run, with its messages and objects."""
        self._state.stop_run(run)

    # Messages.

    def put(self, run: int, message: Message, tree: ObjectTree, contents: dict[str, bytes]) -> bool:
        """Stores a message to a node, with its objects; whether the node is one."""
        session = self._state.start_session(run)
        stored, missing = self._state.store_message_and_object_tree(
            remove_content_from_message(message), tree, session
        )
        for identity in missing:
            self._state.store_object(run, session, identity, contents[identity])
        return stored

    def replies(self, run: int, messages: set[str]) -> list[Message]:
        """The replies that are there, without their objects; each is handed out once."""
        return self._state.get_message_res(set(messages), run)

    def taken(self, identity: str) -> bool:
        """Whether the node has confirmed that it has a message whole."""
        return identity not in self._state.object_store

    def contents(self, identity: str) -> tuple[ObjectTree, dict[str, bytes]] | None:
        """A reply's objects, when all of them are there."""
        store = self._state.object_store
        try:
            tree = store.get_object_tree(identity)
        except NoObjectInStoreError:  # not all came in time, and Flower has dropped them
            return None
        found = {one: store.get(one) for one in objects_of(tree)}
        if not all(found.values()):
            return None
        return tree, {one: content for one, content in found.items() if content}

    def drop(self, messages: set[str], replies: set[str]) -> None:
        """Forgets messages, their replies, and the objects of both: also of half a reply."""
        own = select(MessageRes.message_id).where(MessageRes.reply_to_message_id.in_(messages))
        with self._state.session() as session:
            replies = replies | set(session.scalars(own))
        self._state.delete_messages(set(messages))
        for identity in (*messages, *replies):
            self._state.object_store.delete(identity)


def claimed_key(headers: dict[bytes, bytes]) -> bytes:
    """The public key, PEM, of the node that a Fleet request says it is from; empty if none."""
    try:
        text = headers.get(FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode(), b"")
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
