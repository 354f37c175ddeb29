# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What members are asked to take part in: offers, answers, start files. Beside enrolment."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc

from fedcode.agreement import SignedAgreement
from fedcode.errors import PrivacyError
from fedcode.logs import event
from fedcode.services import enrollment_pb2 as messages
from fedcode.services.serving import Refused
from fedcode.signing import canonical
from fedcode_server.register import DECLINED, OFFERED, OPEN, Row, Runs
from fedcode_server.registry import Member, Registry
from fedcode_server.runs import UNREADABLE, RunFolder
from fedcode_server.settings import Home
from fedcode_server.witness import Witness, Witnessing

logger = logging.getLogger(__name__)

_PIECE = 1 << 20
_LAST = 20  # runs that are over


class Services(Witnessing):
    """Enrolment, and all that a member and the coordinator say beside the rounds."""

    def __init__(self, home: Home, registry: Registry, runs: Runs) -> None:
        super().__init__(home, registry)
        self._runs = runs
        self.witness = Witness(registry.database, home.signing_key())

    def Offers(self, request: messages.OffersRequest, context: Any) -> messages.OfferList:
        """The runs whose rosters name who calls: the open ones, and the last that are over."""
        member = self.approved(context)
        rows = self._runs.all()
        over = [] if request.open else [row for row in rows if row.state not in OPEN]
        shown = {row.name for row in over[-_LAST:]}
        found = [row for row in rows if row.state in OPEN or row.name in shown]
        return messages.OfferList(offers=self._offers(found, member))

    def _offers(self, rows: Sequence[Row], member: Member) -> Iterator[messages.Offer]:
        for row in rows:
            try:
                signed = self._agreements(row)
                if _concern(signed, member):
                    yield self._offer(row, signed)
            except UNREADABLE as error:  # the others' rounds go on
                event(
                    logger,
                    "run cannot be read",
                    logging.ERROR,
                    run=row.name,
                    error=type(error).__name__,
                )

    def Answer(self, request: messages.AnswerRequest, context: Any) -> messages.AnswerReply:
        """Takes a member's signatures; or that it declines, which ends the offer."""
        member = self.approved(context)
        row = self._of(request.run, member)
        if row.state != OFFERED:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "not offered any more")
        if not request.accept:
            self._runs.move(row.name, DECLINED, f"declined by {member.name}")
            return messages.AnswerReply()
        given = {one.agreement: one.signature for one in request.signatures}
        try:
            with self._runs.one_at_a_time:
                self._folder(row).sign(member.name, given)
        except PrivacyError as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "signatures") from error
        return messages.AnswerReply()

    def Start(self, request: messages.StartRequest, context: Any) -> Iterator[messages.Piece]:
        """A start file from an offset on."""
        row = self._of(request.run, self.approved(context))
        path = next((p for p in _files(self._folder(row)) if p.name == request.name), None)
        if path is None or request.offset > path.stat().st_size:
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such file")
        with path.open("rb") as file:
            file.seek(request.offset)
            while content := file.read(_PIECE):
                yield messages.Piece(content=content)

    def _folder(self, row: Row) -> RunFolder:
        return RunFolder(self.home.runs / row.name)

    def _of(self, run: str, member: Member) -> Row:
        row = self._runs.get(run)
        if row is None or not _concern(self._agreements(row), member):
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such run")
        return row

    def _agreements(self, row: Row) -> list[SignedAgreement]:
        return self._folder(row).agreements()

    def _offer(self, row: Row, signed: Sequence[SignedAgreement]) -> messages.Offer:
        folder = self._folder(row)
        return messages.Offer(
            run=row.name,
            federation=canonical(folder.federation().model_dump(mode="json")),
            agreements=[canonical(one.plain()) for one in signed],
            files=[_described(path) for path in _files(folder)],
            state=row.state,
        )


def _concern(signed: Sequence[SignedAgreement], member: Member) -> bool:
    """Whether a run's roster, the same in all of its agreements, names ``member``."""
    return dict(signed[0].agreement.roster.members).get(member.name) == member.signing_key


def _files(folder: RunFolder) -> list[Path]:
    return sorted(folder.start.iterdir())


def _described(path: Path) -> messages.StartFile:
    size = path.stat().st_size
    return messages.StartFile(name=path.name, size=size, digest=_digest(path, size))


@lru_cache(maxsize=256)
def _digest(path: Path, _size: int) -> str:
    """Of a file that is never written again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
