# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Kills, faults and storms: a few in every run of the tests, thousands in the slow ones."""

import tempfile
import time
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fedcode.errors import LedgerDamaged
from fedcode.privacy.ledger import BudgetLedger
from tests.campaigns import faults, kills, service_kills, storms

SHORT = {"disk full": 5}


def said(capsys, name, found, start):
    """Prints a figure of a slow campaign."""
    with capsys.disabled():
        print(f"\n{name}: {dict(found)} in {time.perf_counter() - start:.0f} s")


# Kills.


def test_a_kill_loses_one_reservation_at_most_and_nothing_leaves_twice() -> None:
    found = kills.campaign(15 * len(kills.POINTS))
    assert found["answers sent"] > 0
    assert all(found[f"at {point}"] == 15 for point in kills.POINTS)


@pytest.mark.slow
def test_ten_thousand_kills(capsys) -> None:
    start = time.perf_counter()
    found = kills.campaign(10_000, seed=2)
    said(capsys, "kills", found, start)
    assert found["kills"] >= 10_000


def unkept(monkeypatch):
    """Bytes leave before they are kept."""
    monkeypatch.setattr(BudgetLedger, "arm", lambda *_: None)
    monkeypatch.setattr(BudgetLedger, "sent", lambda *_: None)


def uncharged(monkeypatch):
    """A charge is forgotten when the process is."""
    charge = BudgetLedger.charge

    def later(self, *args, **values):
        receipt = charge(self, *args, **values)
        with self._chain.writing():
            self._chain.execute("DELETE FROM entries WHERE seq = ?", (receipt.seq,))
        return receipt

    monkeypatch.setattr(BudgetLedger, "charge", later)


def answered_anew(monkeypatch):
    """A retry is computed again."""
    monkeypatch.setattr(BudgetLedger, "answer", lambda *_: None)
    monkeypatch.setattr(BudgetLedger, "_armed", lambda *_: None)


@pytest.mark.parametrize("mutant", [unkept, uncharged, answered_anew])
def test_the_campaign_finds_a_ledger_that_is_wrong(monkeypatch, mutant, capfd) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, LedgerDamaged)):
        kills.campaign(30)
    capfd.readouterr()


# Faults.


@pytest.mark.parametrize("name", faults.FAULTS)
def test_the_ledger_fails_closed(name) -> None:
    times = SHORT.get(name, 25)
    assert faults.campaign(name, times)["faults"] >= times


@pytest.mark.slow
@pytest.mark.parametrize("name", faults.FAULTS)
def test_the_ledger_fails_closed_a_thousand_times(name, capsys) -> None:
    start = time.perf_counter()
    found = faults.campaign(name, 1000, seed=2)
    said(capsys, name, found, start)
    assert found["faults"] >= 1000


def test_garbage_that_nobody_looks_for_is_found_by_the_campaign(monkeypatch) -> None:
    monkeypatch.setattr("fedcode.privacy.ledger.verification._sound", lambda _chain: iter(()))
    monkeypatch.setattr(BudgetLedger, "_check_witnessed", lambda *_: None)
    with pytest.raises(AssertionError):
        faults.campaign("restored snapshot", 3)
    with pytest.raises((AssertionError, LedgerDamaged)):
        faults.campaign("garbage", 200)


# Storms.

RUNNING: list[storms.Storms] = []
DONE = Counter[str]()


@pytest.fixture(scope="module")
def processes():
    RUNNING.append(storms.Storms())
    yield
    RUNNING.pop().close()


class StormMachine(RuleBasedStateMachine):
    """Eight processes on one ledger, in several storms."""

    operations = 15

    @initialize()
    def begin(self) -> None:
        memory = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.path, self.results = Path(self.folder.name) / "ledger.sqlite", []
        storms.make(self.path)

    @rule(seeds=st.lists(st.integers(0, 2**32), min_size=8, max_size=8), share=st.integers(1, 4))
    def storm(self, seeds, share) -> None:
        operations = self.operations * share // 4 + 1
        self.results += RUNNING[0].storm(self.path, seeds, operations)
        DONE["operations"] += len(seeds) * operations
        storms.check(self.path, self.results)

    @rule()
    def nothing_moves_when_nobody_writes(self) -> None:
        with BudgetLedger.open(self.path) as ledger:
            head = ledger.head
            assert ledger.verify(head)
        storms.check(self.path, self.results)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            DONE["ledgers"] += 1
            self.folder.cleanup()


def storm(examples, steps, operations) -> None:
    StormMachine.operations = operations
    run_state_machine_as_test(
        StormMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=operations < 100,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_eight_processes_never_overspend(processes) -> None:
    storm(6, 5, 40)
    assert DONE["operations"] > 1000


@pytest.mark.slow
def test_eight_processes_never_overspend_in_a_million_operations(processes, capsys) -> None:
    start = time.perf_counter()
    DONE.clear()
    while DONE["operations"] < 1_000_000:
        storm(20, 6, 1000)
    said(capsys, "storms", DONE, start)


def test_the_storm_finds_a_ledger_that_overspends(tmp_path) -> None:
    path = tmp_path / "ledger.sqlite"
    storms.make(path)
    paid = Counter({"b": storms.SIMULATED.budget_nano + 1})
    with pytest.raises(AssertionError, match="overspent: b"):
        storms.check(path, [{"paid": paid, "armed": {}, "latched": {}}])
    answers = {("b", "x", 1): b"bytes"}
    twice = [{"paid": Counter(), "armed": answers, "latched": {}}] * 2
    with pytest.raises(AssertionError, match="two answers to one round"):
        storms.check(path, twice)


# The service.


def test_a_service_that_dies_loses_nothing_and_pays_nothing_twice() -> None:
    found = service_kills.campaign(len(service_kills.POINTS))
    assert found["deaths"] >= len(service_kills.POINTS) - 2


@pytest.mark.slow
def test_a_thousand_deaths_of_a_service(capsys) -> None:
    start = time.perf_counter()
    found = service_kills.campaign(1000, seed=2)
    said(capsys, "deaths of a service", found, start)
    assert found["deaths"] >= 700


def test_the_campaign_finds_a_service_that_pays_for_each_attempt() -> None:
    with pytest.raises(AssertionError, match="paid twice"):
        service_kills.campaign(2 * len(service_kills.POINTS), forgetful=True)
