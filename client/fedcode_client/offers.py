# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What we are asked to take part in, and what we said: we sign what we have computed, and no more.

The coordinator sends settings, a roster and public files. The agreement is made of them anew, on
our machine, and must be the one that the others are asked to sign.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fedcode.agreement import SignedAgreement
from fedcode.errors import ConfigError, MembershipError, RunError
from fedcode.federation import Federation, check
from fedcode.identity import NAME, Roster
from fedcode.services import enrollment_pb2 as messages
from fedcode.services import enrollment_pb2_grpc as stubs
from fedcode.signing import canonical
from fedcode.start import PUBLIC, Start, expected_agreement, file_of
from fedcode.storage import write_json
from fedcode_client.connection import asking, connect
from fedcode_client.home import Home

_LARGEST = 1 << 32
_FETCHING = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")
OFFERED = "offered"
_STATES = (OFFERED, "running", "finished", "failed", "stopped", "declined")
_WRONG = "what the coordinator offers is not of this version"
_OTHERS = "ask its people; nothing was signed"


@dataclass(frozen=True, slots=True)
class Offer:
    """One run, as the coordinator has it.

    Attributes:
        run: its name.
        state: offered, running, finished, failed, stopped or declined.
        federation: its settings.
        agreements: of each task, with the signatures so far.
        files: name, size and digest of each start file.
    """

    run: str
    state: str
    federation: Federation
    agreements: tuple[SignedAgreement, ...]
    files: tuple[tuple[str, int, str], ...]

    @classmethod
    def read(cls, offer: messages.Offer) -> Self:
        """What was sent.

        Raises:
            ConfigError: it is no offer.
        """
        try:
            federation = check(_parsed(offer.federation), "the offer")
            agreements = tuple(SignedAgreement.read(_parsed(one)) for one in offer.agreements)
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(_WRONG, "are both programs of one version?") from error
        files = tuple((one.name, one.size, one.digest) for one in offer.files)
        wanted = {PUBLIC, *(file_of(task.name) for task in federation.tasks)}
        tasks = [one.agreement.task for one in agreements]
        good = (
            NAME.fullmatch(offer.run)
            and offer.state in _STATES
            and {name for name, _, _ in files} == wanted
            and len(files) == len(wanted)
            and all(0 < size <= _LARGEST and _DIGEST.fullmatch(d) for _, size, d in files)
            and tasks == [task.name for task in federation.tasks]
            and len({one.agreement.roster.digest() for one in agreements}) == 1
        )
        if not good:
            raise ConfigError(_WRONG, "are both programs of one version?")
        return cls(offer.run, offer.state, federation, agreements, files)

    @property
    def roster(self) -> Roster:
        """Who takes part."""
        return self.agreements[0].agreement.roster

    @property
    def digests(self) -> list[str]:
        """Of the agreements."""
        return [one.agreement.digest() for one in self.agreements]

    def missing(self) -> tuple[str, ...]:
        """The members that have not signed everything."""
        return tuple(sorted({name for one in self.agreements for name in one.missing()}))


