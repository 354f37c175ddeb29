# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Every phase of the deep belief network: one record moves a step's sum by C at most.

Neighbouring data, the whole of a member's training, the noise switched off, as in
``test_sensitivity.py``; and the noise itself, which must be that of the sensitivity.
"""

import numpy as np
import pytest
import torch
from scipy import stats
from test_sensitivity import CLIPPINGS, ROUNDING, moves
from toy_task import Training, clipped_sum, initial, receipt_for, settings_of

from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import Corpus, Metrics, Record, UnitId
from fedcode.tasks.belief import BeliefTask
from fedcode.tasks.belief_layers import FirstLayer, SecondLayer
from fedcode.training.clipping import Flat

SETTINGS = {"words": 12, "folders": 6, "features": ("age",), "hidden": (5, 4), "std": 0.5}
WORDS = ["c:open", "c:readAll", "d:Store", "f:if", "f:for"]


def record(number, tokens):
    rng = np.random.default_rng(number)
    ast = tuple(rng.choice(WORDS, tokens))
    path = f"org/a{number % 3}/C{number}"
    return Record(
        UnitId(f"{path}::C"), path, "C", "class", (), 1 + tokens, int(number % 4 == 0),
        ast=ast, metrics=Metrics(calls=tokens), features=(("age", float(number)),),
    )  # fmt: skip


DATA = [record(i, n) for i, n in enumerate([0, 1, 900, 3, 40, 2, 11, 250])]


@pytest.fixture(params=[FirstLayer, SecondLayer, BeliefTask], ids=lambda kind: kind.name)
def task(request):
    return request.param.make(SETTINGS, Corpus("public", ()))


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("norm", [0.01, 1.0])
def test_one_record_moves_the_sum_by_the_clipping_norm_at_most(task, clipping, norm) -> None:
    found = moves(task, DATA, clipping=clipping, clipping_norm=norm)
    assert found.max() <= ROUNDING
    if norm < 1:
        assert found.max() > 0.9, "nothing was clipped: the test says nothing"


def test_a_step_is_the_clipped_sum_of_single_gradients(task) -> None:
    settings = settings_of(clipping_norm=0.1, physical_batch=3)
    training = Training(task, DATA, settings)
    weights = initial(training.network.model)
    expected = clipped_sum(task, DATA, settings, weights)
    assert np.linalg.norm(expected) > 0.1
    # norms in float32 are a little too large, never too small
    np.testing.assert_allclose(training.change(weights), -expected, rtol=1e-3, atol=1e-5)


def test_gradients_that_are_not_clipped_are_caught(task, monkeypatch) -> None:
    monkeypatch.setattr(Flat, "factors", lambda _self, squares: torch.ones_like(squares))
    assert moves(task, DATA, clipping_norm=0.01).max() > 1.5


def noises(task, noise_multiplier, claimed):
    """What a step of noise alone adds to each weight, over the std that is ``claimed``."""
    generator = SeededGenerator(5, "belief")
    generator.poisson_sample = lambda population, rate: np.zeros(0, np.int64)
    settings = settings_of(clipping_norm=0.3)
    training = Training(
        task, DATA, settings, generator=generator, noise_multiplier=noise_multiplier
    )
    found = [training.change(receipt=receipt_for(training.policy, seeded=True)) for _ in range(30)]
    return np.concatenate(found) / (claimed * 0.3)


def test_the_noise_is_that_of_the_policy_and_no_other(task) -> None:
    torch.manual_seed(0)
    found = noises(task, 2.0, 2.0)
    assert stats.kstest(found, "norm").pvalue > 1e-3
    assert stats.kstest(found * 1.4, "norm").pvalue < 1e-3
    assert stats.kstest(found * 0.7, "norm").pvalue < 1e-3
