# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Processes beside the test's own, which is rank 0; and mistakes that they can be told to make."""

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import get_context
from unittest.mock import patch
from uuid import uuid4

import numpy as np
import pytest
import torch
from toy_task import Training, policy_of, receipt_for

from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.release import GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.training.assist import assist
from fedcode.training.network import layout
from fedcode.training.private import PrivateNetwork
from fedcode.training.ranks import Distributed
from fedcode.training.shares import Order, Share

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["fedcode.training.private"])
FUNCTION = PrivacyUnit.FUNCTION


class Others:
    """The other ranks.

    Attributes:
        ranks: this process among them.
        exits: their exit codes, once all is over.
    """

    def __init__(self):
        self.ranks, self.exits = None, []


@contextmanager
def others(path, task, data, settings, *, unit=FUNCTION, size=2, mistake=None, timeout=20.0):
    """``size`` ranks in all. The others are gone afterwards, whatever happens."""
    store = f"file://{path}/{uuid4().hex}"
    given = (store, size, task, data, settings, unit, mistake, timeout)
    processes = [
        CONTEXT.Process(target=other, args=(rank, *given), daemon=True) for rank in range(1, size)
    ]
    for process in processes:
        process.start()
    found = Others()
    try:
        with Distributed(timedelta(seconds=timeout), store=store, rank=0, size=size) as found.ranks:
            yield found
    finally:
        for process in processes:
            process.join(10)
            process.kill()
            process.join()
        found.exits += [process.exitcode for process in processes]


def other(rank, store, size, task, data, settings, unit, mistake, timeout):
    """What another rank's program does."""
    torch.set_num_threads(1)
    if mistake is not None:
        mistake()
    with Distributed(timedelta(seconds=timeout), store=store, rank=rank, size=size) as ranks:
        torch.manual_seed(1)
        network = PrivateNetwork(task.build())
        weights = settings.coordinates(layout(network.model).size)
        policy = policy_of(settings, weights, SIGMA, unit)
        assist(task, network, data, settings, policy, ranks)


TOLERANCE = 1e-5
SIGMA = 3.0
"""The noise multiplier of all these trainings."""

# What is compared.


@contextmanager
def recorded():
    """Of each step all that gets noise, as one vector, and how many units it is of."""
    noised, end = GaussianMechanism.noised, GaussianMechanism.end_step
    steps, now = [], []

    def watch(self, clipped):
        now.append(np.ravel(clipped.values).astype(np.float64))
        return noised(self, clipped)

    def ended(self, units):
        end(self, units)
        steps.append((units, np.concatenate(now)))
        now.clear()

    with (
        patch.object(GaussianMechanism, "noised", watch),
        patch.object(GaussianMechanism, "end_step", ended),
    ):
        yield steps


def training_of(task, data, settings, ranks=None, **options):
    return Training(task, data, settings, noise_multiplier=SIGMA, ranks=ranks, **options)


def trained(task, data, settings, *, generator=None, rounds=1, ranks=None, **options):
    """The steps' sums, the last round's change, its report and what the ledger says."""
    generator = generator or SeededGenerator(1, "ranks")
    training = training_of(task, data, settings, ranks, generator=generator, **options)
    with recorded() as steps, BudgetLedger.open(":memory:") as ledger:
        for _ in range(rounds):
            receipt = receipt_for(training.policy, seeded=generator.seeded)
            change = training.change(receipt=receipt)
        receipt_for(training.policy, ledger=ledger, seeded=True)
        return steps, change, training.trainer.report, ledger.epsilon("toy")


def agree(alone, several, *, atol=2e-5):
    """Sums within rounding; everything else the same."""
    for (units, total), (units_too, total_too) in zip(alone[0], several[0], strict=True):
        assert units == units_too
        scale = max(np.linalg.norm(total), 1e-9)
        assert np.linalg.norm(total - total_too) <= TOLERANCE * scale
    np.testing.assert_allclose(several[1], alone[1], atol=atol)
    one, two = alone[2], several[2]
    assert (one.examples, one.empty_steps, one.left_out) == (
        two.examples, two.empty_steps, two.left_out,
    )  # fmt: skip
    assert two.loss == (one.loss and pytest.approx(one.loss, rel=1e-5))
    assert two.level == (one.level and pytest.approx(one.level, rel=1e-5))
    assert alone[3] == several[3]


# The mistakes.


def noise_of_its_own():
    add_up = Distributed.add_up

    def noisy(self, tensors):
        generator = SeededGenerator(7, "another rank")
        for tensor in tensors:
            noise = generator.gaussian(tensor.numel(), SIGMA)
            tensor += torch.from_numpy(noise).float().view(tensor.shape)
        add_up(self, tensors)

    Distributed.add_up = noisy


def draw_of_its_own():
    def dealt(self, order):
        found = SeededGenerator(7, "another rank").poisson_sample(len(self._units), 0.9)
        return [[list(self._units[unit]) for unit in found]] * self._ranks.size

    Share._dealt = dealt


def parts_of_units():
    """Every other example of each unit, whoever has the rest."""

    def dealt(self, order):
        chosen = [[self._units[unit][i] for i in examples] for unit, examples in order]
        return [[unit[rank::2] for unit in chosen] for rank in range(2)]

    Share._dealt = dealt


def weights_of_its_own():
    backward = Share._backward

    def moved(self, size, batch):
        with torch.no_grad():
            next(self._network.model.parameters()).flatten()[0] += 1e-3
        return backward(self, size, batch)

    Share._backward = moved


def both(path, tasks, data, settings, *, size=2, unit=FUNCTION, generator=None, **more):
    """What one process finds with the first of ``tasks``, and what several do with the second."""
    draw = generator or (lambda: SeededGenerator(1, "ranks"))
    alone = trained(tasks[0], data, settings, unit=unit, generator=draw(), **more)
    with others(path, tasks[1], data, settings, unit=unit, size=size) as found:
        several = trained(
            tasks[1], data, settings, unit=unit, generator=draw(), ranks=found.ranks, **more
        )
    assert found.exits == [0] * (size - 1)
    return alone, several


def failing():
    def failed(self, size, batch):
        raise ValueError("a text that may hold source code")

    Share._backward = failed


def dying():
    Share._backward = lambda self, size, batch: os._exit(9)


def dying_between_rounds():
    def of(numbers):
        order = right(numbers)
        if order.last:
            Distributed.order = lambda self, numbers: os._exit(9)
        return order

    right = Order.of
    Order.of = staticmethod(of)


def hanging():
    Share._backward = lambda self, size, batch: time.sleep(3)
