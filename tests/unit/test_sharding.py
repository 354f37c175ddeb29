# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A network that no rank holds as a whole trains as a whole one does."""

from unittest.mock import patch

import numpy as np
import other_ranks
import pytest
import torch
from other_ranks import SIGMA, agree, others, training_of
from scipy import stats
from torch import nn
from torch.distributed.tensor import DTensor
from toy_task import WORDS, ChosenGenerator, ToyTask, receipt_for, records, settings_of, units_of

from fedcode.errors import ConfigError, TrainingError
from fedcode.privacy.release import GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.training.sharding import sharded

FILE = PrivacyUnit.FILE
DATA = records([3, 9, 2, 30, 5, 14, 1, 8, 22])
WIDE = units_of([1, 4, 2, 7, 3])


class Recurrent(nn.Module):
    """Blocks of several layers and of one, a GRU whose weights torch keeps twice, odd sizes."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 5)
        self.inner = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.LayerNorm(7))
        self.gru = nn.GRU(7, 3, batch_first=True)
        self.output = nn.Linear(3, WORDS)

    def forward(self, batch):
        return self.output(self.gru(self.inner(self.embedding(batch)))[0])


class RecurrentTask(ToyTask):
    """Sharded or not; the embedding may be public."""

    def __init__(self, *, shards=False, frozen=False, scale=3.0):
        super().__init__(scale=scale)
        self.shards, self.frozen = shards, frozen

    def build(self):
        torch.manual_seed(1)
        model = Recurrent()
        model.embedding.weight.requires_grad_(not self.frozen)
        return sharded(model, [model.inner, model.output]) if self.shards else model


def both(path, data, settings, *, frozen=False, **more):
    """What one process finds with a whole network, and what several do with their parts of it."""
    tasks = [RecurrentTask(shards=shards, frozen=frozen) for shards in (False, True)]
    return other_ranks.both(path, tasks, data, settings, **more)


@pytest.mark.parametrize(
    ("clipping", "changes"),
    [
        ("flat", {"momentum": 0.8, "proximal": 0.3}),
        ("adaptive", {"optimizer": "adam", "quantile_rate": 0.5}),
        ("per-layer", {"optimizer": "adam-bc", "second_moment_floor": 1e-2, "proximal": 0.1}),
        ("adaptive", {"optimizer": "adam-bc", "second_moment_floor": 1e-2}),
    ],
)
def test_a_sharded_network_trains_as_a_whole_one(clipping, changes, tmp_path) -> None:
    settings = settings_of(
        clipping=clipping, clipping_norm=0.2, steps_per_round=3, nominal_batch=5,
        learning_rate=0.05, physical_batch=2, **changes,
    )  # fmt: skip
    agree(*both(tmp_path, DATA, settings, rounds=2))


def test_units_of_several_records_are_clipped_over_all_parts(tmp_path) -> None:
    settings = settings_of(
        clipping_norm=0.2, steps_per_round=3, records_per_unit=3, nominal_batch=5, physical_batch=2
    )
    agree(*both(tmp_path, WIDE, settings, unit=FILE, frozen=True))


@pytest.mark.parametrize("chosen", [[], [4], [0, 1, 3, 4, 6, 7, 8]])
def test_ranks_with_more_batches_than_others_or_none(chosen, tmp_path) -> None:
    settings = settings_of(steps_per_round=2, physical_batch=2, nominal_batch=5)
    agree(*both(tmp_path, DATA, settings, size=3, generator=lambda: ChosenGenerator(chosen)))


def test_the_noise_is_drawn_once_for_each_weight(tmp_path) -> None:
    settings = settings_of(physical_batch=32)
    alone, several = both(tmp_path, DATA, settings, generator=Noise)
    np.testing.assert_allclose(several[1], alone[1], atol=1e-6)
    assert stats.kstest(several[1], stats.norm(scale=SIGMA).cdf).pvalue > 1e-3


class Noise(SeededGenerator):
    """No units, and all the noise."""

    def __init__(self):
        super().__init__(5, "sharded")

    def poisson_sample(self, population, rate):
        return np.zeros(0, np.int64)


def test_every_rank_stores_a_part_and_sees_the_whole(tmp_path) -> None:
    settings, task = settings_of(physical_batch=32), RecurrentTask(shards=True)
    with others(tmp_path, task, DATA, settings) as found:
        training = training_of(task, DATA, settings, found.ranks)
        training.change()
        model, recorder = training.network.model, training.network.recorder
        assert all(isinstance(p, DTensor) for p in model.parameters())
        stored = sum(p.to_local().numel() for p in model.parameters())
        assert stored < 0.6 * training.size
        assert [tuple(p.shape) for p in recorder.parameters] == [
            tuple(p.shape) for p in model.parameters()
        ]
        held = [p.untyped_storage().size() for p in recorder.parameters]
        assert not any(held[1:]), "what layers saw is freed after each step"
        assert all(p.grad is None for p in [*recorder.parameters, *model.parameters()])


def test_where_a_rank_fails_in_the_middle_of_a_pass_none_waits_without_end(tmp_path) -> None:
    settings, task = settings_of(sampling_rate=1.0, physical_batch=32), RecurrentTask(shards=True)
    mistake = other_ranks.failing
    with others(tmp_path, task, DATA, settings, mistake=mistake, timeout=1.5) as found:
        training = training_of(task, DATA, settings, found.ranks)
        receipt = receipt_for(training.policy)
        with pytest.raises((TrainingError, RuntimeError)):
            training.change(receipt=receipt)
    assert receipt.used
    assert found.exits == [1]


def test_where_rank_0_cannot_add_noise_the_others_do_not_step(tmp_path) -> None:
    settings, task = settings_of(physical_batch=32), RecurrentTask(shards=True)
    with others(tmp_path, task, DATA, settings) as found:
        training = training_of(task, DATA, settings, found.ranks)
        with (
            patch.object(GaussianMechanism, "noised", side_effect=TrainingError("too large")),
            pytest.raises(TrainingError, match="too large"),
        ):
            training.change()
    assert found.exits == [1]


def test_a_network_cannot_be_sharded_without_ranks() -> None:
    with pytest.raises(ConfigError, match="sharded over ranks"):
        sharded(nn.Linear(2, 2), [])


def test_weights_are_read_as_they_were_written(tmp_path) -> None:
    settings, task = settings_of(physical_batch=32), RecurrentTask(shards=True)
    with others(tmp_path, task, DATA, settings) as found:
        training = training_of(task, DATA, settings, found.ranks)
        share, weights = training.trainer._share, np.arange(training.size, dtype=np.float32)
        share.begin(weights)
        np.testing.assert_array_equal(share.result(), weights)
