# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Rounds over the whole stack, beyond training: processes, TLS, Flower, ledgers, secure sums.

Members release noise about nothing (``tests.parties``); what that takes is their training, and the
longest of a round is taken off it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from fedcode.logs import configure
from fedcode_server.runs import RunFolder
from tests.benchmarks.figure import Figure, at_most
from tests.parties import Parties, agent_of, federation, federation_of, finished

MINUTES = 10.0
"""Of idling; as FEDCODE_IDLE_MINUTES says, if it does."""

_ROUNDS, _THREE, _THIRTY, _HUNDRED = 8, 3, 30, 100
_MEGABYTE = 1 << 20


def figures() -> list[Figure]:
    """Rounds of three processes, a round of thirty agents, a hundred agents that wait."""
    found = [*_three(1_000_000, 3.0), *_three(10_000_000, 10.0), _thirty()]
    return [*found, *_idle(float(os.environ.get("FEDCODE_IDLE_MINUTES", MINUTES)))]


def _names(count: int) -> list[str]:
    return [f"m{number:03}" for number in range(count)]


def _three(weights: int, wanted: float) -> list[Figure]:
    """Members in processes of their own."""
    names = _names(_THREE)
    with (
        _folder() as folder,
        federation(folder, names) as (parties, process),
        _agents([parties.folder / name for name in names]) as pids,
    ):
        before = sum(map(_cpu, pids))
        lines = _rounds(parties, process, weights, _ROUNDS, len(names))
        worked = (sum(map(_cpu, pids)) - before) / _ROUNDS
        trained = _trained(parties)
    # The first round waits for agents that look every two seconds.
    whole = sorted(line["seconds"] for line in lines[1:])
    seconds = sorted(line["seconds"] - trained[line["round"]] for line in lines[1:])
    steps = lines[-1]["sums"][0]["seconds"]
    note = f"{seconds[0]:.2f} to {seconds[-1]:.2f} s; the last: " + ", ".join(
        f"{step} {taken:.2f}" for step, taken in steps.items()
    )
    name = f"a round beyond training, {len(names)} agents, {weights:,} weights"
    first = Figure("network", f"the first round, {weights:,} weights", lines[0]["seconds"], "s")
    spent = f"the processors' work of a round, {len(names) + 1} processes, {weights:,} weights"
    return [
        first,
        at_most("network", name, median(seconds), "s", wanted, note),
        Figure("network", f"the same with training, {weights:,} weights", median(whole), "s"),
        Figure("network", spent, worked, "s"),
    ]


def _trained(parties: Parties) -> dict[int, float]:
    """The longest training of each round, seconds: the others wait for it."""
    found: dict[int, float] = {}
    for one in parties.organizations.values():
        for line in one.journal.read_text(encoding="utf-8").splitlines():
            number, seconds = json.loads(line)
            found[number] = max(seconds, found.get(number, 0.0))
    return found


def _thirty() -> Figure:
    """Agents in this process."""
    names = _names(_THIRTY)
    with _folder() as folder, federation(folder, names) as (parties, process):
        for one in parties.organizations.values():
            one.open()
            one.up()
        (line,) = _rounds(parties, process, 100_000, 1, len(names))
    note = f"{len(line['survivors'])} survivors"
    return Figure("network", "a round, 30 agents, 100,000 weights", line["seconds"], "s", note=note)


def _rounds(
    parties: Parties, process: Any, weights: int, rounds: int, members: int
) -> list[dict[str, Any]]:
    """The lines of a run from offer to end, in which nobody is lost."""
    run = parties.ask(process, federation_of(_names(members), rounds=rounds), weights)
    for one in parties.organizations.values():
        one.accept(run)
    finished(process, run, 900)
    lines = RunFolder(parties.home.runs / run).done()
    for line in lines:
        assert len(line["survivors"]) == members, line["refusals"]
    return lines


def _idle(minutes: float) -> list[Figure]:
    """What the coordinator's process holds while a hundred agents have nothing to do."""
    names = _names(_HUNDRED)
    with _folder() as folder, _coordinator(folder) as (parties, process):
        threads = []
        for name in names:
            _, agent = agent_of(parties.join(name).home, lambda _: {}, _MEGABYTE)
            threads.append((agent, threading.Thread(target=agent.run, daemon=True)))
            threads[-1][1].start()
        while not all(agent.connected for agent, _ in threads):
            time.sleep(1)
        time.sleep(20)
        begun, cpu, seen = time.monotonic(), _cpu(process.pid), []
        while time.monotonic() - begun < 60 * minutes:
            seen.append(_resident(process.pid))
            time.sleep(min(30, 6 * minutes))
        share = (_cpu(process.pid) - cpu) / (time.monotonic() - begun)
        online = sum(agent.connected for agent, _ in threads)
        for agent, _ in threads:
            agent.stop()
        for _, thread in threads:
            thread.join(30)
    third = max(1, len(seen) // 3)
    growth = median(seen[-third:]) / median(seen[:third])
    what = f"{_HUNDRED} idle agents, {minutes:g} minutes"
    note = f"{online} connected at the end; " + " ".join(f"{value:.0f}" for value in seen)
    return [
        at_most("network", f"{what}: coordinator's memory", max(seen), "MiB", 1024, note),
        Figure("network", "the last third of that over the first", growth, "x"),
        Figure("network", "the coordinator's share of a core then", share, ""),
    ]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder) / "log")
        yield Path(folder)


@contextmanager
def _agents(homes: list[Path]) -> Iterator[list[int]]:
    """A process for each organization; theirs and this one's identities."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.parties", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for home in homes
    ]
    try:
        for one in processes:
            assert one.stdout is not None
            assert one.stdout.readline() == b"up\n"
        yield [os.getpid(), *(one.pid for one in processes)]
    finally:
        for one in processes:
            one.communicate(timeout=60)


@contextmanager
def _coordinator(folder: Path) -> Iterator[tuple[Parties, subprocess.Popen[bytes]]]:
    """The program as a person starts it."""
    parties = Parties(folder)
    start = "from fedcode_server.cli import main; main()"
    words = ["up", "--home", str(parties.home.root)]
    process = subprocess.Popen(
        [sys.executable, "-c", start, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield parties, process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


def _cpu(pid: int) -> float:
    """Seconds of a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
