# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Records that an audit plants: made of public words, never of an organization's code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedcode.corpus.lexer import is_identifier
from fedcode.record import Corpus, Record, SourceFile, UnitId
from fedcode.task import Labels

_CANARY_WORDS = 12


def public_words(public: Corpus) -> Sequence[str]:
    """The different names in public code, sorted."""
    return sorted({t for file in public.files for t in file.tokens if is_identifier(t)})


def canaries(words: Sequence[str], labels: Labels, number: int, seed: int) -> list[Record]:
    """Functions of random words, each a privacy unit of its own."""
    draw = np.random.default_rng(seed)
    made = []
    for index in range(number):
        tokens = tuple(words[i] for i in draw.integers(0, len(words), _CANARY_WORDS))
        label = int(draw.integers(0, 2)) if labels == "injected" else None
        place = int(draw.integers(0, len(tokens))) if label else None
        made.append(_function("canaries.py", f"canary_{index}", tokens, label, place))
    return made


def planted(corpus: Corpus, records: Sequence[Record]) -> Corpus:
    """``corpus`` with ``records`` in files of their own; its fingerprint stays that of the code."""
    tokens = tuple(token for record in records for token in record.tokens)
    return replace(corpus, files=(*corpus.files, SourceFile(records[0].path, tokens, (*records,))))


def _function(
    path: str, name: str, tokens: tuple[str, ...], label: int | None = None, place: int | None = None
) -> Record:
    return Record(UnitId(f"{path}::{name}"), path, name, "function", tokens, 1, label, place)
