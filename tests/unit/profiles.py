# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Corpora whose lengths, words and labels are drawn from a distribution that a test names."""

from __future__ import annotations

import random

from fedcode.record import Record, SourceFile, UnitId

WORDS = [f"word{n}" for n in range(400)]


def record(path, name, tokens, **more):
    return Record(UnitId(f"{path}::{name}"), path, name, "function", tuple(tokens), 3, **more)


def drawn(
    seed, files=60, each=8, *, mean=40.0, words=WORDS, labelled=False, defective=0.1, prefix="f"
):
    """Files of functions: log-normal lengths, words of falling frequency, labels by a coin."""
    draw = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(words))]
    made = []
    for number in range(files):
        path, records = f"{prefix}{number}.py", []
        for place in range(each):
            length = max(2, round(draw.lognormvariate(0, 0.7) * mean))
            tokens = draw.choices(words, weights, k=length)
            label = int(draw.random() < defective) if labelled else None
            records.append(record(path, f"g{place}", tokens, label=label))
        whole = tuple(token for one in records for token in one.tokens)
        made.append(SourceFile(path, whole, tuple(records)))
    return made
