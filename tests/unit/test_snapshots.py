# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of our data's tests, and what an acceptance is worth."""

from __future__ import annotations

import json

import pytest
from profiles import WORDS, drawn

from fedcode.corpus.profile import profile
from fedcode.data_tests import AgentDataTests
from fedcode.errors import ConfigError, DataRefused, RunError
from fedcode_client.data import Snapshots, Subject

SUBJECT = Subject(("path:/srv/code",), ("folder:1",), "", 20)


@pytest.fixture
def snapshots(tmp_path):
    return Snapshots(tmp_path / "data", AgentDataTests())


def made(snapshots, seed, subject=SUBJECT, leaked=0, **more):
    return snapshots.test(subject, profile(drawn(seed, **more)), leaked, "none")


def test_snapshots_are_compared_with_those_of_the_same_subject(snapshots) -> None:
    made(snapshots, 1)
    assert made(snapshots, 2, mean=90.0).failing == ("drift-lengths",)
    moved = Subject(("path:/home/code",), ("folder:1",), "", 20)
    assert made(snapshots, 2, moved, mean=90.0).failing == ("drift-lengths",)
    for other in (
        Subject(("git:/srv/code",), ("folder:1",), "", 20),
        Subject(("path:/srv/code",), ("folder:2",), "", 20),
        Subject(("path:/srv/code",), ("folder:1",), "injected", 20),
        Subject(("path:/srv/code",), ("folder:1",), "", None),
    ):
        assert made(snapshots, 2, other, mean=90.0).failing == ()


def test_some_of_the_tests_can_be_accepted(snapshots) -> None:
    made(snapshots, 1)
    found = made(snapshots, 2, mean=90.0, words=WORDS[::-1], leaked=1)
    assert found.failing == ("leakage", "drift-lengths", "drift-tokens")
    snapshots.accept("a new team", ["drift-tokens"])
    assert snapshots.missing(found) == ("leakage", "drift-lengths")
    with pytest.raises(DataRefused, match="fails leakage, drift-lengths"):
        snapshots.check(found)
    assert made(snapshots, 2, mean=90.0, words=WORDS[::-1], leaked=1).failing == found.failing
    snapshots.accept("as agreed")
    snapshots.check(found)
    after = made(snapshots, 3, mean=90.0, words=WORDS[::-1])
    assert after.failing == (), "what was accepted is what others are compared with"


def test_what_was_let_through_does_not_widen_thresholds(snapshots) -> None:
    for number, mean in enumerate((40.0, 90.0, 40.0, 90.0, 40.0)):
        made(snapshots, number, files=200, mean=mean)
        if number:
            snapshots.accept("a test")
    assert made(snapshots, 9, files=200, mean=90.0).failing == ("drift-lengths",)


def test_the_log_says_which_test_failed_and_what_to_do(snapshots, caplog) -> None:
    with caplog.at_level("INFO", logger="fedcode_client.data"):
        made(snapshots, 1, leaked=1)
        snapshots.accept("why not")
        made(snapshots, 1, leaked=1)
    (line,) = caplog.records
    assert line.message == "data fails its tests"
    assert line.fields["tests"] == ["leakage"]
    assert line.fields["hint"].startswith("fedcode-client accept-data ")


def test_nothing_to_accept(snapshots) -> None:
    with pytest.raises(RunError, match="nothing waits"):
        snapshots.accept("why not")
    found = made(snapshots, 1, leaked=1)
    for because in ("", " ", "a\nb"):
        with pytest.raises(ConfigError, match=r"no reason|more than one line"):
            snapshots.accept(because)
    with pytest.raises(ConfigError, match="no data test leaks"):
        snapshots.accept("why not", ["leaks"])
    with pytest.raises(RunError, match="schema did not fail"):
        snapshots.accept("why not", ["schema"])
    assert snapshots.missing(found) == ("leakage",)
    snapshots.accept("why not")
    with pytest.raises(RunError, match="nothing waits"):
        snapshots.accept("once more")


def test_a_line_that_a_crash_has_cut_accepts_nothing(snapshots) -> None:
    found = made(snapshots, 1, leaked=1)
    snapshots.accept("why not")
    whole = snapshots.history.read_bytes()
    snapshots.history.write_bytes(whole[:-20])
    assert snapshots.missing(found) == ("leakage",)
    snapshots.accept("why not")
    assert snapshots.missing(found) == ()
    assert len(list(snapshots.acceptances())) == 1


def test_what_was_tested_last_is_damaged(snapshots) -> None:
    made(snapshots, 1)
    (path,) = (snapshots.history.parent / "found").glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    said = json.loads(path.read_text())
    for change in ({"profile": {}}, {"time": None}, {"outcomes": [{}]}, {"subject": 1}):
        path.write_text(json.dumps(said | change))
        with pytest.raises(ConfigError, match="is damaged"):
            snapshots.latest()


def test_going_back_to_an_earlier_snapshot_is_noted(snapshots) -> None:
    first, second = made(snapshots, 1), made(snapshots, 2)
    made(snapshots, 1)
    digests = [one.digest for one in snapshots.acceptances()]
    assert digests == [first.digest, second.digest, first.digest]


def test_whoever_only_looks_notes_nothing(tmp_path) -> None:
    looking = Snapshots(tmp_path / "data", AgentDataTests(), noting=False)
    found = made(looking, 1)
    assert not found.failing
    assert list(looking.acceptances()) == []
    made(Snapshots(tmp_path / "data", AgentDataTests()), 1)
    assert [one.digest for one in looking.acceptances()] == [found.digest]
