# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's end of the network: Flower's state in a file, and a grid over it.

The rounds run in the process that holds the state, so that Flower's Control and Runtime APIs, which
ask nobody who they are, need not be served at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI
from flwr.app import Message, MessageType, RecordDict

from fedcode.errors import Interrupted
from fedcode.transport.grid import MessageGrid
from fedcode.transport.internals.common import (
    SUPERLINK_NODE_ID,
    ObjectTree,
    Run,
    identify,
    inflated,
    parts,
)
from fedcode.transport.internals.superlink import LinkStore, Unwritable

_KEEP = 20.0
"""Seconds between two signs of life of a run."""

_FAR_AWAY = 60.0
_RESEND, _SELDOM = 5.0, 80.0
"""Seconds until what was not taken is sent again: twice as many each time, for a slow line."""

_POLL = 0.05
_LOOK = 1.0

_LIFE = 7 * 86_400.0
"""Seconds after which Flower drops a message that nobody has asked for."""


class SuperLink:
    """Nodes and messages of one coordinator.

    Args:
        path: the SQLite file of Flower's state.
    """

    def __init__(self, path: Path) -> None:
        self._store = LinkStore(path)
        self._run, task = self._store.begin()
        identify(self._run, SUPERLINK_NODE_ID)
        self._stopped = threading.Event()
        self._keeper = threading.Thread(target=self._keep, args=(task,), daemon=True)
        self._keeper.start()

    @property
    def fleet(self) -> FastAPI:
        """The Fleet API, as an ASGI app; who may come in is its server's business."""
        return self._store.fleet_app()

    def admit(self, name: str, node_key: bytes) -> int:
        """The node of a member, whose key, PEM, is accepted from now on."""
        return self._store.node(node_key, name)

    def online(self, nodes: Iterable[int]) -> frozenset[int]:
        """Those of ``nodes`` whose heartbeats arrive."""
        found = self._store.seen(list(nodes))
        return frozenset(node for node, seen in found.items() if seen.online)

    def grid(self, stop: threading.Event | None = None, far_away: float = _FAR_AWAY) -> LinkGrid:
        """A grid over this process' run; see :class:`LinkGrid`."""
        return LinkGrid(self._store, self._run, stop or threading.Event(), far_away)

    def close(self) -> None:
        """Ends the run: what nodes still send for it is not taken."""
        self._stopped.set()
        self._keeper.join()
        with suppress(Unwritable):  # a process that begins ends all runs before
            self._store.end(self._run)

    def _keep(self, task: int) -> None:
        while not self._stopped.wait(_KEEP):
            with suppress(Unwritable):  # the next one is in time, too
                self._store.keep(task)


@dataclass(slots=True)
class _Asked:
    """One node while its answer is waited for.

    Attributes:
        message: what it is asked.
        sent: identities of all copies that went to it.
        since: when the last one was sent.
        activated: the node's start that it was sent to; empty while it is not known.
        away: since when the node is offline; None while it is not.
        taken: whether the last copy has arrived whole.
        patience: seconds until it must have.
    """

    message: Message = field(repr=False)
    sent: set[str] = field(default_factory=set)
    since: float = 0.0
    activated: str = ""
    away: float | None = None
    taken: bool = False
    patience: float = _RESEND


