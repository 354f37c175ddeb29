# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Training without privacy: what it steps on, and in which precision."""

from itertools import count, islice

import numpy as np
import pytest
import torch
from toy_task import ToyTask, records

from fedcode.training import plain
from fedcode.training.network import read, write

DATA = records([3, 9, 2, 30, 5, 14, 1, 8])


def trained(**changes):
    task = ToyTask()
    model = task.build()
    losses = plain.record_losses(task, model, task.examples(DATA), 4, np.random.default_rng(1))
    mean = plain.PlainTrainer(model, 40, learning_rate=0.05, **changes).train(losses, range(40))
    return mean, np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def test_the_loss_falls() -> None:
    task = ToyTask()
    model = task.build()
    losses = plain.record_losses(task, model, task.examples(DATA), 4, np.random.default_rng(1))
    told = []
    trainer = plain.PlainTrainer(model, 400, learning_rate=0.05)
    trainer.train(losses, range(400), tell=lambda *t: told.append(t))
    assert [step for step, _ in told] == list(range(400))
    first, last = (np.mean([loss for _, loss in part]) for part in (told[:20], told[-20:]))
    assert last < 0.9 * first


def test_half_precision_is_near_and_not_the_same() -> None:
    loss, weights = trained()
    half_loss, half = trained(precision="bfloat16")
    assert half.dtype == np.float32
    assert half_loss == pytest.approx(loss, rel=0.02)
    assert not np.array_equal(weights, half)
    assert np.linalg.norm(half - weights) < 0.2 * np.linalg.norm(weights)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6])
def test_so_many_steps_are_public(share) -> None:
    """Both streams are used in their own order, and the share is that of the steps."""
    records_, public = (map(torch.tensor, count(start)) for start in (0, 1_000_000))
    steps = plain.mixed(records_, public, share, np.random.default_rng(3))
    seen = [int(x) for x in islice(steps, 4000)]
    of_public = [x for x in seen if x >= 1_000_000]
    assert len(of_public) / 4000 == pytest.approx(share, abs=0.03)
    assert of_public == list(range(1_000_000, 1_000_000 + len(of_public)))
    assert [x for x in seen if x < 1_000_000] == list(range(4000 - len(of_public)))


def test_the_moments_last_from_round_to_round() -> None:
    """Two halves are the whole, though another took its turn on the model in between."""

    def train(*parts):
        task = ToyTask()
        model = task.build()
        examples = task.examples(DATA)
        one, other = (plain.PlainTrainer(model, 20, learning_rate=0.05) for _ in range(2))
        losses, others = (
            plain.record_losses(task, model, examples, 4, np.random.default_rng(seed))
            for seed in (1, 2)
        )
        for part in parts:
            one.train(losses, part)
            weights = read(model)
            other.train(others, part)
            write(model, weights)
        return read(model)

    np.testing.assert_array_equal(train(range(10), range(10, 20)), train(range(20)))
