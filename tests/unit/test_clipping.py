# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What gradients are multiplied by, against the definitions written out by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn
from toy_task import (
    ChosenGenerator,
    ToyTask,
    Training,
    clipped_sum,
    gradients,
    initial,
    receipt_for,
    records,
    settings_of,
)

from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy.seeded import SeededGenerator
from fedcode.trainer import LocalReport
from fedcode.training.clipping import (
    VOTE,
    Adaptive,
    Flat,
    Normalized,
    PerLayer,
    by_layer,
    clipping_of,
    finite,
    layers,
)
from fedcode.training.counting import CountTrainer
from fedcode.training.network import write

ROOM = math.sqrt(1 - VOTE**2)
DATA = records([3, 9, 2, 30, 5, 14, 1, 8])

# Squared norms of two layers (rows) of five units: norms 5, 0, 13, 0.5 and 5 in all.
SQUARES = torch.tensor([[9.0, 0, 25, 0.09, 0], [16.0, 0, 144, 0.16, 25]])


def test_flat_is_one_factor_for_the_whole() -> None:
    expected = [2 / 5, 1, 2 / 13, 1, 2 / 5]
    found = Flat(2.0).factors(SQUARES)
    assert found.numpy() == pytest.approx(np.array([expected, expected]), rel=2e-6)


def test_normalized_makes_long_and_short_ones_as_long() -> None:
    expected = [2 / 5.02, 2 / 0.02, 2 / 13.02, 2 / 0.52, 2 / 5.02]
    found = Normalized(2.0).factors(SQUARES)
    assert found.numpy() == pytest.approx(np.array([expected, expected]), rel=2e-6)


def test_per_layer_clips_each_to_its_part() -> None:
    own = 2 / math.sqrt(2)
    expected = [[own / 3, 1, own / 5, 1, 1], [own / 4, 1, own / 12, 1, own / 5]]
    assert PerLayer(2.0).factors(SQUARES).numpy() == pytest.approx(np.array(expected), rel=2e-6)


def test_adaptive_clips_at_its_level_and_leaves_room_for_the_vote() -> None:
    clipping = Adaptive(2.0, 0.5, 0.2, level=6.0)
    lengths = np.array([5, 0, 13, 0.5, 5])
    clipped = clipping.factors(SQUARES).numpy() * lengths
    assert clipped[0] == pytest.approx(ROOM * 2 * np.minimum(lengths / 6, 1), rel=2e-6)
    assert clipping.scale * clipped[0] == pytest.approx(np.minimum(lengths, 6), rel=2e-6)


@pytest.mark.parametrize(
    ("quantile", "up", "down"), [(0.5, 1, 1), (0.8, 1 / 4, 1), (0.2, 1, 1 / 4)]
)
def test_votes_cancel_out_at_the_quantile(quantile, up, down) -> None:
    clipping = Adaptive(2.0, quantile, 0.2, level=5.0)
    most = VOTE * 2.0
    assert clipping.votes(SQUARES[:, :1]) == pytest.approx(most * up)
    assert clipping.votes(SQUARES[:, 2:3]) == pytest.approx(-most * down)
    below, above = SQUARES[:, 1:2], SQUARES[:, 2:3]
    many = torch.cat([below] * round(100 * quantile) + [above] * round(100 * (1 - quantile)), dim=1)
    assert clipping.votes(many) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
def test_the_level_moves_as_in_the_paper(quantile) -> None:
    """C exp(-η (b - γ)), where the batch is the nominal one (Andrew et al. 2021, algorithm 1)."""
    clipping = Adaptive(2.0, quantile, 0.3, level=5.5)
    clipping.adapt(clipping.votes(SQUARES), 5)
    assert clipping.level == pytest.approx(5.5 * math.exp(-0.3 * (4 / 5 - quantile)))


@pytest.mark.parametrize("votes", [1e30, -1e30, math.inf, -math.inf])
def test_no_noise_takes_the_level_where_float32_ends(votes) -> None:
    clipping = Adaptive(1e-6, 0.5, 1e3)
    for _ in range(3):
        clipping.adapt(votes, 1)
    assert 1e-11 < clipping.level < 1e-1
    assert 0 < clipping.scale**2 < math.inf


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("drawn", [50, 200])
@pytest.mark.parametrize("first", [0.03, 100.0])
def test_the_level_finds_the_quantile_whatever_was_drawn(quantile, drawn, first) -> None:
    """Also where a batch is a quarter of the nominal one, which only slows it down."""
    draw, clipping = np.random.default_rng(1), Adaptive(1.0, quantile, 0.3, level=first)
    seen = []
    for step in range(600):
        norms = draw.lognormal(1.0, 0.7, drawn)
        votes = clipping.votes(torch.from_numpy(norms**2)[None].float())
        clipping.adapt(votes + draw.normal(0, 0.5), 200)
        if step >= 400:
            seen.append((norms <= clipping.level).mean())
    assert np.mean(seen) == pytest.approx(quantile, abs=0.03)


CLIPPINGS = [Flat(2.0), PerLayer(2.0), Normalized(2.0), Adaptive(2.0, 0.5, 0.2)]


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_unit_that_is_not_finite_is_left_out_of_all_layers(clipping, bad) -> None:
    squares = SQUARES.clone()
    squares[1, 2] = bad
    assert finite(squares).tolist() == [True, True, False, True, True]
    kept = [0, 1, 3, 4]
    found = clipping.factors(squares)
    assert (found[:, 2] == 0).all()
    assert torch.equal(found[:, kept], clipping.factors(SQUARES)[:, kept])
    if isinstance(clipping, Adaptive):
        assert clipping.votes(squares) == pytest.approx(clipping.votes(SQUARES[:, kept]))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.recurrent = nn.LSTM(4, 4, num_layers=2, bidirectional=True)
        self.public = nn.Linear(4, 4).requires_grad_(False)
        self.out = nn.Linear(4, 7)
        self.out.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.ones(1))


