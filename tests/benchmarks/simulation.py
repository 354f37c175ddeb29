# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Populations beside the bare arithmetic, written here as a researcher would without a library.

The work: a network of 8,578 weights, members of 50 rows, 5 local steps of 10 rows, 1,000 members, a
cohort of 100, a trusted aggregator's noise. All that is compared is measured in turn.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fedcode.simulation.population.run import Run, prepare
from fedcode.simulation.population.settings import PopulationSettings, check
from tests.benchmarks import engines
from tests.benchmarks.figure import Figure, at_least, at_most

AREA = "simulation"
MEMBERS, COHORT, STEPS, BATCH = 1_000, 100, 5, 10
RATE, NORM, NOISE = 0.1, 0.5, 0.74
ROUNDS = 25

_CPUS = os.cpu_count() or 1


def figures() -> list[Figure]:
    """Everything; ``FEDCODE_BENCH_ROUNDS`` for fewer rounds of each."""
    torch.set_num_threads(1)
    found = [*_beside_the_arithmetic(), *_alone(), *_linear(), *_yardsticks()]
    return [*found, *engines.figures(AREA)]


def work(**changes: Any) -> PopulationSettings:
    """The population of the module's work, with changes."""
    plain: dict[str, Any] = {
        "name": "bench",
        "source": "synthetic",
        "members": MEMBERS,
        "cohort": COHORT,
        "rounds": 100_000,
        "measure_every": 100_000,
        "workers": 1,
        "engine": "together",
        "privacy": {"noise_multiplier": NOISE, "epsilon": 1e5, "delta": 1e-6},
    }
    return check(plain | changes)


@contextmanager
def started(settings: PopulationSettings) -> Iterator[Run]:
    """A run that is ready for its first round."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        run = prepare(settings, folder, held, lambda _line: None)
        run.crew.wait()
        yield run


def _beside_the_arithmetic() -> list[Figure]:
    rounds = int(os.environ.get("FEDCODE_BENCH_ROUNDS", ROUNDS))
    with started(work()) as one, started(work(workers=_CPUS)) as all_:
        rows = [one.source.world.population.member(m).columns for m in range(MEMBERS)]
        features, classes = (torch.from_numpy(np.stack(c)) for c in zip(*rows, strict=True))
        plain = _plain(one.source.world.problem.build(), features, classes)
        stacked = _stacked(one.source.world.problem.build(), features, classes)

        def ours(run: Run) -> Callable[[], float]:
            number = iter(range(1, 10 * rounds))
            return lambda: _each(run.step(next(number)))

        found = _in_turn(rounds, plain, stacked, ours(one), ours(all_))
    loop, vmapped, single, several = (median(times) for times in found)
    overheads = [x / y for x, y in zip(found[2], found[1], strict=True)]
    gains = [x / y for x, y in zip(found[0], found[3], strict=True)]
    low, high = np.quantile(overheads, [0.25, 0.75])
    return [
        Figure(AREA, "a plain loop, ms a member", loop, "ms"),
        Figure(AREA, "one vmap, ms a member", vmapped, "ms"),
        at_most(AREA, "fedcode, 1 process", single, "ms", 0.30),
        at_most(AREA, f"fedcode, {_CPUS} processes", several, "ms", 0.30),
        at_most(AREA, "fedcode, 1 process / one vmap", median(overheads), "x", 1.25),
        Figure(AREA, "the same, first quartile", float(low), "x"),
        Figure(AREA, "the same, third quartile", float(high), "x"),
        Figure(AREA, f"a plain loop / fedcode, {_CPUS} processes", median(gains), "x"),
        *_locally(),
    ]


def _each(line: dict[str, Any]) -> float:
    """Milliseconds a member of one round."""
    return float(1e3 * line["seconds"] / max(1, line["local"]["members"]))


def _locally() -> list[Figure]:
    """Members that add their own noise, 5 steps of it."""
    privacy = {"mode": "local", "sampling_rate": 0.2, "epsilon": 8.0, "delta": 1e-3}
    found = []
    for workers in (1, _CPUS):
        settings = work(privacy=privacy | {"participations": 20}, workers=workers, rounds=100)
        with started(settings) as run:
            times = [_each(run.step(number)) for number in range(1, 7)]
        name = f"fedcode, local privacy, {workers} process{'es' if workers > 1 else ''}"
        found.append(Figure(AREA, name, median(times[1:]), "ms"))
    return found


def _plain(model: nn.Module, features: Tensor, classes: Tensor) -> Callable[[], float]:
    """One member after the other, as torch's own optimizer would train it."""
    flat, back = nn.utils.parameters_to_vector, nn.utils.vector_to_parameters
    draw, state = np.random.default_rng(1), [flat(model.parameters()).detach().clone()]

    def round_() -> float:
        start, before = time.perf_counter(), state[0]
        total = torch.zeros_like(before)
        for member in draw.choice(len(features), COHORT, replace=False):
            back(before.clone(), model.parameters())
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            x, y = features[member], classes[member]
            for i in range(0, STEPS * BATCH, BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[i : i + BATCH]), y[i : i + BATCH])
                loss.backward()
                optimizer.step()
            change = flat(model.parameters()).detach() - before
            total += change * min(1.0, NORM / float(change.norm()))
        total += torch.randn_like(total) * NOISE * NORM
        state[0] = before + total / COHORT
        return 1e3 * (time.perf_counter() - start) / COHORT

    return round_


