# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The outbox, latches, witnesses, schemas and openings of a ledger."""

import os
import sqlite3
import threading

import pytest
from officers import KEYS, open_real

import fedcode.privacy.ledger.ledger
import fedcode.privacy.ledger.verification
from fedcode.errors import LedgerDamaged, PrivacyError
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.ledger.chain import Chain
from fedcode.privacy.ledger.migrations import scripts
from fedcode.privacy.ledger.outbox import Seal
from fedcode.privacy.ledger.witness import CountersignedHead

MESSAGE = b"every number of the update " * 20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with BudgetLedger.open(path) as ledger:
        open_real(ledger, "code")
        yield ledger


def charge(ledger, number=1, agreement="a"):
    cost = Cost(10, 4.0, 1e5, 1e-3, 1)
    return ledger.charge(
        cost, asset="code", agreement=agreement, purpose="research", task="t", round=number
    )


# The outbox.


def test_the_exact_bytes_are_there_for_a_retry(ledger, path) -> None:
    receipt = charge(ledger)
    assert ledger.answer("code", "a", 1) is None
    ledger.arm(receipt, "p", MESSAGE)
    for state in ("ARMED", "SENT"):
        with BudgetLedger.open(path) as again:
            answer = again.answer("code", "a", 1)
            assert (answer.plan, answer.message) == ("p", MESSAGE)
            assert [c.state for c in again.history("code")] == [state]
        if state == "ARMED":
            ledger.sent(receipt)


def test_nothing_of_a_message_stands_in_the_files(ledger, path) -> None:
    ledger.arm(charge(ledger), "p", MESSAGE)
    ledger.close()
    for file in path.parent.iterdir():
        assert MESSAGE[:20] not in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in path.parent.iterdir()} == {"ledger.sqlite", "ledger.key"}


def test_a_round_has_one_answer(ledger) -> None:
    ledger.arm(charge(ledger), "p", MESSAGE)
    again = charge(ledger)
    with pytest.raises(PrivacyError, match="round 1 was answered already"):
        ledger.arm(again, "p", b"another")
    assert ledger.answer("code", "a", 1).message == MESSAGE
    ledger.arm(charge(ledger, agreement="b"), "p", b"of another agreement")
    assert ledger.answer("code", "a", 1).message == MESSAGE


def test_a_later_rounds_message_takes_the_place(ledger) -> None:
    ledger.arm(charge(ledger), "p", MESSAGE)
    ledger.arm(charge(ledger, 2), "q", b"next")
    assert ledger.answer("code", "a", 1).message is None
    assert ledger.answer("code", "a", 2).message == b"next"
    ledger.empty_outbox()
    assert ledger.answer("code", "a", 2).message is None
    assert ledger.verify() == 5


def test_an_empty_outbox_takes_no_room(ledger, path) -> None:
    ledger.arm(charge(ledger), "p", bytes(3_000_000))
    ledger.empty_outbox()
    ledger.close()
    assert path.stat().st_size < 300_000
    with BudgetLedger.open(path) as again:
        assert again.verify() == 3


def test_what_was_not_armed_is_not_sent(ledger) -> None:
    receipt = charge(ledger)
    with pytest.raises(PrivacyError, match="is RESERVED, not ARMED"):
        ledger.sent(receipt)


def test_a_message_under_another_key_is_not_sent_again(ledger, path) -> None:
    ledger.arm(charge(ledger), "p", MESSAGE)
    ledger.close()
    path.with_suffix(".key").unlink()
    with (
        BudgetLedger.open(path) as other,
        pytest.raises(PrivacyError, match="cannot be opened"),
    ):
        other.answer("code", "a", 1)


def test_a_message_of_another_charge_is_not_sent(ledger, path) -> None:
    ledger.arm(charge(ledger), "p", MESSAGE)
    ledger.arm(charge(ledger, agreement="b"), "p", b"other")
    connection = sqlite3.connect(path)
    first, second = connection.execute("SELECT charge, sealed FROM outbox ORDER BY charge")
    connection.execute("UPDATE outbox SET sealed = ? WHERE charge = ?", (second[1], first[0]))
    connection.commit()
    connection.close()
    with pytest.raises(PrivacyError, match="cannot be opened"):
        ledger.answer("code", "a", 1)


