# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Requests and answers that are lost, or come twice: nothing is paid or answered twice."""

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import hypothesis.strategies as st
import pytest
from budget_service import ASKED, COST, connect, opened
from hypothesis import HealthCheck, given, settings

from fedcode.errors import LedgerUnreachable, PrivacyError
from fedcode.privacy.ledger import BudgetLedger
from fedcode_client.budget import OfficersDesk, RemoteLedger, Role, asking
from fedcode_client.budget.service import LEDGER, Service


class Lost(grpc.RpcError):
    """What a caller sees when it knows nothing."""

    def __init__(self, code=grpc.StatusCode.UNAVAILABLE):
        super().__init__()
        self._code = code

    def code(self):
        return self._code


class Faults(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    """Does to each attempt what is next: ``fine``, ``request`` lost, ``answer`` lost, ``twice``."""

    def __init__(self):
        self.next, self.attempts = iter(()), 0

    def _attempt(self, continuation, details, make):
        self.attempts += 1
        what = next(self.next, "fine")
        if what == "request":
            raise Lost
        answer = continuation(details, make())
        if what == "fine":
            return answer
        if what == "late":
            answer.result()
            raise Lost(grpc.StatusCode.DEADLINE_EXCEEDED)
        if what == "answer":
            answer.result()
            raise Lost
        answer.result()
        return continuation(details, make())

    def intercept_unary_unary(self, continuation, details, request):
        return self._attempt(continuation, details, lambda: request)

    def intercept_stream_unary(self, continuation, details, requests):
        every = list(requests)
        return self._attempt(continuation, details, lambda: iter(every))

    def intercept_unary_stream(self, continuation, details, request):
        self.attempts += 1
        if next(self.next, "fine") == "fine":
            return continuation(details, request)
        raise Lost


@contextmanager
def faulty():
    """A service, its file, and a trainer whose every attempt goes through ``Faults``."""
    memory = Path("/dev/shm")
    with ExitStack() as held:
        name = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        folder = Path(held.enter_context(name)) / "ledger"
        held.enter_context(Service(folder))
        with OfficersDesk(connect(folder, Role.OFFICER)) as desk:
            opened(desk)
        faults, plain = Faults(), connect(folder, Role.TRAINER)
        ledger = RemoteLedger(lambda: grpc.intercept_channel(plain(), faults), 30.0)
        yield held.enter_context(ledger), faults, folder / LEDGER


@pytest.fixture(scope="module")
def trouble():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "_PAUSE", 0.0)
        with faulty() as found:
            yield found


FAULTS = st.lists(st.sampled_from(["fine", "request", "answer", "late", "twice"]), max_size=4)
NUMBERS = iter(range(1, 1_000_000))


def row(path, seq):
    with BudgetLedger.open(path, read_only=True) as file:
        return next(charge for charge in file.history("code") if charge.seq == seq)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(faults=st.lists(FAULTS, min_size=5, max_size=5), ends=st.sampled_from(["send", "refund"]))
def test_whatever_is_lost_a_round_is_paid_once_and_answered_once(trouble, faults, ends) -> None:
    ledger, injected, path = trouble
    number = next(NUMBERS)
    with BudgetLedger.open(path, read_only=True) as file:
        before, charges = file.spent("code"), file.charges("code")
    steps = iter(faults)
    injected.next = iter(next(steps))
    receipt = ledger.charge(COST, round=number, **ASKED)
    injected.next = iter(next(steps))
    if ends == "refund":
        ledger.refund(receipt)
    else:
        ledger.arm(receipt, "plan", b"%d" % number)
        injected.next = iter(next(steps))
        ledger.sent(receipt)
        injected.next = iter(next(steps))
        ledger.latch("code", "a" * 64, number, "survivors", "d")
        injected.next = iter(next(steps))
        assert ledger.answer("code", "a" * 64, number).message == b"%d" % number
    injected.next = iter(())
    assert row(path, receipt.seq).state == {"refund": "REFUNDED", "send": "SENT"}[ends]
    paid = 0 if ends == "refund" else 1
    with BudgetLedger.open(path, read_only=True) as file:
        assert file.spent("code") == before + paid * COST.nano
        assert file.charges("code") == charges + paid


def test_the_ledger_is_in_order_after_all_of_it(trouble) -> None:
    _, injected, path = trouble
    assert injected.attempts > 300
    with BudgetLedger.open(path, read_only=True) as file:
        assert file.verify()


def test_a_refusal_is_not_asked_again(trouble) -> None:
    ledger, injected, _ = trouble
    before = injected.attempts
    with pytest.raises(PrivacyError, match="no account"):
        ledger.charge(COST, round=1, **ASKED | {"asset": "unknown"})
    assert injected.attempts == before + 1


def test_a_charge_that_nobody_knows_of_stays_paid(monkeypatch) -> None:
    monkeypatch.setattr(asking, "_PAUSE", 0.0)
    with faulty() as (ledger, injected, path):
        ledger._asking._patience = 0.5
        injected.next = iter(["answer"] * 100_000)
        with pytest.raises(LedgerUnreachable, match="does not answer"):
            ledger.charge(COST, round=1, **ASKED)
        injected.next = iter(())
        ledger.charge(COST, round=1, **ASKED)  # another request: it pays again
        with BudgetLedger.open(path, read_only=True) as file:
            assert file.spent("code") == 2 * COST.nano


def test_a_service_that_forgets_requests_is_found(monkeypatch, trouble) -> None:
    """The test can fail: a service that pays for each attempt passes none of it."""
    once = BudgetLedger.charge_once
    attempts = iter(range(1_000_000))

    def each(self, request, *words, **named):
        return once(self, f"{request} {next(attempts)}", *words, **named)

    monkeypatch.setattr(BudgetLedger, "charge_once", each)
    ledger, injected, path = trouble
    with BudgetLedger.open(path, read_only=True) as file:
        before = file.spent("code")
    injected.next = iter(["answer"])
    ledger.charge(COST, round=next(NUMBERS), **ASKED)
    with BudgetLedger.open(path, read_only=True) as file:
        assert file.spent("code") == before + 2 * COST.nano
