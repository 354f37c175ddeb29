# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What filters take of the standard library by mistake, and what they cost."""

from __future__ import annotations

import sysconfig
import time
from collections import Counter
from pathlib import Path
from statistics import median

from fedcode.corpus import Screen, deduplicate, near_duplicates, read
from fedcode.corpus.files import cut
from fedcode.errors import CorpusError
from fedcode.filters import FilterSettings
from tests.benchmarks.figure import Figure, at_most

TIMES = 5
EVERY = 6  # of the files, where time is measured


def figures() -> list[Figure]:
    """One process; its processor's time."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    files = [p for p in sorted(stdlib.rglob("*.py")) if "site-packages" not in p.parts]
    texts = [path.read_bytes() for path in files]
    return [*_mistakes(texts), *_cost(texts[::EVERY]), *_near()]


def _mistakes(texts: list[bytes]) -> list[Figure]:
    """With its tests: there is no secret in it that opens anything."""
    functions, files = 0, 0
    blocked: Counter[str] = Counter()
    for screen in (None, Screen()):
        for number, text in enumerate(texts):
            try:
                piece = cut(f"{number}.py", text, screen)
            except CorpusError:
                continue
            if screen is None:
                functions += len(piece.functions)
                files += 1
            for filter_ in {(one.filter, one.name) for one in piece.taken}:
                blocked[filter_[0]] += 1
    rate = 100 * blocked["secrets"] / (functions + files)
    note = f"{blocked['secrets']} of {functions:,} functions and {files:,} modules"
    return [
        at_most("filters", "blocked for a secret that is none", rate, "%", 0.1, note),
        *(
            Figure("filters", f"files of the standard library, by {name}", blocked[name], "")
            for name in ("generated", "minified", "licences", "models", "personal")
        ),
    ]


def _cost(texts: list[bytes]) -> list[Figure]:
    off, on = [], []
    for _ in range(TIMES + 1):
        off.append(_seconds(texts, None))
        on.append(_seconds(texts, Screen()))
    ratios = [b / a - 1 for a, b in zip(off[1:], on[1:], strict=True)]
    note = f"{100 * min(ratios):.0f} to {100 * max(ratios):.0f}"
    size = sum(map(len, texts))
    return [
        Figure(
            "filters", "reading with filters takes longer by", 100 * median(ratios), "%", note=note
        ),
        Figure(
            "filters", "filters alone", 1e9 * (median(on[1:]) - median(off[1:])) / size, "ns/byte"
        ),
    ]


def _seconds(texts: list[bytes], screen: Screen | None) -> float:
    start = time.process_time()
    for text in texts:
        try:
            cut("a.py", text, screen)
        except CorpusError:
            continue
    return time.process_time() - start


def _near() -> list[Figure]:
    (corpus,) = deduplicate([read("stdlib", "public")])
    long = len(corpus.records("function"))
    start = time.process_time()
    (rest,) = near_duplicates([corpus], FilterSettings().near)
    taken = time.process_time() - start
    note = f"{len(rest.taken)} of {long:,} taken"
    return [Figure("filters", "functions compared with all before", long / taken, "1/s", note=note)]