def test_a_key_that_is_none_is_said(path) -> None:
    path.with_suffix(".key").write_bytes(b"short")
    with pytest.raises(PrivacyError, match=r"key .* cannot be used") as caught:
        BudgetLedger.open(path)
    assert caught.value.hint


def test_a_seal_opens_what_it_sealed_and_nothing_else() -> None:
    seal, other = Seal.fresh(), Seal.fresh()
    sealed = seal.seal(MESSAGE, "charge")
    assert seal.seal(MESSAGE, "charge") != sealed
    assert seal.open(sealed, "charge") == MESSAGE
    for opener, data, charge_hash in (
        (other, sealed, "charge"),
        (seal, sealed, "Charge"),
        (seal, sealed[:-1], "charge"),
        (seal, b"", "charge"),
        (seal, sealed[:-1] + bytes([sealed[-1] ^ 1]), "charge"),
    ):
        with pytest.raises(PrivacyError, match="cannot be opened"):
            opener.open(data, charge_hash)


# Latches.


def test_a_latch_holds_one_answer(ledger, path) -> None:
    ledger.latch("code", "a", 1, "survivors", "1" * 64)
    with BudgetLedger.open(path) as again:
        again.latch("code", "a", 1, "survivors", "1" * 64)  # after a crash
        with pytest.raises(PrivacyError, match="survivors of round 1 was answered otherwise"):
            again.latch("code", "a", 1, "survivors", "2" * 64)
    ledger.latch("code", "a", 1, "shares", "2" * 64)
    ledger.latch("code", "a", 2, "survivors", "2" * 64)
    ledger.latch("code", "b", 1, "survivors", "2" * 64)
    assert ledger.verify() == 5


def test_a_latch_needs_an_account(ledger) -> None:
    with pytest.raises(PrivacyError, match="has no account"):
        ledger.latch("unknown", "a", 1, "survivors", "1")


def test_a_second_latch_that_was_forged_is_found(ledger, path) -> None:
    ledger.latch("code", "a", 1, "survivors", "1")
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP INDEX entries_latched")
    connection.commit()
    connection.close()
    with Chain(path, scripts=scripts()) as chain, chain.writing():
        body = {"agreement": "a", "round": 1, "step": "survivors", "digest": "2"}
        chain.append("LATCHED", "code", body)
    with pytest.raises(LedgerDamaged, match="row 3 of the ledger answers a step again"):
        BudgetLedger.open(path)


# Witnesses.

WITNESS = KEYS[2]


def seen(ledger):
    return CountersignedHead.make(ledger.identity, ledger.head, WITNESS)


def test_a_ledger_that_was_set_back_does_not_open(ledger, path) -> None:
    copy = path.with_name("copy.sqlite")
    charge(ledger)
    source = sqlite3.connect(path)
    source.execute("VACUUM INTO ?", (str(copy),))
    source.close()
    charge(ledger, 2)
    late = seen(ledger)
    late.check(frozenset([WITNESS.public]))
    charge(ledger, 3)
    ledger.close()
    BudgetLedger.open(path, witnessed=[late]).close()
    BudgetLedger.open(copy).close()  # whole in itself
    with pytest.raises(LedgerDamaged, match="behind a head that was countersigned"):
        BudgetLedger.open(copy, witnessed=[late])


def test_a_head_of_another_ledger_is_refused(ledger, path) -> None:
    with BudgetLedger.open(path.with_name("other.sqlite")) as other:
        open_real(other, "code")
        head = seen(other)
    with pytest.raises(LedgerDamaged, match="of another ledger"):
        BudgetLedger.open(path, witnessed=[head])
    with pytest.raises(LedgerDamaged, match="of another ledger"):
        ledger.witnessed(head)


