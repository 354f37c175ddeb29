# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a population's result says of itself, for machines and for people."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.table import Table

from fedcode.simulation.population.guards import Guarantee
from fedcode.simulation.population.settings import PopulationSettings

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
