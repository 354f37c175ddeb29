# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A realistic result and manifest, made from fixed numbers; the names are meant to hurt."""

from __future__ import annotations

from typing import Any

from fedcode.federation import AggregationSettings
from fedcode.groups import threshold
from fedcode.modes import tradeoff

HOSTILE = "<script>alert('x')</script>&\""
MEMBERS = ("flwr", "networkx", "numpy", "pydantic", "sqlalchemy", "sympy")
UNSEEN = ("click", "httpx")
ROUNDS, STOPS_AFTER, SEEDS = 12, 4, (1, 2, 3)

_COMPLETION = [
    ("bits", "Bits per lexer token", True, 3, 6.02),
    ("bits_cached", "Bits, with file cache", True, 3, 4.31),
    ("top1", "Top-1", False, 3, 0.412),
    ("top5", "Top-5", False, 3, 0.587),
    ("top10", "Top-10", False, 3, 0.641),
    ("mrr", "MRR", False, 3, 0.493),
    ("identifier_top1", "Identifiers, top-1", False, 3, 0.183),
    ("identifier_mrr", "Identifiers, MRR", False, 3, 0.254),
]
_DEFECTS = [
    ("auc", "AUC", False, 3, 0.684),
    ("average_precision", "Average precision", False, 3, 0.653),
    ("mcc", "MCC", False, 3, 0.271),
    ("recall20", "Recall at 20 % of lines", False, 3, 0.332),
]
# How much worse than the federated run with privacy, as a share of the leading figure.
_ARMS = [
    ("public", "public warm start", False, None, None, 0.078),
    *(
        ("alone", f"alone, {member}", True, 7.96, member, 0.045 + 0.006 * place)
        for place, member in enumerate(MEMBERS)
    ),
    ("federated", "federated", True, 7.96, None, 0.0),
    ("federated-plain", "federated, no privacy", False, None, None, -0.071),
    ("centralized-plain", "centralized, no privacy", False, None, None, -0.088),
]
_BASELINES = {
    "completion": [("baseline", "Kneser–Ney 5-gram", False, None, None, 0.2)],
    "defects": [
        ("baseline", "lines of code only", False, None, None, 0.21),
        ("baseline", "bag of tokens", False, None, None, 0.09),
    ],
}


