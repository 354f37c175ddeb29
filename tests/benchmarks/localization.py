# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Bug localization on reports of seven projects: one project at a time is left out.

A project is an organization, a report a record. The data lie in ``localization/`` of the folder of
the data sets; docs/results.md says how the settings were chosen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fedcode.corpus import read
from fedcode.corpus.tables import rows
from fedcode.corpus.words import likeness, together
from fedcode.record import Candidate, Corpus, Record, UnitId, Words
from fedcode.tasks import make
from fedcode.tasks.ranking_measures import METRICS
from tests.benchmarks.federated import files_of, trained
from tests.benchmarks.study import Study, Wanted

_PUBLIC_TOKENS = 150_000
_KEYS = tuple(metric.key for metric in METRICS)

SETTINGS: Mapping[str, Any] = {
    "rounds": 30,
    "sampling_rate": 0.5,
    "rate": 0.03,
    "epochs": 40.0,
    "plain_rate": 1e-2,
    "decay": 0.1,
    "model": {},
}


def studies(folder: Path) -> Sequence[Study]:
    """The one study; see the module."""
    reports = _reports(folder / "localization")

    def run(seed: int, epsilon: float | None, permuted: bool) -> tuple[Mapping[str, float], float]:
        return measured(reports, SETTINGS, seed, epsilon, permuted=permuted)

    return [
        Study(
            "localization",
            {
                "map": Wanted(0.62, 0.58),
                "top5": Wanted(0.84, 0.84),
            },
            lambda: _baselines(reports),
            run,
            (0.03, 0.13),
            keys=("mrr", "top1", "top10"),
        )
    ]


def measured(
    reports: Mapping[str, Sequence[Record]],
    settings: Mapping[str, Any],
    seed: int,
    epsilon: float | None,
    *,
    permuted: bool = False,
) -> tuple[Mapping[str, float], float]:
    """Means over all reports, each of a project that was left out; and the most ε spent."""
    totals: defaultdict[str, float] = defaultdict(float)
    spent = 0.0
    for left, own in reports.items():
        members = {name: some for name, some in reports.items() if name != left}
        if permuted:
            draw = np.random.default_rng(seed)
            members = {n: [_permuted(r, draw) for r in some] for n, some in members.items()}
        found = trained(
            members, _tasks(settings, members), seed=seed, epsilon=epsilon, public=_public()
        )
        spent = max(spent, found.spent)
        test = [_permuted(r, np.random.default_rng(seed)) for r in own] if permuted else own
        figures = found.task.measure(found.model, files_of(test))
        for key in _KEYS:
            totals[key] += figures[key] * len(own)
    number = sum(map(len, reports.values()))
    return {key: total / number for key, total in totals.items()}, spent


def _tasks(
    settings: Mapping[str, Any], members: Mapping[str, Sequence[Record]]
) -> list[dict[str, Any]]:
    rate = settings["sampling_rate"]
    reports = sum(map(len, members.values())) / len(members)
    return [
        {
            "name": "localization",
            "rounds": settings["rounds"],
            "model": settings["model"],
            "training": {
                "kind": "gradient-sum",
                "sampling_rate": rate,
                "nominal_batch": max(1, round(rate * reports)),
                "clipping": "normalized",
                "learning_rate": settings["rate"],
            },
            "server": {"algorithm": "fedavgm", "momentum": 0.9},
            "warm_start": {"epochs": 1.0, "batch": 32, "learning_rate": 3e-3},
            "plain": {
                "epochs": settings["epochs"],
                "batch": 16,
                "learning_rate": settings["plain_rate"],
                "weight_decay": settings["decay"],
            },
        }
    ]


@cache
def _public() -> Corpus:
    return read("stdlib", "public", max_tokens=_PUBLIC_TOKENS)


def _permuted(record: Record, draw: np.random.Generator) -> Record:
    """The same report with other files as its right ones."""
    right = draw.permutation([one.right for one in record.candidates])
    dealt = zip(record.candidates, right.tolist(), strict=True)
    return replace(record, candidates=tuple(replace(one, right=there) for one, there in dealt))


def _baselines(reports: Mapping[str, Sequence[Record]]) -> Mapping[str, Mapping[str, float]]:
    task: Any = make("localization", {}, Corpus("nobody", ()))
    every = [record for own in reports.values() for record in own]
    found = task.baselines((), {"all": files_of(every)})
    return {title: own["all"] for title, own in found.items()}


@cache
def _reports(folder: Path) -> Mapping[str, Sequence[Record]]:
    """Reports by project, with what earlier ones of the same project say of their files."""
    blobs = [_words(row) for row in rows(folder / "blobs.jsonl.gz")]
    candidates: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for row in rows(folder / "candidates.csv.gz"):
        candidates[row["project"], str(row["bug_id"])].append(
            Candidate(
                row["path"],
                blobs[int(row["blob"])],
                row["fixed"] == "1",
                int(row["n_changes"]),
                int(row["n_fixes"]),
                _days(row["days_since_change"]),
                _days(row["days_since_fix"]),
            )
        )
    bugs = sorted(rows(folder / "bugs.jsonl.gz"), key=lambda row: (row["project"], row["opened"]))
    found: defaultdict[str, list[Record]] = defaultdict(list)
    for bug in bugs:
        before = [
            o for o in bugs if o["project"] == bug["project"] and o["fix_time"] < bug["opened"]
        ]
        alike = _alike(bug, before)
        key = (bug["project"], str(bug["bug_id"]))
        own = tuple(replace(one, alike=alike[one.path]) for one in candidates[key])
        unit = f"reports/{bug['bug_id']}"
        found[bug["project"].rpartition("/")[2]].append(
            Record(
                UnitId(unit), unit, bug["summary"] or "", "report", tuple(_text(bug).split()), 1,
                candidates=own,
            )
        )  # fmt: skip
    return dict(found)


def _words(row: Mapping[str, Any]) -> Words:
    prose = Counter(row["doc"]) + Counter(row["str"])
    definitions = Counter(part.lower() for name in row["defs"] for part in name.split("."))
    return Words(row["ids"], row["names"], prose, definitions, int(row["loc"]))


def _text(bug: Mapping[str, Any]) -> str:
    return f"{bug['summary'] or ''} {bug['description'] or ''}"


def _alike(bug: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
    """For each file how much the report is like earlier ones that changed it (Zhou et al. 2012)."""
    found: defaultdict[str, float] = defaultdict(float)
    own = together(_text(bug))
    for other in before:
        share = likeness(own, together(_text(other))) / len(other["files"])
        for path in other["files"]:
            found[path] += share
    return found


def _days(text: str | None) -> float | None:
    return float(text) if text else None