def _stacked(model: nn.Module, features: Tensor, classes: Tensor) -> Callable[[], float]:
    """The whole cohort in one ``vmap`` of ``grad``."""

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(model, weights, (x,)), y)

    gradients = vmap(grad(loss))
    draw = np.random.default_rng(1)
    state = [{k: v.detach().clone() for k, v in model.named_parameters()}]

    def round_() -> float:
        start, before = time.perf_counter(), state[0]
        chosen = torch.as_tensor(draw.choice(len(features), COHORT, replace=False))
        x, y = features[chosen], classes[chosen]
        p = {k: v.unsqueeze(0).expand(COHORT, *v.shape).clone() for k, v in before.items()}
        for i in range(0, STEPS * BATCH, BATCH):
            found = gradients(p, x[:, i : i + BATCH], y[:, i : i + BATCH])
            p = {k: p[k] - RATE * found[k] for k in p}
        change = {k: p[k] - before[k] for k in p}
        norms = torch.stack([c.flatten(1).pow(2).sum(1) for c in change.values()]).sum(0).sqrt()
        factors = (NORM / norms).clamp(max=1)
        for key, one in change.items():
            total = torch.einsum("m,m...->...", factors, one)
            state[0] = state[0] | {
                key: before[key] + (total + torch.randn_like(total) * NOISE * NORM) / COHORT
            }
        return 1e3 * (time.perf_counter() - start) / COHORT

    return round_


def _in_turn(rounds: int, *steps: Callable[[], float]) -> list[list[float]]:
    """What each tells, round by round; the machine's drift hits all alike."""
    found: list[list[float]] = [[] for _ in steps]
    for number in range(rounds):
        for step, times in zip(steps, found, strict=True):
            told = step()
            if number >= 2:
                times.append(told)
    return found


# A process of its own.

_TOML = """
name = "bench"
source = "synthetic"
members = {members}
cohort = 100
rounds = {rounds}
{workers}
[privacy]
delta = 1e-6
epsilon = 8.0
"""


def _alone() -> list[Figure]:
    """Start and memory of the program, with few members and with many."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for members in (MEMBERS, 100_000):
            short = _file(Path(folder), members, 20)
            long = _file(Path(folder), members, 400, f"workers = {_CPUS}")
            _program(short, Path(folder) / f"{members}")  # the first one packs the population
            some = [_program(short, Path(folder) / f"{members}-{n}") for n in range(3)]
            _, each, memory = _program(long, Path(folder) / f"{members}-long")
            name = f"{members:,} members, cohort 100"
            first, alone, small = (median(values) for values in zip(*some, strict=True))
            several = f"{_CPUS} processes"
            found += [
                at_most(AREA, f"{name}: start to the end of round 1", first, "s", 5),
                at_most(AREA, f"{name}: 20 rounds, ms a member", alone, "ms", 0.30),
                at_most(AREA, f"{name}: 400 rounds, {several}, ms a member", each, "ms", 0.30),
                at_most(AREA, f"{name}: 20 rounds, memory", small, "MiB", 4096),
                at_most(AREA, f"{name}: {several}, memory of all", memory, "MiB", 4096),
            ]
    return found


def _file(folder: Path, members: int, rounds: int, workers: str = "") -> Path:
    path = folder / f"{members}-{rounds}.toml"
    text = _TOML.format(members=members, rounds=rounds, workers=workers)
    path.write_text(text, encoding="utf-8")
    return path


def _program(toml: Path, out: Path) -> tuple[float, float, float]:
    """Seconds to the end of the first round, milliseconds a member, and MiB at the highest."""
    program = str(Path(sys.executable).parent / "fedcode")
    start, first, lines = time.perf_counter(), math.nan, []
    with subprocess.Popen(
        [program, "population", str(toml), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        watch = _Memory(process.pid)
        for line in process.stderr or ():
            if line.startswith("round 1/"):
                first = time.perf_counter() - start
            lines += re.findall(r"^round .*: cohort (\d+), ([\d.]+) ms", line)
        memory = watch.stop()
    later = lines[len(lines) // 2 :]  # by then all processes are ready
    each = median(float(ms) / max(1, int(cohort)) for cohort, ms in later)
    return first, each, memory


class _Memory:
    """The most proportional set size of a process and those below it, in MiB (Linux)."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._done = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self._most = max(self._most, _pss(self._pid))


