# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""On neighbouring data, what a step adds up before its noise moves by the clipping norm at most.

The whole of a member's training runs, with the batch chosen and the noise switched off, so that the
change of weights is the clipped sum. A task with a denominator that counts the batch is caught.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from toy_task import (
    BatchMeanTask,
    ChosenGenerator,
    ToyTask,
    Training,
    clipped_sum,
    initial,
    policy_of,
    receipt_for,
    record,
    records,
    settings_of,
)

from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.record import Corpus, PrivacyUnit, SourceFile
from fedcode.tasks.completion import CompletionTask
from fedcode.tasks.defects import DefectsTask
from fedcode.tasks.ngram import NgramTask
from fedcode.training.counting import CountTrainer

ROUNDING = 1 + 1e-4
LENGTHS = [2, 2, 3, 50, 2, 40, 5, 1]
CLIPPINGS = ["flat", "per-layer", "normalized", "adaptive"]


def moves(task, data, **changes):
    """How far the sum moves when one record is left out, for each record, over C."""
    settings = settings_of(physical_batch=64, **changes)

    def clipped_sum(data):
        return Training(task, data, settings).change().astype(np.float64)

    whole = clipped_sum(data)
    rest = [clipped_sum(data[:i] + data[i + 1 :]) for i in range(len(data))]
    return np.array([np.linalg.norm(whole - part) for part in rest]) / settings.clipping_norm


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("norm", [1e-3, 0.05, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_record_moves_the_sum_by_the_clipping_norm_at_most(clipping, norm, seed) -> None:
    data = records(LENGTHS, seed)
    found = moves(ToyTask(scale=10.0), data, clipping=clipping, clipping_norm=norm)
    assert found.max() <= ROUNDING
    if norm < 1 or clipping == "normalized":
        assert found.max() > 0.9, "nothing was clipped: the test says nothing"


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_records_that_pull_the_same_way_do_not_hide_one_another(clipping) -> None:
    same = [record(i, *[1, 2] * 10) for i in range(6)]
    found = moves(ToyTask(scale=100.0), same, clipping=clipping, clipping_norm=0.1)
    assert found == pytest.approx(np.ones(6), rel=0.02)


@pytest.fixture
def unverified(monkeypatch):
    """Nobody tries beforehand whether records look at one another."""
    monkeypatch.setattr("fedcode.training.private.verify", lambda *_: None)


@pytest.mark.usefixtures("unverified")
def test_a_denominator_that_counts_the_batch_is_caught() -> None:
    lengths = [2] * 12 + [50]
    found = moves(BatchMeanTask(), records(lengths), clipping_norm=0.05)
    assert found.max() > 1.5
    assert moves(ToyTask(), records(lengths), clipping_norm=0.05).max() <= ROUNDING


@pytest.mark.usefixtures("unverified")
def test_it_is_caught_in_one_physical_batch_of_many_too() -> None:
    short, long = [record(i, 1, 2) for i in range(10)], record(10, *[1, 2] * 25)
    assert moves(BatchMeanTask(), [*short, long], clipping_norm=0.05).max() > 3


ONE = "def f ( value ) : <NL> <IN> return self . load ( value , item ) <NL> <DE>"
TWO = "for item in self . items : <NL> <IN> print ( item , value ) <NL> <DE>"


@pytest.fixture(scope="module")
def public():
    """A little public code."""
    one, two = ONE.split(), TWO.split()
    own = [record(0, *one), record(1, *two), record(2, *one[:-1], *two)]
    tokens = tuple(t for r in own for t in r.tokens)
    return Corpus("public", (SourceFile("a.py", tokens, tuple(own)),))


def code(lengths, seed=0):
    """Records of code of very different length."""
    rng = np.random.default_rng(seed)
    words = np.array("self . load ( value ) item x1 = zebra <NL>".split())  # noqa: SIM905
    return [record(i, *rng.choice(words, n)) for i, n in enumerate(lengths)]


COMPLETION = {"vocabulary": 300, "embedding": 8, "hidden": 8, "layers": 2, "record_pieces": 60}
DEFECTS = {"vocabulary": 300, "table": 20, "embedding": 8, "hidden": 6, "head": 5, "pointer": 4}


@pytest.fixture(
    params=[
        *product([CompletionTask], [{"cell": "gru"}, {"cell": "lstm"}], ["all", "recurrent"]),
        *product([DefectsTask], [{}], ["network", "head"]),
    ],
    ids=lambda p: f"{p[0].name} {'-'.join(p[1].values())} {p[2]}",
)
def task(request, public):
    """Every task with gradients, in every form that is trained privately."""
    kind, form, private = request.param
    settings = COMPLETION if kind is CompletionTask else DEFECTS
    return kind.make(settings | form | {"private": private}, public)


FUNCTIONS = [
    replace(r, label=i % 2, place=1 if i % 2 else None)
    for i, r in enumerate(code([2, 3, 2, 300, 4, 90, 2, 25]))
]


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_the_tasks_normalize_each_record_by_itself(task, clipping) -> None:
    found = moves(task, FUNCTIONS, clipping=clipping, clipping_norm=0.02)
    assert 0.9 < found.max() <= ROUNDING


def test_a_step_of_the_tasks_is_the_clipped_sum_of_single_gradients(task) -> None:
    settings = settings_of(clipping_norm=0.1, physical_batch=3)
    training = Training(task, FUNCTIONS, settings)
    weights = initial(training.network.model)
    expected = clipped_sum(task, FUNCTIONS, settings, weights)
    assert np.linalg.norm(expected) > 0.1
    np.testing.assert_allclose(training.change(weights), -expected, atol=1e-5)


@pytest.mark.parametrize("norm", [0.3, 1.0])
def test_counts_move_by_the_clipping_norm_at_most(public, norm) -> None:
    task = NgramTask.make({"order": 3, "vocabulary": 300, "min_records": 1}, public)
    settings = settings_of(kind="gradient-sum", clipping_norm=norm)
    policy = policy_of(settings, task.size)
    data = [*code([2, 40, 7, 200]), public.records()[0]]

    def total(data):
        trainer = CountTrainer(task, data, settings, policy, lambda _: ChosenGenerator())
        return trainer.train(np.zeros(task.size, np.float32), receipt_for(policy)).vector

    whole = total(data)
    parts = [total(data[:i] + data[i + 1 :]) for i in range(len(data))]
    found = [np.linalg.norm(whole - part) / norm for part in parts]
    assert 0.9 < max(found) <= ROUNDING


def test_the_ledger_asks_the_price_of_that_sensitivity() -> None:
    """The accountant's σ is noise over the sensitivity of the rounded sum, a little above C."""
    settings = settings_of(clipping_norm=0.25)
    policy = policy_of(settings, 16, noise_multiplier=3.0)
    budget = Filter.for_budget(8.0, 1e-5, 4.0)
    with BudgetLedger.open(":memory:") as ledger:
        ledger.open_simulated("a", organization="o", unit=PrivacyUnit.FUNCTION, budget=budget)
        receipt = ledger.charge(
            budget.cost(3.0, 0.5, 1),
            asset="a",
            agreement="a",
            purpose="research",
            task="t",
            round=1,
        )
    assert policy.sensitivity == pytest.approx(0.25 * (1 + 4 / 2**18), rel=1e-12)
    assert receipt.noise_multiplier * policy.sensitivity == policy.std


def test_rounding_to_the_lattice_moves_the_sum_further_than_the_clipping_norm() -> None:
    """And never further than what is charged: neighbouring sums, rounded, without noise."""
    weights = 10_000
    policy = policy_of(settings_of(sampling_rate=1.0), weights)

    def rounded(values):
        mechanism = GaussianMechanism(policy, ChosenGenerator(), receipt_for(policy))
        mechanism.sample(100)
        return mechanism.noised(ClippedSum(values, 1.0)).points * policy.spacing

    rng = np.random.default_rng(5)
    record = rng.uniform(1, 2, weights)
    record = np.floor(record / np.linalg.norm(record) / policy.spacing) * policy.spacing
    start = policy.spacing * rng.integers(0, 9, weights)
    most = policy.sensitivity - 1

    # unlucky: each coordinate stands just below the middle between two points, then just above
    just = 1e-6 * policy.spacing
    before = start + policy.spacing / 2 - just
    after = before + record + 2 * just
    far = np.linalg.norm(after - before)
    unlucky = np.linalg.norm(rounded(after) - rounded(before))
    assert far < 1 < far + 0.9 * most < unlucky < far + most

    usual = np.linalg.norm(rounded(start / 3 + record) - rounded(start / 3))
    assert usual < far + 0.1 * most
