# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A coordinator that lies, with the real listener and certificates, before a real agent.

After every lie the agent is there, and answers the next honest request; nothing was charged; what
left is a refusal's code, and its log has fixed words.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import officers
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse
from small import write_code

import fedcode_client.cli
from fedcode.agreement import SignedAgreement
from fedcode.certificates import public_pem
from fedcode.errors import FedcodeError
from fedcode.identity import Roster
from fedcode.logs import Lines
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit
from fedcode.services import enrollment_pb2 as messages
from fedcode.signing import SigningKey, canonical
from fedcode.transport.flower import message_to, pack, unpack
from fedcode.transport.internals.common import parts
from fedcode.wire import (
    Confirmation,
    KeyBook,
    Plan,
    Refusal,
    SurvivorList,
    decode,
    encode,
    sign,
)
from fedcode_client import desk
from fedcode_client.offers import Desk
from fedcode_server.offers import Services
from fedcode_server.runs import RunFolder
from fedcode_server.up import Process
from tests.parties import ASSET, Organization, Parties, federation_of, finished

NAMES = ["acme", "globex", "initech"]
WEIGHTS = 7
ESCAPE = "\x1b[2J\x1b]0;all is well\x07"

Reply = tuple[int, list[tuple[bytes, bytes]], list[bytes]]
"""Status, headers and pieces of the body."""


class Lying(Services):
    """The coordinator's services, with something else in their answers."""

    offered: Callable[[messages.OfferList], messages.OfferList] = staticmethod(lambda it: it)
    pieces: Callable[[], Iterator[messages.Piece]] | None = None
    standing = ""

    def Offers(self, request: Any, context: Any) -> messages.OfferList:
        return type(self).offered(super().Offers(request, context))

    def Start(self, request: Any, context: Any) -> Iterator[messages.Piece]:
        if type(self).pieces is None:
            yield from super().Start(request, context)
        else:
            yield from type(self).pieces()

    def Standing(self, request: Any, context: Any) -> messages.MemberStanding:
        found = super().Standing(request, context)
        if type(self).standing:
            found.state = type(self).standing
        return found


