# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A population's members, from where the file says they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fedcode.errors import ConfigError, CorpusError
from fedcode.simulation.population.data import Packed, PackedPopulation, Row, Rows, pack
from fedcode.simulation.population.problem import Classifier, Synthetic, World
from fedcode.simulation.population.settings import (
    NetworkSettings,
    PopulationSettings,
    SyntheticSettings,
)
from fedcode.task import Metric, Metrics

MAKER = 1
"""Raised when a synthetic population would come out otherwise."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a population is, and how to look at it.

    Attributes:
        make: makes a process' world; another process can be given it.
        world: this process'.
        measure: figures of a network on what nobody trains on.
        metrics: what ``measure`` reports.
        task: name of what is learned.
        fingerprint: of data and problem, SHA-256.
        about: for people: what members are, and what was left out.
    """

    make: Callable[[], World[Any, Any]]
    world: World[Any, Any]
    measure: Callable[[nn.Module], Metrics]
    metrics: Sequence[Metric]
    task: str
    fingerprint: str
    about: str


_METRICS = (
    Metric("loss", "loss in nats", lower_is_better=True),
    Metric("accuracy", "accuracy", lower_is_better=False),
)


def arrays(settings: PopulationSettings, cache: Path) -> Source:
    """A synthetic population, packed once in ``cache``; or one that is packed already.

    Raises:
        ConfigError: there are not as many members as the file says.
        CorpusError: the folder holds no packed population, or not rows of features and classes.
    """
    network = settings.network or NetworkSettings()
    if settings.source == "synthetic":
        folder = _synthetic(settings, network, cache)
    else:
        folder = Path(settings.source.partition(":")[2])
    packed = Packed(folder)
    features = _check(packed, network.classes)
    members = settings.members or len(packed) - settings.heldout
    if not settings.cohort <= members <= len(packed) - settings.heldout:
        raise ConfigError(
            f"{settings.source} has {len(packed)} members, {settings.heldout} of them held out",
            "choose fewer members, a smaller cohort or less heldout",
        )
    most = settings.training.steps * settings.training.batch
    make = partial(_world, folder, members, features, network, settings.seed, most)
    world = make()
    first, last = packed.offsets[[len(packed) - settings.heldout, len(packed)]]
    heldout = Rows(tuple(column[first:last] for column in packed.columns))
    problem = Classifier(features, network.hidden, network.classes)
    return Source(
        make,
        world,
        lambda model: problem.measure(model, heldout),
        _METRICS,
        problem.name,
        _fingerprint(packed, network),
        f"{members:,} members, {int(packed.offsets[members]):,} rows",
    )


def _world(
    folder: Path, members: int, features: int, network: NetworkSettings, seed: int, most: int
) -> World[Row, tuple[torch.Tensor, ...]]:
    problem = Classifier(features, network.hidden, network.classes)
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    made_up = Rows(
        (
            draw.standard_normal((most, features), np.float32),
            draw.integers(network.classes, size=most),
        )
    )
    population = PackedPopulation(Packed(folder), members)
    return World(population, problem, problem.build(), made_up)


def _synthetic(settings: PopulationSettings, network: NetworkSettings, cache: Path) -> Path:
    """The folder of the population, which is made if it is not there."""
    own = settings.synthetic or SyntheticSettings()
    made = Synthetic(settings.seed, own.records, own.features, network.classes, own.shift)
    members = (settings.members or 0) + settings.heldout
    key = json.dumps([MAKER, members, asdict(made)], sort_keys=True)
    folder = cache / "populations" / hashlib.sha256(key.encode()).hexdigest()
    if not folder.exists():
        try:
            pack(folder, made.members(0, members))
        except OSError as error:
            raise CorpusError(
                f"the population cannot be written to {folder.parent}",
                "set FEDCODE_CACHE to a folder with room for it",
            ) from error
    return folder


def _check(packed: Packed, classes: int) -> int:
    """The number of features; refuses what no network could be trained on."""
    wrong = CorpusError(
        f"{packed.folder} does not hold rows of float32 features and int64 classes",
        "pack columns of shapes (rows, features) and (rows,)",
    )
    if [f"{c.dtype}/{c.ndim}" for c in packed.columns] != ["float32/2", "int64/1"]:
        raise wrong
    features, found = packed.columns
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < classes:
        raise CorpusError(
            f"{packed.folder} holds classes from {found.min()} to {found.max()}",
            f"network.classes is {classes}: classes are numbers below it",
        )
    return int(features.shape[1])


def _fingerprint(packed: Packed, network: NetworkSettings) -> str:
    """Of the folder's form and the beginning of its values: reading all may take minutes."""
    digest = hashlib.sha256(network.model_dump_json().encode())
    digest.update(np.ascontiguousarray(packed.offsets).tobytes())
    for column in packed.columns:
        digest.update(f"{column.dtype}{column.shape}".encode())
        digest.update(np.ascontiguousarray(column[: 1 << 12]).tobytes())
    return digest.hexdigest()
