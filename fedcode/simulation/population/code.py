# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members that are parts of a code corpus: each file, folder or author is one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from fedcode.corpus import Splits, arrange, read, with_owners
from fedcode.corpus.labels import InjectedBugs
from fedcode.errors import ConfigError, CorpusError
from fedcode.federation import PublicSettings, TaskSettings
from fedcode.record import Corpus, Metrics, PrivacyUnit, Record
from fedcode.simulation.learners import build, warm_start
from fedcode.simulation.population.data import Packed, pack
from fedcode.simulation.population.problem import World
from fedcode.simulation.population.settings import CodeTask, PopulationSettings, check
from fedcode.simulation.population.world import Source
from fedcode.task import GradientTask
from fedcode.tasks import check_settings, counts, known, make, metrics_of
from fedcode.training import network
from fedcode.weights import load_tensors, save_tensors

E = TypeVar("E")

HELDOUT_EVERY = 20
"""One in so many of the corpus' files is measured, and trained on by nobody."""

_PUBLIC = PublicSettings(max_tokens=600_000)
_OWNERS = {"file": PrivacyUnit.FILE, "folder": PrivacyUnit.FILE, "author": PrivacyUnit.AUTHOR}

Tell = Callable[[str], None]


class RecordPopulation(Generic[E]):
    """Members whose records lie packed as bytes; examples are made of them when they are read.

    Args:
        packed: one column of bytes: a member's records, a line of JSON each.
        members: so many of the first ones.
        task: makes examples.
    """

    def __init__(self, packed: Packed, members: int, task: GradientTask[E, Any]) -> None:
        self._packed, self._members, self._task = packed, members, task

    def __len__(self) -> int:
        return self._members

    def member(self, number: int) -> Sequence[E]:
        """The examples of one member."""
        (raw,) = self._packed.columns_of(number)
        return self._task.examples([_record(line) for line in raw.tobytes().splitlines()])


def code(settings: PopulationSettings, cache: Path, tell: Tell) -> Source:
    """The population of a code corpus.

    Raises:
        ConfigError: the task is unknown or has no network, or there are too few members.
        CorpusError: the corpus cannot be read, or an author is not known.
    """
    own = _task_of(settings)
    check_settings(own.name, own.model)
    if counts(own.name):
        raise ConfigError(f"{own.name} has no network", "choose completion or defects")
    if not known(own.name).injectable:
        raise ConfigError(
            f"{own.name} reads syntax trees, which injected bugs do not change",
            "choose completion or defects",
        )
    tell(f"reading {settings.source}")
    data, owned = _read(settings, cache)
    task = _network_of(own, data.public)
    folder, members = _packed(settings, owned, task, cache)
    if settings.cohort > members or (settings.members or members) > members:
        raise ConfigError(
            f"{settings.source} has {members} members, one for each {settings.split}",
            "choose fewer members, a smaller cohort or another split",
        )
    members = settings.members or members
    warm = _warm(settings, task, data.public, cache, tell)
    made = partial(_world, settings.model_dump_json(), cache, folder, members, warm)
    heldout = data.heldout[0]
    if task.labels == "defects":
        heldout = InjectedBugs(settings.seed).label(heldout)
    if not heldout.files:
        raise CorpusError(f"{settings.source} has too few files to hold any out", "give it more")
    parts = (owned.fingerprint, task.fingerprint(), str(settings.split), str(settings.seed))
    return Source(
        made,
        _made(settings, task, data.public, folder, members, warm),
        lambda model: task.measure(model, heldout.files),
        metrics_of(own.name),
        own.name,
        hashlib.sha256("\x00".join(parts).encode()).hexdigest(),
        f"{members:,} members, each of one {settings.split} of {settings.source}",
    )


def grouped(corpus: Corpus, split: str) -> list[tuple[Record, ...]]:
    """The records of each file, folder or author, in the order of their first records."""
    groups: dict[str, list[Record]] = {}
    for record in corpus.records():
        folder = record.path.rpartition("/")[0]
        owner = {"file": record.path, "folder": folder, "author": record.author}[split]
        groups.setdefault(owner, []).append(record)
    return [tuple(group) for group in groups.values()]


