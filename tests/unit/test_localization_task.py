# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`localization`: what a record becomes, what is learned of it, and what it is measured by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from one_by_one import check
from reports import SETTINGS, functions, report

from fedcode.corpus import parse
from fedcode.errors import ConfigError, CorpusError
from fedcode.record import SourceFile
from fedcode.tasks.localization import LocalizationTask
from fedcode.tasks.localization_features import FEATURES, Question, features
from fedcode.tasks.ranking_measures import measures

PUBLIC = functions(1)


@pytest.fixture(scope="module")
def task():
    return LocalizationTask.make(SETTINGS, PUBLIC)


@pytest.fixture
def model(task):
    torch.manual_seed(1)
    return task.build()


def files(records):
    return [SourceFile(record.path, (), (record,)) for record in records]


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="localization: width: unknown key"):
        LocalizationTask.make({"width": 3}, PUBLIC)


def test_what_is_right_is_kept_apart_from_what_is_known(task) -> None:
    one = report(3, right=2)
    other = replace(one, candidates=tuple(replace(c, right=False) for c in one.candidates[:2]) +
                    tuple(replace(c, right=True) for c in one.candidates[2:]))  # fmt: skip
    a, b = task.examples([one, other])
    np.testing.assert_array_equal(a.known, b.known)
    np.testing.assert_array_equal(a.words, b.words)
    assert a.right.tolist() == [False, False, True, False]
    assert b.right.tolist() == [False, False, True, True]


def test_a_report_without_a_right_file_gives_no_example(task) -> None:
    one = report(3)
    lost = replace(one, candidates=tuple(replace(c, right=False) for c in one.candidates))
    assert len(task.examples([lost, one, replace(one, candidates=())])) == 1


def test_a_record_is_looked_at_alone(task) -> None:
    records = [report(number) for number in range(5)]
    (alone,) = task.examples(records[3:4])
    among = task.examples(records)[3]
    for one, other in zip(
        (alone.question, alone.known, alone.words), (among.question, among.known, among.words),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_a_function_stands_for_a_report_without_its_own_name() -> None:
    task = LocalizationTask.make(SETTINGS | {"vocabulary": 1 << 20}, PUBLIC)
    text = "def read_rows(rows, limit):\n    if limit:\n        return read_rows(rows, limit - 1)\n"
    (record,) = parse("a.py", text).records
    (example,) = task.examples([record])
    assert example.right.sum() == 1
    assert len(example.right) == 1 + 12, "its body among those of all public functions"
    (longer,) = parse("a.py", text.replace("return read_rows(", "return other_name(")).records
    (other,) = task.examples([longer])
    named = FEATURES.index("identifiers")
    assert example.known[example.right][0, named] <= other.known[other.right][0, named]
    names = {word for row in example.words for word in row.tolist()}
    assert task._number("read_rows") not in names
    assert task._number("other_name") in {word for row in other.words for word in row.tolist()}


def test_per_record_gradients_are_those_of_a_naive_loop(task, model) -> None:
    examples = task.examples([report(n, files=2 + n % 4, right=n % 2) for n in range(6)])

    def losses(network, rows):
        double = next(network.parameters()).dtype == torch.float64
        batch = task.collate(examples[rows])
        return task.losses(network, replace(batch, known=batch.known.double()) if double else batch)

    check(model, losses, len(examples))


def test_padding_changes_nothing(task, model) -> None:
    examples = task.examples([report(1, files=2), report(2, files=7)])
    together = task.losses(model, task.collate(examples))
    alone = torch.cat([task.losses(model, task.collate([one])) for one in examples])
    torch.testing.assert_close(together, alone)


def test_words_are_learned_from_public_code_alone(task, model) -> None:
    order = np.random.default_rng(1)
    before = model.asked.weight.clone()
    for weight in model.parameters():
        weight.requires_grad_(True)
    loss = next(iter(task.public_losses(model, PUBLIC.files, 4, order)))
    loss.backward()
    assert model.asked.weight.grad.any()
    model.zero_grad()
    task.losses(model, task.collate(task.examples([report(1)]))).sum().backward()
    assert model.asked.weight.grad is None
    assert model.hidden.weight.grad.any()
    assert torch.equal(before, model.asked.weight)


def test_no_public_function_is_a_clear_error(task, model) -> None:
    with pytest.raises(CorpusError, match="no public function"):
        next(iter(task.public_losses(model, (), 4, np.random.default_rng(1))))


def trained(task, records, steps=120):
    torch.manual_seed(2)
    model = task.build()
    examples = task.examples(records)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        task.losses(model, task.collate(examples)).mean().backward()
        optimizer.step()
    return model


def test_it_learns_where_reports_point_to_and_nothing_of_permuted_ones(task) -> None:
    records = [report(number, files=6, right=number % 6) for number in range(40)]
    test = [report(number, files=6, right=number % 6) for number in range(100, 160)]
    found = task.measure(trained(task, records), files(test))
    assert found["map"] > 0.9
    draw = np.random.default_rng(1)

    def dealt(record):
        right = draw.permutation([c.right for c in record.candidates]).tolist()
        changed = zip(record.candidates, right, strict=True)
        return replace(record, candidates=tuple(replace(c, right=r) for c, r in changed))

    chance = task.measure(trained(task, list(map(dealt, records))), files(map(dealt, test)))
    by_chance = sum(1 / place for place in range(1, 7)) / 6
    assert abs(chance["map"] - by_chance) < 0.12
    assert found["map"] - chance["map"] > 0.3


def test_earlier_reports_move_files_only_where_they_are_ranked(task, model) -> None:
    one = report(5, right=1)
    alike = replace(one, candidates=(replace(one.candidates[0], alike=3.0), *one.candidates[1:]))
    a, b = task.examples([one, alike])
    torch.testing.assert_close(
        task.losses(model, task.collate([a])), task.losses(model, task.collate([b]))
    )
    (before,), (after,) = task.rankings(model, [a]), task.rankings(model, [b])
    assert after[0] == pytest.approx(before[0] + task.settings.alike)
    np.testing.assert_allclose(after[1:], before[1:])


def test_the_ranking_has_every_file_once_and_shares_that_add_up(task, model) -> None:
    one = report(7)
    ranked = task.ranked(model, Question(one.name, " ".join(one.tokens)), one.candidates)
    assert {c.path for c, _ in ranked} == {c.path for c in one.candidates}
    shares = [share for _, share in ranked]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)


