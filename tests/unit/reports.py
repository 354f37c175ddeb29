# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Made-up reports of bugs, and functions that stand for them."""

import numpy as np

from fedcode.corpus import parse
from fedcode.record import Candidate, Corpus, Record, UnitId, Words

TOPICS = ("parser", "socket", "cache", "index", "matrix", "buffer", "signal", "schema")
CODE = """
def {verb}_{noun}(value, limit):
    {noun}_total = value + limit
    for {noun}_one in range(limit):
        if {noun}_one > {noun}_total:
            {verb}_all({noun}_one)
    return {noun}_total
"""
SETTINGS = {"hidden": 4, "vocabulary": 64, "embedding": 4, "question_words": 6, "file_words": 5}


def words(*names, lines=10):
    counts = {name: 1 + number for number, name in enumerate(names)}
    return Words(counts, {}, {}, {}, lines)


def report(number, files=4, right=0, topic=None):
    """A report of one topic, which one of its files is about, or the others are."""
    draw = np.random.default_rng(number)
    topics = draw.permutation(TOPICS)[:files].tolist()
    own = topic or topics[right]
    candidates = tuple(
        Candidate(
            f"lib/{name}_{place}.py",
            words(name, "value", "limit", *draw.choice(TOPICS, 2).tolist()),
            place == right,
            changes=int(draw.integers(20)),
            fixes=int(draw.integers(5)),
            changed=float(draw.integers(400)),
            fixed=float(draw.integers(400)) if place else None,
        )
        for place, name in enumerate(topics)
    )
    unit = UnitId(f"reports/{number}")
    text = (own, "fails", "with", f"lib/{own}_{right}.py", own)
    return Record(unit, unit, f"{own} fails", "report", text, 1, candidates=candidates)


def functions(seed, number=12):
    """A corpus of small functions."""
    draw = np.random.default_rng(seed)
    verbs = ("load", "store", "merge", "count", "check", "split")
    text = "".join(
        CODE.format(verb=draw.choice(verbs), noun=f"{draw.choice(TOPICS)}{one}")
        for one in range(number)
    )
    return Corpus("public", (parse("a.py", text),))
