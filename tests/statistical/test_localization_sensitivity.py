# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`localization`: one report moves a step's sum by C at most, on neighbouring data.

As in ``test_sensitivity.py``; and a task whose words are worth what all reports together say is
found out.
"""

from dataclasses import replace

import numpy as np
import pytest
from reports import SETTINGS, functions, report
from test_sensitivity import CLIPPINGS, ROUNDING, moves
from toy_task import Training, clipped_sum, initial, settings_of

from fedcode.tasks.localization import LocalizationTask

DATA = [report(n, files=files, right=n % 2) for n, files in enumerate([2, 9, 3, 2, 14, 5, 4, 30])]


class Together(LocalizationTask):
    """The mistake: what is known of a candidate depends on how many reports there are."""

    def examples(self, records):
        found = super().examples(records)
        return [replace(one, known=one.known * len(found)) for one in found]


@pytest.fixture
def task():
    return LocalizationTask.make(SETTINGS, functions(1))


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("norm", [0.01, 1.0])
def test_one_report_moves_the_sum_by_the_clipping_norm_at_most(task, clipping, norm) -> None:
    found = moves(task, DATA, clipping=clipping, clipping_norm=norm)
    assert found.max() <= ROUNDING
    if norm < 1:
        assert found.max() > 0.9, "nothing was clipped: the test says nothing"


def test_a_report_in_anothers_example_is_found_out() -> None:
    task = Together.make(SETTINGS, functions(1))
    assert moves(task, DATA, clipping="normalized", clipping_norm=0.01).max() > 1.05


def test_a_step_is_the_clipped_sum_of_single_gradients(task) -> None:
    settings = settings_of(clipping_norm=0.1, physical_batch=3)
    training = Training(task, DATA, settings)
    weights = initial(training.network.model)
    expected = clipped_sum(task, DATA, settings, weights)
    assert np.linalg.norm(expected) > 0.1
    np.testing.assert_allclose(training.change(weights), -expected, rtol=1e-3, atol=1e-5)
