# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The same federation on Flower's own runtime: the same weights, and nothing of Ray's is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import write_code, write_federation

from fedcode.budgets import calibrated
from fedcode.federation import load
from fedcode.privacy.ledger import BudgetLedger
from fedcode.rounds.checkpoints import load_state
from fedcode.simulation.arms import Arm, Noise
from fedcode.simulation.jobs import Job
from fedcode.simulation.schedule import Workers

pytest.importorskip("ray", reason="the engine flower needs Ray: pip install '.[flower-engine]'")

ROUNDS = 15
PROGRAM = str(Path(sys.executable).parent / "fedcode")
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def write_four(folder: Path, *, rounds: int) -> Path:
    """Four members, of whom one has budget left for a round: a sum bears that one is lost."""
    path = write_federation(folder, rounds=rounds)
    write_code(folder / "echo", 7, files=8)
    text = path.read_text(encoding="utf-8")
    text = text.replace('source = "path:beta"', 'source = "path:beta"\nepsilon = 5.0')
    path.write_text(f'{text}\n[[organizations]]\nname = "echo"\nsource = "path:echo"\n')
    return path


def job_of(toml: Path, folder: Path, warm: Path | None) -> Job:
    """The federated arm of a run in ``folder``."""
    federation = load(toml)
    calibration = calibrated(federation)
    noise = Noise(calibration, calibration.noise_multipliers[0])
    arm = Arm("federated", tuple(o.name for o in federation.members))
    plain = federation.model_dump(mode="json")
    folder.mkdir()
    return Job(plain, "completion", 1, arm, noise, folder, warm, dropout=0.3)


def told(result: dict[str, Any]) -> dict[str, Any]:
    """All of it but for the time that it took."""
    rounds = [
        {**line, "seconds": 0, "sums": [{**one, "seconds": 0} for one in line["sums"]]}
        for line in result["rounds"]
    ]
    return {**result, "seconds": 0, "rounds": rounds}


def below(pid: int) -> set[int]:
    """All processes that descend from one."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = set(parents.get(waiting.pop(), ())) - found
        found |= children
        waiting += children
    return found


def titles(pids: set[int]) -> dict[int, str]:
    """Command lines of those of the processes that are there."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return {pid: title for pid, title in found.items() if title}


def heard_from_outside(pids: set[int]) -> set[str]:
    """Addresses at which processes listen beyond the loopback interface."""
    sockets = set()
    for pid in pids:
        with suppress(OSError):
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            sockets |= {link[len("socket:[") : -1] for link in links if link.startswith("socket:")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            listens, inode = fields[3] == "0A", fields[9]
            if listens and inode in sockets and fields[1].partition(":")[0] not in LOOPBACK:
                found.add(fields[1])
    return found


def folders() -> set[Path]:
    """Of Ray's own files."""
    return set(Path("/tmp").glob("fedcode-ray-*"))


def gone(processes: dict[int, str], seconds: float = 20.0) -> bool:
    """Whether all have ended but Python's own, which ends with the program that tests."""
    ours = {pid for pid, title in processes.items() if "resource_tracker" not in title}
    return until(lambda: not titles(ours), seconds)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_both_engines_give_the_same_weights_and_the_same_story(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))
    before, processes, outside = folders(), dict[int, str](), set[str]()
    earlier = below(os.getpid())  # of other tests: what forks their workers, say
    toml = write_four(tmp_path, rounds=4)
    jobs, found = {}, {}
    workers = Workers(1, 1)
    try:
        first = job_of(toml, tmp_path / "memory", None)
        warm = workers.submit(replace(first, arm=None, noise=None, folder=None)).result()["warm"]
        jobs["memory"] = replace(first, warm=Path(warm))
        jobs["flower"] = replace(job_of(toml, tmp_path / "flower", Path(warm)), engine="flower")
        for engine, job in jobs.items():
            future = workers.submit(job)
            while not future.done():
                processes |= titles(below(os.getpid()) - earlier)
                outside |= heard_from_outside(set(processes))
                time.sleep(0.2)
            found[engine] = told(future.result())
    finally:
        workers.close()

    memory, flower = found["memory"], found["flower"]
    for ours, theirs in zip(memory["rounds"], flower["rounds"], strict=True):
        assert ours["weights"] == theirs["weights"]
    digests = {line["weights"] for line in flower["rounds"] if line["changed"]}
    assert len(digests) == sum(line["changed"] for line in flower["rounds"]) >= 2
    refusals = {why for line in flower["rounds"] for why in line["refusals"].values()}
    assert refusals == {"absent", "budget"}, "members are lost, and a ledger says no"
    comparable = {
        engine: json.loads(json.dumps(result), parse_constant=str)
        for engine, result in found.items()
    }
    for result in comparable.values():
        for line in result["rounds"]:
            for one in line["sums"]:  # keys of a sum are drawn anew, and what is signed names them
                one["confirmations"] = len(one["confirmations"])
                one["evidence"] = len(one["evidence"])
    assert comparable["memory"] == comparable["flower"]

    states = {e: load_state(j.folder / "checkpoint", j.name)[0] for e, j in jobs.items()}  # type: ignore[operator]
    assert states["memory"].weights.tobytes() == states["flower"].weights.tobytes()
    ledgers = {}
    for engine, job in jobs.items():
        with BudgetLedger.open(job.folder / "ledger.sqlite", read_only=True) as ledger:
            ledger.verify()
            ledgers[engine] = [
                [(c.round, c.cost_nano, c.state) for c in ledger.history(account.asset)]
                for account in sorted(ledger.accounts(), key=lambda account: account.asset)
            ]
    assert ledgers["memory"] == ledgers["flower"]
    assert len(ledgers["flower"]) == 4

    assert any("Home" in title for title in processes.values()), (
        "homes were among those that were seen"
    )
    assert not outside, "Ray was heard from outside"
    assert gone(processes)
    assert until(lambda: folders() <= before, 5), "a folder of Ray's is left"


