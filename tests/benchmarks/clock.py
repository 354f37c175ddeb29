# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What each party of a protocol costs where all of them run in one process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, process_time

NOBODY = ""


@dataclass
class Clock:
    """Who works, and at what; one party at a time.

    Attributes:
        processor: seconds by party and stage.
        wall: seconds by party.
        stage: what is being done.
    """

    processor: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage: str = ""
    _party: str = NOBODY
    _since: tuple[float, float] = (0.0, 0.0)

    @contextmanager
    def of(self, party: str) -> Iterator[None]:
        """Counts for ``party``, and no longer for whom it counted before."""
        outer = self._party
        self._turn(party)
        try:
            yield
        finally:
            self._turn(outer)

    def _turn(self, party: str) -> None:
        now = process_time(), perf_counter()
        if self._party != NOBODY:
            self.processor[self._party, self.stage] += now[0] - self._since[0]
            self.wall[self._party] += now[1] - self._since[1]
        self._party, self._since = party, (process_time(), perf_counter())

    def seconds(self, parties: Sequence[str]) -> float:
        """Of the processor, the mean of ``parties``."""
        return sum(s for (who, _), s in self.processor.items() if who in parties) / len(parties)

    def stages(self, parties: Sequence[str]) -> dict[str, float]:
        """The same by stage."""
        found: dict[str, float] = defaultdict(float)
        for (who, stage), seconds in self.processor.items():
            if who in parties:
                found[stage] += seconds / len(parties)
        return found
