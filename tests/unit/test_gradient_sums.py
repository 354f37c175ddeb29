# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The kind of release that takes no local step: a member's one noised sum, as it is."""

import math

import numpy as np
import other_ranks
import pytest
import torch
from other_ranks import agree
from test_sharding import RecurrentTask
from torch import nn
from toy_task import (
    WORDS,
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
    units_of,
)

from fedcode.errors import ConfigError
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.training.counting import CountTrainer
from fedcode.training.network import read
from fedcode.training.observer import ObservedTrainer

DATA = records([3, 9, 2, 30, 5, 14, 1, 8, 22])
WIDE = units_of([1, 4, 2, 7, 3])
CLIPPINGS = ["flat", "per-layer", "normalized"]
METRICS = ("loss", "units")


class TiedTask(ToyTask):
    """The first and the last layer have one weight, and a layer in the middle is public."""

    def build(self):
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Embedding(WORDS, 4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, WORDS)
        )
        model[4].weight = model[0].weight
        model[3].requires_grad_(False)
        return model


TASKS = [ToyTask(scale=3.0), TiedTask(scale=3.0), RecurrentTask(frozen=True)]


def release_of(task, data, settings, generator, *, unit=PrivacyUnit.FUNCTION, weights=None):
    """A release, and the training that gave it."""
    training = Training(task, data, settings, generator=generator, noise_multiplier=0.3, unit=unit)
    if weights is None:
        weights = initial(training.network.model)
    receipt = receipt_for(training.policy, seeded=generator.seeded)
    return training.trainer.train(weights, receipt), training


def sum_settings(**changes):
    return settings_of(**{"kind": "gradient-sum", "clipping_norm": 0.2} | changes)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_the_sum_is_what_one_local_step_of_sgd_goes_back(task, clipping) -> None:
    """Draw, gradients, clipping and each coordinate's noise: all are those of the other kind."""
    changes = {"clipping": clipping, "metrics": METRICS, "records_per_unit": 3}
    found = [
        release_of(task, WIDE, sum_settings(kind=kind, **changes), SeededGenerator(4, "kinds"),
                   unit=PrivacyUnit.FILE)
        for kind in ("gradient-sum", "local-steps")
    ]  # fmt: skip
    (summed, training), (moved, other) = found
    weights = training.size
    assert len(summed.vector) == len(moved.vector) == weights + 2
    np.testing.assert_allclose(summed.vector[:weights], -moved.vector[:weights], atol=3e-7)
    np.testing.assert_array_equal(summed.vector[weights:], moved.vector[weights:])
    assert len(np.unique(np.abs(summed.vector))) > 0.9 * weights, "each has noise of its own"
    assert training.trainer.report == other.trainer.report
    assert training.trainer.report.examples > 0


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_without_its_noise_it_is_the_sum_of_clipped_gradients(clipping) -> None:
    settings = sum_settings(clipping=clipping, nominal_batch=7, learning_rate=0.3)
    release, training = release_of(ToyTask(scale=3.0), DATA, settings, ChosenGenerator())
    weights = initial(training.network.model)
    expected = clipped_sum(ToyTask(scale=3.0), DATA, settings, weights)
    assert np.linalg.norm(expected) > 0.2
    np.testing.assert_allclose(release.vector, expected, atol=1e-5)


def test_the_integers_that_leave_are_those_that_had_the_noise() -> None:
    with other_ranks.recorded() as steps:
        release, training = release_of(
            ToyTask(), DATA, sum_settings(metrics=METRICS), ChosenGenerator()
        )
    spacing = training.policy.spacing
    np.testing.assert_array_equal(release.sum.points, np.rint(steps[0][1] / spacing))
    assert release.sum.spacing == spacing
    np.testing.assert_array_equal(release.vector, release.sum.values)


def test_a_local_step_has_no_sum_to_release() -> None:
    assert release_of(ToyTask(), DATA, settings_of(), ChosenGenerator())[0].sum is None


def test_no_step_is_taken() -> None:
    task = ToyTask()
    weights = initial(task.build())
    _, training = release_of(task, DATA, sum_settings(), ChosenGenerator(), weights=weights)
    np.testing.assert_array_equal(read(training.network.model), weights)
    assert all(p.grad is None for p in training.network.model.parameters())


