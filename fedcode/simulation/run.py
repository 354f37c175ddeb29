# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A whole simulation: reads, trains, measures, compares, and writes the result folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedcode.budgets import calibrated, shortfalls
from fedcode.corpus import commits, past, save_public
from fedcode.corpus.labels import labeller_of
from fedcode.corpus.tables import TableLabels
from fedcode.errors import ConfigError, CorpusError, FedcodeError, Interrupted, RunError
from fedcode.federation import OWN, Federation, TaskSettings, check
from fedcode.folders import holds_something
from fedcode.privacy.calibration import Calibration
from fedcode.privacy.policy import check_population
from fedcode.record import Corpus, population
from fedcode.report.html import render
from fedcode.rounds.optimizer import flower_strategy
from fedcode.simulation import data_tests, results
from fedcode.simulation.arms import Arm, Noise
from fedcode.simulation.cluster import EngineName, check_usable
from fedcode.simulation.dataset import Dataset, load
from fedcode.simulation.jobs import Job, handed_on
from fedcode.simulation.manifest import manifest
from fedcode.simulation.models import write_models
from fedcode.simulation.schedule import Schedule, Workers
from fedcode.simulation.view import View
from fedcode.start import PUBLIC
from fedcode.storage import write_atomically, write_json
from fedcode.task import gradients_of
from fedcode.tasks import check_settings, counts, known, labels_of, make
from fedcode.training.counting import check_counting
from fedcode.weights import load_tensors

RESULT, MANIFEST, REPORT, LEDGER, AUDIT, TRANSCRIPT = (
    "result.json",
    "manifest.json",
    "report.html",
    "ledger.sqlite",
    "audit.json",
    "transcript.jsonl",
)


CHECKPOINT = "checkpoint"
"""The folder, inside that of the result, of what a run that was stopped goes on from."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for beyond the federation's file.

    Attributes:
        private: differential privacy on.
        compare: all arms, not only the federated one.
        seeds: how many, from the federation's seed on.
        dropout: the chance that a member is lost in a round of the federated private run.
        engine: where the members of the federated private runs live.
    """

    private: bool = True
    compare: bool = False
    seeds: int = 1
    dropout: float = 0.0
    engine: EngineName = "memory"


