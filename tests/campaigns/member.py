# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A real member with a real ledger, and what must hold of both whatever happens to it.

What leaves is a line in the file ``wire``: the round and the digest of the bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from fedcode.agreement import Agreement
from fedcode.errors import LedgerDamaged, PrivacyError
from fedcode.federation import AggregationSettings, ServerSettings, TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.ledger.witness import CountersignedHead
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.record import PrivacyUnit
from fedcode.rounds.member import Member
from fedcode.simulation.identities import coordinator_of, key_of, roster_of
from fedcode.trainer import LocalReport
from fedcode.wire import Plan, Refusal, decode, encode, sign
from tests.unit.officers import KEYS, open_real

WEIGHTS, ROUNDS = 4, 1_000_000
POLICY = PrivacyPolicy(PrivacyUnit.FUNCTION, 1.0, WEIGHTS, 1000.0, 0.5, 1, 1e-5, 8.0)
BUDGET = Filter.for_budget(8.0, 1e-5, 4.0)
COST = BUDGET.cost(1000.0, 0.5, 1)
SEED = 1
AGREEMENT = Agreement(
    federation="toy",
    purpose="test",
    task="toy",
    task_fingerprint="0" * 64,
    start="1" * 64,
    weights=WEIGHTS,
    rounds=ROUNDS,
    roster=roster_of("toy", SEED, ("a", "b")),
    unit="function",
    epsilon=8.0,
    delta=1e-5,
    noise_multiplier=1000.0,
    training=TrainingSettings(sampling_rate=0.5),
    server=ServerSettings(),
    aggregation=AggregationSettings(mode="open"),
)
Step = Callable[[str], None]
Result = TypeVar("Result", int, bool, str, list, tuple, None)


class Killed(Exception):
    """The process did not come to its end."""


def apart(work: Callable[[], Result]) -> Result:
    """What ``work`` returns in a process of its own, as JSON has it.

    Whoever forks must have had no threads, and a ledger has one: so whoever runs a campaign opens
    no ledger itself.

    Raises:
        Killed: the process was killed.
        LedgerDamaged, PrivacyError: what the process has raised.
        AssertionError: it has raised anything else; the text is on stderr.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            said = {"result": work()}
        except PrivacyError as error:
            said = {"error": type(error).__name__, "text": str(error)}
        except BaseException:  # noqa: BLE001  the parent sees that, a person the text
            traceback.print_exc()
            said = {"error": "other", "text": "a member failed otherwise"}
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        raise Killed
    said = json.loads(text)
    if "error" in said:
        kinds = {"LedgerDamaged": LedgerDamaged, "other": AssertionError}
        raise kinds.get(said["error"], PrivacyError)(said["text"])
    return said["result"]


class NoiseTrainer:
    """Releases noise alone, other noise each time."""

    def __init__(self, step: Step) -> None:
        self.report = LocalReport()
        self._step = step

    def train(self, weights, receipt):
        self._step("charged")
        mechanism = GaussianMechanism(POLICY, SecureGenerator(), receipt)
        units = len(mechanism.sample(10))
        noised = mechanism.noised(ClippedSum(np.zeros(WEIGHTS, np.float32), 1.0)).values
        mechanism.end_step(units)
        self._step("trained")
        return mechanism.release(noised)


class Site:
    """One organization's folder: its ledger, and what has left.

    Args:
        folder: is made, and removed by :meth:`remove`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        memory = Path("/dev/shm")  # a kill loses no write: no need to wait for a disk
        where = memory if memory.is_dir() else None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="fedcode-site-", dir=where))
        self.ledger = self.folder / "ledger.sqlite"
        self.wire = self.folder / "wire"

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)

    def lines(self) -> list[tuple[int, str]]:
        """What has left: round and digest, in order."""
        if not self.wire.exists():
            return []
        words = (line.split() for line in self.wire.read_text(encoding="utf-8").splitlines())
        return [(int(number), digest) for number, digest in words]

    def live(
        self, rounds: int, step: Step = lambda _name: None, opened=lambda _ledger: None
    ) -> list[int]:
        """Opens the ledger, goes on with the next rounds, each asked twice, and closes it.

        Args:
            rounds: so many.
            step: called with the name of each step that was taken.
            opened: called with the ledger.

        Returns:
            The rounds that were refused.
        """
        refused = []
        with BudgetLedger.open(self.ledger) as ledger:
            step("opened")
            open_real(ledger, "code")
            opened(ledger)
            trainer = NoiseTrainer(step)
            member = Member(
                "a",
                "code",
                AGREEMENT,
                COST,
                BUDGET.budget_nano,
                ledger,
                trainer,
                key_of(SEED, "a"),
            )
            last = max([number for number, _ in self.lines()], default=0)
            for number in sorted(2 * [*range(last + 1, last + 1 + rounds)]):
                weights = np.full(WEIGHTS, number, np.float32)
                asked = sign(
                    Plan(AGREEMENT.digest(), number, ("a", "b"), weights), coordinator_of(SEED)
                )
                data = member.answer(encode(asked))
                if isinstance(decode(data, weights=WEIGHTS, length=WEIGHTS), Refusal):
                    refused.append(number)
                    continue
                step("answered")
                self.send(number, data)
                step("sent")
        return refused

    def send(self, number: int, data: bytes) -> None:
        """One line, written at once."""
        line = f"{number} {hashlib.sha256(data).hexdigest()}\n".encode()
        wire = os.open(self.wire, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(wire, line)
        os.close(wire)

    def head(self) -> CountersignedHead | None:
        """What a witness would countersign now."""
        with BudgetLedger.open(self.ledger, read_only=True) as ledger:
            if not ledger.identity:
                return None
            return CountersignedHead.make(ledger.identity, ledger.head, KEYS[0])

    def check(self, witnessed: CountersignedHead | None = None) -> int:
        """What must hold: every byte that left was charged, kept, and is one answer a round.

        Returns:
            How many charges were lost: reserved, and nothing left for them.

        Raises:
            LedgerDamaged: the ledger does not open.
        """
        with BudgetLedger.open(self.ledger, witnessed=[witnessed] if witnessed else []) as ledger:
            if not ledger.verified(wait=None):
                raise LedgerDamaged("not verified")
            account = ledger.account("code")
            if account is None:
                assert not self.lines(), "bytes left, and there is no account"
                return 0
            history = ledger.history("code")
            armed = {
                row[0]: row[1]
                for row in ledger._chain.query(
                    "SELECT body ->> '$.round', body ->> '$.digest' FROM entries "
                    "WHERE kind = 'ARMED'"
                )
            }
            for number, digest in self.lines():
                assert armed.get(number) == digest, "what left was not armed, or two answers"
            kept = [c for c in history if c.state != "REFUNDED"]
            assert ledger.spent("code") == sum(c.cost_nano for c in kept)
            assert ledger.spent("code") <= account.budget.budget_nano
            paid = {c.round for c in kept if c.state in ("ARMED", "SENT")}
            assert {number for number, _ in self.lines()} <= paid == armed.keys()
            return sum(c.state == "RESERVED" for c in kept)
