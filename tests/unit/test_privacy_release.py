# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What may leave: only after the steps that were paid for, each with its noise."""

import dataclasses
import math
import textwrap
from pathlib import Path

import numpy as np
import pytest
from officers import open_real

from fedcode.errors import ConfigError, PrivacyError, TrainingError
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import ClippedSum, GaussianMechanism, Release, Unmasked
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit

POLICY = PrivacyPolicy(PrivacyUnit.FUNCTION, 0.5, 4, 2.0, 0.5, 2, 1e-5, 8.0)
SECRET = np.full(4, 31337.0, np.float32)


@pytest.fixture
def pay():
    """Pays for one release under a policy, from a fresh account."""

    def receipt(policy=POLICY, *, seeded=True, cap=8.0, order=4.0) -> Receipt:
        budget = Filter.for_budget(cap, policy.delta, order)
        cost = budget.cost(policy.noise_multiplier, policy.sampling_rate, policy.steps_per_round)
        with BudgetLedger.open(":memory:") as ledger:
            if seeded:
                ledger.open_simulated("code", organization="o", unit=policy.unit, budget=budget)
            else:
                open_real(ledger, "code", order=order, epsilon=cap, delta=policy.delta)
            return ledger.charge(
                cost, asset="code", agreement="a", purpose="test", task="t", round=1
            )

    return receipt


@pytest.fixture
def mechanism(pay):
    return GaussianMechanism(POLICY, SeededGenerator(1), pay())


def zeros(*shape, norm=0.5):
    return ClippedSum(np.zeros(shape, np.float32), norm)


def step(mechanism, size=4):
    units = len(mechanism.sample(100))
    noise = mechanism.noised(zeros(size)).values
    mechanism.end_step(units)
    return noise


def test_a_release_is_the_sum_of_its_steps(mechanism) -> None:
    vector = step(mechanism) + step(mechanism)
    release = mechanism.release(vector)
    np.testing.assert_array_equal(release.vector, vector)
    np.testing.assert_array_equal(release.unmasked().values, vector)
    assert release.seeded
    assert mechanism.steps_taken == 2


def test_secure_noise_is_not_marked_as_seeded(pay) -> None:
    mechanism = GaussianMechanism(POLICY, SecureGenerator(), pay(seeded=False))
    assert not mechanism.release(step(mechanism) + step(mechanism)).seeded


def test_noise_has_the_shape_asked_for_and_the_policys_scale(pay) -> None:
    for norm in (0.5, 5.0):
        policy = dataclasses.replace(POLICY, clipping_norm=norm)
        mechanism = GaussianMechanism(policy, SeededGenerator(1), pay(policy))
        mechanism.sample(100)
        noise = mechanism.noised(zeros(100, 500, norm=norm)).values
        assert noise.shape == (100, 500)
        assert noise.dtype == np.float32
        assert noise.std() == pytest.approx(2.0 * norm, rel=0.02)
        assert mechanism.noised(zeros(norm=norm)).values.shape == ()


def test_a_noised_sum_stands_on_the_lattice(mechanism) -> None:
    """The low bits of the sum, which noise in floating point would keep, are gone."""
    mechanism.sample(100)
    noised = mechanism.noised(ClippedSum(np.array([0.1, -3e-7, 200.0, 1e-12]), 0.5))
    assert noised.points.dtype == np.int64
    assert noised.spacing == 0.5 / 2**18
    np.testing.assert_array_equal(
        noised.values, (noised.points * noised.spacing).astype(np.float32)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e12])
def test_a_sum_that_the_lattice_cannot_hold_is_refused(mechanism, value) -> None:
    mechanism.sample(100)
    with pytest.raises(TrainingError, match="too large for the lattice"):
        mechanism.noised(ClippedSum(np.array([0.0, value]), 0.5))


def test_noise_that_the_lattice_cannot_hold_is_refused() -> None:
    with pytest.raises(PrivacyError, match="too large for the lattice"):
        SecureGenerator().rounded_gaussian(1, 2.0**49)


def test_sampling_is_poisson_at_the_policys_rate(mechanism) -> None:
    assert len(mechanism.sample(50_000)) == pytest.approx(25_000, abs=1_000)


def test_tensors_and_steps_have_different_noise(pay) -> None:
    policy = dataclasses.replace(POLICY, weights=100)
    mechanism = GaussianMechanism(policy, SeededGenerator(1), pay(policy))
    units = len(mechanism.sample(100))
    one, other = mechanism.noised(zeros(50)).values, mechanism.noised(zeros(50)).values
    mechanism.end_step(units)
    mechanism.sample(100)
    third = mechanism.noised(zeros(100)).values
    assert len(np.unique(np.concatenate([one, other, third]))) == 200


