# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Both tasks that suggest names: one record moves a step's sum by C at most."""

from dataclasses import replace

import numpy as np
import pytest
from test_naming_tasks import PUBLIC, SETTINGS
from test_sensitivity import CLIPPINGS, ROUNDING, moves

from fedcode.tasks.names_attention import AttentionTask
from fedcode.tasks.names_bilinear import BilinearTask

DATA = PUBLIC.records("function")[:8]


class Together(AttentionTask):
    """The mistake: what is read of a record depends on how many there are."""

    def examples(self, records):
        found = super().examples(records)
        return [replace(one, words=np.minimum(one.words, len(found))) for one in found]


@pytest.mark.parametrize("kind", [BilinearTask, AttentionTask], ids=lambda kind: kind.name)
@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_one_record_moves_the_sum_by_the_clipping_norm_at_most(kind, clipping) -> None:
    task = kind.make(SETTINGS, PUBLIC)
    found = moves(task, DATA, clipping=clipping, clipping_norm=0.01)
    assert found.max() <= ROUNDING
    assert found.max() > 0.9, "nothing was clipped: the test says nothing"


def test_a_record_in_anothers_example_is_found_out() -> None:
    task = Together.make(SETTINGS, PUBLIC)
    assert moves(task, DATA, clipping="normalized", clipping_norm=0.01).max() > 1.05
