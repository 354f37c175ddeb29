# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Processes beside the test's own, which is rank 0; and mistakes that they can be told to make."""

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import get_context
from uuid import uuid4

import torch
from toy_task import policy_of

from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.training.network import layout
from fedcode.training.private import PrivateNetwork
from fedcode.training.ranks import Distributed
from fedcode.training.shares import Order, Share, assist

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
    torch.manual_seed(1)
    network = PrivateNetwork(task.build())
    weights = settings.coordinates(layout(network.model).size)
    policy = policy_of(settings, weights, SIGMA, unit)
    with Distributed(timedelta(seconds=timeout), store=store, rank=rank, size=size) as ranks:
        assist(task, network, data, settings, policy, ranks)


SIGMA = 3.0
"""The noise multiplier of all these trainings."""

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
        return [list(self._units[unit]) for unit in found]

    Share._dealt = dealt


def parts_of_units():
    """Every other example of each unit, whoever has the rest."""

    def dealt(self, order):
        chosen = [[self._units[unit][i] for i in examples] for unit, examples in order]
        return [unit[self._ranks.rank :: self._ranks.size] for unit in chosen]

    Share._dealt = dealt


def weights_of_its_own():
    backward = Share._backward

    def moved(self, size, batch):
        with torch.no_grad():
            next(self._network.model.parameters()).flatten()[0] += 1e-3
        return backward(self, size, batch)

    Share._backward = moved


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
