# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members that go away in the middle of a round, as the seed has it."""

from __future__ import annotations

import numpy as np

from fedcode.transport.flower import Answer
from fedcode.transport.in_memory import Silent


class Dropping:
    """A member that is lost at some step of some rounds, and back in the next round.

    Args:
        answer: the member's half.
        rate: the chance to be lost, of each round.
        steps: messages that a round asks of it.
        seed: of this member's losses.
    """

    def __init__(self, answer: Answer, rate: float, steps: int, seed: list[int]) -> None:
        self._answer = answer
        self._rate = rate
        self._steps = steps
        self._draw = np.random.default_rng(seed)
        self._left: int | None = None  # messages until it is lost; None: it stays

    def begin(self) -> None:
        """A new round: whether it will be lost, and when."""
        lost = bool(self._draw.random() < self._rate)
        step = int(self._draw.integers(2 * self._steps))
        self._left = step if lost else None

    def answer(self, data: bytes) -> bytes:
        """The member's answer, unless it is gone: before it worked on it, or just after."""
        if self._left is None:
            return self._answer(data)
        if self._left == 0:
            raise Silent
        self._left -= 1
        if self._left == 0:
            self._answer(data)
            raise Silent
        self._left -= 1
        return self._answer(data)
