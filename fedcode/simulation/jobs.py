# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What worker processes do: warm starts and arms, each from plain values to plain values.

A worker prepares a task once and keeps it. Nothing here prints; progress goes through a queue.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fedcode.corpus import cache_folder, digest_of
from fedcode.corpus.labels import labeller_of
from fedcode.errors import Interrupted, TrainingError
from fedcode.federation import Federation, TaskSettings, check
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import SourceFile
from fedcode.rounds.checkpoints import load_state, save_state
from fedcode.rounds.coordinator import State
from fedcode.simulation.arms import Arm, Bench, Noise, Round
from fedcode.simulation.cluster import EngineName
from fedcode.simulation.dataset import Dataset, all_files, load, sample
from fedcode.simulation.learners import CountLearner, GradientLearner, Learner, warm_start
from fedcode.start import Start
from fedcode.storage import write_json
from fedcode.task import AnyTask, counts_of, gradients_of
from fedcode.tasks import make
from fedcode.training.learner import start_of
from fedcode.weights import load_tensors, save_tensors

_GLIMPSE_TOKENS = 24_000


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Attributes:
        federation: the configuration, as TOML would give it.
        task: which of its tasks.
        seed: of everything random in it.
        arm: None for the warm start.
        noise: None without privacy.
        folder: where the main federated run keeps ledger and checkpoints; None for all others,
            whose ledgers live in memory: they are counterfactual.
        warm: the warm start's weights, or those of the arm that it continues; None for a task that
            has none.
        continues: the task that its own goes on from.
        hands_on: where the weights it ends with are kept for a task that continues.
        dropout: the chance that a member is lost in a round of the federated arm.
        engine: where the members of the federated arm live.
    """

    federation: Mapping[str, Any]
    task: str
    seed: int
    arm: Arm | None = None
    noise: Noise | None = None
    folder: Path | None = None
    warm: Path | None = None
    dropout: float = 0.0
    engine: EngineName = "memory"
    continues: str | None = None
    hands_on: Path | None = None

    @property
    def before(self) -> str | None:
        """Name of the job whose weights it goes on from: the same arm of the task before."""
        return replace(self, task=self.continues).name if self.continues else None

    @property
    def name(self) -> str:
        """Unique among the jobs of a run; also the name of a checkpoint."""
        return f"{self.task}-{self.arm.name if self.arm else 'warm-start'}-{self.seed}"


class Progress(NamedTuple):
    """What a worker tells while it works.

    Attributes:
        job: the job's name.
        task: the task it belongs to.
        done: rounds or steps done.
        of: out of how many.
        line: the last round, as docs/result.md has it; None in a warm start.
        loss: of the last step of a warm start.
    """

    job: str
    task: str
    done: int
    of: int
    line: dict[str, Any] | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task and its data.

    Attributes:
        public: digest of the public corpus.
    """

    federation: Federation
    settings: TaskSettings
    data: Dataset
    public: str
    task: AnyTask
    glimpse: list[SourceFile]


class Channel:
    """A worker's link to the program: progress out, the wish to stop in."""

    def __init__(self, queue: Any = None, stop: Any = None) -> None:
        self._queue, self._stop = queue, stop

    def tell(self, progress: Progress) -> None:
        """Passes ``progress`` on."""
        if self._queue is not None:
            self._queue.put(progress)

    @property
    def stopping(self) -> bool:
        """Whether a person asked to stop."""
        return self._stop is not None and self._stop.is_set()


_channel = Channel()


def initialize(queue: Any, stop: Any, threads: int) -> None:
    """Prepares a worker process: its link and its threads."""
    global _channel  # noqa: PLW0603  one link per process
    torch.set_num_threads(threads)
    _channel = Channel(queue, stop)


def run(job: Job) -> dict[str, Any]:
    """Does ``job``.

    Returns:
        The seed's entry of an arm (docs/result.md), with ``rounds`` and ``weights``; or
        ``warm``, the file of a warm start.

    Raises:
        Interrupted: a person asked to stop; what was finished is in the checkpoint.
    """
    made = prepared(job)
    return _warm(job, made) if job.arm is None else _run_arm(job, job.arm, made)


def handed_on(folder: Path, name: str) -> Path:
    """Where in ``folder`` the weights lie that the job ``name`` ends with."""
    return folder / f"end-of-{name}.safetensors"


def prepared(job: Job) -> Prepared:
    """The task of ``job`` and its data."""
    return prepare(json.dumps(job.federation, sort_keys=True), job.task)


@lru_cache(maxsize=2)
def prepare(federation_json: str, task: str) -> Prepared:
    """Reads the data and makes the task; the corpora come from the cache."""
    federation, data, public = _read(federation_json)
    settings = next(t for t in federation.tasks if t.name == task)
    made = make(task, settings.model, data.public)
    labeller = labeller_of(federation) if made.labels == "defects" else None
    if labeller is not None:
        data = data.labelled(labeller)
    glimpse = sample(data.validation or data.unseen, _GLIMPSE_TOKENS)
    return Prepared(federation, settings, data, public, made, glimpse)


@lru_cache(maxsize=1)
def _read(federation_json: str) -> tuple[Federation, Dataset, str]:
    """The data, once for all tasks, and the digest of what is public in it."""
    federation = check(json.loads(federation_json))
    data = load(federation, workers=1, known=True)[0]
    return federation, data, digest_of(data.public)


