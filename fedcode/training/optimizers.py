# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What takes a member's step, once the gradient has its noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from fedcode.federation import TrainingSettings


class AdamBC(torch.optim.Optimizer):
    """Adam without the noise's part in its second moment.

    The noise adds its variance to the mean square of every coordinate, and where it is larger than
    the gradients, Adam's steps become those of SGD. The variance is public, and is taken off:
    m̂ / √max(v̂ - Φ, γ'), where Φ is its mean with the weights of v̂.

    Source: Tang et al. 2024, arXiv:2312.14334, algorithm 1; there Φ = (σ C / B)² in all steps.

    Args:
        parameters: what is trained.
        learning_rate: of the steps.
        floor: γ', of the second moment.
        betas: the decay of the first and of the second moment.

    Attributes:
        noise_std: of every coordinate of the next gradient.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        floor: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(parameters, {"lr": learning_rate, "floor": floor, "betas": betas})
        self.noise_std = 0.0
        self._steps = 0
        self._variance = dict.fromkeys(range(len(self.param_groups)), 0.0)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient."""
        del closure
        self._steps += 1
        for number, group in enumerate(self.param_groups):
            beta1, beta2 = group["betas"]
            whole1, whole2 = 1 - beta1**self._steps, 1 - beta2**self._steps
            variance = beta2 * self._variance[number] + (1 - beta2) * self.noise_std**2
            self._variance[number] = variance
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["first"] = torch.zeros_like(parameter)
                    state["second"] = torch.zeros_like(parameter)
                state["first"].lerp_(parameter.grad, 1 - beta1)
                state["second"].lerp_(parameter.grad.square(), 1 - beta2)
                mean_square = (state["second"] - variance) / whole2
                direction = state["first"] / whole1 / mean_square.clamp(min=group["floor"]).sqrt()
                parameter.sub_(direction, alpha=group["lr"])


def pull(anchor: Mapping[nn.Parameter, Tensor], strength: float) -> None:
    """FedProx' pull on the gradients, towards where the round began.

    Args:
        anchor: the values then.
        strength: mu.
    """
    for parameter, start in anchor.items():
        back = strength * (parameter.detach() - start)
        parameter.grad = back if parameter.grad is None else parameter.grad + back


def anchor_of(
    settings: TrainingSettings, parameters: Iterable[nn.Parameter]
) -> dict[nn.Parameter, Tensor]:
    """What :func:`pull` needs to know, now that a round begins."""
    return {p: p.detach().clone() for p in parameters} if settings.proximal else {}


def optimizer_of(
    settings: TrainingSettings, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer that ``settings`` name, with nothing behind it."""
    rate = settings.learning_rate
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate)
    if settings.optimizer == "adam-bc":
        return AdamBC(parameters, rate, settings.second_moment_floor)
    return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum)
