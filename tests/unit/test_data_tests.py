# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Each test of data, on data that must pass and on its neighbour that must not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
from profiles import WORDS, drawn, record

from fedcode.corpus.data_tests import failing, leaks, run
from fedcode.corpus.profile import BUCKETS, EDGES, Profile, profile, texts
from fedcode.data_tests import DATA_TESTS, AgentDataTests, SimulatedDataTests
from fedcode.errors import ConfigError
from fedcode.record import SourceFile
from fedcode.strict import checked

USUAL = AgentDataTests()


def outcome(name, files, settings=USUAL, **more):
    found = run(profile(files), settings, **more)
    assert [one.test for one in found] == list(DATA_TESTS)
    return next(one for one in found if one.test == name)


def changed(files, number, change):
    """The same files, with something else in their first ``number`` records."""
    left, made = number, []
    for file in files:
        records = list(file.records)
        for place in range(min(left, len(records))):
            records[place] = change(records[place])
        left -= min(left, len(records))
        made.append(replace(file, records=tuple(records)))
    return made


def test_sound_data_passes_everything_that_can_be_told() -> None:
    found = run(profile(drawn(1, labelled=True)), USUAL, labels="defects")
    assert {one.test: one.state for one in found} == {
        **dict.fromkeys(("schema", "labels", "lengths", "tokens", "duplicates"), "passed"),
        "leakage": "passed",
        **dict.fromkeys(("drift-lengths", "drift-tokens", "drift-labels"), "not-applicable"),
    }
    assert failing(found) == ()


WRONG = {
    "empty": lambda r: replace(r, tokens=()),
    "lines": lambda r: replace(r, lines=0),
    "first-last": lambda r: replace(r, first=3, last=2),
    "label": lambda r: replace(r, label=2),
    "place": lambda r: replace(r, place=len(r.tokens)),
    "feature": lambda r: replace(r, features=(("age", math.inf),)),
    "no-name": lambda r: replace(r, path=""),
    "unit-twice": lambda r: replace(r, unit="f1.py::g1"),
}


@pytest.mark.parametrize("word", WRONG)
def test_a_record_that_is_not_as_it_should_be_fails_the_schema(word) -> None:
    files = drawn(1, files=3)
    assert outcome("schema", files).state == "passed"
    found = outcome("schema", changed(files, 1, WRONG[word]))
    assert (found.state, found.value, found.threshold) == ("failed", 1, 0)
    assert f"{word} 1" in found.said


def test_features_of_other_names_fail_the_schema() -> None:
    alike = changed(drawn(1, files=3), 9, lambda r: replace(r, features=(("age", 1.0),)))
    assert outcome("schema", alike).state == "passed"
    other = changed(alike, 1, lambda r: replace(r, features=(("size", 1.0),)))
    assert outcome("schema", other).said.endswith("feature-names 1")


def test_rows_of_tables_and_commits_are_as_they_should_be() -> None:
    row = replace(record("a", "b", ()), kind="class", lines=0, features=(("wmc", 1.0),), label=1)
    commit = replace(record("c", "d", ()), kind="commit", lines=0, label=0)
    found = run(profile([SourceFile("a", (), (row,)), SourceFile("c", (), (commit,))]), USUAL)
    assert {one.state for one in found} == {"passed", "not-applicable"}


@pytest.mark.parametrize(
    ("share", "state"), [(0.0, "failed"), (0.1, "passed"), (0.9, "passed"), (1.0, "failed")]
)
def test_labels_need_both_kinds(share, state) -> None:
    files = drawn(3, labelled=True, defective=share)
    assert outcome("labels", files, labels="defects").state == state
    assert outcome("labels", files).state == "not-applicable", "no task asks for them"