@dataclasses.dataclass
class Stage:
    """A coordinator, an agent that is up, and two more that have joined."""

    parties: Parties
    process: Process
    log: io.StringIO
    replies: dict[str, list[Reply]] = dataclasses.field(default_factory=dict)
    name: str = "acme"

    @property
    def organization(self) -> Organization:
        """Whom it lies to."""
        return self.parties.organizations[self.name]

    @property
    def acme(self) -> Organization:
        return self.parties.organizations["acme"]

    @property
    def node(self) -> int:
        public = self.organization.home.node_key().public_key()
        return self.process._link.admit(self.name, public_pem(public))

    def ask(self, data: bytes, seconds: float = 20) -> bytes:
        """What the agent answers over the network."""
        grid = self.process._link.grid()
        (reply,) = grid.send_and_receive([message_to(self.node, data)], timeout=seconds)
        return unpack(reply.content)

    def alive(self) -> None:
        """It answers what is no message by a refusal, signed; it has charged nothing."""
        assert self.acme.alive
        answer = self.ask(b"hello")
        found = decode(answer, weights=WEIGHTS, length=WEIGHTS)
        assert isinstance(found, Refusal)
        assert self.acme.alive

    def said(self) -> list[dict[str, Any]]:
        """The log's lines since it was last looked at."""
        text = self.log.getvalue()
        self.log.truncate(0)
        self.log.seek(0)
        assert text.isascii()
        assert "Traceback" not in text
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    patch, log = pytest.MonkeyPatch(), io.StringIO()
    patch.setattr("fedcode_server.up.Services", Lying)
    for name, seconds in (("_IDLE", 0.05), ("_QUICK", 0.02), ("_AGAIN", 0.03), ("_SYNC", 0.2)):
        patch.setattr(f"fedcode_client.agent.{name}", seconds)
    handler = logging.StreamHandler(log)
    handler.setFormatter(Lines())
    for name in ("fedcode", "fedcode_client"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    parties = Parties(tmp_path_factory.mktemp("stage"), gather_seconds=1)
    with Process(parties.home) as process:
        for name in NAMES:
            parties.join(name)
        made = Stage(parties, process, log)
        lie(made)
        parties.organizations["acme"].largest = 8 << 20
        parties.organizations["acme"].up()
        until(lambda: made.acme.agent.connected)
        yield made
        for one in parties.organizations.values():
            one.down()
    for name in ("fedcode", "fedcode_client"):
        logging.getLogger(name).removeHandler(handler)
    patch.undo()


def until(done: Callable[[], bool]) -> None:
    """Waits for something."""
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def lie(stage: Stage) -> None:
    """What stands in ``replies`` is answered in place of the Fleet API, each once."""
    front: Any = stage.process._fleet._config.loaded_app
    honest = front._app

    async def app(scope: Any, receive: Any, send: Any) -> None:
        waiting = stage.replies.get(scope["path"].rpartition("/")[2])
        if not waiting:
            await honest(scope, receive, send)
            return
        status, headers, body = waiting.pop(0)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        with contextlib.suppress(Exception):
            for piece in body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    front._app = app


# Answers of the Fleet API.

PROTOBUF = (b"content-type", b"application/protobuf")


def announced(stage: Stage, message: Message | None = None, **changes: Any) -> bytes:
    """An announcement with something in it that is not as it should be."""
    tree = changes.pop("tree", None)
    trees = changes.pop("trees", 1)
    message = message or Message(pack(b"x"), stage.node, MessageType.TRAIN)
    made, _ = parts(message)
    proto = message_to_proto(message)
    proto.ClearField("content")
    for name, value in changes.items():
        setattr(proto.metadata, name, value)
    return PullMessagesResponse(
        messages_list=[proto], message_object_trees=[tree or made] * trees
    ).SerializeToString()


def deep(levels: int) -> ObjectTree:
    tree = ObjectTree(object_id="0" * 64)
    for _ in range(levels):
        tree = ObjectTree(object_id="0" * 64, children=[tree])
    return tree


def tree_of(count: int) -> ObjectTree:
    return ObjectTree(object_id="0" * 64, children=[ObjectTree(object_id="1" * 64)] * count)


def good(body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    return 200, [PROTOBUF, (b"content-length", str(len(body)).encode()), *headers], [body]


def endless() -> Iterator[bytes]:
    yield from [bytes(1 << 20)] * 40


INCOMPATIBLE = json.dumps(
    {"detail": "[RuntimeVersionIncompatibility] " + ESCAPE, "message": ESCAPE, "code": 1}
).encode()
FLEET: dict[str, Callable[[Stage], Reply]] = {
    "junk": lambda s: good(b"\xff" * 100),
    "a text": lambda s: (200, [(b"content-type", b"text/html")], [b"<h1>hello</h1>"]),
    "no tree": lambda s: good(announced(s, trees=0)),
    "a deep tree": lambda s: good(announced(s, tree=deep(45))),
    "a tree too deep to read": lambda s: good(announced(s, tree=deep(90))),
    "a wide tree": lambda s: good(announced(s, tree=tree_of(100_000))),
    "no time": lambda s: good(announced(s, created_at=float("nan"))),
    "a time that never ends": lambda s: good(announced(s, ttl=float("inf"))),
    "to somebody else": lambda s: good(announced(s, dst_node_id=s.node ^ 1)),
    "from somebody else": lambda s: good(announced(s, src_node_id=77)),
    "an answer": lambda s: good(announced(s, reply_to_message_id="0" * 64)),
    "a long group": lambda s: good(announced(s, group_id=ESCAPE * 100)),
    "another type": lambda s: good(announced(s, message_type="query")),
    "a type of Flower's own": lambda s: good(announced(s, message_type="system")),
    "an action": lambda s: good(announced(s, message_type="train.install")),
    "another identity": lambda s: good(announced(s, message_id="../../x")),
    "a stream without end": lambda s: (200, [PROTOBUF], endless()),  # type: ignore[dict-item]
    "more than there may be": lambda s: (200, [PROTOBUF, (b"content-length", b"99999999999")], []),
    "packed": lambda s: good(b"\x1f\x8b" + bytes(50), (b"content-encoding", b"gzip")),
    "somewhere else": lambda s: (
        307, [(b"location", b"http://127.0.0.1:9/"), (b"content-length", b"0")], [],
    ),
    "an error": lambda s: (500, [(b"content-length", b"4")], [b"oops"]),
    "not let in": lambda s: (403, [(b"content-length", b"0")], []),
    "an order to end": lambda s: (
        412, [(b"content-type", b"application/json"),
              (b"content-length", str(len(INCOMPATIBLE)).encode())], [INCOMPATIBLE],
    ),
    "words for a terminal": lambda s: good(
        b"", (b"flwr-runtime-version-incompatibility-message", b"\x1b[2J"),
        (b"set-cookie", b"who=acme"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FLEET)
def test_no_answer_of_the_fleet_api_ends_the_agent(stage: Stage, what: str) -> None:
    stage.replies["pull-messages"] = [FLEET[what](stage)]
    until(lambda: not stage.replies["pull-messages"])
    stage.alive()
    assert "\\u001b" not in json.dumps(stage.said())


OBJECTS = {
    "junk": b"junk",
    "nothing": b"",
    "another message": b"Message  4\x00junk",
    "itself for a child": b"ConfigRecord " + b"0" * 64 + b" 0\x00",
    "a length that is none": b"ConfigRecord  -5\x00",
    "arrays": ArrayRecord([np.zeros(4)]).deflate(),
    "more bytes than any": bytes(9 << 20),
}  # fmt: skip


@pytest.mark.parametrize("what", OBJECTS)
def test_no_object_ends_the_agent(stage: Stage, what: str) -> None:
    response = PullObjectResponse(
        object_found=True, object_available=True, object_content=OBJECTS[what]
    )
    body = response.SerializeToString()
    stage.replies["pull-object"] = [good(body) for _ in range(3)]
    grid = stage.process._link.grid()
    list(grid.send_and_receive([message_to(stage.node, b"x")], timeout=3))
    stage.replies.clear()
    stage.alive()


FLOWERS = {
    "an app bundle": RecordDict({"fab": ConfigRecord({"content": b"PK\x03\x04", "hash": "x"})}),
    "arrays": RecordDict({"arrays": ArrayRecord([np.zeros(4)])}),
    "two records": RecordDict(
        {"fedcode": ConfigRecord({"message": b"x"}), "run": ConfigRecord({"sh": "ls"})}
    ),
    "another field": RecordDict({"fedcode": ConfigRecord({"message": b"x", "run": "ls"})}),
    "a text": RecordDict({"fedcode": ConfigRecord({"message": ESCAPE})}),
    "nothing": RecordDict({}),
}


@pytest.mark.parametrize("what", FLOWERS)
def test_what_else_flower_can_carry_is_refused(stage: Stage, what: str) -> None:
    stage.said()
    before = stage.acme.answering.counts.objections
    message = Message(FLOWERS[what], stage.node, MessageType.TRAIN)
    (reply,) = stage.process._link.grid().send_and_receive([message], timeout=10)
    assert reply.has_error()
    assert reply.error.reason == "refused"
    until(lambda: stage.acme.answering.counts.objections == before + 1)
    time.sleep(0.05)
    (line,) = [one for one in stage.said() if one["event"] == "no message of ours"]
    assert line["why"].startswith("a Flower message with other") or "other objects" in line["why"]
    stage.alive()


# Offers.


def agreed(stage: Stage) -> str:
    """A run that is offered, and whose agreements nobody has signed."""
    rows = [row.name for row in stage.process.runs.all() if row.state == "offered"]
    return rows[0] if rows else stage.parties.ask(stage.process, federation_of(NAMES), WEIGHTS)


def changed(offer: messages.Offer, **changes: Any) -> messages.Offer:
    made = messages.Offer()
    made.CopyFrom(offer)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def with_file(offer: messages.Offer, **changes: Any) -> messages.Offer:
    made = changed(offer)
    for name, value in changes.items():
        setattr(made.files[0], name, value)
    return made


def with_settings(offer: messages.Offer, **changes: Any) -> messages.Offer:
    return changed(offer, federation=canonical(json.loads(offer.federation) | changes))


def with_roster(offer: messages.Offer, change: Callable[[dict[str, Any]], Any]) -> messages.Offer:
    """All of it is made anew for another roster, as an honest coordinator would."""
    made = changed(offer)
    for number, text in enumerate(offer.agreements):
        agreement = SignedAgreement.read(json.loads(text)).agreement
        plain = agreement.roster.plain()
        change(plain)
        other = dataclasses.replace(agreement, roster=Roster.read(plain))
        made.agreements[number] = canonical(SignedAgreement.unsigned(other).plain())
    return made


def with_agreement(offer: messages.Offer, **changes: Any) -> messages.Offer:
    made = changed(offer)
    for number, text in enumerate(offer.agreements):
        agreement = SignedAgreement.read(json.loads(text)).agreement
        other = dataclasses.replace(agreement, **changes)
        made.agreements[number] = canonical(SignedAgreement.unsigned(other).plain())
    return made


def no_longer_us(plain: dict[str, Any]) -> None:
    stranger = SigningKey.generate().public
    plain["members"] = sorted([["other", stranger], *plain["members"][1:]])


def another_key(plain: dict[str, Any]) -> None:
    plain["members"][0][1] = SigningKey.generate().public


def another_coordinator(plain: dict[str, Any]) -> None:
    plain["coordinator"] = SigningKey.generate().public


UNREADABLE: dict[str, Callable[[messages.Offer], messages.Offer]] = {
    "a run that climbs": lambda o: changed(o, run="../../evil"),
    "a run with a slash": lambda o: changed(o, run="a/b"),
    "a run that is a dot": lambda o: changed(o, run="."),
    "a run with a zero": lambda o: changed(o, run="a\x00b"),
    "a run with an end of line": lambda o: changed(o, run="a\n"),
    "a run for a terminal": lambda o: changed(o, run=ESCAPE),
    "a long run": lambda o: changed(o, run="a" * 10_000),
    "no run": lambda o: changed(o, run=""),
    "a state for a terminal": lambda o: changed(o, state=ESCAPE),
    "an unknown state": lambda o: changed(o, state="signed"),
    "settings that are a list": lambda o: changed(o, federation=b"[1]"),
    "settings that are a number": lambda o: changed(o, federation=b"5"),
    "settings that are nothing": lambda o: changed(o, federation=b"null"),
    "settings that are no JSON": lambda o: changed(o, federation=b"\xff\xfe"),
    "settings that are deep": lambda o: changed(o, federation=b'{"a":' * 50_000 + b"1"),
    "a number of many digits": lambda o: changed(o, federation=b'{"seed":' + b"9" * 5000 + b"}"),
    "a key for a terminal": lambda o: with_settings(o, **{ESCAPE: 1}),
    "a purpose for a terminal": lambda o: with_settings(o, purpose=ESCAPE),
    "a purpose written backwards": lambda o: with_settings(o, purpose="\u202eecnegilletni"),
    "a name for a terminal": lambda o: with_settings(o, name=ESCAPE),
    "a task that climbs": lambda o: changed(
        o, federation=o.federation.replace(b'"toy"', b'"../../toy"')
    ),
    "an agreement that is a list": lambda o: _with_one(o, b"[]"),
    "an agreement that is nothing": lambda o: _with_one(o, b"null"),
    "an agreement that is empty": lambda o: _with_one(o, b"{}"),
    "an agreement too many": lambda o: _with_one(o, *o.agreements, o.agreements[0]),
    "no agreement": lambda o: _with_one(o),
    "a file that climbs": lambda o: with_file(o, name="../../../.bashrc"),
    "a file from the root": lambda o: with_file(o, name="/etc/passwd"),
    "a file too many": lambda o: _with_files(o, *o.files, o.files[0]),
    "no files": lambda o: _with_files(o),
    "a file of no size": lambda o: with_file(o, size=0),
    "a file of any size": lambda o: with_file(o, size=1 << 60),
    "a digest that is none": lambda o: with_file(o, digest="../" * 20),
}


def _with_one(offer: messages.Offer, *agreements: bytes) -> messages.Offer:
    made = changed(offer)
    made.ClearField("agreements")
    made.agreements.extend(agreements)
    return made


def _with_files(offer: messages.Offer, *files: messages.StartFile) -> messages.Offer:
    made = changed(offer)
    made.ClearField("files")
    made.files.extend(files)
    return made


@contextlib.contextmanager
def offering(
    stage: Stage, change: Callable[[messages.Offer], messages.Offer]
) -> Iterator[tuple[Desk, str]]:
    """A coordinator that offers something else than it has."""
    run = agreed(stage)

    def lied(honest: messages.OfferList) -> messages.OfferList:
        return messages.OfferList(
            offers=[change(one) if one.run == run else one for one in honest.offers]
        )

    Lying.offered = staticmethod(lied)
    try:
        yield Desk(stage.acme.home), run
    finally:
        Lying.offered = staticmethod(lambda it: it)
        Lying.pieces = None


def everything(stage: Stage) -> set[Path]:
    """Files in the stage's folder, but for logs and databases."""
    ours = stage.acme.home.state
    return {path for path in stage.parties.folder.rglob("*") if path.is_file()} - {
        path for path in ours.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_offer_of_another_form_is_none(stage: Stage, what: str) -> None:
    run, before = agreed(stage), everything(stage)
    with offering(stage, UNREADABLE[what]) as (desk, _):
        assert [one.run for one in desk.offers() if one.state == "offered"] == []
        if "terminal" in what:
            printed = "".join(typed(stage, line) for line in ("offers", "status", f"accept {run}"))
            assert "\x1b" not in printed
            assert "\x07" not in printed
        time.sleep(0.3)  # the agent looks, too
    assert {path.suffix for path in everything(stage) - before} <= {".sqlite-wal", ".sqlite-shm"}
    stage.alive()


REFUSED: dict[str, tuple[Callable[[messages.Offer], messages.Offer], str]] = {
    "a roster without us": (lambda o: with_roster(o, no_longer_us), "does not name us"),
    "a roster with another key of ours": (
        lambda o: with_roster(o, another_key), "does not name us",
    ),
    "a roster of another coordinator": (
        lambda o: with_roster(o, another_coordinator), "not our coordinator's",
    ),
    "less noise than the settings make": (
        lambda o: with_agreement(o, noise_multiplier=0.5), "not what its settings make",
    ),
    "a larger epsilon": (lambda o: with_agreement(o, epsilon=999.0), "not what its settings make"),
    "more rounds": (lambda o: with_agreement(o, rounds=1000), "not what its settings make"),
    "another model": (lambda o: with_agreement(o, weights=8), "not what its settings make"),
    "another start": (lambda o: with_agreement(o, start="5" * 64), "not what its settings make"),
    "another purpose": (lambda o: with_agreement(o, purpose="sale"), "not what its settings make"),
    "other settings": (
        lambda o: with_settings(o, privacy={"epsilon": 100.0, "delta": 1e-5, "unit": "function"}),
        "not what its settings make",
    ),
    "another digest of a file": (lambda o: with_file(o, digest="5" * 64), "not the one"),
    "another size of a file": (lambda o: with_file(o, size=3), "not the one"),
    "a file of gigabytes": (lambda o: with_file(o, size=(1 << 32) - 1), "start file"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_an_offer_of_something_else_is_not_signed(stage: Stage, what: str) -> None:
    change, words = REFUSED[what]
    with offering(stage, change) as (desk, run):
        for path in desk.folder(run).rglob("*"):
            if path.is_file():
                path.unlink()
        with pytest.raises(FedcodeError, match=words):
            desk.check(desk.offer(run))
        assert typed(stage, f"accept {run} --yes").startswith("fedcode-client: ")
        assert run not in desk.accepted()
    assert RunFolder(stage.parties.home.runs / run).missing() == tuple(NAMES)
    stage.alive()


def zeros() -> Iterator[messages.Piece]:
    while True:
        yield messages.Piece(content=bytes(1 << 20))


@pytest.mark.parametrize(
    "pieces", [zeros, lambda: iter(()), lambda: iter([messages.Piece(content=b"x")] * 3)]
)
def test_start_files_that_lie_are_not_kept(
    stage: Stage, pieces: Callable[[], Iterator[messages.Piece]]
) -> None:
    with offering(stage, lambda it: it) as (desk, run):
        for path in (desk.folder(run) / "start").glob("*"):
            path.unlink()
        Lying.pieces = staticmethod(pieces)
        with pytest.raises(FedcodeError, match="not the one that was offered"):
            desk.check(desk.offer(run))
        assert list((desk.folder(run) / "start").iterdir()) == []


def test_brackets_in_a_purpose_hide_nothing(stage: Stage) -> None:
    """A terminal's library would take them for colours, and what follows for invisible."""
    purpose = "[conceal]research [/nonsense] :warning:"

    def change(offer: messages.Offer) -> messages.Offer:
        made = with_settings(offer, purpose=purpose)
        return with_agreement(made, purpose=purpose)

    with offering(stage, change) as (_, run):
        printed = typed(stage, f"accept {run}", "n\n")
        assert f"for the purpose: {purpose};" in printed
        assert "ε ≤ 200" in printed


def test_a_standing_for_a_terminal_is_none(stage: Stage) -> None:
    Lying.standing = ESCAPE
    try:
        printed = typed(stage, "doctor")
    finally:
        Lying.standing = ""
    assert "\x1b" not in printed
    assert "\x07" not in printed


def typed(stage: Stage, line: str, answer: str = "") -> str:
    """What a person sees who types a command: results and errors."""
    out = io.StringIO()
    words = ["fedcode-client", *line.split(), "--home", str(stage.acme.home.root)]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        patch.setattr(sys, "argv", words)
        patch.setattr(sys, "stdin", io.StringIO(answer))
        patch.setenv("COLUMNS", "500")
        with pytest.raises(SystemExit):
            fedcode_client.cli.main()
    return out.getvalue()


# Rounds.


@pytest.fixture(scope="module")
def signed(stage: Stage) -> SignedAgreement:
    """What acme has agreed to, and all have signed; the coordinator's own rounds are held back."""
    run = agreed(stage)
    stage.process._next = lambda: None  # type: ignore[method-assign]
    for one in stage.parties.organizations.values():
        one.accept(run)
    until(lambda: bool(stage.acme.answering.agreements))
    (found,) = RunFolder(stage.parties.home.runs / run).agreements()
    assert stage.acme.answering.agreements == (found.agreement.digest(),)
    return found


def plan(
    stage: Stage, signed: SignedAgreement, key: SigningKey | None = None, **changes: Any
) -> bytes:
    values = {
        "agreement": signed.agreement.digest(),
        "round": 1,
        "cohort": tuple(NAMES),
        "weights": np.zeros(WEIGHTS, np.float32),
    }
    made = Plan(**values | changes)
    return encode(sign(made, key or stage.parties.home.signing_key()))


def unsigned(signed: SignedAgreement) -> bytes:
    zeros = np.zeros(WEIGHTS, np.float32)
    return encode(Plan(signed.agreement.digest(), 1, tuple(NAMES), zeros, "0" * 128))


def cut(data: bytes) -> bytes:
    return data[:-4]


LIES: dict[str, tuple[Callable[[Stage, SignedAgreement], bytes], str]] = {
    "no message": (lambda s, a: b"fedcode/9 " + bytes(100), "plan"),
    "another agreement": (lambda s, a: plan(s, a, agreement="5" * 64), "agreement"),
    "another's key": (lambda s, a: plan(s, a, SigningKey.generate()), "plan"),
    "no signature": (lambda s, a: unsigned(a), "plan"),
    "a smaller model": (lambda s, a: plan(s, a, weights=np.zeros(6, np.float32)), "plan"),
    "a larger model": (lambda s, a: plan(s, a, weights=np.zeros(1 << 20, np.float32)), "plan"),
    "weights that are no numbers": (
        lambda s, a: plan(s, a, weights=np.full(WEIGHTS, np.nan, np.float32)), "plan"),
    "weights without end": (
        lambda s, a: plan(s, a, weights=np.full(WEIGHTS, np.inf, np.float32)), "plan"),
    "bytes that are missing": (lambda s, a: cut(plan(s, a)), "plan"),
    "bytes too many": (lambda s, a: plan(s, a) + b"\x00", "plan"),
    "we alone": (lambda s, a: plan(s, a, cohort=("acme",)), "plan"),
    "two of three": (lambda s, a: plan(s, a, cohort=("acme", "globex")), "plan"),
    "without us": (lambda s, a: plan(s, a, cohort=("globex", "initech")), "plan"),
    "with a stranger": (lambda s, a: plan(s, a, cohort=("acme", "globex", "mallory")), "plan"),
    "a round after the last": (lambda s, a: plan(s, a, round=4), "plan"),
    "a step before any plan": (lambda s, a: encode(sign(KeyBook(
        a.agreement.digest(), 1, "1" * 64, ()), s.parties.home.signing_key())), "plan"),
    "survivors before any plan": (lambda s, a: encode(sign(SurvivorList(
        a.agreement.digest(), 1, *["1" * 64] * 3, tuple(NAMES)),
        s.parties.home.signing_key())), "plan"),
    "a member's own message": (lambda s, a: encode(sign(Confirmation(
        a.agreement.digest(), 1, "1" * 64, "acme", *["1" * 64] * 2, tuple(NAMES)),
        s.parties.home.signing_key())), "plan"),
}  # fmt: skip


@pytest.mark.parametrize("what", LIES)
def test_a_round_that_was_not_agreed_on_is_refused_by_a_code(
    stage: Stage, signed: SignedAgreement, what: str
) -> None:
    stage.said()
    make, code = LIES[what]
    answer = decode(stage.ask(make(stage, signed)), weights=WEIGHTS, length=WEIGHTS)
    assert isinstance(answer, Refusal)
    assert str(answer.code) == code
    (line,) = [one for one in stage.said() if one["event"] == "refused"]
    assert line["code"] == code
    assert stage.acme.ledger.history(ASSET) == []


def test_one_plan_a_round_and_one_set_of_survivors(stage: Stage, signed: SignedAgreement) -> None:
    """The second plan for a round that has begun; the first one again gets the same bytes again."""
    first = plan(stage, signed)
    keys = stage.ask(first)
    assert not isinstance(decode(keys, weights=WEIGHTS, length=WEIGHTS), Refusal)
    other = plan(stage, signed, weights=np.ones(WEIGHTS, np.float32))
    assert isinstance(decode(stage.ask(other), weights=WEIGHTS, length=WEIGHTS), Refusal)
    assert stage.ask(first) == keys
    assert stage.acme.ledger.history(ASSET) == []


def test_after_all_that_the_run_is_carried_out_and_paid_once_a_round(
    stage: Stage, signed: SignedAgreement
) -> None:
    run = next(row.name for row in stage.process.runs.all() if row.state == "offered")
    for name in NAMES[1:]:
        stage.parties.organizations[name].up()
    # The first round's plan above was another one: acme will not begin that round again.
    del stage.process._next
    finished(stage.process, run, 60)
    lines = RunFolder(stage.parties.home.runs / run).done()
    assert [line["round"] for line in lines] == [1, 2, 3]
    last = lines[-1]["survivors"]
    assert list(last) == NAMES
    paid = [one.round for one in stage.acme.ledger.history(ASSET) if one.state != "REFUNDED"]
    assert paid == sorted(set(paid))
    assert set(paid) <= {1, 2, 3}
    replay = plan(stage, signed, round=2)
    answer = decode(stage.ask(replay), weights=WEIGHTS, length=WEIGHTS)
    assert isinstance(answer, Refusal)
    assert len(stage.acme.ledger.history(ASSET)) == len(paid)


# The program.


@pytest.fixture
def program(stage: Stage, tmp_path: Path) -> Iterator[tuple[Stage, subprocess.Popen[bytes]]]:
    """`fedcode-client up` in a process of its own, for an organization with a ledger and code."""
    other = Stage(stage.parties, stage.process, stage.log, stage.replies, "hooli")
    home = stage.parties.join("hooli").home
    write_code(tmp_path / "code", 7)
    source = f"path:{tmp_path / 'code'}"
    text = f'source = "{source}"\n{home.toml.read_text()}'
    home.toml.write_text(text)
    signed = officers.policy(*officers.KEYS[:2], caps={"epsilon": 200.0}, organization="hooli")
    named = desk.asset(source, register=True)
    with BudgetLedger.open(home.ledger / "ledger.sqlite") as ledger:
        ledger.open_account(named, policy=signed, unit=PrivacyUnit.FUNCTION, order=4.0)
    process = subprocess.Popen(
        [sys.executable, "-m", "fedcode_client", "up", "--home", str(home.root)],
        stdout=subprocess.PIPE,
        env=os.environ | {"FEDCODE_CACHE": str(tmp_path / "cache")},
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    yield other, process
    process.terminate()
    process.communicate(timeout=60)


def test_the_program_lives_through_it_all(program: tuple[Stage, subprocess.Popen[bytes]]) -> None:
    stage, process = program
    log = stage.organization.home.log / "client.log"
    grid = stage.process._link.grid()
    for content in FLOWERS.values():
        message = Message(content, stage.node, MessageType.TRAIN)
        (reply,) = grid.send_and_receive([message], timeout=30)
        assert reply.has_error()
    names = ["hooli", *NAMES[1:]]
    run = stage.parties.ask(stage.process, federation_of(names, rounds=1), WEIGHTS)
    for name in names:
        stage.parties.organizations[name].accept(run)
    until(lambda: "cannot take part" in log.read_text())  # a task that its code does not know
    for data in (b"hello", bytes(1000), b"fedcode/1P" + bytes(4)):
        assert isinstance(decode(stage.ask(data), weights=WEIGHTS, length=WEIGHTS), Refusal)
    assert process.poll() is None
    text = log.read_text()
    assert text.isascii()
    assert "Traceback" not in text
    assert "def " not in text
    said = [json.loads(line) for line in text.splitlines()]
    assert sum(line["event"] == "no message of ours" for line in said) == len(FLOWERS)
    with BudgetLedger.open(stage.organization.home.ledger / "ledger.sqlite", read_only=True) as it:
        assert all(it.history(one.asset) == [] for one in it.accounts())
