# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Words of texts, of people's and of programs': names are split where their parts begin."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import log1p, sqrt
from pathlib import PurePosixPath

from fedcode.corpus.files import parse
from fedcode.corpus.languages import LANGUAGES
from fedcode.corpus.lexer import is_identifier
from fedcode.record import Words

_NAME = re.compile(r"[^\W\d]\w*")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+")
_SHORTEST = 2

COMMON = frozenset(
    {"the", "an", "is", "are", "was", "be", "to", "of", "in", "on", "for", "and", "or", "not"}
    | {"with", "it", "this", "that", "we", "as", "at", "by", "from", "if", "when", "but", "have"}
    | {"has", "do", "does", "can", "will", "would", "should", "could", "there", "so", "my", "no"}
    | {"any", "all", "what", "which", "how", "use", "using", "used", "get", "just", "like", "also"}
    | {"than", "then", "into", "out", "up", "one", "you"}
)
"""Words that say nothing of what a text is about."""


@lru_cache(1 << 18)
def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a name, in lower case: those of ``readAll_lines2`` are read, all, lines, 2."""
    return tuple(part.lower() for part in _PARTS.findall(name))


def counted(text: str) -> tuple[Counter[str], Counter[str]]:
    """Words of a text.

    Returns:
        The parts of its names, without short and common ones; and whole names of several parts.
    """
    return of_names(_NAME.findall(text))


def together(text: str) -> Counter[str]:
    """Parts of a text's names, and whole names of several parts, in one."""
    parts, names = counted(text)
    return parts + names


def likeness(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The cosine between logs of counts of words, in [0, 1]; 0 where one is empty."""
    both = sum(log1p(one[word]) * log1p(other[word]) for word in one.keys() & other.keys())
    sizes = [sum(log1p(times) ** 2 for times in words.values()) for words in (one, other)]
    return both / sqrt(sizes[0] * sizes[1]) if both else 0.0


def of_names(names: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """As :func:`counted`, of names that are at hand."""
    found, whole = Counter[str](), Counter[str]()
    for name, times in Counter(names).items():
        parts = parts_of(name)
        if len(parts) > 1:
            whole[name.lower()] += times
        for part in parts:
            if len(part) >= _SHORTEST and part not in COMMON:
                found[part] += times
    return found, whole


def words_of(path: str, text: str) -> Words:
    """The words of a source file.

    Raises:
        CorpusError: it cannot be read.
    """
    source = parse(path, text)
    identifiers, names = of_names(filter(is_identifier, source.tokens))
    language = LANGUAGES[PurePosixPath(path).suffix]
    prose, _ = counted("\n".join(text[start:stop] for start, stop in language.prose(text)))
    defined = [r.name for r in source.records if r.kind == "function"]
    definitions = Counter(part.lower() for name in defined for part in name.split("."))
    lines = sum(1 for line in text.splitlines() if line.strip())
    return Words(identifiers, names, prose, definitions, lines)
