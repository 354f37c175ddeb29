# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor is audited: mutants of the private step are caught, the right one is not accused."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fedcode.cli import app
from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy.audit import gaussian_finding
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.release import GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.training.audit import step_audit
from fedcode.training.batches import whole_units
from fedcode.training.private import PrivateOptimizer

TRIALS = 2_000


def scaled(factor):
    """Noise of another scale than is accounted for."""

    class Scaled(SecureGenerator):
        def gaussian(self, n, std):
            return factor * super().gaussian(n, std)

    return Scaled


def whole(self):
    """The sum of the batch's gradients as they are."""
    return self._gradients.sums(torch.ones(len(self.params), self._gradients.units))


def accumulate(self, parts):
    for parameter, part in zip(self.params, parts, strict=True):
        total = parameter.summed_grad
        parameter.summed_grad = part if total is None else total + part


def unclipped(self):
    accumulate(self, whole(self))


def clipped_per_batch(self):
    accumulate(self, [p * min(1.0, self.max_grad_norm / float(p.norm())) for p in whole(self)])


def test_the_step_as_it_is_shows_no_more_than_is_claimed() -> None:
    finding = step_audit(TRIALS)
    assert not finding.broken
    assert 0 < finding.found < finding.claimed < finding.detectable
    assert finding.claimed == pytest.approx(4.377, abs=0.01), "one step with σ = 1, at δ = 1e-5"


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.5])
def test_too_little_noise_is_found(factor) -> None:
    assert step_audit(TRIALS, generator=scaled(factor)).broken


def test_a_fixed_seed_is_found() -> None:
    finding = step_audit(TRIALS, generator=lambda: SeededGenerator(1, "always the same"))
    assert finding.broken
    assert finding.found == finding.detectable


@pytest.mark.parametrize("mutant", [unclipped, clipped_per_batch])
def test_clipping_that_is_none_is_found(mutant, monkeypatch) -> None:
    monkeypatch.setattr(PrivateOptimizer, "clip_and_accumulate", mutant)
    assert step_audit(TRIALS).broken


def test_a_unit_of_several_records_shows_no_more_than_is_claimed() -> None:
    assert not step_audit(600, unit=PrivacyUnit.FILE).broken


def record_by_record(task, chosen, size):
    """The mistake: what is clipped is each record of a unit."""
    return whole_units(task, [[example] for unit in chosen for example in unit], size)


def uncounted(monkeypatch):
    """Nobody counts what is clipped, so that the audit is the one to find it."""
    end = GaussianMechanism.end_step
    monkeypatch.setattr(GaussianMechanism, "end_step", lambda self, _: end(self, self._sampled))


def test_clipping_record_by_record_is_found(monkeypatch) -> None:
    monkeypatch.setattr("fedcode.training.shares.whole_units", record_by_record)
    with pytest.raises(PrivacyError, match="units were clipped"):
        step_audit(600, unit=PrivacyUnit.FILE)
    uncounted(monkeypatch)
    assert step_audit(600, unit=PrivacyUnit.FILE).broken


def test_noise_that_forgets_the_clipping_norm_is_found(monkeypatch) -> None:
    """The accountant's σ taken for the deviation, on sums of another scale."""
    monkeypatch.setattr(PrivacyPolicy, "std", property(lambda self: 0.4 * self.noise_multiplier))
    assert step_audit(TRIALS).broken


def normal(mu, n, seed):
    draw = np.random.default_rng(seed)
    return draw.normal(0, 1, n), draw.normal(mu, 1, n)


def test_a_right_claim_is_never_called_broken() -> None:
    for mu, runs in ((1.0, 200), (0.1, 20), (3.0, 20)):
        for seed in range(runs):
            assert not gaussian_finding(*normal(mu, 2_000, seed), mu, 1e-5).broken


@pytest.mark.slow
@pytest.mark.parametrize("unit", list(PrivacyUnit))
def test_no_unit_shows_more_than_is_claimed(unit) -> None:
    finding = step_audit(4_000, unit=unit)
    assert 0 < finding.found < finding.claimed < finding.detectable


@pytest.mark.slow
def test_the_step_as_it_is_is_never_accused_in_200_audits() -> None:
    findings = [step_audit(1_000) for _ in range(200)]
    print("largest ε found:", max(f.found for f in findings), "claimed:", findings[0].claimed)
    assert not any(finding.broken for finding in findings)


@pytest.mark.parametrize(("true", "trials"), [(2.0, 1_000), (1.4, 5_000), (1.25, 10_000)])
def test_a_claim_that_is_too_small_is_called_broken(true, trials) -> None:
    assert all(gaussian_finding(*normal(true, trials, s), 1.0, 1e-5).broken for s in range(20))


def test_what_could_have_been_found_grows_with_the_trials() -> None:
    few, many = (gaussian_finding(*normal(1.0, n, 1), 1.0, 1e-5) for n in (200, 20_000))
    assert few.detectable < many.detectable
    assert few.found < many.found < many.claimed
    perfect = gaussian_finding(np.zeros(500), np.ones(500), 1.0, 1e-5)
    assert perfect.found == perfect.detectable


def test_samples_that_cannot_be_told_apart_show_nothing() -> None:
    same = np.random.default_rng(1).normal(size=1_000)
    assert gaussian_finding(same, same, 1.0, 1e-5).found == 0.0


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few"):
        gaussian_finding(np.zeros(100), np.zeros(100), 1.0, 1e-5)


def test_the_program_never_says_pass_alone() -> None:
    said = CliRunner().invoke(app, ["audit", "--trials", "400"])
    assert said.exit_code == 0
    assert "could have found" in said.stdout
    found = json.loads(CliRunner().invoke(app, ["audit", "--trials", "400", "--json"]).stdout)
    assert found["trials"] == 400
    assert found["broken"] is False
    assert torch.is_grad_enabled()


def test_the_program_fails_when_the_step_is_broken(monkeypatch) -> None:
    monkeypatch.setattr(PrivateOptimizer, "clip_and_accumulate", unclipped)
    said = CliRunner().invoke(app, ["audit", "--trials", "2000"])
    assert said.exit_code == 1
    assert "BROKEN" in said.stdout
