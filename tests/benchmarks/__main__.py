# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks of all areas, or of the one that is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import (
    clipping,
    corpus,
    defects,
    filters,
    ingest,
    labels,
    ledger,
    memory,
    network,
    privacy,
    quality,
    rounds,
    secagg_plus,
    secure_sum,
    simulation,
    training,
)
from tests.benchmarks.figure import Figure

AREAS = {
    "corpus": corpus.figures,
    "ingest": ingest.figures,
    "memory": memory.figures,
    "labels": labels.figures,
    "filters": filters.figures,
    "defects": defects.figures,
    "privacy": privacy.figures,
    "ledger": ledger.figures,
    "training": training.figures,
    "quality": quality.figures,
    "clipping": clipping.figures,
    "simulation": simulation.figures,
    "rounds": rounds.figures,
    "network": network.figures,
    "secagg-plus": secagg_plus.figures,
    "secure-sum": secure_sum.figures,
}


def main(words: list[str]) -> int:
    """Prints a table, writes bench.json; 2 for an area that is not there."""
    unknown = [word for word in words if word not in AREAS]
    if unknown:
        sys.stderr.write(f"bench: unknown area {unknown[0]}\nhint: areas: {', '.join(AREAS)}\n")
        return 2
    console = Console()
    found: list[Figure] = []
    for area in words or AREAS:
        console.print(f"[dim]{area} ...[/]")
        found += AREAS[area]()
    table = Table(box=None, pad_edge=False)
    for title in ("area", "name", "value", "unit", "wanted", "holds", "note"):
        table.add_column(title, justify="right" if title == "value" else "left")
    for figure in found:
        holds = {True: "yes", False: "NO", None: ""}[figure.holds]
        table.add_row(
            figure.area,
            figure.name,
            f"{figure.value:.4g}",
            figure.unit,
            figure.wanted,
            holds,
            figure.note,
        )
    console.print(table)
    Path("bench.json").write_text(
        json.dumps([figure.plain() for figure in found], indent=1) + "\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
