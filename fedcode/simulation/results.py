# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Puts together what ``result.json`` holds; docs/result.md is its schema."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fedcode.errors import RunError
from fedcode.federation import AggregationSettings, Federation
from fedcode.modes import tradeoff
from fedcode.privacy.assumptions import ADJACENCY, SHOWN, STOPS, assumptions
from fedcode.privacy.calibration import Calibration
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import Corpus, PrivacyUnit
from fedcode.rounds.transcript import Summed, against_sums
from fedcode.simulation.jobs import Job
from fedcode.task import Metric
from fedcode.tasks import known, metrics_of

SCHEMA = "fedcode/result/1"


def assemble(
    federation: Federation,
    private: bool,
    calibration: Calibration | None,
    whole: Mapping[str, Corpus | None],
    population: Mapping[str, int],
    jobs: Sequence[Job],
    done: Mapping[str, dict[str, Any]],
    ledger: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """``result.json`` but for when and how long.

    Args:
        federation: the whole file.
        private: whether members trained under differential privacy.
        calibration: None without privacy.
        whole: every organization as it was read, with what was then removed; None of one whose code
            nobody here knows.
        population: members' privacy units.
        jobs: the arms.
        done: what they have found, by the jobs' names.
        ledger: a row for each account.
    """
    return {
        "schema": SCHEMA,
        "name": federation.name,
        "purpose": federation.purpose,
        "finished": True,
        "simulation": {
            "simulated": True,
            "seeded_noise": private,
            "note": "noise from a seed can be drawn again: repeatable, and it protects nobody"
            if private
            else "no noise: nothing here is private",
        },
        "privacy": _privacy(federation, calibration, _of_sums(federation, jobs, done)),
        "aggregation": _aggregation(federation, private=private),
        "labels": federation.labels.model_dump(
            mode="json", include={"kind", "horizon_days", "later"}
        ),
        "organizations": [
            _organization(federation, name, corpus, population.get(name))
            for name, corpus in whole.items()
        ],
        "ledger": list(ledger),
        "tasks": [
            _task(federation, number, calibration, [j for j in jobs if j.task == t.name], done)
            for number, t in enumerate(federation.tasks)
        ],
    }


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a result folder.

    Raises:
        RunError: it is not there, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read", "is this the --out folder of a run?") from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON", "the file is damaged: run again") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is not a JSON object", "the file is damaged: run again")
    return value


def interval(values: Iterable[float]) -> dict[str, float]:
    """Mean and 95 % t-interval over seeds; low = high = mean for one."""
    from scipy.stats import t

    numbers = list(values)
    mean, half = fmean(numbers), 0.0
    if len(numbers) > 1:
        half = float(t.ppf(0.975, len(numbers) - 1)) * stdev(numbers) / len(numbers) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": len(numbers)}


def _of_sums(
    federation: Federation, jobs: Sequence[Job], done: Mapping[str, dict[str, Any]]
) -> list[dict[str, float]] | None:
    """ε of the main runs of all tasks together, against whoever sees the sums alone."""
    mains = [job for job in jobs if job.folder is not None]
    return _against([one for job in mains for one in done[job.name]["summed"]], federation)


def _against(
    sums: Sequence[Sequence[Any]], federation: Federation
) -> list[dict[str, float]] | None:
    """By the number of members that tell their noise; None where no noises add up."""
    found = [Summed(tuple(names), *rest) for names, *rest in sums]
    if all(one.noises == 1 for one in found):
        return None
    against = against_sums(found, federation.privacy.delta, federation.aggregation.colluding)
    return [{"colluding": c, "epsilon": epsilon} for c, epsilon in against.items()]


def _privacy(
    federation: Federation,
    calibration: Calibration | None,
    of_sums: list[dict[str, float]] | None,
) -> dict[str, Any] | None:
    if calibration is None:
        return None
    return {
        "unit": str(federation.privacy.unit),
        "adjacency": ADJACENCY,
        "epsilon": federation.privacy.epsilon,
        "delta": federation.privacy.delta,
        "accountant": {
            "shown": SHOWN,
            "stops": STOPS,
            "order": calibration.filter.order,
        },
        "epsilon_release": of_sums,
        "assumptions": list(assumptions(federation.privacy.unit)),
    }


def _aggregation(federation: Federation, *, private: bool) -> dict[str, Any]:
    settings = federation.aggregation if private else AggregationSettings(mode="open")
    return {
        **settings.model_dump(mode="json"),
        "tradeoff": tradeoff(settings, len(federation.members)),
    }


def _organization(
    federation: Federation, name: str, corpus: Corpus | None, units: int | None
) -> dict[str, Any]:
    settings = next(o for o in federation.organizations if o.name == name)
    source = settings.source if isinstance(settings.source, str) else list(settings.source)
    named = {"name": name, "source": source, "role": settings.role, "units": units}
    if corpus is None:
        unknown = ("files", "records", "lexer_tokens", "fingerprint", "local")
        return named | dict.fromkeys(unknown)
    return {
        **named,
        "files": len(corpus.files),
        "records": sum(1 for _ in corpus.stream()),
        "lexer_tokens": corpus.lexer_tokens,
        "fingerprint": corpus.fingerprint,
        "local": {
            "duplicates": corpus.duplicates,
            "skipped": [{"path": s.path, "reason": s.reason} for s in corpus.skipped],
            "taken": corpus.taken_by(),
            "languages": _languages(corpus),
            "labelled": sum(record.label is not None for record in corpus.stream()),
            "defective": sum(record.label == 1 for record in corpus.stream()),
        },
    }


