# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One release that is computed on several assets: all their accounts pay, in one transaction."""

import pytest
from officers import open_real

from fedcode.errors import BudgetExhausted, LedgerDamaged, PrivacyError
from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger, ChargeId
from fedcode.privacy.ledger.chain import Chain
from fedcode.privacy.ledger.migrations import scripts
from fedcode.record import PrivacyUnit

BUDGET = Filter.for_budget(8.0, 1e-5, 4.0)
COST = BUDGET.cost(1.0, 0.1, 2)
UNIT = PrivacyUnit.FUNCTION
NAMES = ["a", "b", "c"]
WHAT = {"agreement": "x", "purpose": "test", "task": "t"}
TOGETHER = {"asset": "a", "others": ["b", "c"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with BudgetLedger.open(path) as ledger:
        owners = [(name, "o") for name in NAMES]
        ledger.open_many_simulated(owners, unit=UNIT, budget=BUDGET)
        yield ledger


def charge(ledger, number=1, cost=COST, **changes):
    return ledger.charge(cost, **WHAT | {"round": number} | TOGETHER | changes)


def states(ledger):
    return {name: [one.state for one in ledger.history(name)] for name in NAMES}


def all_are(*states):
    return {name: list(states) for name in NAMES}


def spent(ledger):
    return [ledger.spent(name) for name in NAMES]


def test_every_account_pays_all_of_it_and_one_receipt_is_made(ledger) -> None:
    receipt = charge(ledger)
    assert (receipt.asset, receipt.cost_nano) == ("a", COST.nano)
    assert spent(ledger) == [COST.nano] * 3
    assert len({ledger.epsilon(name) for name in NAMES}) == 1
    assert ledger.epsilon("a") > 0
    assert [one.seq for name in NAMES for one in ledger.history(name)] == [4, 5, 6]
    assert ledger.verify() == 6


def test_what_happens_to_one_happens_to_all(ledger) -> None:
    receipt = charge(ledger)
    ledger.arm(receipt, "p", b"bytes")
    assert states(ledger) == all_are("ARMED")
    ledger.sent(receipt)
    assert states(ledger) == all_are("SENT")
    unused = charge(ledger, 2)
    ledger.refund(unused)
    assert states(ledger) == all_are("SENT", "REFUNDED")
    assert spent(ledger) == [COST.nano] * 3
    assert ledger.verify() == 6 + 3 + 3 + 3 + 3


def test_an_answer_that_was_kept_is_sent_again_for_all(ledger) -> None:
    receipt = charge(ledger)
    ledger.arm(receipt, "p", b"bytes")
    ledger.sent_again("a", "x", 1)
    ledger.sent_again("a", "x", 1)
    assert states(ledger) == all_are("SENT")
    ledger.verify()


def test_a_round_is_answered_once_with_whichever_of_the_accounts(ledger) -> None:
    receipt = charge(ledger)
    ledger.arm(receipt, "p", b"bytes")
    assert ledger.answer("a", "x", 1).message == b"bytes"
    assert ledger.answer("b", "x", 1).message is None  # and there was one
    for fewer in ({"asset": "b", "others": []}, {"asset": "c", "others": ["b"]}):
        again = charge(ledger, **fewer)
        with pytest.raises(PrivacyError, match="round 1 was answered already"):
            ledger.arm(again, "p", b"other bytes")
    more = charge(ledger, 2, asset="b", others=[])
    ledger.arm(more, "p", b"bytes")
    whole = charge(ledger, 2)
    before = ledger.head
    with pytest.raises(PrivacyError, match="round 2 was answered already"):
        ledger.arm(whole, "p", b"bytes")
    assert ledger.answer("a", "x", 2) is None
    assert ledger.head == before  # of three rows none was written
    ledger.verify()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_account_without_budget_refuses_all(ledger, place) -> None:
    name, rounds = NAMES[place], BUDGET.budget_nano // COST.nano
    for number in range(rounds):
        charge(ledger, number + 1, asset=name, others=[])
    head, before = ledger.head, spent(ledger)
    with pytest.raises(BudgetExhausted):
        charge(ledger, rounds + 1)
    asked = {name: value for name, value in WHAT.items() if name != "round"}
    with pytest.raises(BudgetExhausted):
        ledger.check_charge(COST, **asked, **TOGETHER)
    assert (ledger.head, spent(ledger)) == (head, before)


def test_an_agreements_allowance_is_each_accounts(ledger) -> None:
    charge(ledger, asset="c", others=[])
    with pytest.raises(BudgetExhausted, match="may spend"):
        charge(ledger, 2, allowance=2 * COST.nano - 1)
    charge(ledger, 2, allowance=2 * COST.nano)


def test_no_account_pays_twice_for_one_release(ledger) -> None:
    head = ledger.head
    for others in (["a"], ["b", "b"]):
        with pytest.raises(PrivacyError, match="would pay twice"):
            charge(ledger, others=others)
    assert ledger.head == head


@pytest.mark.parametrize(
    ("unit", "budget", "word"),
    [
        (PrivacyUnit.FILE, BUDGET, "unit"),
        (UNIT, Filter.for_budget(8.0, 1e-6, 4.0), "δ"),
        (UNIT, Filter.for_budget(8.0, 1e-5, 8.0), "order"),
    ],
)
def test_accounts_that_are_not_alike_do_not_pay_together(ledger, unit, budget, word) -> None:
    ledger.open_simulated("d", organization="o", unit=unit, budget=budget)
    head = ledger.head
    with pytest.raises(PrivacyError, match=word):
        charge(ledger, others=["b", "d"])
    asked = WHAT | {"asset": "a", "others": ["b", "d"]}
    with pytest.raises(PrivacyError, match=word):
        ledger.check_charge(COST, **asked)
    assert ledger.head == head


def test_a_simulations_account_pays_with_no_real_one(ledger) -> None:
    open_real(ledger, "real")
    head = ledger.head
    for asset, other in (("a", "real"), ("real", "a")):
        with pytest.raises(PrivacyError, match="kind differs"):
            charge(ledger, asset=asset, others=[other])
    assert ledger.head == head


def test_a_request_is_paid_once_by_all(ledger) -> None:
    def ask(**changes):
        return ledger.charge_once("r", COST, **WHAT | {"round": 1} | TOGETHER | changes)

    assert ask() == ask()
    assert spent(ledger) == [COST.nano] * 3
    for others in (["b"], ["c", "b"], []):
        with pytest.raises(PrivacyError, match="for another charge"):
            ask(others=others)
    paid = ask()
    named = ChargeId(paid.seq, paid.hash)
    for _ in range(2):
        ledger.arm(named, "p", b"bytes")
        assert states(ledger) == all_are("ARMED")
    for _ in range(2):
        ledger.sent(named)
        assert states(ledger) == all_are("SENT")
    ledger.verify()


def test_part_of_a_charge_is_not_given_back_by_itself(ledger) -> None:
    charge(ledger)
    part = ledger.history("b")[0]
    named = ChargeId(part.seq, part.hash)
    head = ledger.head
    for ask in (ledger.refund, ledger.sent, lambda one: ledger.arm(one, "p", b"bytes")):
        with pytest.raises(PrivacyError, match="row 5 is part of the charge in row 4"):
            ask(named)
    assert ledger.head == head


@pytest.mark.parametrize("fails", [2, 3])
@pytest.mark.parametrize("step", ["charge", "arm", "sent", "refund"])
def test_a_crash_in_the_middle_of_any_step_leaves_all_as_it_was(
    ledger, monkeypatch, step, fails
) -> None:
    append, calls = ledger._chain.append, []

    def stops(kind, asset, body):
        calls.append(kind)
        if len(calls) == fails:
            raise MemoryError
        return append(kind, asset, body)

    receipt = None if step == "charge" else charge(ledger)
    if step == "sent":
        ledger.arm(receipt, "p", b"bytes")
    steps = {
        "charge": lambda: charge(ledger),
        "arm": lambda: ledger.arm(receipt, "p", b"bytes"),
        "sent": lambda: ledger.sent(receipt),
        "refund": lambda: ledger.refund(receipt),
    }
    head, before = ledger.head, (states(ledger), spent(ledger))
    monkeypatch.setattr(ledger._chain, "append", stops)
    with pytest.raises(MemoryError):
        steps[step]()
    monkeypatch.undo()
    assert (ledger.head, (states(ledger), spent(ledger))) == (head, before)
    if step == "arm":
        assert ledger.answer("a", "x", 1) is None
    ledger.verify()


# A file that somebody has written who can run this program: every hash is right.


@pytest.fixture
def written(ledger, path):
    """Rows of a whole charge, armed, and rows of another one, given back."""
    ledger.arm(charge(ledger), "p", b"bytes")
    ledger.refund(charge(ledger, 2))
    rows = [(e.kind, e.asset, e.values) for e in ledger._chain.rows()]
    ledger.close()
    return rows


def rewritten(path, rows):
    other = path.with_name("other.sqlite")
    with Chain(other, scripts=scripts()) as chain, chain.writing():
        for row in rows:
            chain.append(*row)
    return other


def without(row):
    return lambda rows: rows[: row - 1] + rows[row:]


def saying(row, **changes):
    def change(rows):
        kind, asset, body = rows[row - 1]
        return [*rows[: row - 1], (kind, asset, body | changes), *rows[row:]]

    return change


def lacking(row, name):
    def change(rows):
        kind, asset, body = rows[row - 1]
        less = {key: value for key, value in body.items() if key != name}
        return [*rows[: row - 1], (kind, asset, less), *rows[row:]]

    return change


def test_what_was_written_is_in_order(written, path) -> None:
    assert [kind for kind, _, _ in written] == [
        *["OPENED"] * 3, *["RESERVED"] * 3, *["ARMED"] * 3, *["RESERVED"] * 3, *["REFUNDED"] * 3
    ]  # fmt: skip
    with BudgetLedger.open(rewritten(path, written)) as again:
        assert again.verify() == 15


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (without(5), 5),  # an account does not pay
        (without(6), 6),
        (without(8), 8),  # is not answered for
        (without(14), 14),  # is not given back to
        (without(13), 13),  # is given back to without the first one
        (lambda rows: rows[:9] + rows[12:], 10),
        (saying(4, others=["b"]), 6),
        (lacking(4, "others"), 5),
        (saying(4, others=["b", "b"]), 4),
        (saying(4, others=["b", "a"]), 4),
        (lacking(5, "of"), 5),
        (saying(5, of=10), 5),
        (saying(5, others=["c"]), 5),
        (saying(5, agreement="y"), 5),
        (saying(5, round=2), 5),
        (saying(5, steps=1), 5),
        (saying(6, noise_multiplier=2.0), 6),
        (saying(6, cost_nano=COST.nano + 1, spent_nano=COST.nano + 1), 6),
        (saying(8, digest="0" * 64), 8),
        (saying(8, plan="q"), 8),
        (lambda rows: [*rows[:7], rows[8], rows[7], *rows[9:]], 8),
        (saying(2, unit="file"), 4),
        (lambda rows: [*rows, ("REFUNDED", "b", rows[13][2] | {"charge": 5})], 16),
        (lambda rows: [*rows, ("SENT", "b", {"charge": 5})], 16),
    ],
)  # fmt: skip
def test_a_charge_of_which_a_part_is_missing_or_otherwise_is_found(
    written, path, change, row
) -> None:
    with pytest.raises(LedgerDamaged, match=f"row {row} of the ledger"):
        BudgetLedger.open(rewritten(path, change(written)))


@pytest.mark.parametrize("rows", [4, 5, 7, 8, 13])
def test_a_ledger_that_ends_in_the_middle_of_a_charge_is_found(written, path, rows) -> None:
    with pytest.raises(LedgerDamaged, match="ends in the middle of a charge"):
        BudgetLedger.open(rewritten(path, written[:rows]))


def test_real_accounts_pay_together(path) -> None:
    with BudgetLedger.open(path) as ledger:
        for name in NAMES:
            open_real(ledger, name)
        receipt = charge(ledger, cost=Cost(10, 4.0, 1e5, 1e-3, 1), cohort=3)
        assert receipt.seeded is False
        assert spent(ledger) == [10] * 3
        ledger.verify()
