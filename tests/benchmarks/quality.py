# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What models learn: every task of :data:`STUDIES` on real data, and the demo's table as figures.

The data lie in the folder that ``FEDCODE_DATA`` names; ``FEDCODE_ONLY`` names one study, or
``demo``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.benchmarks import localization, names, study
from tests.benchmarks.figure import Figure, at_most

STUDIES: Mapping[str, Callable[[Path], Sequence[study.Study]]] = {
    "localization": localization.studies,
    "names": names.studies,
}
"""By the name of the task: what is done with the data that lie in a folder."""


def figures() -> list[Figure]:
    """The studies whose data are there, and the demo."""
    only = os.environ.get("FEDCODE_ONLY", "")
    found: list[Figure] = []
    folder = study.data()
    if folder is None:
        print("quality: studies skipped, set FEDCODE_DATA to the folder of the data sets")
    else:
        for name, studies in STUDIES.items():
            if only in ("", name):
                for one in studies(folder):
                    found += study.figures("quality", one)
    return found + (_demo() if only in ("", "demo") else [])


def _demo() -> list[Figure]:
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