def test_baselines_need_no_training(task) -> None:
    found = task.baselines((), {"reports": files([report(n) for n in range(10)])})
    assert len(found) == 2
    by_chance = sum(1 / place for place in range(1, 5)) / 4
    assert all(one["reports"]["map"] > by_chance + 0.1 for one in found.values())


def test_functions_are_measured_among_one_another(task, model) -> None:
    found = task.measure(model, functions(3).files)
    assert 0 < found["map"] <= 1
    assert task.measure(model, ()) == {}


def test_the_fingerprint_is_of_settings_and_public_code(task) -> None:
    same = LocalizationTask.make(SETTINGS, functions(1)).fingerprint()
    others = [
        LocalizationTask.make(SETTINGS | {"hidden": 5}, PUBLIC).fingerprint(),
        LocalizationTask.make(SETTINGS, functions(2)).fingerprint(),
    ]
    assert task.fingerprint() == same
    assert len({same, *others}) == 3


def test_features_lie_between_0_and_1_and_the_named_file_stands_out() -> None:
    one = report(9, files=5, right=3)
    found = features(Question(one.name, " ".join(one.tokens)), one.candidates)
    assert found.shape == (5, len(FEATURES))
    assert found.min() >= 0
    assert found.max() <= 1
    for name in ("all", "vector_space", "path_named"):
        assert found[:, FEATURES.index(name)].argmax() == 3, name
    lately = found[:, FEATURES.index("fixed_lately")]
    assert lately[0] == 0, "it was never mended"


def test_nothing_is_known_of_a_question_without_words() -> None:
    one = report(9, files=5)
    found = features(Question("", ""), one.candidates)
    assert not found[:, : FEATURES.index("size")].any()
    assert np.isfinite(found).all()


def test_measures_by_hand() -> None:
    right = np.array([False, True, False, True])
    found = measures([(np.array([4.0, 3.0, 2.0, 1.0]), right), (np.zeros(4), ~right)])
    assert found["map"] == pytest.approx(((1 / 2 + 2 / 4) / 2 + (1 + 2 / 3) / 2) / 2)
    assert found["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["top1"] == 0.5
    assert found["top5"] == 1
    assert measures([(np.zeros(2), np.array([False, False]))]) == {}
