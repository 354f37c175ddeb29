# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Functions that are much like an earlier one, by MinHash (Broder 1997) and a table of bands.

Two functions are compared by their runs of five tokens, each counted once: J is what they have in
common over what they have together. It is estimated from 128 numbers of each function, and only of
those that meet in a band of a hash table. In memory are these numbers, not the tokens.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import chain, islice
from typing import Any

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
    known = _Index(similarity)
    return [_less(corpus, known) for corpus in corpora]


def _less(corpus: Corpus, known: _Index) -> Corpus:
    long = (r for r in corpus.stream("function") if len(r.tokens) >= FEWEST)
    near = {r.unit: Taken(r.path, FILTER, r.name, "similar") for r in known.meeting(long)}
    if not near:
        return corpus
    return replace(
        corpus,
        files=changed(corpus.files, lambda _, file: _without(file, near)),
        duplicates=corpus.duplicates + len(near),
        taken=(*corpus.taken, *near.values()),
        known_as="",
    )


def _without(file: SourceFile, gone: Collection[UnitId]) -> SourceFile:
    kept = tuple(record for record in file.records if record.unit not in gone)
    return file if len(kept) == len(file.records) else replace(file, records=kept)


class _Index:
    """The functions before, by their bands."""

    def __init__(self, similarity: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self._least = similarity * NUMBERS
        self._lsh: Any = MinHashLSH(num_perm=NUMBERS, params=_bands(similarity))
        self._permutations = MinHash(num_perm=NUMBERS, scheme="affine32").permutations
        self._made = partial(MinHash, permutations=self._permutations, scheme="affine32")
        self._known: list[NDArray[np.uint32]] = []

    def meeting(self, records: Iterator[Record]) -> Iterator[Record]:
        """Those that an earlier one is near to; the others are known from now on."""
        while some := list(islice(records, _AT_ONCE)):
            numbers = signatures([record.tokens for record in some], self._permutations)
            for record, own in zip(some, numbers, strict=True):
                if self._meets(own):
                    yield record

    def _meets(self, own: NDArray[np.uint32]) -> bool:
        asked = self._made(hashvalues=own)
        for key in self._lsh.query(asked):
            if np.count_nonzero(self._known[key] == own) >= self._least:
                return True
        self._lsh.insert(len(self._known), asked, check_duplication=False)
        self._known.append(own)
        return False


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
