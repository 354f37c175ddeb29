# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Interpolated Kneser–Ney smoothing (Chen and Goodman 1999, Computer Speech and Language 13:4).

    p_k(w | c) = (a(cw) - D(a(cw))) / a(c·) + γ(c) p_{k-1}(w | c without its first piece)

where a is the count of the longest n-grams and, below, the number of different pieces that stand
before an n-gram; γ(c) is what the discounts D leave over; p_0 is uniform, so no piece has
probability 0. A context that was never seen passes on to the next shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fedcode.models.ngrams import ABSENT, Indices, Located, NgramTable, Pieces, ragged

Floats = NDArray[np.float64]

Discounts = Literal["single", "modified"]
"""One discount per order, or one each for n-grams seen once, twice and more often."""

_TIE = 1 + 1e-9
_PAIRS = 1 << 18
_FEW = 24


class Score(NamedTuple):
    """Of one sequence's pieces, each of shape (pieces,).

    Attributes:
        log2p: log2 of each piece's probability after the pieces before it.
        ranks: 1 + the number of pieces of the vocabulary that were more probable there.
    """

    log2p: Floats
    ranks: Indices


class KneserNey:
    """A language model over pieces.

    Args:
        table: the n-grams.
        discounts: see :data:`Discounts`.
        weights: non-negative, for all orders end to end as in ``table.offsets``: each n-gram's
            discounted mass and its discount are multiplied by it. Real-valued counts become a model
            as weights of (new count) / (count in ``table``).

    Raises:
        ValueError: there is not one finite, non-negative weight for each n-gram.
    """

    def __init__(
        self, table: NgramTable, discounts: Discounts = "modified", weights: Floats | None = None
    ) -> None:
        offsets = table.offsets
        if weights is None:
            weights = np.ones(offsets[-1])
        if weights.shape != (offsets[-1],) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(f"{offsets[-1]} finite weights of at least 0 were expected")
        self._table = table
        self._children = [table.children(k) for k in range(2, table.order + 1)]
        # Both end with what an absent n-gram gives, since ABSENT indexes the last element.
        self._probabilities: list[Floats] = []
        self._left: list[Floats] = []
        for k, counts in enumerate(table.continuations(), start=1):
            weight = weights[offsets[k - 1] : offsets[k]]
            discount = _discount(counts, discounts) * weight
            self._add_order(k, counts * weight, discount)

    @classmethod
    def fit(
        cls,
        sequences: Sequence[Pieces],
        order: int,
        vocabulary: int,
        discounts: Discounts = "modified",
    ) -> Self:
        """The model of ``sequences``, each of which starts with an empty context."""
        return cls(NgramTable.of(sequences, order, vocabulary), discounts)

    def score(self, sequences: Sequence[Pieces]) -> list[Score]:
        """Probability and rank of every piece; exact ranks, over the whole vocabulary."""
        located = self._table.locate(sequences)
        p = self._probability(located)
        ranks = self._ranks(located, p)
        stops = np.cumsum([len(s) for s in sequences], dtype=np.int64)
        parts = zip(np.split(np.log2(p), stops), np.split(ranks, stops), strict=True)
        return [Score(*pair) for pair in parts][:-1]

    def distribution(self, context: Sequence[int]) -> Floats:
        """The probability of every piece after ``context``, shape (vocabulary,)."""
        table = self._table
        levels = table.locate([np.array([*context], np.int64)]).levels
        p = self._probabilities[0].copy()
        for k in range(2, min(table.order, len(context) + 1) + 1):
            before = levels[k - 2][-1]
            if before != ABSENT:
                p = self._shifted(k, before, p)
        return p

    def _add_order(self, k: int, mass: Floats, discount: Floats) -> None:
        """Probabilities of the k-grams, and what each context leaves to shorter ones."""
        kept = mass - discount
        if k == 1:
            total = mass.sum()
            p = kept / total if total > 0 else np.zeros_like(kept)
            self._probabilities.append(p + (1 - p.sum()) / len(p))
            self._left.append(np.ones(1))
            return
        parents = self._table.parents(k)
        contexts = len(self._table.keys[k - 2])
        totals = np.bincount(parents, mass, contexts)
        known = totals > 0
        totals[~known] = 1
        left = np.where(known, np.bincount(parents, discount, contexts) / totals, 1.0)
        self._probabilities.append(np.append(kept / totals[parents], 0.0))
        self._left.append(np.append(left, 1.0))

    def _probability(self, located: Located) -> Floats:
        p = self._probabilities[0][located.pieces]
        for k in range(2, self._table.order + 1):
            own = self._probabilities[k - 1][located.levels[k - 1]]
            p = p * self._left[k - 1][located.contexts(k)] + own
        return p

    def _shifted(self, k: int, context: int, shorter: Floats) -> Floats:
        """The distribution of order k after one context, from the next shorter one."""
        here = slice(*self._children[k - 2][context : context + 2])
        followers = self._table.keys[k - 1][here] % self._table.vocabulary
        p: Floats = shorter * self._left[k - 1][context]
        p[followers] += self._probabilities[k - 1][here]
        return p

    def _ranks(self, located: Located, p: Floats) -> Indices:
        """Rank of each piece.

        Per last piece the bigram distribution is compared with once: longer contexts scale it, and
        change the order only of the pieces seen after them, which are looked at one by one.
        """
        table = self._table
        contexts = [located.contexts(k) for k in range(2, table.order + 1)]
        if not contexts or not len(p):
            return _greater(self._probabilities[0], p) + 1
        ranks = np.empty(len(p), np.int64)
        by_last = np.argsort(contexts[0], kind="stable")
        last = contexts[0][by_last]
        bounds = np.flatnonzero(np.concatenate([[True], last[1:] != last[:-1], [True]]))
        for start, stop in pairwise(bounds):
            at = by_last[start:stop]
            bigram = self._probabilities[0]
            if last[start] != ABSENT:
                bigram = self._shifted(2, int(last[start]), bigram)
            longer = [c[at] for c in contexts[1:]]
            ranks[at] = 1 + self._more_probable(bigram, longer, p[at])
        return ranks

    def _more_probable(self, bigram: Floats, longer: list[Indices], p: Floats) -> Indices:
        """How many pieces are more probable than p, at places with the same last piece."""
        scale = np.ones(len(p))
        for k, contexts in enumerate(longer, start=3):
            scale *= self._left[k - 1][contexts]
        count = _greater(bigram, p / scale)
        known = np.flatnonzero(longer[0] != ABSENT) if longer else np.empty(0, np.int64)
        if not len(known):
            return count
        starts = self._children[1]
        sizes = starts[longer[0][known] + 1] - starts[longer[0][known]]
        chunk = np.cumsum(sizes) // _PAIRS
        for part in np.split(known, np.flatnonzero(np.diff(chunk)) + 1):
            count[part] += self._corrections(
                bigram, [c[part] for c in longer], p[part], scale[part]
            )
        return count

    def _corrections(
        self, bigram: Floats, longer: list[Indices], p: Floats, scale: Floats
    ) -> Indices:
        """What the pieces seen after the longer contexts add to, or take from, the count.

        Every piece seen after a context was also seen after the shorter ones, so those of the
        trigram contexts are all that there are.
        """
        size = self._table.vocabulary
        rows = pieces = places = np.empty(0, np.int64)
        q = np.empty(0)
        for k, contexts in enumerate(longer, start=3):
            starts = self._children[k - 2]
            known = np.flatnonzero(contexts != ABSENT)
            row, child = ragged(starts[contexts[known]], starts[contexts[known] + 1])
            row, piece = known[row], self._table.keys[k - 1][child] % size
            own = self._probabilities[k - 1][child]
            if k == 3:
                rows, pieces, places = row, piece, row * size + piece
                q = bigram[piece] * self._left[k - 1][contexts][rows] + own
            else:
                q *= self._left[k - 1][contexts][rows]
                q[np.searchsorted(places, row * size + piece)] += own
        after = q > p[rows] * _TIE
        before = bigram[pieces] > (p / scale * _TIE)[rows]
        change = after.astype(np.int64) - before
        return np.bincount(rows, change, len(p)).astype(np.int64)


def _greater(values: Floats, bounds: Floats) -> Indices:
    """How many values are greater than each bound, ties left out; sorting pays for many bounds."""
    if len(bounds) < _FEW:
        few: Indices = (values > (bounds * _TIE)[:, None]).sum(axis=1, dtype=np.int64)
        return few
    not_greater = np.searchsorted(np.sort(values), bounds * _TIE, side="right")
    return (len(values) - not_greater).astype(np.int64)


def _discount(counts: Indices, discounts: Discounts) -> Floats:
    """What is taken from each n-gram, estimated from how many were seen 1 to 4 times.

    Never more than the count. Where too few n-grams are there to estimate from: the single
    discount, or half of one.
    """
    seen = np.bincount(np.minimum(counts, 5), minlength=6)[:5].astype(float)
    single = seen[1] / (seen[1] + 2 * seen[2]) if seen[1] and seen[2] else 0.5
    each = np.array([0.0, single, single, single])
    if discounts == "modified":
        for i in (2, 3):
            if seen[i] and seen[i + 1]:
                estimate = i - (i + 1) * single * seen[i + 1] / seen[i]
                each[i] = max(single, estimate)
    return each[np.minimum(counts, 3)]