class Desk:
    """What is asked of us, and our answers; the coordinator's services are behind it.

    Args:
        home: our folder.

    Raises:
        MembershipError: we are no member.
    """

    def __init__(self, home: Home) -> None:
        self.home, self.membership = home, home.membership()

    def offers(self, *, only_open: bool = False) -> list[Offer]:
        """What we are asked for, and the last runs that are over; what cannot be read is left out.

        Args:
            only_open: no runs that are over.

        Raises:
            MembershipError: the coordinator cannot be reached, or does not let us in.
        """
        with self._calling() as stub:
            found = stub.Offers(messages.OffersRequest(open=only_open)).offers
        readable = []
        for one in found:
            try:
                readable.append(Offer.read(one))
            except ConfigError:
                continue
        return readable

    def offer(self, run: str) -> Offer:
        """One of them.

        Raises:
            MembershipError: there is none of this name.
        """
        offers = self.offers()
        for one in offers:
            if one.run == run:
                return one
        names = ", ".join(one.run for one in offers) or "none"
        raise MembershipError(f"there is no run {run} for us", f"runs: {names}")

    def asked(self, run: str) -> Offer:
        """One of them that waits for answers.

        Raises:
            MembershipError: there is none of this name, or nothing is asked of us any more.
        """
        offer = self.offer(run)
        if offer.state != OFFERED:
            raise MembershipError(
                f"{run} is {offer.state}: nothing is asked of us any more",
                "`fedcode-client offers` shows what is",
            )
        return offer

    def fetch(self, offer: Offer) -> Path:
        """The folder of the start files, which are fetched where they are not there.

        Raises:
            MembershipError: the coordinator cannot be reached, or sends other files.
        """
        folder = self.folder(offer.run) / "start"
        self._check_sizes(offer)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, size, digest in offer.files:
            path = folder / name
            if not path.exists() or _digest(path) != digest:
                self._fetch(offer.run, path, size, digest)
        return folder

    def check(self, offer: Offer) -> None:
        """Whether this is what we can sign: made of the settings and files alone, and by us.

        Raises:
            ConfigError: it is something else.
        """
        ours, roster = self.membership, offer.roster
        if (offer.federation.name, roster.coordinator) != (ours.federation, ours.coordinator):
            raise ConfigError("the roster is not our coordinator's", _OTHERS)
        if dict(roster.members).get(ours.member) != self.home.signing_key().public:
            raise ConfigError("the roster does not name us with our key", _OTHERS)
        start = self.fetch(offer)
        for one in offer.agreements:
            task = one.agreement.task
            made = expected_agreement(
                offer.federation, task, Start.load(start / file_of(task)), roster
            )
            if made.digest() != one.agreement.digest():
                raise ConfigError(f"the agreement on {task} is not what its settings make", _OTHERS)
        said = self.folder(offer.run) / "federation.json"
        if said.exists() and json.loads(said.read_text(encoding="utf-8")) != _settings(offer):
            raise ConfigError("the settings are not those that we said yes to", _OTHERS)
        known = self.known_roster()
        signed = self.accepted().get(offer.run) == offer.digests
        if known is not None and not signed and known.digest() != roster.digest():
            roster.check_later(known)

    def accept(self, offer: Offer) -> None:
        """Signs all agreements of an offer that was checked and that a person has said yes to.

        Raises:
            MembershipError: the coordinator does not take it.
        """
        key, name = self.home.signing_key(), self.membership.member
        signed = [one.sign(name, key) for one in offer.agreements]
        folder = self.folder(offer.run)
        write_json(folder / "federation.json", _settings(offer))
        for one in signed:
            write_json(folder / f"agreement-{one.agreement.task}.json", one.plain())
        answer = messages.AnswerRequest(
            run=offer.run,
            accept=True,
            signatures=[
                messages.Signature(
                    agreement=one.agreement.digest(),
                    signature=one.signatures.by_member[name],
                )
                for one in signed
            ],
        )
        known = self.known_roster()
        if known is None or offer.roster.epoch > known.epoch:
            write_json(self.home.state / "roster.json", offer.roster.plain())
        self._said(offer.run, "accepted", offer.digests)
        with self._calling() as stub:
            stub.Answer(answer)

    def decline(self, run: str) -> None:
        """Says no: the run does not take place.

        Raises:
            MembershipError: the coordinator does not take it.
        """
        with self._calling() as stub:
            stub.Answer(messages.AnswerRequest(run=run, accept=False))
        self._said(run, "declined", [])

    def accepted(self) -> dict[str, list[str]]:
        """The agreements' digests of each run that we have said yes to, by run."""
        found = {}
        for path in sorted((self.home.state / "agreements").glob("*/answer.json")):
            said = json.loads(path.read_text(encoding="utf-8"))
            if said["answer"] == "accepted":
                found[path.parent.name] = said["agreements"]
        return found

    def keep(self, offer: Offer) -> None:
        """Keeps the agreements of a run with everybody's signatures."""
        for one in offer.agreements:
            write_json(self.folder(offer.run) / f"agreement-{one.agreement.task}.json", one.plain())

    def known_roster(self) -> Roster | None:
        """The latest one that we have signed."""
        path = self.home.state / "roster.json"
        if not path.exists():
            return None
        return Roster.read(json.loads(path.read_text(encoding="utf-8")))

    def folder(self, run: str) -> Path:
        """What is kept of a run."""
        return self.home.state / "agreements" / run

    def _said(self, run: str, answer: str, digests: Sequence[str]) -> None:
        said: dict[str, Any] = {"answer": answer, "agreements": list(digests)}
        write_json(self.folder(run) / "answer.json", said | {"time": int(time.time())})

    @contextmanager
    def _calling(self) -> Iterator[stubs.EnrollmentStub]:
        with connect(self.home) as opened, asking(self.membership.address):
            yield stubs.EnrollmentStub(opened)

    def _check_sizes(self, offer: Offer) -> None:
        """Refuses files that are no start files by their size, before any is fetched.

        Raises:
            ConfigError: a file is larger than ours says, or all of them than the disk has room for.
        """
        most = self.home.settings().largest_mib << 20
        for name, size, _ in offer.files:
            if size > most:
                raise ConfigError(
                    f"the start file {name} has {size >> 20} MiB",
                    "if that can be, write a larger largest_mib into client.toml",
                )
        total, free = (
            sum(size for _, size, _ in offer.files),
            shutil.disk_usage(self.home.state).free,
        )
        if total > free // 2:
            raise RunError(
                f"the start files have {total >> 20} MiB, and {free >> 20} MiB are free",
                f"make room for {self.home.state}",
            )

    def _fetch(self, run: str, path: Path, size: int, digest: str) -> None:
        """One file, which has its name only when all of it is there."""
        part = path.with_name(f".{path.name}.part")
        made, there = hashlib.sha256(), 0
        try:
            with part.open("wb") as file, self._calling() as stub:
                asked = messages.StartRequest(run=run, name=path.name)
                for piece in stub.Start(asked, timeout=_FETCHING):
                    there += len(piece.content)
                    if there > size:
                        break
                    made.update(piece.content)
                    file.write(piece.content)
            if there != size or made.hexdigest() != digest:
                raise MembershipError(f"the file {path.name} is not the one that was offered")
            part.replace(path)
        except OSError as error:
            raise RunError(f"{path} cannot be written", "is the disk full?") from error
        finally:
            part.unlink(missing_ok=True)


def _settings(offer: Offer) -> dict[str, Any]:
    """All of a federation's settings: some are in no agreement, as how many files are held out."""
    return offer.federation.model_dump(mode="json")


def _parsed(text: bytes) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        TypeError: it is something else; so ValueError, RecursionError.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def document(offer: Offer) -> bytes:
    """An offer as canonical JSON, for people and programs that look at it."""
    return canonical(
        {
            "run": offer.run,
            "state": offer.state,
            "agreements": [one.plain() for one in offer.agreements],
            "missing": list(offer.missing()),
        }
    )
