# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a corpus is like, in numbers: counts and histograms, from one pass over all of its records.

A profile holds nothing of any text: tokens are counted by 256 buckets of their digests. It is still
private data, and stays with its owner.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any, Self

from fedcode.corpus.deduplicate import tokens_digest
from fedcode.record import Metrics, Record, SourceFile

BUCKETS = 256
"""Of tokens."""

EDGES = tuple(sorted({round(2 ** (half / 2)) for half in range(33)}))
"""Where the bins of sizes begin, two for each power of two: 1, 2, 3, 4, 6, … 65,536."""

BINS = len(EDGES) + 1

TINY, LONG = 2, 20_000
"""Tokens: a function or module of fewer teaches nothing, one of more is rarely written by hand."""

_CODE = ("function", "module")
_SIZES = tuple(one.name for one in fields(Metrics))


@dataclass(frozen=True, slots=True)
class Profile:
    """A corpus in plain numbers. The order of its files and records changes nothing.

    Attributes:
        digest: SHA-256 of the data: names, tokens and labels of all records.
        files: that hold records.
        records: of all kinds.
        kinds: records by kind.
        languages: records by language; those of no known one are left out.
        units: different names.
        tokens: of all records.
        defective: records labelled 1.
        sound: records labelled 0.
        unlabelled: the others.
        lengths: histogram of tokens in a record, or of its syntax tree's where it has no others.
        lines: histogram of lines.
        sizes: histograms of functions' metrics, by name.
        buckets: tokens by bucket.
        code: records that are functions or modules, and have tokens.
        tiny: those of ``code`` with fewer than two tokens.
        long: those of ``code`` with more than 20,000.
        texts: records with tokens.
        duplicates: those of ``texts`` whose tokens are another one's, but for one of them each.
        wrong: records that are not as a record should be, by a fixed word.
    """

    digest: str
    files: int
    records: int
    kinds: Mapping[str, int]
    languages: Mapping[str, int]
    units: int
    tokens: int
    defective: int
    sound: int
    unlabelled: int
    lengths: tuple[int, ...]
    lines: tuple[int, ...]
    sizes: Mapping[str, tuple[int, ...]]
    buckets: tuple[int, ...]
    code: int
    tiny: int
    long: int
    texts: int
    duplicates: int
    wrong: Mapping[str, int]

    @property
    def labelled(self) -> int:
        """Records with a label."""
        return self.defective + self.sound

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`plain` gave.

        Raises:
            ValueError: it is something else.
        """
        wrong = ValueError("no profile of this version")
        if set(values) != {one.name for one in fields(cls)}:
            raise wrong
        given = dict(values)
        try:
            for name, length in (("lengths", BINS), ("lines", BINS), ("buckets", BUCKETS)):
                given[name] = _counts(given[name], length)
            given["sizes"] = {name: _counts(one, BINS) for name, one in given["sizes"].items()}
            for name in ("kinds", "languages", "wrong"):
                given[name] = dict(given[name])
                _counts(given[name].values(), len(given[name]))
            rest = set(given) - {"digest", "sizes", "kinds", "languages", "wrong"}
            single = [given[name] for name in rest if not isinstance(given[name], tuple)]
            _counts(single, len(single))
        except (TypeError, AttributeError) as error:
            raise wrong from error
        if not isinstance(given["digest"], str):
            raise wrong
        return cls(**given)


def _counts(values: Iterable[Any], length: int) -> tuple[int, ...]:
    found = tuple(values)
    if len(found) != length or any(type(one) is not int or one < 0 for one in found):
        raise ValueError("no profile of this version")
    return found


@dataclass(slots=True)
class _Counted:
    """What one pass counts."""

    rows: list[bytes] = field(default_factory=list)
    texts: set[bytes] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    numbers: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    features: dict[str, Counter[tuple[str, ...]]] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=lambda: [0] * BINS)
    lines: list[int] = field(default_factory=lambda: [0] * BINS)
    sizes: dict[str, list[int]] = field(default_factory=lambda: {n: [0] * BINS for n in _SIZES})
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def file(self, file: SourceFile) -> None:
        """Counts a file's records."""
        if not file.records:
            return
        self.numbers["files"] += 1
        tokens: Counter[str] = Counter()
        for record in file.records:
            text = record.tokens or record.ast
            tokens.update(text)
            self.record(record, len(text))
        for token, number in tokens.items():
            self.buckets[_bucket(token)] += number

    def record(self, record: Record, length: int) -> None:
        """Counts a record of so many tokens."""
        self.kinds[record.kind] += 1
        if record.language:
            self.languages[record.language] += 1
        self.numbers["tokens"] += length
        self.numbers[f"label {record.label}"] += 1
        self.lengths[bisect_right(EDGES, length)] += 1
        self.lines[bisect_right(EDGES, record.lines)] += 1
        if record.kind == "function":
            for name in _SIZES:
                self.sizes[name][bisect_right(EDGES, getattr(record.metrics, name))] += 1
        if record.tokens:
            self.numbers["texts"] += 1
            if record.kind in _CODE:
                self.numbers["code"] += 1
                self.numbers["tiny"] += length < TINY
                self.numbers["long"] += length > LONG
        text = text_digest(record)
        if record.tokens:
            self.texts.add(text)
        self.units.add(record.unit)
        named = f"{record.unit}\x00{record.label}\x00{record.place}\x00"
        row = hashlib.blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16)
        row.update(text)
        self.rows.append(row.digest())
        self.wrong.update(_wrong(record))
        if record.features:
            names = tuple(name for name, _ in record.features)
            self.features.setdefault(record.kind, Counter())[names] += 1

    def profile(self) -> Profile:
        """All of it."""
        numbers, wrong = self.numbers, self.wrong
        wrong["unit-twice"] = len(self.rows) - len(self.units)
        wrong["feature-names"] = sum(
            found.total() - max(found.values()) for found in self.features.values()
        )
        labels = numbers["label 1"], numbers["label 0"]
        return Profile(
            digest=hashlib.sha256(b"".join(sorted(self.rows))).hexdigest(),
            files=numbers["files"],
            records=len(self.rows),
            kinds=dict(sorted(self.kinds.items())),
            languages=dict(sorted(self.languages.items())),
            units=len(self.units),
            tokens=numbers["tokens"],
            defective=labels[0],
            sound=labels[1],
            unlabelled=len(self.rows) - sum(labels),
            lengths=tuple(self.lengths),
            lines=tuple(self.lines),
            sizes={name: tuple(found) for name, found in self.sizes.items()},
            buckets=tuple(self.buckets),
            code=numbers["code"],
            tiny=numbers["tiny"],
            long=numbers["long"],
            texts=numbers["texts"],
            duplicates=numbers["texts"] - len(self.texts),
            wrong={word: number for word, number in sorted(wrong.items()) if number},
        )


