# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The integers of an agreement: what its members can be expected to send fits, and no more."""

import itertools
import math

import numpy as np
import pytest
from few_numbers import SEED, agreement_of

from fedcode.errors import OutOfRange
from fedcode.federation import AggregationSettings, TrainingSettings
from fedcode.privacy.lattice import RING
from fedcode.simulation.identities import roster_of

OPTIMIZERS = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "adam", "learning_rate": 1e-3},
    {"optimizer": "adam-bc", "learning_rate": 1e-3},
    {"optimizer": "adam-bc", "learning_rate": 1e-3, "second_moment_floor": 1e-2},
]
CLIPPINGS = ["flat", "per-layer", "normalized", "adaptive"]
SIZES = [(3, 1, 256, 1.0), (100, 16, 8, 1e-3), (20, 4, 1000, 50.0)]
"""Members, steps, nominal batch, clipping norm."""

CASES = list(itertools.product(OPTIMIZERS, CLIPPINGS, SIZES))


def agreement_with(members, noise=1.1, **training):
    training = {"sampling_rate": 0.1} | training
    return agreement_of(
        roster=tuple(f"m{n:03}" for n in range(members)),
        mode="secagg",
        weights=7,
        noise_multiplier=noise,
        training=TrainingSettings(**training),
    )


def change_by_steps(training, policy):
    """How far steps carry a weight when every step's sum is all that one can expect, by hand.

    So many nominal batches whose units have their whole norm in one coordinate, and 16 standard
    deviations of noise on top.
    """
    gradient = 64 * policy.clipping_norm + 16 * policy.std / training.nominal_batch
    if training.clipping == "adaptive":
        gradient *= 16
    moved, velocity, first, second = 0.0, 0.0, 0.0, 0.0
    for step in range(1, training.steps_per_round + 1):
        if training.optimizer == "sgd":
            velocity = training.momentum * velocity + gradient
            moved += training.learning_rate * velocity
            continue
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        one, two = first / (1 - 0.9**step), second / (1 - 0.999**step)
        floor = training.second_moment_floor if training.optimizer == "adam-bc" else 1e-16
        moved += training.learning_rate * one / math.sqrt(max(two, floor))
    return moved


@pytest.mark.parametrize(("optimizer", "clipping", "size"), CASES)
def test_the_largest_change_of_every_member_fits_and_adds_up(optimizer, clipping, size) -> None:
    members, steps, batch, norm = size
    agreement = agreement_with(
        members,
        steps_per_round=steps,
        nominal_batch=batch,
        clipping_norm=norm,
        clipping=clipping,
        metrics=("units",),
        **optimizer,
    )
    lattice, training = agreement.lattice(), agreement.training
    assert lattice.size == agreement.length == 8
    assert lattice.terms == members
    largest = change_by_steps(training, agreement.policy)
    metric = steps * (64 * batch * norm + 16 * agreement.policy.std)
    for sign in (1, -1):
        vector = np.float32([largest] * 7 + [metric]) * sign
        points = lattice.points(vector)
        total = np.zeros(8, np.uint32)
        for _ in range(members):
            total += points.view(np.uint32)
        found = lattice.values(total.view(np.int32).astype(np.int64))
        spacings = np.repeat([s for _, s in lattice.blocks], [n for n, _ in lattice.blocks])
        exact = members * vector.astype(np.float64)
        assert (np.abs(found - exact) <= members * spacings / 2).all()


@pytest.mark.parametrize(("optimizer", "clipping", "size"), CASES)
def test_what_would_wrap_is_refused(optimizer, clipping, size) -> None:
    members, steps, batch, norm = size
    agreement = agreement_with(
        members,
        steps_per_round=steps,
        nominal_batch=batch,
        clipping_norm=norm,
        clipping=clipping,
        **optimizer,
    )
    lattice = agreement.lattice()
    ((_, spacing),) = lattice.blocks
    edge = lattice.limit * spacing
    for sign, place in itertools.product((1, -1), (0, 6)):
        vector = np.zeros(7, np.float32)
        vector[place] = sign * edge * 1.001
        with pytest.raises(OutOfRange):
            lattice.points(vector)
        vector[place] = sign * edge * 0.999
        lattice.points(vector)
    assert members * lattice.limit < RING // 2


@pytest.mark.parametrize("clipping", CLIPPINGS[:3])
@pytest.mark.parametrize("size", SIZES)
def test_a_noised_sum_keeps_the_points_of_its_own_lattice_where_they_fit(clipping, size) -> None:
    members, _, batch, norm = size
    agreement = agreement_with(
        members,
        kind="gradient-sum",
        nominal_batch=batch,
        clipping_norm=norm,
        clipping=clipping,
        metrics=("loss", "units"),
    )
    lattice, policy = agreement.lattice(), agreement.policy
    ((size_, spacing),) = lattice.blocks
    assert size_ == agreement.length == 9
    coarser = spacing / policy.spacing
    assert coarser >= 1
    assert math.frexp(coarser)[0] == 0.5, "every 2^k-th point"
    largest = 64 * batch * norm + 16 * policy.std
    points = np.full(9, round(largest / policy.spacing), np.int64)
    kept = lattice.kept(points, policy.spacing)
    assert int(kept[0]) * members < RING // 2
    if coarser > 1:
        half = points // 2
        assert members * int(half[0] // (coarser / 2)) > RING // 8, "no coarser than it must be"
    with pytest.raises(OutOfRange):
        lattice.kept(points * 4, policy.spacing)


def test_it_follows_from_public_numbers_and_the_whole_roster() -> None:
    one = agreement_with(5)
    assert one.lattice() == agreement_with(5).lattice()
    more = agreement_with(50)
    assert more.lattice().blocks[0][1] > one.lattice().blocks[0][1]
    grouped = agreement_of(
        roster=roster_of("toy", SEED, [f"m{n}" for n in range(12)]).names,
        aggregation=AggregationSettings(mode="secagg-groups"),
    )
    assert grouped.lattice().terms == 12
