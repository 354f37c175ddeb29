# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a round does to protect members: a trusted aggregator, members' own noise, or nothing.

Cohorts are Poisson samples in all three, the same ones for the same seed, and every mean is over
the nominal cohort: how many were drawn is private.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import ConfigError, TrainingError
from fedcode.privacy.accountant import Filter
from fedcode.privacy.accountant import epsilon as epsilon_of
from fedcode.privacy.calibration import Plan, calibrate
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.policy import PrivacyPolicy, check_population
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.simulation.population.crew import Crew, EngineName
from fedcode.simulation.population.settings import PopulationSettings
from fedcode.simulation.population.steps import Tally
from fedcode.weights import Vector

MEMBER = PrivacyUnit.REPOSITORY
"""A member as the unit: the root of all that it has, whatever its records are."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Which cohorts a population's rounds have.

    Attributes:
        name: of the population.
        seed: of all randomness.
        members: how many there are.
        rate: with which each is taken.
    """

    name: str
    seed: int
    members: int
    rate: float

    def generator(self, number: int) -> SeededGenerator:
        """Of round ``number``: the cohort, then the noise on its sum if there is any."""
        return SeededGenerator(self.seed, "population", self.name, number)

    def cohort(self, number: int) -> NDArray[np.int64]:
        """Those taken in round ``number``, ascending; there may be none."""
        return self.generator(number).poisson_sample(self.members, self.rate)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round.

    Attributes:
        change: of the weights, over the nominal cohort, shape (d,).
        cohort: how many were drawn. Private, as the tally is.
        tally: how they fared.
        spent: members drawn whose budget was spent: they took no part.
    """

    change: Vector
    cohort: int
    tally: Tally
    spent: int = 0


class Guard(Protocol):
    """Runs rounds of one mode."""

    def run(self, crew: Crew, engine: EngineName, weights: Vector, number: int) -> Outcome:
        """Round ``number``, from 1, from ``weights``."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """Rounds without privacy."""

    draw: Draw
    nominal: int

    def run(self, crew: Crew, engine: EngineName, weights: Vector, number: int) -> Outcome:
        """See :class:`Guard`."""
        cohort = self.draw.cohort(number)
        total, tally = crew.sum(engine, weights, number, cohort)
        return Outcome(_mean(total, self.nominal), len(cohort), tally)


@dataclass(frozen=True, slots=True)
class TrustedAggregator:
    """Rounds in which one party sees every member's change, and nobody else does.

    The privacy unit is the whole member: its change is clipped as one, and noise is added once to
    the sum. It protects against whoever sees the weights after a round, not against the aggregator.

    Attributes:
        draw: the cohorts.
        nominal: what sums are divided by.
        policy: of one round: one step, units are members.
        budget: of the population's account.
        ledger: charged before each round.
        asset: the account.
        purpose: as the ledger has it.
        agreement: digest of what the rounds are.
        task: name of the problem.
    """

    draw: Draw
    nominal: int
    policy: PrivacyPolicy
    budget: Filter
    ledger: BudgetLedger
    asset: str
    purpose: str
    agreement: str
    task: str

    def __post_init__(self) -> None:
        self.policy.check_population(self.draw.members)
        self.ledger.open_simulated(
            self.asset, organization=self.asset, unit=self.policy.unit, budget=self.budget
        )

    def run(self, crew: Crew, engine: EngineName, weights: Vector, number: int) -> Outcome:
        """See :class:`Guard`. After the sample nothing fails because of what members hold."""
        policy = self.policy
        cost = self.budget.cost(policy.noise_multiplier, policy.sampling_rate, 1)
        receipt = self.ledger.charge(
            cost,
            asset=self.asset,
            agreement=self.agreement,
            purpose=self.purpose,
            task=self.task,
            round=number,
        )
        mechanism = GaussianMechanism(policy, self.draw.generator(number), receipt)
        cohort = mechanism.sample(self.draw.members)
        total, tally = crew.sum(engine, weights, number, cohort)
        noised = mechanism.noised(ClippedSum(total, policy.clipping_norm))
        mechanism.end_step(tally.members)
        change = mechanism.release(_mean(noised.values, self.nominal)).vector
        return Outcome(change, len(cohort), tally)


@dataclass(frozen=True, slots=True)
class EachMember:
    """Rounds of members that protect themselves; their releases are added up as they are.

    Attributes:
        draw: the cohorts; that they are random makes no member's ε smaller.
        nominal: what sums are divided by.
        affordable: rounds that a member's budget pays for.
        rounds_taken: by each member so far, shape (members,).
    """

    draw: Draw
    nominal: int
    affordable: int
    rounds_taken: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds_taken", np.zeros(self.draw.members, np.int64))

    def run(self, crew: Crew, engine: EngineName, weights: Vector, number: int) -> Outcome:
        """See :class:`Guard`."""
        drawn = self.draw.cohort(number)
        cohort = drawn[self.rounds_taken[drawn] < self.affordable]
        self.rounds_taken[cohort] += 1
        total, tally = crew.sum(engine, weights, number, cohort)
        spent = len(drawn) - len(cohort)
        return Outcome(_mean(total, self.nominal), len(drawn), tally, spent)


@dataclass(frozen=True, slots=True)
class Guarantee:
    """The numbers of a mode's guarantee.

    Attributes:
        policy: what one release does.
        budget: of the account, or of each account.
        affordable: releases that it pays for.
    """

    policy: PrivacyPolicy
    budget: Filter
    affordable: int

    def epsilon(self, releases: int) -> float:
        """ε (PLD) of so many releases."""
        if not releases:
            return 0.0
        policy = self.policy
        steps = {(policy.noise_multiplier, policy.sampling_rate): releases * policy.steps_per_round}
        return epsilon_of(steps, policy.delta)


def guarantee(settings: PopulationSettings, members: int, weights: int) -> Guarantee | None:
    """What the mode promises, with the smallest noise that pays for all rounds; None for none.

    Raises:
        ConfigError: no noise is enough, or the noise given does not last for all rounds; or δ and
            the rate do not fit to so many members.
    """
    privacy = settings.privacy
    if privacy.mode == "none":
        return None
    central = privacy.mode == "central"
    rate = settings.cohort / members if central else privacy.sampling_rate or 1.0
    steps = 1 if central else settings.training.steps
    rounds = settings.rounds if central else privacy.participations or settings.rounds
    if central:
        check_population(members, privacy.delta, rate, MEMBER, settings.name)
    plan = Plan(rate, rounds, steps, noise_multiplier=privacy.noise_multiplier)
    found = calibrate(privacy.epsilon, privacy.delta, [plan])
    noise = found.noise_multipliers[0]
    affordable = found.filter.rounds_affordable(noise, rate, steps)
    if affordable < rounds:
        raise ConfigError(
            f"epsilon {privacy.epsilon:g} pays for {affordable} of {rounds} rounds with "
            f"noise_multiplier {noise:g}",
            "leave noise_multiplier out, or choose fewer rounds or a larger epsilon",
        )
    unit = MEMBER if central else PrivacyUnit.FUNCTION
    policy = PrivacyPolicy(
        unit, privacy.clipping_norm, weights, noise, rate, steps, privacy.delta, privacy.epsilon
    )
    return Guarantee(policy, found.filter, min(affordable, rounds))


def _mean(total: NDArray[np.float64] | NDArray[np.float32], nominal: int) -> Vector:
    with np.errstate(over="ignore"):  # what is not finite is told below
        change = (total / nominal).astype(np.float32)
    if not np.isfinite(change).all():
        raise TrainingError("the sum of a round is not finite", "lower the learning rate")
    return change
