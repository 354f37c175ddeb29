# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from fedcode.errors import ConfigError, TrainingError
from fedcode.record import Corpus, Record, SourceFile, UnitId
from fedcode.tasks.language_measures import METRICS
from fedcode.tasks.ngram import SILENT, NgramTask, corrections, kneser_ney_baseline

SETTINGS = {"order": 3, "vocabulary": 300, "min_records": 3}


def corpus(name, seed, favourite, files=6, functions=8):
    """Functions of a few lines; ``favourite`` is the method that half of them call."""
    rng = np.random.default_rng(seed)
    made = []
    for f in range(files):
        path = f"{name}{f}.py"
        records, tokens = [], []
        for g in range(functions):
            call = favourite if rng.random() < 0.5 else rng.choice(["load", "store", "close"])
            names = rng.choice(["item", "value", "path"], 2)
            own = f"def f{g} ( {names[0]} ) : <NL> <IN> self . {call} ( {names[1]} ) <NL> <DE>"
            unit = UnitId(f"{path}::f{g}")
            records.append(Record(unit, path, f"f{g}", "function", tuple(own.split()), 2))
            tokens += own.split()
        made.append(SourceFile(path, tuple(tokens), tuple(records)))
    return Corpus(name, tuple(made))


PUBLIC = corpus("public", 0, "load")
MEMBER = corpus("member", 1, "close", files=20)
UNSEEN = corpus("unseen", 2, "close")


@pytest.fixture(scope="module")
def task():
    return NgramTask.make(SETTINGS, PUBLIC)


def summed(task, records):
    total = np.zeros(task.size, np.float32)
    for record in records:
        where, counts = task.counts(record)
        total[where] += counts
    return total


def test_a_record_counts_each_of_its_ngrams_once_with_norm_one(task):
    for record in MEMBER.records():
        where, counts = task.counts(record)
        assert where.dtype == np.int64
        assert counts.dtype == np.float32
        assert (np.diff(where) > 0).all()
        assert 0 <= where[0] <= where[-1] < task.size - SILENT
        assert np.linalg.norm(counts) == pytest.approx(1, abs=1e-6)
        assert len(set(counts.tolist())) == 1


def test_repetition_and_rare_ngrams_add_nothing(task):
    def held(text):
        record = Record(UnitId("r"), "r.py", "r", "function", tuple(text.split()), 1)
        return task.counts(record)[0].tolist()

    once = held("self . load (")
    assert len(once) > 4
    assert held("self . load ( self . load (")[: len(once)] == once
    assert len(held("😀 ☃ 😀")) < 4
    assert held("") == []


def test_the_public_records_give_the_public_sum(task):
    np.testing.assert_allclose(summed(task, PUBLIC.records())[:-SILENT], task._expected, rtol=1e-4)


def test_every_ngram_that_enough_public_records_hold_is_counted(task):
    fewer = NgramTask.make({**SETTINGS, "max_coordinates": 50}, PUBLIC)
    rarer = NgramTask.make({**SETTINGS, "min_records": 1}, PUBLIC)
    assert 50 + SILENT == fewer.size < task.size < rarer.size
    least_kept = fewer._expected.min()
    dropped = np.setdiff1d(task._ngrams, fewer._ngrams)
    assert (np.isin(fewer._ngrams, task._ngrams)).all()
    assert np.median(task._expected[task._coordinate[dropped]]) < least_kept


def test_no_counts_leave_the_public_model(task):
    figures = task.measure_counts(np.zeros(task.size, np.float32), UNSEEN.files)
    five = NgramTask.make({**SETTINGS, "order": 5}, PUBLIC)
    assert set(figures) == {metric.key for metric in METRICS}
    alone = kneser_ney_baseline(five.subwords, PUBLIC.files, {"unseen": UNSEEN.files})["unseen"]
    five_figures = five.measure_counts(np.zeros(five.size, np.float32), UNSEEN.files)
    assert five_figures == pytest.approx(alone)


def test_the_publics_own_counts_change_nothing(task):
    public = task.measure_counts(np.zeros(task.size, np.float32), UNSEEN.files)
    same = task.measure_counts(3 * summed(task, PUBLIC.records()), UNSEEN.files)
    assert same["bits"] == pytest.approx(public["bits"], abs=1e-5)


def test_members_counts_help_even_with_noise_and_whatever_their_scale(task):
    public = task.measure_counts(np.zeros(task.size, np.float32), UNSEEN.files)
    counts = summed(task, MEMBER.records())
    noise = np.random.default_rng(0).normal(0, 0.6, task.size).astype(np.float32)
    exact, noised, scaled = (
        task.measure_counts(c, UNSEEN.files)["bits"]
        for c in (counts, counts + noise, (counts + noise) / 7)
    )
    assert max(exact, noised) < public["bits"] - 0.02
    assert scaled == pytest.approx(noised, rel=1e-5)


def test_noise_alone_does_little_harm(task):
    public = task.measure_counts(np.zeros(task.size, np.float32), UNSEEN.files)["bits"]
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(0, 100, task.size).astype(np.float32)
        assert task.measure_counts(noise, UNSEEN.files)["bits"] < public + 0.1


def test_corrections_computed_by_hand():
    expected = np.array([10.0, 20.0, 30.0])
    # Half as much in all: what is expected is 5, 10, 15.
    sums = np.array([10.0, 0.0, 20.0])
    exact = corrections(sums, expected, 0.0, 1.0)
    np.testing.assert_allclose(exact, [(1 + 2) / 2, 1 / 2, (1 + 20 / 15) / 2])
    # At the second one prior and noise are as large as each other: half way.
    noised = corrections(sums, expected, 10.0, 1.0)
    assert noised[1] == pytest.approx((1 + 5 / 10) / 2)
    np.testing.assert_allclose(corrections(sums, expected, 1e9, 1.0), 1)
    np.testing.assert_array_equal(corrections(-sums, expected, 1.0, 1.0), 1)
    assert corrections(np.array([-9.0, 40.0, 40.0]), expected, 0.0, 3.0).min() > 0


def test_refuses_counts_of_another_shape_or_not_finite(task):
    for counts in (np.zeros(task.size - 1, np.float32), np.full(task.size, np.nan, np.float32)):
        with pytest.raises(TrainingError, match="finite counts"):
            task.measure_counts(counts, UNSEEN.files)


def test_fingerprint_names_settings_and_public_code(task):
    again = NgramTask.make(SETTINGS, PUBLIC)
    other = NgramTask.make({**SETTINGS, "trust": 3.0}, PUBLIC)
    elsewhere = NgramTask.make(SETTINGS, corpus("public", 5, "load"))
    assert task.fingerprint() == again.fingerprint()
    assert len({t.fingerprint() for t in (task, other, elsewhere)}) == 3


def test_has_no_baseline_of_its_own(task):
    assert task.baselines(MEMBER.files, {"unseen": UNSEEN.files}) == {}
    assert (task.name, task.labels) == ("ngram", "none")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("smoothing", 1), ("order", 0), ("max_coordinates", 0), ("trust", 0), ("trust", "nan")],
)
def test_refuses_settings_that_cannot_be(setting, value):
    with pytest.raises(ConfigError, match=setting):
        NgramTask.make({setting: value}, PUBLIC)


def test_refuses_public_code_without_common_ngrams():
    with pytest.raises(ConfigError, match="1000 public records"):
        NgramTask.make({**SETTINGS, "min_records": 1000}, PUBLIC)
