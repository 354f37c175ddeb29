# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A Flower grid inside one process: the same apps, no network, no threads, no waiting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedcode.transport.grid import MessageGrid
from fedcode.transport.internals.common import SUPERLINK_NODE_ID, Run, identify, set_id

_FIRST_NODE = 1000


class Silent(Exception):
    """Raised by an app whose node is not to be heard of: it has gone, or cannot be reached."""


class InMemoryGrid(MessageGrid):
    """Delivers each message at once, in order, to the app of its node.

    What an app raises is raised here: a simulation must not hide its own mistakes. :class:`Silent`
    is none: there is no reply then.

    Args:
        apps: the members' apps by member name; nodes are numbered in this order.
    """

    def __init__(self, apps: Mapping[str, ClientApp]) -> None:
        self._run = Run.create_empty(run_id=1)
        self._apps = dict(
            zip(range(_FIRST_NODE, _FIRST_NODE + len(apps)), apps.values(), strict=True)
        )
        self._replies: dict[str, Message] = {}
        self._sent = 0
        self.nodes = dict(zip(apps, self._apps, strict=True))
        identify(1, SUPERLINK_NODE_ID)

    def set_run(self, run: Run) -> None:
        """Sets the run that messages belong to."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        """The nodes, in the members' order."""
        return list(self._apps)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Runs each message's app and keeps its reply."""
        return [self._deliver(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to ``message_ids``; each is handed out once."""
        return [self._replies.pop(i) for i in list(message_ids) if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Pushes and pulls; nothing can be late, so ``timeout`` never passes."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> str:
        self._sent += 1
        number = f"{self._sent}"
        set_id(message, number)
        node = message.metadata.dst_node_id
        context = Context(self._run.run_id, node, {}, RecordDict(), {})
        try:
            reply = self._apps[node](message, context)
        except Silent:
            return number
        set_id(reply, f"{number}r")
        self._replies[number] = reply
        return number
