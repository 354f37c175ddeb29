# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Accounts under a policy: no signatures, no account; caps by purpose and by month; other caps."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from officers import KEYS, STRANGER, open_real, policy

import fedcode.privacy.ledger.chain
import fedcode.privacy.ledger.totals
from fedcode.errors import BudgetExhausted, ConfigError, LedgerDamaged, PolicyRefusal, PrivacyError
from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.ledger.chain import Chain
from fedcode.privacy.ledger.migrations import scripts
from fedcode.record import PrivacyUnit

ORDER = 32.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with BudgetLedger.open(path) as ledger:
        yield ledger


def nano(epsilon):
    return Filter.for_budget(epsilon, 1e-5, ORDER).budget_nano


def charge(ledger, amount, *, purpose="research", asset="code", number=1):
    cost = Cost(amount, ORDER, 1e5, 1e-3, 1)
    return ledger.charge(
        cost, asset=asset, agreement="a" * 64, purpose=purpose, task="t", round=number
    )


def account(ledger, signed, asset="code", unit=PrivacyUnit.FUNCTION, order=ORDER):
    return ledger.open_account(asset, policy=signed, unit=unit, order=order)


@pytest.mark.parametrize("keys", [(), KEYS[:1], (KEYS[0], STRANGER)])
def test_there_is_no_account_without_two_signatures(ledger, keys) -> None:
    with pytest.raises(PrivacyError, match="needs 2 officers' signatures"):
        account(ledger, policy(*keys))
    assert ledger.accounts() == []
    with pytest.raises(PrivacyError, match="has no account"):
        charge(ledger, 1)


def test_an_account_has_the_policys_caps(ledger, path) -> None:
    caps = {"epsilon": 8.0, "per_30_days": 4.0, "purposes": {"test": 3.0}}
    made = account(ledger, policy(*KEYS[:2], caps=caps))
    assert (made.budget.budget_nano, made.budget.epsilon) == (nano(8.0), 8.0)
    assert made.caps.window.budget_nano == nano(4.0)
    assert made.caps.purposes["test"].budget_nano == nano(3.0)
    assert not made.seeded
    assert account(ledger, made.policy) == made
    with BudgetLedger.open(path, read_only=True) as audit:
        assert audit.account("code") == made


def test_a_cap_that_buys_nothing_is_said(ledger) -> None:
    with pytest.raises(ConfigError, match="too small for delta"):
        account(ledger, policy(*KEYS[:2], caps={"per_30_days": 0.01}))
    assert ledger.accounts() == []


def test_a_purpose_has_a_cap_of_its_own(ledger) -> None:
    account(ledger, policy(*KEYS[:2], caps={"purposes": {"test": 3.0}}))
    charge(ledger, nano(3.0), purpose="test")
    with pytest.raises(BudgetExhausted, match=r"ε = 3 for test"):
        charge(ledger, 1, purpose="test")
    charge(ledger, nano(8.0) - nano(3.0), purpose="research")
    with pytest.raises(BudgetExhausted, match=r"ε = 8$"):
        charge(ledger, 1, purpose="research")


@pytest.fixture
def clock(monkeypatch):
    """The ledger's clock, which a test can set forward."""

    class Clock:
        time = datetime(2026, 3, 1, tzinfo=UTC)

        def now(self):
            return self.time.isoformat(timespec="microseconds")

    clock = Clock()
    monkeypatch.setattr(fedcode.privacy.ledger.chain, "now", clock.now)
    monkeypatch.setattr(fedcode.privacy.ledger.totals, "now", clock.now)
    return clock


def test_thirty_days_have_a_cap_of_their_own(ledger, clock) -> None:
    account(ledger, policy(*KEYS[:2], caps={"per_30_days": 3.0}))
    half = nano(3.0) // 2
    charge(ledger, half)
    clock.time += timedelta(days=20)
    charge(ledger, nano(3.0) - half)
    with pytest.raises(BudgetExhausted, match="ε = 3 within 30 days"):
        charge(ledger, 1)
    clock.time += timedelta(days=10) - timedelta(microseconds=1)
    with pytest.raises(BudgetExhausted, match="within 30 days"):
        charge(ledger, 1)
    clock.time += timedelta(microseconds=1)
    charge(ledger, half)
    with pytest.raises(BudgetExhausted, match="within 30 days"):
        charge(ledger, 1)
    assert ledger.verify()


