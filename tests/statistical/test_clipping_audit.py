# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The noise of adaptive clipping, and what the step audit says to every kind and its mutants."""

import math

import numpy as np
import pytest
from scipy import stats
from test_clipping_sensitivity import StraightTask, made, recorded
from test_step_audit import clipped_per_batch, scaled, unclipped
from toy_task import ToyTask, Training, receipt_for, records, settings_of

from fedcode.privacy.seeded import SeededGenerator
from fedcode.training.audit import step_audit
from fedcode.training.clipping import Adaptive
from fedcode.training.private import PrivateOptimizer

CLIPPINGS = ["per-layer", "normalized", "adaptive"]


class Whole(SeededGenerator):
    """Takes all units."""

    def poisson_sample(self, population, rate):
        return np.arange(population)


class Nobody(SeededGenerator):
    """Takes none."""

    def poisson_sample(self, population, rate):
        return np.arange(0)


def train(task, data, generator, noise_multiplier, level=None, **changes):
    """One round of adaptive clipping that leaves the weights (almost) where they are.

    Returns:
        What was added to each coordinate of each step, its deviation, and the trainer's report.
    """
    settings = settings_of(clipping="adaptive", learning_rate=1e-9, **changes)
    training = Training(
        task, data, settings, generator=generator, noise_multiplier=noise_multiplier, level=level
    )
    with recorded() as (before, after):
        training.change(receipt=receipt_for(training.policy, seeded=True))
    added = np.array(after) - np.array(before)
    return added, training.policy.std, training.trainer.report


def plausibility(samples, std):
    return float(stats.kstest(samples, stats.norm(scale=std).cdf, method="asymp").pvalue)


def test_the_votes_have_the_noise_that_every_coordinate_has() -> None:
    data = made([[0.0] * 6] * 10, range(10))
    added, std, _ = train(StraightTask(), data, Nobody(1), 200.0, steps_per_round=10_000)
    for coordinate in (added[:, 0], added[:, -1]):
        assert plausibility(coordinate, std) > 1e-3
        assert plausibility(0.9 * coordinate, std) < 1e-3
        assert plausibility(1.1 * coordinate, std) < 1e-3
    assert abs(np.corrcoef(added[:, 0], added[:, -1])[0, 1]) < 5 / math.sqrt(len(added))


def test_the_gradients_have_the_noise_that_is_accounted_for() -> None:
    added, std, _ = train(ToyTask(), records([3] * 10), Nobody(2), 30.0, steps_per_round=300)
    assert added.size > 30_000
    assert plausibility(added.ravel(), std) > 1e-3
    assert plausibility(0.9 * added.ravel(), std) < 1e-9
    assert plausibility(1.1 * added.ravel(), std) < 1e-9


@pytest.mark.parametrize("level", [0.5, 1e4])
def test_a_training_finds_the_quantile_of_its_norms(level) -> None:
    """Gradients of length 1 to 100, under noise, from a level far away, half a nominal batch."""
    data = made([[float(i), 0, 0, 0, 0, 0] for i in range(1, 101)], range(100))
    changes = {"steps_per_round": 250, "nominal_batch": 200, "physical_batch": 100}
    _, _, report = train(StraightTask(), data, Whole(3), 4.0, level, quantile=0.7, **changes)
    assert report.level == pytest.approx(70, rel=0.25)


# The auditor.


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_the_step_shows_no_more_than_is_claimed(clipping) -> None:
    finding = step_audit(2_000, clipping=clipping)
    assert not finding.broken
    assert 0 < finding.found < finding.claimed < finding.detectable


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_clipping_that_is_none_is_found(clipping, monkeypatch) -> None:
    monkeypatch.setattr(PrivateOptimizer, "clip_and_accumulate", unclipped)
    assert step_audit(600, clipping=clipping).broken


def test_clipping_per_batch_is_found(monkeypatch) -> None:
    monkeypatch.setattr(PrivateOptimizer, "clip_and_accumulate", clipped_per_batch)
    assert step_audit(2_000, clipping="adaptive").broken


def test_too_little_noise_is_found() -> None:
    assert step_audit(1_500, clipping="adaptive", generator=scaled(0.5)).broken


def without_noise(monkeypatch):
    """The mistake: the level follows the votes as they are."""
    noisy, adapt = PrivateOptimizer.adapt, Adaptive.adapt

    def exact(optimizer):
        votes = optimizer._votes
        with monkeypatch.context() as patched:
            patched.setattr(Adaptive, "adapt", lambda self, _, batch: adapt(self, votes, batch))
            noisy(optimizer)

    monkeypatch.setattr(PrivateOptimizer, "adapt", exact)


def test_votes_without_noise_are_found(monkeypatch) -> None:
    """By whoever looks at the level alone, which shows no more than is claimed if all is right."""
    monkeypatch.setattr("fedcode.training.audit._canary_in", lambda _, level, _settings: level)
    assert not step_audit(600, clipping="adaptive").broken
    without_noise(monkeypatch)
    assert step_audit(600, clipping="adaptive").broken
