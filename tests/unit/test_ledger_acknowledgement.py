# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that are lost: refused, until two officers book all that may have been spent."""

import dataclasses
import math
import sqlite3

import pytest
from officers import KEYS, STRANGER, open_real, policy

from fedcode.errors import BudgetExhausted, ConfigError, LedgerDamaged, PrivacyError
from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import Acknowledgement, BudgetLedger, CountersignedHead
from fedcode.privacy.ledger.chain import Chain
from fedcode.privacy.ledger.migrations import scripts
from fedcode.record import PrivacyUnit

WITNESS = KEYS[2]
ORDER = 4.0


def nano(epsilon):
    return Filter.for_budget(epsilon, 1e-5, ORDER).budget_nano


def charge(ledger, amount, asset="code", number=1, purpose="research", agreement="a"):
    cost = Cost(amount, ORDER, 1e5, 1e-3, 1)
    return ledger.charge(
        cost, asset=asset, agreement=agreement, purpose=purpose, task="t", round=number
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def late(path):
    """A head that the ledger at ``path`` had before it was set back by 1000 nano-units."""
    copy = path.with_name("copy.sqlite")
    with BudgetLedger.open(path) as ledger:
        open_real(ledger, "code")
        charge(ledger, 500)
        source = sqlite3.connect(path)
        source.execute("VACUUM INTO ?", (str(copy),))
        source.close()
        charge(ledger, 1000, number=2)
        seen = CountersignedHead.make(ledger.identity, ledger.head, WITNESS)
    copy.rename(path)
    return seen


def acknowledged(ledger, seen, /, *keys, epsilon=8.0, **changes):
    known = Acknowledgement(ledger.identity, seen.ledger, seen.head, epsilon)
    known = dataclasses.replace(known, **changes)
    for key in keys or KEYS[:2]:
        known = known.sign(key)
    return known


def test_what_was_lost_is_spent_and_the_ledger_goes_on(path, late) -> None:
    with BudgetLedger.open(path) as ledger:
        with pytest.raises(LedgerDamaged, match="it was set back") as caught:
            ledger.check_witnessed([late])
        assert "two officers acknowledge" in caught.value.hint
        ledger.acknowledge(acknowledged(ledger, late))
        ledger.check_witnessed([late])
        assert ledger.remaining("code") == 0
        with pytest.raises(BudgetExhausted):
            charge(ledger, 1, number=3)
    with BudgetLedger.open(path, witnessed=[late]) as again:
        assert again.verify() == 3
        assert again.epsilon("code") == pytest.approx(8.0)
        assert again.epsilon("code", 2) == math.inf


def test_what_is_above_the_highest_cap_may_still_be_spent(path, late) -> None:
    """Never a reset: what was there before counts as spent to the last nano-unit."""
    with BudgetLedger.open(path) as ledger:
        ledger.acknowledge(acknowledged(ledger, late))
        ledger.adopt(policy(*KEYS[:2], version=2, caps={"epsilon": 9.0}))
        assert ledger.remaining("code") == nano(9.0) - nano(8.0)
        receipt = charge(ledger, nano(9.0) - nano(8.0), number=3)
        with pytest.raises(BudgetExhausted):
            charge(ledger, 1, number=4)
        ledger.refund(receipt)
        assert ledger.remaining("code") == nano(9.0) - nano(8.0)
        ledger.verify()


def test_a_cap_that_stood_in_lost_rows_counts(path, late) -> None:
    with BudgetLedger.open(path) as ledger:
        ledger.acknowledge(acknowledged(ledger, late, epsilon=12.0))
        ledger.adopt(policy(*KEYS[:2], version=2, caps={"epsilon": 13.0}))
        assert ledger.remaining("code") == nano(13.0) - nano(12.0)
        ledger.verify()


def test_it_counts_for_every_purpose_and_within_30_days(path, late) -> None:
    caps = {"epsilon": 16.0, "per_30_days": 8.5, "purposes": {"test": 9.0}}
    with BudgetLedger.open(path) as ledger:
        charge(ledger, 100, number=3, purpose="test")
        ledger.acknowledge(acknowledged(ledger, late))
        ledger.adopt(policy(*KEYS[:2], version=2, caps=caps))
        with pytest.raises(BudgetExhausted, match="within 30 days"):
            charge(ledger, nano(8.5) - nano(8.0) + 1, number=4)
        # of 8.0, 500 were for another purpose: they are known to be, and are not counted twice
        ledger.adopt(policy(*KEYS[:2], version=3, caps=caps | {"per_30_days": 16.0}))
        with pytest.raises(BudgetExhausted, match="for test"):
            charge(ledger, nano(9.0) - nano(8.0) + 501, number=4, purpose="test")
        charge(ledger, nano(9.0) - nano(8.0) + 500, number=4, purpose="test")
        charge(ledger, 1, number=5)
        ledger.verify()


def test_an_account_that_may_have_been_there_opens_as_spent(path, late) -> None:
    with BudgetLedger.open(path) as ledger:
        ledger.acknowledge(acknowledged(ledger, late))
        open_real(ledger, "opened in lost rows")
        assert ledger.remaining("opened in lost rows") == 0
    with BudgetLedger.open(path, witnessed=[late]) as again:
        assert again.verify() == 5


def test_a_ledger_in_the_place_of_another_one(path, late) -> None:
    with BudgetLedger.open(path.with_name("new.sqlite")) as ledger:
        open_real(ledger, "code", epsilon=9.0)
        with pytest.raises(LedgerDamaged, match="of another ledger"):
            ledger.check_witnessed([late])
        ledger.acknowledge(acknowledged(ledger, late, epsilon=9.0))
        ledger.check_witnessed([late])
        assert ledger.remaining("code") == 0


@pytest.mark.parametrize(
    ("keys", "changes", "problem"),
    [
        (KEYS[:1], {}, "needs 2 officers' signatures, it has 1"),
        ((KEYS[0], STRANGER), {}, "needs 2 officers' signatures, it has 1"),
        ((KEYS[0], KEYS[0]), {}, "it has 1"),
        (KEYS[:2], {"epsilon": 7.9}, "below a cap that was in force"),
        (KEYS[:2], {"epsilon": math.inf}, "below a cap|not"),
        (KEYS[:2], {"ledger": "0" * 64}, "for another ledger"),
    ],
)
def test_an_acknowledgement_that_does_not_hold_books_nothing(
    path, late, keys, changes, problem
) -> None:
    with BudgetLedger.open(path) as ledger:
        before = ledger.head
        with pytest.raises((PrivacyError, ValueError), match=problem):
            ledger.acknowledge(acknowledged(ledger, late, *keys, **changes))
        assert ledger.head == before


def test_a_cap_that_was_lowered_since_counts_as_it_was(path, late) -> None:
    with BudgetLedger.open(path) as ledger:
        ledger.adopt(policy(KEYS[0], version=2, caps={"epsilon": 6.0}))
        with pytest.raises(PrivacyError, match="ε = 8 was in force, and 7 is signed"):
            ledger.acknowledge(acknowledged(ledger, late, epsilon=7.0))
        ledger.acknowledge(acknowledged(ledger, late))
        ledger.adopt(policy(*KEYS[:2], version=3, caps={"epsilon": 8.0}))
        assert ledger.remaining("code") == 0


def test_it_is_signed_for_one_loss_only(path, late) -> None:
    with BudgetLedger.open(path) as ledger:
        known = acknowledged(ledger, late)
        other = dataclasses.replace(known, head="0" * 64)
        with pytest.raises(PrivacyError, match="it has 0"):
            ledger.acknowledge(other)
        ledger.acknowledge(known)
        with pytest.raises(PrivacyError, match="not lost, or was acknowledged before"):
            ledger.acknowledge(known)
        with pytest.raises(LedgerDamaged, match="set back"):
            ledger.check_witnessed([dataclasses.replace(late, head="0" * 64)])


def test_a_simulations_account_is_nobodys_loss(path) -> None:
    with BudgetLedger.open(path) as ledger:
        budget = Filter.for_budget(8.0, 1e-5, ORDER)
        ledger.open_simulated("s", organization="o", unit=PrivacyUnit.FUNCTION, budget=budget)
        known = Acknowledgement(ledger.identity, ledger.identity, "0" * 64, 8.0)
        with pytest.raises(PrivacyError, match="no account yet"):
            ledger.acknowledge(known.sign(KEYS[0]).sign(KEYS[1]))
        open_real(ledger, "code")
        ledger.acknowledge(known.sign(KEYS[0]).sign(KEYS[1]))
        assert ledger.remaining("s") == budget.budget_nano
        ledger.verify()


FORGED = [
    ({"spent_nano": 1}, "has a total that is not the sum"),
    ({"forfeited_nano": 1}, "has a total that is not the sum"),
    ({"acknowledgement": {"signatures": []}}, "has an acknowledgement that does not hold"),
    ({"acknowledgement": {"epsilon": 1.0}}, "has an acknowledgement that does not hold"),
]


@pytest.mark.parametrize(("changes", "problem"), FORGED)
def test_a_forged_acknowledgement_is_found(path, late, changes, problem) -> None:
    with BudgetLedger.open(path) as ledger:
        known = acknowledged(ledger, late).plain()
    body = {"spent_nano": nano(8.0), "charged_nano": nano(8.0), "forfeited_nano": nano(8.0) - 500}
    body |= {"acknowledgement": known | changes.pop("acknowledgement", {})} | changes
    with Chain(path, scripts=scripts()) as chain, chain.writing():
        chain.append("FORFEITED", "code", body)
    with pytest.raises(LedgerDamaged, match=f"row 3 of the ledger {problem}"):
        BudgetLedger.open(path)


def test_an_account_that_the_acknowledgement_left_out_is_found(path, late) -> None:
    with BudgetLedger.open(path) as ledger:
        ledger.acknowledge(acknowledged(ledger, late))
        open_real(ledger, "other")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM entries WHERE seq = 5")
    connection.commit()
    connection.close()
    with BudgetLedger.open(path) as ledger:
        charge(ledger, 1, asset="other")
        with pytest.raises(LedgerDamaged, match="row 5 of the ledger comes before what was lost"):
            ledger.verify()


def test_what_is_no_acknowledgement_is_said() -> None:
    known = Acknowledgement("a", "b", "c", 8.0).sign(KEYS[0])
    assert Acknowledgement.read(known.plain()) == known
    for wrong in ({}, {"epsilon": "8"}, {"epsilon": -1.0}, {"head": 3}, {"more": 1}):
        values = known.plain() | wrong if wrong else {}
        with pytest.raises(ConfigError, match="not an acknowledgement"):
            Acknowledgement.read(values)
