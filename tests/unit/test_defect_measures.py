# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from fedcode.record import Record, SourceFile, UnitId
from fedcode.tasks.defect_measures import (
    FIELD,
    METRICS,
    false_alarms,
    field_measures,
    intervals,
    labelled,
    lines_baseline,
    measures,
    numbers_baseline,
    recall_at_effort,
    tokens_baseline,
)


def record(label, lines=1, tokens=("a",), kind="function"):
    return Record(UnitId("u"), "u.py", "u", kind, tuple(tokens), lines, label)


def file(*records):
    return SourceFile("u.py", (), records)


def test_a_perfect_ranking():
    found = measures(np.array([0.9, 0.8, 0.2, 0.1]), [record(1), record(1), record(0), record(0)])
    assert found == {"auc": 1, "average_precision": 1, "mcc": 1, "recall20": 0}
    assert list(found) == [metric.key for metric in METRICS]


def test_the_wrong_way_round():
    found = measures(np.array([0.1, 0.2, 0.8, 0.9]), [record(1), record(1), record(0), record(0)])
    assert found["auc"] == 0
    assert found["mcc"] == -1


def test_auc_and_average_precision_by_hand():
    # ranks: defective first and third of four
    found = measures(np.array([0.9, 0.7, 0.6, 0.1]), [record(1), record(0), record(1), record(0)])
    assert found["auc"] == pytest.approx(3 / 4)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)


def test_recall_reads_whole_functions_until_the_lines_are_used_up():
    chances = np.array([0.9, 0.8, 0.7, 0.1])
    labels, lines = np.array([1, 1, 0, 1]), np.array([10, 10, 10, 70])
    assert recall_at_effort(chances, labels, lines) == pytest.approx(2 / 3)
    assert recall_at_effort(chances, labels, lines, effort=0.19) == pytest.approx(1 / 3)
    assert recall_at_effort(chances, labels, lines, effort=1) == 1


def test_recall_breaks_ties_by_the_order_given():
    labels, lines = np.array([0, 0, 0, 0, 1]), np.ones(5, np.int64)
    assert recall_at_effort(np.full(5, 0.5), labels, lines) == 0
    assert recall_at_effort(np.full(5, 0.5), labels[::-1], lines) == 1


@pytest.mark.parametrize("labels", [(), (1, 1), (0, 0)])
def test_one_kind_of_functions_cannot_be_measured(labels):
    assert measures(np.full(len(labels), 0.5), [record(label) for label in labels]) == {}


def test_only_functions_with_a_label_count():
    one, module = record(0), record(1, kind="module")
    assert labelled([file(record(None), one, module)]) == [one]


def test_lines_alone_find_what_depends_on_lines():
    train = [file(*(record(int(n > 20), n) for n in range(1, 41)))]
    found = lines_baseline(train, {"": [file(record(1, 30), record(0, 3))]})
    assert found[""]["auc"] == 1


def test_tokens_find_what_depends_on_tokens_and_lines_do_not():
    train = [file(*(record(i % 2, 5, ("x", "bad" if i % 2 else "good")) for i in range(40)))]
    test = {"": [file(record(1, 5, ("y", "bad")), record(0, 5, ("y", "good")))]}
    assert tokens_baseline(train, test)[""]["auc"] == 1
    assert lines_baseline(train, test)[""]["auc"] == 0.5


@pytest.mark.parametrize("baseline", [lines_baseline, tokens_baseline])
def test_baselines_say_nothing_without_both_kinds(baseline):
    both = [file(record(1), record(0))]
    assert baseline([], {"": both}) == {"": {}}
    assert baseline([file(record(1))], {"": both}) == {"": {}}
    assert baseline(both, {"": [file(record(None))]}) == {"": {}}


def test_false_alarms_are_counted_up_to_the_first_hit():
    labels = np.array([0, 1, 0, 1])
    assert false_alarms(np.array([0.9, 0.1, 0.8, 0.7]), labels) == 2
    assert false_alarms(np.array([0.1, 0.9, 0.8, 0.7]), labels) == 0
    assert false_alarms(np.full(4, 0.5), labels) == 1


def test_what_the_field_reports():
    records = [record(1, 1), record(0, 99), record(0, 50), record(1, 50)]
    found = field_measures(np.array([0.6, 0.9, 0.2, 0.4]), records)
    assert list(found) == [metric.key for metric in FIELD]
    assert found["f1"] == pytest.approx(0.5)
    assert found["ifa"] == 1
    # by chance per line: the first, then 0.0090, 0.0078; 40 of 200 lines are read
    assert found["recall20_density"] == pytest.approx(0.5)
    assert field_measures(np.full(2, 0.5), [record(0), record(0)]) == {}


def test_intervals_lie_around_the_figures_and_shrink_with_more_records():
    draw = np.random.default_rng(0)
    widths = []
    for size in (40, 400):
        labels = np.arange(size) % 2
        chances = (draw.normal(size=size) + labels).clip(-3, 4)
        records = [record(int(label), 3) for label in labels]
        found = intervals(measures, chances, records, times=200, seed=1)
        low, high = found["auc"]
        assert low < measures(chances, records)["auc"] < high
        assert found == intervals(measures, chances, records, times=200, seed=1)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert intervals(measures, np.full(2, 0.5), [record(1), record(1)]) == {}


def test_numbers_find_what_depends_on_a_feature_that_all_have():
    def aged(label, age):
        return replace(record(label, 5), features=(("age", age), (f"only{age}", 1.0)))

    train = [file(*(aged(int(age > 20), float(age)) for age in range(40)))]
    test = {"": [file(aged(1, 30.0), aged(0, 3.0))]}
    assert numbers_baseline(train, test)[""]["auc"] == 1
    assert numbers_baseline([], test) == {"": {}}
