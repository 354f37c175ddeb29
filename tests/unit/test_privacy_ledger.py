# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger: durable, bound row to row, and deaf to other names."""

import copy
import json
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedcode.errors import BudgetExhausted, ConfigError, LedgerDamaged, PrivacyError
from fedcode.privacy.accountant import Cost, Filter, epsilon
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit

BUDGET = Filter.for_budget(8.0, 1e-5, 4.0)
COST = BUDGET.cost(1.0, 0.1, 3)


def account(ledger, asset="asset", organization="o", **changes):
    values = {"unit": PrivacyUnit.FUNCTION, "budget": BUDGET} | changes
    return ledger.open_simulated(asset, organization=organization, **values)


def charge(ledger, cost=COST, asset="asset", number=1, agreement="a" * 64):
    return ledger.charge(
        cost, asset=asset, agreement=agreement, purpose="research", task="completion", round=number
    )


def send(ledger, receipt, message=b"noised"):
    ledger.arm(receipt, "p" * 64, message)
    ledger.sent(receipt)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with BudgetLedger.open(path) as ledger:
        account(ledger)
        yield ledger


def test_a_receipt_says_what_was_paid(ledger) -> None:
    receipt = charge(ledger, number=7)
    assert (receipt.noise_multiplier, receipt.sampling_rate, receipt.steps) == (1.0, 0.1, 3)
    assert (receipt.asset, receipt.round, receipt.cost_nano) == ("asset", 7, COST.nano)
    assert (receipt.epsilon, receipt.delta, receipt.seeded) == (8.0, 1e-5, True)
    assert receipt.hash == ledger.head


def test_spent_and_remaining_add_up(ledger) -> None:
    charge(ledger)
    charge(ledger, BUDGET.cost(2.0, 0.1, 1), number=2, agreement="b" * 64)
    assert ledger.spent("asset") == COST.nano + BUDGET.cost(2.0, 0.1, 1).nano
    assert ledger.spent("asset", agreement="a" * 64) == COST.nano
    assert ledger.spent("asset", agreement="c" * 64) == 0
    assert ledger.remaining("asset") == BUDGET.budget_nano - ledger.spent("asset")


def test_a_charge_is_there_for_the_next_opening(path, ledger) -> None:
    send(ledger, charge(ledger))
    with BudgetLedger.open(path) as again:
        assert again.spent("asset") == COST.nano
        assert again.account("asset") == ledger.account("asset")
        assert [c.state for c in again.history("asset")] == ["SENT"]


def test_history_tells_charges_in_order_with_their_state(ledger) -> None:
    receipts = [charge(ledger, number=n) for n in (1, 2, 3)]
    send(ledger, receipts[1])
    ledger.arm(receipts[2], "p" * 64, b"noised")
    history = ledger.history("asset")
    assert [(c.round, c.state) for c in history] == [
        (1, "RESERVED"),
        (2, "SENT"),
        (3, "ARMED"),
    ]
    assert [c.spent_nano for c in history] == [COST.nano, 2 * COST.nano, 3 * COST.nano]
    assert [c.hash for c in history] == [r.hash for r in receipts]
    assert history[0].noise_multiplier == 1.0


def test_epsilon_is_of_everything_ever_charged(ledger) -> None:
    assert ledger.epsilon("asset") == 0.0
    charge(ledger)
    charge(ledger, number=2)
    charge(ledger, BUDGET.cost(2.0, 0.2, 1), number=3)
    assert ledger.epsilon("asset") == epsilon({(1.0, 0.1): 6, (2.0, 0.2): 1}, 1e-5)


def test_the_round_that_would_pass_the_budget_is_refused_and_costs_nothing(ledger) -> None:
    affordable = BUDGET.rounds_affordable(1.0, 0.1, 3)
    for number in range(affordable):
        charge(ledger, number=number + 1)
    left = ledger.remaining("asset")
    with pytest.raises(BudgetExhausted, match=f"{left / 1e9:.6f} of .* remains") as caught:
        charge(ledger, number=affordable + 1)
    assert caught.value.hint
    assert ledger.remaining("asset") == left < COST.nano
    assert ledger.epsilon("asset") < 8.0


def test_the_last_nano_unit_can_be_spent(ledger) -> None:
    charge(ledger, Cost(BUDGET.budget_nano, 4.0, 1.0, 0.1, 3))
    assert ledger.remaining("asset") == 0
    with pytest.raises(BudgetExhausted):
        charge(ledger, BUDGET.cost(1e5, 1e-6, 1))


