# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a population's result says of itself, for machines and for people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.table import Table

from fedcode.simulation.population.engines import Choice
from fedcode.simulation.population.guards import Guarantee, Outcome
from fedcode.simulation.population.settings import PopulationSettings
from fedcode.simulation.population.world import Source
from fedcode.task import Metrics

RESULT_SCHEMA = "fedcode/population/1"

STATEMENTS = {
    "central": "a trusted aggregator sees every member's change as it is, clips it as a whole and "
    "adds noise to the sum: each whole member is protected from whoever sees the weights, and from "
    "nobody else",
    "local": "every member adds its own noise: each of its records is protected from everybody, "
    "the aggregator too",
    "none": "no noise: nothing here is private",
}
"""What each mode means."""

_SEED = "Noise and cohorts come from a seed: repeatable, and they protect nobody."

_ASSUMPTIONS = {
    "central": (
        "The aggregator is trusted: it sees changes without noise, and keeps the cohorts secret.",
        "Each member takes part with the same probability, by a Poisson draw of its own.",
        "If one person's data stand in several members, their ε add up.",
        "ε does not count what was looked at to choose the settings.",
    ),
    "local": (
        "Each member samples, clips and adds noise on its own machine.",
        "That members are asked at random makes no ε smaller here.",
        "If the same record stands in several members, their ε add up.",
        "ε does not count what was looked at to choose the settings.",
    ),
}


def privacy_of(
    settings: PopulationSettings, promised: Guarantee | None, epsilon: float | None
) -> dict[str, Any]:
    """The privacy section; ``epsilon`` is what was spent, of the member that spent most."""
    mode = settings.privacy.mode
    about = {"mode": mode, "statement": STATEMENTS[mode]}
    if promised is None:
        return about
    policy = promised.policy
    return about | {
        "note": _SEED,
        "unit": "member" if mode == "central" else "record",
        "adjacency": "add or remove one unit",
        "epsilon_cap": policy.max_epsilon,
        "epsilon": epsilon,
        "delta": policy.delta,
        "noise_multiplier": policy.noise_multiplier,
        "clipping_norm": policy.clipping_norm,
        "sampling_rate": policy.sampling_rate,
        "steps_per_release": policy.steps_per_round,
        "accountant": {
            "shown": "PLD",
            "stops": "Rényi filter",
            "order": promised.budget.order,
        },
        "assumptions": list(_ASSUMPTIONS[mode]),
    }


def round_line(number: int, seconds: float, figures: Metrics, outcome: Outcome) -> dict[str, Any]:
    """One round as result.json has it."""
    tally = outcome.tally
    local = {
        **asdict(tally),
        "members": outcome.cohort,
        "spent": outcome.spent,
        "loss": tally.loss / tally.trained if tally.trained else None,
    }
    return {"round": number, "seconds": seconds, "metrics": dict(figures), "local": local}


def said(line: dict[str, Any], rounds: int) -> str:
    """One round in a line."""
    local = line["local"]
    parts = [f"cohort {local['members']}", f"{1e3 * line['seconds']:.1f} ms"]
    if local["loss"] is not None:
        parts.append(f"loss {local['loss']:.3f}")
    parts += [f"measured {key} {value:.3f}" for key, value in list(line["metrics"].items())[:2]]
    return f"round {line['round']}/{rounds}: {', '.join(parts)}"


def first_lines(
    settings: PopulationSettings,
    source: Source,
    promised: Guarantee | None,
    choice: Choice,
    weights: int,
) -> list[str]:
    """What there is before the first round."""
    lines = [
        f"{settings.name}: {source.about}; {settings.cohort} a round on average train "
        f"{source.task}, {weights:,} weights",
        privacy_of(settings, promised, 0.0)["statement"],
    ]
    if promised is not None:
        policy = promised.policy
        lines.append(
            f"privacy: ε ≤ {policy.max_epsilon:g}, δ = {policy.delta:g}, "
            f"noise multiplier {policy.noise_multiplier:.2f}"
        )
    times = ", ".join(f"{key} {value:.2f}" for key, value in choice.milliseconds.items())
    measured = f" (ms a member: {times})" if times else ""
    return [*lines, f"engine: {choice.engine}, {choice.why}{measured}"]


def summary(result: dict[str, Any], folder: Path) -> Table:
    """The final table."""
    rounds, privacy = result["rounds"], result["privacy"]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    cohort = fmean(line["local"]["members"] for line in rounds)
    each = 1e3 * median(line["seconds"] for line in rounds) / max(1.0, cohort)
    table.add_row("population", f"{result['population']['about']}, {result['weights']:,} weights")
    table.add_row("rounds", f"{len(rounds)}, of {cohort:.1f} members on average")
    seconds = f"{result['seconds_to_first_round']:.1f} s to the first round"
    engine, total = result["engine"]["engine"], f"{result['seconds']:.1f} s in all"
    table.add_row("time", f"{each:.3f} ms a member ({engine}), {seconds}, {total}")
    for metric in result["metrics"][:2]:
        value = rounds[-1]["metrics"].get(metric["key"])
        if value is not None:
            table.add_row(metric["title"], f"{value:.4f} on what is held out")
    if "epsilon" in privacy:
        table.add_row(
            "privacy",
            f"ε {privacy['epsilon']:.2f}, cap {privacy['epsilon_cap']:.2f}, δ "
            f"{privacy['delta']:g}, {privacy['unit']}, {privacy['adjacency']}, PLD",
        )
        table.add_row("", privacy["note"])
    table.add_row(privacy["mode"], privacy["statement"])
    ledger = ", ledger.sqlite" if "epsilon" in privacy else ""
    beside = f"manifest.json, weights.safetensors{ledger}"
    table.add_row("result", f"{folder / 'result.json'}  (beside it: {beside})")
    return table