def test_bounds_of_labels_are_policy() -> None:
    files = drawn(3, labelled=True, defective=0.3)
    strict = AgentDataTests(least_defective=0.4)
    found = outcome("labels", files, strict, labels="defects")
    assert (found.state, found.threshold) == ("failed", 0.4)
    assert found.value == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize(
    ("tokens", "share", "state"),
    [(1, 0.15, "passed"), (1, 0.25, "failed"), (20_001, 0.04, "passed"), (20_001, 0.06, "failed")],
)
def test_tiny_and_endless_records(tokens, share, state) -> None:
    files = drawn(4)
    number = round(480 * share)
    other = changed(files, number, lambda r: replace(r, tokens=(r.tokens * tokens)[:tokens]))
    assert outcome("lengths", other).state == state


@pytest.mark.parametrize(("words", "state"), [(WORDS, "passed"), (["pass", "x"], "failed")])
def test_the_same_word_over_and_over(words, state) -> None:
    assert outcome("tokens", drawn(5, words=words)).state == state


@pytest.mark.parametrize(("copies", "state"), [(4, "passed"), (6, "failed")])
def test_duplicates(copies, state) -> None:
    first = drawn(6)[0].records[0].tokens
    files = changed(drawn(6), copies + 1, lambda r: replace(r, tokens=first))
    found = outcome("duplicates", files)
    assert (found.state, found.value) == (state, copies / 480)


def test_what_is_measured_on_must_not_be_trained_on() -> None:
    train, other = drawn(7, files=4), drawn(8, files=4, prefix="h")
    assert leaks(texts(train), texts(other)) == 0
    leaked = leaks(texts(train), texts([*other, train[0]]))
    assert leaked == len(train[0].records)
    assert outcome("leakage", train, leaked=0).state == "passed"
    assert outcome("leakage", train, leaked=leaked).state == "failed"


DRIFTING = {
    "drift-lengths": {"mean": 90.0},
    "drift-tokens": {"words": WORDS[::-1]},
    "drift-labels": {"defective": 0.4},
}


@pytest.mark.parametrize("name", DRIFTING)
def test_drift_against_the_last_accepted_snapshot(name) -> None:
    last = profile(drawn(10, labelled=True))
    same = outcome(name, drawn(11, labelled=True), history=[last])
    assert same.state == "passed"
    assert 0 < same.value < same.threshold
    other = outcome(name, drawn(12, labelled=True, **DRIFTING[name]), history=[last])
    assert other.state == "failed"
    assert other.value > other.threshold
    none = [one for one in DRIFTING if one != name]
    found = run(profile(drawn(12, labelled=True, **DRIFTING[name])), USUAL, history=[last])
    assert [one.test for one in found if one.test in none and one.state == "failed"] == []


def test_only_the_last_snapshot_counts() -> None:
    far, near = profile(drawn(10, mean=90.0)), profile(drawn(11))
    assert outcome("drift-lengths", drawn(12), history=[far, near]).state == "passed"
    assert outcome("drift-lengths", drawn(12), history=[near, far]).state == "failed"


def test_thresholds_are_learned_from_the_history_of_snapshots() -> None:
    """What moves little is held to little; what always moves, to what is usual for it."""
    still = [profile(drawn(20 + n, files=1500, each=2)) for n in range(4)]
    moved = drawn(30, files=1500, each=2, mean=46.0)
    first = outcome("drift-lengths", moved, history=still[:3])
    assert (first.state, first.threshold) == ("passed", 0.1)
    learned = outcome("drift-lengths", moved, history=still)
    assert learned.state == "failed"
    assert learned.threshold < 0.1
    assert "learned" in learned.said
    lively = [profile(drawn(40 + n, files=400, mean=m)) for n, m in enumerate((40, 55, 40, 55))]
    assert outcome("drift-lengths", drawn(50, files=400), history=lively).state == "passed"
    assert outcome("drift-lengths", drawn(50, files=400), history=lively[-1:]).state == "failed"


def test_what_a_person_has_let_through_is_not_learned_from() -> None:
    found = [profile(drawn(40 + n, files=400, mean=m)) for n, m in enumerate((40, 90, 40, 90))]
    moved = drawn(50, files=400, mean=50.0)
    usual = list(pairwise(found))
    assert outcome("drift-lengths", moved, history=found).state == "passed"
    assert outcome("drift-lengths", moved, history=found, usual=usual[:0]).state == "failed"


