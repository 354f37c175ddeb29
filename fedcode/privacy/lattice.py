# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where the numbers of a release lie as integers, so that many of them add up modulo 2^32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import OutOfRange, PrivacyError
from fedcode.privacy import _validate

RING = 1 << 32
"""Integers are added modulo this."""

_LARGEST_SUM = RING // 2 - 1  # either sign


@dataclass(frozen=True, slots=True)
class Lattice:
    """What an integer means, and how large it may be; public, and the same for all members.

    Attributes:
        blocks: how many coordinates, and the spacing of their points, one after another.
        terms: the most that are added up.
    """

    blocks: tuple[tuple[int, float], ...]
    terms: int

    def __post_init__(self) -> None:
        _validate.count(terms=self.terms)
        for size, spacing in self.blocks:
            _validate.count(size=size)
            _validate.positive(spacing=spacing)

    @property
    def size(self) -> int:
        """d, over all blocks."""
        return sum(size for size, _ in self.blocks)

    @property
    def limit(self) -> int:
        """The largest integer of one term, either sign: so many terms cannot wrap."""
        return _LARGEST_SUM // self.terms

    def points(self, vector: NDArray[np.float32]) -> NDArray[np.int32]:
        """The integers nearest to ``vector``, shape (d,).

        Raises:
            OutOfRange: one is beyond :attr:`limit`.
            PrivacyError: another shape.
        """
        if vector.shape != (self.size,):
            raise PrivacyError(f"{self.size} coordinates were expected, not {vector.shape}")
        found = np.empty(self.size, np.int32)
        for part, spacing in self._parts():
            scaled = np.rint(vector[part] / np.float64(spacing))
            found[part] = self._within(scaled)
        return found

    def kept(self, points: NDArray[np.int64], spacing: float) -> NDArray[np.int32]:
        """Points of a lattice of ``spacing`` on this one, shape (d,).

        They stay what they are where the spacing is the same, and are rounded, up from the middle,
        where this lattice has every 2^k-th of them.

        Raises:
            OutOfRange: one is beyond :attr:`limit`.
            PrivacyError: another shape, or a lattice that does not have this one's points.
        """
        if points.shape != (self.size,):
            raise PrivacyError(f"{self.size} coordinates were expected, not {points.shape}")
        found = np.empty(self.size, np.int32)
        for part, own in self._parts():
            half, power = math.frexp(own / spacing)
            if half != 0.5 or power < 1:
                raise PrivacyError("the points are of another lattice")
            taken = points[part]
            if power > 1:  # as many points to each: not so to the nearest even one
                taken = (taken + (1 << (power - 2))) >> (power - 1)
            found[part] = self._within(taken)
        return found

    def values(self, total: NDArray[np.int64]) -> NDArray[np.float64]:
        """What a sum of points stands for, shape (d,)."""
        found = total.astype(np.float64)
        for part, spacing in self._parts():
            found[part] *= spacing
        return found

    def _parts(self) -> list[tuple[slice, float]]:
        parts, start = [], 0
        for size, spacing in self.blocks:
            parts.append((slice(start, start + size), spacing))
            start += size
        return parts

    def _within(self, scaled: NDArray[np.generic]) -> NDArray[np.generic]:
        # Not by absolute values: that of the smallest integer is negative.
        if scaled.size and not (scaled.max() <= self.limit and scaled.min() >= -self.limit):
            raise OutOfRange(f"a coordinate is beyond {self.limit} points")
        return scaled


def spacing_for(largest: float, terms: int) -> float:
    """The finest power of two with which coordinates up to ``largest`` fit into a sum."""
    _validate.positive(largest=largest)
    # From the exponent, which is exact: logarithms differ between machines in their last digit.
    half, power = math.frexp(largest * terms / _LARGEST_SUM)
    return math.ldexp(1.0, power - (half == 0.5))
