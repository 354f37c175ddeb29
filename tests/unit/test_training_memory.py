# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Memory is measured, and a step stays within what it was given."""

import numpy as np
import pytest
import torch
from torch import nn
from toy_task import ToyTask, Training, records, settings_of, units_of

from fedcode.record import PrivacyUnit
from fedcode.training.memory import ENOUGH, fitting, peak

CPU = torch.device("cpu")
MIB = 1 << 20


def test_what_is_dropped_is_not_counted_twice() -> None:
    def work():
        one = torch.empty(MIB // 4)
        two = one * 2
        del one
        three = two + 1
        return three.view(2, -1)

    assert peak(work, CPU) == 2 * MIB


def test_views_and_work_in_place_take_nothing() -> None:
    given = torch.ones(MIB // 4)
    assert peak(lambda: given.view(4, -1).t().mul_(2).add_(1), CPU) == 0


def test_a_backward_pass_counts_too() -> None:
    layer, x = nn.Linear(64, 1 << 12), torch.ones(64, 64)
    forward = peak(lambda: layer(x), CPU)
    both = peak(lambda: layer(x).square().sum().backward(), CPU)
    assert forward == 64 * 4 * (1 << 12)
    assert both > 2 * forward


@pytest.mark.parametrize(("room", "size"), [(MIB // 2, 1), (4 * MIB, 4), (35 * MIB, 32)])
def test_as_many_as_fit(room, size) -> None:
    assert fitting(lambda n: torch.empty(n, MIB // 4), room, CPU) == size


def test_no_more_than_are_useful() -> None:
    assert fitting(lambda n: torch.empty(n), MIB, CPU) == ENOUGH["cpu"]


def test_memory_that_grows_faster_than_it_seems_is_noticed() -> None:
    sizes = []

    def step(n):
        sizes.append(n)
        return torch.empty(n * (MIB // 4) * (1 if n < 8 else 4))

    assert fitting(step, 35 * MIB, CPU) == 8
    assert sizes[-1] == 8


class Wide(ToyTask):
    """Some kilobytes for each record's gradient."""

    def build(self):
        return nn.Sequential(nn.Embedding(8, 64), nn.Linear(64, 512), nn.Tanh(), nn.Linear(512, 8))


@pytest.mark.parametrize("unit", [PrivacyUnit.FUNCTION, PrivacyUnit.FILE])
def test_a_trainer_measures_and_keeps_within_its_memory(unit) -> None:
    data = units_of([1, 3, 2, 9, 5, 4]) if unit is PrivacyUnit.FILE else records([20] * 40)
    little, much = (
        Training(Wide(), data, settings_of(memory_mib=mib, sampling_rate=1.0), unit=unit)
        for mib in (2, 200)
    )
    found = [t.trainer.report.physical_batch for t in (little, much)]
    assert 1 <= found[0] < found[1]
    np.testing.assert_allclose(little.change(), much.change(), atol=1e-4)
    assert little.trainer.report.physical_batch == found[0]


def test_a_fixed_number_is_taken_as_it_is() -> None:
    training = Training(ToyTask(), records([3] * 9), settings_of(physical_batch=7, memory_mib=1))
    assert training.trainer.report.physical_batch == 7