def simulate(
    federation: Federation, options: Options, folder: Path, view: View, *, resume: bool = False
) -> dict[str, Any]:
    """Runs ``federation`` on this machine.

    Args:
        federation: the configuration, after the command line's changes.
        options: what else was asked for.
        folder: gets the result; must not exist or be empty, unless ``resume``.
        view: shows progress.
        resume: go on with the rounds that ``folder`` lacks.

    Returns:
        What ``result.json`` holds.

    Raises:
        UsageError: something a person can mend.
        TrainingError: a loss is not finite.
    """
    start, quoted = time.perf_counter(), shlex.quote(str(folder))
    if resume and (folder / RESULT).exists():
        raise RunError(
            f"the run in {folder} is finished",
            f"show it: fedcode report {quoted}, or repeat it: fedcode simulate --again {quoted}",
        )
    if options.engine == "flower":
        check_usable()
    federation.check_sources()
    check_tasks(federation)
    cores = os.cpu_count() or 1
    data, whole = load(federation, cores, view.reading_one)
    check_continued(federation, data.public)
    labeller = labeller_of(federation)
    if federation.labels.kind != "injected":
        check_labelled(federation, data if labeller is None else data.labelled(labeller))
    tested = data_tests.examine(federation, data, labeller)
    calibration = calibrated(federation) if options.private else None
    population = _population(federation, data) if options.private else {}
    made = _manifest(federation, options, whole, folder, resume)
    view.read(whole, calibration, federation, population)
    view.tested(tested)
    if isinstance(labeller, TableLabels):
        view.unmatched(labeller.table, labeller.unmatched(whole.values()))
    if calibration is not None:
        view.shortfalls(shortfalls(federation, calibration))
    jobs = _jobs(federation, options, calibration, folder)
    workers = Workers(max(1, min(cores // federation.threads, len(jobs))), federation.threads)
    schedule = Schedule(workers, folder / CHECKPOINT, view.progress, view.finished)
    try:
        public = folder / CHECKPOINT / PUBLIC
        digest = save_public(public, data.public)  # what is too large is said before it is trained
        with view.training(federation, sum(job.folder is None for job in jobs)):
            schedule.run([*_warm_starts(jobs), *jobs])
    except Interrupted as error:
        hint = f"continue with: fedcode simulate --resume {quoted}"
        raise Interrupted(str(error), hint) from None
    except FedcodeError:
        if not resume:
            shutil.rmtree(folder)  # nothing half-written: what stopped it will stop it again
        raise
    finally:
        workers.close()
    result = results.assemble(
        federation,
        options.private,
        calibration,
        whole,
        population,
        jobs,
        schedule.results,
        results.ledger_rows(federation, folder / LEDGER) if options.private else [],
    )
    result |= {"created": made["created"], "seconds": time.perf_counter() - start}
    result["engine"] = options.engine
    result["data_tests"] = data_tests.plain(tested, federation.data_tests)
    _finish(folder, federation, made, result, (public, digest))
    return result


def check_tasks(federation: Federation) -> None:
    """Refuses tasks that are unknown and settings that no arm could run with."""
    for task in federation.tasks:
        check_settings(task.name, task.model)
        if federation.labels.kind == "injected" and not known(task.name).injectable:
            raise ConfigError(
                f"{task.name} reads syntax trees, which injected bugs do not change",
                'give it real labels: labels.kind = "table"',
            )
        if counts(task.name):
            check_counting(task.training)
            if task.server.average:
                raise ConfigError(
                    f"{task.name} adds up counts: they have no average", "leave server.average out"
                )
        flower_strategy(task.server, task.training.proximal)
        _check_features(federation, task)


def _check_features(federation: Federation, task: TaskSettings) -> None:
    """Refuses names of numbers that no record can have: they would be read as zeros."""
    there = {*federation.columns.features}
    if federation.labels.kind == "table":
        there |= {*federation.labels.columns.features}
    if federation.labels.kind == "history":
        there |= {*past.FEATURES}
    named = [source for one in federation.organizations for source in one.sources]
    if any(source.startswith((OWN, f"{commits.SCHEME}:")) for source in named):
        there |= {*commits.FEATURES}
    for name in task.model.get("features", ()):
        if name not in there:
            said = f"there are {', '.join(sorted(there))}" if there else "the records have none"
            raise ConfigError(f"{task.name}: no record has a feature {name}", said)


def check_continued(federation: Federation, public: Corpus) -> None:
    """Refuses a task that cannot start from the weights of the one it continues.

    Raises:
        ConfigError: one of them has no network, or the networks differ.
    """
    for task in (t for t in federation.tasks if t.continues is not None):
        before = federation.task(task.continues or "")
        networks = [_network(one, public) for one in (before, task)]
        if networks[0] != networks[1] or not networks[0]:
            raise ConfigError(
                f"{task.name} cannot continue {before.name}: they have no network in common",
                "give both the same model settings",
            )


def check_labelled(federation: Federation, data: Dataset) -> None:
    """Refuses labels from which a task of the federation could learn or measure nothing.

    Args:
        federation: a task of it may need labels.
        data: with its labels.

    Raises:
        CorpusError: a member has none, or what is unseen has not both kinds.
    """
    if all(labels_of(task.name) == "none" for task in federation.tasks):
        return
    for name, corpus in data.train.items():
        if all(record.label is None for record in corpus.stream()):
            raise CorpusError(
                f"no function of {name} is labelled", "do the table's paths start at its root?"
            )
    found = {r.label for corpus in data.unseen.values() for r in corpus.stream()}
    if data.unseen and not {0, 1} <= found:
        raise CorpusError(
            "what is unseen is not labelled with both defective and sound functions",
            "choose other unseen organizations, or other rows",
        )


def _network(task: TaskSettings, public: Corpus) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the task's tensors; none of a task that counts."""
    gradients = gradients_of(make(task.name, task.model, public))
    if gradients is None:
        return {}
    return {name: tuple(p.shape) for name, p in gradients.build().named_parameters()}


def _population(federation: Federation, data: Dataset) -> dict[str, int]:
    """Every member's number of privacy units; refuses what cannot be private with so many."""
    privacy = federation.privacy
    found = {name: population(c.stream(), privacy.unit) for name, c in data.train.items()}
    for name, members in found.items():
        for task in federation.tasks:
            rate = task.training.sampling_rate
            check_population(members, privacy.delta, rate, privacy.unit, name)
    return found


def _manifest(
    federation: Federation,
    options: Options,
    whole: Mapping[str, Corpus],
    folder: Path,
    resume: bool,
) -> dict[str, Any]:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    made = manifest(federation, asdict(options), created)
    made["fingerprints"] = {name: corpus.fingerprint for name, corpus in whole.items()}
    if resume:
        before = results.read_json(folder / MANIFEST)
        if before["fingerprints"] != made["fingerprints"]:
            raise RunError(
                "an organization's code has changed since the run started", "start a new run"
            )
        return before
    if holds_something(folder):
        begun = (folder / MANIFEST).exists() and not (folder / RESULT).exists()
        go_on = f", or go on with: fedcode simulate --resume {shlex.quote(str(folder))}"
        raise RunError(f"{folder} is not empty", f"choose another --out{go_on if begun else ''}")
    try:
        write_json(folder / MANIFEST, made)
    except OSError as error:
        raise RunError(f"{folder} cannot be made", "choose another --out") from error
    return made


def _jobs(
    federation: Federation,
    options: Options,
    calibration: Calibration | None,
    folder: Path,
) -> list[Job]:
    """All arms in the order in which they start: the main run of every task first."""
    members = tuple(o.name for o in federation.members)
    plain = federation.model_dump(mode="json")
    main = "federated" if options.private else "federated-plain"
    continued = {task.continues for task in federation.tasks}
    jobs = []
    for number, task in enumerate(federation.tasks):
        noise = None
        if calibration is not None:
            noise = Noise(calibration, calibration.noise_multipliers[number])
        for seed in range(federation.seed, federation.seed + options.seeds):
            for arm in _arms(members, options, first=seed == federation.seed):
                first = arm.key == main and seed == federation.seed
                where = folder if first else None
                job = Job(plain, task.name, seed, arm, noise, where, continues=task.continues)
                if task.name in continued and arm.key != "baseline":
                    job = replace(job, hands_on=handed_on(folder / CHECKPOINT, job.name))
                if arm.key == "federated":
                    job = replace(job, dropout=options.dropout, engine=options.engine)
                jobs.append(job)
    return sorted(jobs, key=lambda job: (job.folder is None, job.seed, _rank(job)))


def _rank(job: Job) -> int:
    heavy = ("federated", "centralized-plain", "baseline", "alone", "federated-plain", "public")
    return heavy.index(job.arm.key) if job.arm else -1


def _arms(members: tuple[str, ...], options: Options, *, first: bool) -> list[Arm]:
    arms = [Arm("public")]
    if options.private:
        arms.append(Arm("federated", members))
    if options.private and options.compare:
        arms += [Arm("alone", (name,)) for name in members]
    if options.compare or not options.private:
        arms.append(Arm("federated-plain", members))
    if options.compare:
        arms.append(Arm("centralized-plain", members))
    if options.compare and first:
        arms.append(Arm("baseline"))
    return arms


def _warm_starts(arms: list[Job]) -> list[Job]:
    """One job for each task and seed that an arm builds on."""
    firsts = {(job.task, job.seed): job for job in reversed(arms) if not job.continues}
    return [
        replace(job, arm=None, noise=None, folder=None, engine="memory", hands_on=None)
        for job in reversed(firsts.values())
    ]


def _finish(
    folder: Path,
    federation: Federation,
    made: dict[str, Any],
    result: dict[str, Any],
    public: tuple[Path, str],
) -> None:
    """Writes what a person wants to keep, and removes the checkpoints."""
    tensors = {
        task.name: load_tensors(folder / CHECKPOINT / f"{task.name}.safetensors")
        for task in federation.tasks
    }
    for task in result["tasks"]:
        made["weights"][task["name"]] = [line.pop("weights") for line in task["curves"]]
    _write_transcript(folder, result)
    write_models(folder, federation, result, public, tensors)
    write_json(folder / MANIFEST, made)
    write_atomically(folder / REPORT, render(result, made).encode())
    write_json(folder / RESULT, result)
    shutil.rmtree(folder / CHECKPOINT)
    (folder / LEDGER).with_suffix(".key").unlink(missing_ok=True)  # of an outbox that is empty


def _write_transcript(folder: Path, result: dict[str, Any]) -> None:
    """The signed part of every secure sum, a line each; the result keeps the story."""
    lines = []
    for task in result["tasks"]:
        for line in task["curves"]:
            cohort = sorted(name for story in line["sums"] for name in story["members"])
            for story in line["sums"]:
                signed = {
                    "task": task["name"],
                    "round": line["round"],
                    "cohort": cohort,
                    "confirmations": story.pop("confirmations"),
                    "evidence": story.pop("evidence"),
                }
                lines.append(json.dumps(signed, sort_keys=True))
    if lines:
        write_atomically(folder / TRANSCRIPT, "".join(f"{one}\n" for one in lines).encode())


def repeatable(manifest_path: Path) -> tuple[Federation, Options, dict[str, Any]]:
    """What the run behind ``manifest_path`` was asked to do, and its manifest."""
    before = results.read_json(manifest_path)
    try:
        return check(before["federation"], "the manifest"), Options(**before["options"]), before
    except (KeyError, TypeError) as error:
        raise RunError(f"{manifest_path} is not a manifest", "is it of another version?") from error
