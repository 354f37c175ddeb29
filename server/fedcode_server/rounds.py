# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Carries a run out, round by round; after a crash it goes on where it was, in the midst of one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedcode.agreement import Agreement
from fedcode.errors import Interrupted, RunError
from fedcode.rounds.coordinator import Coordinator, Outcome, State
from fedcode.rounds.exchange import Patience
from fedcode.rounds.resting import Resting
from fedcode.signing import SigningKey
from fedcode.transport.superlink import SuperLink
from fedcode_server.runs import RunFolder
from fedcode_server.settings import RoundSettings

logger = logging.getLogger(__name__)

_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class Present:
    """Who can be asked now.

    Attributes:
        nodes: of each approved member of the roster.
        online: those whose agents are there.
    """

    nodes: Mapping[str, int]
    online: frozenset[str]


class Carrying:
    """One run while it is carried out.

    Args:
        folder: the run's.
        link: reaches the members.
        key: signs all that is sent.
        settings: how long to wait, and when to give up.
        present: who can be asked, of those that the agreement names.
        stop: ends it at once; a round goes on where it was when the run does.
        tell: called after each round with the task.
    """

    def __init__(
        self,
        folder: RunFolder,
        link: SuperLink,
        key: SigningKey,
        settings: RoundSettings,
        present: Callable[[Agreement], Present],
        stop: threading.Event,
        tell: Callable[[str, Outcome], None] = lambda _task, _outcome: None,
    ) -> None:
        self._folder, self._link, self._key = folder, link, key
        self._settings, self._present, self._stop, self._tell = settings, present, stop, tell
        self._patience = Patience(settings.answer_seconds, settings.training_seconds)

    def run(self) -> None:
        """All tasks, one after the other; the weights are written when all are done.

        Raises:
            Interrupted: somebody wants it to stop.
            RunError: too many rounds in a row had no total: a person has to look.
        """
        states = {}
        for signed in self._folder.agreements():
            signed.check()
            states[signed.agreement.task] = self._task(signed.agreement)
            if self._stop.is_set():
                raise Interrupted("stopped between two rounds")
        self._folder.finish(states)

    def _task(self, agreement: Agreement) -> State:
        task, resting, lost = agreement.task, Resting(), 0
        state = self._folder.begin(task)
        while state.round < agreement.rounds and not self._stop.is_set():
            if not agreement.possible(len(set(agreement.roster.names) - state.spent)):
                break
            present = self._gather(agreement, state)
            if present is None:
                break
            left_out = self._left_out(agreement, state, present, resting)
            coordinator = Coordinator(
                agreement,
                self._link.grid(self._stop, self._settings.away_seconds),
                present.nodes,
                self._key,
                self._patience,
            )
            record = self._folder.record(task, state.round + 1)
            state, outcome = coordinator.run(state, record, left_out)
            self._folder.keep_round(task, state, outcome)
            self._tell(task, outcome)
            resting.note(outcome)
            lost = 0 if outcome.changed else lost + 1
            if lost >= self._settings.lost_in_a_row:
                raise RunError(
                    f"{lost} rounds of {task} in a row had no total",
                    "look at the members that were lost, then: fedcode-server run --resume RUN",
                )
        return state

    def _gather(self, agreement: Agreement, state: State) -> Present | None:
        """Waits for everybody a while, then for as many as a round may ask; None on stop."""
        patient_until = time.monotonic() + self._settings.gather_seconds
        while not self._stop.is_set():
            present = self._present(agreement)
            wanted = set(agreement.roster.names) - state.spent
            there = wanted & present.online
            if there == wanted:
                return present
            if time.monotonic() >= patient_until and agreement.possible(len(there)):
                return present
            self._stop.wait(_LOOK)
        return None

    @staticmethod
    def _left_out(
        agreement: Agreement, state: State, present: Present, resting: Resting
    ) -> frozenset[str]:
        everybody = frozenset(present.nodes) - state.spent
        away = everybody - present.online
        there = everybody - away
        return away | resting.without(state.round + 1, there, agreement.possible)
