# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whom not to ask for a while: members that make the others pay for rounds without a total."""

from __future__ import annotations

from collections.abc import Callable

from fedcode.rounds.coordinator import Outcome
from fedcode.rounds.gathering import TRAINED

_LONGEST = 16

_PAID = (TRAINED, "confirmation", "reveal")
"""Steps before which others may have paid."""


class Resting:
    """Leaves a member out for 1, 2, 4, … rounds after each loss in a row, at most 16.

    It forgets with its process: then everybody is asked again.
    """

    def __init__(self) -> None:
        self._losses: dict[str, int] = {}
        self._until: dict[str, int] = {}

    def note(self, outcome: Outcome) -> None:
        """Learns from a round."""
        lost = {
            name for story in outcome.sums for name, one in story.lost.items() if one.step in _PAID
        }
        for name in lost:
            self._losses[name] = self._losses.get(name, 0) + 1
            rounds = min(2 ** (self._losses[name] - 1), _LONGEST)
            self._until[name] = outcome.round + rounds
        for name in set(outcome.survivors) - lost:
            self._losses.pop(name, None)

    def without(
        self, number: int, members: frozenset[str], possible: Callable[[int], bool]
    ) -> frozenset[str]:
        """Who is left out of round ``number``; nobody where too few would be asked.

        Args:
            number: of the round.
            members: that could be asked.
            possible: whether a round may ask so many.
        """
        resting = frozenset(name for name in members if self._until.get(name, 0) >= number)
        return resting if possible(len(members - resting)) else frozenset()