def _task_of(settings: PopulationSettings) -> CodeTask:
    if settings.task is None:
        raise ConfigError("a code corpus needs a task", "name one in the table task")
    return settings.task


def _read(settings: PopulationSettings, cache: Path) -> tuple[Splits, Corpus]:
    """The splits; and the training part with its records' owners."""
    public, workers = settings.public or _PUBLIC, os.cpu_count() or 1
    whole = read(settings.source, settings.name, cache=cache, workers=workers)
    unit = _OWNERS[settings.split or "file"]
    whole = with_owners(whole, settings.source, unit, cache=cache, workers=workers)
    rest = read(public.source, "public", max_tokens=public.max_tokens, cache=cache, workers=workers)
    data = arrange([("train", whole)], rest, HELDOUT_EVERY)
    return data, data.train[0]


def _network_of(own: CodeTask, public: Corpus) -> GradientTask[Any, Any]:
    return cast("GradientTask[Any, Any]", make(own.name, own.model, public))


def _packed(
    settings: PopulationSettings, owned: Corpus, task: GradientTask[Any, Any], cache: Path
) -> tuple[Path, int]:
    """The folder of all members in a random order, which is made if it is not there."""
    injected = task.labels == "defects"
    labelled = InjectedBugs(settings.seed).label(owned) if injected else owned
    groups = grouped(labelled, settings.split or "file")
    if not groups:
        raise CorpusError(f"{settings.source} has nothing to train on", "give it more code")
    key = json.dumps([owned.fingerprint, settings.split, settings.seed, injected])
    folder = cache / "populations" / hashlib.sha256(key.encode()).hexdigest()
    if not folder.exists():
        order = np.random.default_rng(settings.seed).permutation(len(groups))
        pack(folder, _lines(groups[i] for i in order))
    return folder, len(groups)


def _lines(groups: Iterator[tuple[Record, ...]]) -> Iterator[tuple[NDArray[np.uint8]]]:
    for records in groups:
        text = "\n".join(json.dumps(asdict(record)) for record in records)
        yield (np.frombuffer(text.encode(), np.uint8),)


def _record(line: bytes) -> Record:
    values = json.loads(line)
    lists = {name: tuple(values[name]) for name in ("tokens", "ast")}
    pairs = {name: tuple(map(tuple, values[name])) for name in ("comments", "features")}
    return Record(**values | lists | pairs | {"metrics": Metrics(**values["metrics"])})


def _warm(
    settings: PopulationSettings,
    task: GradientTask[Any, Any],
    public: Corpus,
    cache: Path,
    tell: Tell,
) -> Path:
    """The weights of the warm start, which is made if it is not there."""
    own = _task_of(settings)
    parts = (task.fingerprint(), public.fingerprint, own.warm_start.model_dump(), settings.seed)
    key = json.dumps(["population", *parts, torch.__version__])
    path = cache / "warm-starts" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    if not path.exists():
        tell(f"warm start of {own.name} on public code")
        like = TaskSettings(name=own.name, model=own.model, warm_start=own.warm_start)
        save_tensors(path, warm_start(task, like, public.files, settings.seed))
    return path


def _world(
    settings_json: str, cache: Path, folder: Path, members: int, warm: Path
) -> World[Any, Any]:
    """The world of another process: what it reads, the first one has read already."""
    settings = check(json.loads(settings_json))
    data, _ = _read(settings, cache)
    task = _network_of(_task_of(settings), data.public)
    return _made(settings, task, data.public, folder, members, warm)


def _made(
    settings: PopulationSettings,
    task: GradientTask[Any, Any],
    public: Corpus,
    folder: Path,
    members: int,
    warm: Path,
) -> World[Any, Any]:
    model = build(task, settings.seed)
    network.load(model, load_tensors(warm))
    most = settings.training.steps * settings.training.batch
    labelled = InjectedBugs(settings.seed).label(public) if task.labels == "defects" else public
    sample = task.examples(labelled.records("function")[: 2 * most])[:most]
    return World(RecordPopulation(Packed(folder), members, task), task, model, sample)
