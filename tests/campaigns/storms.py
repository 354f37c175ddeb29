# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that do everything at once to one ledger: never is more paid out than there is."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fedcode.errors import BudgetExhausted, PrivacyError
from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.receipt import Receipt
from fedcode.record import PrivacyUnit
from tests.unit.officers import KEYS, policy

PROCESSES = 8
ORDER = 32.0
PURPOSES, ASSETS, AGREEMENTS = ("research", "test"), ("a", "b"), ("x", "y")
SIMULATED = Filter(1.0, 1e-5, ORDER, 500_000)
SIGNED = policy(*KEYS[:2], caps={"epsilon": 1.0, "per_30_days": 0.9, "purposes": {"test": 0.5}})
LIMITS = {
    "a": Filter.for_budget(1.0, 1e-5, ORDER).budget_nano,
    "a, 30 days": Filter.for_budget(0.9, 1e-5, ORDER).budget_nano,
    "a, test": Filter.for_budget(0.5, 1e-5, ORDER).budget_nano,
    "b": SIMULATED.budget_nano,
}


@dataclass
class Process:
    """One process' side of a storm.

    Attributes:
        paid: nano-units by what they count towards.
        armed: by asset, agreement and round, the bytes.
        latched: by asset and round, the digest.
    """

    number: int
    paid: Counter[str] = field(default_factory=Counter)
    charged: int = 0
    armed: dict[tuple[str, str, int], bytes] = field(default_factory=dict)
    latched: dict[tuple[str, int], str] = field(default_factory=dict)
    held: list[tuple[Receipt, str]] = field(default_factory=list)
    ready: list[Receipt] = field(default_factory=list)

    def operate(self, ledger: BudgetLedger, draw: random.Random) -> None:
        """One random operation."""
        what = draw.choices(
            (self._charge, self._arm, self._send, self._refund, self._latch, self._look),
            (4, 2, 2, 1, 1, 4),
        )[0]
        what(ledger, draw)

    def _charge(self, ledger: BudgetLedger, draw: random.Random) -> None:
        asset, purpose = draw.choice(ASSETS), draw.choice(PURPOSES)
        nano = draw.choice((1, draw.randint(1, 2000), draw.randint(1, 10**7)))
        try:
            receipt = ledger.charge(
                Cost(nano, ORDER, 1e5, 1e-3, 1),
                asset=asset,
                agreement=draw.choice(AGREEMENTS),
                purpose=purpose,
                task="t",
                round=draw.randint(1, 10_000),
            )
        except BudgetExhausted:
            return
        self._count(receipt, purpose, 1)
        if asset == "a":
            self.paid["a, 30 days"] += nano
        self.held.append((receipt, purpose))

    def _count(self, receipt: Receipt, purpose: str, sign: int) -> None:
        self.paid[receipt.asset] += sign * receipt.cost_nano
        if (receipt.asset, purpose) == ("a", "test"):
            self.paid["a, test"] += sign * receipt.cost_nano

    def _arm(self, ledger: BudgetLedger, draw: random.Random) -> None:
        if not self.held:
            return
        receipt, _ = self.held.pop(draw.randrange(len(self.held)))
        message = f"{self.number} {receipt.hash}".encode()
        try:
            ledger.arm(receipt, "p", message)
        except PrivacyError as error:
            assert "answered already" in str(error)  # noqa: PT017
            return
        self.armed[receipt.asset, receipt.agreement, receipt.round] = message
        self.ready.append(receipt)

    def _send(self, ledger: BudgetLedger, draw: random.Random) -> None:
        if self.ready:
            ledger.sent(self.ready.pop(draw.randrange(len(self.ready))))

    def _refund(self, ledger: BudgetLedger, draw: random.Random) -> None:
        if self.held:
            receipt, purpose = self.held.pop(draw.randrange(len(self.held)))
            ledger.refund(receipt)
            self._count(receipt, purpose, -1)

    def _latch(self, ledger: BudgetLedger, draw: random.Random) -> None:
        key, digest = (draw.choice(ASSETS), draw.randint(1, 10_000)), f"{self.number}"
        try:
            ledger.latch(key[0], "x", key[1], "survivors", digest)
        except PrivacyError as error:
            assert "answered otherwise" in str(error)  # noqa: PT017
            return
        self.latched[key] = digest

    def _look(self, ledger: BudgetLedger, draw: random.Random) -> None:
        asset = draw.choice(ASSETS)
        assert 0 <= ledger.spent(asset) <= LIMITS[asset]
        if self.armed:
            key = draw.choice(list(self.armed))
            answer = ledger.answer(*key)
            assert answer is not None
            assert answer.message in (None, self.armed[key])

    def result(self) -> Mapping[str, Any]:
        """What the parent checks."""
        return {"paid": self.paid, "armed": self.armed, "latched": self.latched}


def serve(number: int, link: Connection) -> None:
    """A process: storms as they are asked for, until there is no more."""
    while (asked := link.recv()) is not None:
        path, seed, operations = asked
        mine, draw = Process(number), random.Random(seed)
        with BudgetLedger.open(path) as ledger:
            for _ in range(operations):
                mine.operate(ledger, draw)
        link.send(mine.result())


class Storms:
    """Eight processes that wait to be told what to do."""

    def __init__(self, processes: int = PROCESSES) -> None:
        context = multiprocessing.get_context("spawn")
        self._links, self._processes = [], []
        for number in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(number, theirs), daemon=True)
            process.start()
            self._links.append(ours)
            self._processes.append(process)

    def close(self) -> None:
        """Ends the processes."""
        for link in self._links:
            link.send(None)
        for process in self._processes:
            process.join()

    def storm(self, path: Path, seeds: list[int], operations: int) -> list[Mapping[str, Any]]:
        """Each process does so many operations, all at once."""
        for link, seed in zip(self._links, seeds, strict=True):
            link.send((path, seed, operations))
        return [link.recv() for link in self._links]


def make(path: Path) -> None:
    """A ledger with an account under a policy, and a simulation's."""
    with BudgetLedger.open(path) as ledger:
        unit = PrivacyUnit.FUNCTION
        ledger.open_account("a", policy=SIGNED, unit=unit, order=ORDER)
        ledger.open_simulated("b", organization="o", unit=unit, budget=SIMULATED)


def check(path: Path, results: list[Mapping[str, Any]]) -> None:
    """What must hold of a ledger after all that was done to it."""
    paid = sum((result["paid"] for result in results), Counter())
    for name, limit in LIMITS.items():
        assert paid[name] <= limit, f"overspent: {name}"
    for what in ("armed", "latched"):
        keys = [key for result in results for key in result[what]]
        if what == "armed":
            assert len(keys) == len(set(keys)), "two answers to one round"
    latched: dict[tuple[str, int], str] = {}
    for result in results:
        for key, digest in result["latched"].items():
            assert latched.setdefault(key, digest) == digest, "two answers to one step"
    with BudgetLedger.open(path) as ledger:
        assert ledger.verified(wait=None)
        for asset in ASSETS:
            assert ledger.spent(asset) == paid[asset]
