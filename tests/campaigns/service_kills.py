# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Kills the budget service at every step of a charge; a member goes on with the next one.

python -m tests.campaigns.service_kills TIMES [SEED]
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from fedcode.privacy.ledger import BudgetLedger
from fedcode.rounds.member import Member
from fedcode.simulation.identities import coordinator_of, key_of
from fedcode.wire import Plan, Refusal, decode, encode, sign
from fedcode_client.budget import OfficersDesk, RemoteLedger, Role
from fedcode_client.budget.asking import address_in, connection
from fedcode_client.budget.service import KEYS, LEDGER, Service
from tests.campaigns.kills import traced
from tests.campaigns.member import AGREEMENT, BUDGET, COST, SEED, WEIGHTS, NoiseTrainer
from tests.unit.officers import KEYS as OFFICERS
from tests.unit.officers import policy

POINTS = {
    "BEGIN": 5,
    "INSERT INTO entries": 4,
    "DELETE": 1,
    "INSERT INTO outbox": 1,
    "COMMIT": 5,
    "SELECT": 40,
    "Charge answered": 1,
    "Arm answered": 1,
    "Sent answered": 1,
    "Latch answered": 1,
}
"""Statements of the ledger and answers of the service; how often a round comes to each, about."""

ASSET = "code"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["fedcode_client.budget", "tests.campaigns.member", "dp_accounting.rdp"]
)


def serve(folder: Path, point: str, left: int, ready: object, *, forgetful: bool) -> None:
    """A service that kills itself before the ``left``-th time that it comes to ``point``."""

    def come(name: str) -> None:
        nonlocal left
        if armed and name.startswith(point):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    armed = False
    if forgetful:
        _forgetting()
    if point:
        traced(come)
        _answering(come)
    with Service(folder, patience=5.0):
        armed = True
        ready.set()
        signal.pause()


def _forgetting() -> None:
    """A service that pays for each attempt: the campaign must find it."""
    once, attempts = BudgetLedger.charge_once, iter(range(1_000_000))

    def each(self, request, *words, **named):
        return once(self, f"{request} {os.getpid()} {next(attempts)}", *words, **named)

    BudgetLedger.charge_once = each  # type: ignore[method-assign]


def _answering(come) -> None:
    """Comes to ``Charge answered`` when a call was done, and its answer is about to leave."""
    from fedcode_client.budget import service

    for name in ("Charge", "Arm", "Sent", "Latch"):
        method = getattr(service.Servicer, name)

        def done(self, request, context, method=method):
            answer = method(self, request, context)
            come(f"{method.__name__} answered")
            return answer

        setattr(service.Servicer, name, done)


class Keeper:
    """Keeps a service running, each with its own death."""

    def __init__(self, folder: Path, *, forgetful: bool) -> None:
        self._folder, self.deaths = folder, 0
        self._how = {"forgetful": forgetful}
        self._process: BaseProcess | None = None

    def start(self, point: str = "", left: int = 0) -> None:
        """Another one, when the one before has ended."""
        ready = _CONTEXT.Event()
        words = (self._folder, point, left, ready)
        self._process = _CONTEXT.Process(target=serve, args=words, kwargs=self._how)
        self._process.start()
        if not ready.wait(20.0):
            raise AssertionError("a service did not start")

    def dead(self) -> bool:
        """Whether it has killed itself."""
        return self._process.exitcode == -signal.SIGKILL

    def end(self) -> None:
        """Ends it as it is."""
        self._process.kill()
        self._process.join()


class Reviving(RemoteLedger):
    """A remote ledger whose service is started again, for good, as soon as it is missed."""

    def __init__(self, folder: Path, keeper: Keeper) -> None:
        where = address_in(folder)

        def address() -> str:
            if keeper.dead():
                keeper.deaths += 1
                keeper.start()
            return where()

        super().__init__(connection(folder / KEYS, Role.TRAINER, address), 30.0)


def campaign(times: int, seed: int = 1, *, forgetful: bool = False) -> Counter[str]:
    """So many rounds, each with a death of the service; returns how many died at each point."""
    draw, done = random.Random(seed), Counter[str]()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name) / "ledger"
        keeper = Keeper(folder, forgetful=forgetful)
        keeper.start()
        with OfficersDesk(connection(folder / KEYS, Role.OFFICER, address_in(folder))) as desk:
            signed = policy(*OFFICERS[:2])
            desk.open_accounts([ASSET], signed, AGREEMENT.policy.unit, BUDGET.order)
        keeper.end()
        for number in range(1, times + 1):
            point = list(POINTS)[number % len(POINTS)]
            keeper.start(point, draw.randrange(POINTS[point]))
            before = keeper.deaths
            with Reviving(folder, keeper) as ledger:
                _round(ledger, number)
            done += Counter(
                {f"at {point}": keeper.deaths - before, "deaths": keeper.deaths - before}
            )
            keeper.end()
        _check(folder, times)
    return done


def _round(ledger: RemoteLedger, number: int) -> None:
    """One round, asked twice; it must be answered whatever dies."""
    trainer = NoiseTrainer(lambda _name: None)
    member = Member(
        "a", ASSET, AGREEMENT, COST, BUDGET.budget_nano, ledger, trainer, key_of(SEED, "a")
    )
    plan = Plan(AGREEMENT.digest(), number, ("a", "b"), np.full(WEIGHTS, number, np.float32))
    asked = encode(sign(plan, coordinator_of(SEED)))
    first = member.answer(asked)
    refused = isinstance(decode(first, weights=WEIGHTS, length=WEIGHTS), Refusal)
    assert not refused, f"round {number} was refused: {member.error}"
    assert member.answer(asked) == first, "two answers to one round"
    ledger.latch(ASSET, AGREEMENT.digest(), number, "survivors", "d")


def _check(folder: Path, rounds: int) -> None:
    with BudgetLedger.open(folder / LEDGER) as ledger:
        assert ledger.verified(wait=None)
        history = ledger.history(ASSET)
        assert [charge.round for charge in history] == list(range(1, rounds + 1)), "paid twice"
        assert {charge.state for charge in history} == {"SENT"}
        assert ledger.spent(ASSET) == rounds * COST.nano
        steps = ledger.latched(ASSET, AGREEMENT.digest(), "survivors")
        assert steps == frozenset(range(1, rounds + 1))


if __name__ == "__main__":
    start = time.perf_counter()
    found = campaign(*map(int, sys.argv[1:]))
    sys.stdout.write(f"{dict(found)} in {time.perf_counter() - start:.0f} s\n")
