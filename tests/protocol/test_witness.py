# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator remembers heads: a ledger that is set back, or replaced, is noticed."""

import sqlite3
from types import SimpleNamespace

import grpc
import pytest
from officers import KEYS, open_real

from fedcode.errors import LedgerDamaged, PrivacyError
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import Acknowledgement, BudgetLedger
from fedcode.services import enrollment_pb2 as messages
from fedcode.services.serving import Refused
from fedcode.signing import SigningKey
from fedcode_client import witness
from fedcode_server.database import Database
from fedcode_server.tables import MemberRow
from fedcode_server.witness import MOST, NotTheLast, TooManyLedgers, Witness, Witnessing

COORDINATOR = KEYS[2]


@pytest.fixture
def database(tmp_path):
    made = Database.open(tmp_path / "registry.sqlite")
    with made.writing() as session:
        for name in ("acme", "globex"):
            row = {"signing_key": name, "node_key": name, "enrolled": 0, "changed": 0}
            session.add(MemberRow(name=name, state="approved", **row))
    yield made
    made.close()


@pytest.fixture
def remembers(database):
    return Witness(database, COORDINATOR)


class Error(grpc.RpcError):
    def __init__(self, code):
        super().__init__()
        self._code = code

    def code(self):
        return self._code


class Stub:
    """The coordinator's service, without a network: refusals arrive as gRPC tells them."""

    def __init__(self, remembers, member="acme"):
        self._servicer = Witnessing.__new__(Witnessing)
        self._servicer.witness = remembers
        self._servicer.caller = lambda _context: SimpleNamespace(name=member)
        self.lost = 0

    def _call(self, method, request):
        try:
            answer = method(request, None)
        except Refused as refused:
            raise Error(refused.code) from None
        if self.lost:
            self.lost -= 1
            raise Error(grpc.StatusCode.UNAVAILABLE)
        return answer

    def Countersign(self, request):
        return self._call(self._servicer.Countersign, request)

    def Countersigned(self, request):
        return self._call(self._servicer.Countersigned, request)


@pytest.fixture
def stub(remembers):
    return Stub(remembers)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with BudgetLedger.open(path) as ledger:
        open_real(ledger, "code")
        yield ledger


def charge(ledger, number):
    cost = Cost(10, 4.0, 1e5, 1e-3, 1)
    ledger.charge(cost, asset="code", agreement="a", purpose="research", task="t", round=number)


def countersign(ledger, stub):
    return witness.countersign(ledger, stub, COORDINATOR.public)


def check(ledger, stub):
    return witness.check(ledger, stub, COORDINATOR.public)


def copied(path):
    """A snapshot of the ledger as it is."""
    source = sqlite3.connect(path)
    copy = path.with_name("copy.sqlite")
    source.execute("VACUUM INTO ?", (str(copy),))
    source.close()
    return copy


def test_heads_follow_one_another(ledger, stub, remembers) -> None:
    for number in (1, 2, 3):
        charge(ledger, number)
        made = countersign(ledger, stub)
        assert made.head != ledger.head  # the answer itself is a row
        assert remembers.countersigned("acme") == [made]
        assert check(ledger, stub) == [made]
    assert remembers.countersigned("globex") == []
    assert ledger.verify() == 7


def test_a_ledger_without_rows_has_nothing_to_show(tmp_path, stub, remembers) -> None:
    with BudgetLedger.open(tmp_path / "empty.sqlite") as empty:
        assert countersign(empty, stub) is None
        assert check(empty, stub) == []


def test_a_ledger_that_was_set_back_is_refused_with_the_way_out(ledger, path, stub) -> None:
    countersign(ledger, stub)
    copy = copied(path)
    charge(ledger, 1)
    lost = countersign(ledger, stub)
    with BudgetLedger.open(copy) as restored:
        for act in (check, countersign):
            with pytest.raises(LedgerDamaged, match="it was set back") as caught:
                act(restored, stub)
        assert lost.head in str(caught.value)
        assert "two officers acknowledge" in caught.value.hint
        known = Acknowledgement(restored.identity, lost.ledger, lost.head, 8.0)
        restored.acknowledge(known.sign(KEYS[0]).sign(KEYS[1]))
        assert check(restored, stub) == [lost]
        later = countersign(restored, stub)
        assert check(restored, stub) == [later]
        assert restored.remaining("code") == 0
    with pytest.raises(LedgerDamaged, match="set back"):  # and the one before is the old one now
        check(ledger, stub)


