# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How long a privacy unit's gradient may be: from squared norms to factors, layer by layer.

Whatever the gradients are, what one unit adds to a step's sum is C long at most: with its metrics
and its vote, for which :func:`room` is left. A layer is a
module with trained parameters of its own: weight and bias of an ``nn.Linear`` are one, and so is an
``nn.LSTM`` of any depth; tied weights belong to the first module that holds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fedcode.federation import TrainingSettings
from fedcode.metrics import METRIC

VOTE = 0.1
"""s, the length of an adaptive vote over C: it makes the noise on the gradients 0.5 % larger."""

_ROUNDING = 1e-6  # of a norm in float32: what is clipped stays below C all the same
_NORMALIZED_FLOOR = 0.01
_FARTHEST = 2.0**14  # of the level from C, either way: float32 holds the squares of both


def room(metrics: int, *, vote: bool = False) -> float:
    """How long a unit's gradient may be, over C, beside so many metrics and perhaps a vote.

    Each has a coordinate of its own, so that squares add up: with both metrics the noise on the
    gradients is 1 % larger.
    """
    return math.sqrt(1 - metrics * METRIC**2 - vote * VOTE**2)


class Clipping(Protocol):
    """What gradients are multiplied by, from how long they are."""

    def factors(self, squares: Tensor) -> Tensor:
        """What each unit's gradient is multiplied by, layer by layer.

        Args:
            squares: of the gradients' norms, (layers, units).

        Returns:
            Of the same shape; 0 for the units that :func:`finite` leaves out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Flat:
    """g min(1, C/|g|): the whole gradient is scaled."""

    norm: float

    def factors(self, squares: Tensor) -> Tensor:
        """The same for all layers."""
        return _of_whole(_within(squares.sum(0), self.norm), squares)


@dataclass(frozen=True, slots=True)
class PerLayer:
    """Each of L layers is clipped to C/√L by itself, so that the whole is C long at most."""

    norm: float

    def factors(self, squares: Tensor) -> Tensor:
        """Each layer's own."""
        each = _within(squares, self.norm / math.sqrt(len(squares)))
        return torch.where(finite(squares), each, 0.0)


@dataclass(frozen=True, slots=True)
class Normalized:
    """g C/(|g| + 0.01 C): long and short gradients become (about) C long.

    Source: AUTO-S, Bu et al. 2023, arXiv:2206.07136.
    """

    norm: float

    def factors(self, squares: Tensor) -> Tensor:
        """The same for all layers."""
        floor, most = _NORMALIZED_FLOOR * self.norm, self.norm * (1 - _ROUNDING)
        return _of_whole(most / (squares.sum(0).sqrt() + floor), squares)


class Adaptive:
    """Clips at a level that follows a quantile of the units' norms. The mechanism's C stays.

    A unit adds to the step's one sum its gradient, clipped at the level, as a vector of length
    √(1-s²) C at most (beside metrics less, see :func:`room`), and in a coordinate of its own a vote
    of s C at most: up where its norm is below the level, down where it is above. Together that is C
    at most, whatever the level is, so that sensitivity and ε are those of any sum that is clipped
    to C, with one coordinate more. The next level is computed from the noised votes alone:
    post-processing, which may be remembered.

    Votes up and down are to one another as 1 - q to q: where the level is the quantile they cancel
    out, however many units were drawn. The nominal batch only scales how fast the level moves. With
    q = 1/2 this is the count of Andrew et al. 2021, arXiv:1905.03871, algorithm 1.

    Args:
        norm: C, also the first level.
        quantile: q, the part of the units whose norms shall lie below the level.
        rate: η: where a part b of a nominal batch lies below, the level is multiplied by
            exp(-η (b - q)).
        level: to go on from; C if None.
        metrics: how many a unit adds beside its gradient and its vote.

    Attributes:
        level: where the next step clips.
    """

    def __init__(
        self,
        norm: float,
        quantile: float,
        rate: float,
        level: float | None = None,
        metrics: int = 0,
    ) -> None:
        self._norm, self._quantile, self._rate = norm, quantile, rate
        self._room = room(metrics, vote=True)
        self._largest = max(quantile, 1 - quantile)
        self.level = self._bounded(norm if level is None else level)

    @property
    def scale(self) -> float:
        """What turns the noised sum into one of gradients that are clipped at the level."""
        return self.level / (self._norm * self._room)

    def factors(self, squares: Tensor) -> Tensor:
        """The same for all layers."""
        return _of_whole(_within(squares.sum(0), self.level) / self.scale, squares)

    def votes(self, squares: Tensor) -> float:
        """The sum of the units' votes; a unit that is left out has none."""
        norms = squares.sum(0).sqrt()[finite(squares)]
        below = int((norms <= self.level).sum())
        above = len(norms) - below
        unit = VOTE * self._norm / self._largest
        return unit * (below * (1 - self._quantile) - above * self._quantile)

    def adapt(self, votes: float, nominal_batch: int) -> None:
        """Moves the level, after ``votes`` of one step that already have their noise."""
        surplus = votes * self._largest / (VOTE * self._norm * nominal_batch)
        power = min(max(-self._rate * surplus, -math.log(_FARTHEST)), math.log(_FARTHEST))
        self.level = self._bounded(self.level * math.exp(power))

    def _bounded(self, level: float) -> float:
        return min(max(level, self._norm / _FARTHEST), self._norm * _FARTHEST)


def clipping_of(settings: TrainingSettings, level: float | None = None) -> Clipping:
    """The clipping that ``settings`` name; an adaptive one goes on from ``level``."""
    norm, metrics = settings.clipping_norm, len(settings.metrics)
    if settings.clipping == "adaptive":
        return Adaptive(norm, settings.quantile, settings.quantile_rate, level, metrics)
    norm *= room(metrics)
    if settings.clipping == "per-layer":
        return PerLayer(norm)
    return Flat(norm) if settings.clipping == "flat" else Normalized(norm)


def denominator(clipping: Clipping, nominal_batch: int) -> float:
    """What a noised sum is divided by: the agreement's nominal batch, in units of the level."""
    return nominal_batch / (clipping.scale if isinstance(clipping, Adaptive) else 1.0)


def finite(squares: Tensor) -> Tensor:
    """Which units' gradients can be added: (units,), from squared norms (layers, units)."""
    return squares.sum(0).isfinite() & (squares >= 0).all(0)


def layers(model: nn.Module) -> list[int]:
    """The number of its layer for each trained parameter, in the order of ``parameters()``."""
    found: dict[nn.Parameter, int] = {}
    number = 0
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad and p not in found]
        found.update(dict.fromkeys(own, number))
        number += bool(own)
    return list(found.values())


def by_layer(squares: Tensor, layers: Sequence[int]) -> Tensor:
    """(layers, units), from the squares (parameters, units) and each parameter's layer."""
    found = squares.new_zeros(max(layers) + 1, squares.shape[1])
    return found.index_add_(0, torch.tensor(layers, device=squares.device), squares)


def _within(squares: Tensor, most: float) -> Tensor:
    """min(1, most/|g|), a little less than that where it is below 1."""
    norms = squares.sqrt().clamp(min=torch.finfo(squares.dtype).tiny)
    return (most * (1 - _ROUNDING) / norms).clamp(max=1)


def _of_whole(factors: Tensor, squares: Tensor) -> Tensor:
    """One factor for each unit (units,) as one for each of its layers."""
    return torch.where(finite(squares), factors, 0.0).expand_as(squares)
