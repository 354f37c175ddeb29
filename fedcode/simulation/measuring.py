# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Measures a finished run of a coordinator: the same kind of result folder as a simulation's.

What only the members know is not in it: their code, their losses, what their ledgers were charged.
In its place stands the most that can have been charged, by who took part in which rounds.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fedcode.agreement import Agreement
from fedcode.budgets import calibrated
from fedcode.card import WEIGHTS
from fedcode.corpus import (
    Screen,
    cache_folder,
    deduplicate,
    near_duplicates,
    read_own,
    read_public,
    together,
)
from fedcode.corpus.labels import labeller_of
from fedcode.errors import ConfigError, RunError
from fedcode.federation import OWN, Federation, check
from fedcode.folders import check_empty
from fedcode.record import Corpus, SourceFile
from fedcode.report.html import render
from fedcode.rounds.transcript import Summed
from fedcode.rounds.verification import proved
from fedcode.rounds.verification import read as read_agreement
from fedcode.simulation import results
from fedcode.simulation.arms import Arm
from fedcode.simulation.dataset import all_files
from fedcode.simulation.jobs import Job
from fedcode.simulation.manifest import manifest
from fedcode.simulation.models import Tensors, write_models
from fedcode.simulation.run import MANIFEST, REPORT, RESULT, TRANSCRIPT
from fedcode.simulation.spending import Trained, ledger_at_most, spent_by_round
from fedcode.start import PUBLIC, Start, expected_agreement, file_of
from fedcode.storage import write_atomically, write_json
from fedcode.task import AnyTask, Metrics, counts_of, gradients_of
from fedcode.tasks import make
from fedcode.training import network
from fedcode.training.learner import network_of
from fedcode.weights import Vector, load_tensors

ROUNDS = "rounds.jsonl"

_NOTE = (
    "no simulation: every organization trained on its own machines. What was charged is in their "
    "ledgers; shown is the most that it can be, by who took part in which rounds"
)
_OVERLAP = "Nobody can tell whether code that is measured also stands in an organization."


def measure(run: Path, federation: Federation | None, folder: Path) -> dict[str, Any]:
    """Measures the run in ``run`` and writes ``folder``.

    Args:
        run: a coordinator's run, finished.
        federation: its file, where it names more sources than the run's own settings.
        folder: gets the result; must not exist or be empty.

    Returns:
        What ``result.json`` holds.

    Raises:
        UsageError: something a person can mend; nothing is written.
    """
    begun = time.perf_counter()
    if not (run / WEIGHTS).exists():
        raise RunError(f"the run in {run} is not finished", "fedcode-server status")
    check_empty(folder)
    asked = federation or check(results.read_json(run / "federation.json"), "the run's settings")
    trained = {task.name: _trained(run, asked, task.name) for task in asked.tasks}
    digest = _public_of(trained)
    public = read_public(run / "start" / PUBLIC, digest)
    whole, unseen = _unseen(asked, public)
    jobs, done, tensors = _measured(asked, trained, public, unseen)
    calibration = calibrated(asked)
    result = results.assemble(
        asked,
        True,
        calibration,
        {o.name: whole.get(o.name) for o in asked.organizations},
        {},
        jobs,
        done,
        ledger_at_most(asked, calibration, trained),
    )
    made = manifest(asked, {"private": True}, datetime.now(UTC).isoformat(timespec="seconds"))
    made |= {"seeded_noise": False, "options": {"measured": run.name}}
    made["fingerprints"] = {name: corpus.fingerprint for name, corpus in whole.items()}
    for task in result["tasks"]:
        made["weights"][task["name"]] = [line.pop("weights") for line in task["curves"]]
    result["simulation"] = {"seeded_noise": False, "note": _NOTE, "simulated": False}
    result["privacy"]["assumptions"].append(_OVERLAP)
    result |= {"created": made["created"], "seconds": time.perf_counter() - begun}
    page = render(result, made)
    _copy(run, folder, asked)
    write_models(folder, asked, result, (run / "start" / PUBLIC, digest), tensors)
    write_json(folder / MANIFEST, made)
    write_atomically(folder / REPORT, page.encode())
    write_json(folder / RESULT, result)
    return result


def _public_of(trained: Mapping[str, Trained]) -> str:
    (digest, *others) = {one.start.public for one in trained.values()}
    if others:
        raise RunError("the start files name several public corpora", "they are of several runs")
    return digest