def _languages(corpus: Corpus) -> dict[str, int]:
    """Records by language, the most first; those of no known one are left out."""
    found = Counter(record.language for record in corpus.stream() if record.language)
    return dict(found.most_common())


def ledger_rows(federation: Federation, path: Path) -> list[dict[str, Any]]:
    """What the accounts of a simulation's ledger were charged."""
    rows = []
    with BudgetLedger.open(path, read_only=True) as ledger:
        for organization in federation.members:
            for asset in organization.assets:
                account = ledger.account(asset)
                if account is None:
                    continue
                rows.append(
                    {
                        "organization": organization.name,
                        "asset": asset,
                        "epsilon_cap": federation.cap(organization),
                        "epsilon_spent": ledger.epsilon(asset),
                        "charges": ledger.charges(asset),
                        "budget_nano": account.budget.budget_nano,
                        "spent_nano": ledger.spent(asset),
                    }
                )
    return rows


def _task(
    federation: Federation,
    number: int,
    calibration: Calibration | None,
    jobs: Sequence[Job],
    done: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    settings = federation.tasks[number]
    metrics = metrics_of(settings.name)
    main = next(job for job in jobs if job.folder is not None)
    rows = _rows(federation, jobs, done)
    return {
        "name": settings.name,
        "title": known(settings.name).title,
        "rounds_planned": settings.rounds,
        "seconds": sum(done[job.name]["seconds"] for job in jobs),
        "metrics": [
            {
                "key": m.key,
                "title": m.title,
                "lower_is_better": m.lower_is_better,
                "digits": m.digits,
            }
            for m in metrics
        ],
        **_mechanism(federation, calibration, number),
        "weights": done[main.name]["weights"],
        "curves": done[main.name]["rounds"],
        "arms": rows,
        "verdict": verdict(rows, metrics[0]),
    }


def _mechanism(
    federation: Federation, calibration: Calibration | None, number: int
) -> dict[str, Any]:
    if calibration is None:
        names = (
            "noise_multiplier",
            "sampling_rate",
            "steps_per_round",
            "records_per_unit",
            "clipping_norm",
            "clipping",
            "kind",
        )
        return dict.fromkeys(names)
    training = federation.tasks[number].training
    one_record = federation.privacy.unit is PrivacyUnit.FUNCTION
    return {
        "noise_multiplier": calibration.noise_multipliers[number],
        "sampling_rate": training.sampling_rate,
        "steps_per_round": training.steps_per_round,
        "records_per_unit": None if one_record else training.records_per_unit,
        "clipping_norm": training.clipping_norm,
        "clipping": training.clipping,
        "kind": training.kind,
    }


def _rows(
    federation: Federation, jobs: Sequence[Job], done: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    order = ("public", "alone", "federated", "federated-plain", "centralized-plain")
    names = {job.arm.name: job.arm for job in jobs if job.arm and job.arm.key != "baseline"}
    rows = []
    for arm in sorted(names.values(), key=lambda a: order.index(a.key)):
        found = [done[job.name] for job in jobs if job.arm == arm]
        rows.append(
            {
                "key": arm.key,
                "title": arm.title,
                "private": arm.private,
                "epsilon": found[0]["epsilon"],
                "epsilon_release": _against(found[0]["summed"], federation)
                if arm.key == "federated"
                else None,
                "member": arm.members[0] if arm.key == "alone" else None,
                "seeds": [
                    {
                        key: one[key]
                        for key in ("seed", "seconds", "unseen", "by_organization", "local")
                    }
                    for one in found
                ],
                "unseen": _intervals([one["unseen"] for one in found]),
            }
        )
    for job in jobs:
        if job.arm and job.arm.key == "baseline":
            rows += [_baseline(t, row, done[job.name]) for t, row in done[job.name]["rows"].items()]
    return rows


def _baseline(title: str, row: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    seed = {"seed": job["seed"], "seconds": job["seconds"], "local": {"heldout": {}}, **row}
    return {
        "key": "baseline",
        "title": title,
        "private": False,
        "epsilon": None,
        "epsilon_release": None,
        "member": None,
        "seeds": [seed],
        "unseen": _intervals([row["unseen"]]),
    }


def _intervals(figures: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {key: interval(one[key] for one in figures) for key in figures[0]}


def verdict(rows: Sequence[Mapping[str, Any]], metric: Metric) -> list[dict[str, Any]]:
    """What the comparison shows about the federated private model, on unseen organizations.

    A claim holds if it does for the means over the seeds; in how many seeds is said too. There is
    none where nothing was measured.
    """
    if any(metric.key not in seed["unseen"] for row in rows for seed in row["seeds"]):
        return []

    def figures(key: str) -> list[list[float]]:
        """Of every row of this kind, one figure per seed."""
        of_kind = (row["seeds"] for row in rows if row["key"] == key)
        return [[seed["unseen"][metric.key] for seed in seeds] for seeds in of_kind]

    sign = -1 if metric.lower_is_better else 1
    others = {
        "better than the public warm start alone": figures("public"),
        "better than every organization's own private model": figures("alone"),
    }
    claims = []
    for own in figures("federated"):
        for claim, rivals in others.items():
            if not rivals:
                continue
            best = max(rivals, key=lambda rival: sign * fmean(rival))
            mine, other = fmean(own), fmean(best)
            won = sum(
                all(sign * (one - rival[n]) > 0 for rival in rivals) for n, one in enumerate(own)
            )
            detail = f"{mine:.{metric.digits}f} against {other:.{metric.digits}f} {metric.title}"
            if len(own) > 1:
                detail += f"; in {won} of {len(own)} seeds"
            claims.append({"claim": claim, "holds": sign * (mine - other) > 0, "detail": detail})
    return claims
