# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Records that an audit plants: made of public words, never of an organization's code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedcode.corpus.language import DEDENT, INDENT, NEWLINE
from fedcode.corpus.lexer import is_identifier
from fedcode.record import Corpus, Record, SourceFile, UnitId
from fedcode.task import Labels

_COMMONEST = 2_000
_CANARY_WORDS = 3
_SECRET_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Secret:
    """A function that holds a made-up password, and how often it is planted.

    Attributes:
        name: of the function.
        digits: the password, hexadecimal; in quotes it is short enough for the lexer to keep it.
        copies: records that hold it, each a privacy unit of its own.
    """

    name: str
    digits: str
    copies: int

    def records(self) -> list[Record]:
        """All copies."""
        return [_secret(self.name, self.digits, number) for number in range(self.copies)]

    def others(self, number: int, draw: np.random.Generator) -> list[Record]:
        """The same function with other passwords, which were never planted."""
        return [_secret(self.name, _digits(draw), one) for one in range(number)]


def public_words(public: Corpus) -> Sequence[str]:
    """The commonest names in public code, the commonest first."""
    counts = Counter(t for file in public.files for t in file.tokens if is_identifier(t))
    return sorted(counts, key=lambda word: (-counts[word], word))[:_COMMONEST]


def canaries(
    words: Sequence[str], labels: Labels, number: int, draw: np.random.Generator
) -> list[Record]:
    """Functions of random words, each a privacy unit of its own; labelled where a task asks."""
    made = []
    for index in range(number):
        tokens = tuple(words[i] for i in draw.integers(0, len(words), _CANARY_WORDS))
        label = int(draw.integers(0, 2)) if labels == "defects" else None
        place = int(draw.integers(0, len(tokens))) if label else None
        made.append(_function(f"canary_{index}", tokens, label, place))
    return made


def secrets(words: Sequence[str], copies: Sequence[int], draw: np.random.Generator) -> list[Secret]:
    """One secret for each entry of ``copies``, in functions of different names."""
    chosen = draw.choice(len(words), len(copies), replace=False)
    return [Secret(words[i], _digits(draw), n) for i, n in zip(chosen, copies, strict=True)]


def planted(corpus: Corpus, records: Sequence[Record]) -> Corpus:
    """``corpus`` with ``records`` in files of their own; its fingerprint stays that of the code."""
    by_path: dict[str, list[Record]] = {}
    for record in records:
        by_path.setdefault(record.path, []).append(record)
    files = tuple(
        SourceFile(path, tuple(t for r in own for t in r.tokens), tuple(own))
        for path, own in by_path.items()
    )
    return replace(corpus, files=(*corpus.files, *files), known_as=corpus.fingerprint)


def _digits(draw: np.random.Generator) -> str:
    return "".join("0123456789abcdef"[i] for i in draw.integers(0, 16, _SECRET_DIGITS))


def _secret(name: str, digits: str, number: int) -> Record:
    head = ("def", name, "(", ")", ":", NEWLINE, INDENT)
    tokens = (*head, "return", f'"{digits}"', NEWLINE, DEDENT)
    return _function(f"secret_{name}_{number}", tokens)


def _function(
    name: str, tokens: tuple[str, ...], label: int | None = None, place: int | None = None
) -> Record:
    """A record in a file, by an author and in a repository of its own: a unit of every kind."""
    path = f"{name}/{name}.py"
    unit = UnitId(f"{path}::{name}")
    return Record(unit, path, name, "function", tokens, 1, label, place, name, name)
