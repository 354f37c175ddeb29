# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members' steps: the engines do what torch's own SGD does, and the same as one another."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_population import (
    CLASSES,
    FEATURES,
    RAGGED,
    STEPS,
    change_of,
    clipped,
    local_work,
    ragged,
    rows,
    start,
    summed,
    world_of,
)
from torch import nn

from fedcode.errors import ConfigError
from fedcode.federation import TrainingSettings
from fedcode.simulation.population.crew import Pace, PlainWork, parts_of
from fedcode.simulation.population.data import Rows
from fedcode.simulation.population.engines import choose
from fedcode.simulation.population.problem import Classifier
from fedcode.simulation.population.stacking import ahead, programs
from fedcode.simulation.population.steps import LocalSteps, Sequential, Together

ENGINES = [Sequential, Together]
EVERYBODY = list(range(len(RAGGED)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [1, 2])
def test_the_sum_is_that_of_torchs_own_optimizer(engine, number) -> None:
    world = ragged()
    changes = [change_of(world, m, STEPS, number) for m in EVERYBODY]
    assert (
        min(map(np.linalg.norm, changes)) < STEPS.clipping_norm < max(map(np.linalg.norm, changes))
    )
    wanted = sum(clipped(change, STEPS.clipping_norm) for change in changes)
    total, tally = summed(engine(world, STEPS), start(world), number, EVERYBODY)
    assert np.abs(total - wanted).max() < 2e-6
    assert (tally.members, tally.trained, tally.left_out) == (8, 7, 0)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 14), min_size=1, max_size=6),
    steps=st.integers(1, 3),
    batch=st.integers(1, 6),
    norm=st.sampled_from([None, 0.05, 10.0]),
    number=st.integers(1, 4),
)
def test_both_engines_find_the_same(sizes, steps, batch, norm, number) -> None:
    world, local = ragged(sizes), LocalSteps(steps, batch, 0.3, norm)
    found = [
        summed(e(world, local), start(world), number, list(range(len(sizes)))) for e in ENGINES
    ]
    (one, tally), (other, like) = found
    assert np.abs(one - other).max() < 1e-6
    assert replace(tally, loss=0) == replace(like, loss=0)
    assert tally.loss == pytest.approx(like.loss, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_computes_the_same_bits_in_any_company(engine) -> None:
    world = ragged([1 + (7 * n) % 15 for n in range(40)])
    made = engine(world, replace(STEPS, clipping_norm=None))
    alone = [summed(made, start(world), 1, [m])[0] for m in (0, 17, 39)]
    for company in ([0, 17, 39], list(range(40)), [39, 5, 17, 0, 2]):
        for member, change in zip((0, 17, 39), alone, strict=True):
            others = [m for m in company if m != member]
            with_it, without = (
                summed(made, start(world), 1, company)[0],
                summed(made, start(world), 1, others)[0],
            )
            assert np.abs(with_it - without - change).max() < 1e-13


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_whose_numbers_are_not_finite_adds_nothing(engine) -> None:
    world = ragged()
    world.population.members[4].columns[0][2, 1] = np.nan
    total, tally = summed(engine(world, STEPS), start(world), 1, EVERYBODY)
    others, _ = summed(engine(world, STEPS), start(world), 1, [m for m in EVERYBODY if m != 4])
    assert tally.left_out == 1
    assert np.abs(total - others).max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_adds_nothing(engine) -> None:
    world = ragged()
    total, tally = summed(engine(world, STEPS), start(world), 1, [])
    assert not total.any()
    assert tally.members == 0


class HalfFrozen(Classifier):
    def build(self):
        model = super().build()
        model[0].weight.requires_grad_(False)
        return model


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_that_are_public_stay(engine) -> None:
    world = ragged(problem=HalfFrozen(FEATURES, (5,), CLASSES))
    before = world.model[0].weight.clone()
    total, _ = summed(engine(world, STEPS), start(world), 1, EVERYBODY)
    assert len(total) == 5 + 5 * CLASSES + CLASSES
    assert total.any()
    assert torch.equal(world.model[0].weight, before)


def test_rounds_go_on_where_the_one_before_ended() -> None:
    steps = LocalSteps(2, 3, 0.1, None)
    assert steps.window(10, 1).tolist() == [0, 1, 2, 3, 4, 5]
    assert steps.window(10, 2).tolist() == [6, 7, 8, 9, 0, 1]
    assert steps.window(4, 2).tolist() == [2, 3, 0, 1]
    assert steps.window(0, 3).tolist() == []


def test_reading_ahead_keeps_the_order_and_tells_errors() -> None:
    world = ragged([1] * 30)
    found = list(ahead(world.population, range(29, -1, -1)))
    assert [one.columns[0][0, 0] for one in found] == [
        world.population.members[m].columns[0][0, 0] for m in range(29, -1, -1)
    ]
    with pytest.raises(IndexError):
        list(ahead(world.population, [2, 31, 3]))
    for _ in ahead(world.population, range(30)):
        break  # the thread ends: the warning of one that does not would be an error


@pytest.mark.parametrize("engine", ["sequential", "together"])
def test_a_cohort_is_cut_into_a_bounded_number_of_parts(engine) -> None:
    for size in (0, 1, 5, 100, 3_000):
        parts = parts_of(np.arange(size), engine)
        assert len(parts) <= 16
        assert [m for part in parts for m in part] == list(range(size))


@given(sizes=st.lists(st.integers(0, 9), max_size=6), size=st.integers(1, 8))
def test_programs_hold_everybody_and_no_more_than_they_may(sizes, size) -> None:
    ends = np.cumsum([0, *sizes])
    parts = [list(range(a, b)) for a, b in pairwise(ends.tolist())]
    found = list(programs(parts, size))
    assert all(0 < sum(len(members) for _, members in one) <= size for one in found)
    pieces = [piece for one in found for piece in one]
    assert [m for _, members in pieces for m in members] == list(range(ends[-1]))
    for place, part in enumerate(parts):  # cut in the same places as if it were alone
        own = [members for where, members in pieces if where == place]
        assert own == [members for one in programs([part], size) for _, members in one]


@pytest.mark.parametrize("faster", [True, False])
def test_processes_are_asked_for_as_long_as_they_are_faster(faster) -> None:
    pace = Pace()

    def rounds(count, faster):
        ways = []
        for _ in range(count):
            ways.append(pace.shared())
            pace.note(ways[-1], 1.0 if ways[-1] == faster else 2.0)
        return ways

    assert rounds(6, faster) == [True] * 3 + [False] * 3
    ways = rounds(200, faster)
    assert ways.count(faster) > 180
    assert ways.count(not faster) >= 5  # tried again
    ways = rounds(400, not faster)  # others have come to the machine, or gone
    assert ways[-60:].count(not faster) > 50


# Which engine.


class Recurrent(Classifier):
    """A network without a batching rule."""

    def build(self):
        return nn.GRU(FEATURES, CLASSES, batch_first=True)

    def losses(self, model, batch):
        features, classes = batch
        scores, _ = model(features[:, None])
        return nn.functional.cross_entropy(scores[:, 0], classes, reduction="none")


def test_the_faster_engine_wins_and_no_member_is_looked_at() -> None:
    world = ragged()
    choice = choose("auto", PlainWork(STEPS), world, start(world), 48)
    assert set(choice.milliseconds) == {"sequential", "together"}
    assert choice.engine == min(choice.milliseconds, key=choice.milliseconds.get)
    assert world.population.seen == []


def test_a_network_without_a_batching_rule_is_trained_in_turn() -> None:
    world = ragged(problem=Recurrent(FEATURES, (), CLASSES))
    choice = choose("auto", PlainWork(STEPS), world, start(world), 8)
    assert choice.engine == "sequential"
    assert "cannot be trained together" in choice.why
    total, _ = summed(Sequential(world, STEPS), start(world), 1, EVERYBODY)
    assert total.any()
    with pytest.raises(ConfigError, match="cannot be trained together"):
        choose("together", PlainWork(STEPS), world, start(world), 8)


# Members that protect themselves.

PRIVATE = TrainingSettings(
    steps_per_round=3, sampling_rate=0.4, nominal_batch=4, clipping_norm=0.3, learning_rate=0.5
)


def locally(world, name, members, number=1, work=None):
    engine = (work or local_work(world, PRIVATE)).engine(name, world)
    found = summed(engine, start(world), number, members)
    engine.close()
    return found


def test_private_members_send_the_same_whatever_the_engine() -> None:
    world = ragged((12, 30, 7, 5, 1, 0))
    one, tally = locally(world, "sequential", list(range(6)))
    other, like = locally(world, "together", list(range(6)))
    assert tally.refused == like.refused == 2  # too few for their sampling rate
    assert np.abs(one - other).max() < 1e-5
    assert np.abs(one).max() > 0.1  # noise and all
    assert tally.loss == pytest.approx(like.loss, rel=1e-4)


@pytest.mark.parametrize("name", ["sequential", "together"])
def test_private_members_have_noise_of_their_own_in_every_round(name) -> None:
    same = rows(20, 5)
    world = world_of([same, Rows(same.columns)])
    sums = [locally(world, name, [m], n)[0] for m, n in ((0, 1), (1, 1), (0, 2), (0, 1))]
    assert np.array_equal(sums[0], sums[3])
    assert not np.array_equal(sums[0], sums[1])
    assert not np.array_equal(sums[0], sums[2])


@pytest.mark.parametrize("name", ["sequential", "together"])
def test_a_private_row_that_is_not_finite_adds_nothing(name) -> None:
    world = ragged((12, 30))
    world.population.members[1].columns[0][:] = np.nan
    total, tally = locally(world, name, [0, 1])
    assert np.isfinite(total).all()
    assert tally.left_out == 1


@pytest.mark.parametrize("name", ["sequential", "together"])
def test_every_private_member_pays_from_its_own_account(tmp_path, name) -> None:
    world = ragged((12, 30, 7))
    work = local_work(world, PRIVATE, tmp_path / "ledger.sqlite")
    engine = work.engine(name, world)
    summed(engine, start(world), 1, [0, 2])
    summed(engine, start(world), 2, [2])
    ledger = engine._ledger
    assert [ledger.charges(f"small/member {m}") for m in (0, 2)] == [1, 2]
    assert ledger.account("small/member 1") is None
    assert ledger.verify() == 5
    engine.close()
