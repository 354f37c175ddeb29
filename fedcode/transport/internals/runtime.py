# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Flower's own simulation runtime: a grid whose nodes' apps run in processes of Ray."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flwr.app import Message
from flwr.clientapp import ClientApp
from flwr.common.constant import (
    HEARTBEAT_INTERVAL_INF,
    NOOP_ACCOUNT_NAME,
    NOOP_FLWR_AID,
)
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.fleet.vce.metrics import VceMetrics
from flwr.server.superlink.fleet.vce.vce_api import start_vce
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkState, LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid

from fedcode.transport.internals.common import SUPERLINK_NODE_ID, Run, identify

_RUN, _TASK = 1, 1
_PULL_SECONDS = 0.01


class RuntimeStopped(Exception):
    """Flower's runtime has ended, or an app has failed, while an answer was waited for."""


class RuntimeGrid(InMemoryGrid):
    """Flower's grid over the runtime's state; what fails there ends the wait, and is raised.

    Args:
        factory: of the state that the runtime works on.
        running: the runtime's thread.
    """

    def __init__(self, factory: LinkStateFactory, running: threading.Thread) -> None:
        super().__init__(factory, _PULL_SECONDS)
        self._running = running

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """The replies to all messages.

        Raises:
            RuntimeStopped: there will be none to one of them.
        """
        del timeout  # nothing of a simulation is late
        waiting, found = set(self.push_messages(messages)), []
        while waiting:
            alive = self._running.is_alive()
            replies = list(self.pull_messages(waiting))
            if any(reply.has_error() for reply in replies):
                raise RuntimeStopped("an app failed")
            found += replies
            waiting -= {reply.metadata.reply_to_message_id for reply in replies}
            if not alive and not replies:
                raise RuntimeStopped("the runtime has ended")
            if not replies:
                time.sleep(_PULL_SECONDS)
        return found


@contextmanager
def running(app: ClientApp, nodes: int, cores: int) -> Iterator[tuple[RuntimeGrid, list[int]]]:
    """Flower's runtime while the block runs, on the Ray that this process has joined.

    It leaves Ray at the end.

    Args:
        app: of all nodes; it tells them apart by :data:`~fedcode.transport.flower.PLACE`.
        nodes: how many.
        cores: that Ray reserves for one app.

    Yields:
        The grid, and its nodes by their places.
    """
    factory = LinkStateFactory(
        FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory()
    )
    run, state, stop = _registered(factory), factory.state(), threading.Event()
    places = {_node(state, place): place for place in range(nodes)}
    resources = {"client_resources": {"num_cpus": cores, "num_gpus": 0.0}}
    thread = threading.Thread(
        target=_serve,
        kwargs={
            "backend_name": "ray",
            "backend_config_json_stream": json.dumps(resources),
            "app_dir": "",
            "is_app": False,
            "f_stop": stop,
            "run": run,
            "metrics": VceMetrics(),
            "client_app": app,
            "state_factory": factory,
            "existing_nodes_mapping": places,
        },
    )
    grid = RuntimeGrid(factory, thread)
    grid.set_run(run)
    thread.start()
    try:
        yield grid, list(places)
    finally:
        stop.set()
        thread.join()


def _serve(**arguments: object) -> None:
    """What ends the runtime ends the thread; whoever waits for an answer sees that."""
    try:
        start_vce(**arguments)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001  whatever it is, it was not to end
        return


def _registered(factory: LinkStateFactory) -> Run:
    """A run as Flower's simulation registers its own."""
    run = Run.create_empty(run_id=_RUN)
    run.primary_task_id, run.federation_id = _TASK, NOOP_FEDERATION_ID
    identify(_RUN, SUPERLINK_NODE_ID)
    state = factory.state()
    if not isinstance(state, InMemoryLinkState):
        raise TypeError("Flower's state is not in memory")
    state.run_ids[_RUN] = RunRecord(run=run)
    state.task_store[_TASK] = Task(task_id=_TASK, run_id=_RUN)
    return run


def _node(state: LinkState, place: int) -> int:
    """A new node, which is never missing."""
    node = state.create_node(
        NOOP_FLWR_AID,
        NOOP_ACCOUNT_NAME,
        place.to_bytes(32, "big"),
        heartbeat_interval=HEARTBEAT_INTERVAL_INF,
    )
    state.acknowledge_node_heartbeat(node_id=node, heartbeat_interval=HEARTBEAT_INTERVAL_INF)
    return node