def test_a_layer_is_a_module_with_trained_parameters_of_its_own() -> None:
    model = Tied()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    found = dict(zip(trained, layers(model), strict=True))
    assert found["scale"] == 0
    assert found["embedding.weight"] == 1
    assert {n for name, n in found.items() if name.startswith("recurrent")} == {2}
    assert found["out.bias"] == 3
    assert len(found) == 1 + 1 + 16 + 1


def test_squares_are_added_up_within_a_layer() -> None:
    squares = torch.tensor([[1.0, 2], [10, 20], [100, 200]])
    assert by_layer(squares, [1, 0, 1]).tolist() == [[10, 20], [101, 202]]


def test_settings_name_the_clipping() -> None:
    def made(name, level=None):
        return clipping_of(settings_of(clipping=name, clipping_norm=3.0, quantile=0.7), level)

    assert made("flat") == Flat(3.0)
    assert made("per-layer") == PerLayer(3.0)
    assert made("normalized") == Normalized(3.0)
    assert (made("adaptive").level, made("adaptive", 4.5).level) == (3.0, 4.5)


# In a member's training.

ADAPTIVE = {"clipping": "adaptive", "clipping_norm": 0.2, "quantile_rate": 0.5}


def test_a_step_clips_at_the_level_and_the_next_one_at_another() -> None:
    """Three rounds of one step, each clipped flat at the level that the votes before it gave."""
    task, settings = ToyTask(), settings_of(**ADAPTIVE, nominal_batch=8)
    training = Training(task, DATA, settings)
    weights, level = initial(training.network.model), 0.2
    for _ in range(3):
        flat = settings_of(clipping_norm=level)
        expected = clipped_sum(task, DATA, flat, weights) / 8
        below = len(DATA) * sum_below(task, weights, level)
        change = training.change(weights)
        assert change == pytest.approx(-expected, abs=2e-5)
        level *= math.exp(-0.5 * (below / 8 - 0.5))
        assert training.trainer.report.level == pytest.approx(level, rel=1e-4)
        weights = weights + change
    assert not math.isclose(level, 0.2, rel_tol=0.2)


def sum_below(task, weights, level):
    """The part of the records whose gradients are shorter than ``level``."""
    model = task.build()
    write(model, weights)
    norms = [np.linalg.norm(gradients(task, model, e)) for e in task.examples(DATA)]
    return np.mean(np.array(norms) <= level)


def test_the_level_outlives_a_round_but_not_the_trainer() -> None:
    training = Training(ToyTask(), DATA, settings_of(**ADAPTIVE))
    assert training.trainer.report == LocalReport(level=0.2, physical_batch=64)
    training.change()
    first = training.trainer.report.level
    assert first != 0.2
    training.change()
    assert training.trainer.report.level != first
    again = Training(ToyTask(), DATA, settings_of(**ADAPTIVE))
    assert again.trainer.report.level == 0.2


def test_a_trainer_that_is_given_the_level_goes_on_as_the_one_that_had_it() -> None:
    def noised():
        return SeededGenerator(3, "level")

    settings = settings_of(**ADAPTIVE)
    whole = Training(ToyTask(), DATA, settings, generator=noised())
    receipts = [seeded(whole) for _ in range(2)]
    whole.change(receipt=receipts[0])
    level = whole.trainer.report.level
    whole.generator = noised()
    expected = whole.change(receipt=receipts[1])
    rest = Training(ToyTask(), DATA, settings, generator=noised(), level=level)
    np.testing.assert_array_equal(rest.change(receipt=seeded(rest)), expected)
    assert rest.trainer.report.level == whole.trainer.report.level
    lost = Training(ToyTask(), DATA, settings, generator=noised())
    assert (lost.change(receipt=seeded(lost)) != expected).any()


def seeded(training):
    return receipt_for(training.policy, seeded=True)


def test_the_level_of_other_clippings_is_none() -> None:
    training = Training(ToyTask(), DATA, settings_of())
    training.change()
    assert training.trainer.report.level is None


def test_an_adaptive_sum_has_one_coordinate_more_and_what_leaves_has_not() -> None:
    generator = ChosenGenerator(noise=True)
    training = Training(ToyTask(), DATA, settings_of(**ADAPTIVE), generator=generator)
    change = training.change()
    assert generator.coordinates == training.policy.weights == len(change) + 1
    assert training.policy.sensitivity > 0.2 + training.policy.spacing * math.sqrt(len(change))


def test_a_policy_without_the_votes_coordinate_is_refused() -> None:
    training = Training(ToyTask(), DATA, settings_of(**ADAPTIVE))
    weights = training.policy.weights - 1
    training.trainer._policy = dataclasses.replace(training.policy, weights=weights)
    with pytest.raises(PrivacyError, match="coordinates had noise"):
        training.change()


@pytest.mark.parametrize("clipping", ["per-layer", "normalized"])
def test_counts_are_clipped_flat(clipping) -> None:
    settings = settings_of(kind="gradient-sum", clipping=clipping)
    with pytest.raises(ConfigError, match=f"counts cannot be clipped {clipping}"):
        CountTrainer(None, DATA, settings, None, None)


def test_counts_are_not_clipped_adaptively() -> None:
    """Which is for local steps alone, and those they do not take."""
    with pytest.raises(ConfigError, match="counts take no local steps"):
        CountTrainer(None, DATA, settings_of(clipping="adaptive"), None, None)
    with pytest.raises(ValueError, match="it cannot be adaptive"):
        settings_of(kind="gradient-sum", clipping="adaptive")
