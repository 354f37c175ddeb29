# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of one weight, one per record, in the form in which they cost least.

The gradient of a weight (m, n) that a layer has used at T places of a record is a sum of outer
products, Σ_t left_t right_tᵀ. Its squared norm is Σ_ts (left_t·left_s) (right_t·right_s): it takes
two Gram matrices and no gradient. What has no such form is written out, a gradient per record.

The Gram form cancels where places pull against one another, and its rounding error grows with what
has been cancelled. So that no norm comes out too small, it is raised by :func:`rounding` times
(Σ_t |left_t| |right_t|)², which bounds the sum's terms; and by what float32 has lost of squares
that are too small for it, which counts where the other side is large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

_EACH = 2.0**-24  # of an addition in float32
_LANES = 16  # numbers at a time that a processor adds up
_SMALLEST = torch.finfo(torch.float32).tiny
_TOGETHER = 256  # numbers whose squares are added up one after another

_SEEN = 0.02  # of a squared norm: more than what float32 does to one whose places do not cancel

_PRODUCTS, _MEMORY = 32, 1.75
_LONG = 128  # places from which on halves of a Gram matrix cost less than the whole


def rounding(width: int, device: torch.device) -> float:
    """Of a Gram matrix of vectors that are ``width`` long, over the product of their lengths.

    Each addition rounds by 2^-24. On a processor, blocked products add up a few hundred numbers
    one after another, and products of few rows a sixteenth of the vector; elsewhere it may be all.
    """
    return _EACH * max(256, width // _LANES if device.type == "cpu" else width)


def prefers_gram(places: int, m: int, n: int) -> bool:
    """Whether Gram matrices cost less than writing out gradients of (m, n) from so many places.

    Gradients once written out make the weighted sum cheap, but must be read twice: measured, a
    number of them costs as much as ``_PRODUCTS`` products of a Gram matrix. And they may take
    ``_MEMORY`` times the memory of what they are made of, which is kept instead of them.

    The two forms round differently. So the choice must not depend on data: ``places`` is a public
    number, never the length of a batch, or one record could change the norms of all others.
    """
    large = m * n > _MEMORY * places * (m + n)
    return large or places == 1 or places * places * (m + n) < _PRODUCTS * m * n


class Gram(NamedTuple):
    """A symmetric (batch, T, T) by its upper part: rows from a place on, columns from there on."""

    panels: tuple[Tensor, ...]

    def diagonal(self) -> Tensor:
        """Shape (batch, T)."""
        found = [panel.diagonal(dim1=1, dim2=2) for panel in self.panels]
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def dot(self, other: Gram) -> Tensor:
        """Σ_ts of the products of all entries, shape (batch,)."""
        found = [_dot(*two) for two in zip(self.panels, other.panels, strict=True)]
        return found[0] if len(found) == 1 else torch.stack(found).sum(0)


def _dot(one: Tensor, two: Tensor) -> Tensor:
    """What stands beyond the square on the diagonal counts for its mirror image too."""
    products = one * two
    rows = products.shape[1]
    found = products[:, :, :rows].sum((1, 2))
    return found if products.shape[2] == rows else found + 2 * products[:, :, rows:].sum((1, 2))


def _from(places: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the panels."""
    half = places // 2 if places >= _LONG else places
    yield slice(0, half), slice(0, None)
    if half < places:
        yield slice(half, None), slice(half, None)


class Side(Protocol):
    """One vector for each place of each record."""

    @property
    def width(self) -> int:
        """Length of the vectors."""
        ...

    @property
    def has_gram(self) -> bool:
        """Whether the Gram matrix costs nothing any more."""
        ...

    def gram(self) -> Gram:
        """Products of all pairs of a record's places."""
        ...

    def times(self, other: Side) -> Tensor:
        """Products with another side's places, shape (batch, T, S)."""
        ...

    def without(self, rows: Tensor) -> Side:
        """The same with zeros for the records of the mask ``rows``, shape (batch,)."""
        ...


class Dense:
    """Vectors as they are.

    Args:
        values: shape (batch, T, n).
        parts: sides whose vectors, one after another, are these; their Gram matrices add up.
    """

    def __init__(self, values: Tensor, parts: Sequence[Dense] = ()) -> None:
        self.values = values
        self._parts = parts
        self._gram: Gram | None = None

    @property
    def width(self) -> int:
        """N."""
        return self.values.shape[2]

    @property
    def has_gram(self) -> bool:
        """See :class:`Side`."""
        return self._gram is not None

    def know(self, gram: Gram) -> None:
        """Sets the Gram matrix, computed elsewhere."""
        self._gram = gram

    def forget(self) -> None:
        """Drops the Gram matrix, which all weights have seen."""
        self._gram = None
        for part in self._parts:
            part.forget()

    def gram(self) -> Gram:
        """Kept until it is forgotten, for several weights may need it."""
        if self._gram is None:
            self._gram = self._sum_of_parts() if self._parts else gram_of(self.values)
        return self._gram

    def times(self, other: Side) -> Tensor:
        """See :class:`Side`."""
        if isinstance(other, Dense):
            return torch.bmm(self.values, other.values.transpose(1, 2))
        if isinstance(other, Rows):
            index = other.index.unsqueeze(1).expand(-1, self.values.shape[1], -1)
            return self.values.gather(2, index.clamp(min=0)) * (index >= 0)
        return other.times(self).transpose(1, 2)

    def exactly(self, rows: Tensor) -> Dense:
        """The records of the mask ``rows`` alone, in float64."""
        return Dense(self.values[rows].double())

    def without(self, rows: Tensor) -> Dense:
        """See :class:`Side`."""
        return Dense(self.values.masked_fill(rows.view(-1, 1, 1), 0))

    def _sum_of_parts(self) -> Gram:
        panels = zip(*(part.gram().panels for part in self._parts), strict=True)
        return Gram(tuple(sum(each[1:], each[0]) for each in panels))


def gram_of(values: Tensor) -> Gram:
    """The Gram matrix of ``values`` (batch, T, n)."""
    if values.shape[1] == 1:
        return Gram((_squared_lengths(values.flatten(0, 1)).view(-1, 1, 1),))
    panels = (
        torch.bmm(values[:, rows], values[:, columns].transpose(1, 2))
        for rows, columns in _from(values.shape[1])
    )
    return Gram(tuple(panels))


class Rows:
    """Unit vectors: the place of the one.

    Args:
        index: shape (batch, T); -1 stands for a vector of zeros.
        width: length of the vectors.
    """

    def __init__(self, index: Tensor, width: int) -> None:
        self.index = index
        self.width = width
        self.has_gram = False

    def gram(self) -> Gram:
        """1 where two places are the same."""
        inside = (self.index >= 0).unsqueeze(2)
        panels = (
            (self.index[:, rows, None] == self.index[:, None, columns]) & inside[:, rows]
            for rows, columns in _from(self.index.shape[1])
        )
        return Gram(tuple(panels))

    def times(self, other: Side) -> Tensor:
        """See :class:`Side`."""
        if isinstance(other, Rows):
            same = self.index.unsqueeze(2) == other.index.unsqueeze(1)
            return same & (self.index >= 0).unsqueeze(2)
        return other.times(self).transpose(1, 2)

    def exactly(self, rows: Tensor) -> Rows:
        """See :meth:`Dense.exactly`."""
        return Rows(self.index[rows], self.width)

    def without(self, rows: Tensor) -> Rows:
        """See :class:`Side`."""
        return Rows(self.index.masked_fill(rows.unsqueeze(1), -1), self.width)


def ones(left: Dense) -> Dense:
    """The right side of a bias, whose gradient is Σ_t left_t: a 1 at each place."""
    return Dense(left.values.new_ones(()).expand(*left.values.shape[:2], 1))


class Outer:
    """Σ_t left_t right_tᵀ for each record: the gradient of a weight of left.width × right.width.

    Args:
        left: of each place.
        right: of each place.
        single: whether a record has one place whatever it holds.
    """

    def __init__(self, left: Dense | Rows, right: Dense, *, single: bool = False) -> None:
        self.left, self.right, self.single = left, right, single

    def samples(self, records: slice) -> Tensor:
        """The gradient of each of ``records``, shape (records, m, n)."""
        values = self.right.values[records]
        if isinstance(self.left, Dense):
            return torch.bmm(self.left.values[records].transpose(1, 2), values)
        index = self.left.index[records]
        found = values.new_zeros((len(values), self.left.width, values.shape[2]))
        where = index.clamp(min=0).unsqueeze(2).expand_as(values)
        return found.scatter_add_(1, where, values * (index >= 0).unsqueeze(2))

    def total(self, factors: Tensor | None, out: Tensor | None) -> Tensor:
        """The sum over the records, each times its factor, added to ``out`` of shape (m, n).

        Args:
            factors: shape (batch,); None for ones.
            out: changed where it is given.
        """
        values = self.right.values
        scale = None if factors is None else factors.view(-1, 1, 1)
        if isinstance(self.left, Rows):
            return _added_at(self.left, values if scale is None else values * scale, out)
        left = self.left.values
        if scale is not None and left.shape[2] < values.shape[2]:
            left = left * scale
        elif scale is not None:
            values = values * scale
        if _time_first(left):
            left, values = left.transpose(0, 1), values.transpose(0, 1)
        a, b = left.flatten(0, 1).t(), values.reshape(-1, values.shape[2])
        return torch.mm(a, b) if out is None else out.addmm_(a, b)

    def exactly(self, rows: Tensor) -> Outer:
        """The records of the mask ``rows`` alone, in float64."""
        left = self.left.exactly(rows)
        return Outer(left, self.right.exactly(rows), single=self.single)

    def without(self, rows: Tensor) -> Outer:
        """The same with zeros for the records of the mask ``rows``, shape (batch,)."""
        return Outer(self.left.without(rows), self.right.without(rows), single=self.single)


class Bag:
    """Σ_t weight_t e(index_t) gᵀ for each record: of a table whose rows were added up.

    Args:
        index: shape (batch, T): rows; -1 is none.
        weights: shape (batch, T).
        gradient: g, shape (batch, n).
        width: rows of the table.
    """

    def __init__(self, index: Tensor, weights: Tensor, gradient: Tensor, width: int) -> None:
        self.index, self.weights, self.gradient, self.width = index, weights, gradient, width
        self._counted: tuple[Tensor, Tensor, Tensor] | None = None

    def samples(self, records: slice) -> Tensor:
        """See :meth:`Outer.samples`; shape (records, width, n)."""
        values = self.weights[records].unsqueeze(2) * self.gradient[records].unsqueeze(1)
        return Outer(Rows(self.index[records], self.width), Dense(values)).samples(slice(None))

    def total(self, factors: Tensor | None, out: Tensor | None) -> Tensor:
        """See :meth:`Outer.total`: each row of the table is a bag of the records that hold it."""
        rows, records, weights = self._counts()
        gradient = self.gradient if factors is None else self.gradient * factors.unsqueeze(1)
        ends = torch.bincount(rows, minlength=self.width).cumsum(0)
        found = F.embedding_bag(
            records, gradient, F.pad(ends[:-1], (1, 0)), mode="sum", per_sample_weights=weights
        )
        return found if out is None else out.add_(found)

    def squared_norms(self) -> Tensor:
        """|g|² Σ_v (Σ_{t: index_t = v} weight_t)², shape (batch,)."""
        _, records, weights = self._counts()
        counts = weights.new_zeros(len(self.index)).index_add_(0, records, weights.square())
        return self.gradient.square().sum(1) * counts

    def without(self, rows: Tensor) -> Bag:
        """See :meth:`Outer.without`."""
        gradient = self.gradient.masked_fill(rows.unsqueeze(1), 0)
        weights = self.weights.masked_fill(rows.unsqueeze(1), 0)
        return Bag(self.index, weights, gradient, self.width)

    def _counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Each row of each record once: rows (ascending), records, and their summed weights."""
        if self._counted is None:
            batch = len(self.index)
            record = torch.arange(batch, device=self.index.device).unsqueeze(1)
            pairs, order = (self.index * batch + record).flatten().sort()
            pairs, run = torch.unique_consecutive(pairs, return_inverse=True)
            weights = self.weights.flatten()[order]
            weights = weights.new_zeros(len(pairs)).index_add_(0, run, weights)
            inside = pairs >= 0
            pairs = pairs[inside]
            self._counted = (pairs // batch, pairs % batch, weights[inside])
        return self._counted


class Samples:
    """Gradients written out.

    Args:
        pieces: the records' gradients, some records in each, of shape (records, *shape).
    """

    def __init__(self, *pieces: Tensor) -> None:
        self.pieces = pieces

    def samples(self, records: slice) -> Tensor:
        """See :meth:`Outer.samples`; shape (records, *shape)."""
        whole = self.pieces[0] if len(self.pieces) == 1 else torch.cat(self.pieces)
        return whole[records]

    def total(self, factors: Tensor | None, out: Tensor | None) -> Tensor:
        """See :meth:`Outer.total`; of the gradients' shape."""
        shape = self.pieces[0].shape[1:]
        lengths = [len(piece) for piece in self.pieces]
        given = [None] * len(lengths) if factors is None else torch.split(factors, lengths)
        for piece, own in zip(self.pieces, given, strict=True):
            flat = piece.flatten(1)
            found = (flat.sum(0) if own is None else own @ flat).view(shape)
            out = found if out is None else out.add_(found.view_as(out))
        return out if out is not None else self.pieces[0].new_zeros(shape)

    def squared_norms(self) -> Tensor:
        """Shape (batch,)."""
        return torch.cat([_squared_lengths(piece.flatten(1)) for piece in self.pieces])

    def without(self, rows: Tensor) -> Samples:
        """See :meth:`Outer.without`."""
        shape = (-1, *[1] * (self.pieces[0].dim() - 1))
        masks = torch.split(rows.view(shape), [len(piece) for piece in self.pieces])
        return Samples(*(p.masked_fill(m, 0) for p, m in zip(self.pieces, masks, strict=True)))


Contribution = Outer | Bag | Samples
"""What one use of a parameter adds to each record's gradient."""


def _squared_lengths(values: Tensor) -> Tensor:
    """Of rows, shape (records,), a few numbers at a time.

    ``vector_norm`` adds up a whole row one after another: of four million numbers it loses 1 %.
    """
    whole = values.shape[1] // _TOGETHER * _TOGETHER
    parts = values[:, :whole].reshape(len(values), whole // _TOGETHER, _TOGETHER)
    squares: Tensor = torch.linalg.vector_norm(parts, dim=2).square_().sum(1)
    return squares + values[:, whole:].square().sum(1)


def _time_first(values: Tensor) -> bool:
    return values.transpose(0, 1).is_contiguous()


def _added_at(rows: Rows, values: Tensor, out: Tensor | None) -> Tensor:
    index = rows.index
    if out is None and rows.width * 4 > index.numel():
        # its own kernel for dense gradients: one pass, and -1 is its padding
        found: Tensor = torch.ops.aten.embedding_dense_backward(
            values, index, rows.width, -1, False
        )
        return found
    if out is None:
        out = values.new_zeros((rows.width, values.shape[2]))
    values = values * (index >= 0).unsqueeze(2)
    return out.index_add_(0, index.clamp(min=0).flatten(), values.flatten(0, 1))


def squared_norms(parts: Sequence[Outer]) -> Tensor:
    """Of the summed gradients of one weight, never too small; shape (batch,).

    Where what float32 may have lost would be seen in a norm, the products are computed once more in
    float64. Their rounding depends on how long the other records of the batch are, and with weights
    that somebody has made for it, 256 records would all move a little when one is added.
    """
    right = parts[0].right.values
    m, n = parts[0].left.width, parts[0].right.width
    found = _products(parts)
    lengths = lost = found.new_zeros(found.shape)
    for part in parts:
        of_left, of_right = part.left.gram().diagonal(), part.right.gram().diagonal()
        lengths = lengths + (of_left * of_right).sqrt().sum(1)
        lost = lost + _lost(of_left, m, n) + _lost(of_right, n, m)
        part.right.forget()  # left is a bias's, too
    raised = rounding(max(m, n), right.device) * lengths.square() + lost.square()
    seen = (raised > _SEEN * found) & raised.isfinite()
    if seen.any():
        exact = _products([part.exactly(seen) for part in parts])
        found[seen] = exact.to(found.dtype)
    return found.clamp(min=0) + raised


def _products(parts: Sequence[Outer]) -> Tensor:
    """Σ_ts (left_t·left_s) (right_t·right_s) over all parts' places, shape (batch,)."""
    found = torch.stack([part.left.gram().dot(part.right.gram()) for part in parts]).sum(0)
    for one, two in combinations(parts, 2):
        products = one.left.times(two.left) * one.right.times(two.right)
        found = found + 2 * products.sum((1, 2))
    return found


def _lost(squares: Tensor, width: int, other: int) -> Tensor:
    """What the places of one side make of squares that the other side has lost, shape (batch,).

    Each of its ``other`` products may be short of float32's smallest number.

    Args:
        squares: of this side's lengths, (batch, T).
        width: of this side's vectors.
        other: width of the other side's.
    """
    whole: Tensor = (squares + width * _SMALLEST).sqrt().sum(1)
    return math.sqrt(other * _SMALLEST) * whole
