# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The most memory that reading holds, of so many files and of two and four times as many.

Every figure is a process of its own: Linux' VmHWM of the one that keeps the corpus, in MiB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.figure import Figure, at_most

FILES = 1_500
TIMES = (1, 2, 4)
MOST_GROWTH = 1.5
"""Of memory, where there are four times as many files."""

WHAT = {
    "read": "read",
    "exact": "ingested but for near-duplicates",
    "all": "ingested",
}

FUNCTION = '''
def {name}_{i}(counts, limit, *, {word}=None):
    """Gives the {i}th of them."""
    found = []
    for key, {word}_{i} in sorted(counts.items()):
        if {word}_{i} > limit + {i} and key not in found:
            found.append(({word}.prefix, key.strip(), {name}_count({i}, {word}_{i})))
        elif {word} is not None:
            log.debug("left out %s of %s", key, {word}.{name}(limit * {i}))
    return [{word}_{i}(one) for one in found if one.{name} != {i}] or None
'''

ALONE = """
import json, re, sys, time
from pathlib import Path
def status(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
what, source, report = sys.argv[1:]
from fedcode_client.desk import ingest
from fedcode_client.ours import Ours
from fedcode.corpus import Screen
from fedcode.filters import FilterSettings
before = status("VmHWM")
start = time.perf_counter()
screen = Screen(FilterSettings(near_duplicates=what == "all"))
ours = Ours.read("o", [source], workers=2, screen=screen)
read = time.perf_counter() - start
if what == "read":
    functions = sum(r.kind == "function" for f in ours.corpus for r in f.records)
else:
    functions = ingest(ours, None, Path(report)).functions
print(json.dumps([functions, status("VmHWM") - before, read, time.perf_counter() - start]))
"""


def figures() -> list[Figure]:
    """Of reading alone, and of all that ``fedcode-client ingest`` does, cold and from the cache."""
    found = []
    for what, title in WHAT.items():
        for when in ("cold", "from the cache"):
            peaks: list[float] = []
            for times in TIMES:
                functions, peak, read, whole = measured(what, times * FILES)[when]
                peaks.append(peak)
                note = f"{functions:,} functions, read in {read:.1f} s, all in {whole:.1f} s"
                name = f"memory of {times * FILES:,} files {title}, {when}"
                found.append(Figure("memory", name, peak, "MiB", note=note))
            growth = peaks[-1] / peaks[0]
            name = f"growth from {TIMES[0]} to {TIMES[-1]}: {title}, {when}"
            found.append(at_most("memory", name, growth, "times", MOST_GROWTH))
    return found


def measured(what: str, files: int) -> dict[str, Any]:
    """Functions, MiB, seconds of reading and of all."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        make(code, files)
        run = [sys.executable, "-c", ALONE, what, f"path:{code}", f"{folder}/report"]
        own = {**os.environ, "FEDCODE_CACHE": f"{folder}/cache"}
        found = {}
        for when in ("cold", "from the cache"):
            done = subprocess.run(run, env=own, capture_output=True, text=True, check=True)
            found[when] = json.loads(done.stdout)
        return found


def make(folder: Path, files: int) -> None:
    """Python files of nine functions on average, each with words of its own."""
    for number in range(files):
        word = "".join(chr(97 + number // 26**place % 26) for place in range(4))
        name = f"{word[::-1]}_part"
        text = "".join(FUNCTION.format(i=i, name=name, word=word) for i in range(number % 17 + 1))
        place = folder / f"p{number % 40}" / f"{word}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"import log\n{text}", encoding="utf-8")
