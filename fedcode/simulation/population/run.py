# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A whole population: makes or reads it, trains, measures, and writes the result folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from fedcode.corpus.cache import cache_folder
from fedcode.errors import Interrupted, RunError, TrainingError
from fedcode.folders import check_empty
from fedcode.privacy.ledger import BudgetLedger
from fedcode.simulation.manifest import surroundings
from fedcode.simulation.population.crew import Crew, PlainWork, Processes, ThisProcess, Work
from fedcode.simulation.population.engines import Choice, choose
from fedcode.simulation.population.guards import (
    Draw,
    EachMember,
    Guarantee,
    Guard,
    Nothing,
    TrustedAggregator,
    guarantee,
)
from fedcode.simulation.population.report import (
    RESULT_SCHEMA,
    first_lines,
    privacy_of,
    round_line,
    said,
)
from fedcode.simulation.population.settings import PopulationSettings
from fedcode.simulation.population.steps import LocalSteps
from fedcode.simulation.population.world import Source, arrays
from fedcode.storage import write_json
from fedcode.task import Metrics
from fedcode.training import network
from fedcode.weights import Vector, digest, save_tensors

RESULT, MANIFEST, WEIGHTS, LEDGER = (
    "result.json",
    "manifest.json",
    "weights.safetensors",
    "ledger.sqlite",
)

MANIFEST_SCHEMA = "fedcode/population-manifest/1"

_LONG = 10.0
"""Seconds of work that are worth the start of further processes."""

Tell = Callable[[str], None]


@dataclass(slots=True)
class Run:
    """A population's rounds, from its start to its end.

    Attributes:
        settings: the file.
        source: its members.
        guard: what protects them.
        promised: the numbers of the guarantee; None without privacy.
        crew: trains cohorts.
        choice: how.
        weights: the model as it is, shape (d,).
        rounds: a line each, as result.json has it.
        digests: of the weights after each round.
    """

    settings: PopulationSettings
    source: Source
    guard: Guard
    promised: Guarantee | None
    crew: Crew
    choice: Choice
    weights: Vector
    rounds: list[dict[str, Any]]
    digests: list[str]

    def step(self, number: int) -> dict[str, Any]:
        """Round ``number``."""
        start = time.perf_counter()
        outcome = self.guard.run(self.crew, self.choice.engine, self.weights, number)
        rate = self.settings.training.server_learning_rate
        self.weights = self.weights + rate * outcome.change
        self.digests.append(digest(self.weights))
        seconds = time.perf_counter() - start
        last = number == self.settings.rounds
        figures = self._figures() if last or number % self.settings.measure_every == 0 else {}
        self.rounds.append(round_line(number, seconds, figures, outcome))
        return self.rounds[-1]

    def _figures(self) -> Metrics:
        network.write(self.source.world.model, self.weights)
        figures = dict(self.source.measure(self.source.world.model))
        wrong = [key for key, value in figures.items() if not isfinite(value)]
        if wrong:
            raise TrainingError(f"{wrong[0]} is not finite", "lower the learning rates")
        return figures


def simulate(
    settings: PopulationSettings, folder: Path, tell: Tell = lambda _line: None
) -> dict[str, Any]:
    """Trains a population on this machine.

    Args:
        settings: the file.
        folder: gets the result; must not exist or be empty.
        tell: called with a line for people: what there is, then one a round.

    Returns:
        What ``result.json`` holds.

    Raises:
        UsageError: something a person can mend; nothing is left in ``folder``.
        TrainingError: the model has run away.
    """
    begun = time.perf_counter()
    torch.set_num_threads(1)
    check_empty(folder)
    made = _manifest(settings)
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made", "choose another --out") from error
    try:
        with ExitStack() as held:
            run = prepare(settings, folder, held, tell)
            started = time.perf_counter() - begun
            for number in range(1, settings.rounds + 1):
                tell(said(run.step(number), settings.rounds))
            result = _result(run, made, started, time.perf_counter() - begun)
        _finish(folder, run, made, result)
    except BaseException as error:
        _empty(folder, new)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("stopped by Ctrl-C", "start it again: it keeps nothing") from None
        raise
    return result


def repeatable(folder: Path) -> tuple[PopulationSettings, dict[str, Any]]:
    """What the run in ``folder`` was asked to do, with the engine that it chose; its manifest.

    Raises:
        RunError: it is not such a run's.
        ConfigError: it is of another version.
    """
    from fedcode.simulation.population.settings import check
    from fedcode.simulation.results import read_json

    before = read_json(folder / MANIFEST)
    if before.get("schema") != MANIFEST_SCHEMA:
        raise RunError(f"{folder / MANIFEST} is not a population's", "name its --out folder")
    settings = check(before["population"], "the manifest")
    return settings.model_copy(update={"engine": before["engine"]["engine"]}), before