@pytest.mark.parametrize("files", [1, 24])
def test_few_records_fail_no_test_of_shares(files) -> None:
    """However they are: 8 or 192 of them are too few to tell."""
    other = profile(drawn(1, labelled=True))
    degenerate = [
        replace(f, records=tuple(replace(r, tokens=("x",), label=1) for r in f.records))
        for f in drawn(2, files=files, mean=500.0)
    ]
    found = run(profile(degenerate), USUAL, labels="defects", history=[other])
    assert failing(found) == ()
    assert {one.test for one in found if one.state == "passed"} == {"schema", "leakage"}
    more = [*degenerate, *(replace(f, path=f"z{f.path}") for f in drawn(2, files=2, prefix="z"))]
    if files == 24:
        assert "duplicates" in failing(run(profile(more), USUAL)), "200 are enough"


def test_a_test_that_is_off_is_said_to_be_off() -> None:
    files = changed(drawn(1, files=3), 1, WRONG["label"])
    off = AgentDataTests(off=("schema",))
    found = outcome("schema", files, off)
    assert (found.state, found.value) == ("off", None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"off": ["nothing"]}, "off.0"),
        ({"off": ["schema", "schema"]}, "named twice"),
        ({"accept": {"leakage": "known"}}, "accept: unknown key"),
        ({"least_defective": 0.9, "most_defective": 0.5}, "more than"),
        ({"few": 0}, "few"),
        ({"snapshots": 3}, "snapshots"),
        ({"fewest": 3}, "unknown key"),
    ],
)
def test_settings_that_cannot_be(values, words) -> None:
    with pytest.raises(ConfigError, match=words):
        checked(AgentDataTests, values, "client.toml")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"off": ["schema"], "accept": {"schema": "known"}}, "is off"),
        ({"accept": {"leakage": ""}}, "accept.leakage"),
        ({"accept": {"leaks": "known"}}, "accept.leaks"),
        ({"psi": 0.3}, "psi: unknown key"),
    ],
)
def test_a_simulation_accepts_with_a_reason_and_has_no_history(values, words) -> None:
    with pytest.raises(ConfigError, match=words):
        checked(SimulatedDataTests, values, "federation.toml")


def test_nothing_drifts_in_a_simulation() -> None:
    found = run(profile(drawn(1)), SimulatedDataTests(), history=[profile(drawn(1, mean=90.0))])
    assert failing(found) == ()
    assert "simulation" in found[-1].said


def test_a_profile_is_numbers_and_comes_back_from_json() -> None:
    found = profile(drawn(1, labelled=True))
    text = json.dumps(found.plain())
    assert Profile.read(json.loads(text)) == found
    assert "word" not in text
    assert "f1.py" not in text
    assert sum(found.buckets) == found.tokens
    assert sum(found.lengths) == sum(found.lines) == found.records == found.units == 480
    assert (len(found.buckets), len(found.lengths)) == (BUCKETS, len(EDGES) + 1)


@pytest.mark.parametrize(
    "change",
    [{"buckets": [1]}, {"records": -1}, {"records": 1.5}, {"digest": 3}, {"more": 1}, {"sizes": 1}],
)
def test_a_profile_that_was_changed_is_refused(change) -> None:
    with pytest.raises(ValueError, match="no profile"):
        Profile.read(profile(drawn(1, files=2)).plain() | change)


def test_an_empty_corpus_has_a_profile() -> None:
    found = run(profile([]), USUAL, labels="defects", history=[profile([])])
    assert failing(found) == ()


def test_the_digest_tells_labels_tokens_and_names_apart() -> None:
    files = drawn(1, files=3, labelled=True)
    flipped = changed(files, 1, lambda r: replace(r, label=1 - r.label))
    renamed = changed(files, 1, lambda r: replace(r, unit="other"))
    other = changed(files, 1, lambda r: replace(r, tokens=(*r.tokens, "x")))
    digests = {profile(one).digest for one in (files, flipped, renamed, other)}
    assert len(digests) == 4