def _copy(run: Path, folder: Path, federation: Federation) -> None:
    """What the members have signed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (TRANSCRIPT, *(f"agreement-{task.name}.json" for task in federation.tasks)):
            if (run / name).exists():
                shutil.copyfile(run / name, folder / name)
    except OSError as error:
        raise RunError(f"{folder} cannot be written", "choose another --out") from error


# What the run's folder holds.


def _trained(run: Path, federation: Federation, task: str) -> Trained:
    signed = read_agreement(run / f"agreement-{task}.json")
    signed.check()
    agreed = signed.agreement
    start = Start.load(run / "start" / file_of(task))
    if expected_agreement(federation, task, start, agreed.roster).digest() != agreed.digest():
        raise ConfigError(
            f"the federation's settings are not what was agreed on for {task}",
            "name the file that the run was made from: --federation FEDERATION.toml",
        )
    weights = load_tensors(run / WEIGHTS).get(f"{task}/weights")
    if weights is None or weights.shape != start.weights.shape or not np.isfinite(weights).all():
        raise RunError(f"{run / WEIGHTS} has no weights of {task}", "is the file complete?")
    rounds = _lines(run / ROUNDS, task)
    return Trained(agreed, start, weights, rounds, _sums(run, agreed))


def _lines(path: Path, task: str) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        own = [line for line in lines if line.pop("task") == task]
        return sorted(own, key=lambda line: int(line["round"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read", "is it a finished run's folder?") from error


def _sums(run: Path, agreed: Agreement) -> list[Summed]:
    """The secure sums that are proved by the members' signatures.

    Raises:
        RunError: the transcript holds what does not fit.
    """
    if not agreed.aggregation.masked:
        return []
    found = proved(agreed, run / TRANSCRIPT)
    if found.wrong:
        raise RunError(
            f"the transcript of {agreed.task} does not hold: {found.wrong[0]}",
            f"fedcode agreement verify {shlex.quote(str(run / f'agreement-{agreed.task}.json'))} "
            f"--transcript {shlex.quote(str(run / TRANSCRIPT))}",
        )
    training = agreed.training
    step = agreed.noise_multiplier, training.sampling_rate, training.steps_per_round
    alone = None if training.kind == "gradient-sum" else 1
    return [Summed(names, *step, alone) for _, names in found.sums]


# What it has learned.


def _unseen(federation: Federation, public: Corpus) -> tuple[dict[str, Corpus], dict[str, Corpus]]:
    """The organizations that are measured: as they were read, and without what is public."""
    known = [o for o in federation.organizations if o.role == "unseen" and o.source != OWN]
    if not known:
        raise ConfigError(
            "no organization's code can be read here to measure on",
            "name a file with unseen organizations and their sources: --federation FEDERATION.toml",
        )
    cores = os.cpu_count() or 1
    screen, folder = Screen(federation.filters), cache_folder()
    whole = {
        o.name: together(
            read_own(
                o.name,
                o.sources,
                max_tokens=o.max_tokens,
                cache=folder,
                workers=cores,
                screen=screen,
            )
        )
        for o in known
    }
    _, *rest = deduplicate([public, *whole.values()])
    rest = near_duplicates(rest, federation.filters.near)
    return whole, dict(zip(whole, rest, strict=True))


def _measured(
    federation: Federation,
    trained: Mapping[str, Trained],
    public: Corpus,
    unseen: Mapping[str, Corpus],
) -> tuple[list[Job], dict[str, dict[str, Any]], dict[str, Tensors]]:
    """The arms of every task, what they have found, and the models as named tensors."""
    plain, members = federation.model_dump(mode="json"), tuple(o.name for o in federation.members)
    jobs, done, spent = [], {}, spent_by_round(federation, trained)
    tensors: dict[str, Tensors] = {}
    for settings in federation.tasks:
        one = trained[settings.name]
        task = make(settings.name, settings.model, public)
        labelled = dict(unseen)
        labeller = labeller_of(federation) if task.labels == "defects" else None
        if labeller is not None:
            labelled = {name: labeller.label(corpus) for name, corpus in unseen.items()}
        before = Job(plain, settings.name, federation.seed, Arm("public"))
        after = Job(plain, settings.name, federation.seed, Arm("federated", members), folder=Path())
        jobs += [before, after]
        first, seed = one.start.weights, federation.seed
        done[before.name] = _figures(task, one, first, labelled, seed)
        done[after.name] = _figures(task, one, one.weights, labelled, seed)
        done[after.name] |= spent[settings.name]
        tensors[settings.name] = _tensors(task, one)
    return jobs, done, tensors


def _figures(
    task: AnyTask, one: Trained, weights: Vector, unseen: Mapping[str, Corpus], seed: int
) -> dict[str, Any]:
    begun = time.perf_counter()
    by_name = {name: dict(_of(task, one, weights, c.files)) for name, c in unseen.items()}
    together = next(iter(by_name.values()))
    if len(unseen) > 1:
        together = dict(_of(task, one, weights, all_files(unseen)))
    return {
        "seed": seed,
        "seconds": time.perf_counter() - begun,
        "unseen": together,
        "by_organization": by_name,
        "local": {"heldout": {}},
        "epsilon": None,
        "summed": [],
        "weights": len(weights),
    }


def _of(task: AnyTask, one: Trained, weights: Vector, files: Sequence[SourceFile]) -> Metrics:
    counting, gradients = counts_of(task), gradients_of(task)
    if counting is not None:
        return counting.measure_counts(weights, files)
    if gradients is None:
        raise TypeError("a task has gradients or counts")
    model = network_of(gradients, one.start)
    network.write(model, weights)
    return gradients.measure(model, files)


def _tensors(task: AnyTask, one: Trained) -> Tensors:
    gradients = gradients_of(task)
    if gradients is None:
        return {"counts": one.weights}
    model = network_of(gradients, one.start)
    network.write(model, one.weights)
    return network.tensors(model)