def test_a_countersigned_head_is_kept_for_auditors(ledger) -> None:
    head = seen(ledger)
    ledger.witnessed(head)
    assert ledger.verify(head.head) == 2
    forged = CountersignedHead(head.ledger, head.head, KEYS[0].public, head.signature)
    with pytest.raises(PrivacyError, match="not signed by a witness"):
        ledger.witnessed(forged)
    with pytest.raises(PrivacyError, match="not signed by a witness"):
        head.check(frozenset([KEYS[0].public]))


def test_a_head_that_nobody_signed_is_found(ledger, path) -> None:
    body = seen(ledger).plain() | {"witness": KEYS[0].public}
    ledger.close()
    with Chain(path, scripts=scripts()) as chain, chain.writing():
        chain.append("WITNESSED", "", body)
    with pytest.raises(LedgerDamaged, match="row 2 of the ledger has a signature that is none"):
        BudgetLedger.open(path)


# Schemas.


def test_a_file_is_brought_to_a_later_schema_and_its_rows_stay(ledger, path) -> None:
    charge(ledger)
    head = ledger.head
    ledger.close()
    later = [*scripts(), "CREATE TABLE notes (text TEXT) STRICT;\nCREATE INDEX n ON notes (text);"]
    with Chain(path, scripts=later) as chain:
        assert chain.head == head
        assert chain.query("SELECT count(*) FROM notes") == [(0,)]
        assert len(list(chain.rows())) == 2
    Chain(path, scripts=later).close()
    with pytest.raises(LedgerDamaged, match="schema version 3, not 2"):
        BudgetLedger.open(path)


def test_a_schema_that_fails_changes_nothing(ledger, path) -> None:
    ledger.close()
    broken = [*scripts(), "CREATE TABLE notes (text TEXT) STRICT;\nCREATE INDEX n ON none (text);"]
    with pytest.raises(PrivacyError, match="no such table"):
        Chain(path, scripts=broken)
    with BudgetLedger.open(path) as again:
        assert again.verify() == 1
        assert again._chain.query("SELECT * FROM sqlite_master WHERE name = 'notes'") == []


# Openings.


def test_damage_found_late_stops_every_charge(ledger, path, monkeypatch) -> None:
    for number in range(1, 50):
        charge(ledger, number)
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE entries SET time = '2001-01-01' WHERE seq = 40")
    connection.commit()
    connection.close()
    go_on = threading.Event()
    sound = fedcode.privacy.ledger.verification._sound

    def slow(chain):
        go_on.wait()
        return sound(chain)

    monkeypatch.setattr(fedcode.privacy.ledger.verification, "_sound", slow)
    monkeypatch.setattr(fedcode.privacy.ledger.ledger, "PATIENCE", 0.0)
    with BudgetLedger.open(path) as late:
        assert not late.verified()
        charge(late, 50)
        go_on.set()
        with pytest.raises(LedgerDamaged, match="row 40 "):
            late.verified(wait=None)
        for act in (
            lambda: charge(late, 51),
            lambda: open_real(late, "other"),
            lambda: late.latch("code", "a", 1, "s", "1"),
        ):
            with pytest.raises(LedgerDamaged, match="row 40 "):
                act()


def test_an_opening_can_be_closed_before_all_is_verified(ledger, path, monkeypatch) -> None:
    ledger.close()
    monkeypatch.setattr(fedcode.privacy.ledger.ledger, "PATIENCE", 0.0)
    for _ in range(20):
        BudgetLedger.open(path).close()


def test_a_forked_copy_is_refused(ledger) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        words = []
        for act in (lambda: charge(ledger), lambda: ledger.head, lambda: ledger.spent("code")):
            try:
                act()
            except PrivacyError as error:
                words.append(str(error))
        os.write(write, "\n".join(words).encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(read, 10_000).decode().split("\n")
    assert len(said) == 3
    assert all("after a fork" in line for line in said)
    assert charge(ledger).seq == 2


def test_a_key_made_by_many_at_once_is_one(path) -> None:
    together, sealed = threading.Barrier(8), []

    def make():
        together.wait()
        sealed.append(Seal.beside(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    message = sealed[0].seal(MESSAGE, "c")
    assert {seal.open(message, "c") for seal in sealed} == {MESSAGE}
    assert len(list(path.parent.iterdir())) == 1