def test_another_ledger_in_its_place_is_refused(ledger, stub, tmp_path) -> None:
    countersign(ledger, stub)
    with BudgetLedger.open(tmp_path / "new.sqlite") as other:
        with pytest.raises(LedgerDamaged, match="of another ledger"):
            check(other, stub)  # empty as it is
        open_real(other, "code")
        with pytest.raises(LedgerDamaged, match="of another ledger"):
            countersign(other, stub)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_signature_that_is_lost_is_asked_for_again(ledger, stub, remembers, lost) -> None:
    charge(ledger, 1)
    countersign(ledger, stub)
    charge(ledger, 2)
    signing = stub.Countersign
    stub.Countersign = lambda request: (setattr(stub, "lost", lost), signing(request))[1]
    with pytest.raises(grpc.RpcError):
        countersign(ledger, stub)
    stub.Countersign, stub.lost = signing, 0
    charge(ledger, 3)
    made = countersign(ledger, stub)
    assert remembers.countersigned("acme") == [made]
    ledger.verify()


def test_two_agents_with_copies_of_one_ledger_are_noticed(ledger, path, stub) -> None:
    countersign(ledger, stub)
    with BudgetLedger.open(copied(path)) as other:
        charge(other, 1)
        charge(ledger, 1)
        countersign(ledger, stub)
        with pytest.raises(LedgerDamaged, match="set back"):
            countersign(other, stub)
        asked = messages.Head(ledger=other.identity, head=other.head, previous="0" * 64)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Countersign(asked)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_head_that_moves_between_two_questions_is_said(ledger, stub, monkeypatch) -> None:
    """Another agent is faster, with the same file: nothing is signed twice."""
    countersign(ledger, stub)
    charge(ledger, 1)
    monkeypatch.setattr(stub, "Countersigned", lambda _: messages.CountersignedHeads())
    with pytest.raises(PrivacyError, match="countersigned another head in the meantime"):
        countersign(ledger, stub)


def test_a_witness_that_signs_something_else_is_not_believed(ledger, stub, remembers) -> None:
    made = countersign(ledger, stub)
    with pytest.raises(PrivacyError, match="not signed by a witness"):
        witness.check(ledger, stub, SigningKey.generate().public)
    forged = messages.CountersignedHead(ledger=made.ledger, head="1" * 64, signature=made.signature)
    stub.Countersigned = lambda _: messages.CountersignedHeads(heads=[forged])
    with pytest.raises(PrivacyError, match="not signed by a witness"):
        check(ledger, stub)
    stub.Countersigned = lambda _: messages.CountersignedHeads()
    other = remembers.countersign("globex", made.ledger, "2" * 64, "")
    stub.Countersign = lambda _: messages.CountersignedHead(
        ledger=other.ledger, head=other.head, signature=other.signature
    )
    with pytest.raises(PrivacyError, match="another head than it was shown"):
        countersign(ledger, stub)


def test_the_coordinator_remembers_over_a_restart(remembers, database, tmp_path) -> None:
    first = remembers.countersign("acme", "a" * 64, "1" * 64, "")
    assert remembers.countersign("acme", "a" * 64, "1" * 64, "") == first  # its answer was lost
    again = Witness(Database.open(tmp_path / "registry.sqlite"), COORDINATOR)
    for previous in ("", "3" * 64):
        with pytest.raises(NotTheLast):
            again.countersign("acme", "a" * 64, "2" * 64, previous)
    assert again.countersign("acme", "a" * 64, "2" * 64, "1" * 64).head == "2" * 64
    again._database.close()


def test_a_member_has_room_for_a_few_ledgers(remembers, stub) -> None:
    for number in range(MOST):
        remembers.countersign("acme", f"{number:064}", "1" * 64, "")
    with pytest.raises(TooManyLedgers):
        remembers.countersign("acme", "f" * 64, "1" * 64, "")
    remembers.countersign("globex", "f" * 64, "1" * 64, "")
    for words in ({"ledger": "x", "head": "1" * 64}, {"ledger": "1" * 64, "head": "A" * 64}):
        with pytest.raises(grpc.RpcError) as caught:
            stub.Countersign(messages.Head(**words))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
