# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A coordinator that dies in the midst of a round, anywhere, and starts again with its record."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from few_numbers import FOUR, SEED, START, Federation, SumTrainer, agreement_of, read

from fedcode.errors import RunError
from fedcode.federation import TrainingSettings
from fedcode.rounds.coordinator import Coordinator, State
from fedcode.rounds.record import RoundRecord
from fedcode.simulation.identities import coordinator_of
from fedcode.transport.in_memory import Silent
from fedcode.wire import SurvivorList

SUMS = TrainingSettings(kind="gradient-sum", sampling_rate=0.5, learning_rate=1.0)


class Died(BaseException):
    """The coordinator's process is gone."""


def federation(mode: str = "secagg") -> Federation:
    agreed = agreement_of(roster=FOUR, mode=mode, training=SUMS)
    trainers = {name: SumTrainer(n, agreed) for n, name in enumerate(FOUR)}
    return Federation(agreed, trainers=trainers)


class Dying:
    """Counts what each member is asked, and ends the coordinator at the ``at``-th answer.

    Before it is taken, or with ``after`` when it was kept.
    """

    def __init__(self, made: Federation, at: int, record: RoundRecord) -> None:
        self.made, self.at, self.record = made, at, record
        self.asked: Counter[tuple[str, bytes]] = Counter()
        self.lists: set[tuple[str, ...]] = set()
        self.answers = 0
        for name in FOUR:
            made.ways[name] = self._way(name)

    def _way(self, name: str):
        member = self.made.members[name]

        def answer(data: bytes) -> bytes:
            self.answers += 1
            if self.answers == self.at:
                raise Died
            self.asked[name, data] += 1
            message = read(data)
            if isinstance(message, SurvivorList):
                self.lists.add(message.survivors)
            return member.answer(data)

        return answer

    def coordinator(self) -> Coordinator:
        """Another process."""
        return Coordinator(
            self.made.agreement, self.made.grid, self.made.grid.nodes, coordinator_of(SEED)
        )


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*-*")}


ANSWERS = range(1, 21)
"""Four members, five steps."""


def whole() -> tuple[State, object]:
    made = federation()
    return made.coordinator.run(State(0, START))


@pytest.mark.parametrize("at", ANSWERS)
def test_a_round_is_gone_on_with_wherever_it_was_left(tmp_path: Path, at: int) -> None:
    expected, _ = whole()
    made, record = federation(), RoundRecord(tmp_path / "one")
    dying = Dying(made, at, record)
    with pytest.raises(Died):
        dying.coordinator().run(State(0, START), record)
    state, outcome = dying.coordinator().run(State(0, START), RoundRecord(tmp_path / "one"))
    assert outcome.survivors == FOUR
    assert np.array_equal(state.weights, expected.weights)
    assert len(dying.lists) == 1  # one set of survivors, whoever asks
    assert all(made.ledgers[name].charges("code") == 1 for name in FOUR)


def test_what_was_heard_is_not_asked_again(tmp_path: Path) -> None:
    made, record = federation(), RoundRecord(tmp_path / "one")
    dying = Dying(made, 0, record)
    first, _ = dying.coordinator().run(State(0, START), record)
    asked = dying.answers
    again, _ = dying.coordinator().run(State(0, START), RoundRecord(tmp_path / "one"))
    assert dying.answers == asked
    assert np.array_equal(first.weights, again.weights)


def test_who_was_lost_before_the_crash_stays_lost(tmp_path: Path) -> None:
    """Even if it would answer now: its survivors are the ones that members have confirmed."""
    made, record = federation(), RoundRecord(tmp_path / "one")
    dying = Dying(made, 17, record)  # at the first of the confirmations' lists, with three members
    silent = made.ways["d"]
    steps = Counter[str]()

    def gone(data: bytes) -> bytes:
        steps["asked"] += 1
        if steps["asked"] > 2:
            raise Silent
        return silent(data)

    made.ways["d"] = gone
    with pytest.raises(Died):
        dying.coordinator().run(State(0, START), record)
    made.ways["d"] = silent
    _, outcome = dying.coordinator().run(State(0, START), RoundRecord(tmp_path / "one"))
    assert outcome.survivors == ("a", "b", "c")
    assert dying.lists == {("a", "b", "c")}


def test_the_cohort_is_the_one_before_the_crash(tmp_path: Path) -> None:
    made, record = federation(), RoundRecord(tmp_path / "one")
    dying = Dying(made, 2, record)
    with pytest.raises(Died):
        dying.coordinator().run(State(0, START), record, without={"d"})
    _, outcome = dying.coordinator().run(State(0, START), RoundRecord(tmp_path / "one"))
    assert outcome.survivors == ("a", "b", "c")


def test_without_masks_it_is_the_same(tmp_path: Path) -> None:
    made, record = federation("open"), RoundRecord(tmp_path / "one")
    dying = Dying(made, 3, record)
    with pytest.raises(Died):
        dying.coordinator().run(State(0, START), record)
    _, outcome = dying.coordinator().run(State(0, START), RoundRecord(tmp_path / "one"))
    assert outcome.survivors == FOUR
    assert all(made.ledgers[name].charges("code") == 1 for name in FOUR)


def test_a_round_that_is_over_leaves_nothing(tmp_path: Path) -> None:
    record = RoundRecord(tmp_path / "one")
    federation().coordinator.run(State(0, START), record)
    assert kept(tmp_path / "one")
    record.forget()
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "\x00"])
def test_a_record_that_cannot_be_read_stops_the_round(tmp_path: Path, text: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "cohort.json").write_text(text)
    with pytest.raises(RunError, match="cannot be read"):
        federation().coordinator.run(State(0, START), RoundRecord(tmp_path / "one"))


def test_a_cohort_is_kept_before_anybody_is_asked(tmp_path: Path) -> None:
    record = RoundRecord(tmp_path / "one")
    dying = Dying(federation(), 1, record)
    with pytest.raises(Died):
        dying.coordinator().run(State(0, START), record)
    assert json.loads((tmp_path / "one" / "cohort.json").read_text()) == list(FOUR)
