# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger, empty and with a million rows, on the disk that temporary files are on."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.ledger.account import Totals
from fedcode.privacy.ledger.chain import Chain
from fedcode.privacy.ledger.migrations import scripts
from fedcode.record import PrivacyUnit
from tests.benchmarks.figure import Figure, at_least, at_most, seconds

MANY = 1_000_000
BUDGET = Filter.for_budget(1e6, 1e-5, 4.0)
COST = Cost(1000, 4.0, 1e4, 1e-3, 1)


def figures() -> list[Figure]:
    """Commits a second (three a round), opening, memory; ``FEDCODE_BENCH_ROWS`` for fewer rows."""
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
    ]


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
