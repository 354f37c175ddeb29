# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Defect models of the field on real labels: classes of PROMISE, functions of Python projects.

The data lie in the folder that ``FEDCODE_DATA`` names, repositories whose commits are records in
that of ``FEDCODE_REPOSITORIES``. Splits are temporal (PROMISE: a later release than all that is
trained on of its project) or leave a project out (Python, commits). One project is one
organization; private training is the rounds, the secure sum and the ledger of a simulation, all
phases on one budget. Nothing here was chosen on what is measured: see docs/results.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedcode.corpus import commits
from fedcode.corpus.past import Rules
from fedcode.corpus.revisions import revision
from fedcode.corpus.tables import corpus, rows
from fedcode.federation import TableColumns
from fedcode.record import Metrics, Record
from fedcode.tasks.belief import BeliefTask
from fedcode.tasks.defect_measures import (
    field_measures,
    intervals,
    lines_baseline,
    numbers_baseline,
    tokens_baseline,
)
from tests.benchmarks.federated import files_of, trained
from tests.benchmarks.figure import Figure, at_least

AREA = "defects"
SEEDS = (1, 2, 3)
EPSILON = 8.0

_METRICS = (
    *("wmc", "dit", "noc", "cbo", "rfc", "lcom", "ca", "ce", "npm", "lcom3", "loc", "dam", "moa"),
    *("mfa", "cam", "ic", "cbm", "amc", "max_cc", "avg_cc"),
)
_OWN_METRICS = ("args", "branches", "calls", "returns", "assigns", "nesting")
Chances = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained on, by organization, and what is measured, by name."""

    train: Mapping[str, Sequence[Record]]
    test: Mapping[str, Sequence[Record]]


def figures() -> list[Figure]:
    """All of it; ``FEDCODE_SEEDS`` for fewer seeds, ``FEDCODE_ONLY`` for one of the three."""
    torch.set_num_threads(1)
    only = os.environ.get("FEDCODE_ONLY", "")
    found: list[Figure] = []
    if folder := _named("FEDCODE_DATA", "the data sets"):
        if only in ("", "promise"):
            found += _rows("PROMISE", _promise(folder), _PROMISE, (0.78, 0.60, None), 0.75)
        if only in ("", "python"):
            found += _rows("Python", _python(folder), _PYTHON, (0.75, None, 0.38), 0.72)
    if only in ("", "commits") and (folder := _named("FEDCODE_REPOSITORIES", "repositories")):
        found += _rows("commits", _commits(folder), _COMMITS, (None, None, None), None)
    return found


def _named(variable: str, what: str) -> Path | None:
    folder = os.environ.get(variable)
    if folder is None or not Path(folder).is_dir():
        print(f"defects: skipped, set {variable} to the folder of {what}")
        return None
    return Path(folder)


def _rows(
    name: str,
    splits: Sequence[Split],
    model: Mapping[str, Any],
    wanted: tuple[float | None, float | None, float | None],
    wanted_private: float | None,
) -> Iterator[Figure]:
    """The baselines, the network without and with privacy, and with permuted labels."""
    for title, baseline in (
        ("lines", lines_baseline),
        ("numbers", numbers_baseline),
        ("tokens", tokens_baseline),
    ):
        found: dict[str, Mapping[str, float]] = {}
        for split in splits:
            everyone = [r for own in split.train.values() for r in own]
            test = {test: files_of(own) for test, own in split.test.items()}
            found |= baseline(files_of(everyone), test, field_measures)
        for key in ("auc", "f1", "recall20_density"):
            yield Figure(AREA, f"{name}, {title}: {key}", _mean(found, key), "")
    seeds = SEEDS[: int(os.environ.get("FEDCODE_SEEDS", len(SEEDS)))]
    for private in (False, True):
        title = f"{name}, belief network, " + (f"ε ≤ {EPSILON:g}" if private else "no privacy")
        runs = [_trained(splits, model, seed, private=private) for seed in seeds]
        for key, least in zip(("auc", "f1", "recall20_density"), wanted, strict=True):
            least = (wanted_private if key == "auc" else None) if private else least
            values = [_mean(by_name, key) for by_name, _ in runs]
            note = f"± {stdev(values):.3f} over {len(seeds)} seeds" if len(seeds) > 1 else ""
            figure = f"{title}: {key}"
            if least is None:
                yield Figure(AREA, figure, mean(values), "", note=note)
            else:
                yield at_least(AREA, figure, mean(values), "", least, note)
        for key in ("average_precision", "mcc", "recall20", "ifa"):
            value = mean(_mean(by_name, key) for by_name, _ in runs)
            yield Figure(AREA, f"{title}: {key}", value, "")
        for test in runs[0][0]:
            values = [by_name[test]["auc"] for by_name, _ in runs]
            low, high = runs[0][0][test]["low"], runs[0][0][test]["high"]
            note = f"95 % of the bootstrap of seed {seeds[0]}: {low:.3f} to {high:.3f}"
            yield Figure(AREA, f"{title}: auc of {test}", mean(values), "", note=note)
        if private:
            spent = max(epsilon for _, epsilon in runs)
            yield Figure(AREA, f"{title}: ε spent by a member, all phases", spent, "")
    for private in (False, True):
        values = []
        for seed in seeds:
            permuted = [_permuted(split, seed) for split in splits]
            by_name, _ = _trained(permuted, model, seed, private=private)
            values.append(_mean(by_name, "auc"))
        figure = f"{name}, all labels permuted, " + ("ε" if private else "no privacy") + ": auc"
        value = mean(values)
        yield Figure(AREA, figure, value, "", ".47 to .53", 0.47 <= value <= 0.53)


def _mean(by_name: Mapping[str, Mapping[str, float]], key: str) -> float:
    return mean(found[key] for found in by_name.values())


def _permuted(split: Split, seed: int) -> Split:
    """All labels dealt out anew within each organization and each release."""
    draw = np.random.default_rng(seed)

    def dealt(own: Sequence[Record]) -> list[Record]:
        labels = draw.permutation([r.label for r in own])
        return [replace(r, label=int(label)) for r, label in zip(own, labels, strict=True)]

    train, test = (
        {name: dealt(own) for name, own in part.items()} for part in (split.train, split.test)
    )
    return Split(train, test)


def _trained(
    splits: Sequence[Split], model: Mapping[str, Any], seed: int, *, private: bool
) -> tuple[dict[str, dict[str, float]], float]:
    """Figures of every test set, and the largest ε that a member spent."""
    found: dict[str, dict[str, float]] = {}
    spent = 0.0
    for split in splits:
        task, network, epsilon = _network(split, model, seed, private=private)
        spent = max(spent, epsilon)
        for test, records in split.test.items():
            chances = task.chances(network, records)
            found[test] = dict(field_measures(chances, records))
            low, high = intervals(_auc, chances, records, times=200, seed=seed)["auc"]
            found[test] |= {"low": low, "high": high}
    return found, spent


def _auc(chances: Chances, records: Sequence[Record]) -> Mapping[str, float]:
    from sklearn.metrics import roc_auc_score

    return {"auc": float(roc_auc_score([r.label for r in records], chances))}


def _network(
    split: Split, model: Mapping[str, Any], seed: int, *, private: bool
) -> tuple[BeliefTask, torch.nn.Module, float]:
    """Both phases on one ledger: the second starts from the first one's weights."""
    found = trained(
        split.train,
        _tasks(split, model, private=private),
        seed=seed,
        epsilon=EPSILON if private else None,
    )
    return found.task, found.model, found.spent