def test_a_clock_that_is_set_back_frees_nothing(ledger, clock) -> None:
    account(ledger, policy(*KEYS[:2], caps={"per_30_days": 3.0}))
    charge(ledger, nano(3.0))
    clock.time -= timedelta(days=400)
    with pytest.raises(BudgetExhausted, match="within 30 days"):
        charge(ledger, 1)
    clock.time += timedelta(days=429)
    with pytest.raises(BudgetExhausted, match="within 30 days"):
        charge(ledger, 1)


def test_a_refund_gives_back_all_but_the_month(ledger) -> None:
    caps = {"per_30_days": 3.0, "purposes": {"test": 3.0}}
    account(ledger, policy(*KEYS[:2], caps=caps))
    receipt = charge(ledger, nano(3.0), purpose="test")
    ledger.refund(receipt)
    assert (ledger.spent("code"), ledger.spent("code", "a" * 64)) == (0, 0)
    assert [c.state for c in ledger.history("code")] == ["REFUNDED"]
    assert ledger.epsilon("code") == 0.0
    with pytest.raises(BudgetExhausted, match="within 30 days"):
        charge(ledger, 1, purpose="test")
    assert ledger.verify() == 3


def test_what_was_used_or_armed_is_never_given_back(ledger) -> None:
    open_real(ledger, "code", order=ORDER)
    used, armed, refunded = (charge(ledger, 10, number=n) for n in (1, 2, 3))
    used.use()
    ledger.arm(armed, "p", b"bytes")
    ledger.refund(refunded)
    for receipt in (used, armed, refunded):
        with pytest.raises(PrivacyError):
            ledger.refund(receipt)
    with pytest.raises(PrivacyError, match="used already"):
        refunded.use()
    assert ledger.spent("code") == 20


def test_a_later_policy_changes_the_caps_of_all_accounts(ledger) -> None:
    account(ledger, policy(*KEYS[:2]))
    account(ledger, policy(*KEYS[:2]), "other")
    ledger.open_simulated(
        "played",
        organization="o",
        unit=PrivacyUnit.FUNCTION,
        budget=Filter.for_budget(1.0, 1e-3, ORDER),
    )
    charge(ledger, nano(5.0))
    ledger.adopt(policy(KEYS[2], version=2, caps={"epsilon": 4.0}))
    assert [a.budget.epsilon for a in ledger.accounts()] == [4.0, 4.0, 1.0]
    assert ledger.remaining("code") == nano(4.0) - nano(5.0) < 0
    with pytest.raises(BudgetExhausted, match=r"0\.000000 of .* remains"):
        charge(ledger, 1)
    charge(ledger, nano(4.0), asset="other")
    with pytest.raises(PrivacyError, match="needs 2 officers"):
        ledger.adopt(policy(KEYS[2], version=3, caps={"epsilon": 6.0}))
    ledger.adopt(policy(*KEYS[1:], version=3, caps={"epsilon": 6.0}))
    charge(ledger, 1)
    assert ledger.verify()


def test_delta_is_fixed_for_good(ledger) -> None:
    account(ledger, policy(*KEYS[:2]))
    with pytest.raises(PrivacyError, match="for good"):
        ledger.adopt(policy(*KEYS, version=2, delta=1e-7))
    assert ledger.account("code").policy.policy.version == 1


def test_nothing_is_adopted_before_there_is_an_account(ledger) -> None:
    with pytest.raises(PrivacyError, match="no account yet"):
        ledger.adopt(policy(*KEYS))


def test_accounts_are_opened_under_the_policy_in_force(ledger) -> None:
    account(ledger, policy(*KEYS[:2]))
    later = policy(*KEYS, version=2, caps={"epsilon": 9.0})
    with pytest.raises(PrivacyError, match="version 1 of the policy is in force, not 2"):
        account(ledger, later, "other")
    ledger.adopt(later)
    assert account(ledger, later, "other").budget.epsilon == 9.0
    with pytest.raises(PrivacyError, match="has an account with another budget"):
        account(ledger, policy(*KEYS[:2]))


