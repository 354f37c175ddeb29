# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Functions a second from files that the page cache holds, read and cut by two processes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from fedcode.corpus.reading import _AT_ONCE, _prepare, _read_some
from fedcode.corpus.sources import Entry
from fedcode.corpus.store import Rows, Writer
from tests.benchmarks.figure import Figure, at_least

MANY = 8_000_000  # bytes of each language
WORKERS = 2
TIMES = 5
WANTED = 15_000

METHOD = """
    /** Gives the {i}th of them. */
    @Override
    public List<String> part{i}(final Map<String, Integer> counts, int limit) throws IOException {{
        List<String> found = new ArrayList<>();
        for (Map.Entry<String, Integer> entry : counts.entrySet()) {{
            if (entry.getValue() > limit && !found.contains(entry.getKey())) {{
                found.add(prefix{i} + entry.getKey().trim()); // as it is written
            }} else {{
                log.debug("left out {{}} of {{}}", entry.getKey(), {i});
            }}
        }}
        return found.isEmpty() ? Collections.emptyList() : found;
    }}
"""

ALONE = """
import re, sys
from fedcode.corpus.reading import _prepare, _read_some
from fedcode.corpus.sources import Entry
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
_prepare()
before = peak()
for line in sys.stdin:
    _read_some([Entry(line.strip(), line.strip())])
print(peak() - before)
"""


def figures() -> list[Figure]:
    """Python, Java, and both in one go; ``FEDCODE_JAVA`` names a folder of Java files."""
    with tempfile.TemporaryDirectory() as folder:
        java = Path(os.environ.get("FEDCODE_JAVA") or _templates(Path(folder)))
        python = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
        some = {"Python": _entries(python, ".py"), "Java": _entries([java], ".java")}
        some["Python and Java"] = [*some["Python"], *some["Java"]]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(WORKERS, context, initializer=_prepare) as pool:
            found = [figure for name in some for figure in _speeds(pool, name, some[name])]
        files = "\n".join(entry.location for entry in some["Python and Java"])
        alone = [sys.executable, "-c", ALONE]
        done = subprocess.run(alone, input=files, capture_output=True, text=True, check=True)
    return [*found, Figure("ingest", "memory that reading adds", int(done.stdout) / 1024, "MiB")]


def _speeds(pool: ProcessPoolExecutor, name: str, entries: list[Entry]) -> list[Figure]:
    # in an order that mixes large and small files, and both languages
    order = sorted(entries, key=lambda e: hashlib.sha256(e.location.encode()).hexdigest())
    chunks = [order[i : i + _AT_ONCE] for i in range(0, len(order), _AT_ONCE)]
    size = sum(Path(entry.location).stat().st_size for entry in order) / 1e6
    speeds, rates, efforts = [], [], []
    for _ in range(TIMES + 1):
        start = time.perf_counter()
        functions, processor, writer = 0, 0.0, Writer(None)
        for results, effort in pool.map(_timed, chunks):
            processor += effort
            rows = Rows(results[0])
            for number in range(len(rows)):  # as the process does that collects what is read
                writer.add(rows.batch.slice(number, 1), rows.row(number).tokens)
            functions += rows.functions
        taken = time.perf_counter() - start
        speeds.append(functions / taken)
        rates.append(size / taken)
        efforts.append(functions / processor)
    del speeds[0], rates[0], efforts[0]  # grammars are loaded in the first run
    note = f"{min(speeds):,.0f} to {max(speeds):,.0f}; {functions:,} functions, {size:.1f} MB"
    title = f"functions of {name}, {WORKERS} processes"
    wanted = name == "Python and Java"
    return [
        at_least("ingest", title, median(speeds), "1/s", WANTED, note)
        if wanted
        else Figure("ingest", title, median(speeds), "1/s", note=note),
        Figure("ingest", f"source code of {name}", median(rates), "MB/s"),
        Figure("ingest", f"functions of {name}, a second of processor", median(efforts), "1/s"),
    ]


def _timed(entries: list[Entry]) -> tuple[list[Any], float]:
    start = time.process_time()
    return _read_some(entries), time.process_time() - start


def _entries(folders: list[Path], suffix: str) -> list[Entry]:
    """Files of a language up to a size, picked by their names' digests."""
    files = [path for folder in folders for path in folder.rglob(f"*{suffix}") if path.is_file()]
    files.sort(key=lambda path: hashlib.sha256(path.name.encode()).hexdigest())
    entries, total = [], 0
    for path in files:
        total += path.stat().st_size
        if total > MANY:
            break
        entries.append(Entry(path.as_posix(), str(path)))
    return entries


def _templates(folder: Path) -> Path:
    for number in range(400):
        methods = "".join(METHOD.format(i=number * 100 + i) for i in range(number % 40 + 5))
        text = f"package made;\n\nimport java.util.*;\n\nclass Part{number} {{\n{methods}}}\n"
        (folder / f"Part{number}.java").write_text(text, encoding="utf-8")
    return folder
