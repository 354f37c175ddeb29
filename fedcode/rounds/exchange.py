# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One step of a round over the grid: bytes to members, and what each of them answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flwr.serverapp import Grid

from fedcode.agreement import Agreement
from fedcode.errors import WireError
from fedcode.rounds.record import RoundRecord, StepRecord
from fedcode.transport.flower import messages_to, unpack
from fedcode.wire import Received, Refusal, RefusalCode, decode, verified

ABSENT, MALFORMED = "absent", "malformed"
"""Why a member is lost who said nothing, or nothing that can be read; beside refusal codes."""

_UNREADABLE = b"\x00"
"""Kept in the place of what is no message at all."""

_UNREAD = (RefusalCode.AGREEMENT, RefusalCode.PLAN)
"""Of whoever could not read the request as one of its own agreement, and so names another round.

The others count for their round alone: one that was recorded would end a member's part for good.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long answers are waited for.

    Attributes:
        answer: seconds for what is said at once; None for ever.
        training: seconds for what is trained first.
    """

    answer: float | None = None
    training: float | None = None


class Exchange:
    """Asks members, and takes what they say for what it is.

    Args:
        agreement: whose members they are.
        number: of the round.
        grid: reaches them.
        nodes: the grid's node of each member.
        patience: how long they have.
        record: keeps what they say, if it is to be kept.
    """

    def __init__(
        self,
        agreement: Agreement,
        number: int,
        grid: Grid,
        nodes: Mapping[str, int],
        patience: Patience | None = None,
        record: RoundRecord | None = None,
    ) -> None:
        self._agreement = agreement
        self._place = agreement.digest(), number
        self._grid = grid
        self._nodes = nodes
        self._members = {node: name for name, node in nodes.items()}
        self._patience = patience or Patience()
        self._record = record

    def ask(
        self, requests: Mapping[str, bytes], *, training: bool = False
    ) -> Iterator[tuple[str, Received | str]]:
        """Sends each member its request. All have answered, or will not, before anything is given.

        Args:
            requests: by member.
            training: whether they train before they answer.

        Yields:
            Each member's name, in the order of the requests, and its signed message, or why there
            is none: a refusal's code, :data:`ABSENT` or :data:`MALFORMED`.
        """
        patience = self._patience.training if training else self._patience.answer
        step = None if self._record is None else self._record.step(requests)
        heard = self._heard(requests, step, patience)
        for name in requests:
            answer = heard.pop(name, b"") if step is None else step.heard(name)
            if not answer:
                yield name, ABSENT
                continue
            try:
                received = self._read(answer, name)
            except WireError:
                yield name, MALFORMED
                continue
            yield name, str(received.code) if isinstance(received, Refusal) else received

    def _heard(
        self, requests: Mapping[str, bytes], step: StepRecord | None, patience: float | None
    ) -> dict[str, bytes]:
        """What was answered now; where it is recorded, it is on disk, and not here."""
        heard = {}
        asked = {name: requests[name] for name in (requests if step is None else step.unheard())}
        there = {
            self._nodes[name]: data
            for name, data in asked.items()
            if name in self._nodes  # of a cohort before a restart somebody may have left
        }
        messages = messages_to(there)
        for reply in self._grid.send_and_receive(messages, timeout=patience) if messages else ():
            name = self._members.get(reply.metadata.src_node_id, "")
            if name not in asked or reply.has_error():
                continue
            try:
                answer = unpack(reply.content) or _UNREADABLE
            except WireError:
                answer = _UNREADABLE
            if step is None:
                heard[name] = answer
            else:
                step.keep(name, answer)
                del asked[name]
        if step is not None:
            for name in asked:
                step.keep(name, b"")
            step.settle()
        return heard

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