def _tasks(split: Split, model: Mapping[str, Any], *, private: bool) -> list[dict[str, Any]]:
    units = sum(map(len, split.train.values())) / len(split.train)
    first, second = model["rounds"]
    rate = model["sampling_rate"]
    training = {
        "kind": "gradient-sum",
        "sampling_rate": rate,
        "nominal_batch": max(1, round(rate * units)),
        "clipping": "normalized",
        "physical_batch": 4096,
    }
    shared = {
        "model": model["private" if private else "plain"],
        "server": {"algorithm": "fedavgm", "momentum": 0.9},
    }
    return [
        {
            **shared,
            "name": "belief-1",
            "warm_start": {"epochs": 0.0},
            "rounds": first,
            "budget_share": model["share"],
            "training": training | {"learning_rate": 1.0},
            "plain": {"epochs": 5.0, "batch": 64, "learning_rate": 3e-3},
        },
        {
            **shared,
            "name": "defects-belief",
            "continues": "belief-1",
            "rounds": second,
            "budget_share": 1 - model["share"],
            "training": training | {"learning_rate": model["rate"]},
            "plain": {
                "epochs": model["epochs"],
                "batch": 64,
                "learning_rate": 3e-3,
                "weight_decay": model["decay"],
            },
        },
    ]


# PROMISE: two federations, for of four projects two later releases are measured.

_PAIRS = (
    {"ant": "1.5 1.6", "camel": "1.2 1.4", "jedit": "3.2 4.0", "lucene": "2.0 2.2",
     "synapse": "1.0 1.1"},
    {"ant": "1.6 1.7", "camel": "1.4 1.6", "jedit": "4.0 4.1", "lucene": "2.2 2.4"},
)  # fmt: skip
_BEFORE = {"ant": ("1.3", "1.4", "1.5"), "camel": ("1.0", "1.2"), "poi": ("2.0",)}
_PROMISE_UNITS = {"features": _METRICS, "hidden": [64], "std": 0.1, "prior": 0.2}
_PROMISE: Mapping[str, Any] = {
    "plain": {**_PROMISE_UNITS, "words": 512, "folders": 256},
    "private": {**_PROMISE_UNITS, "words": 128, "folders": 128},
    "rounds": (10, 30),
    "sampling_rate": 0.5,
    "share": 0.15,
    "rate": 4.0,
    "epochs": 40.0,
    "decay": 3.0,
}