def prepare(settings: PopulationSettings, folder: Path, held: ExitStack, tell: Tell) -> Run:
    """All that must be there before the first round.

    Args:
        settings: the file.
        folder: gets the ledger.
        held: ends processes and ledger.
        tell: called with lines for people.

    Raises:
        UsageError: something a person can mend.
    """
    source = _source(settings, tell)
    weights = network.read(source.world.model)
    members = len(source.world.population)
    draw = Draw(settings.name, settings.seed, members, settings.cohort / members)
    agreement = _agreement(settings, source)
    promised = guarantee(settings, members, len(weights))
    work = _work(settings, promised, folder, agreement, source.task)
    choice = choose(settings.engine, work, source.world, weights, settings.cohort)
    crew = _crew(settings, source, work, len(weights), choice)
    held.callback(crew.close)
    guard = _guard(settings, draw, promised, folder, held, agreement, source.task)
    for line in first_lines(settings, source, promised, choice, len(weights)):
        tell(line)
    return Run(settings, source, guard, promised, crew, choice, weights, [], [])


def _source(settings: PopulationSettings, tell: Tell) -> Source:
    if settings.is_code:
        from fedcode.simulation.population.code import code

        return code(settings, cache_folder(), tell)
    return arrays(settings, cache_folder())


def _work(
    settings: PopulationSettings,
    promised: Guarantee | None,
    folder: Path,
    agreement: str,
    task: str,
) -> Work:
    training, privacy = settings.training, settings.privacy
    if privacy.mode == "local" and promised is not None:
        from fedcode.simulation.population.local import LocalWork  # Opacus takes a second

        return LocalWork(
            settings.local_settings(),
            promised.policy,
            promised.budget,
            folder / LEDGER,
            settings.name,
            settings.purpose,
            agreement,
            task,
            settings.seed,
        )
    norm = privacy.clipping_norm if privacy.mode == "central" else None
    return PlainWork(LocalSteps(training.steps, training.batch, training.learning_rate, norm))


def _crew(
    settings: PopulationSettings, source: Source, work: Work, weights: int, choice: Choice
) -> Crew:
    """This process, with others where that was asked for, or they start sooner than it is done."""
    own = ThisProcess(source.world, work)
    each = choice.milliseconds[choice.engine] / 1e3
    pays = each * settings.cohort * settings.rounds > _LONG
    workers = settings.workers or (os.cpu_count() or 1 if pays else 1)
    if workers == 1:
        return own
    return Processes(workers, source.make, own, work, weights, choice.engine)


def _guard(
    settings: PopulationSettings,
    draw: Draw,
    promised: Guarantee | None,
    folder: Path,
    held: ExitStack,
    agreement: str,
    task: str,
) -> Guard:
    if promised is None:
        return Nothing(draw, settings.cohort)
    if settings.privacy.mode == "local":
        return EachMember(draw, settings.cohort, promised.affordable)
    return TrustedAggregator(
        draw,
        settings.cohort,
        promised.policy,
        promised.budget,
        held.enter_context(BudgetLedger.open(folder / LEDGER)),
        settings.name,
        settings.purpose,
        agreement,
        task,
    )


def _agreement(settings: PopulationSettings, source: Source) -> str:
    """A digest of what every member would have agreed to."""
    text = f"fedcode/population/1\x00{settings.model_dump_json()}\x00{source.fingerprint}"
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(settings: PopulationSettings) -> dict[str, Any]:
    return {
        "schema": MANIFEST_SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "population": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "seeded_noise": settings.privacy.mode != "none",
        **surroundings(),
    }


def _result(run: Run, made: dict[str, Any], started: float, seconds: float) -> dict[str, Any]:
    settings, source = run.settings, run.source
    guard = run.guard
    releases = len(run.rounds)
    if isinstance(guard, EachMember):
        releases = int(guard.rounds_taken.max(initial=0))
    shown = run.promised.epsilon(releases) if run.promised else None
    return {
        "schema": RESULT_SCHEMA,
        "name": settings.name,
        "purpose": settings.purpose,
        "created": made["created"],
        "finished": True,
        "privacy": privacy_of(settings, run.promised, shown),
        "population": {
            "source": settings.source,
            "split": settings.split,
            "members": len(source.world.population),
            "about": source.about,
            "fingerprint": source.fingerprint,
        },
        "task": source.task,
        "weights": len(run.weights),
        "engine": run.choice.plain(),
        "metrics": [
            {"key": m.key, "title": m.title, "lower_is_better": m.lower_is_better}
            for m in source.metrics
        ],
        "rounds": run.rounds,
        "seconds_to_first_round": started,
        "seconds": seconds,
    }


def _finish(folder: Path, run: Run, made: dict[str, Any], result: dict[str, Any]) -> None:
    model = run.source.world.model
    network.write(model, run.weights)
    save_tensors(folder / WEIGHTS, network.tensors(model))
    made["engine"] = run.choice.plain()
    made["fingerprint"] = run.source.fingerprint
    made["weights"] = run.digests
    write_json(folder / MANIFEST, made)
    (folder / LEDGER).with_suffix(".key").unlink(missing_ok=True)  # of an outbox that is empty
    write_json(folder / RESULT, result)


def _empty(folder: Path, new: bool) -> None:
    """Nothing half-written: what stopped the run will stop it again."""
    for path in folder.iterdir():
        path.unlink()
    if new:
        shutil.rmtree(folder)
