# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members that go away in the middle of a round, as the seed has it."""

from __future__ import annotations

import numpy as np

from fedcode.transport.lossy import Fate


class Dropping:
    """A member that is lost at some step of some rounds, and back in the next round.

    Args:
        rate: the chance to be lost, of each round.
        steps: messages that a round asks of it.
        seed: of this member's losses.
    """

    def __init__(self, rate: float, steps: int, seed: list[int]) -> None:
        self._rate = rate
        self._steps = steps
        self._draw = np.random.default_rng(seed)
        self._left: int | None = None  # half messages until it is lost; None: it stays

    def begin(self) -> None:
        """A new round: whether it will be lost, and when."""
        lost = bool(self._draw.random() < self._rate)
        step = int(self._draw.integers(2 * self._steps))
        self._left = step if lost else None

    def next(self) -> Fate:
        """Of the round's next message: it is gone before it works on it, or just after, or not."""
        if self._left is None:
            return Fate.ANSWERED
        if self._left == 0:
            return Fate.UNSENT
        if self._left == 1:
            self._left = 0
            return Fate.UNHEARD
        self._left -= 2
        return Fate.ANSWERED
