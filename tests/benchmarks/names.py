# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Names of functions and classes, on packages of organizations that nothing was trained on.

The wheels that the data sets' ``pypi/wheels.txt`` pins lie in the folder that ``FEDCODE_WHEELS``
names. One package is one organization; equal bodies count once, where they are measured first. The
settings are first ones: nothing was chosen on the packages to choose on yet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from fedcode.corpus import read, without
from fedcode.record import Corpus, Record
from fedcode.tasks import make
from fedcode.tasks.naming import OWNER, question
from tests.benchmarks.federated import files_of, trained
from tests.benchmarks.study import Study, Wanted

MEMBERS = ("celery", "dask", "docutils", "networkx", "nltk", "twisted")
UNSEEN = ("boltons", "fsspec", "hypothesis")

_WANTED = {
    "names-bilinear": Wanted(0.17, 0.12),
    "names-attention": Wanted(0.25, 0.18),
}


def studies(_folder: Path) -> Sequence[Study]:
    """One for each of the two tasks; none where the wheels are not there."""
    wheels = Path(os.environ.get("FEDCODE_WHEELS", ""))
    if not os.environ.get("FEDCODE_WHEELS") or not wheels.is_dir():
        print("names: skipped, set FEDCODE_WHEELS to the folder of the wheels")
        return []
    return [
        Study(
            task,
            {"f1": wanted},
            partial(_baselines, wheels, task),
            partial(measured, wheels, task),
            (0.0, 0.05),
            keys=("exact", "class_f1"),
        )
        for task, wanted in _WANTED.items()
    ]


def measured(
    wheels: Path, task: str, seed: int, epsilon: float | None, permuted: bool
) -> tuple[Mapping[str, float], float]:
    """Figures on the unseen packages together, and the most ε that a member spent."""
    public, packages = records(wheels)
    members = {name: packages[name] for name in MEMBERS}
    if permuted:
        draw = np.random.default_rng(seed)
        members = {name: _permuted(own, draw) for name, own in members.items()}
        public = Corpus("public", files_of(_permuted(public.records(), draw)))
    found = trained(members, [_task(task, members)], seed=seed, epsilon=epsilon, public=public)
    test = files_of([record for name in UNSEEN for record in packages[name]])
    return found.task.measure(found.model, test), found.spent


def _task(name: str, members: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    rate = 0.1
    size = sum(map(len, members.values())) / len(members)
    return {
        "name": name,
        "rounds": 30,
        "training": {
            "kind": "gradient-sum",
            "sampling_rate": rate,
            "nominal_batch": round(rate * size),
            "clipping": "normalized",
        },
        "server": {"algorithm": "fedadam", "learning_rate": 1e-3, "tau": 1e-6},
        "warm_start": {"epochs": 5.0, "batch": 64, "learning_rate": 2e-3, "weight_decay": 0.01},
        "plain": {"epochs": 3.0, "batch": 64, "learning_rate": 1e-3, "weight_decay": 0.01},
    }


@cache
def records(wheels: Path) -> tuple[Corpus, Mapping[str, Sequence[Record]]]:
    """Public code, and of each package the records that ask for a name, equal bodies once."""
    names = (*UNSEEN, *MEMBERS)
    packages = {n: read(f"wheel:{next(wheels.glob(f'{n}-*'))}", n) for n in names}
    public = without(read("stdlib", "public"), list(packages.values()))
    seen: set[tuple[str, tuple[str, ...]]] = set()
    found: dict[str, list[Record]] = {name: [] for name in names}
    for name, corpus in packages.items():
        for record in corpus.stream():
            asked = question(record)
            if asked is None:
                continue
            pairs = zip(asked.words, asked.parts, strict=True)
            body = (asked.kind, tuple(word for word, part in pairs if part > OWNER))
            if body not in seen:
                seen.add(body)
                found[name].append(record)
    return public, found


def _permuted(own: Sequence[Record], draw: np.random.Generator) -> list[Record]:
    """The same functions with one another's names; what they stand in stays, and no class asks."""
    functions = [record for record in own if record.kind == "function"]
    names = draw.permutation([_own_name(record) for record in functions]).tolist()
    return [_renamed(record, name) for record, name in zip(functions, names, strict=True)]


def _own_name(record: Record) -> str:
    return record.name.partition("#")[0].rpartition(".")[2]


def _renamed(record: Record, name: str) -> Record:
    own = _own_name(record)
    scope = record.name.partition("#")[0].removesuffix(own)
    tokens = tuple(name if token == own else token for token in record.tokens)
    return replace(record, name=scope + name, tokens=tokens)


def _baselines(wheels: Path, task: str) -> Mapping[str, Mapping[str, float]]:
    public, packages = records(wheels)
    known: Any = make(task, {}, public)
    train = files_of([record for name in MEMBERS for record in packages[name]])
    test = files_of([record for name in UNSEEN for record in packages[name]])
    return {title: one["all"] for title, one in known.baselines(train, {"all": test}).items()}
