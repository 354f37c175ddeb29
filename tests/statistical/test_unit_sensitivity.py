# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A privacy unit of several records: sampled as one, capped, and clipped as one.

Neighbouring data differ by one whole unit, however many records it has, and over however many
physical batches they are spread. Which records of a unit take part is fixed here by its size, so
that the units that both neighbours have add the same.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings
from scipy import stats
from test_sensitivity import CLIPPINGS, ROUNDING, code, public  # noqa: F401  a fixture
from toy_task import (
    WORDS,
    ChosenGenerator,
    ToyTask,
    Training,
    gradients,
    initial,
    owned,
    policy_of,
    receipt_for,
    record,
    settings_of,
    units_of,
)

from fedcode.errors import PrivacyError
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit, units
from fedcode.tasks.ngram import NgramTask
from fedcode.training.batches import whole_units
from fedcode.training.counting import CountTrainer
from fedcode.training.network import write
from fedcode.training.per_record.gathered import Gathered
from fedcode.training.private import PrivateOptimizer

WIDE = [PrivacyUnit.FILE, PrivacyUnit.AUTHOR, PrivacyUnit.REPOSITORY]
FILE = PrivacyUnit.FILE
SIZES = [1, 3, 9, 40, 2, 7]
CAP = 16


class FixedSubsets(ChosenGenerator):
    """Takes all units, and of each the records that its size says."""

    def uniform(self, n):
        return np.random.default_rng(n).random(n)


def moves(data, unit, total):
    """How far ``total`` moves when one unit of ``data`` is left out, for each unit."""
    whole, groups = total(data), units(data, unit)
    rests = [total([r for own in groups if own is not left for r in own]) for left in groups]
    return np.array([np.linalg.norm(whole - rest) for rest in rests])


def sums(task, unit, **changes):
    """The sum of a step by gradients, of records given to it."""
    plain = {"sampling_rate": 1.0, "records_per_unit": CAP, "physical_batch": 4}

    def total(data):
        training = Training(
            task, data, settings_of(**plain | changes), generator=FixedSubsets(), unit=unit
        )
        return training.change().astype(np.float64)

    return total


def record_by_record(task, chosen, size):
    """The mistake: what is clipped is each record of a unit."""
    return whole_units(task, [[example] for unit in chosen for example in unit], size)


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("unit", WIDE)
def test_one_unit_moves_the_sum_by_the_clipping_norm_at_most(unit, clipping) -> None:
    changes = {"clipping": clipping, "clipping_norm": 0.05}
    found = moves(units_of(SIZES), unit, sums(ToyTask(scale=10.0), unit, **changes)) / 0.05
    assert len(found) == len(SIZES)
    assert 0.9 < found.max() <= ROUNDING


@given(
    strategies.lists(strategies.integers(1, 25), min_size=2, max_size=5),
    strategies.integers(1, 12),
    strategies.integers(1, 9),
    strategies.integers(0, 9),
)
@hypothesis_settings(max_examples=15, deadline=None)
def test_whatever_the_sizes_the_cap_and_the_batches(sizes, cap, batch, seed) -> None:
    changes = {"records_per_unit": cap, "physical_batch": batch, "clipping_norm": 0.02}
    total = sums(ToyTask(scale=20.0), FILE, **changes)
    assert moves(units_of(sizes, seed), FILE, total).max() <= 0.02 * ROUNDING


