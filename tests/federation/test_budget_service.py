# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger in a service, over real sockets: what a trainer may, what an officer may."""

import dataclasses

import grpc
import numpy as np
import pytest
from budget_service import ASKED, COST, ORDER, connect, opened, served
from officers import KEYS, policy

from fedcode.errors import (
    BudgetExhausted,
    ConfigError,
    LedgerDamaged,
    LedgerUnreachable,
    PolicyRefusal,
    PrivacyError,
    RunError,
)
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import Acknowledgement, BudgetLedger, CountersignedHead, Ledger
from fedcode.record import PrivacyUnit
from fedcode.rounds.member import Member
from fedcode.services import budget_pb2 as messages
from fedcode.services.budget_pb2_grpc import BudgetStub
from fedcode.signing import SigningKey
from fedcode.simulation.identities import coordinator_of, key_of
from fedcode.wire import Plan, Refusal, decode, encode, sign
from fedcode_client.budget import OfficersDesk, RemoteLedger, Role, keys
from fedcode_client.budget.asking import connection
from fedcode_client.budget.pieces import LARGEST, joined
from fedcode_client.budget.service import LEDGER, Service
from tests.campaigns import member as campaign


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("organization") / "ledger"


@pytest.fixture(scope="module")
def service(folder):
    with served(folder) as (ledger, desk):
        yield ledger, desk


@pytest.fixture
def ledger(service) -> Ledger:
    return service[0]


@pytest.fixture
def desk(service):
    return service[1]


NUMBERS = iter(range(1, 1_000_000))


def pay(ledger, number=None, cost=COST, **changes):
    return ledger.charge(cost, round=number or next(NUMBERS), **ASKED | changes)


def spent(desk, asset="code"):
    one = next(one for one in desk.totals() if one.asset == asset)
    return one.budget_nano - one.left_nano


def states(folder, asset="code"):
    with BudgetLedger.open(folder / LEDGER, read_only=True) as file:
        return [charge.state for charge in file.history(asset)]


# A charge, from its reservation to its end.


def test_a_charge_goes_as_it_does_in_one_process(ledger, desk, folder) -> None:
    before = spent(desk)
    receipt = pay(ledger)
    assert (receipt.asset, receipt.cost_nano, receipt.unit) == ("code", 1000, PrivacyUnit.FUNCTION)
    assert (receipt.epsilon, receipt.delta, receipt.seeded) == (8.0, 1e-5, False)
    assert ledger.answer("code", "a" * 64, receipt.round) is None
    ledger.arm(receipt, "plan", b"message")
    answer = ledger.answer("code", "a" * 64, receipt.round)
    assert (answer.plan, answer.message) == ("plan", b"message")
    ledger.sent(receipt)
    ledger.sent_again("code", "a" * 64, receipt.round)
    assert states(folder)[-1] == "SENT"
    ledger.arm(pay(ledger), "plan", b"later")
    assert ledger.answer("code", "a" * 64, receipt.round).message is None
    assert spent(desk) == before + 2000


def test_a_receipt_pays_for_one_release_and_comes_back_unused_only(ledger, desk) -> None:
    before = spent(desk)
    used, unused = pay(ledger), pay(ledger)
    used.use()
    ledger.refund(unused)
    for receipt in (used, unused):
        with pytest.raises(PrivacyError, match="used already"):
            ledger.refund(receipt)
    assert spent(desk) == before + 1000


def test_two_callers_pay_twice(ledger, folder, desk) -> None:
    before, number = spent(desk), next(NUMBERS)
    with RemoteLedger(connect(folder, Role.TRAINER)) as other:
        receipts = [pay(one, number) for one in (ledger, other)]
    assert len({receipt.seq for receipt in receipts}) == 2
    assert spent(desk) == before + 2000


def test_a_step_is_answered_once(ledger) -> None:
    ledger.latch("code", "a" * 64, 1, "survivors", "1")
    ledger.latch("code", "a" * 64, 1, "survivors", "1")
    with pytest.raises(PrivacyError, match="answered otherwise"):
        ledger.latch("code", "a" * 64, 1, "survivors", "2")


def test_64_mebibytes_go_there_and_back(ledger) -> None:
    message = np.random.default_rng(1).bytes(64 << 20)
    receipt = pay(ledger)
    ledger.arm(receipt, "plan", message)
    assert ledger.answer("code", "a" * 64, receipt.round).message == message


@pytest.mark.parametrize("size", [0, 1, (4 << 20) - 1, 4 << 20, (4 << 20) + 1])
def test_messages_of_all_lengths_arrive_whole(ledger, size) -> None:
    receipt = pay(ledger)
    ledger.arm(receipt, "plan", bytes(size))
    assert ledger.answer("code", "a" * 64, receipt.round).message == bytes(size)


