# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the secure sum adds to a round of the built-in federation, beside the same round without.

The same members, seeds and ledgers in files, in turn, in one process: rounds from plan to weights,
nothing measured in between.
"""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path
from statistics import median, quantiles
from time import process_time

import numpy as np

from fedcode.budgets import calibrated
from fedcode.federation import AggregationSettings, Federation, parse
from fedcode.privacy.ledger import BudgetLedger
from fedcode.rounds.coordinator import State
from fedcode.simulation.arms import Arm, Bench, Noise, Round
from fedcode.simulation.jobs import Job, learner_of, prepare, run, start_file
from tests.benchmarks.figure import Figure, at_most

_ROUNDS, _TURNS = 6, 4


def figures() -> list[Figure]:
    """Each task of the built-in federation."""
    text = files("fedcode.simulation").joinpath("default.toml").read_text(encoding="utf-8")
    federation = parse(text)
    return [figure for task in federation.tasks for figure in _of(federation, task.name)]


def _of(federation: Federation, task: str) -> list[Figure]:
    benches = {mode: _bench(federation, mode, task) for mode in ("secagg", "open")}
    seconds: dict[str, list[float]] = {mode: [] for mode in benches}
    weights = {}
    for turn in range(_TURNS):
        order = sorted(benches, reverse=bool(turn % 2))
        for mode in order:
            taken, weights[mode] = _rounds(benches[mode])
            seconds[mode] += taken
    ratios = [a / b for a, b in zip(seconds["secagg"], seconds["open"], strict=True)]
    low, _, high = quantiles(ratios, n=4)
    note = (
        f"quartiles {low:.3f} to {high:.3f}, {len(ratios)} pairs; {median(seconds['open']):.2f} s"
    )
    apart = float(np.abs(weights["secagg"] - weights["open"]).max())
    return [
        at_most("rounds", f"{task}: secure over plain sum", median(ratios), "x", 1.10, note),
        Figure("rounds", f"{task}: weights apart after {_ROUNDS} rounds, at most", apart, ""),
    ]


def _bench(federation: Federation, mode: str, task: str) -> Bench:
    settings = AggregationSettings.model_validate({"mode": mode})
    federation = federation.model_copy(update={"aggregation": settings})
    plain = federation.model_dump(mode="json")
    prepared = prepare(federation.model_dump_json(), task)
    warm = run(Job(plain, task, federation.seed))["warm"]
    calibration = calibrated(federation)
    number = [t.name for t in federation.tasks].index(task)
    noise = Noise(calibration, calibration.noise_multipliers[number])
    job = Job(plain, task, federation.seed, _arm(federation), noise, warm=Path(warm))
    return Bench(
        federation=federation,
        settings=prepared.settings,
        data=prepared.data,
        learner=learner_of(job, prepared),
        fingerprint=prepared.task.fingerprint(),
        start=start_file(job, prepared).digest,
        glimpse=[],
        noise=noise,
        seed=federation.seed,
    )


def _arm(federation: Federation) -> Arm:
    return Arm("federated", tuple(o.name for o in federation.members))


def _rounds(bench: Bench) -> tuple[list[float], np.ndarray]:
    """The processor's seconds of each round but the first, and the weights at the end."""
    marks = []

    def after(_state: State, line: Round) -> bool:
        marks.append(process_time())
        return line.round < _ROUNDS

    with (
        tempfile.TemporaryDirectory() as folder,
        BudgetLedger.open(Path(folder) / "ledger.sqlite") as ledger,
    ):
        state = bench.run(_arm(bench.federation), ledger, after=after)
    return np.diff(marks).tolist(), state.weights
