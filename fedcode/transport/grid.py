# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What all Flower grids of ours have in common."""

from __future__ import annotations

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid


class MessageGrid(Grid):
    """A Flower grid whose messages are Flower's own; how they travel is for others to say."""

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message of this grid's run."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)
