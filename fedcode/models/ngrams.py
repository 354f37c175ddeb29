# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A table of n-grams of every order, as a trie of sorted integers.

The n-gram w1…wk is the k-th level's key ``i · V + wk``, where i is the index of w1…wk-1 on the
level before: looking up a whole corpus is one binary search per order and no loop over tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pieces = NDArray[np.int32] | NDArray[np.int64]
Indices = NDArray[np.int64]

ABSENT = -1
"""The index of an n-gram that the table does not have."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where the n-grams of a text stand in a table; all arrays have the shape (pieces,).

    Attributes:
        pieces: all sequences, one after the other.
        starts: whether a piece is the first of its sequence.
        levels: for k = 1, 2, …: the index of the k-gram that ends at each piece, or ``ABSENT``.
    """

    pieces: Indices
    starts: NDArray[np.bool_]
    levels: tuple[Indices, ...]

    def contexts(self, k: int) -> Indices:
        """The index of the (k-1)-gram before each piece, or ``ABSENT``; k is at least 2."""
        before = np.roll(self.levels[k - 2], 1)
        before[self.starts] = ABSENT
        return before


@dataclass(frozen=True, slots=True)
class NgramTable:
    """The n-grams of some sequences, up to an order.

    Attributes:
        vocabulary: V; level 1 is the pieces 0 … V - 1 themselves.
        keys: for each order, sorted.
        counts: for each order, how often each n-gram stands in the sequences.
        suffixes: for each order from 2 on, the index of each n-gram without its first piece.
    """

    vocabulary: int
    keys: tuple[Indices, ...]
    counts: tuple[Indices, ...]
    suffixes: tuple[Indices, ...]

    @classmethod
    def of(cls, sequences: Sequence[Pieces], order: int, vocabulary: int) -> NgramTable:
        """Counts all n-grams that lie inside one sequence.

        Raises:
            ValueError: ``order`` is below 1, or a piece is not in 0 … ``vocabulary`` - 1.
        """
        if order < 1:
            raise ValueError(f"an order of {order} is not at least 1")
        pieces, place = _joined(sequences, vocabulary)
        keys = [np.arange(vocabulary)]
        counts = [np.bincount(pieces, minlength=vocabulary)]
        suffixes = []
        ending = pieces
        for k in range(2, order + 1):
            at = np.flatnonzero(place >= k - 1)
            key, inverse, count = np.unique(
                ending[at - 1] * vocabulary + pieces[at], return_inverse=True, return_counts=True
            )
            suffix = np.empty(len(key), np.int64)
            suffix[inverse] = ending[at]
            ending = np.full(len(pieces), ABSENT)
            ending[at] = inverse
            keys.append(key)
            counts.append(count)
            suffixes.append(suffix)
        return cls(vocabulary, tuple(keys), tuple(counts), tuple(suffixes))

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.keys)

    @property
    def offsets(self) -> Indices:
        """Where each order starts if all are laid end to end, and their number: (order + 1,)."""
        return np.cumsum([0, *(len(k) for k in self.keys)])

    def locate(self, sequences: Sequence[Pieces]) -> Located:
        """Looks up every n-gram of ``sequences``; an empty context stands before each of them."""
        pieces, place = _joined(sequences, self.vocabulary)
        levels = [pieces]
        for k in range(2, self.order + 1):
            before = np.roll(levels[-1], 1)
            known = (place >= k - 1) & (before != ABSENT)
            found = np.full(len(pieces), ABSENT)
            found[known] = self._find(k, before[known] * self.vocabulary + pieces[known])
            levels.append(found)
        return Located(pieces, place == 0, tuple(levels))

    def parents(self, k: int) -> Indices:
        """For each k-gram, the index of its context on the level before."""
        return self.keys[k - 1] // self.vocabulary

    def children(self, k: int) -> Indices:
        """Where the k-grams of each context start: (number of (k-1)-grams + 1,)."""
        sizes = np.bincount(self.parents(k), minlength=len(self.keys[k - 2]))
        return np.concatenate([[0], np.cumsum(sizes)])

    def continuations(self) -> tuple[Indices, ...]:
        """Kneser–Ney's counts: how many pieces stand before an n-gram; plain at the last order."""
        below = [
            np.bincount(suffix, minlength=len(keys))
            for suffix, keys in zip(self.suffixes, self.keys, strict=False)
        ]
        return (*below, self.counts[-1])

    def _find(self, k: int, keys: Indices) -> Indices:
        level = self.keys[k - 1]
        if not len(level):
            return np.full(len(keys), ABSENT)
        at = np.minimum(np.searchsorted(level, keys), len(level) - 1)
        return np.where(level[at] == keys, at, ABSENT)


def ragged(starts: Indices, stops: Indices) -> tuple[Indices, Indices]:
    """All integers of many ranges: (which range, the integer), each of shape (sum of lengths,)."""
    lengths = stops - starts
    rows = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, np.repeat(starts, lengths) + within


def _joined(sequences: Sequence[Pieces], vocabulary: int) -> tuple[Indices, Indices]:
    """All pieces, and the place of each in its own sequence."""
    pieces = np.concatenate([np.empty(0, np.int64), *sequences]).astype(np.int64)
    if len(pieces) and not 0 <= pieces.min() <= pieces.max() < vocabulary:
        raise ValueError(f"a piece is not in 0 … {vocabulary - 1}")
    lengths = np.array([len(s) for s in sequences], np.int64)
    return pieces, ragged(np.zeros_like(lengths), lengths)[1]