def test_a_unit_that_is_not_permitted_gets_no_account(ledger) -> None:
    signed = policy(*KEYS[:2], permitted={"units": ["file"]})
    with pytest.raises(PrivacyError, match="does not permit the unit function"):
        account(ledger, signed)


def test_an_account_under_a_policy_is_no_simulations(ledger) -> None:
    made = account(ledger, policy(*KEYS[:2]))
    with pytest.raises(PrivacyError, match="has an account with another budget"):
        ledger.open_simulated(
            "code", organization="o", unit=PrivacyUnit.FUNCTION, budget=made.budget
        )
    assert not charge(ledger, 1).seeded


def forge(path, kind, body, asset="code"):
    with Chain(path, scripts=scripts()) as chain, chain.writing():
        chain.append(kind, asset, body)


def opened(signed, epsilon=8.0, **changes):
    """The body of an ``OPENED`` row."""
    total = dataclasses.asdict(Filter.for_budget(epsilon, 1e-5, ORDER))
    caps = {"total": total, "window": None, "purposes": {}}
    body = {
        "organization": "o",
        "unit": "function",
        "seeded": False,
        "caps": caps,
        "signed": signed and signed.plain(),
    }
    return body | changes


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (opened(None), "opens an account without a policy"),
        (opened(policy(*KEYS[:1])), "has a policy that was not to follow"),
        (opened(policy(*KEYS[:2]), epsilon=9.0), "has other caps than its policy"),
        (opened(policy(*KEYS[:2], delta=1e-6)), "has other caps than its policy"),
    ],
)
def test_an_account_that_nobody_signed_is_found(ledger, path, body, problem) -> None:
    ledger.close()
    forge(path, "OPENED", body)
    with pytest.raises(LedgerDamaged, match=f"row 1 of the ledger {problem}"):
        BudgetLedger.open(path)


def test_a_cap_that_one_officer_raised_is_found(ledger, path) -> None:
    account(ledger, policy(*KEYS[:2]))
    ledger.close()
    raised = opened(policy(KEYS[0], version=2, caps={"epsilon": 9.0}), epsilon=9.0)
    forge(path, "ADOPTED", {name: raised[name] for name in ("caps", "signed")})
    with pytest.raises(LedgerDamaged, match="row 2 of the ledger has a policy that was not"):
        BudgetLedger.open(path)


@pytest.mark.parametrize(
    ("purpose", "problem"),
    [("test", "passes the cap of its purpose"), ("research", "passes the cap of 30 days")],
)
def test_a_charge_beyond_a_cap_is_found(ledger, path, purpose, problem) -> None:
    account(ledger, policy(*KEYS[:2], caps={"per_30_days": 4.0, "purposes": {"test": 3.0}}))
    charge(ledger, 1)
    row = json.loads(list(ledger.export())[-1])
    ledger.close()
    amount = nano(4.0) if purpose == "research" else nano(3.0) + 1
    before = 1 if purpose == "research" else 0
    totals = {"spent_nano": amount + 1, "purpose_nano": amount + before}
    changes = {"cost_nano": amount, "charged_nano": amount + 1, "purpose": purpose}
    totals["agreement_nano"] = amount + 1
    forge(path, "RESERVED", row["body"] | totals | changes)
    with pytest.raises(LedgerDamaged, match=f"row 3 of the ledger {problem}"):
        BudgetLedger.open(path)


def test_a_charge_is_held_against_the_policy_where_it_is_written(ledger) -> None:
    account(ledger, policy(*KEYS[:2], permitted={"minimum_cohort": 3}))
    cost = Cost(10, ORDER, 1e5, 1e-3, 1)
    asked = {"asset": "code", "agreement": "a", "purpose": "test", "task": "t", "round": 1}
    for changes in ({"cohort": 2}, {"purpose": "sale"}, {"task": "defects"}):
        with pytest.raises(PolicyRefusal):
            ledger.charge(cost, **asked | {"cohort": 3} | changes)
    with pytest.raises(BudgetExhausted, match="the agreement may spend 9"):
        ledger.charge(cost, **asked, cohort=3, allowance=9)
    with pytest.raises(ConfigError, match="purpose must be a short text"):
        ledger.charge(cost, **asked | {"purpose": "test\0b"}, cohort=3)
    assert ledger.spent("code") == 0
    ledger.charge(cost, **asked, cohort=3, allowance=10)


