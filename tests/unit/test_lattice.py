# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Releases as integers of a sum: exact, within what cannot wrap, and made from releases alone."""

import dataclasses
import math
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies
from toy_task import policy_of, receipt_for, settings_of

from fedcode.errors import ConfigError, OutOfRange, PrivacyError
from fedcode.privacy.lattice import RING, Lattice, spacing_for
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.release import ClippedSum, GaussianMechanism, Masked, NoisedSum, Release, Term

SPACING = 2.0**-18


def released(vector):
    """A release of a change of weights."""
    policy = policy_of(settings_of(), len(vector))
    return Release(np.asarray(vector, np.float32), receipt_for(policy), 1, False)


def released_sum(size=5, steps=1):
    """A release of one step's sum."""
    policy = policy_of(settings_of(steps_per_round=steps), size)
    mechanism = GaussianMechanism(policy, SecureGenerator(), receipt_for(policy))
    for _ in range(steps):
        units = len(mechanism.sample(100))
        parts = [mechanism.noised(ClippedSum(np.zeros(n), 1.0)) for n in (2, size - 2)]
        mechanism.end_step(units)
    return mechanism.release_sum(parts), parts


# Ranges.


@pytest.mark.parametrize("terms", [1, 3, 100])
def test_so_many_terms_at_the_limit_do_not_wrap_and_one_point_more_would_do(terms) -> None:
    limit = Lattice(((1, 1.0),), terms).limit
    assert terms * limit < RING // 2 <= terms * (limit + 1)
    for sign in (1, -1):
        total = np.full(terms, sign * limit, np.int32).view(np.uint32).sum(dtype=np.uint32)
        assert int(total.astype(np.uint32).view(np.int32)) == sign * terms * limit


@pytest.mark.parametrize("terms", [1, 7])
def test_a_point_beyond_the_limit_is_refused(terms) -> None:
    lattice = Lattice(((3, 1.0),), terms)
    most = lattice.limit
    for edge in (most, -most):
        inside = np.array([0, edge, 1])
        np.testing.assert_array_equal(lattice.kept(inside, 1.0), inside)
        beyond = inside + np.array([0, np.sign(edge), 0])
        with pytest.raises(OutOfRange, match=f"beyond {most} points"):
            lattice.kept(beyond, 1.0)


@pytest.mark.parametrize("point", [-(2**31), 2**31, -(2**63), 2**63 - 1])
def test_no_integer_is_mistaken_for_a_small_one(point) -> None:
    with pytest.raises(OutOfRange):
        Lattice(((1, 1.0),), 1).kept(np.array([point]), 1.0)


@pytest.mark.parametrize("value", [2.0**31, -(2.0**31), 3e38, math.inf, -math.inf, math.nan])
def test_no_number_is_mistaken_for_a_small_one(value) -> None:
    with pytest.raises(OutOfRange):
        Lattice(((2, 1.0),), 1).points(np.array([0.0, value], np.float32))


@given(
    strategies.integers(1, 100),
    strategies.lists(strategies.floats(-1, 1), min_size=1, max_size=5),
    strategies.integers(-60, 60),
)
def test_what_fits_adds_up_without_wrapping(terms, parts, exponent) -> None:
    """Whatever fits is within half a spacing of where it was, also as a sum modulo 2^32."""
    spacing = 2.0**exponent
    lattice = Lattice(((len(parts), spacing),), terms)
    vector = np.array(parts, np.float32) * np.float32(lattice.limit * spacing * 0.999)
    points = lattice.points(vector)
    total = (points.view(np.uint32).astype(np.uint64) * terms % RING).astype(np.uint32)
    found = lattice.values(total.view(np.int32).astype(np.int64))
    assert np.abs(found - terms * vector.astype(np.float64)).max() <= terms * spacing / 2


def test_blocks_have_their_own_spacing() -> None:
    lattice = Lattice(((2, 0.5), (1, 8.0)), 2)
    assert lattice.size == 3
    points = lattice.points(np.array([1.3, -0.7, 20.1], np.float32))
    np.testing.assert_array_equal(points, [3, -1, 3])
    np.testing.assert_array_equal(lattice.values(points.astype(np.int64)), [1.5, -0.5, 24.0])


