# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What holds of profiles and distances, whatever the data."""

from __future__ import annotations

import random
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fedcode.corpus.data_tests import DRIFTS, entropy, ks, psi, run
from fedcode.corpus.profile import profile
from fedcode.data_tests import AgentDataTests
from fedcode.record import Record, SourceFile, UnitId

counts = st.lists(st.integers(0, 10**6), min_size=6, max_size=6)


@st.composite
def corpora(draw):
    sizes = draw(st.lists(st.integers(0, 4), max_size=5))
    words = st.lists(st.text("ab(\ud800", max_size=2), max_size=6).map(tuple)
    files = []
    for number, size in enumerate(sizes):
        records = tuple(
            Record(
                UnitId(f"{number}::{place}"),
                f"{number}",
                f"{place}",
                "function",
                draw(words),
                draw(st.integers(-1, 50)),
                draw(st.sampled_from([None, 0, 1, 2])),
                features=draw(st.sampled_from([(), (("a", 1.0),), (("b", 1.0),)])),
            )
            for place in range(size)
        )
        files.append(SourceFile(f"{number}", (), records))
    return files


@given(corpora(), st.integers(0, 99))
def test_order_changes_nothing(files, seed) -> None:
    draw = random.Random(seed)
    mixed = []
    for file in draw.sample(files, len(files)):
        records = draw.sample(list(file.records), len(file.records))
        mixed.append(replace(file, records=tuple(records)))
    assert profile(mixed) == profile(files)


@given(counts, counts)
def test_distances_are_symmetric_and_no_less_than_zero(one, other) -> None:
    assert psi(one, other) == pytest.approx(psi(other, one), abs=1e-12)
    assert psi(one, other) >= 0
    assert ks(one, other) == ks(other, one)
    assert 0 <= ks(one, other) <= 1


@given(counts)
def test_equal_histograms_have_no_distance(one) -> None:
    assert psi(one, one) == 0
    assert ks(one, one) == 0


@given(st.integers(1, 10**6), st.integers(1, 8))
def test_entropy_of_equal_parts(number, bits) -> None:
    assert entropy([number] * 2**bits) == pytest.approx(bits)


@given(corpora())
def test_the_same_data_again_never_drifts(files) -> None:
    found = profile(files)
    for one in run(found, AgentDataTests(few=1), history=[found]):
        if one.test in DRIFTS:
            assert one.state in ("passed", "not-applicable")