def test_another_name_for_the_organization_resets_nothing(ledger) -> None:
    charge(ledger)
    account(ledger, organization="the same under another name")
    assert ledger.spent("asset") == COST.nano
    assert charge(ledger, number=2).seq
    assert ledger.spent("asset") == 2 * COST.nano


def test_assets_have_budgets_of_their_own(ledger) -> None:
    account(ledger, "other")
    charge(ledger)
    assert [a.asset for a in ledger.accounts()] == ["asset", "other"]
    assert ledger.spent("other") == 0
    assert ledger.spent("asset") == COST.nano


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": Filter.for_budget(9.0, 1e-5, 4.0)},
        {"budget": Filter.for_budget(7.0, 1e-5, 4.0)},
        {"budget": Filter.for_budget(8.0, 1e-6, 4.0)},
        {"budget": Filter.for_budget(8.0, 1e-5, 5.0)},
        {"budget": Filter(8.0, 1e-5, 4.0, BUDGET.budget_nano - 1)},
    ],
)
def test_an_account_keeps_its_budget(ledger, changes) -> None:
    with pytest.raises(PrivacyError, match="has an account with another budget") as caught:
        account(ledger, **changes)
    assert caught.value.hint
    assert account(ledger).budget == BUDGET


def test_a_budget_beyond_its_own_epsilon_is_refused(ledger) -> None:
    with pytest.raises(PrivacyError, match="passes ε = 8"):
        account(ledger, "new", budget=Filter(8.0, 1e-5, 4.0, BUDGET.budget_nano + 10))


def test_an_account_has_a_name(ledger) -> None:
    with pytest.raises(ConfigError, match="needs an asset"):
        account(ledger, "")


def test_an_asset_without_account_pays_nothing(ledger) -> None:
    with pytest.raises(PrivacyError, match="has no account"):
        charge(ledger, asset="unknown")


def test_a_cost_at_another_order_is_refused(ledger) -> None:
    other = Filter.for_budget(8.0, 1e-5, 5.0).cost(1.0, 0.1, 3)
    with pytest.raises(PrivacyError, match="at order 5 cannot be charged"):
        charge(ledger, other)


def test_a_cost_below_its_price_is_refused(ledger) -> None:
    with pytest.raises(PrivacyError, match="below its price"):
        charge(ledger, Cost(COST.nano - 1, 4.0, 1.0, 0.1, 3))
    assert ledger.spent("asset") == 0


def test_a_release_leaves_once(ledger) -> None:
    receipt = charge(ledger)
    send(ledger, receipt)
    with pytest.raises(PrivacyError, match="is SENT, not ARMED"):
        ledger.sent(receipt)
    with pytest.raises(PrivacyError, match="is SENT, not RESERVED"):
        ledger.arm(receipt, "p" * 64, b"another")


def test_a_receipt_has_no_copy(ledger) -> None:
    receipt = charge(ledger)
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(PrivacyError):
            make(receipt)


def test_an_auditor_who_reads_while_others_write_is_told(path, ledger) -> None:
    charge(ledger)
    ledger.close()
    with BudgetLedger.open(path, read_only=True) as audit:
        with BudgetLedger.open(path) as busy:
            for number in range(2, 400):
                charge(busy, BUDGET.cost(1e4, 1e-4, 1), number=number)
        with pytest.raises(PrivacyError, match="was written while it was read") as caught:
            audit.verify()
        assert not isinstance(caught.value, LedgerDamaged)


def test_a_receipt_of_another_ledger_is_refused(ledger) -> None:
    with BudgetLedger.open(":memory:") as other:
        account(other)
        receipt = charge(other)
    charge(ledger)
    with pytest.raises(PrivacyError, match="not of this ledger"):
        ledger.sent(receipt)


def test_a_ledger_in_memory_forgets() -> None:
    for _ in range(2):
        with BudgetLedger.open(":memory:") as ledger:
            account(ledger)
            charge(ledger)
            assert ledger.spent("asset") == COST.nano


def test_an_auditor_reads_and_writes_nothing(path, ledger) -> None:
    receipt = charge(ledger)
    with BudgetLedger.open(path, read_only=True) as audit:
        assert audit.verify(ledger.head) == 2
        assert audit.spent("asset") == COST.nano
        assert len(list(audit.export())) == 2
        for action in (
            lambda: charge(audit),
            lambda: audit.sent(receipt),
            lambda: account(audit, "new"),
        ):
            with pytest.raises(PrivacyError, match="for reading only"):
                action()


def test_an_auditor_makes_no_file(path) -> None:
    with pytest.raises(PrivacyError, match="cannot be opened"):
        BudgetLedger.open(path, read_only=True)
    assert not path.exists()


