# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The noise in what a coordinator makes of a round: that of all survivors, and no other.

From members with ledgers through masks, messages and unmasking to the released weights, with data
that add nothing. Right noise is accepted, and wrong noise is not.
"""

import math

import numpy as np
import pytest
from few_numbers import SEED, Federation, agreement_of
from scipy import stats

from fedcode.federation import AggregationSettings, TrainingSettings
from fedcode.groups import groups
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.rounds.coordinator import State
from fedcode.trainer import LocalReport
from fedcode.transport.in_memory import Silent
from fedcode.wire import ShareDelivery, decode

SIZE, NAMES = 20_000, tuple("abcdefg")
PLAUSIBLE, CERTAIN = 1e-5, 1e-9
TRAINING = {
    "gradient-sum": TrainingSettings(
        kind="gradient-sum", sampling_rate=0.5, clipping_norm=0.5, nominal_batch=8
    ),
    "local-steps": TrainingSettings(sampling_rate=0.5, clipping_norm=0.5, nominal_batch=8),
}


class Noise:
    """A trainer whose data add nothing: what it releases is its policy's noise.

    Args:
        name: of the member; its noise is drawn under it.
        agreement: says which.
        seeded: whether the noise is drawn from a seed.
        times: so many times the noise of the policy.
        scale: times the standard deviation.
    """

    def __init__(self, name, agreement, *, seeded=True, times=1, scale=1.0):
        self.report = LocalReport()
        self.name, self.agreement, self.seeded = name, agreement, seeded
        self.times, self.scale = times, scale

    def train(self, weights, receipt):
        policy = self.agreement.policy
        noise = SeededGenerator(SEED, self.name, receipt.round)
        mechanism = GaussianMechanism(policy, noise if self.seeded else SecureGenerator(), receipt)
        units = len(mechanism.sample(100))
        noised = mechanism.noised(ClippedSum(np.zeros(len(weights)), policy.clipping_norm))
        mechanism.end_step(units)
        extra = SecureGenerator().rounded_gaussian(noised.points.size, policy.std / noised.spacing)
        wrong = noised.points * min(self.times, 1) + extra * max(0, self.times - 1)
        noised.points[:] = np.rint(self.scale * wrong)
        if self.agreement.training.kind == "gradient-sum":
            return mechanism.release_sum([noised])
        change = noised.values * np.float32(1 / self.agreement.training.nominal_batch)
        return mechanism.release(change)


def federation_of(kind, *, seeded=True, wrong=None, **changes):
    agreement = agreement_of(
        **{"roster": NAMES, "mode": "secagg", "weights": SIZE, "training": TRAINING[kind]} | changes
    )
    members = {name: {"seeded": seeded} for name in agreement.roster.names}
    for name, what in (wrong or {}).items():
        members[name] |= what
    trainers = {name: Noise(name, agreement, **how) for name, how in members.items()}
    return Federation(agreement, trainers=trainers, seeded=seeded)


def noises(federation, rounds=2):
    """The noise of each round's total over one member's std, (rounds, coordinates).

    The totals are read from the weights: it is what whoever holds the model sees.
    """
    agreement = federation.agreement
    batch = agreement.training.nominal_batch
    states, outcomes = federation.run(rounds, State(0, np.zeros(SIZE, np.float32)))
    weights = np.array([np.zeros(SIZE), *[s.weights.astype(np.float64) for s in states]])
    members = np.array([[len(outcome.survivors)] for outcome in outcomes])
    found = np.diff(weights, axis=0) * members * batch / agreement.policy.std
    return found, [outcome.survivors for outcome in outcomes]


def plausibility(found, survivors):
    """p-value of the variance of all coordinates against that of so many members' noises."""
    ratio, count = float((found**2).sum()) / survivors, found.size
    below, above = stats.chi2.cdf(ratio, count), stats.chi2.sf(ratio, count)
    return 2 * min(below, above)


@pytest.mark.parametrize("seeded", [True, False], ids=["seeded", "secret"])
@pytest.mark.parametrize("kind", TRAINING)
def test_a_total_has_the_noise_of_every_survivor(kind, seeded) -> None:
    found, survivors = noises(federation_of(kind, seeded=seeded))
    assert survivors == [NAMES] * 2
    assert plausibility(found, 7) > PLAUSIBLE
    whole = stats.norm(scale=math.sqrt(7)).cdf
    assert stats.kstest(found.ravel(), whole, method="asymp").pvalue > PLAUSIBLE
    assert abs(np.corrcoef(found)[0, 1]) < 5 / math.sqrt(SIZE), "each round has noise of its own"
    for wrong in (6, 8, 7 * 0.95**2, 7 * 1.05**2):
        assert plausibility(found, wrong) < CERTAIN


@pytest.mark.parametrize(
    "wrong",
    [
        {"d": {"times": 0}},
        {"d": {"times": 2}},
        {name: {"scale": 0.95} for name in NAMES},
        {name: {"times": 2} for name in NAMES},
        {name: {"times": 0} for name in NAMES},
    ],
    ids=["none of one", "twice of one", "0.95 of it", "twice of all", "none at all"],
)
@pytest.mark.parametrize("kind", TRAINING)
def test_wrong_noise_would_be_seen(kind, wrong) -> None:
    found, _ = noises(federation_of(kind, wrong=wrong))
    assert plausibility(found, 7) < CERTAIN


def lost_after_training(federation, *names):
    """Members whose masked terms never arrive."""

    def leaving(answer):
        def answered(data):
            said = answer(data)
            if isinstance(decode(data, weights=SIZE, length=SIZE), ShareDelivery):
                raise Silent
            return said

        return answered

    for name in names:
        federation.ways[name] = leaving(federation.ways[name])


@pytest.mark.parametrize("lost", [("b",), ("a", "g")])
@pytest.mark.parametrize("kind", TRAINING)
def test_members_that_are_lost_take_their_noise_with_them_and_no_mask_stays(kind, lost) -> None:
    federation = federation_of(kind)
    lost_after_training(federation, *lost)
    found, survivors = noises(federation)
    left = tuple(name for name in NAMES if name not in lost)
    assert survivors == [left] * 2
    assert plausibility(found, len(left)) > PLAUSIBLE
    for wrong in (len(left) - 1, len(left) + 1, 0.95**2 * len(left)):
        assert plausibility(found, wrong) < CERTAIN


def test_a_survivor_without_noise_would_be_seen_beside_members_that_are_lost() -> None:
    federation = federation_of("gradient-sum", wrong={"d": {"times": 0}})
    lost_after_training(federation, "b")
    found, survivors = noises(federation)
    assert len(survivors[0]) == 6
    assert plausibility(found, 6) < CERTAIN


def test_groups_have_the_noise_of_their_own_members_alone(monkeypatch) -> None:
    settings = AggregationSettings(mode="secagg-groups", groups=3, rule="median", malicious=1)
    names = tuple(f"m{n:02}" for n in range(13))
    federation = federation_of("gradient-sum", roster=names, aggregation=settings)
    agreement, seen = federation.agreement, {}
    change = federation.coordinator._change

    def spied(parts):
        seen.update({part.survivors: part.total for part in parts})
        return change(parts)

    monkeypatch.setattr(federation.coordinator, "_change", spied)
    federation.run(1, State(0, np.zeros(SIZE, np.float32)))
    assert set(seen) == set(groups(agreement.digest(), 1, names, 3))
    for members, total in seen.items():
        found = total / agreement.policy.std
        assert plausibility(found, len(members)) > PLAUSIBLE
        assert plausibility(found, len(members) - 1) < CERTAIN
