# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Figures that leave as coordinates of the noised sum: what units add, and how they are read."""

import math

import numpy as np
import other_ranks
import pytest
from test_gradient_sums import DATA, WIDE, counted
from toy_task import ChosenGenerator, ToyTask, Training, initial, settings_of

from fedcode.errors import ConfigError
from fedcode.federation import TrainingSettings
from fedcode.metrics import METRIC, Estimate, shared_metrics
from fedcode.record import PrivacyUnit, units
from fedcode.training.counting import check_counting
from fedcode.training.network import write
from fedcode.training.observer import record_losses

BOTH = ("loss", "units")


def losses_of(task, data, weights):
    model = task.build()
    write(model, weights)
    return record_losses(task, model, task.examples(data))


def released(task, data, settings, unit=PrivacyUnit.FUNCTION, generator=None):
    """The metrics of a release over s C, and the weights that it began with."""
    training = Training(task, data, settings, generator=generator, unit=unit)
    weights = initial(training.network.model)
    found = training.change(weights)[training.size :]
    return found / (METRIC * settings.clipping_norm), weights


@pytest.mark.parametrize("clipping", ["flat", "adaptive"])
def test_a_unit_adds_one_and_its_loss(clipping) -> None:
    task = ToyTask(scale=3.0)
    settings = settings_of(clipping=clipping, metrics=BOTH, loss_clip=1.5, clipping_norm=0.3)
    found, weights = released(task, DATA, settings)
    losses = losses_of(task, DATA, weights)
    assert losses.min() < 1.5 < losses.max()
    wanted = [np.minimum(losses, 1.5).sum() / 1.5, len(DATA)]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_unit_of_several_records_adds_one_and_the_mean_of_its_losses() -> None:
    task = ToyTask(scale=3.0)
    settings = settings_of(metrics=BOTH, loss_clip=1.0, physical_batch=2)
    found, weights = released(task, WIDE, settings, PrivacyUnit.FILE)
    means = [losses_of(task, own, weights).mean() for own in units(WIDE, PrivacyUnit.FILE)]
    assert min(means) < 1 < max(losses_of(task, WIDE, weights))
    np.testing.assert_allclose(found, [np.minimum(means, 1).sum(), 5], atol=1e-4)


def test_the_sums_of_all_steps_are_released() -> None:
    settings = settings_of(metrics=("units",), steps_per_round=4, learning_rate=1e-6)
    found, _ = released(ToyTask(), DATA, settings, generator=ChosenGenerator([0, 3]))
    np.testing.assert_allclose(found, [8], atol=1e-4)


def test_several_ranks_add_theirs_up(tmp_path) -> None:
    settings = settings_of(
        metrics=BOTH, loss_clip=1.0, steps_per_round=2, physical_batch=2, clipping="adaptive"
    )
    tasks = [ToyTask(scale=3.0)] * 2
    alone, several = other_ranks.both(tmp_path, tasks, WIDE, settings, unit=PrivacyUnit.FILE)
    other_ranks.agree(alone, several)
    assert len(several[1]) == 107
    assert all(total[-2:].min() > 0 for _, total in several[0])


class Crafted(ToyTask):
    """Losses that are no numbers, or below 0, with the gradients of a right one."""

    def __init__(self, bad):
        super().__init__(scale=3.0)
        self.bad = bad

    def losses(self, model, batch):
        right = super().losses(model, batch)
        return right + (self.bad - right).detach().nan_to_num(self.bad)


@pytest.mark.parametrize(
    ("bad", "counts"),
    [(math.nan, 1), (math.inf, 1), (1e38, 1), (-math.inf, 0), (-3.0, 0)],
)
@pytest.mark.parametrize("unit", [PrivacyUnit.FUNCTION, PrivacyUnit.FILE])
def test_a_loss_that_is_no_number_counts_as_the_clip(bad, counts, unit, monkeypatch) -> None:
    monkeypatch.setattr("fedcode.training.private.verify", lambda *_: None)
    found, _ = released(Crafted(bad), WIDE, settings_of(metrics=BOTH), unit)
    number = len(units(WIDE, unit))
    np.testing.assert_allclose(found, [counts * number, number], atol=1e-4)


def test_counts_have_units_and_no_loss() -> None:
    found = counted("gradient-sum", ("units",)).vector[-1] / (METRIC * 5)
    assert found == pytest.approx(len(DATA), abs=1e-4)
    settings = settings_of(kind="gradient-sum", metrics=("loss",))
    with pytest.raises(ConfigError, match="counts have no loss") as caught:
        check_counting(settings)
    assert caught.value.hint


# Reading.

TRAINING = TrainingSettings(
    metrics=BOTH, loss_clip=4.0, clipping_norm=0.5, steps_per_round=3, nominal_batch=20
)
ONE = METRIC * 0.5


def test_they_are_read_back_as_what_they_were() -> None:
    """Two members, three steps, 15 units in each with a loss of 1.2."""
    total = ONE * 2 * 3 * 15 * np.array([1.2 / 4.0, 1.0])
    found = shared_metrics(TRAINING, total, 2, 0.7)
    assert found["units"].value == pytest.approx(15)
    assert found["loss"].value == pytest.approx(1.2)
    alone = TRAINING.model_copy(update={"metrics": ("loss",)})
    of_nominal = shared_metrics(alone, total[:1], 2, 0.7)
    assert list(of_nominal) == ["loss"]
    assert of_nominal["loss"].value == pytest.approx(1.2 * 15 / 20)


@pytest.mark.parametrize("metrics", [("loss",), ("units",), BOTH])
@pytest.mark.parametrize("members", [1, 7])
def test_the_deviation_is_that_of_their_noise(metrics, members) -> None:
    training = TRAINING.model_copy(update={"metrics": metrics})
    draw, std = np.random.default_rng(1), 0.3
    whole = dict(zip(BOTH, ONE * members * 3 * 60 * np.array([1.6 / 4.0, 1.0]), strict=True))
    quiet = np.array([whole[name] for name in metrics])
    noise = draw.normal(0, std * math.sqrt(3 * members), (4_000, len(metrics)))
    read = [shared_metrics(training, quiet + own, members, std) for own in noise]
    for name in metrics:
        spread = np.std([one[name].value for one in read])
        assert np.median([one[name].std for one in read]) == pytest.approx(spread, rel=0.1)


def test_noise_that_leaves_no_unit_is_no_denominator() -> None:
    found = shared_metrics(TRAINING, np.array([0.3, -50.0]), 2, 0.7)
    assert found["units"].value < 0
    assert found["loss"] == Estimate(
        pytest.approx(4 * 0.3 / ONE / 6), pytest.approx(4 * math.sqrt(6) * 0.7 / ONE / 6)
    )


@pytest.mark.parametrize(("size", "members"), [(1, 2), (3, 2), (2, 0)])
def test_other_coordinates_than_the_metrics_are_refused(size, members) -> None:
    with pytest.raises(ConfigError, match="2 metrics of some members"):
        shared_metrics(TRAINING, np.zeros(size), members, 1.0)
