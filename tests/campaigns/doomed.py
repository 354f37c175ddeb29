# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Runs one of the programs, which kills itself (SIGKILL) where its folder's file ``doom`` says.

python -m tests.campaigns.doomed FOLDER fedcode_server|fedcode_client WORDS…

The file's words: since what the calls are counted, before or after which call, and which of them.
It is read at every such call, so that a program that has run for long can be killed, too.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

DOOM = "doom"

COORDINATOR = {
    "round": "fedcode.rounds.coordinator Coordinator run",
    "cohort": "fedcode.rounds.record RoundRecord cohort",
    "ask": "fedcode.transport.internals.superlink LinkStore put",
    "hear": "fedcode.rounds.record StepRecord keep",
    "settle": "fedcode.rounds.record StepRecord settle",
    "keep round": "fedcode_server.runs RunFolder keep_round",
    "line": "fedcode_server.runs append_line",
    "checkpoint": "fedcode_server.runs save_state",
    "forget": "fedcode.rounds.record RoundRecord forget",
    "finish": "fedcode_server.runs RunFolder finish",
    "weights": "fedcode_server.runs save_tensors",
}
AGENT = {
    "sync": "fedcode_client.answering Answering sync",
    "take": "fedcode.transport.line Line content",
    "answer": "fedcode.rounds.member Member answer",
    "begin": "fedcode.rounds.member Member _begin",
    "charge": "fedcode_client.budget.remote RemoteLedger charge",
    "train": "fedcode.rounds.member Member _train",
    "arm": "fedcode_client.budget.remote RemoteLedger arm",
    "sent": "fedcode_client.budget.remote RemoteLedger sent",
    "latch": "fedcode_client.budget.remote RemoteLedger latch",
    "reply": "fedcode.transport.line Line reply",
    "show": "fedcode_client.up Process _countersign",
}
BUDGET = {
    "check": "fedcode_client.budget.service Servicer CheckCharge",
    "latch": "fedcode_client.budget.service Servicer Latch",
    "look": "fedcode_client.budget.service Servicer _answer",
    "charge": "fedcode_client.budget.service Servicer Charge",
    "arm": "fedcode_client.budget.service Servicer Arm",
    "sent": "fedcode_client.budget.service Servicer Sent",
    "witness": "fedcode_client.budget.service Servicer Witness",
}
"""Calls that are watched, by program: module, class and function of each."""


@dataclass(frozen=True)
class Doom:
    """Where a program ends.

    Attributes:
        since: the call whose beginning starts the count.
        point: ``before`` or ``after``, and a call.
        count: which of them, from 1.
    """

    since: str
    point: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.since}|{self.point}|{self.count}"

    @classmethod
    def read(cls, text: str) -> Doom:
        since, point, count = text.split("|")
        return cls(since, point, int(count))

    def put(self, folder: Path) -> None:
        """Tells the program of ``folder``."""
        new = folder / f"{DOOM}.new"
        new.write_text(str(self), encoding="ascii")
        new.replace(folder / DOOM)


class Watch:
    """Counts calls, and ends the process at the one that is named."""

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / DOOM, threading.Lock()
        self._text, self._count = "", None

    def come(self, name: str) -> None:
        if not self._path.exists():
            return
        with self._lock:
            text = self._path.read_text(encoding="ascii")
            if text != self._text:
                self._text, self._count = text, None
            doom = Doom.read(text)
            if self._count is None and name == f"before {doom.since}":
                self._count = 0
            if self._count is not None and name == doom.point:
                self._count += 1
                if self._count >= doom.count:
                    self._path.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)

    def over(self, name: str, place: str) -> None:
        """Lets a function tell of its calls."""
        module, *where = place.split()
        owner = importlib.import_module(module)
        for each in where[:-1]:
            owner = getattr(owner, each)
        function = getattr(owner, where[-1])

        def told(*words, **named):
            self.come(f"before {name}")
            result = function(*words, **named)
            self.come(f"after {name}")
            return result

        setattr(owner, where[-1], told)


def main(folder: Path, program: str, *words: str) -> None:
    watch, places = Watch(folder), COORDINATOR
    if program == "fedcode_client":
        places = AGENT if words[0] == "up" else BUDGET
    if places is AGENT:
        _agent(folder)
    for name, place in places.items():
        watch.over(name, place)
    sys.argv = [program, *words]
    importlib.import_module(f"{program}.cli").main()


def _agent(folder: Path) -> None:
    """Trains without torch, and soon sees that a connection is dead; its service is doomed, too."""
    from fedcode.transport import fleet
    from fedcode_client.budget.process import LocalService
    from tests.campaigns import quick

    fleet._SECONDS = 5.0

    sys.modules["fedcode_client.training"] = quick.in_its_place(folder)

    def spawned(self):
        words = ["budget", "serve", "--home", str(self._home.root), "--attached"]
        budget = folder.with_name(f"{folder.name}-budget")
        return subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(budget), "fedcode_client", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    LocalService._spawned = spawned


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
