# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where the numbers of a release lie as integers, so that many of them add up modulo 2^32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import ConfigError, OutOfRange, PrivacyError
from fedcode.privacy import _validate

RING = 1 << 32
"""Integers are added modulo this."""

_LARGEST_SUM = RING // 2 - 1  # either sign
_ROOM = 16.0  # standard deviations: no sample of the noise is beyond nine


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

    def exact(self, points: NDArray[np.int64], spacing: float) -> NDArray[np.int32]:
        """Points of a lattice of ``spacing``, as they are, shape (d,).

        Raises:
            OutOfRange: one is beyond :attr:`limit`.
            PrivacyError: another shape or another spacing than the blocks'.
        """
        if points.shape != (self.size,) or any(own != spacing for _, own in self.blocks):
            raise PrivacyError("the points are not of this lattice")
        return self._within(points).astype(np.int32)

    def values(self, total: NDArray[np.int64]) -> NDArray[np.float64]:
        """What a sum of points stands for, shape (d,)."""
        found = total.astype(np.float64)
        for part, spacing in self._parts():
            found[part] *= spacing
        return found

    def check_room(self, std: float, largest: float = 0.0) -> None:
        """Whether one term's noise fits with room to spare.

        Args:
            std: of the noise.
            largest: what a coordinate is expected to be without it; it may be twice that.

        Raises:
            ConfigError: it does not fit.
        """
        for _, spacing in self.blocks:
            if (_ROOM * std + 2 * largest) / spacing > self.limit:
                raise ConfigError(
                    f"the sums of {self.terms} members do not fit into one modulo 2^32",
                    "fewer members, less noise, a smaller nominal_batch or no metrics",
                )

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
    return 2.0 ** math.ceil(math.log2(largest * terms / _LARGEST_SUM))
