# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger, empty and with a million rows, on the disk that temporary files are on."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path
from statistics import median

from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger, Ledger
from fedcode.privacy.ledger.account import Totals
from fedcode.privacy.ledger.chain import Chain
from fedcode.privacy.ledger.migrations import scripts
from fedcode.privacy.receipt import Receipt
from fedcode.record import PrivacyUnit
from fedcode_client.budget import OfficersDesk, RemoteLedger, Role
from fedcode_client.budget.asking import address_in, connection
from fedcode_client.budget.service import KEYS, Service
from tests.benchmarks.figure import Figure, at_least, at_most, seconds
from tests.unit.officers import KEYS as OFFICERS
from tests.unit.officers import policy

MANY = 1_000_000
LARGE = 64  # MiB
BUDGET = Filter.for_budget(1e6, 1e-5, 4.0)
COST = Cost(1000, 4.0, 1e4, 1e-3, 1)


def figures() -> list[Figure]:
    """Commits a second (three a round), opening, memory; ``FEDCODE_BENCH_ROWS`` for fewer rows.

    Then a charge and a large message by the service, beside the same in this process.
    """
    rows = int(os.environ.get("FEDCODE_BENCH_ROWS", MANY))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with BudgetLedger.open(path) as ledger:
            _account(ledger)
            numbers = count(rows + 1000)
            empty = _commits(ledger, numbers)
        fill(path, rows)
        start = time.perf_counter()
        with BudgetLedger.open(path) as ledger:
            opening = time.perf_counter() - start
            full = _commits(ledger, numbers)
            before = _peak()
            ledger.verified(wait=None)
            verified = time.perf_counter() - start
            for _ in range(10):
                _commits(ledger, numbers)
            memory = _peak() - before
    name = f"at {rows:,} rows"
    return [
        at_least("ledger", "commits, on disk", empty, "1/s", 100),
        at_least("ledger", f"commits {name}", full, "1/s", 100),
        Figure("ledger", f"commits {name} over commits at none", full / empty, ""),
        at_most("ledger", f"opening {name}", opening, "s", 1.0),
        Figure("ledger", f"verified in the background {name}, commits going on", verified, "s"),
        Figure("ledger", "memory that verification and commits add", memory, "MiB"),
        *_by_the_service(),
    ]


def _by_the_service() -> list[Figure]:
    """Both sides of the connection share this process, so that a service of its own is faster."""
    here, there, ratios, large = [], [], [], []
    with tempfile.TemporaryDirectory() as name, ExitStack() as held:
        folder = Path(name) / "ledger"
        held.enter_context(Service(folder))
        desk = OfficersDesk(connection(folder / KEYS, Role.OFFICER, address_in(folder)))
        held.enter_context(desk)
        desk.open_accounts(["asset"], policy(*OFFICERS[:2]), PrivacyUnit.FUNCTION, COST.order)
        remote = RemoteLedger(connection(folder / KEYS, Role.TRAINER, address_in(folder)))
        held.enter_context(remote)
        direct = held.enter_context(BudgetLedger.open(Path(name) / "direct.sqlite"))
        direct.open_account(
            "asset", policy=policy(*OFFICERS[:2]), unit=PrivacyUnit.FUNCTION, order=COST.order
        )
        numbers = count(1)
        for _ in range(7):
            mine, other = (_charges(ledger, numbers) for ledger in (direct, remote))
            here.append(mine)
            there.append(other)
            ratios.append(other / mine)
        for _ in range(3):
            receipt = _charge(remote, next(numbers))
            start = time.perf_counter()
            remote.arm(receipt, "p" * 64, bytes(LARGE << 20))
            large.append(time.perf_counter() - start)
    note = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return [
        Figure("ledger", "a charge in this process", median(here) * 1e3, "ms"),
        Figure("ledger", "a charge by the service", median(there) * 1e3, "ms"),
        at_most("ledger", "charge by the service over direct", median(ratios), "", 10.0, note),
        Figure("ledger", f"arming {LARGE} MiB by the service", median(large), "s"),
    ]


def _charges(ledger: Ledger, numbers: Iterator[int]) -> float:
    """Seconds of one of fifty charges."""
    start = time.perf_counter()
    for number in islice(numbers, 50):
        _charge(ledger, number)
    return (time.perf_counter() - start) / 50


def _charge(ledger: Ledger, number: int) -> Receipt:
    return ledger.charge(
        COST, asset="asset", agreement="a" * 64, purpose="test", task="t", round=number
    )


def fill(path: Path, rows: int) -> None:
    """Adds rounds in one transaction, three rows each, as the ledger itself writes them."""
    body = {
        "agreement": "a" * 64,
        "purpose": "bench",
        "task": "t",
        "noise_multiplier": COST.noise_multiplier,
        "sampling_rate": COST.sampling_rate,
        "steps": COST.steps,
        "delta": BUDGET.delta,
        "cost_nano": COST.nano,
    }
    with BudgetLedger.open(path, read_only=True) as ledger:
        spent = ledger.spent("asset")
    with Chain(path, scripts=scripts()) as chain, chain.writing():
        for number in range(1, rows // 3 + 1):
            spent += COST.nano
            totals = Totals(spent, spent, spent, spent).plain()
            charge = chain.append("RESERVED", "asset", body | totals | {"round": number}).seq
            armed = {"charge": charge, "agreement": "a" * 64, "round": number}
            digests = {"plan": "p" * 64, "digest": "d" * 64}
            chain.append("ARMED", "asset", armed | digests)
            chain.append("SENT", "asset", {"charge": charge})


def _account(ledger: BudgetLedger) -> None:
    unit = PrivacyUnit.FUNCTION
    ledger.open_simulated("asset", organization="bench", unit=unit, budget=BUDGET)


def _commits(ledger: BudgetLedger, numbers: Iterator[int]) -> float:
    def hundred() -> None:
        for number in islice(numbers, 100):
            receipt = ledger.charge(
                COST, asset="asset", agreement="a" * 64, purpose="bench", task="t", round=number
            )
            ledger.arm(receipt, "p" * 64, b"bytes")
            ledger.sent(receipt)

    return 300 / seconds(hundred)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
