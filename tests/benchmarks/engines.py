# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The same small federation with its members in memory and on Flower's runtime, in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from tests.benchmarks.figure import Figure
from tests.federation.small import write_federation

_ENGINES = ("memory", "flower")
_ROUNDS, _PAIRS = 12, 3
_MESSAGES = 3 * 5  # of a round: five to each member


def figures(area: str) -> list[Figure]:
    """Whole runs, their rounds, and what one of a round's messages takes more."""
    if find_spec("ray") is None:
        sys.stderr.write("simulation: Ray is not installed: Flower's engine is left out\n")
        return []
    whole: dict[str, list[float]] = {engine: [] for engine in _ENGINES}
    rounds: dict[str, list[float]] = {engine: [] for engine in _ENGINES}
    with tempfile.TemporaryDirectory() as folder:
        toml = write_federation(Path(folder), rounds=_ROUNDS)
        for pair in range(_PAIRS):
            for engine in _ENGINES:
                seconds, each = _run(toml, engine, Path(folder) / f"{engine}-{pair}")
                whole[engine].append(seconds)
                rounds[engine].append(each)
    more = median(b - a for a, b in zip(rounds["memory"], rounds["flower"], strict=True))
    return [
        *(Figure(area, f"engine {e}: {_ROUNDS} rounds", median(s), "s") for e, s in whole.items()),
        *(Figure(area, f"engine {e}: a round", median(s), "s") for e, s in rounds.items()),
        Figure(area, "engine flower: more for each message", 1e3 * more / _MESSAGES, "ms"),
    ]


def _run(toml: Path, engine: str, out: Path) -> tuple[float, float]:
    """Seconds of the run, and of the median round."""
    program = str(Path(sys.executable).parent / "fedcode")
    subprocess.run(
        [program, "simulate", str(toml), "--json", "--engine", engine, "--out", str(out)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "FEDCODE_CACHE": str(toml.parent / "cache")},
    )
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    each = [line["seconds"] for line in result["tasks"][0]["curves"]]
    return result["seconds"], median(each)
