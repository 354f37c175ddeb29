# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Adam without the noise's part in its second moment, by hand and on noise alone."""

import numpy as np
import pytest
import torch
from torch import nn
from toy_task import Training, receipt_for, records, settings_of

from fedcode.privacy.seeded import SeededGenerator
from fedcode.training.optimizers import AdamBC, optimizer_of
from fedcode.training.private import PrivateOptimizer

RATE, FLOOR, BETAS = 0.1, 1e-3, (0.8, 0.95)


def by_hand(gradients, stds):
    """θ after each step (Tang et al. 2024, algorithm 1), the noise's variance averaged as v is."""
    first = second = noise = theta = 0.0
    for t, (gradient, std) in enumerate(zip(gradients, stds, strict=True), 1):
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        noise = BETAS[1] * noise + (1 - BETAS[1]) * std**2
        mean, square = first / (1 - BETAS[0] ** t), second / (1 - BETAS[1] ** t)
        bias = noise / (1 - BETAS[1] ** t)
        if np.ptp(stds) == 0:
            assert bias == pytest.approx(std**2), "the paper's Φ"
        theta = theta - RATE * mean / np.sqrt(np.maximum(square - bias, FLOOR))
        yield theta


@pytest.mark.parametrize("stds", [[0.0] * 6, [0.7] * 6, [0.5, 0.2, 0.9, 0.1, 0.4, 1.5]])
def test_steps_are_those_of_the_paper(stds) -> None:
    gradients = np.random.default_rng(1).normal(0, 1, (6, 4))
    weights = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = AdamBC([weights], RATE, FLOOR, BETAS)
    for gradient, std, expected in zip(gradients, stds, by_hand(gradients, stds), strict=True):
        weights.grad = torch.from_numpy(gradient)
        optimizer.noise_std = std
        optimizer.step()
        np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-9)


def test_without_noise_it_is_adam() -> None:
    gradients = np.random.default_rng(2).normal(0, 1, (5, 4)).astype(np.float32)
    ours, theirs = (nn.Parameter(torch.zeros(4)) for _ in range(2))
    pair = (AdamBC([ours], RATE, 1e-16), torch.optim.Adam([theirs], lr=RATE))
    for gradient in gradients:
        for weights, optimizer in zip((ours, theirs), pair, strict=True):
            weights.grad = torch.from_numpy(gradient)
            optimizer.step()
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-5)


def test_what_has_no_gradient_does_not_move() -> None:
    frozen, weights = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = AdamBC([frozen, weights], RATE, FLOOR)
    weights.grad = torch.ones(2)
    optimizer.step()
    assert (frozen == 1).all()
    assert (weights < 1).all()


def test_the_settings_name_the_optimizer() -> None:
    weights = [nn.Parameter(torch.zeros(1))]

    def made(**changes):
        return optimizer_of(settings_of(learning_rate=0.3, **changes), weights)

    assert isinstance(made(optimizer="sgd", momentum=0.5), torch.optim.SGD)
    assert isinstance(made(optimizer="adam"), torch.optim.Adam)
    corrected = made(optimizer="adam-bc", second_moment_floor=1e-4)
    assert isinstance(corrected, AdamBC)
    assert corrected.param_groups[0]["lr"] == 0.3
    assert corrected.param_groups[0]["floor"] == 1e-4


# In a member's training.


class SilentTask:
    """Many weights, and a loss that none of them changes."""

    def build(self):
        return nn.Linear(2_000, 1)

    def examples(self, records):
        return [0.0 for _ in records]

    def length(self, example):
        return 1

    def collate(self, examples):
        return torch.zeros(len(examples), 2_000)

    def losses(self, model, batch):
        return 0.0 * model(batch)[:, 0]


def second_moments(monkeypatch, clipping="flat", level=None):
    """After 40 steps of noise alone: Adam's second moment, what is taken off, and all gradients."""
    seen, finish = [], PrivateOptimizer.finish

    def watched(self, anchor):
        finish(self, anchor)
        seen.append(self.original_optimizer)

    step, gradients = AdamBC.step, []

    def noted(self, closure=None):
        gradients.append((self.param_groups[0]["params"][0].grad.clone(), self.noise_std))
        step(self, closure)

    monkeypatch.setattr(PrivateOptimizer, "finish", watched)
    monkeypatch.setattr(AdamBC, "step", noted)
    settings = settings_of(
        optimizer="adam-bc", clipping=clipping, clipping_norm=0.5, nominal_batch=20,
        steps_per_round=40, learning_rate=1e-9, quantile_rate=0.05,
    )  # fmt: skip
    generator = SeededGenerator(1, "noise")
    training = Training(
        SilentTask(), records([3] * 20), settings, generator=generator, noise_multiplier=8.0,
        level=level,
    )  # fmt: skip
    training.change(receipt=receipt_for(training.policy, seeded=True))
    optimizer = seen[-1]
    (state, *_) = optimizer.state.values()
    whole = 1 - 0.999**40
    return (
        state["second"].numpy().ravel() / whole,
        optimizer._variance[0] / whole,
        gradients,
        training,
    )


@pytest.mark.parametrize(("clipping", "level"), [("flat", None), ("adaptive", 7.0)])
def test_on_noise_alone_the_corrected_second_moment_is_about_0(
    monkeypatch, clipping, level
) -> None:
    second, variance, gradients, training = second_moments(monkeypatch, clipping, level)
    corrected = (second - variance) / variance
    error = corrected.std() / np.sqrt(len(corrected))
    assert abs(corrected.mean()) < 4 * error < 0.05
    assert (second / variance).mean() == pytest.approx(1, abs=4 * error), "Adam's own"
    assert not abs(((second - 0.9 * variance) / variance).mean()) < 4 * error, "a wrong variance"
    stds = [std for _, std in gradients]
    for gradient, std in (gradients[0], gradients[-1]):
        assert float(gradient.std()) == pytest.approx(std, rel=0.08)
    if clipping == "flat":
        assert set(stds) == {training.policy.std / 20}
    else:
        assert len(set(stds)) == 40, "the noise's scale moves with the level"
        assert stds[0] > 10 * training.policy.std / 20