def _promise(folder: Path) -> list[Split]:
    known = _classes(folder / "promise")
    synapse = ("1.0",)
    first = {**_BEFORE, "jedit": ("3.2",), "lucene": ("2.0",), "synapse": synapse}
    second = {
        **_BEFORE,
        "ant": (*_BEFORE["ant"], "1.6"),
        "camel": (*_BEFORE["camel"], "1.4"),
        "jedit": ("3.2", "4.0"),
        "lucene": ("2.0", "2.2"),
        "synapse": synapse,
    }
    return [
        Split(
            {
                project: [r for one in own for r in known[project, one]]
                for project, own in t.items()
            },
            {
                f"{project} {pair.split()[1]}": known[project, pair.split()[1]]
                for project, pair in pairs.items()
            },
        )
        for t, pairs in zip((first, second), _PAIRS, strict=True)
    ]


def _classes(folder: Path) -> dict[tuple[str, str], list[Record]]:
    """The classes with tokens, by project and release, with their metrics."""
    columns = TableColumns(
        kind="class",
        name="class",
        label="bugs",
        ast="tokens",
        kinds="kinds",
        repository="project",
        apart=("project", "release"),
    )
    metrics = {
        (row["project"], row["release"], row["class"]): row
        for row in rows(folder / "metrics.csv.gz")
    }
    table = folder / "ast_tokens.jsonl.gz"
    found: dict[tuple[str, str], list[Record]] = {}
    for project, release in sorted({key[:2] for key in metrics}):
        chosen = {"project": project, "release": release}
        if (project, release) not in _with_tokens(table):
            continue
        for record in corpus(table, project, columns, chosen).records():
            row = metrics[project, release, record.name]
            numbers = tuple((name, float(row[name] or 0)) for name in _METRICS)
            lines = int(float(row["loc"]))
            own = replace(record, lines=lines, features=numbers)
            found.setdefault((project, release), []).append(own)
    return found


@cache
def _with_tokens(table: Path) -> frozenset[tuple[str, str]]:
    return frozenset((row["project"], row["release"]) for row in rows(table))


# Python: one project is left out at a time. The history of a function is left out as well: with it,
# a logistic regression was worse on inner projects of 10 of the 11 training sets.

_PYTHON_UNITS = {"hidden": [64], "std": 0.1, "prior": 0.15, "folders": 0}
_PYTHON: Mapping[str, Any] = {
    "plain": {**_PYTHON_UNITS, "words": 128},
    "private": {**_PYTHON_UNITS, "words": 64},
    "rounds": (10, 30),
    "sampling_rate": 0.2,
    "share": 0.15,
    "rate": 4.0,
    "epochs": 5.0,
    "decay": 1.0,
}
_FEWEST_DEFECTS = 15


def _python(folder: Path) -> list[Split]:
    columns = TableColumns(
        name="name", path="path", lines="loc", ast="tokens", kinds="kinds",
        apart=("repo", "snapshot"), repository="repo",
    )  # fmt: skip
    table = folder / "defects_python" / "functions.jsonl.gz"
    sizes = {
        (r["repo"], r["snapshot"], r["path"], r["name"]): [int(r[n]) for n in _OWN_METRICS]
        for r in rows(table)
    }
    by_snapshot: dict[tuple[str, str], list[Record]] = {}
    for record in corpus(table, "python", columns, {}).records():
        repository, snapshot = record.unit.split("::")[:2]
        size = Metrics(*sizes[repository, snapshot, record.path, record.name])
        by_snapshot.setdefault((repository, snapshot), []).append(replace(record, metrics=size))
    names = sorted({repository for repository, _ in by_snapshot})

    def of(repository: str) -> list[Record]:
        return [r for (own, _), found in by_snapshot.items() if own == repository for r in found]

    splits = []
    for left_out in names:
        test = {
            f"{left_out} {snapshot}": found
            for (own, snapshot), found in by_snapshot.items()
            if own == left_out and sum(r.label or 0 for r in found) >= _FEWEST_DEFECTS
        }
        train = {_name(one): of(one) for one in names if one != left_out}
        if test:
            splits.append(Split(train, test))
    return splits


def _name(repository: str) -> str:
    return repository.partition("/")[2]


# Commits: one repository is left out at a time.

_COMMIT_UNITS = {
    "features": commits.FEATURES,
    "hidden": [64],
    "std": 0.1,
    "prior": 0.25,
    "folders": 0,
}
_COMMITS: Mapping[str, Any] = {
    **_PYTHON,
    "plain": {**_COMMIT_UNITS, "words": 128},
    "private": {**_COMMIT_UNITS, "words": 64},
}
_HORIZON = 365


def _commits(folder: Path) -> list[Split]:
    """Commits up to a year before the last one, each with whether a fix followed within a year."""
    known: dict[str, list[Record]] = {}
    for one in sorted(folder.iterdir()):
        last = revision(str(one)).moment
        day = datetime.fromtimestamp(last, UTC).date() - timedelta(days=_HORIZON + 1)
        found, _ = commits.read_commits(revision(f"{one}@{day}"), one.name, Rules(horizon=_HORIZON))
        known[one.name] = found.records()
    return [
        Split({name: own for name, own in known.items() if name != left}, {left: known[left]})
        for left in known
    ]