def _pss(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        return 0.0
    own = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return (int(own[1]) / 1024 if own else 0.0) + sum(_pss(int(child)) for child in below)


# Three decades.


def _linear() -> list[Figure]:
    """Seconds of a round against members, weights and records: the slope of its logarithm."""
    members = [10**n for n in (2, 3, 4, 5)]
    widths = [15, 149, 1_493, 14_925]  # 1,000 weights, 10,000, ...
    records = [10**n for n in (1, 2, 3, 4)]
    sweeps = {
        "members, a tenth in the cohort": [
            work(members=m, cohort=m // 10, synthetic={"records": 10}, training={"steps": 1})
            for m in members
        ],
        "weights": [work(cohort=20, network={"hidden": [w]}, engine="auto") for w in widths],
        "records": [
            work(members=100, cohort=10, synthetic={"records": r}, training={"steps": r // BATCH})
            for r in records
        ],
    }
    found = []
    for name, settings in sweeps.items():
        seconds = [_seconds(one) for one in settings]
        last = math.log10(seconds[-1] / seconds[-2])
        whole = math.log10(seconds[-1] / seconds[0]) / 3
        found += [
            at_most(AREA, f"cost against {name}: slope over three decades", whole, "", 1.1),
            at_most(AREA, f"cost against {name}: slope over the last", last, "", 1.1),
        ]
    few, many = (_seconds(work(members=m)) for m in (MEMBERS, 100_000))
    name = "a round of a cohort of 100, of 100,000 members / of 1,000"
    return [*found, at_most(AREA, name, many / few, "x", 1.5)]


def _seconds(settings: PopulationSettings) -> float:
    """Of a round."""
    with started(settings) as run:
        taken = [run.step(number)["seconds"] for number in range(1, 8)]
    return median(taken[1:])


# What a researcher would use instead, where it is installed.


def _yardsticks() -> list[Figure]:
    """Others' times over ours, in turn.

    ``FEDCODE_YARDSTICKS`` holds a line for each: a name and a command, ``pfl = python pfl_sim.py
    1000 100 20``. A command prints ``wall/user=...ms``.
    """
    commands = os.environ.get("FEDCODE_YARDSTICKS", "")
    if not commands:
        sys.stderr.write("simulation: FEDCODE_YARDSTICKS names none: no comparison with others\n")
        return []
    wanted = {"pfl": 7.0, "flower": 30.0}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        toml = _file(Path(folder), MEMBERS, 20)
        for line in commands.splitlines():
            name, _, command = (part.strip() for part in line.partition("="))
            pairs = []
            for number in range(3):
                theirs = _theirs(command)
                pairs.append((theirs, _program(toml, Path(folder) / f"{name}-{number}")[1]))
            ratio = median(theirs / ours for theirs, ours in pairs)
            each = median(theirs for theirs, _ in pairs)
            found.append(Figure(AREA, f"{name}, ms a member", each, "ms"))
            title = f"{name} / fedcode, 1 process, in turn"
            bound = wanted.get(name)
            found.append(
                at_least(AREA, title, ratio, "x", bound)
                if bound
                else Figure(AREA, title, ratio, "x")
            )
    return found


def _theirs(command: str) -> float:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    told = re.findall(r"wall/user=([\d.]+)ms", done.stdout)
    return float(told[-1])
