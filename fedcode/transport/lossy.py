# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A Flower grid on which messages get lost, over any other grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from flwr.app import Message
from flwr.serverapp import Grid

from fedcode.transport.grid import MessageGrid
from fedcode.transport.internals.common import Run


class Fate(Enum):
    """What becomes of a message."""

    ANSWERED = "answered"
    UNSENT = "unsent"  # its node does not see it
    UNHEARD = "unheard"  # its node works on it, and the answer is lost


class LossyGrid(MessageGrid):
    """Passes on what another grid delivers, but for what is to be lost.

    Args:
        grid: delivers.
        fate: of the next message to a node.
    """

    def __init__(self, grid: Grid, fate: Callable[[int], Fate]) -> None:
        self._grid = grid
        self._fate = fate
        self._unheard: set[str] = set()

    def set_run(self, run: Run) -> None:
        """Sets the run that messages belong to."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        """The other grid's nodes."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pushes those that are to be seen."""
        sent, unheard = self._seen(messages)
        numbers = list(self._grid.push_messages(sent))
        self._unheard |= {message.metadata.message_id for message in unheard}
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are to be heard."""
        return self._heard(self._grid.pull_messages(message_ids))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Sends those that are to be seen, and waits for all answers, also those that get lost."""
        sent, unheard = self._seen(messages)
        replies = list(self._grid.send_and_receive(sent, timeout=timeout))
        self._unheard |= {message.metadata.message_id for message in unheard}
        return self._heard(replies)

    def _seen(self, messages: Iterable[Message]) -> tuple[list[Message], list[Message]]:
        """What is sent, and what of it is answered to nobody; numbered when it has been sent."""
        fates = [(message, self._fate(message.metadata.dst_node_id)) for message in messages]
        sent = [message for message, fate in fates if fate is not Fate.UNSENT]
        return sent, [message for message, fate in fates if fate is Fate.UNHEARD]

    def _heard(self, replies: Iterable[Message]) -> list[Message]:
        return [one for one in replies if one.metadata.reply_to_message_id not in self._unheard]