def test_export_is_one_json_object_a_row(ledger) -> None:
    send(ledger, charge(ledger))
    rows = [json.loads(line) for line in ledger.export()]
    assert [row["kind"] for row in rows] == ["OPENED", "RESERVED", "ARMED", "SENT"]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    assert rows[1]["body"]["noise_multiplier"] == 1.0
    assert rows[3]["hash"] == ledger.head
    assert [row["previous"] for row in rows[1:]] == [row["hash"] for row in rows[:-1]]


def test_the_file_can_be_read_with_plain_sql(path, ledger) -> None:
    send(ledger, charge(ledger))
    charge(ledger, number=2)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT round, state, steps FROM charges").fetchall() == [
        (1, "SENT", 3),
        (2, "RESERVED", 3),
    ]
    accounts = "SELECT asset, organization, unit, epsilon, budget_nano FROM accounts"
    assert connection.execute(accounts).fetchall() == [
        ("asset", "o", "function", 8, BUDGET.budget_nano)
    ]
    connection.close()


def tamper(path, sql):
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("UPDATE entries SET time = '2001-01-01' WHERE seq = 2", 2),
        ("UPDATE entries SET kind = 'SENT' WHERE seq = 3", 3),
        ("UPDATE entries SET asset = 'other' WHERE seq = 2", 2),
        ("UPDATE entries SET body = replace(body, '\"steps\":3', '\"steps\":1') WHERE seq = 3", 3),
        ("UPDATE entries SET body = replace(body, '1.0', '9.0') WHERE seq = 2", 2),
        ("UPDATE entries SET body = replace(body, '8.0', '80.0') WHERE seq = 1", 1),
        ("UPDATE entries SET body = '[]' WHERE seq = 2", 2),
        ("UPDATE entries SET previous = hash WHERE seq = 4", 4),
        ("UPDATE entries SET hash = hash || '0' WHERE seq = 2", 2),
        ("UPDATE entries SET seq = 9 WHERE seq = 3", 3),
        ("DELETE FROM entries WHERE seq = 1", 1),
        ("DELETE FROM entries WHERE seq = 2", 2),
        ("INSERT INTO entries SELECT 7, time, kind, asset, body, previous, hash || '0' "
         "FROM entries WHERE seq = 3", 7),
    ],
)  # fmt: skip
def test_a_row_that_was_touched_is_named(path, ledger, sql, row) -> None:
    receipts = [charge(ledger, number=n) for n in (1, 2, 3)]
    send(ledger, receipts[0])
    assert ledger.verify() == 6
    ledger.close()
    tamper(path, sql)
    with pytest.raises(LedgerDamaged, match=f"row {row} of the ledger"):
        BudgetLedger.open(path)
    with (
        BudgetLedger.open(path, read_only=True) as audit,
        pytest.raises(LedgerDamaged, match=f"row {row} "),
    ):
        audit.verify()


def test_rows_cut_off_at_the_end_are_noticed_by_who_remembers_the_head(path, ledger) -> None:
    early = ledger.head
    charge(ledger)
    late = ledger.head
    ledger.close()
    tamper(path, "DELETE FROM entries WHERE seq = 2")
    with BudgetLedger.open(path) as cut:
        assert cut.verify(early) == 1
        with pytest.raises(LedgerDamaged, match="ends at row 1, before the head remembered"):
            cut.verify(late)


def forge(path, kind, body):
    """Adds a row whose hash is right, as someone would who can run this program."""
    from fedcode.privacy.ledger.chain import Chain
    from fedcode.privacy.ledger.migrations import scripts

    with Chain(path, scripts=scripts()) as chain, chain.writing():
        chain.append(kind, "asset", body)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("RESERVED", {"spent_nano": COST.nano}),
        ("RESERVED", {"cost_nano": -1, "spent_nano": COST.nano - 1}),
        ("RESERVED", {"cost_nano": 0}),
        ("RESERVED", {"cost_nano": 10**10, "spent_nano": 10**10 + COST.nano}),
        ("RESERVED", {"cost_nano": 0.5, "spent_nano": COST.nano + 0.5}),
        ("SENT", {"charge": 1}),
        ("SENT", {"charge": 99}),
        ("REFUNDED", {"charge": 2}),
    ],
)  # fmt: skip
def test_a_row_with_a_good_hash_and_a_bad_meaning_is_named(path, ledger, kind, changes) -> None:
    charge(ledger)
    body = ledger._chain.entry("kind = 'RESERVED'").values
    ledger.close()
    forge(path, kind, body | changes)
    with pytest.raises(LedgerDamaged, match="row 3 of the ledger"):
        BudgetLedger.open(path)


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(path) -> None:
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(LedgerDamaged, match="is not a ledger"):
        BudgetLedger.open(path)
    assert path.read_bytes() == b"not a database" * 1000


