# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The tasks that fedcode knows: one file each, and this table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from fedcode.errors import ConfigError
from fedcode.record import Corpus
from fedcode.strict import checked
from fedcode.task import AnyTask, Labels, Metric

Make = Callable[[Mapping[str, Any], Corpus], AnyTask]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table.

    Attributes:
        title: what it is, in a few words.
        module: where ``make(settings, public)`` is; imported when it is asked for.
        factory: name of the class in it.
        settings: name of its settings' class.
        intended: what its model is for: a sentence of its card.
        limits: what its model cannot do, or should not be used for: sentences of its card.
        suggested: settings for a federation's file that does not name the task.
        injectable: whether injected bugs are in what it reads.
    """

    title: str
    module: str
    factory: str
    settings: str
    intended: str
    limits: tuple[str, ...]
    suggested: Mapping[str, Any] = field(default_factory=dict)
    injectable: bool = True


_BELIEF = {
    "training": {"kind": "gradient-sum", "sampling_rate": 0.5, "clipping": "normalized"},
    "server": {"algorithm": "fedavgm", "momentum": 0.9},
    "warm_start": {"epochs": 0.0},
}

_RANKING = {
    "rounds": 8,
    "training": {
        "kind": "gradient-sum",
        "sampling_rate": 0.1,
        "clipping": "normalized",
        "learning_rate": 0.5,
    },
    "server": {"algorithm": "fedavgm", "momentum": 0.9},
    "warm_start": {"epochs": 1.0, "batch": 32, "learning_rate": 3e-3},
    "plain": {"epochs": 1.0, "batch": 32, "learning_rate": 3e-3},
}

_NAMING = {
    "rounds": 6,
    "training": {
        "kind": "gradient-sum",
        "sampling_rate": 0.05,
        "nominal_batch": 50,
        "clipping": "normalized",
    },
    "server": {"algorithm": "fedadam", "learning_rate": 1e-3, "tau": 1e-6},
    "warm_start": {"epochs": 4.0, "batch": 32, "learning_rate": 3e-3},
    "plain": {"epochs": 1.0, "batch": 32, "learning_rate": 1e-3},
}
_NAMES = ("Most names that it proposes are not what their authors chose.",)

_WRITES = ("It does not know whether what it proposes is right, safe, or anybody's own.",)
_JUDGES = (
    "A rank is no verdict: most of what it ranks first is sound, and it misses much.",
    "Not for judging people: it says nothing of who wrote a function.",
)
_LAYER = "To be trained further by defects-belief; by itself it says nothing of defects."

TASKS: Mapping[str, Entry] = {
    "completion": Entry(
        "code language model: GRU or LSTM over subword pieces",
        "fedcode.tasks.completion",
        "CompletionTask",
        "CompletionSettings",
        "To propose how code goes on, to somebody who reads the proposal before taking it.",
        _WRITES,
    ),
    "ngram": Entry(
        "code language model: Kneser–Ney n-grams from clipped, noised counts",
        "fedcode.tasks.ngram",
        "NgramTask",
        "NgramSettings",
        "To say how usual code is, and to be compared with: a simple model of the same counts.",
        _WRITES,
        {
            "rounds": 1,
            "training": {"kind": "gradient-sum", "sampling_rate": 1.0, "clipping_norm": 1.0},
        },
    ),
    "defects": Entry(
        "which functions are defective: recurrent encoder over tokens",
        "fedcode.tasks.defects",
        "DefectsTask",
        "DefectsSettings",
        "To choose which functions are read or tested first, and where to look in them.",
        _JUDGES,
    ),
    "defects-belief": Entry(
        "which functions or classes are defective: deep belief network over syntax trees",
        "fedcode.tasks.belief",
        "BeliefTask",
        "BeliefSettings",
        "To choose which functions or classes are read or tested first.",
        (*_JUDGES, "What it knows is mostly size: compare it with lines of code."),
        _BELIEF,
        injectable=False,
    ),
    "belief-1": Entry(
        "Boltzmann machine of a deep belief network's first layer",
        "fedcode.tasks.belief_layers",
        "FirstLayer",
        "BeliefSettings",
        _LAYER,
        (),
        _BELIEF,
    ),
    "belief-2": Entry(
        "the same of its second layer",
        "fedcode.tasks.belief_layers",
        "SecondLayer",
        "BeliefSettings",
        _LAYER,
        (),
        _BELIEF,
    ),
    "belief-3": Entry(
        "the same of its third layer",
        "fedcode.tasks.belief_layers",
        "ThirdLayer",
        "BeliefSettings",
        _LAYER,
        (),
        _BELIEF,
    ),
    "localization": Entry(
        "which files a bug report is about: ranked by words, names, history, and a network",
        "fedcode.tasks.localization",
        "LocalizationTask",
        "LocalizationSettings",
        "To say where to look first for what a report of a bug tells.",
        ("The right file is often not the first, and sometimes not among the candidates.",),
        _RANKING,
    ),
    "names-bilinear": Entry(
        "names of functions and classes: log-bilinear model of what stands around",
        "fedcode.tasks.names_bilinear",
        "BilinearTask",
        "BilinearSettings",
        "To propose names of functions and classes, where it is sure.",
        _NAMES,
        _NAMING,
    ),
    "names-attention": Entry(
        "names of functions and classes: convolutional attention that copies",
        "fedcode.tasks.names_attention",
        "AttentionTask",
        "AttentionSettings",
        "To propose names of functions and classes, where it is sure.",
        _NAMES,
        _NAMING,
    ),
}


def make(name: str, settings: Mapping[str, Any], public: Corpus) -> AnyTask:
    """The task ``name``, with what it learns from public code alone (a vocabulary, say).

    Raises:
        ConfigError: there is no such task, or it does not know one of ``settings``.
    """
    entry = known(name)
    factory: Make = getattr(import_module(entry.module), entry.factory).make
    return factory(settings, public)


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Refuses an unknown task, and ``settings`` that it does not know; reads no code for it.

    Raises:
        ConfigError: what is wrong.
    """
    entry = known(name)
    checked(getattr(import_module(entry.module), entry.settings), settings, name)


def metrics_of(name: str) -> Sequence[Metric]:
    """What the task ``name`` reports; the first one leads."""
    entry = known(name)
    metrics: Sequence[Metric] = getattr(import_module(entry.module), entry.factory).metrics
    return metrics


def labels_of(name: str) -> Labels:
    """What labels the task ``name`` needs on its records."""
    entry = known(name)
    found: Labels = getattr(import_module(entry.module), entry.factory).labels
    return found


def writes_code(name: str) -> bool:
    """Whether the task ``name`` is a :class:`fedcode.task.Generates`."""
    entry = known(name)
    return hasattr(getattr(import_module(entry.module), entry.factory), "verbatim")


def counts(name: str) -> bool:
    """Whether the task ``name`` is a :class:`fedcode.task.CountTask`."""
    entry = known(name)
    return hasattr(getattr(import_module(entry.module), entry.factory), "counts")


def known(name: str) -> Entry:
    """The table's row for ``name``.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError(f"unknown task {name}", f"known tasks: {', '.join(TASKS)}")
    return TASKS[name]