def test_a_cap_that_buys_nothing_at_an_accounts_order_closes_it(ledger) -> None:
    """Whatever the orders are, lowering always works."""
    signed = policy(*KEYS[:2])
    account(ledger, signed, order=3.0)
    account(ledger, signed, "other", order=ORDER)
    ledger.adopt(policy(KEYS[0], version=2, caps={"epsilon": 1.0, "per_30_days": 0.5}))
    assert ledger.account("code").budget.budget_nano == 0
    assert ledger.account("other").budget.budget_nano > 0
    cost = Cost(1, 3.0, 1e5, 1e-3, 1)
    with pytest.raises(BudgetExhausted):
        ledger.charge(cost, asset="code", agreement="a", purpose="test", task="t", round=1)
    assert ledger.verify() == 4


FORGED = [
    ("RESERVED", {"noise_multiplier": 0.3, "sampling_rate": 1.0}, "costs less than its price"),
    ("RESERVED", {"delta": 1e-9}, "is for another δ"),
    ("RESERVED", {"purpose": "sale"}, "is for what was not permitted"),
    ("RESERVED", {"task": "defects"}, "is for what was not permitted"),
    ("ARMED", {"round": 2}, "arms another round than was charged"),
    ("ARMED", {"agreement": "b"}, "arms another round than was charged"),
    ("REFUNDED", {"purpose": "test"}, "refunds another charge"),
    ("REFUNDED", {"agreement": "b"}, "refunds another charge"),
]


@pytest.mark.parametrize(("kind", "changes", "problem"), FORGED)
def test_a_row_that_the_ledger_would_not_have_written_is_found(
    ledger, path, kind, changes, problem
) -> None:
    account(ledger, policy(*KEYS[:2]))
    receipt = charge(ledger, 1000)
    rows = {"RESERVED": json.loads(list(ledger.export())[-1])["body"]}
    rows["ARMED"] = {"charge": receipt.seq, "agreement": "a" * 64, "round": 1, "plan": "p"}
    totals = {"spent_nano": 0, "purpose_nano": 0, "agreement_nano": 0, "charged_nano": 1000}
    rows["REFUNDED"] = {"charge": receipt.seq, "purpose": "research", "agreement": "a" * 64}
    rows["REFUNDED"] |= totals
    ledger.close()
    forge(path, kind, rows[kind] | {"digest": "d"} | changes)
    with pytest.raises(LedgerDamaged, match=f"row 3 of the ledger {problem}"):
        BudgetLedger.open(path)


def test_a_simulations_account_under_a_policy_is_found(ledger, path) -> None:
    ledger.close()
    forge(path, "OPENED", opened(policy(*KEYS[:2])) | {"seeded": True})
    with pytest.raises(LedgerDamaged, match="row 1 of the ledger opens an account without"):
        BudgetLedger.open(path)


def test_a_policy_that_comes_to_one_account_only_is_found(ledger, path) -> None:
    account(ledger, policy(*KEYS[:2]))
    account(ledger, policy(*KEYS[:2]), "other")
    ledger.close()
    lower = opened(policy(KEYS[0], version=2, caps={"epsilon": 4.0}), epsilon=4.0)
    forge(path, "ADOPTED", {name: lower[name] for name in ("caps", "signed")})
    forge(path, "LATCHED", {"agreement": "a", "round": 1, "step": "s", "digest": "d"})
    with pytest.raises(LedgerDamaged, match="row 4 of the ledger comes before the policy"):
        BudgetLedger.open(path)


def test_a_window_that_comes_later_counts_what_was_before(ledger) -> None:
    account(ledger, policy(*KEYS[:2]))
    charge(ledger, nano(3.0))
    ledger.adopt(policy(KEYS[0], version=2, caps={"per_30_days": 3.0}))
    with pytest.raises(BudgetExhausted, match="within 30 days"):
        charge(ledger, 1, number=2)
    assert ledger.verify() == 3
