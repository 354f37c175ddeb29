# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One step of a round over the grid: bytes to members, and what each of them answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flwr.serverapp import Grid

from fedcode.agreement import Agreement
from fedcode.errors import WireError
from fedcode.transport.flower import message_to, unpack
from fedcode.wire import Received, Refusal, RefusalCode, decode, verified

ABSENT, MALFORMED = "absent", "malformed"
"""Why a member is lost who said nothing, or nothing that can be read; beside refusal codes."""


_UNREAD = (RefusalCode.AGREEMENT, RefusalCode.PLAN)
"""Of whoever could not read the request as one of its own agreement, and so names another round.

The others count for their round alone: one that was recorded would end a member's part for good.
"""


class Exchange:
    """Asks members, and takes what they say for what it is.

    Args:
        agreement: whose members they are.
        number: of the round.
        grid: reaches them.
        nodes: the grid's node of each member.
    """

    def __init__(
        self, agreement: Agreement, number: int, grid: Grid, nodes: Mapping[str, int]
    ) -> None:
        self._agreement = agreement
        self._place = agreement.digest(), number
        self._grid = grid
        self._nodes = nodes
        self._members = {node: name for name, node in nodes.items()}

    def ask(self, requests: Mapping[str, bytes]) -> Iterator[tuple[str, Received | str]]:
        """Sends each member its request.

        Yields:
            Each member's name, in the order of the requests, and its signed message, or why there
            is none: a refusal's code, :data:`ABSENT` or :data:`MALFORMED`.
        """
        messages = [message_to(self._nodes[name], data) for name, data in requests.items()]
        replies = {
            self._members.get(reply.metadata.src_node_id, ""): reply
            for reply in self._grid.send_and_receive(messages)
        }
        for name in requests:
            reply = replies.pop(name, None)
            if reply is None or reply.has_error():
                yield name, ABSENT
                continue
            try:
                received = self._read(unpack(reply.content), name)
            except WireError:
                yield name, MALFORMED
                continue
            yield name, str(received.code) if isinstance(received, Refusal) else received

    def _read(self, data: bytes, name: str) -> Received:
        received = decode(data, weights=self._agreement.weights, length=self._agreement.length)
        if getattr(received, "member", None) != name or not verified(
            received, self._agreement.roster.key(name)
        ):
            raise WireError("a message that its sender did not sign")
        if isinstance(received, Refusal) and received.code not in _UNREAD:
            self._check_place(received)
        return received

    def _check_place(self, refusal: Refusal) -> None:
        if (refusal.agreement, refusal.round) != self._place:
            raise WireError("a refusal of another round")
