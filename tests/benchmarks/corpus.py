# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Reading speed, on the standard library."""

from __future__ import annotations

import os

from fedcode.corpus import Subwords, read
from tests.benchmarks.figure import Figure, at_most, seconds


def figures() -> list[Figure]:
    """Reads, cuts and encodes the standard library."""
    workers = os.cpu_count() or 1
    corpus = read("stdlib", "public", workers=workers)
    millions = corpus.lexer_tokens / 1e6
    reading = seconds(lambda: read("stdlib", "public", workers=workers), 2) / millions
    training = seconds(lambda: Subwords.train(corpus.files, 8192), 1)
    return [
        at_most("corpus", f"read 1M lexer tokens, {workers} processes", reading, "s", 10),
        Figure("corpus", f"BPE of 8,192 pieces, {millions:.2f}M tokens", training, "s"),
    ]
