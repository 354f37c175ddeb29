# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Audits all that a finished run trained, and adds it to the run's folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fedcode.budgets import calibrated
from fedcode.errors import ConfigError, Interrupted, RunError
from fedcode.federation import Clip, Federation, Kind, TrainingSettings
from fedcode.record import PrivacyUnit
from fedcode.report.html import render
from fedcode.simulation.arms import Noise
from fedcode.simulation.audit import AuditJob, audit, without_privacy
from fedcode.simulation.dataset import load
from fedcode.simulation.results import read_json
from fedcode.simulation.run import AUDIT, MANIFEST, REPORT, RESULT, repeatable
from fedcode.simulation.schedule import Workers
from fedcode.storage import write_atomically, write_json
from fedcode.tasks import writes_code

SCHEMA = "fedcode/audit/1"


def audit_folder(
    folder: Path,
    organization: str | None = None,
    canaries: int | None = None,
    trials: int = 10_000,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> dict[str, Any]:
    """Audits the run in ``folder``, writes ``audit.json`` there, and its page anew.

    Args:
        folder: the ``--out`` folder of a finished run.
        organization: whose training is repeated; the member with the fewest records if None.
        canaries: how many; None for as few as could show more than is claimed.
        trials: of the step audit.
        tell: called with the number of audits done, and of all.

    Returns:
        What ``audit.json`` holds.

    Raises:
        UsageError: something a person can mend.
    """
    start = time.perf_counter()
    result = read_json(folder / RESULT)
    federation, options, manifest = repeatable(folder / MANIFEST)
    if not options.private:
        raise RunError(
            f"the run in {folder} had no privacy", "there is no claim that could be audited"
        )
    federation.check_beginnings("an audit")
    _check_unchanged(federation, manifest)
    name = _organization(result, organization)
    calibration = calibrated(federation)
    plain = federation.model_dump(mode="json")
    jobs = [
        AuditJob(plain, task.name, name, Noise(calibration, sigma), canaries)
        for task, sigma in zip(federation.tasks, calibration.noise_multipliers, strict=True)
    ]
    audited_step = _training(federation)
    steps = Steps(trials, federation.privacy.unit, audited_step.clipping, audited_step.kind)
    tasks, stepped = _run(jobs, steps, federation.threads, tell)
    audited = {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - start,
        "organization": name,
        "step": stepped,
        "tasks": tasks,
    }
    page = render(result, manifest, audited)
    write_json(folder / AUDIT, audited)
    write_atomically(folder / REPORT, page.encode())
    return audited


class Steps(NamedTuple):
    """A step audit to be done: trials, what its canary is, how it is clipped, what leaves."""

    trials: int
    unit: PrivacyUnit
    clipping: Clip
    kind: Kind


def step(asked: Steps) -> dict[str, Any]:
    """The step audit, as ``audit.json`` has it."""
    from fedcode.training.audit import step_audit

    finding = step_audit(asked.trials, unit=asked.unit, clipping=asked.clipping, kind=asked.kind)
    return asdict(finding) | {"broken": finding.broken}


def _training(federation: Federation) -> TrainingSettings:
    """That of the first task that has more than flat clipping of local steps to be audited."""
    every = [task.training for task in federation.tasks]
    return max(every, key=lambda own: (own.clipping != "flat", own.kind != "local-steps"))


def _check_unchanged(federation: Federation, manifest: Mapping[str, Any]) -> None:
    """Refuses to audit another run than the one in the folder."""
    _, whole = load(federation, os.cpu_count() or 1)
    if {name: corpus.fingerprint for name, corpus in whole.items()} != manifest["fingerprints"]:
        raise RunError("an organization's code has changed since the run", "start a new run")


def _organization(result: Mapping[str, Any], wanted: str | None) -> str:
    members = {o["name"]: o["records"] for o in result["organizations"] if o["role"] == "train"}
    if wanted is not None and wanted not in members:
        raise ConfigError(f"{wanted} is no member", f"members: {', '.join(members)}")
    return wanted or min(members, key=members.__getitem__)


def _run(
    jobs: list[AuditJob], steps: Steps, threads: int, tell: Callable[[int, int], None]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All audits over worker processes: those of the tasks in their order, and that of the step."""
    plain = [job for job in jobs if writes_code(job.task)]
    work: list[tuple[Any, Callable[[Any], dict[str, Any]]]] = [
        *((job, audit) for job in jobs),
        *((job, without_privacy) for job in plain),
        (steps, step),
    ]
    processes = min((os.cpu_count() or 1) // threads, len(work))
    workers = Workers(max(1, processes), threads)
    try:
        futures = [workers.submit(argument, function) for argument, function in work]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            tell(done, len(futures))
    except KeyboardInterrupt:
        workers.kill()
        raise Interrupted("stopped by Ctrl-C", "nothing was written; start it again") from None
    except BrokenProcessPool as error:
        raise Interrupted("a worker process was killed; was there enough memory?") from error
    finally:
        workers.close()
    found = [future.result() for future in futures]
    for job, beside in zip(plain, found[len(jobs) : -1], strict=True):
        found[jobs.index(job)]["memory"] |= beside
    return found[: len(jobs)], found[-1]