def result(*, hostile: bool = False, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """What ``result.json`` holds; ``hostile`` puts markup wherever an organization has a say."""
    bad = HOSTILE if hostile else ""
    members = [name + (bad if name == "numpy" else "") for name in MEMBERS]
    tasks = [
        _task("completion", "Code completion", _COMPLETION, members, seeds, 0),
        _task("defects", "Defect prediction", _DEFECTS, members, seeds, 1),
    ]
    last = tasks[-1]["curves"][-1]["epsilon"]
    return {
        "schema": "fedcode/result/1",
        "name": "demo",
        "purpose": "research",
        "created": "2026-03-02T09:14:55Z",
        "seconds": 171.4,
        "finished": True,
        "simulation": {"seeded_noise": False, "note": ""},
        "privacy": {
            "unit": "function",
            "adjacency": "add or remove one",
            "epsilon": 8.0,
            "delta": 1e-5,
            "accountant": {"shown": "PLD", "stops": "Rényi filter", "order": 4.5},
            "assumptions": [
                "noise and sampling are secret: nobody else learns the generator's state",
                "every record belongs to exactly one function",
            ],
        },
        "aggregation": {
            "mode": "secagg",
            "tradeoff": tradeoff(AggregationSettings(), len(MEMBERS)),
        },
        "labels": {"kind": "history", "horizon_days": 365, "later": "2024-01-31"},
        "organizations": [
            {
                "name": name,
                "source": f"package:{name}",
                "role": "train" if name in members else "unseen",
                "files": 40 + 31 * place,
                "records": 610 + 977 * place,
                "lexer_tokens": 60_400 + 81_233 * place,
                "fingerprint": f"{place:064x}",
                "local": {
                    "duplicates": 55 + 17 * place,
                    "languages": {"python": 600 + 977 * place, "go": 10},
                    "labelled": 500 * place,
                    "defective": 61 * place,
                    "taken": {"secrets": place, "near_duplicates": 12},
                    "skipped": [
                        {"path": f"{name}/tests/bad_{n}{bad}.py", "reason": "syntax error"}
                        for n in range(3 if place == 2 else 0)
                    ],
                },
            }
            for place, name in enumerate([*members, *UNSEEN])
        ],
        "ledger": [
            {
                "organization": name,
                "asset": f"folder:{place:016x}{bad}",
                "epsilon_cap": _cap(name),
                "epsilon_spent": last[name],
                "charges": 24 if _cap(name) == 8.0 else STOPS_AFTER,
                "budget_nano": 1_000_000_000,
                "spent_nano": 994_000_000,
            }
            for place, name in enumerate(members)
        ],
        "tasks": tasks,
    }


def manifest() -> dict[str, Any]:
    """What ``manifest.json`` holds."""
    return {
        "schema": "fedcode/manifest/1",
        "created": "2026-03-02T09:12:03Z",
        "command": "fedcode simulate --compare --seeds 3",
        "federation": {"name": "demo"},
        "seed": 1,
        "hardware": {
            "processor": "x86_64",
            "cores": 2,
            "memory_gib": 4.0,
            "accelerator": None,
        },
        "platform": {"system": "Linux-6.1", "python": "3.11.9", "fedcode": "0.1.0"},
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "packages": {f"package-{n:03}": f"1.{n}" for n in range(90)},
        "fingerprints": {name: f"{n:064x}" for n, name in enumerate(MEMBERS)},
        "weights": {"completion": ["a" * 64, "b" * 64], "defects": ["c" * 64]},
        "seeded_noise": False,
    }


def _cap(member: str) -> float:
    """One member holds a lower cap than the federation's."""
    return 3.0 if member == "networkx" else 8.0


def _task(
    name: str,
    title: str,
    metrics: list[tuple[str, str, bool, int, float]],
    members: list[str],
    seeds: tuple[int, ...],
    turn: int,
) -> dict[str, Any]:
    arms = [*_ARMS[:1], *_BASELINES[name], *_ARMS[1:]]
    return {
        "name": name,
        "title": title,
        "rounds_planned": ROUNDS,
        "seconds": 88.2,
        "metrics": [
            {"key": key, "title": long, "lower_is_better": lower, "digits": digits}
            for key, long, lower, digits, _ in metrics
        ],
        "noise_multiplier": 1.2345,
        "sampling_rate": 0.08,
        "steps_per_round": 8,
        "clipping_norm": 1.0,
        "clipping": "normalized",
        "weights": 412_672,
        "curves": [_round(n, metrics, members, turn) for n in range(1, ROUNDS + 1)],
        "arms": [_arm(arm, metrics, members, seeds) for arm in arms],
        "verdict": [
            {
                "claim": "better than the public warm start",
                "holds": True,
                "detail": "federated 6.020, public warm start 6.490",
            },
            {
                "claim": "better than every organization alone",
                "holds": turn == 0,
                "detail": "federated 6.020, best alone 6.291",
            },
        ],
    }


def _value(base: float, lower: bool, worse: float) -> float:
    return base * (1 + worse if lower else 1 - worse)


def _round(
    number: int, metrics: list[tuple[str, str, bool, int, float]], members: list[str], turn: int
) -> dict[str, Any]:
    here = [m for m in members if m != "networkx" or number + ROUNDS * turn <= STOPS_AFTER]
    total = (number + ROUNDS * turn) / (2 * ROUNDS)
    spent = dict.fromkeys(here, 7.96 * total**0.6)
    stopped = 7.96 * (STOPS_AFTER / (2 * ROUNDS)) ** 0.6
    spent |= {m: stopped for m in members if m not in here}
    return {
        "round": number,
        "metrics": {
            key: _value(base, lower, 0.07 * (1 - number / ROUNDS) ** 1.5)
            for key, _, lower, _, base in metrics
        },
        "survivors": here,
        "refusals": {m: "budget" for m in members if m not in here},
        "epsilon": spent,
        "seconds": 6.4,
        "local": {
            m: {"loss": 4.0 - 0.1 * number, "examples": 512, "empty_steps": 0, "left_out": 0}
            for m in here
        },
        "sums": [_sum(here, members if number + ROUNDS * turn == STOPS_AFTER + 1 else here)],
    }


def _sum(here: list[str], asked: list[str]) -> dict[str, Any]:
    """A secure sum that who has no budget left drops out of, when it should train."""
    return {
        "members": asked,
        "threshold": threshold(len(asked)),
        "lost": {m: {"step": "masked", "why": "budget"} for m in asked if m not in here},
        "sharers": asked,
        "survivors": here,
        "self_masks": here,
        "keys": [m for m in asked if m not in here],
        "confirmations": ["00" * 300] * len(here),
        "seconds": dict.fromkeys(("keys", "shares", "masked", "confirmation", "reveal"), 0.2),
        "aborted": "",
        "blamed": [],
    }


def _arm(
    arm: tuple[str, str, bool, float | None, str | None, float],
    metrics: list[tuple[str, str, bool, int, float]],
    members: list[str],
    seeds: tuple[int, ...],
) -> dict[str, Any]:
    key, title, private, epsilon, member, worse = arm
    if member is not None:
        member = next(m for m in members if m.startswith(member))
        title = f"alone, {member}"
    means = {k: _value(base, lower, worse) for k, _, lower, _, base in metrics}
    half = 0.027 if len(seeds) > 1 else 0.0
    return {
        "key": key,
        "title": title,
        "private": private,
        "epsilon": epsilon,
        "member": member,
        "seeds": [
            {
                "seed": seed,
                "seconds": 40.0,
                "unseen": means,
                "by_organization": dict.fromkeys(UNSEEN, means),
                "local": {"heldout": {} if key == "baseline" else dict.fromkeys(members, means)},
            }
            for seed in seeds
        ],
        "unseen": {
            k: {"mean": v, "low": v - half, "high": v + half, "seeds": len(seeds)}
            for k, v in means.items()
        },
    }
