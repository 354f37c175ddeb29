# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the built-in federation learns: the demo's table as figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.figure import Figure, at_most


def figures() -> list[Figure]:
    """Runs the built-in federation with all its arms, as `make demo` does."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(sys.executable).parent / "fedcode"
        done = subprocess.run(
            [str(program), "simulate", "--compare", "--json", "--out", f"{folder}/demo"],
            capture_output=True,
            text=True,
            check=True,
        )
    result = json.loads(done.stdout)
    found = [at_most("quality", "the demo's time after set-up", result["seconds"], "s", 180)]
    for task in result["tasks"]:
        lead = task["metrics"][0]
        for arm in task["arms"]:
            name = f"{task['name']}, {arm['title']}"
            found.append(Figure("quality", name, arm["unseen"][lead["key"]]["mean"], lead["title"]))
        found += [
            Figure("quality", f"{task['name']}: {v['claim']}", v["holds"], "", "yes", v["holds"])
            for v in task["verdict"]
        ]
    return found
