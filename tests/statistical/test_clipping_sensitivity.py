# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever the gradients and the clipping, one unit moves the whole of a step's sum by C at most.

The whole is what gets the noise: all tensors, and the votes about an adaptive level with them.
"""

import math
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings
from torch import nn
from toy_task import ChosenGenerator, Training, owned, record, settings_of

from fedcode.privacy.release import GaussianMechanism
from fedcode.record import PrivacyUnit, units
from fedcode.training.clipping import VOTE, Adaptive, PerLayer

CLIPPINGS = ["flat", "per-layer", "normalized", "adaptive"]
ROUNDING = 1 + 1e-5
WIDTHS = (1, 3, 2)


class Straight(nn.Module):
    """Layers side by side, so that a record's gradient is what the record says."""

    def __init__(self):
        super().__init__()
        self.rows = nn.ModuleList([nn.Linear(width, 1, bias=False) for width in WIDTHS])

    def forward(self, batch):
        parts = batch.split(WIDTHS, dim=1)
        return sum(row(part)[:, 0] for row, part in zip(self.rows, parts, strict=True))


class StraightTask:
    def build(self):
        return Straight()

    def examples(self, records):
        return [np.array(r.tokens, np.float32) for r in records]

    def length(self, example):
        return 1

    def collate(self, examples):
        return torch.from_numpy(np.stack(examples))

    def losses(self, model, batch):
        return model(batch)


@contextmanager
def recorded():
    """Of each step all that gets noise, and the same with its noise, as two lists of vectors."""
    noised, end = GaussianMechanism.noised, GaussianMechanism.end_step
    before, after, now = [], [], []

    def watch(self, clipped):
        found = noised(self, clipped)
        now.append((np.ravel(clipped.values).astype(np.float64), np.ravel(found.values)))
        return found

    def ended(self, units):
        end(self, units)
        before.append(np.concatenate([part for part, _ in now]))
        after.append(np.concatenate([part for _, part in now]))
        now.clear()

    with (
        patch.object(GaussianMechanism, "noised", watch),
        patch.object(GaussianMechanism, "end_step", ended),
    ):
        yield before, after


def whole_sum(data, settings, unit=PrivacyUnit.FUNCTION, level=None, task=StraightTask):
    """All coordinates of the step's sum over ``data``."""
    generator = ChosenGenerator()
    training = Training(task(), data, settings, generator=generator, unit=unit, level=level)
    with recorded() as (before, _):
        training.change(np.zeros(training.size, np.float32))
    assert len(before[0]) == training.policy.weights
    return before[0]


def moves(data, unit=PrivacyUnit.FUNCTION, level=None, task=StraightTask, **changes):
    """How far the whole sum moves when one unit of ``data`` is left out, for each, over C."""
    plain = {"sampling_rate": 1.0, "physical_batch": 3}
    settings = settings_of(**plain | changes)
    groups = units(data, unit)
    whole = whole_sum(data, settings, unit, level, task)
    rests = [
        whole_sum(
            [r for own in groups if own is not left for r in own], settings, unit, level, task
        )
        for left in groups
    ]
    return np.array([np.linalg.norm(whole - r) for r in rests]) / settings.clipping_norm


COORDINATE = strategies.one_of(
    strategies.floats(-10, 10, width=32),
    strategies.floats(width=32),
    strategies.sampled_from([0.0, 1e-45, 1e-22, 1e-12, 1e12, 1e18, 1e22, 3e38, math.inf]),
)
GRADIENT = strategies.lists(COORDINATE, min_size=sum(WIDTHS), max_size=sum(WIDTHS))


def made(gradients, owners):
    return [
        owned(record(i, *gradient), owner)
        for i, (gradient, owner) in enumerate(zip(gradients, owners, strict=False))
    ]


@pytest.mark.parametrize("clipping", CLIPPINGS)
@given(
    strategies.lists(GRADIENT, min_size=2, max_size=6),
    strategies.sampled_from([1e-6, 0.03, 1.0, 1e6]),
    strategies.sampled_from([1e-3, 1.0, 500.0]),
    strategies.sampled_from([0.1, 0.5, 0.9]),
    strategies.sampled_from([PrivacyUnit.FUNCTION, PrivacyUnit.FILE]),
)
@hypothesis_settings(max_examples=25, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_whatever_the_gradients_a_unit_moves_the_sum_by_c_at_most(
    clipping, gradients, norm, level, quantile, unit
) -> None:
    data = made(gradients, [0, 1, 0, 1, 2, 1])
    changes = {"clipping": clipping, "clipping_norm": norm, "quantile": quantile}
    assert moves(data, unit, level * norm, **changes).max() <= ROUNDING


LONG = made([[30.0, -3, 40, 7, 2, 100], [0.1] * 6, [500.0] * 6, [-1.0, 2, 0, 0, 1, 0]], range(4))


@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_a_long_gradient_moves_it_by_all_of_c(clipping) -> None:
    assert moves(LONG, clipping=clipping, clipping_norm=0.5).max() == pytest.approx(1, abs=1e-4)


def test_a_vote_without_room_for_it_would_be_caught() -> None:
    right = Adaptive.factors

    def whole(self, squares):
        return right(self, squares) / math.sqrt(1 - VOTE**2)

    with patch.object(Adaptive, "factors", whole):
        found = moves(LONG, clipping="adaptive", clipping_norm=0.5).max()
    assert found == pytest.approx(math.sqrt(1 + VOTE**2), abs=1e-4)
    assert found > ROUNDING


def test_layers_that_are_each_clipped_to_c_would_be_caught() -> None:
    right = PerLayer.factors

    def whole(self, squares):
        return right(PerLayer(self.norm * math.sqrt(len(squares))), squares)

    with patch.object(PerLayer, "factors", whole):
        assert moves(LONG, clipping="per-layer", clipping_norm=0.5).max() > 1.7


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e25])
def test_a_unit_that_is_not_finite_adds_nothing_at_all(clipping, bad) -> None:
    """Not even a vote."""
    data = [*LONG, *made([[1.0, 1, bad, 1, 1, 1]], [9])]
    found = moves(data, clipping=clipping, clipping_norm=0.5)
    assert found[-1] == 0
    assert found[:-1].min() > 0.05