def test_a_clipped_sum_gets_its_noise_from_the_mechanism(pay) -> None:
    def noised(values):
        mechanism = GaussianMechanism(POLICY, SeededGenerator(1), pay())
        mechanism.sample(100)
        return mechanism.noised(ClippedSum(values, 0.5)).values

    np.testing.assert_allclose(
        noised(np.ones((2, 3), np.float32)) - noised(np.zeros((2, 3), np.float32)), 1.0, rtol=1e-5
    )


def test_neighbouring_sums_differ_by_at_most_the_sensitivity(mechanism) -> None:
    """The claim that callers make with sensitivity=C, on sums that are clipped per unit."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(20, 4)) * rng.lognormal(0, 3, size=(20, 1))
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients * np.minimum(1, POLICY.clipping_norm / norms)
    total = clipped.sum(0)
    for left_out in clipped:
        assert np.linalg.norm(total - (total - left_out)) <= POLICY.clipping_norm * (1 + 1e-9)
    assert norms.max() > POLICY.clipping_norm, "nothing was clipped"
    mechanism.sample(20)
    assert mechanism.noised(ClippedSum(total, POLICY.clipping_norm)).values.shape == (4,)


def test_more_steps_than_paid_are_refused(mechanism) -> None:
    step(mechanism)
    step(mechanism)
    for action in (
        lambda: mechanism.sample(100),
        lambda: mechanism.noised(zeros(4)),
        lambda: mechanism.end_step(0),
    ):
        with pytest.raises(PrivacyError, match="all 2 steps that were paid for are taken"):
            action()


@pytest.mark.parametrize("steps", [0, 1])
def test_fewer_steps_than_paid_release_nothing(mechanism, steps) -> None:
    for _ in range(steps):
        step(mechanism)
    with pytest.raises(PrivacyError):
        mechanism.release(np.zeros(4, np.float32) if steps else np.zeros(0, np.float32))


def test_one_receipt_makes_one_release(mechanism) -> None:
    vector = step(mechanism) + step(mechanism)
    mechanism.release(vector)
    with pytest.raises(PrivacyError, match="released already"):
        mechanism.release(vector)


def test_one_receipt_makes_one_mechanism(pay) -> None:
    receipt = pay()
    GaussianMechanism(POLICY, SeededGenerator(1), receipt)
    with pytest.raises(PrivacyError, match="one charge, one release"):
        GaussianMechanism(POLICY, SeededGenerator(2), receipt)


def test_a_step_samples_once_and_before_its_noise(mechanism) -> None:
    with pytest.raises(PrivacyError, match="noise before sampling"):
        mechanism.noised(zeros(4))
    mechanism.sample(100)
    with pytest.raises(PrivacyError, match="samples once"):
        mechanism.sample(100)


def test_a_step_without_noise_is_refused(mechanism) -> None:
    units = len(mechanism.sample(100))
    with pytest.raises(PrivacyError, match="0 coordinates had noise, and the policy has 4"):
        mechanism.end_step(units)


@pytest.mark.parametrize("size", [3, 5])
def test_a_tensor_that_got_no_noise_is_noticed(mechanism, size) -> None:
    units = len(mechanism.sample(100))
    mechanism.noised(zeros(size))
    with pytest.raises(PrivacyError, match=f"{size} coordinates had noise, and the policy has 4"):
        mechanism.end_step(units)


@pytest.mark.parametrize("off", [-1, 1, 1000])
def test_a_batch_that_was_not_sampled_is_refused(mechanism, off) -> None:
    units = len(mechanism.sample(100))
    mechanism.noised(zeros(4))
    with pytest.raises(PrivacyError, match="not the Poisson sample"):
        mechanism.end_step(units + off)
    mechanism.end_step(units)


def test_values_that_had_no_noise_are_not_released(mechanism) -> None:
    step(mechanism)
    step(mechanism)
    with pytest.raises(PrivacyError, match="5 values, of which 4 had noise"):
        mechanism.release(np.zeros(5, np.float32))


def test_a_sum_clipped_to_another_norm_is_refused(mechanism) -> None:
    mechanism.sample(100)
    for sensitivity in (0.25, 1.0):
        with pytest.raises(PrivacyError, match=r"the policy says 0\.5"):
            mechanism.noised(ClippedSum(SECRET, sensitivity))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_not_released(mechanism, value) -> None:
    vector = step(mechanism) + step(mechanism)
    vector[2] = value
    with pytest.raises(TrainingError, match="not finite"):
        mechanism.release(vector)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("noise_multiplier", 1.9),
        ("sampling_rate", 0.6),
        ("steps_per_round", 3),
    ],
)
def test_a_policy_that_was_not_paid_for_is_refused(pay, field, value) -> None:
    other = dataclasses.replace(POLICY, **{field: value})
    with pytest.raises(PrivacyError, match="was paid for"):
        GaussianMechanism(other, SeededGenerator(1), pay())


def test_a_population_that_the_policy_does_not_fit_is_refused(pay) -> None:
    policy = dataclasses.replace(POLICY, delta=0.01)
    mechanism = GaussianMechanism(policy, SecureGenerator(), pay(policy))
    with pytest.raises(ConfigError, match="not below 1/functions"):
        mechanism.sample(100)


def test_seeded_noise_needs_a_simulations_account(pay) -> None:
    with pytest.raises(PrivacyError, match="simulation's account only"):
        GaussianMechanism(POLICY, SeededGenerator(1), pay(seeded=False))
    with pytest.raises(PrivacyError, match="simulation's account only"):
        Release(SECRET, pay(seeded=False), 2, True)


def test_a_receipt_is_made_by_the_ledger_only(pay) -> None:
    values = {
        f.name: getattr(pay(), f.name) for f in dataclasses.fields(Receipt) if f.name != "_used"
    }
    with pytest.raises(PrivacyError, match="made by the ledger"):
        Receipt(**values, maker=object())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(pay(), steps=1000)


def test_a_release_needs_a_receipt_for_exactly_its_steps(pay) -> None:
    with pytest.raises(PrivacyError, match="needs the ledger's receipt"):
        Release(SECRET, None, 2, False)
    for steps in (0, 1, 3):
        with pytest.raises(PrivacyError, match=f"{steps} steps were taken, and 2 were paid for"):
            Release(SECRET, pay(), steps, False)
    with pytest.raises(PrivacyError, match="needs the ledger's receipt"):
        GaussianMechanism(POLICY, SecureGenerator(), None)


def test_a_term_is_made_from_a_release_only() -> None:
    for other in (SECRET, ClippedSum(SECRET, 0.5)):
        with pytest.raises(PrivacyError, match="made from a release"):
            Unmasked(other)


def test_what_left_cannot_be_changed_afterwards(mechanism) -> None:
    vector = step(mechanism) + step(mechanism)
    release = mechanism.release(vector)
    before = release.vector.copy()
    vector[:] = 0
    np.testing.assert_array_equal(release.vector, before)
    with pytest.raises(ValueError, match="read-only"):
        release.unmasked().values[0] = 1


def test_no_text_shows_private_values(pay) -> None:
    release = Release(SECRET, pay(), 2, False)
    for thing in (ClippedSum(SECRET, 0.5), release, release.unmasked()):
        assert "31337" not in f"{thing!r} {thing} {[thing]}"


def test_the_type_checker_lets_only_an_unmasked_term_be_sent(tmp_path, checked_types) -> None:
    from mypy import api

    root = Path(__file__).parents[2]
    program = """
        from fedcode.privacy.release import ClippedSum, NoisedSum, Release
        from fedcode.privacy.release import Masked, Term
        from fedcode.wire import MaskedUpdate, Update

        def send(clipped: ClippedSum, noised: NoisedSum, release: Release) -> None:
            Update("a", 1, "m", clipped)
            Update("a", 1, "m", noised)
            Update("a", 1, "m", release)
            Update("a", 1, "m", release.unmasked())
            clipped.unmasked()
            noised.unmasked()

        def send_masked(release: Release, term: Term, masked: Masked) -> None:
            MaskedUpdate("a", 1, "p", "m", "t", "s", release)
            MaskedUpdate("a", 1, "p", "m", "t", "s", term)
            MaskedUpdate("a", 1, "p", "m", "t", "s", release.unmasked())
            MaskedUpdate("a", 1, "p", "m", "t", "s", masked)
            Update("a", 1, "m", masked)
    """
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(program))
    arguments = ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(checked_types)]
    found, errors, _ = api.run([*arguments, str(file)])
    assert not errors
    lines = [int(line.split(":")[1]) for line in found.splitlines() if "program.py:" in line]
    assert lines == [7, 8, 9, 11, 12, 15, 16, 17, 19], found
