# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Local DP-SGD against sums and steps written out by hand."""

import math

import numpy as np
import opacus.optimizers.optimizer
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional
from toy_task import (
    WORDS,
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

from fedcode.errors import ConfigError, PrivacyError, TrainingError
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import LATTICE
from fedcode.privacy.seeded import SeededGenerator
from fedcode.training.network import read, trainable
from fedcode.training.private import PrivateTrainer, clip

DATA = records([3, 9, 2, 30, 5, 14, 1, 8])
CLIPPINGS = ["flat", "per-layer", "normalized", "adaptive"]


def start(task):
    return initial(task.build())


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("norm", [0.05, 0.3, 50.0])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_is_the_clipped_sum_over_the_nominal_batch(clipping, norm, frozen) -> None:
    task = ToyTask(frozen=frozen, scale=3.0)
    chosen = [0, 3, 4]
    settings = settings_of(
        clipping=clipping, clipping_norm=norm, nominal_batch=10, learning_rate=0.5
    )
    training = Training(task, DATA, settings, generator=ChosenGenerator(chosen))
    expected = clipped_sum(task, [DATA[i] for i in chosen], settings, start(task))
    rounding = 0.5 / 10 * training.policy.spacing / 2
    assert training.change() == pytest.approx(-0.5 * expected / 10, abs=1e-6 + rounding)


def test_the_denominator_is_public_whatever_was_sampled() -> None:
    settings = settings_of(nominal_batch=4)
    same = [record(i, 1, 2, 3) for i in range(8)]
    one, eight = (
        Training(ToyTask(), same, settings, generator=ChosenGenerator(chosen)).change()
        for chosen in ([5], range(8))
    )
    rounding = 9 / 4 * (1 / LATTICE) / 2
    assert eight == pytest.approx(8 * one, rel=1e-4, abs=1e-6 + rounding)


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_physical_batches_change_nothing(size, clipping) -> None:
    whole, parts = (
        Training(ToyTask(), DATA, settings_of(clipping=clipping, physical_batch=p)).change()
        for p in (64, size)
    )
    assert np.abs(whole).max() > 0.05
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_an_empty_batch_is_a_step_of_noise_alone() -> None:
    generator = ChosenGenerator([], noise=True)
    training = Training(ToyTask(), DATA, settings_of(steps_per_round=3), generator=generator)
    change = training.change()
    report = training.trainer.report
    assert (report.loss, report.examples, report.empty_steps) == (None, 0, 3)
    assert (generator.samples, generator.coordinates) == (3, 3 * training.size)
    assert change.std() == pytest.approx(np.sqrt(3), rel=0.25)
    assert (change != 0).all()


def test_the_report_counts_what_was_sampled() -> None:
    training = Training(ToyTask(), DATA, settings_of(steps_per_round=2))
    training.change()
    report = training.trainer.report
    assert (report.examples, report.empty_steps) == (16, 0)
    assert 0 < report.loss < 1


class SilentTask(ToyTask):
    """Many weights, and a loss that none of them changes."""

    def build(self):
        return nn.Sequential(nn.Embedding(8, 100), nn.Linear(100, 300))

    def losses(self, model, batch):
        return 0.0 * model(batch).sum((1, 2))


NOISE = {"clipping_norm": 0.5, "nominal_batch": 20, "learning_rate": 4.0}
SIGMA = 3.0
STD = SIGMA * 0.5 * 4.0 / 20


def noise_of(generator, task=None, **changes):
    task = task or SilentTask()
    training = Training(
        task,
        DATA,
        settings_of(**NOISE | changes),
        generator=generator,
        noise_multiplier=SIGMA,
    )
    receipt = receipt_for(training.policy, seeded=generator.seeded)
    return training.change(np.zeros(training.size, np.float32), receipt)


def plausibility(samples, std):
    return float(stats.kstest(samples, stats.norm(scale=std).cdf, method="asymp").pvalue)


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_the_noise_of_a_step_has_the_scale_that_is_accounted_for(clipping) -> None:
    samples = noise_of(SeededGenerator(1, "step"), clipping=clipping)
    assert len(samples) > 30_000
    assert plausibility(samples, STD) > 1e-3
    assert plausibility(0.9 * samples, STD) < 1e-9
    assert plausibility(1.1 * samples, STD) < 1e-9


def test_the_noise_of_several_steps_adds_up() -> None:
    samples = noise_of(SeededGenerator(2, "steps"), steps_per_round=4)
    assert plausibility(samples, 2 * STD) > 1e-3
    assert plausibility(samples, STD) < 1e-9


def test_a_physical_batch_has_no_noise_of_its_own() -> None:
    samples = noise_of(SeededGenerator(3, "batches"), physical_batch=1)
    assert plausibility(samples, STD) > 1e-3


def test_the_noise_of_different_weights_is_independent() -> None:
    samples = noise_of(SeededGenerator(4, "weights"))
    assert len(np.unique(samples)) > 0.99 * len(samples)
    assert abs(np.corrcoef(samples[:-1], samples[1:])[0, 1]) < 5 / np.sqrt(len(samples))
    half = len(samples) // 2
    assert abs(np.corrcoef(samples[:half], samples[half : 2 * half])[0, 1]) < 5 / np.sqrt(half)


def test_opacus_draws_no_noise(monkeypatch) -> None:
    def drawn(*_args, **_options):
        raise AssertionError("Opacus' own noise was drawn")

    monkeypatch.setattr(opacus.optimizers.optimizer, "_generate_noise", drawn)
    assert noise_of(SecureGenerator()).any()


def test_a_seed_of_torch_does_not_touch_the_noise() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = noise_of(SecureGenerator(), ToyTask())
    torch.set_rng_state(state)
    two = noise_of(SecureGenerator(), ToyTask())
    assert np.abs(one - two).min() > 0


def test_seeded_noise_is_the_same_whatever_torchs_seed() -> None:
    def drawn(seed):
        torch.manual_seed(seed)
        return noise_of(SeededGenerator(5, "again"))

    np.testing.assert_array_equal(drawn(0), drawn(1))


def test_a_round_takes_exactly_the_steps_that_were_paid_for() -> None:
    training = Training(ToyTask(), DATA, settings_of(steps_per_round=3))
    training.change()
    assert training.generator.samples == 3
    other = policy_of(settings_of(steps_per_round=2), training.size)
    with pytest.raises(PrivacyError, match="steps is 3 in the policy, and 2 was paid for"):
        training.change(receipt=receipt_for(other))
    assert training.generator.samples == 3


def test_a_receipt_pays_for_one_round() -> None:
    training = Training(ToyTask(), DATA, settings_of())
    receipt = receipt_for(training.policy)
    training.change(receipt=receipt)
    with pytest.raises(PrivacyError, match="used already"):
        training.change(receipt=receipt)
    assert training.generator.samples == 1


def test_a_receipt_is_used_up_by_a_round_that_fails() -> None:
    task = WrongShape(lambda losses: losses)
    training = Training(task, DATA, settings_of())
    task.shape = lambda losses: losses.mean()
    receipt = receipt_for(training.policy)
    with pytest.raises(TrainingError):
        training.change(receipt=receipt)
    with pytest.raises(PrivacyError, match="used already"):
        training.change(receipt=receipt)


def test_fedprox_pulls_back_to_the_weights_of_the_plan() -> None:
    task, mu, rate = ToyTask(), 0.4, 0.5
    settings = settings_of(steps_per_round=3, learning_rate=rate, proximal=mu, clipping_norm=0.3)
    first = weights = start(task).astype(np.float64)
    for _ in range(3):
        step = clipped_sum(task, DATA, settings, weights.astype(np.float32))
        weights = weights - rate * (step + mu * (weights - first))
    change = Training(task, DATA, settings).change()
    assert change == pytest.approx(weights - first, abs=1e-5)
    without = Training(task, DATA, settings.model_copy(update={"proximal": 0.0})).change()
    assert np.linalg.norm(change) < 0.9 * np.linalg.norm(without)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_local_steps_are_the_optimizers_on_the_released_sums(optimizer) -> None:
    task = ToyTask()
    changes = {
        "sgd": {"optimizer": "sgd"},
        "momentum": {"optimizer": "sgd", "momentum": 0.8},
        "adam": {"optimizer": "adam"},
    }[optimizer]
    settings = settings_of(steps_per_round=4, learning_rate=0.05, nominal_batch=5, **changes)
    weights = nn.Parameter(torch.from_numpy(start(task)))
    by_hand = {
        "sgd": torch.optim.SGD([weights], lr=0.05),
        "momentum": torch.optim.SGD([weights], lr=0.05, momentum=0.8),
        "adam": torch.optim.Adam([weights], lr=0.05),
    }[optimizer]
    for _ in range(4):
        total = np.rint(clipped_sum(task, DATA, settings, weights.detach().numpy()) * LATTICE)
        total /= LATTICE
        weights.grad = torch.from_numpy(total / 5).float()
        by_hand.step()
    change = Training(task, DATA, settings).change()
    np.testing.assert_allclose(change, weights.detach().numpy() - start(task), atol=2e-4)


def test_every_round_starts_with_a_fresh_optimizer() -> None:
    training = Training(ToyTask(), DATA, settings_of(optimizer="adam"))
    np.testing.assert_array_equal(training.change(), training.change())


class Overflowing(ToyTask):
    """The gradient of one record is not finite: crafted weights can bring that about."""

    which, value = 0, 1.0

    def losses(self, model, batch):
        losses = super().losses(model, batch)
        factors = torch.ones(len(losses))
        factors[self.which] = self.value
        return losses * factors


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_record_whose_gradient_is_not_finite_adds_nothing_and_nobody_is_told(
    value, clipping
) -> None:
    """A refusal would say without noise that the record was sampled."""
    settings, chosen = settings_of(clipping=clipping), [0, 3, 4]
    ordered = sorted(chosen, key=lambda i: len(DATA[i].tokens))
    for which, left in enumerate(ordered):
        task = Overflowing()
        overflowing = Training(task, DATA, settings, generator=ChosenGenerator(chosen))
        task.which, task.value = which, value
        others = [DATA[i] for i in chosen if i != left]
        expected = -clipped_sum(ToyTask(), others, settings, start(ToyTask()))
        assert overflowing.change() == pytest.approx(expected, abs=1e-5)
        assert overflowing.trainer.report.left_out == 1
        assert math.isfinite(overflowing.trainer.report.loss)


class Straight(ToyTask):
    """No layer between that would keep a number small."""

    def build(self):
        torch.manual_seed(1)
        return nn.Sequential(nn.Embedding(WORDS, 4), nn.Dropout(0.0), nn.Linear(4, WORDS))


def test_crafted_weights_do_not_tell_whether_a_record_was_sampled() -> None:
    """Finite weights of a plan that overflow for the one record that holds a token."""
    alone = len(DATA)
    others = [record(i, 1, 2, 3, 1 + i % 5) for i in range(alone)]
    data, generator = [*others, record(alone, 1, 7, 2)], ChosenGenerator([0, 3, alone])
    training = Training(Straight(), data, settings_of(), generator=generator)
    model = training.network.model
    with torch.no_grad():
        model[0].weight[7] = 3e38
        model[2].weight[:] = 10.0
        crafted = read(model)
    assert np.isfinite(crafted).all()
    with_ = training.trainer.train(crafted, receipt_for(training.policy)).vector
    assert training.trainer.report.left_out == 1
    generator.indices = [0, 3]
    without = training.trainer.train(crafted, receipt_for(training.policy)).vector
    np.testing.assert_allclose(with_, without, atol=1e-6)


def test_a_network_that_has_run_away_releases_noise_alone() -> None:
    training = Training(ToyTask(scale=math.inf), DATA, settings_of())
    assert np.abs(training.change()).max() < 1e-5
    assert training.trainer.report.left_out == training.trainer.report.examples


def test_weights_that_are_not_finite_are_not_released() -> None:
    settings = settings_of(learning_rate=1e38, clipping_norm=1e5)
    training = Training(ToyTask(scale=1e3), DATA, settings)
    with pytest.raises(TrainingError, match="not finite"):
        training.change()


class WrongShape(ToyTask):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def losses(self, model, batch):
        return self.shape(super().losses(model, batch))


@pytest.mark.parametrize(
    "shape",
    [lambda losses: losses.mean(), lambda losses: losses[:, None], lambda losses: losses[:-1]],
    ids=["mean", "column", "too few"],
)
def test_losses_of_another_shape_are_refused(shape) -> None:
    with pytest.raises(TrainingError, match="one loss per example was expected"):
        Training(WrongShape(shape), DATA, settings_of())
    task = WrongShape(lambda losses: losses)
    training = Training(task, DATA, settings_of())
    task.shape = shape
    with pytest.raises(TrainingError, match="one loss per example was expected"):
        training.change()


class BatchNormalized(ToyTask):
    """The mistake: each loss is what it is beside the others."""

    def losses(self, model, batch):
        losses = super().losses(model, batch)
        return losses * losses.mean()


class ByHand(ToyTask):
    """The mistake: a weight is used past its layer."""

    def losses(self, model, batch):
        return super().losses(model, batch) + model[5].weight.square().sum() / 10


class PositionsFirst(ToyTask):
    """The mistake: what comes first in a tensor is not the records."""

    def sums(self, model, batch):
        each = functional.cross_entropy(
            model(batch.t()).flatten(0, 1), batch.t().flatten(), reduction="none", ignore_index=0
        )
        return each.view(batch.t().shape).sum(0)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (BatchMeanTask(), "look at more than one record"),
        (BatchNormalized(), "look at more than one record"),
        (ByHand(), "not every use of 5.weight is noted"),
        (PositionsFirst(), "was given a tensor of shape"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_clipped_by_record_is_refused_before_anything_is_sampled(
    task, message
) -> None:
    generator = ChosenGenerator()
    with pytest.raises(TrainingError, match=message) as found:
        Training(task, DATA, settings_of(), generator=generator)
    assert found.value.hint
    assert generator.samples == 0


def test_a_failed_round_leaves_nothing_behind_for_the_next() -> None:
    """The network is shared: its hooks must forget a forward pass that had no backward one."""
    task, settings = WrongShape(lambda losses: losses), settings_of(physical_batch=3)
    training = Training(task, DATA, settings)
    expected = training.change()
    task.shape = lambda losses: losses[:-1]
    with pytest.raises(TrainingError):
        training.change()
    task.shape = lambda losses: losses
    np.testing.assert_array_equal(training.change(), expected)


def test_a_failure_between_two_passes_leaves_nothing_behind(monkeypatch) -> None:
    training = Training(ToyTask(), DATA, settings_of(physical_batch=3))
    expected = training.change()

    def interrupted(_optimizer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fedcode.training.private.PrivateOptimizer.clip_and_accumulate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            training.change()
    np.testing.assert_array_equal(training.change(), expected)


def test_dropout_is_off() -> None:
    with_dropout, without = (
        Training(ToyTask(dropout=rate), DATA, settings_of(steps_per_round=2)).change()
        for rate in (0.9, 0.0)
    )
    np.testing.assert_array_equal(with_dropout, without)


def test_dropout_would_show() -> None:
    task = ToyTask(dropout=0.9)
    model, batch = task.build().train(), task.collate(task.examples(DATA))
    assert (task.losses(model, batch) - task.losses(model, batch)).abs().max() > 1e-3


def test_frozen_weights_do_not_move_and_are_not_sent() -> None:
    task = ToyTask(frozen=True)
    generator = ChosenGenerator(noise=True)
    training = Training(task, DATA, settings_of(proximal=0.1), generator=generator)
    model = training.network.model
    before = model[0].weight.detach().clone()
    change = training.change()
    assert torch.equal(model[0].weight, before)
    assert "0.weight" not in trainable(model)
    assert len(change) == generator.coordinates == sum(p.numel() for p in model.parameters()) - 32


def test_rounds_start_from_the_plans_weights_not_from_the_last_ones() -> None:
    training = Training(ToyTask(), DATA, settings_of())
    weights = start(ToyTask())
    first = training.change(weights)
    assert read(training.network.model) == pytest.approx(weights + first, abs=1e-6)
    np.testing.assert_array_equal(training.change(weights), first)


def test_weights_of_another_network_are_refused_before_any_gradient() -> None:
    training = Training(ToyTask(), DATA, settings_of())
    with pytest.raises(TrainingError, match="a vector of"):
        training.change(np.zeros(3, np.float32))


@pytest.mark.parametrize("size", [3, 5])
def test_a_batch_of_a_loader_is_refused(monkeypatch, size) -> None:
    """A shuffled loader, or any batch of fixed size, is not what the accounting is about."""

    def loaded(self, mechanism):
        mechanism.sample(len(self.units))
        order = np.random.default_rng(1).permutation(len(self.units))
        return [(i, np.arange(len(self.units[i]))) for i in order[:size]]

    training = Training(ToyTask(), DATA, settings_of(), generator=ChosenGenerator([0, 2, 3, 6]))
    training.change()
    monkeypatch.setattr(PrivateTrainer, "_chosen", loaded)
    with pytest.raises(PrivacyError, match=f"{size} units were clipped, and 4 were sampled"):
        training.change()


def test_too_few_records_are_refused_at_once() -> None:
    settings = settings_of(sampling_rate=0.01)
    with pytest.raises(ConfigError, match="too few for sampling_rate"):
        PrivateTrainer(
            ToyTask(), None, DATA, settings, policy_of(settings, 1), lambda _: ChosenGenerator()
        )


def test_clip_leaves_short_vectors_as_they_are() -> None:
    short = np.array([0.3, -0.4], np.float32)
    np.testing.assert_array_equal(clip(short, 1.0), short)
    np.testing.assert_allclose(np.linalg.norm(clip(100 * short, 1.0)), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(clip(np.zeros(2, np.float32), 1.0), np.zeros(2))
    huge = np.full(4, 1e30, np.float32)
    np.testing.assert_allclose(clip(huge, 1.0), 0.5)
