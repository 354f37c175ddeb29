# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of one distribution seldom drift, and another distribution is noticed."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from profiles import WORDS, drawn

from fedcode.corpus.data_tests import failing, run
from fedcode.corpus.profile import profile
from fedcode.data_tests import AgentDataTests

PAIRS = 60
DRIFTS = ("drift-lengths", "drift-tokens", "drift-labels")


@pytest.mark.parametrize("files", [30, 120])
def test_false_alarms_are_rare(files) -> None:
    """At most one in a thousand by chance: one of three times sixty would be a lot."""
    found = [profile(drawn(1000 + n, files=files, labelled=True)) for n in range(PAIRS + 1)]
    alarms = [failing(run(now, AgentDataTests(), history=[last])) for last, now in pairwise(found)]
    assert sum(map(len, alarms)) <= 1


def test_false_alarms_stay_rare_with_learned_thresholds() -> None:
    found = [profile(drawn(2000 + n, files=60, labelled=True)) for n in range(PAIRS)]
    alarms = [
        failing(run(found[n], AgentDataTests(), history=found[n - 6 : n])) for n in range(6, PAIRS)
    ]
    assert sum(map(len, alarms)) <= 1


SHIFTS = {
    "drift-lengths": {"mean": 80.0},
    "drift-tokens": {"words": WORDS[::-1]},
    "drift-labels": {"defective": 0.35},
}


@pytest.mark.parametrize("name", DRIFTS)
def test_a_real_shift_is_caught_nearly_always(name) -> None:
    caught = 0
    for number in range(20):
        last = profile(drawn(3000 + number, files=60, labelled=True))
        now = profile(drawn(4000 + number, files=60, labelled=True, **SHIFTS[name]))
        found = failing(run(now, AgentDataTests(), history=[last]))
        assert set(found) <= {name}
        caught += name in found
    assert caught >= 19
