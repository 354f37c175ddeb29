# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's end of a SuperNode's Runtime API, against the SuperNode's own app and state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

import pytest
from flwr.app import Context, Message, RecordDict

from fedcode.errors import TransportError, TransportRefusal, WireError
from fedcode.transport.bundle import DIGEST, EMPTY
from fedcode.transport.flower import message_to, unpack
from fedcode.transport.front import Listener
from fedcode.transport.internals.common import Run, identify, inflated, objects_of, parts
from fedcode.transport.tasks import Tasks

SECRET = b"s" * 32
NODE, RUN = 7, 11


@dataclass
class SuperNode:
    """A SuperNode without the half that speaks to the coordinator."""

    def __post_init__(self) -> None:
        store = import_module("flwr.supercore.object_store").ObjectStoreFactory()
        states = import_module("flwr.supernode.nodestate").NodeStateFactory(store)
        self.state = states.state()
        self.state.set_node_id(NODE)
        app = import_module("flwr.supernode.main").create_app(states, SECRET)
        self.listener = Listener(app, "127.0.0.1", 0, None)
        self.listener.start()
        identify(RUN, 1)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.port}"

    def fetches(self, data: bytes, *, run: int = RUN, whole: bool = True) -> str:
        """Does with a message what a SuperNode does, up to its objects or to its end."""
        made = Run.create_empty(run_id=run)
        made.fab_hash, made.series_id = DIGEST, run
        context = Context(run, NODE, {}, RecordDict(), {}, run)
        self.state.set_run_series_context(run, context)
        self.state.store_run(made)
        self.state.store_fab(import_module("flwr.supercore.fab").Fab(DIGEST, EMPTY, {}))
        identify(run, 1)
        message = message_to(NODE, data)
        tree, contents = parts(message)
        self.state.create_task(task_type="flwr-clientapp", run_id=run, fab_hash=DIGEST)
        self.state.object_store.preregister(run, tree)
        self.state.store_message(
            import_module("flwr.app.message").remove_content_from_message(message)
        )
        for identity, content in contents.items() if whole else ():
            self.state.object_store.put(identity, content)
        return str(message.metadata.message_id)

    def replies(self) -> list[Message]:
        return list(self.state.get_messages_legacy(is_reply=True))


@pytest.fixture
def node() -> Iterator[SuperNode]:
    made = SuperNode()
    yield made
    made.listener.stop()


@pytest.fixture
def line(node: SuperNode) -> Iterator[Tasks]:
    made = Tasks(node.address, SECRET, largest=1 << 20)
    made.open()
    yield made
    made.close()


def test_a_task_is_taken_and_answered_once(node: SuperNode, line: Tasks) -> None:
    assert line.receive() is None
    asked = node.fetches(b"what is asked")
    arrived = line.receive()
    assert arrived is not None
    assert line.content(arrived) == b"what is asked"
    line.reply(arrived, b"what is answered")
    (reply,) = node.replies()
    assert reply.metadata.reply_to_message_id == asked
    tree = node.state.object_store.get_object_tree(reply.metadata.message_id)
    contents = {one: node.state.get_object(RUN, one) for one in objects_of(tree)}
    assert unpack(inflated(tree, contents, tree.object_id).content) == b"what is answered"
    assert line.receive() is None


def test_what_is_held_at_the_end_is_refused_so_that_nobody_waits(
    node: SuperNode, line: Tasks
) -> None:
    asked = node.fetches(b"what is asked")
    arrived = line.receive()
    assert arrived is not None
    line.close()
    (reply,) = node.replies()
    assert reply.metadata.reply_to_message_id == asked
    assert reply.error.reason == "refused"


def test_a_message_that_was_given_up_is_not_answered_and_the_next_one_is(
    node: SuperNode, line: Tasks
) -> None:
    """An answer to it would be sent as the next one's, and so on for ever."""
    node.fetches(b"given up", whole=False)
    arrived = line.receive()
    assert arrived is not None
    asked = node.fetches(b"the next one", run=RUN + 1)
    with pytest.raises(WireError, match="did not arrive whole"):
        line.content(arrived)
    assert node.replies() == []
    arrived = line.receive()
    assert arrived is not None
    assert line.content(arrived) == b"the next one"
    line.reply(arrived, b"ok")
    (reply,) = node.replies()
    assert reply.metadata.reply_to_message_id == asked


def test_a_message_whose_task_has_ended_is_not_answered(node: SuperNode, line: Tasks) -> None:
    asked = node.fetches(b"too much", whole=False)
    arrived = line.receive()
    assert arrived is not None
    (task,) = node.state.get_tasks()
    node.state.delete_messages(message_ids=[asked])
    node.state.object_store.delete(asked)
    node.state.finish_task(task.task_id, "failed", "")
    with pytest.raises(WireError, match="did not arrive whole"):
        line.content(arrived)
    assert node.replies() == []
    assert line.receive() is None


def test_a_supernode_with_another_secret_gives_no_tasks(node: SuperNode) -> None:
    line = Tasks(node.address, b"t" * 32, largest=1 << 20)
    with pytest.raises(TransportRefusal):
        line.open()
    line.close()


def test_a_supernode_that_has_gone_is_said_so(node: SuperNode, line: Tasks) -> None:
    node.listener.stop()
    with pytest.raises(TransportError, match="the SuperNode cannot be reached"):
        line.receive()