class Running:
    """The program while it runs, and all processes that it has been seen to have."""

    def __init__(self, base: Path, *words: object, **environment: str) -> None:
        # a runner in the background ignores it, and its children would, too
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(
                [PROGRAM, "simulate", *map(str, words)],
                env={**os.environ, "FEDCODE_CACHE": str(base / "cache"), **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        self.processes: dict[int, str] = {}

    def wait_for(self, condition: Callable[[], bool]) -> None:
        def seen() -> bool:
            self.processes |= titles(below(self.process.pid))
            return condition() or self.process.poll() is not None

        assert until(seen, 120)
        assert self.process.poll() is None, self.process.communicate()

    def one(self, title: str) -> int:
        """A process by a part of its command line."""
        return next(pid for pid, name in self.processes.items() if title in name)

    def end(self, code: int, seconds: float = 20.0) -> str:
        """What it said on stderr; nothing that it started outlives it by more than ``seconds``."""
        _, said = self.process.communicate(timeout=300)
        assert self.process.returncode == code, said
        assert "Traceback" not in said
        assert gone(self.processes, seconds)
        return said


def digests(folder: Path) -> list[str]:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found: list[str] = manifest["weights"]["completion"]
    return found


@pytest.mark.slow
def test_a_run_goes_on_after_ctrl_c_and_after_each_of_its_processes_is_killed(tmp_path) -> None:
    toml, out = write_federation(tmp_path, rounds=ROUNDS), tmp_path / "flower"
    state = out / "checkpoint" / "completion-federated-1.state"
    before = folders()

    def next_round() -> Callable[[], bool]:
        old = state.read_bytes() if state.exists() else b""
        return lambda: state.exists() and state.read_bytes() != old

    run = Running(tmp_path, toml, "--engine", "flower", "--out", out)
    run.wait_for(next_round())
    os.killpg(run.process.pid, signal.SIGINT)
    hint = f"hint: continue with: fedcode simulate --resume {out}"
    assert run.end(2).splitlines()[-1] == hint
    assert folders() <= before
    reached, _ = load_state(state.parent, state.stem)
    assert reached is not None
    stopped = reached.round

    run = Running(tmp_path, "--resume", out)
    run.wait_for(next_round())
    os.kill(run.one("ray::Home"), signal.SIGKILL)
    said = run.end(2)
    assert "was there enough memory?" in said
    assert said.splitlines()[-1] == hint
    assert folders() <= before

    run = Running(tmp_path, "--resume", out)
    run.wait_for(next_round())
    driver = int(Path(f"/proc/{run.one('gcs_server')}/stat").read_text().split()[3])
    os.kill(driver, signal.SIGKILL)
    said = run.end(2, 120)  # two of Ray's look once a minute whether the others are there
    assert "a worker process was killed" in said
    for folder in folders() - before:
        shutil.rmtree(folder)

    Running(tmp_path, "--resume", out).end(0)
    Running(tmp_path, toml, "--out", tmp_path / "memory").end(0)
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert result["engine"] == "flower"
    lines = result["tasks"][0]["curves"]
    assert [line["round"] for line in lines] == list(range(1, ROUNDS + 1))
    cut_off = [line["round"] for line in lines if not line["changed"]]
    assert len(cut_off) <= 2, "no member answers a round twice that a kill has cut off; no others"
    whole = min(cut_off, default=ROUNDS + 1) - 1
    assert whole > stopped
    assert digests(out)[:whole] == digests(tmp_path / "memory")[:whole]
    with BudgetLedger.open(out / "ledger.sqlite", read_only=True) as ledger:
        ledger.verify()
        for account in ledger.accounts():
            charged = [charge.round for charge in ledger.history(account.asset)]
            assert len(charged) == len(set(charged)), "nothing is charged twice"


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.mark.slow
def test_members_on_several_machines_charge_one_ledger(tmp_path) -> None:
    toml, out = write_federation(tmp_path), tmp_path / "flower"
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "FEDCODE_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env={**os.environ, **quiet},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as machines:
        assert machines.stdout is not None
        address = machines.stdout.readline().strip()
        rays = titles(below(machines.pid))
        raylets = {pid for pid, title in rays.items() if "/raylet" in title.split()[0]}
        run = Running(tmp_path, toml, "--engine", "flower", "--out", out, RAY_ADDRESS=address)
        homes: set[int] = set()

        def on_both() -> bool:
            for raylet in raylets:
                if any("ray::Home" in title for title in titles(below(raylet)).values()):
                    homes.add(raylet)
            return len(homes) == len(raylets) == 2

        run.wait_for(on_both)
        run.end(0)
        assert raylets <= set(titles(raylets)), "the cluster is left as it was"
        machines.communicate("")
    assert gone(rays)
    Running(tmp_path, toml, "--out", tmp_path / "memory").end(0)
    assert digests(out) == digests(tmp_path / "memory")
    with BudgetLedger.open(out / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.verify() == 3 + 3 * 3 * 5