def test_a_step_that_drew_nothing_is_released_as_noise() -> None:
    generator = ChosenGenerator([], noise=True)
    release, training = release_of(ToyTask(), DATA, sum_settings(metrics=METRICS), generator)
    assert release.vector.all()
    assert generator.coordinates == training.policy.weights == len(release.vector)
    assert training.trainer.report.empty_steps == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_with_which_no_gradient_is_finite_give_a_sum_of_nothing(bad) -> None:
    weights = np.full(105, bad, np.float32)
    settings = sum_settings(metrics=METRICS)
    release, training = release_of(ToyTask(), DATA, settings, ChosenGenerator(), weights=weights)
    assert training.trainer.report.left_out == len(DATA)
    assert not release.vector.any()


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_several_ranks_release_one_sum(clipping, tmp_path) -> None:
    settings = sum_settings(
        clipping=clipping, records_per_unit=3, physical_batch=2, metrics=METRICS
    )
    tasks = [ToyTask(scale=3.0)] * 2
    alone, several = other_ranks.both(
        tmp_path, tasks, WIDE, settings, rounds=2, size=3, unit=PrivacyUnit.FILE
    )
    agree(alone, several)
    assert [len(total) for _, total in several[0]] == [107, 107]


def test_so_do_ranks_that_share_one_network(tmp_path) -> None:
    settings = sum_settings(physical_batch=2, metrics=METRICS)
    tasks = [RecurrentTask(shards=shards) for shards in (False, True)]
    agree(*other_ranks.both(tmp_path, tasks, DATA, settings, rounds=2))


class Whole(SeededGenerator):
    """Takes all units."""

    def poisson_sample(self, population, rate):
        return np.arange(population)


class Words:
    """Counts a record's tokens."""

    size = WORDS

    def counts(self, record):
        where, counts = np.unique([int(t) for t in record.tokens], return_counts=True)
        return where, counts.astype(np.float32)


def counted(kind, metrics=(), data=DATA, norm=5.0, generator=None):
    settings = settings_of(kind=kind, metrics=metrics, clipping_norm=norm)
    policy = policy_of(settings, settings.coordinates(WORDS))
    generator = generator or ChosenGenerator()
    trainer = CountTrainer(Words(), data, settings, policy, lambda _: generator)
    weights = np.zeros(WORDS, np.float32)
    return trainer.train(weights, receipt_for(policy, seeded=generator.seeded))


@pytest.mark.parametrize("metrics", [(), ("units",)])
def test_counts_are_gradients_with_the_other_sign(metrics) -> None:
    """So that who goes against the sum of gradients goes towards the counts."""
    summed = counted("gradient-sum", metrics, generator=Whole(2, "counts"))
    np.testing.assert_array_equal(summed.vector, summed.sum.values)
    quiet = counted("gradient-sum", metrics).vector
    assert quiet[1:WORDS].max() < 0
    assert (quiet[WORDS:] > 0).all()
    noise = summed.vector - quiet
    assert len(np.unique(np.abs(noise))) == len(noise) == WORDS + len(metrics)
    assert np.abs(noise).min() > 1e-3


def test_counts_take_no_local_steps() -> None:
    with pytest.raises(ConfigError, match="counts take no local steps"):
        counted("local-steps")


@pytest.mark.parametrize("kind", ["local-steps", "gradient-sum"])
def test_an_observer_sees_where_the_weights_are_led(kind) -> None:
    task, settings = ToyTask(), sum_settings(kind=kind, metrics=METRICS, sampling_rate=1.0)
    training = Training(task, [record(1, 1, 2, 3)], settings)
    observed = ObservedTrainer(training.trainer)
    weights = initial(training.network.model)
    release = observed.train(weights, receipt_for(training.policy))
    expected = clipped_sum(task, [record(1, 1, 2, 3)], sum_settings(), weights)
    assert len(release.vector) == training.size + 2
    np.testing.assert_allclose(observed.seen[0].update, -expected, atol=0.01 * 0.2)


def test_an_observer_sees_counts_as_they_are() -> None:
    settings = settings_of(kind="gradient-sum", metrics=("units",), clipping_norm=5.0)
    policy = policy_of(settings, settings.coordinates(WORDS))
    observed = ObservedTrainer(
        CountTrainer(Words(), DATA, settings, policy, lambda _: ChosenGenerator())
    )
    release = observed.train(np.zeros(WORDS, np.float32), receipt_for(policy))
    np.testing.assert_array_equal(observed.seen[0].update, -release.vector[:WORDS])
    assert observed.seen[0].update[1:].min() > 0
