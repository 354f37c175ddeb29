# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Populations of a few rows a member, and the definition of what a member does."""

import numpy as np
import torch
from torch import nn

from fedcode.privacy.calibration import quote
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import PrivacyUnit
from fedcode.simulation.population.data import Rows
from fedcode.simulation.population.local import LocalWork
from fedcode.simulation.population.problem import Classifier, World
from fedcode.simulation.population.steps import LocalSteps
from fedcode.training import network

FEATURES, CLASSES = 6, 3
STEPS = LocalSteps(steps=3, batch=4, learning_rate=0.5, clipping_norm=0.3)
RAGGED = (12, 1, 5, 0, 30, 4, 8, 11)


class Listed:
    """A population that counts who was looked at."""

    def __init__(self, members):
        self.members, self.seen = members, []

    def __len__(self):
        return len(self.members)

    def member(self, number):
        self.seen.append(number)
        return self.members[number]


def rows(size, seed):
    """Random rows of one member."""
    draw = np.random.default_rng(seed)
    features = draw.standard_normal((size, FEATURES), np.float32)
    return Rows((features, draw.integers(CLASSES, size=size)))


def world_of(members, problem=None):
    """A world of members whose rows are given."""
    problem = problem or Classifier(FEATURES, (5,), CLASSES)
    torch.manual_seed(3)
    return World(Listed(members), problem, problem.build(), rows(12, 99))


def ragged(sizes=RAGGED, **changes):
    """A world of members of so many rows."""
    return world_of([rows(size, seed) for seed, size in enumerate(sizes)], **changes)


def start(world):
    """The weights that a world's network has."""
    return network.read(world.model)


def change_of(world, member, steps, number=1):
    """One member's steps by torch's own SGD: the change of weights before any clipping."""
    model, before = world.model, start(world)
    optimizer = torch.optim.SGD(model.parameters(), lr=steps.learning_rate)
    features, classes = world.population.members[member].columns
    chosen = steps.window(len(classes), number)
    for first in range(0, len(chosen), steps.batch):
        batch = chosen[first : first + steps.batch]
        scores = model(torch.from_numpy(features[batch]))
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores, torch.from_numpy(classes[batch])).backward()
        optimizer.step()
    change = network.read(model) - before
    network.write(model, before)
    return change.astype(np.float64)


def clipped(change, norm):
    """The change, no longer than ``norm``."""
    length = np.linalg.norm(change)
    return change * min(1.0, norm / length) if length else change


def local_work(world, settings, ledger=":memory:", epsilon=8.0, rounds=20):
    """DP-SGD of every member with a budget that pays for ``rounds``."""
    found = quote(
        settings.sampling_rate, settings.steps_per_round, 1e-3, epsilon=epsilon, rounds=rounds
    )
    policy = PrivacyPolicy(
        PrivacyUnit.FUNCTION,
        settings.clipping_norm,
        len(start(world)),
        found.plan.noise_multiplier,
        settings.sampling_rate,
        settings.steps_per_round,
        1e-3,
        epsilon,
    )
    return LocalWork(
        settings, policy, found.filter, ledger, "small", "test", "a" * 64, "classifier", 7
    )


def summed(engine, weights, number, members):
    """The sum and the tally of members that are one part."""
    ((total, tally),) = engine.run(weights, number, [members])
    return total, tally
