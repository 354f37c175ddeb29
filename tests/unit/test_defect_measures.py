# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from fedcode.record import Record, SourceFile, UnitId
from fedcode.tasks.defect_measures import (
    METRICS,
    labelled,
    lines_baseline,
    measures,
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