def test_a_message_that_is_not_as_long_as_it_says_is_not_kept(ledger, folder) -> None:
    receipt = pay(ledger)
    named = messages.ChargeId(seq=receipt.seq, hash=receipt.hash)

    def parts(size, *contents):
        yield messages.ArmPart(header=messages.ArmHeader(charge=named, plan="p", size=size))
        for content in contents:
            yield messages.ArmPart(content=content)

    with connect(folder, Role.TRAINER)() as channel:
        for size, contents in ((3, [b"ab"]), (3, [b"ab", b"cd"]), (LARGEST + 1, [b"ab"])):
            with pytest.raises(grpc.RpcError) as caught:
                BudgetStub(channel).Arm(parts(size, *contents))
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert states(folder)[-1] == "RESERVED"
    with pytest.raises(PrivacyError, match="more than"):
        joined(LARGEST + 1, iter([b""]))


def test_a_real_member_answers_from_a_remote_ledger(ledger, desk) -> None:
    opened(desk, "of the member")
    trainer = campaign.NoiseTrainer(lambda _name: None)
    agreed = campaign.AGREEMENT
    member = Member(
        "a",
        "of the member",
        agreed,
        campaign.COST,
        campaign.BUDGET.budget_nano,
        ledger,
        trainer,
        key_of(campaign.SEED, "a"),
    )
    weights = np.zeros(campaign.WEIGHTS, np.float32)
    plan = encode(
        sign(Plan(agreed.digest(), 1, ("a", "b"), weights), coordinator_of(campaign.SEED))
    )
    first = member.answer(plan)
    assert member.answer(plan) == first
    read = decode(first, weights=campaign.WEIGHTS, length=campaign.WEIGHTS)
    assert not isinstance(read, Refusal), member.error
    assert spent(desk, "of the member") == campaign.COST.nano


# What is refused, and how.


def test_each_refusal_arrives_as_what_it_was(ledger, desk) -> None:
    whole = desk.account("code").budget.budget_nano
    with pytest.raises(BudgetExhausted, match="remains of the budget for ε = 8") as caught:
        pay(ledger, cost=dataclasses.replace(COST, nano=whole + 1))
    assert "for good" in caught.value.hint
    with pytest.raises(BudgetExhausted, match="may spend 999"):
        pay(ledger, allowance=999)
    with pytest.raises(BudgetExhausted, match="may spend 0"):
        ledger.check_charge(COST, **ASKED, allowance=0)
    with pytest.raises(PolicyRefusal, match="the purpose sale is not one of"):
        pay(ledger, purpose="sale")
    with pytest.raises(PrivacyError, match="no account"):
        pay(ledger, asset="unknown")
    with pytest.raises(PrivacyError, match="below its price"):
        pay(ledger, cost=Cost(1, ORDER, 1.0, 0.1, 1))
    with pytest.raises(ConfigError, match="purpose must be a short text"):
        pay(ledger, purpose="a\nb")
    with pytest.raises(LedgerDamaged, match="before the head remembered"):
        desk.verify("1" * 64)
    assert ledger.account("unknown") is None
    ledger.check_charge(COST, **ASKED)


def test_only_a_later_version_with_enough_signatures_is_adopted(ledger, desk) -> None:
    with pytest.raises(PrivacyError, match="needs 2 officers"):
        desk.adopt(policy(KEYS[0], version=2, caps={"epsilon": 9.0}))
    desk.adopt(policy(*KEYS[:2], version=2, caps={"epsilon": 9.0}))
    assert ledger.account("code").budget.epsilon == 9.0
    desk.adopt(policy(KEYS[0], version=3, caps={"epsilon": 8.0}))
    assert ledger.account("code").policy.policy.version == 3


def test_what_a_stranger_sends_is_no_document(folder, desk) -> None:
    with connect(folder, Role.OFFICER)() as channel:
        for text in ("", "[]", "{}", '{"policy": {}, "signatures": []}', "[" * 100_000):
            for call in (BudgetStub(channel).Adopt, BudgetStub(channel).Acknowledge):
                with pytest.raises(grpc.RpcError) as caught:
                    call(messages.Document(json=text))
                assert caught.value.code() in (
                    grpc.StatusCode.FAILED_PRECONDITION,
                    grpc.StatusCode.INTERNAL,
                )
    assert desk.verify()[0] > 0


# Roles.

OFFICERS = {
    "OpenAccounts": messages.OpenRequest(assets=["x"]),
    "Adopt": messages.Document(json="{}"),
    "Acknowledge": messages.Document(json="{}"),
    "Verify": messages.VerifyRequest(),
    "Export": messages.ExportRequest(),
}
TRAINERS = {
    "Charge": messages.ChargeRequest(),
    "CheckCharge": messages.ChargeRequest(),
    "Sent": messages.ChargeId(),
    "SentAgain": messages.Round(),
    "Refund": messages.ChargeId(),
    "Answer": messages.Round(),
    "Latch": messages.LatchRequest(),
    "Witness": messages.WitnessedHead(),
}


def refused(folder, role, name, request):
    def ask(stub):
        answer = getattr(stub, name)(request)
        return list(answer) if hasattr(answer, "__next__") else [answer]

    with connect(folder, role)() as channel, pytest.raises(grpc.RpcError) as caught:
        ask(BudgetStub(channel))
    return caught.value.code()


