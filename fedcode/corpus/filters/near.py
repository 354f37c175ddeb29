# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Functions that are much like an earlier one, by MinHash (Broder 1997) and a table of bands.

Two functions are compared by their runs of five tokens, each counted once: J is what they have in
common over what they have together. It is estimated from 128 numbers of each function, and only of
those that meet in a band of a hash table. In memory are the bands' digests, some hundred bytes of a
function; the numbers lie in a file without a name where they are many, and the tokens nowhere.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, islice
from tempfile import SpooledTemporaryFile
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fedcode.corpus.views import changed
from fedcode.record import Corpus, Record, SourceFile, Taken, UnitId

FILTER = "near_duplicates"

RUN = 5
"""Tokens in a run."""

FEWEST = 30
"""Tokens: of shorter functions many are alike that nobody has copied."""

NUMBERS = 128
_MOST_KNOWN = 500_000
_FACTOR = np.uint32(0x9E3779B1)
_AT_ONCE = 64
_WIDE_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_IN_MEMORY = 1 << 22
"""Bytes of functions' numbers, before they go to a file."""


def near_duplicates(corpora: Sequence[Corpus], similarity: float | None) -> list[Corpus]:
    """Removes functions that are much like one before, within and across organizations.

    The first in order stays, as in :func:`fedcode.corpus.deduplicate.deduplicate`, which comes
    before this. ``SourceFile.tokens`` stay as they are. What goes is in ``taken``.

    One function more or less can change which of the later ones stay: see docs/filters.md.

    Args:
        corpora: first what is measured, last what is trained on.
        similarity: the least J of two that are near; None keeps all.
    """
    if similarity is None:
        return list(corpora)
    with _Functions(similarity) as functions:
        lengths = [functions.add(_long(corpus)) for corpus in corpora]
        near = functions.near()
    ends = np.cumsum(lengths)
    return [
        _less(corpus, near[end - length : end])
        for corpus, length, end in zip(corpora, lengths, ends, strict=True)
    ]


def _long(corpus: Corpus) -> Iterator[Record]:
    return (r for r in corpus.stream("function") if len(r.tokens) >= FEWEST)


def _less(corpus: Corpus, near: bytes) -> Corpus:
    """A corpus without those of its long functions that a byte of ``near`` says go."""
    if not any(near):
        return corpus
    gone = {
        r.unit: Taken(r.path, FILTER, r.name, "similar")
        for r, goes in zip(_long(corpus), near, strict=True)
        if goes
    }
    return replace(
        corpus,
        files=changed(corpus.files, lambda _, file: _without(file, gone)),
        duplicates=corpus.duplicates + len(gone),
        taken=(*corpus.taken, *gone.values()),
        known_as="",
    )


def _without(file: SourceFile, gone: Collection[UnitId]) -> SourceFile:
    kept = tuple(record for record in file.records if record.unit not in gone)
    return file if len(kept) == len(file.records) else replace(file, records=kept)


