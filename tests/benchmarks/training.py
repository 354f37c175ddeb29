# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a private step costs beside a plain one: ratios, both measured in turn in one process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from opacus.grad_sample import GradSampleModule
from opacus.layers import DPGRU, DPLSTM
from torch import Tensor, nn

import fedcode.training.recurrent_gradients  # noqa: F401  registers GRU and LSTM with Opacus
from fedcode.models.recurrent import Cell, RecurrentLanguageModel
from tests.benchmarks.figure import Figure, at_most

_BATCH, _TIME, _VOCABULARY, _WIDTH = 16, 64, 2048, 192


def figures() -> list[Figure]:
    """GRU and LSTM language models, V = 2048, d = 192, 16 records of 64 pieces, one thread."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    found = []
    for cell, looped in (("gru", DPGRU), ("lstm", DPLSTM)):
        plain, ours, theirs = _in_turn(
            _stepper(cell, private=False), _stepper(cell), _stepper(cell, looped)
        )
        found += [
            at_most("training", f"{cell}: private step / plain step", ours / plain, "x", 4.0),
            at_most("training", f"{cell}: private step / Opacus' layer", ours / theirs, "x", 1.0),
        ]
    return found


def _stepper(
    cell: Cell, layer: type[nn.Module] | None = None, *, private: bool = True
) -> Callable[[], None]:
    model = RecurrentLanguageModel(_VOCABULARY, _WIDTH, _WIDTH, 1, cell, 0.0)
    if layer is not None:
        model.layers[0] = layer(_WIDTH, _WIDTH, batch_first=True)
    called = GradSampleModule(model, loss_reduction="sum") if private else model
    pieces = torch.randint(1, _VOCABULARY, (_BATCH, _TIME))

    def step() -> None:
        losses: Tensor = F.cross_entropy(
            called(pieces).flatten(0, 1), pieces.flatten(), reduction="none"
        )
        losses.sum().backward()
        for parameter in model.parameters():
            parameter.grad = None
            if private:
                parameter.grad_sample = None

    return step


def _in_turn(*steps: Callable[[], None]) -> list[float]:
    """Median seconds of each, taken in turn so that the machine's drift hits all alike."""
    taken: list[list[float]] = [[] for _ in steps]
    for number in range(8):
        for step, times in zip(steps, taken, strict=True):
            start = perf_counter()
            step()
            if number:
                times.append(perf_counter() - start)
    return [median(times) for times in taken]