def profile(files: Iterable[SourceFile]) -> Profile:
    """What all records of ``files`` are like, in one pass.

    Args:
        files: a corpus, or its files; each is looked at once.
    """
    counted = _Counted()
    for file in files:
        counted.file(file)
    return counted.profile()


def texts(files: Iterable[SourceFile]) -> set[bytes]:
    """Digests of the tokens of all records that have any."""
    return {text_digest(r) for file in files for r in file.records if r.tokens}


def text_digest(record: Record) -> bytes:
    """Of a record's tokens, or of its syntax tree where it has no others."""
    return tokens_digest(record.tokens or record.ast)


@lru_cache(maxsize=1 << 16)
def _bucket(token: str) -> int:
    data = token.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=1).digest()[0]


def _wrong(record: Record) -> list[str]:
    """What is not as a record should be, in fixed words."""
    found = []
    if not record.unit or not record.path:
        found.append("no-name")
    if record.kind in _CODE and not (record.tokens or record.ast or record.features):
        found.append("empty")
    if record.lines < (1 if record.kind == "function" and record.tokens else 0):
        found.append("lines")
    if record.last < record.first:
        found.append("first-last")
    if record.label is not None and record.label not in (0, 1):
        found.append("label")
    if record.place is not None and not 0 <= record.place < len(record.tokens):
        found.append("place")
    if not all(math.isfinite(value) for _, value in record.features):
        found.append("feature")
    return found
