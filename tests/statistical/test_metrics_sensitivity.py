# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""With metrics beside its gradient and its vote, one unit moves the step's sum by C at most.

The records here say what their gradient is and what their loss is, each as far as it can go.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings
from test_clipping_sensitivity import COORDINATE, ROUNDING, WIDTHS, StraightTask, made, moves
from test_gradient_sums import Words
from toy_task import ChosenGenerator, owned, policy_of, receipt_for, record, settings_of

from fedcode.errors import PrivacyError
from fedcode.federation import TrainingSettings
from fedcode.metrics import METRIC
from fedcode.record import PrivacyUnit
from fedcode.training import clipping as clipping_module
from fedcode.training import counting, sums
from fedcode.training.clipping import room
from fedcode.training.counting import CountTrainer

SETS = [("units",), ("loss",), ("loss", "units")]
CASES = [
    *(("local-steps", c) for c in ("flat", "per-layer", "normalized", "adaptive")),
    *(("gradient-sum", c) for c in ("flat", "per-layer", "normalized")),
]
WIDTH = sum(WIDTHS)


class LoudTask(StraightTask):
    """A record's last number is added to its loss and changes no gradient."""

    def collate(self, examples):
        return torch.from_numpy(np.stack(examples))

    def losses(self, model, batch):
        return model(batch[:, :WIDTH]) + batch[:, WIDTH]


@pytest.fixture(autouse=True)
def _unverified(monkeypatch):
    """Losses that are not finite are no reason to refuse a record's batch here."""
    monkeypatch.setattr("fedcode.training.private.verify", lambda *_: None)


def loud(*rows):
    return made(rows, range(len(rows)))


FAR = loud(
    [30.0, -3, 40, 7, 2, 100, 50.0],
    [500.0, 500, 500, 500, 500, 500, 1e30],
    [0.0, 0, 0, 0, 0, 0, 99.0],
    [1.0, 1, 1, 1, 1, 1, math.nan],
    [-9.0, 9, 9, 9, 9, 9, -99.0],
)  # fmt: skip


@pytest.mark.parametrize("metrics", SETS)
@pytest.mark.parametrize(("kind", "clipping"), CASES)
def test_a_long_gradient_with_a_large_loss_moves_it_by_all_of_c(kind, clipping, metrics) -> None:
    changes = {"kind": kind, "clipping": clipping, "metrics": metrics, "clipping_norm": 0.5}
    found = moves(FAR, task=LoudTask, **changes)
    assert found.max() <= ROUNDING
    assert found.max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("metrics", SETS)
@pytest.mark.parametrize(("kind", "clipping"), CASES)
def test_metrics_without_room_for_them_would_be_caught(
    kind, clipping, metrics, monkeypatch
) -> None:
    monkeypatch.setattr(clipping_module, "room", lambda _, vote=False: room(0, vote=vote))
    changes = {"kind": kind, "clipping": clipping, "metrics": metrics, "clipping_norm": 0.5}
    found = moves(FAR, task=LoudTask, **changes).max()
    assert found == pytest.approx(math.sqrt(1 + len(metrics) * METRIC**2), abs=1e-4)
    assert found > ROUNDING


def test_a_loss_that_is_not_clipped_would_be_caught(monkeypatch) -> None:
    right = sums.metric_sums

    def unclipped(settings, losses):
        clip = settings.loss_clip
        return right(settings.model_copy(update={"loss_clip": 1e6}), losses) * 1e6 / clip

    monkeypatch.setattr(sums, "metric_sums", unclipped)
    assert moves(FAR, task=LoudTask, metrics=("loss",), clipping_norm=0.5).max() > 1.1


def test_a_mean_over_the_batch_would_be_caught(monkeypatch) -> None:
    """The mistake: a denominator that is private."""
    right = sums.metric_sums

    def mean(settings, losses):
        return right(settings, losses) * settings.nominal_batch / max(1, len(losses))

    monkeypatch.setattr(sums, "metric_sums", mean)
    quiet = loud(*[[99.0] * 6 + [9.0]] * 8, [99.0] * 6 + [0.0])
    changes = {"metrics": ("loss",), "clipping_norm": 0.5, "nominal_batch": 50}
    assert moves(quiet, task=LoudTask, physical_batch=64, **changes).max() > ROUNDING


