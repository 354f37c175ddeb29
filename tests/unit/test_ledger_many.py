# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Charges of many accounts in one transaction: all of them, or none."""

import pytest
from officers import open_real

from fedcode.errors import BudgetExhausted, ConfigError, PolicyRefusal, PrivacyError
from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit

BUDGET = Filter.for_budget(8.0, 1e-5, 4.0)
COST = BUDGET.cost(1.0, 0.1, 2)
UNIT = PrivacyUnit.FUNCTION
NAMES = ["a", "b", "c"]


@pytest.fixture
def ledger(tmp_path):
    with BudgetLedger.open(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def opened(ledger, names=NAMES, budget=BUDGET):
    owners = [(name, f"{name}'s") for name in names]
    return ledger.open_many_simulated(owners, unit=UNIT, budget=budget)


def charge(ledger, assets=NAMES, cost=COST, number=1, **changes):
    terms = {"agreement": "a" * 64, "purpose": "test", "task": "t", "round": number} | changes
    return ledger.charge_many(cost, assets=assets, **terms)


def test_each_account_pays_what_it_would_have_paid_alone(ledger) -> None:
    opened(ledger)
    receipts = charge(ledger)
    assert [r.asset for r in receipts] == NAMES
    assert [ledger.spent(name) for name in NAMES] == [COST.nano] * 3
    one = ledger.charge(COST, asset="a", agreement="a" * 64, purpose="test", task="t", round=2)
    assert (one.cost_nano, one.epsilon, one.seeded) == (COST.nano, 8.0, True)
    assert receipts[1].seq == receipts[0].seq + 1
    assert len({r.hash for r in receipts}) == 3
    assert ledger.verify() == 7


def test_receipts_of_one_transaction_end_each_for_itself(ledger) -> None:
    opened(ledger)
    first, second, third = charge(ledger)
    ledger.refund(first)
    ledger.arm(second, "p" * 64, b"bytes")
    ledger.sent(second)
    assert [ledger.spent(name) for name in NAMES] == [0, COST.nano, COST.nano]
    assert third.used is False
    ledger.verify()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_account_without_budget_refuses_all(ledger, place) -> None:
    opened(ledger)
    rounds = BUDGET.budget_nano // COST.nano
    for number in range(rounds):
        charge(ledger, [NAMES[place]], number=number + 1)
    head, spent = ledger.head, [ledger.spent(name) for name in NAMES]
    with pytest.raises(BudgetExhausted, match=f"{NAMES[place]}'s"):
        charge(ledger, number=rounds + 1)
    assert ledger.head == head
    assert [ledger.spent(name) for name in NAMES] == spent
    ledger.verify()


def test_an_account_that_is_named_twice_pays_twice(ledger) -> None:
    opened(ledger)
    charge(ledger, ["a", "a"])
    assert ledger.spent("a") == 2 * COST.nano
    most = BUDGET.budget_nano // COST.nano
    with pytest.raises(BudgetExhausted):
        charge(ledger, ["b"] * (most + 1))
    assert ledger.spent("b") == 0


def test_the_checks_are_those_of_one_charge(ledger) -> None:
    opened(ledger)
    head = ledger.head
    with pytest.raises(PrivacyError, match="no account"):
        charge(ledger, [*NAMES, "d"])
    with pytest.raises(PrivacyError, match="below its price"):
        charge(ledger, cost=Cost(1, 4.0, 1.0, 0.1, 2))
    with pytest.raises(PrivacyError, match="order"):
        charge(ledger, cost=Filter.for_budget(8.0, 1e-5, 8.0).cost(1.0, 0.1, 2))
    with pytest.raises(ConfigError, match="round"):
        charge(ledger, number=0)
    with pytest.raises(BudgetExhausted, match="may spend"):
        charge(ledger, allowance=COST.nano - 1)
    assert ledger.head == head


def test_a_policy_refuses_for_all(ledger) -> None:
    for name in NAMES:
        open_real(ledger, name)
    head = ledger.head
    with pytest.raises(PolicyRefusal):
        charge(ledger, purpose="something else")
    assert ledger.head == head
    assert [r.seeded for r in charge(ledger)] == [False] * 3


def test_nobody_pays_nothing(ledger) -> None:
    opened(ledger)
    head = ledger.head
    assert charge(ledger, []) == []
    assert ledger.head == head


def test_accounts_are_opened_all_or_none_and_once(ledger) -> None:
    opened(ledger, ["b"], Filter.for_budget(4.0, 1e-5, 4.0))
    head = ledger.head
    with pytest.raises(PrivacyError, match="another budget"):
        opened(ledger)
    assert ledger.head == head
    assert ledger.account("a") is None
    found = opened(ledger, ["a", "c"])
    assert opened(ledger, ["a", "c", "a"]) == [*found, found[0]]
    assert len(ledger.accounts()) == 3


def test_a_crash_in_the_middle_charges_nobody(ledger, monkeypatch) -> None:
    opened(ledger)
    head, append, calls = ledger.head, ledger._chain.append, []

    def fails_at_the_third(kind, asset, body):
        calls.append(asset)
        if len(calls) == 3:
            raise MemoryError
        return append(kind, asset, body)

    monkeypatch.setattr(ledger._chain, "append", fails_at_the_third)
    with pytest.raises(MemoryError):
        charge(ledger)
    monkeypatch.undo()
    assert ledger.head == head
    assert len(charge(ledger)) == 3