def _warm(job: Job, prepared: Prepared) -> dict[str, Any]:
    task = gradients_of(prepared.task)
    if task is None:
        return {"warm": None}
    key = _warm_key(prepared, task.build(), job.seed)
    path = cache_folder() / "warm-starts" / f"{key}.safetensors"
    if not path.exists():

        def tell(step: int, of: int, loss: float) -> None:
            if _channel.stopping:
                raise Interrupted(f"stopped in the warm start of {job.task}")
            _channel.tell(Progress(job.name, job.task, step + 1, of, loss=loss))

        public = prepared.data.public.files
        save_tensors(path, warm_start(task, prepared.settings, public, job.seed, tell))
    return {"warm": str(path)}


def _warm_key(prepared: Prepared, network: torch.nn.Module, seed: int) -> str:
    parts = {
        "task": prepared.task.fingerprint(),
        "network": [[name, list(p.shape)] for name, p in network.named_parameters()],
        "public": prepared.data.public.fingerprint,
        "settings": prepared.settings.warm_start.model_dump(),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _baselines(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Rows by title; each has the figures on all unseen files and on each unseen organization's."""
    start = time.perf_counter()
    unseen = {name: corpus.files for name, corpus in prepared.data.unseen.items()}
    everything = tuple(all_files(prepared.data.unseen))
    sets = {"": everything, **unseen} if len(unseen) > 1 else {"": everything}
    trained_on = all_files(prepared.data.train)
    rows = prepared.task.baselines(trained_on, sets) if everything else {}
    return {
        "seed": job.seed,
        "seconds": time.perf_counter() - start,
        "rows": {
            title: {
                "unseen": dict(figures[""]),
                "by_organization": {name: dict(figures.get(name, figures[""])) for name in unseen},
            }
            for title, figures in rows.items()
        },
    }


def _run_arm(job: Job, arm: Arm, prepared: Prepared) -> dict[str, Any]:
    start = time.perf_counter()
    if arm.key == "baseline":
        return _baselines(job, prepared)
    bench = bench_of(job, prepared)
    folder = job.folder / "checkpoint" if job.folder else None
    state, rounds = load_state(folder, job.name) if folder else (None, [])

    def after(now: State, line: Round) -> bool:
        rounds.append(line.plain())
        if folder:
            save_state(folder, job.name, now, rounds)
        _channel.tell(
            Progress(job.name, job.task, now.round, prepared.settings.rounds, line.plain())
        )
        return not _channel.stopping

    if job.folder:
        write_json(job.folder / f"agreement-{job.task}.json", bench.signed(arm).plain())
    with _ledger_file(job) as path, BudgetLedger.open(path or ":memory:") as ledger:
        if path is not None and job.engine == "flower":
            from fedcode.simulation.homes import on_flower

            bench.engine = on_flower(job, path)
        state = bench.run(arm, ledger, state=state, before=tuple(rounds), after=after)
        if not _channel.stopping:
            ledger.empty_outbox()
        private = arm.private and not _channel.stopping
        charges = bench.most_charges(arm, ledger) if private else 0
        summed = bench.summed(arm, rounds, ledger) if private else []
    if _channel.stopping:
        raise Interrupted(f"stopped after round {state.round} of {job.task}, {arm.title}")
    if job.folder:
        save_tensors(
            job.folder / "checkpoint" / f"{job.task}.safetensors",
            bench.learner.tensors(state.released),
        )
    if job.hands_on:
        save_tensors(job.hands_on, bench.learner.tensors(state.released))
    found = bench.measure(state, arm)
    return {
        "seed": job.seed,
        "seconds": time.perf_counter() - start,
        **found,
        "rounds": rounds,
        "epsilon": bench.epsilon(charges) if arm.private else None,
        "summed": summed,
        "weights": len(state.weights),
    }


@contextmanager
def _ledger_file(job: Job) -> Iterator[Path | None]:
    """Where the ledger of a job lies while the block runs; None for one in memory.

    Members in other processes need a file, also of a ledger that nobody will look at.
    """
    if job.folder and job.arm and job.arm.private:
        yield job.folder / "ledger.sqlite"
    elif job.engine == "memory":
        yield None
    else:
        with tempfile.TemporaryDirectory(prefix="fedcode-") as folder:
            yield Path(folder) / "ledger.sqlite"


def bench_of(job: Job, prepared: Prepared) -> Bench:
    """What the job's arm runs on, its members in this process."""
    return Bench(
        federation=prepared.federation,
        settings=prepared.settings,
        data=prepared.data,
        learner=learner_of(job, prepared),
        fingerprint=prepared.task.fingerprint(),
        start=start_file(job, prepared).digest,
        glimpse=prepared.glimpse if job.folder else [],
        noise=job.noise,
        seed=job.seed,
        dropout=job.dropout,
    )


def start_file(job: Job, prepared: Prepared) -> Start:
    """What the job's task starts from, on the weights of its warm start."""
    warm = load_tensors(job.warm) if job.warm else {}
    return start_of(prepared.task, prepared.settings, warm, prepared.public)


def learner_of(job: Job, prepared: Prepared) -> Learner:
    """What the job's arm trains with, on the weights of its warm start."""
    counting, network = counts_of(prepared.task), gradients_of(prepared.task)
    if counting is not None:
        return CountLearner(counting, prepared.settings.training)
    if network is None or job.warm is None:
        raise TrainingError(f"{job.name} has no warm start to build on")
    public = prepared.data.public.files
    return GradientLearner(
        network,
        prepared.settings,
        public,
        job.seed,
        load_tensors(job.warm),
        everything=job.arm is not None and not job.arm.private,
    )