ROW = strategies.lists(COORDINATE, min_size=WIDTH + 1, max_size=WIDTH + 1)


@pytest.mark.parametrize(("kind", "clipping"), CASES)
@given(
    strategies.lists(ROW, min_size=2, max_size=6),
    strategies.sampled_from([1e-6, 0.03, 1.0, 1e6]),
    strategies.sampled_from([1e-3, 1.0, 500.0]),
    strategies.sampled_from([1e-3, 10.0, 1e6]),
    strategies.sampled_from(SETS),
    strategies.sampled_from([PrivacyUnit.FUNCTION, PrivacyUnit.FILE]),
)
@hypothesis_settings(max_examples=12, deadline=None)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_whatever_gradients_and_losses_are(
    kind, clipping, rows, norm, level, clip, metrics, unit
) -> None:
    data = made(rows, [0, 1, 0, 1, 2, 1])
    changes = {"kind": kind, "clipping": clipping, "clipping_norm": norm}
    found = moves(data, unit, level * norm, LoudTask, metrics=metrics, loss_clip=clip, **changes)
    assert found.max() <= ROUNDING


@pytest.mark.parametrize(("kind", "clipping"), CASES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e25])
def test_a_unit_whose_gradient_is_not_finite_adds_nothing_at_all(kind, clipping, bad) -> None:
    data = [*FAR, *made([[1.0, 1, bad, 1, 1, 1, 5.0]], [9])]
    changes = {"kind": kind, "clipping": clipping, "metrics": SETS[2]}
    found = moves(data, task=LoudTask, **changes)
    assert found[-1] == 0
    assert found[:-1].min() > 0.05


def test_what_is_charged_is_for_all_coordinates() -> None:
    settings = TrainingSettings(clipping="adaptive", metrics=SETS[2], clipping_norm=0.5)
    policy = policy_of(settings, settings.coordinates(10_000))
    assert policy.sensitivity == 0.5 + policy.spacing * math.sqrt(10_003)


# Counts.

RECORDS = [owned(record(i, *[1 + i % 7] * (9 + i)), i // 2) for i in range(6)]


def counted(data, unit):
    """All that gets noise in a step over ``data``, as one vector."""
    settings = settings_of(
        kind="gradient-sum",
        metrics=("units",),
        clipping_norm=0.5,
        sampling_rate=1.0,
        records_per_unit=2,
    )
    policy = policy_of(settings, settings.coordinates(Words.size), unit=unit)
    trainer = CountTrainer(Words(), data, settings, policy, lambda _: ChosenGenerator())
    vector = trainer.train(np.zeros(Words.size, np.float32), receipt_for(policy)).vector
    return vector.astype(np.float64)


def counts_move(unit):
    whole = counted(RECORDS, unit)
    owners = [r.unit if unit is PrivacyUnit.FUNCTION else r.path for r in RECORDS]
    rests = [
        counted([r for r, own in zip(RECORDS, owners, strict=True) if own != left], unit)
        for left in dict.fromkeys(owners)
    ]
    return max(np.linalg.norm(whole - rest) for rest in rests) / 0.5


@pytest.mark.parametrize("unit", [PrivacyUnit.FUNCTION, PrivacyUnit.FILE])
def test_counts_and_their_units_move_it_by_c_at_most(unit, monkeypatch) -> None:
    lattice = 4e-5  # what is released stands on it
    assert 1 - lattice < counts_move(unit) <= 1 + lattice
    monkeypatch.setattr(counting, "room", lambda _: 1.0)
    assert counts_move(unit) > 1.004


def test_the_mechanism_refuses_a_sum_without_its_metrics() -> None:
    """They are coordinates like all: a policy that does not know of them pays for none."""
    settings = settings_of(kind="gradient-sum", metrics=("units",))
    policy = policy_of(settings, Words.size)
    trainer = CountTrainer(Words(), RECORDS, settings, policy, lambda _: ChosenGenerator())
    with pytest.raises(PrivacyError, match="9 coordinates had noise, and the policy has 8"):
        trainer.train(np.zeros(Words.size, np.float32), receipt_for(policy))
