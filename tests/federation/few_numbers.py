# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A federation of a few numbers: members with ledgers, a mechanism and no network."""

import dataclasses

import numpy as np
from officers import open_real

from fedcode.agreement import Agreement
from fedcode.federation import AggregationSettings, ServerSettings, TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import PrivacyUnit
from fedcode.rounds.coordinator import Coordinator, State
from fedcode.rounds.member import Member
from fedcode.simulation.identities import coordinator_of, key_of, roster_of
from fedcode.trainer import LocalReport
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.wire import Plan, encode, sign

WEIGHTS, ROUNDS, SEED = 5, 6, 1
START = np.linspace(-1, 1, WEIGHTS, dtype=np.float32)
POLICY = PrivacyPolicy(PrivacyUnit.FUNCTION, 0.1, WEIGHTS, 1.0, 0.5, 1, 1e-5, 200.0)
BUDGET = Filter.for_budget(200.0, 1e-5, 4.0)
COST = BUDGET.cost(1.0, 0.5, 1)


def agreement_of(server=None, proximal=0.0, roster=("a", "b", "c"), **changes):
    values = {
        "federation": "toy",
        "purpose": "test",
        "task": "toy",
        "task_fingerprint": "0" * 64,
        "weights": WEIGHTS,
        "counts": False,
        "rounds": ROUNDS,
        "roster": roster_of("toy", SEED, roster),
        "unit": "function",
        "epsilon": 200.0,
        "delta": 1e-5,
        "noise_multiplier": 1.0,
        "training": TrainingSettings(proximal=proximal, sampling_rate=0.5),
        "server": server or ServerSettings(),
        "aggregation": AggregationSettings(mode="open"),
    }
    return Agreement(**values | changes)


class PullTrainer:
    """Moves the weights a part of the way to a target, with the noise that the receipt pays."""

    def __init__(self, target, generator=SeededGenerator):
        self.target = np.float32(target)
        self.report = LocalReport()
        self.generator = generator
        self.changes = []

    def train(self, weights, receipt):
        noise = self.generator(3, receipt.round) if self.generator else SecureGenerator()
        mechanism = GaussianMechanism(POLICY, noise, receipt)
        units = len(mechanism.sample(100))
        pull = np.float32(0.3) * (self.target - weights)
        change = mechanism.noised(ClippedSum(pull, 0.1)).values
        mechanism.end_step(units)
        self.changes.append(change)
        return mechanism.release(change)


class Federation:
    """Members with ledgers of their own, and a coordinator."""

    def __init__(self, agreement, *, budgets=None, trainers=None, seeded=True):
        self.agreement = agreement
        self.ledgers, self.members, self.trainers = {}, {}, {}
        for number, name in enumerate(agreement.roster.names):
            ledger = BudgetLedger.open(":memory:")
            budget = dataclasses.replace(BUDGET, budget_nano=(budgets or {}).get(name, 10**12))
            budget = BUDGET if budget.budget_nano > BUDGET.budget_nano else budget
            if seeded:
                ledger.open_simulated("code", organization=name, unit=POLICY.unit, budget=budget)
            else:
                open_real(ledger, "code", epsilon=200.0)
            trainer = (trainers or {}).get(name) or PullTrainer(float(number))
            member = Member(
                name,
                "code",
                agreement,
                COST,
                budget.budget_nano,
                ledger,
                trainer,
                key_of(SEED, name),
                simulated=seeded,
            )
            self.ledgers[name], self.members[name] = ledger, member
            self.trainers[name] = trainer
        self.grid = InMemoryGrid({n: member_app(m.answer) for n, m in self.members.items()})
        self.coordinator = Coordinator(agreement, self.grid, self.grid.nodes, coordinator_of(SEED))

    def run(self, rounds=ROUNDS, state=None):
        """States after each round, and outcomes."""
        state = state or State(0, START)
        states, outcomes = [], []
        for _ in range(rounds):
            state, outcome = self.coordinator.run(state)
            states.append(state)
            outcomes.append(outcome)
        return states, outcomes

    def mean(self, number):
        """What the members' changes of one round add up to, over their number."""
        found = [t.changes[number] for t in self.trainers.values()]
        return np.sum(np.asarray(found, np.float64), axis=0) / len(found)


def plan(agreement, number=1, cohort=None, weights=START):
    made = Plan(agreement.digest(), number, cohort or agreement.roster.names, weights)
    return encode(sign(made, coordinator_of(SEED)))