class LinkGrid(MessageGrid):
    """Sends messages, again where they were lost, and waits for replies.

    A message goes to a node again if it was not taken in time, or if the node has started anew
    since; a member answers the same request with the same bytes. A node that stays offline for
    long is given up.

    Args:
        store: Flower's state.
        run: that messages belong to.
        stop: ends the waiting.
        far_away: seconds offline after which a node is given up.
    """

    def __init__(self, store: LinkStore, run: int, stop: threading.Event, far_away: float) -> None:
        self._store, self._run_id, self._stop, self._far_away = store, run, stop, far_away
        self._waiting: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """Refused: a process has one run."""
        del run
        raise ValueError("the run of this grid is set")

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return Run.create_empty(run_id=self._run_id)

    def get_node_ids(self) -> Iterable[int]:
        """Nobody: whom to ask is not the grid's business."""
        return []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Sends each once; identities in their order, empty where there is no such node."""
        return [self._put(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to ``message_ids`` that are there whole; each is handed out once."""
        wanted = set(message_ids)
        for reply in self._store.replies(self._run_id, wanted) if wanted else ():
            self._waiting[reply.metadata.message_id] = reply
        whole = []
        for identity, reply in list(self._waiting.items()):
            if reply.metadata.reply_to_message_id not in wanted:
                continue
            if reply.has_error():
                whole.append(self._waiting.pop(identity))
            elif (found := self._store.contents(identity)) is not None:
                del self._waiting[identity]
                whole.append(_with_content(reply, *found))
        return whole

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """What the nodes answer, at most one reply each, in time, as it comes.

        Args:
            messages: at most one for each node.
            timeout: seconds; for ever if None.

        Raises:
            Interrupted: somebody wants it to stop.
        """
        asked = {one.metadata.dst_node_id: _Asked(one) for one in messages}
        answered: set[str] = set()
        end = None if timeout is None else time.monotonic() + timeout
        seen = self._look(asked, time.monotonic())
        for node, one in asked.items():
            self._send(node, one, seen)
        looked = time.monotonic()
        every = list(asked.values())
        while asked and not self._stop.is_set():
            now = time.monotonic()
            if end is not None and now >= end:
                break
            for reply in self._collect(asked):
                answered.add(reply.metadata.message_id)
                yield reply
            if asked and now - looked >= _LOOK:
                looked = now
                self._again(asked, self._look(asked, now), now)
            if asked:
                self._stop.wait(_POLL)
        sent = {identity for one in every for identity in one.sent}
        self._store.drop(sent, answered | self._half_there(sent))
        if self._stop.is_set():
            raise Interrupted("stopped while members were asked")

    def _half_there(self, sent: set[str]) -> set[str]:
        """Replies to ``sent`` that nobody waits for any more; they are forgotten here."""
        for reply in self._store.replies(self._run_id, sent) if sent else ():
            self._waiting[reply.metadata.message_id] = reply
        found = {
            identity
            for identity, reply in self._waiting.items()
            if reply.metadata.reply_to_message_id in sent
        }
        for identity in found:
            del self._waiting[identity]
        return found

    def _collect(self, asked: dict[int, _Asked]) -> list[Message]:
        """Replies that have come; their nodes are not waited for any more."""
        owner = {identity: node for node, one in asked.items() for identity in one.sent}
        found = []
        for reply in self.pull_messages(owner):
            node = owner[reply.metadata.reply_to_message_id]
            if node not in asked:
                continue  # another copy's
            if reply.has_error() and reply.metadata.src_node_id != node:
                asked[node].since = 0.0  # Flower's word for a node that is away
            else:
                found.append(reply)
                del asked[node]
        return found

    def _look(self, asked: Mapping[int, _Asked], now: float) -> Mapping[int, str]:
        """The last start of each node that is online; notes since when others are not."""
        seen = self._store.seen(list(asked))
        for node, one in asked.items():
            away = node not in seen or not seen[node].online
            one.away = (one.away or now) if away else None
        return {node: one.activated for node, one in seen.items() if one.online}

    def _again(self, asked: dict[int, _Asked], online: Mapping[int, str], now: float) -> None:
        """Sends again what was lost, and gives up nodes that are away for long."""
        for node, one in list(asked.items()):
            if one.away is not None:
                if now - one.away >= self._far_away:
                    del asked[node]
                continue
            if not one.taken:
                one.taken = any(self._store.taken(identity) for identity in one.sent)
            lost = not one.taken and now - one.since >= one.patience
            if lost:
                one.patience = min(2 * one.patience, _SELDOM)
            if lost or not one.since or one.activated != online[node]:
                self._send(node, one, online)

    def _send(self, node: int, one: _Asked, online: Mapping[int, str]) -> None:
        """Sends a copy to a node that is online; one that is not gets it when it comes back."""
        if node not in online:
            return
        copy = Message(one.message.content, node, MessageType.TRAIN, ttl=_LIFE)
        identity = self._put(copy)
        if identity:
            one.sent.add(identity)
        one.since, one.activated, one.taken = time.monotonic(), online[node], False

    def _put(self, message: Message) -> str:
        tree, contents = parts(message)
        stored = self._store.put(self._run_id, message, tree, contents)
        return message.metadata.message_id if stored else ""


def _with_content(reply: Message, tree: ObjectTree, contents: Mapping[str, bytes]) -> Message:
    """A reply with the content that came for it; with none where Flower cannot read that.

    Who it is from, and what it answers, is what was checked when it was announced: its objects may
    say something else.
    """
    try:
        reply.content = inflated(tree, contents, reply.metadata.message_id).content
    except Exception:  # noqa: BLE001  a member's bytes, taken apart by Flower
        reply.content = RecordDict()
    return reply