def test_points_of_another_lattice_are_refused() -> None:
    lattice = Lattice(((2, 0.5), (1, 8.0)), 2)
    with pytest.raises(PrivacyError, match="3 coordinates were expected"):
        lattice.points(np.zeros(4, np.float32))
    with pytest.raises(PrivacyError, match="3 coordinates"):
        lattice.kept(np.zeros(2, np.int64), 0.5)
    for spacing in (1.0, 0.3):  # coarser than a block's, and no power of two of it
        with pytest.raises(PrivacyError, match="of another lattice"):
            lattice.kept(np.zeros(3, np.int64), spacing)


def test_a_coarser_lattice_keeps_every_so_manieth_point() -> None:
    lattice = Lattice(((2, 0.5), (2, 4.0)), 2)
    kept = lattice.kept(np.array([7, -7, 7, -13]), 0.5)
    np.testing.assert_array_equal(kept, [7, -7, 1, -2])


@pytest.mark.parametrize("largest", [1e-3, 0.7, 1.0, 3.0, 1e6])
@pytest.mark.parametrize("terms", [1, 3, 100])
def test_the_spacing_is_the_finest_power_of_two_that_fits(largest, terms) -> None:
    spacing = spacing_for(largest, terms)
    assert math.log2(spacing) == round(math.log2(spacing))
    assert largest / spacing <= (RING // 2) / terms < 2 * largest / spacing + 1
    Lattice(((1, spacing),), terms).points(np.array([0.999 * largest], np.float32))


@pytest.mark.parametrize(
    ("blocks", "terms"), [(((0, 1.0),), 1), (((1, 0.0),), 1), (((1, 1.0),), 0)]
)
def test_lattices_that_cannot_be_are_refused(blocks, terms) -> None:
    with pytest.raises(ConfigError):
        Lattice(blocks, terms)


# Terms.


def test_a_steps_sum_is_released_as_it_is() -> None:
    release, parts = released_sum()
    points = np.concatenate([part.points for part in parts])
    term = release.term(Lattice(((5, SPACING),), 4))
    np.testing.assert_array_equal(term.values, points)
    np.testing.assert_array_equal(release.vector, (points * SPACING).astype(np.float32))


def test_a_steps_sum_keeps_its_points_or_every_so_manieth() -> None:
    release, parts = released_sum()
    points = np.concatenate([part.points for part in parts])
    term = release.term(Lattice(((5, 2 * SPACING),), 4))
    np.testing.assert_array_equal(term.values, (points + 1) // 2)
    with pytest.raises(PrivacyError, match="of another lattice"):
        release.term(Lattice(((5, SPACING / 2),), 4))


def test_a_change_of_weights_is_rounded() -> None:
    term = released([0.3, -1.2, 0.0]).term(Lattice(((3, 0.25),), 4))
    np.testing.assert_array_equal(term.values, [1, -5, 0])


def test_a_release_that_does_not_fit_becomes_no_term() -> None:
    lattice = Lattice(((1, SPACING),), 8)
    with pytest.raises(OutOfRange):
        released([lattice.limit * SPACING * 1.01]).term(lattice)


@pytest.mark.parametrize("size", [4, 6])
def test_a_part_of_a_sum_is_not_released(size) -> None:
    policy = policy_of(settings_of(), 5)
    mechanism = GaussianMechanism(policy, SecureGenerator(), receipt_for(policy))
    units = len(mechanism.sample(100))
    mechanism.noised(ClippedSum(np.zeros(5), 1.0))
    mechanism.end_step(units)
    with pytest.raises(PrivacyError, match="one whole step"):
        mechanism.release_sum([NoisedSum(np.zeros(size, np.int64), SPACING)])


def test_sums_of_several_steps_are_not_released() -> None:
    with pytest.raises(PrivacyError, match="one whole step"):
        released_sum(steps=2)


def test_a_sum_is_released_once_and_after_its_step() -> None:
    policy = policy_of(settings_of(), 5)
    mechanism = GaussianMechanism(policy, SecureGenerator(), receipt_for(policy))
    units = len(mechanism.sample(100))
    parts = [mechanism.noised(ClippedSum(np.zeros(5), 1.0))]
    with pytest.raises(PrivacyError, match="in the middle of a step"):
        mechanism.release_sum(parts)
    mechanism.end_step(units)
    mechanism.release_sum(parts)
    with pytest.raises(PrivacyError, match="released already"):
        mechanism.release_sum(parts)


# Masks.


def test_masks_that_cancel_out_leave_the_exact_sum() -> None:
    rng = np.random.default_rng(0)
    lattice = Lattice(((5, SPACING),), 3)
    terms = [released_sum()[0].term(lattice) for _ in range(3)]
    one, two = (rng.integers(0, RING, 5, np.uint32) for _ in range(2))
    masks = [one + two, -one, -two]
    masked = [Masked(term, mask) for term, mask in zip(terms, masks, strict=True)]
    total = np.sum([m.values for m in masked], axis=0, dtype=np.uint32).view(np.int32)
    np.testing.assert_array_equal(total, np.sum([t.values for t in terms], axis=0))


def test_a_masked_term_is_the_mask_itself_and_no_copy_of_the_term() -> None:
    lattice, mask = Lattice(((3, 1.0),), 1), np.array([1, RING - 1, 7], np.uint32)
    masked = Masked(released([2.0, 3.0, -9.0]).term(lattice), mask)
    np.testing.assert_array_equal(masked.values, [3, 2, RING - 2])
    assert masked.values is mask


@pytest.mark.parametrize("mask", [np.zeros(2, np.uint32), np.zeros(3, np.int32), np.zeros((1, 3))])
def test_a_mask_of_another_shape_is_refused(mask) -> None:
    with pytest.raises(PrivacyError, match="not of the term's shape"):
        Masked(released([2.0, 3.0, -9.0]).term(Lattice(((3, 1.0),), 1)), mask)


def test_terms_are_made_from_releases_and_masked_from_terms() -> None:
    lattice, release = Lattice(((2, 1.0),), 1), released([1.0, 2.0])
    clipped = ClippedSum(np.ones(2, np.float32), 1.0)
    for other in (clipped, release.vector, NoisedSum(np.ones(2, np.int64), 1.0), None):
        with pytest.raises(PrivacyError, match="made from a release"):
            Term(other, lattice)
        with pytest.raises(PrivacyError, match="only a term"):
            Masked(other, np.zeros(2, np.uint32))
    with pytest.raises(PrivacyError, match="only a term"):
        Masked(release, np.zeros(2, np.uint32))


def test_neither_can_be_changed_or_read_from_its_text() -> None:
    lattice = Lattice(((2, 1.0),), 1)
    term = released([31337.0, 2.0]).term(lattice)
    masked = Masked(term, np.zeros(2, np.uint32))
    for one in (term, masked):
        with pytest.raises(ValueError, match="read-only"):
            one.values[0] = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.values = None
        assert "31337" not in f"{one!r} {one}"


def test_the_type_checker_lets_only_terms_be_masked_and_no_term_be_sent(
    tmp_path, checked_types
) -> None:
    from mypy import api

    root = Path(__file__).parents[2]
    program = """
        from numpy import uint32
        from numpy.typing import NDArray
        from fedcode.privacy.lattice import Lattice
        from fedcode.privacy.release import ClippedSum, Masked, NoisedSum, Release, Term, Unmasked

        def sent(one: Unmasked | Masked) -> None: ...

        def mask(clipped: ClippedSum, noised: NoisedSum, release: Release, term: Term,
                 lattice: Lattice, mask: NDArray[uint32]) -> None:
            Masked(term, mask)
            sent(Masked(term, mask))
            Term(release, lattice)
            release.term(lattice)
            Masked(clipped, mask)
            Masked(noised, mask)
            Masked(release, mask)
            Term(clipped, lattice)
            Term(noised, lattice)
            clipped.term(lattice)
            noised.term(lattice)
            sent(clipped)
            sent(noised)
            sent(release)
            sent(term)
    """
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))
    arguments = ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(checked_types)]
    found, errors, _ = api.run([*arguments, str(file)])
    assert not errors
    lines = [int(line.split(":")[1]) for line in found.splitlines() if "program.py:" in line]
    assert lines == list(range(15, 26)), found


@pytest.mark.parametrize("power", [-30, 0, 40])
def test_a_spacing_is_exact_where_a_logarithm_would_be_rounded(power) -> None:
    """Members on different machines find the same one."""
    full = 2.0**power * (RING // 2 - 1)
    assert spacing_for(full, 1) == 2.0**power
    assert spacing_for(math.nextafter(full, math.inf), 1) == 2.0 ** (power + 1)
