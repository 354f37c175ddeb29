# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Packed populations: what was written is read, lazily, and nothing is left half-written."""

import pickle

import numpy as np
import pytest

from fedcode.errors import CorpusError
from fedcode.simulation.population.data import Packed, PackedPopulation, pack
from fedcode.simulation.population.problem import Synthetic

SIZES = (3, 0, 7, 1)


def members(sizes=SIZES):
    draw = np.random.default_rng(1)
    return [(draw.standard_normal((n, 2), np.float32), draw.integers(9, size=n)) for n in sizes]


def test_every_member_comes_back_as_it_was(tmp_path) -> None:
    written = members()
    population = PackedPopulation(pack(tmp_path / "p", iter(written)), len(written))
    assert len(population) == len(SIZES)
    for number, (features, classes) in enumerate(written):
        found = population.member(number)
        assert len(found) == SIZES[number]
        assert np.array_equal(found.columns[0], features)
        assert np.array_equal(found.columns[1], classes)
    assert np.array_equal(population.member(2)[4][0], written[2][0][4])
    assert np.array_equal(population.member(2)[1:3].columns[1], written[2][1][1:3])


def test_a_column_of_bytes_is_a_column(tmp_path) -> None:
    packed = pack(
        tmp_path / "p", ((np.frombuffer(text, np.uint8),) for text in (b"one", b"", b"2"))
    )
    assert [packed.columns_of(n)[0].tobytes() for n in range(3)] == [b"one", b"", b"2"]


def test_reading_a_member_copies_nothing_and_changes_no_file(tmp_path) -> None:
    packed = pack(tmp_path / "p", members())
    part = packed.columns_of(2)[0]
    assert part.base is not None
    part[:] = 5
    assert not np.array_equal(Packed(tmp_path / "p").columns_of(2)[0], part)


def test_another_process_is_given_the_folder_and_not_the_data(tmp_path) -> None:
    packed = pack(tmp_path / "p", members([1000] * 50))
    sent = pickle.dumps(packed)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).columns_of(7)[0], packed.columns_of(7)[0])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([(np.zeros((2, 2)), np.zeros(2)), (np.zeros((2, 3)), np.zeros(2))], "column is of"),
        ([(np.zeros((2, 2)), np.zeros(2)), (np.zeros((2, 2)),)], "not as many"),
        ([(np.zeros((2, 2)), np.zeros(3))], "not as long"),
        ([], "needs a member"),
    ],
)
def test_columns_that_do_not_fit_leave_nothing_behind(tmp_path, wrong, said) -> None:
    with pytest.raises(CorpusError, match=said):
        pack(tmp_path / "p", iter(wrong))
    assert list(tmp_path.iterdir()) == []


def test_what_stops_the_writer_leaves_nothing_behind(tmp_path) -> None:
    def stops():
        yield from members()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "p", stops())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_whole_is_refused(tmp_path) -> None:
    pack(tmp_path / "p", members())
    (tmp_path / "p" / "column-01.npy").unlink()
    with (tmp_path / "p" / "column-00.npy").open("r+b") as file:
        file.truncate(140)
    with pytest.raises(CorpusError, match="holds no packed population"):
        Packed(tmp_path / "p")
    with pytest.raises(CorpusError, match="holds no packed population"):
        Packed(tmp_path / "none")


def test_columns_of_other_lengths_than_the_members_are_refused(tmp_path) -> None:
    pack(tmp_path / "p", members())
    pack(tmp_path / "q", members([3, 1]))
    (tmp_path / "q" / "column-01.npy").replace(tmp_path / "p" / "column-01.npy")
    with pytest.raises(CorpusError, match="not of one length"):
        Packed(tmp_path / "p")


def test_a_synthetic_member_depends_on_its_own_number_alone() -> None:
    few, many = list(Synthetic(1).members(0, 3)), list(Synthetic(1).members(2, 9))
    assert np.array_equal(few[2][0], many[0][0])
    assert np.array_equal(few[2][1], many[0][1])
    assert not np.array_equal(few[0][0], few[1][0])
    assert not np.array_equal(few[0][0], next(Synthetic(2).members(0, 1))[0])
    assert {len(set(classes)) for _, classes in few} == {2}