def test_a_schema_of_another_version_is_refused(path) -> None:
    BudgetLedger.open(path).close()
    tamper(path, "PRAGMA user_version = 3")
    with pytest.raises(LedgerDamaged, match="schema version 3, not 2"):
        BudgetLedger.open(path)


def test_another_programs_database_is_refused_and_left_alone(path) -> None:
    tamper(path, "CREATE TABLE entries (a)")
    before = path.read_bytes()
    with pytest.raises(LedgerDamaged, match="holds no ledger"):
        BudgetLedger.open(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_said(tmp_path) -> None:
    with pytest.raises(PrivacyError, match="cannot be opened") as caught:
        BudgetLedger.open(tmp_path / "none" / "ledger.sqlite")
    assert caught.value.hint


def test_nothing_is_charged_when_the_disk_does_not_take_it(ledger) -> None:
    pages = ledger._chain.query("PRAGMA page_count")[0][0]
    ledger._chain.query(f"PRAGMA max_page_count = {pages}")
    receipts = []

    def fill():
        while True:
            receipts.append(charge(ledger, BUDGET.cost(1e4, 1e-4, 1), agreement="x" * 200))

    with pytest.raises(PrivacyError, match="cannot be written: database or disk is full"):
        fill()
    assert [c.seq for c in ledger.history("asset")] == [r.seq for r in receipts]
    assert ledger.verify() == len(receipts) + 1


WORKER = textwrap.dedent(
    """
    import os, sys
    from fedcode.errors import BudgetExhausted
    from fedcode.privacy.accountant import Cost, Filter
    from fedcode.privacy.ledger import BudgetLedger
    from fedcode.record import PrivacyUnit

    path, nano = sys.argv[1], int(sys.argv[2])
    budget = Filter.for_budget(8.0, 1e-5, 4.0)
    ledger = BudgetLedger.open(path)
    ledger.open_simulated("asset", organization="o", unit=PrivacyUnit.FUNCTION, budget=budget)
    budget.cost(1e4, 1e-3, 1)  # imports
    print("ready", flush=True)
    sys.stdin.readline()
    paid = 0
    try:
        while True:
            cost = Cost(nano, 4.0, 1e4, 1e-3, 1)
            receipt = ledger.charge(
                cost, asset="asset", agreement="a", purpose="p", task="t", round=1
            )
            paid += 1
            print(receipt.hash, flush=True)
            if paid == 1:
                sys.stdin.readline()
    except BudgetExhausted:
        print("exhausted", paid, flush=True)
    """
)


def start(path, nano):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(nano)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def release(*workers):
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()


def go_on(*workers):
    """After its first charge a worker waits, so that none is done before the others begin."""
    first = [worker.stdout.readline().strip() for worker in workers]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return first


def test_many_may_create_one_ledger_at_the_same_time(tmp_path) -> None:
    together = threading.Barrier(8)

    def create(path):
        together.wait()
        BudgetLedger.open(path).close()

    with ThreadPoolExecutor(8) as pool:
        for number in range(300):
            list(pool.map(create, [tmp_path / f"{number}.sqlite"] * 8))


def test_two_processes_on_one_ledger_never_overspend(path) -> None:
    nano = BUDGET.budget_nano // 300 - 1  # for three hundred charges and not one more
    with start(path, nano) as one, start(path, nano) as other:
        release(one, other)
        first = go_on(one, other)
        outputs = [worker.stdout.read().split() for worker in (one, other)]
    assert [w.returncode for w in (one, other)] == [0, 0]
    paid = [int(words[-1]) for words in outputs]
    assert min(paid) > 0
    assert sum(paid) == 300
    with BudgetLedger.open(path) as ledger:
        assert ledger.spent("asset") == 300 * nano
        known = {c.hash for c in ledger.history("asset")}
    assert {word for words in outputs for word in words[:-2]} | set(first) == known


def test_a_charge_before_a_kill_stays_spent(path) -> None:
    worker = start(path, 1000)
    with worker:
        release(worker)
        receipts = go_on(worker) + [worker.stdout.readline().strip() for _ in range(24)]
        worker.send_signal(signal.SIGKILL)
        receipts += worker.stdout.read().split()
    assert worker.returncode == -signal.SIGKILL
    with BudgetLedger.open(path) as ledger:
        history = ledger.history("asset")
        assert [c.hash for c in history][: len(receipts)] == receipts
        assert len(history) - len(receipts) in (0, 1), "at most one charge was not handed out"
        assert ledger.spent("asset") == 1000 * len(history)
        assert {c.state for c in history} == {"RESERVED"}