class _Functions:
    """Functions in their order, by what tells which are near. To be entered."""

    def __init__(self, similarity: float) -> None:
        from datasketch import MinHash

        self._least = similarity * NUMBERS
        self._bands, self._rows = _bands(similarity)
        self._permutations = MinHash(num_perm=NUMBERS, scheme="affine32").permutations
        self._numbers = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed at the end
        self._digests = array("Q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._numbers.close()

    def add(self, records: Iterator[Record]) -> int:
        """The next functions; so many they are."""
        before = len(self._digests)
        while some := list(islice(records, _AT_ONCE)):
            numbers = signatures([record.tokens for record in some], self._permutations)
            self._numbers.write(numbers.tobytes())
            self._digests.frombytes(_digests_of(numbers, self._bands, self._rows).tobytes())
        return (len(self._digests) - before) // self._bands

    def near(self) -> bytes:
        """Of each function whether it is near to one before it that stays."""
        digests = np.frombuffer(self._digests, np.uint64).reshape(-1, self._bands)
        places = np.column_stack([_meeting(digests[:, band]) for band in range(self._bands)])
        near = bytearray(len(digests))
        stay: dict[tuple[int, int], list[int]] = {}
        for one in np.flatnonzero((places >= 0).any(axis=1)).tolist():
            met = [(band, place) for band, place in enumerate(places[one].tolist()) if place >= 0]
            own = self._of(one)
            others = dict.fromkeys(chain.from_iterable(stay.get(place, ()) for place in met))
            near[one] = any(np.count_nonzero(self._of(o) == own) >= self._least for o in others)
            if not near[one]:
                for place in met:
                    stay.setdefault(place, []).append(one)
        return bytes(near)

    def _of(self, function: int) -> NDArray[np.uint32]:
        size = NUMBERS * np.dtype(np.uint32).itemsize
        self._numbers.seek(function * size)
        return np.frombuffer(self._numbers.read(size), np.uint32)


def _digests_of(numbers: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """A digest of each band of each function, shape (functions, bands)."""
    cut = numbers[:, : bands * rows].reshape(len(numbers), bands, rows).astype(np.uint64)
    mixed = np.zeros((len(numbers), bands), np.uint64)
    for row in range(rows):
        mixed = (mixed ^ cut[:, :, row]) * _WIDE_FACTOR
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _meeting(digests: NDArray[np.uint64]) -> NDArray[np.int32]:
    """For each function the place in a band where it meets another one; -1 for none."""
    order = np.argsort(digests, kind="stable")
    ascending = digests[order]
    same = np.zeros(len(digests) + 1, np.bool_)
    same[1:-1] = ascending[1:] == ascending[:-1]
    meets = same[1:] | same[:-1]
    found = np.full(len(digests), -1, np.int32)
    found[order] = np.where(meets, np.cumsum(~same[:-1]), -1)
    return found


def signatures(
    functions: Sequence[Sequence[str]], permutations: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """The least of each permutation's values over the runs of each function.

    Args:
        functions: tokens, at least :data:`RUN` of each.
        permutations: shape (2, numbers): h becomes a h + b mod 2^32 (datasketch's "affine32").

    Returns:
        Shape (functions, numbers).
    """
    known = _digests()
    lengths = np.array([len(tokens) for tokens in functions])
    of = np.fromiter(map(known.__getitem__, chain.from_iterable(functions)), np.uint32)
    runs = _runs(of)
    starts = np.cumsum(lengths) - lengths
    whole = np.ones(len(runs), np.bool_)
    for back in range(1, RUN):  # runs that begin in one function and end in the next
        whole[starts[1:] - back] = False
    a, b = permutations
    values = runs[whole, None] * a + b
    ends = np.cumsum(lengths - (RUN - 1))
    return np.array([part.min(axis=0) for part in np.split(values, ends[:-1])])


def _runs(of: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A digest of every run of tokens, from the tokens' digests."""
    mixed = np.zeros(len(of) - RUN + 1, np.uint32)
    for place in range(RUN):
        mixed = (mixed ^ of[place : place + len(mixed)]) * _FACTOR
        mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x85EBCA6B)  # the end of MurmurHash3
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed


class _Digests(dict[str, int]):
    """CRC-32 of tokens."""

    def __missing__(self, token: str) -> int:
        if len(self) > _MOST_KNOWN:
            self.clear()
        value = self[token] = zlib.crc32(token.encode("utf-8", "surrogatepass"))
        return value


@cache
def _digests() -> _Digests:
    return _Digests()


@cache
def _bands(similarity: float) -> tuple[int, int]:
    """Bands and their rows: as few bands as find a pair of that J with a chance of 0.97.

    r rows of equal numbers in one of b bands have a chance of 1 - (1 - J^r)^b (Leskovec et al.,
    Mining of Massive Datasets, 3.4.2). Who meets there by chance is compared by all numbers.
    """
    fitting = [
        (rows, NUMBERS // rows)
        for rows in range(1, NUMBERS // 2 + 1)
        if 1 - (1 - similarity**rows) ** (NUMBERS // rows) >= 0.97
    ]
    rows, bands = max(fitting, default=(1, NUMBERS))
    return bands, rows
