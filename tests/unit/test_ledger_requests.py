# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a ledger answers to a process that asks again, since its answer was lost."""

import json
import sqlite3

import pytest
from officers import open_real

from fedcode.errors import BudgetExhausted, LedgerDamaged, PrivacyError
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import BudgetLedger, ChargeId
from fedcode.privacy.ledger.chain import Chain
from fedcode.privacy.ledger.migrations import scripts
from fedcode.privacy.receipt import Receipt

COST = Cost(10, 4.0, 1e5, 1e-3, 1)
ASKED = {"asset": "code", "agreement": "a", "purpose": "research", "task": "t", "round": 1}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with BudgetLedger.open(path) as ledger:
        open_real(ledger, "code")
        yield ledger


def pay(ledger, request="r", cost=COST, **changes):
    return ledger.charge_once(request, cost, **ASKED | changes)


def named(paid):
    return ChargeId(paid.seq, paid.hash)


def test_a_request_is_paid_once_however_often_it_comes(ledger, path) -> None:
    first = pay(ledger)
    with BudgetLedger.open(path) as again:
        assert pay(again) == first
    assert not isinstance(first, Receipt)  # whoever asked makes one, and one only
    assert ledger.spent("code") == COST.nano
    assert ledger.verify() == 2


@pytest.mark.parametrize(
    "other", [{"request": "s"}, {"round": 2}, {"agreement": "b"}, {"asset": "other"}]
)
def test_another_request_is_another_charge(ledger, other) -> None:
    open_real(ledger, "other")
    assert pay(ledger).seq != pay(ledger, **other).seq
    assert ledger.spent("code") + ledger.spent("other") == 2 * COST.nano


@pytest.mark.parametrize(
    "other", [{"purpose": "test"}, {"task": "toy"}, {"cost": Cost(11, 4.0, 1e5, 1e-3, 1)}]
)
def test_a_request_for_something_else_is_refused(ledger, other) -> None:
    pay(ledger)
    with pytest.raises(PrivacyError, match="was for another charge"):
        pay(ledger, **other)
    assert ledger.spent("code") == COST.nano


def test_a_request_that_is_over_is_no_charge_any_more(ledger) -> None:
    ledger.arm(named(pay(ledger)), "p", b"bytes")
    ledger.refund(named(pay(ledger, round=2)))
    for number, state in ((1, "ARMED"), (2, "REFUNDED")):
        with pytest.raises(PrivacyError, match=f"is {state}, not RESERVED"):
            pay(ledger, round=number)


def test_a_request_has_the_checks_of_a_charge(ledger) -> None:
    with pytest.raises(BudgetExhausted, match="may spend 9"):
        pay(ledger, allowance=9)
    with pytest.raises(PrivacyError, match="below its price"):
        pay(ledger, cost=Cost(1, 4.0, 1.0, 0.1, 2))
    with pytest.raises(PrivacyError, match="no account"):
        pay(ledger, asset="unknown")
    assert ledger.spent("code") == 0
    pay(ledger, allowance=10)
    pay(ledger, allowance=10)  # the same one: it is not spent again


def test_each_step_of_a_charge_may_be_asked_again(ledger) -> None:
    paid = named(pay(ledger))
    for _ in range(2):
        ledger.arm(paid, "p", b"bytes")
    for _ in range(2):
        ledger.sent(paid)
    ledger.arm(paid, "p", b"bytes")
    back = named(pay(ledger, round=2))
    for _ in range(2):
        ledger.refund(back)
    assert [c.state for c in ledger.history("code")] == ["SENT", "REFUNDED"]
    assert ledger.verify() == 6


def test_asking_again_for_something_else_is_refused(ledger) -> None:
    paid = named(pay(ledger))
    ledger.arm(paid, "p", b"bytes")
    for plan, message in (("q", b"bytes"), ("p", b"other")):
        with pytest.raises(PrivacyError, match="is ARMED, not RESERVED"):
            ledger.arm(paid, plan, message)
    with pytest.raises(PrivacyError, match="is ARMED, not RESERVED"):
        ledger.refund(paid)
    other = named(pay(ledger, "s"))
    with pytest.raises(PrivacyError, match="round 1 was answered already"):
        ledger.arm(other, "p", b"bytes")
    assert ledger.answer("code", "a", 1).message == b"bytes"


@pytest.mark.parametrize("act", ["arm", "sent", "refund"])
def test_a_charge_goes_by_its_row_and_its_hash(ledger, act) -> None:
    paid = pay(ledger)
    words = ("p", b"bytes") if act == "arm" else ()
    for wrong in (ChargeId(paid.seq, "0" * 64), ChargeId(paid.seq - 1, paid.hash)):
        with pytest.raises(PrivacyError, match="is not of this ledger"):
            getattr(ledger, act)(wrong, *words)
    assert [c.state for c in ledger.history("code")] == ["RESERVED"]


def test_a_request_that_was_forged_to_pay_twice_is_found(ledger, path) -> None:
    pay(ledger)
    row = json.loads(list(ledger.export())[-1])["body"]
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP INDEX entries_requested")
    connection.commit()
    connection.close()
    totals = {f"{name}_nano": 20 for name in ("spent", "purpose", "agreement", "charged")}
    with Chain(path, scripts=scripts()) as chain, chain.writing():
        chain.append("RESERVED", "code", row | totals)
    with pytest.raises(LedgerDamaged, match="row 3 of the ledger pays for a request again"):
        BudgetLedger.open(path)


def test_an_older_file_can_be_read_and_is_brought_up_when_it_is_written(path) -> None:
    with Chain(path, scripts=scripts()[:1]):
        pass
    with BudgetLedger.open(path, read_only=True) as ledger:
        assert ledger.verify() == 0
    with BudgetLedger.open(path) as ledger:
        open_real(ledger, "code")
        assert pay(ledger) == pay(ledger)