def test_clipping_record_by_record_moves_it_further(monkeypatch) -> None:
    monkeypatch.setattr("fedcode.training.shares.whole_units", record_by_record)
    end = GaussianMechanism.end_step  # nobody counts what is clipped
    monkeypatch.setattr(GaussianMechanism, "end_step", lambda self, _: end(self, self._sampled))
    same = [owned(record(i, *[1, 2] * 10), i // 8) for i in range(24)]
    found = moves(same, FILE, sums(ToyTask(scale=100.0), FILE, clipping_norm=0.05)) / 0.05
    assert found.min() > 5


def batch_by_batch(gathered, tape, owners):
    """The mistake: a unit that is spread over several batches is clipped in each, to 0.05."""
    own = [torch.zeros_like(total) for total in gathered._totals]
    tape.gather(torch.tensor(owners), own)
    norms = sum(part.flatten(1).square().sum(1) for part in own).sqrt()
    factors = (0.05 / norms.clamp(min=1e-9)).clamp(max=1.0)
    for total, part in zip(gathered._totals, own, strict=True):
        total += torch.einsum("i,i...->i...", factors, part)


def added_up(optimizer):
    """Clips nothing any more."""
    parts = optimizer._gradients.sums(torch.ones(len(optimizer.params), optimizer._gradients.units))
    for parameter, part in zip(optimizer.params, parts, strict=True):
        total = parameter.summed_grad
        parameter.summed_grad = part if total is None else total + part


def test_a_unit_that_is_clipped_in_each_of_its_batches_moves_it_further(monkeypatch) -> None:
    monkeypatch.setattr(Gathered, "add", batch_by_batch)
    monkeypatch.setattr(PrivateOptimizer, "clip_and_accumulate", added_up)
    same = [owned(record(i, *[1, 2] * 10), i // 8) for i in range(24)]
    total = sums(ToyTask(scale=100.0), FILE, clipping_norm=0.05)
    assert moves(same, FILE, total) == pytest.approx(2 * 0.05, rel=0.02)


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_a_step_is_the_sum_of_clipped_sums(batch) -> None:
    """By definition: each unit's gradients added up, scaled once, added up in double precision."""
    task, data, norm = ToyTask(scale=5.0), units_of(SIZES), 0.2
    model = task.build()
    start = initial(model)
    write(model, start)
    expected = np.zeros(len(start))
    for own in units(data, FILE):
        part = sum(gradients(task, model, e).astype(np.float64) for e in task.examples(own))
        expected += part * min(1.0, norm / np.linalg.norm(part))
    changes = {"records_per_unit": 64, "physical_batch": batch, "clipping_norm": norm}
    assert np.linalg.norm(expected) > norm
    np.testing.assert_allclose(sums(task, FILE, **changes)(data), -expected, atol=1e-5)


def test_a_unit_without_an_example_is_none() -> None:
    class LongOnly(ToyTask):
        def examples(self, records):
            return [e for e in super().examples(records) if len(e) > 3]

    data = [owned(record(0, 1, 2), 0), owned(record(1, *[1] * 9), 1), owned(record(2, 3), 1)]
    training = Training(LongOnly(), data * 2, settings_of(sampling_rate=1.0), unit=FILE)
    assert [len(unit) for unit in training.trainer.units] == [2]


@pytest.mark.parametrize("unit", WIDE)
def test_counts_of_one_unit_move_the_sum_by_the_clipping_norm_at_most(public, unit) -> None:  # noqa: F811
    total, norm = counted(public, unit), 0.5
    found = moves(CODE, unit, total) / norm
    assert 0.9 < found.max() <= ROUNDING


def test_counts_clipped_record_by_record_move_it_further(public, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(
        "fedcode.training.counting.units", lambda records, _unit: [(r,) for r in records]
    )
    assert moves(CODE, FILE, counted(public, FILE)).max() > 1.5 * 0.5


CODE = [owned(r, i % 4) for i, r in enumerate(code([9, 40, 17, 200, 30, 25, 60, 80, 12, 90]))]


def counted(public, unit):  # noqa: F811
    """The sum of a step by counts, clipped at 0.5, of records given to it."""
    task = NgramTask.make({"order": 3, "vocabulary": 300, "min_records": 1}, public)
    settings = settings_of(kind="gradient-sum", clipping_norm=0.5, records_per_unit=2)
    policy = policy_of(settings, task.size, unit=unit)

    def total(data):
        trainer = CountTrainer(task, data, settings, policy, lambda _: FixedSubsets())
        return trainer.train(np.zeros(task.size, np.float32), receipt_for(policy)).vector

    return total


class Watched(ToyTask):
    """Notes which unit each example of a step is of: all its tokens are that number."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def collate(self, examples):
        if self.steps:
            self.steps[-1] += [int(example[0]) for example in examples]
        return super().collate(examples)


def watched(unit, sizes, steps, most):
    """For each step how many examples of each unit took part, shape (steps, units)."""
    task = Watched()

    class Steps(SeededGenerator):
        def poisson_sample(self, population, rate):
            task.steps.append([])
            return super().poisson_sample(population, rate)

    owners = [owner for owner, size in enumerate(sizes, start=1) for _ in range(size)]
    data = [owned(record(i, *[owner] * 3), owner) for i, owner in enumerate(owners)]
    settings = settings_of(steps_per_round=steps, records_per_unit=most, learning_rate=1e-6)
    generator = Steps(1, "units")
    training = Training(task, data, settings, generator=generator, noise_multiplier=50.0, unit=unit)
    training.change(receipt=receipt_for(training.policy, seeded=True))
    assert training.trainer.report.examples == sum(map(len, task.steps))
    assert training.trainer.report.empty_steps == sum(not step for step in task.steps)
    return np.array([np.bincount(step, minlength=WORDS)[1 : len(sizes) + 1] for step in task.steps])


def plausible(taken, rate):
    """Whether each column was taken independently with this probability, at p = 1e-4."""
    p = [stats.binomtest(int(n), len(taken), rate).pvalue for n in taken.sum(0)]
    pairs = taken.astype(float).T @ taken
    both = pairs[np.triu_indices(len(pairs), 1)]
    p += [stats.binomtest(int(n), len(taken), rate**2).pvalue for n in both]
    return min(p) > 1e-4


def test_a_unit_is_drawn_as_a_whole_by_poisson() -> None:
    sizes = [1, 4, 9, 2]
    found = watched(FILE, sizes, 400, 64)
    assert set(np.unique(found / sizes)) == {0, 1}, "all its records, or none"
    assert plausible(found > 0, 0.5)
    by_record = watched(PrivacyUnit.FUNCTION, sizes, 400, 64)
    assert len(np.unique(by_record / sizes)) > 2
    assert not plausible(by_record > 0, 0.5), "a record each is not a unit each"


def test_of_a_large_unit_no_more_records_than_the_cap_take_part() -> None:
    found = watched(FILE, [1, 30, 5], 100, 6)
    assert set(found[:, 1]) == {0, 6}
    assert set(found[:, 2]) == {0, 5}


def mechanism_of(generator, steps=1):
    policy = policy_of(settings_of(steps_per_round=steps), 1, unit=FILE)
    return GaussianMechanism(policy, generator, receipt_for(policy, seeded=generator.seeded))


def evenly(subsets, size):
    """Whether every index is as likely as another, at p = 1e-4."""
    times = np.bincount(np.concatenate(subsets), minlength=size)
    return stats.chisquare(times).pvalue > 1e-4


def test_every_record_of_a_large_unit_is_as_likely_to_take_part() -> None:
    mechanism = mechanism_of(SeededGenerator(1, "subset"))
    mechanism.sample(10)
    subsets = [mechanism.subset(20, 5) for _ in range(1_000)]
    assert all(len(set(s)) == 5 and (np.diff(s) > 0).all() for s in subsets)
    assert evenly(subsets, 20)
    assert len({tuple(s) for s in subsets}) > 900, "others in every step"
    assert not evenly([s % 19 for s in subsets], 20)


def test_a_unit_below_the_cap_draws_nothing() -> None:
    class Silent(SecureGenerator):
        def uniform(self, n):
            raise AssertionError("drawn")

        def poisson_sample(self, population, rate):
            return np.arange(population)

    mechanism = mechanism_of(Silent())
    mechanism.sample(10)
    np.testing.assert_array_equal(mechanism.subset(3, 3), [0, 1, 2])


def test_a_subset_out_of_order_is_refused() -> None:
    mechanism = mechanism_of(ChosenGenerator())
    with pytest.raises(PrivacyError, match="before sampling"):
        mechanism.subset(3, 2)
    units = len(mechanism.sample(10))
    mechanism.noised(ClippedSum(np.zeros(1), 1.0))
    with pytest.raises(PrivacyError, match="after the step's noise"):
        mechanism.subset(3, 2)
    mechanism.end_step(units)
    with pytest.raises(PrivacyError, match="all 1 steps"):
        mechanism.subset(3, 2)