@pytest.mark.parametrize("name", OFFICERS)
def test_a_trainer_decides_nothing(service, folder, name) -> None:
    code = refused(folder, Role.TRAINER, name, OFFICERS[name])
    assert code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", TRAINERS)
def test_an_officer_spends_nothing(service, folder, name) -> None:
    code = refused(folder, Role.OFFICER, name, TRAINERS[name])
    assert code is grpc.StatusCode.UNAUTHENTICATED


def test_every_call_is_for_somebody() -> None:
    every = {method.name for method in messages.DESCRIPTOR.services_by_name["Budget"].methods}
    assert keys.MAY[Role.TRAINER] | keys.MAY[Role.OFFICER] == every
    both = keys.MAY[Role.TRAINER] & keys.MAY[Role.OFFICER]
    assert both == {"GetAccount", "GetTotals", "GetHead", "CheckWitnessed"}
    assert {*OFFICERS, *TRAINERS, *both, "Arm"} == every


def test_a_trainer_reads_totals_and_no_rows(service, folder) -> None:
    with OfficersDesk(connect(folder, Role.TRAINER)) as look:
        assert look.totals()[0].asset == "code"
        with pytest.raises(PrivacyError, match="does not permit this to our certificate"):
            look.export()


def test_another_organizations_certificate_opens_nothing(service, folder, tmp_path) -> None:
    keys.make_keys(tmp_path / "keys")
    theirs = connection(tmp_path / "keys", Role.OFFICER, lambda: (folder / "address").read_text())
    with OfficersDesk(theirs, 0.0) as desk, pytest.raises(LedgerUnreachable):
        desk.totals()


def test_a_key_that_was_granted_opens_the_same_door(service, folder, tmp_path) -> None:
    keys.grant(folder / "keys", Role.TRAINER, tmp_path / "carried")
    assert sorted(file.name for file in (tmp_path / "carried").iterdir()) == [
        "ca.crt",
        "trainer.crt",
        "trainer.key",
    ]
    host = connection(tmp_path / "carried", Role.TRAINER, lambda: (folder / "address").read_text())
    with RemoteLedger(host) as ledger:
        pay(ledger)
    with pytest.raises(ConfigError, match="cannot be made"):
        keys.grant(folder / "keys", Role.TRAINER, tmp_path / "carried")


# The service itself.


def test_one_service_has_a_ledger(service, folder) -> None:
    with pytest.raises(RunError, match="another budget service has the ledger"):
        Service(folder)


def test_the_folder_is_its_owners(service, folder) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in (folder / "keys").glob("*.key"):
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_keys_stay_when_they_are_made_again(tmp_path) -> None:
    written = keys.make_keys(tmp_path)
    assert len(written) == 8
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert keys.make_keys(tmp_path) == []
    again = keys.make_keys(tmp_path, ["ledger.acme.example"])  # another name: its certificate alone
    assert [file.name for file in again] == ["service.key", "service.crt"]
    changed = [f.name for f in tmp_path.iterdir() if f.read_bytes() != before[f]]
    assert changed == ["service.crt"]


def test_a_service_that_comes_back_is_found(tmp_path) -> None:
    folder = tmp_path / "ledger"
    with RemoteLedger(connect(folder, Role.TRAINER), 20.0) as ledger:
        for number in (1, 2):
            with Service(folder), OfficersDesk(connect(folder, Role.OFFICER)) as desk:
                opened(desk)
                pay(ledger, number)
        with Service(folder):
            assert len(ledger.head) == 64
    assert states(folder) == ["RESERVED", "RESERVED"]


def test_a_service_that_is_gone_is_said(tmp_path) -> None:
    with (
        RemoteLedger(connect(tmp_path, Role.TRAINER), 0.3) as ledger,
        pytest.raises(LedgerUnreachable, match="does not run") as caught,
    ):
        pay(ledger)
    assert caught.value.hint


# Witnesses.


def test_heads_are_kept_and_asked_for(ledger, desk) -> None:
    witness = SigningKey.generate()
    seen = CountersignedHead.make(*desk.head(), witness)
    ledger.witnessed(seen)
    head = ledger.head
    ledger.witnessed(seen)  # asked again
    assert ledger.head == head != seen.head
    ledger.check_witnessed([seen])
    lost = dataclasses.replace(seen, head="0" * 64)
    with pytest.raises(LedgerDamaged, match="set back"):
        ledger.check_witnessed([lost])
    with pytest.raises(PrivacyError, match="not signed by a witness"):
        ledger.witnessed(lost)


def test_officers_acknowledge_what_is_lost(tmp_path) -> None:
    folder = tmp_path / "ledger"
    with served(folder) as (ledger, desk):
        identity, _ = desk.head()
        known = Acknowledgement(identity, identity, "0" * 64, 8.0).sign(KEYS[0])
        with pytest.raises(PrivacyError, match="needs 2 officers"):
            desk.acknowledge(known)
        desk.acknowledge(known.sign(KEYS[1]))
        with pytest.raises(BudgetExhausted):
            pay(ledger)
        assert desk.totals()[0].left == 0.0
