# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A federation of a few numbers: members with ledgers, a mechanism and no network."""

import dataclasses
import hashlib

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
from fedcode.secure_sum import Session, Summation
from fedcode.simulation.identities import coordinator_of, key_of, roster_of
from fedcode.trainer import LocalReport
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.weights import digest
from fedcode.wire import Plan, Refusal, decode, encode, sign

WEIGHTS, ROUNDS, SEED = 5, 6, 1
FOUR = ("a", "b", "c", "d")
"""So few that a secure sum bears the loss of one."""

START = np.linspace(-1, 1, WEIGHTS, dtype=np.float32)
POLICY = PrivacyPolicy(PrivacyUnit.FUNCTION, 0.1, WEIGHTS, 1.0, 0.5, 1, 1e-5, 200.0)
BUDGET = Filter.for_budget(200.0, 1e-5, 4.0)
COST = BUDGET.cost(1.0, 0.5, 1)


def agreement_of(server=None, proximal=0.0, roster=("a", "b", "c"), mode="open", **changes):
    values = {
        "federation": "toy",
        "purpose": "test",
        "task": "toy",
        "task_fingerprint": "0" * 64,
        "start": "1" * 64,
        "weights": WEIGHTS,
        "rounds": ROUNDS,
        "roster": roster_of("toy", SEED, roster),
        "unit": "function",
        "epsilon": 200.0,
        "delta": 1e-5,
        "noise_multiplier": 1.0,
        "training": TrainingSettings(proximal=proximal, sampling_rate=0.5),
        "server": server or ServerSettings(),
        "aggregation": AggregationSettings(mode=mode),
    }
    return Agreement(**values | changes)


class PullTrainer:
    """Moves the weights a part of the way to a target, with the noise that the receipt pays."""

    def __init__(self, target, generator=SeededGenerator):
        self.target = np.float32(target)
        self.report = LocalReport()
        self.generator = generator
        self.changes, self.releases = [], []

    def train(self, weights, receipt):
        noise = self.generator(3, receipt.round) if self.generator else SecureGenerator()
        release = self.released(weights, receipt, noise)
        self.releases.append(release)
        return release

    def released(self, weights, receipt, noise):
        mechanism = GaussianMechanism(POLICY, noise, receipt)
        units = len(mechanism.sample(100))
        pull = np.float32(0.3) * (self.target - weights)
        change = mechanism.noised(ClippedSum(pull, 0.1)).values
        mechanism.end_step(units)
        self.changes.append(change)
        return mechanism.release(change)


class SumTrainer(PullTrainer):
    """The same as one noised sum of gradients, with noise of its own."""

    def __init__(self, target, agreement, generator=SeededGenerator):
        super().__init__(target, generator)
        self.agreement = agreement

    def released(self, weights, receipt, noise):
        policy = self.agreement.policy
        if self.generator:
            noise = self.generator(int(100 * self.target), receipt.round)
        mechanism = GaussianMechanism(policy, noise, receipt)
        units = len(mechanism.sample(100))
        pull = np.float32(0.3) * (self.target - weights)
        noised = mechanism.noised(ClippedSum(pull / self.agreement.factor, policy.clipping_norm))
        mechanism.end_step(units)
        self.changes.append(noised.values * self.agreement.factor)
        return mechanism.release_sum([noised])


class Federation:
    """Members with ledgers of their own, and a coordinator.

    What each member is asked and answers goes through :attr:`ways`, which a test may change.

    Args:
        agreement: of all of them.
        budgets: of single members, in nano-units.
        trainers: of single members.
        seeded: whether it is a simulation.
        agreements: of single members that have signed another one.
        folder: for the ledgers; they are in memory if None.
        others: accounts of single members beside their own, with budgets in nano-units.
    """

    def __init__(
        self,
        agreement,
        *,
        budgets=None,
        trainers=None,
        seeded=True,
        agreements=None,
        folder=None,
        others=None,
    ):
        self.agreement, self.seeded, self.folder = agreement, seeded, folder
        self.others = others or {}
        self.agreements = agreements or {}
        self.ledgers, self.members, self.trainers, self.ways = {}, {}, {}, {}
        for number, name in enumerate(agreement.roster.names):
            ledger = self._opened(name)
            budget = dataclasses.replace(BUDGET, budget_nano=(budgets or {}).get(name, 10**12))
            budget = BUDGET if budget.budget_nano > BUDGET.budget_nano else budget
            if seeded:
                ledger.open_simulated("code", organization=name, unit=POLICY.unit, budget=budget)
            else:
                open_real(ledger, "code", epsilon=200.0)
            for other, nano in self.others.get(name, {}).items():
                less = dataclasses.replace(BUDGET, budget_nano=nano)
                ledger.open_simulated(other, organization=name, unit=POLICY.unit, budget=less)
            self.trainers[name] = (trainers or {}).get(name) or PullTrainer(float(number))
            self._join(name, ledger)
        self.grid = InMemoryGrid({name: member_app(self._way(name)) for name in self.members})
        self.coordinator = Coordinator(agreement, self.grid, self.grid.nodes, coordinator_of(SEED))

    def restart(self, name):
        """The member's program ends, and another one opens its ledger."""
        self.ledgers[name].close()
        self._join(name, self._opened(name))

    def _opened(self, name):
        return BudgetLedger.open(self.folder / f"{name}.sqlite" if self.folder else ":memory:")

    def _join(self, name, ledger):
        member = Member(
            name,
            "code",
            self.agreements.get(name, self.agreement),
            COST,
            ledger.account("code").budget.budget_nano,
            ledger,
            self.trainers[name],
            key_of(SEED, name),
            others=list(self.others.get(name, {})),
            simulated=self.seeded,
        )
        self.ledgers[name], self.members[name] = ledger, member
        self.ways[name] = member.answer

    def _way(self, name):
        return lambda data: self.ways[name](data)

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


def plan(agreement, number=1, cohort=None, weights=START, key=None):
    made = Plan(agreement.digest(), number, cohort or agreement.roster.names, weights)
    return encode(sign(made, key or coordinator_of(SEED)))


def read(data):
    """What a member's or the coordinator's bytes say."""
    return decode(data, weights=WEIGHTS, length=WEIGHTS)


def refusal(data):
    """The code of a refusal; None for anything else."""
    message = read(data)
    return message.code if isinstance(message, Refusal) else None


class Steps:
    """One secure sum of a federation, step by step: requests in bytes, as members are asked.

    Args:
        federation: whose members answer.
        number: of the round.
        cohort: of the plan; all members if None.
        weights: of the plan.
    """

    def __init__(self, federation, number=1, cohort=None, weights=START):
        agreed = federation.agreement
        self.members = federation.members
        self.cohort = cohort or agreed.roster.names
        self.plan = plan(agreed, number, self.cohort, weights)
        self.session = Session(
            agreement=agreed.digest(),
            round=number,
            plan=hashlib.sha256(self.plan).hexdigest(),
            weights=digest(weights),
            coordinator=agreed.roster.coordinator,
            members=tuple((name, agreed.roster.key(name)) for name in self.cohort),
            length=agreed.length,
        )
        self.sum = Summation(self.session, coordinator_of(SEED))
        self.done = []

    def plans(self):
        """The plan, for each member of the cohort."""
        return dict.fromkeys(self.cohort, self.plan)

    def books(self):
        """The key book, for each member, when all have sent their keys."""
        self._once(self.plans, self.sum.add_keys)
        book = encode(self.sum.book())
        return {keys.member: book for keys in self.sum.book().keys}

    def deliveries(self):
        """For each member what the others have for it: what is charged and trained for."""
        self._once(self.books, self.sum.add_shares)
        return {name: encode(one) for name, one in self.sum.deliveries().items()}

    def lists(self):
        """The survivors, for each of them, when all have sent their terms."""
        self._once(self.deliveries, self.sum.add_masked)
        return dict.fromkeys(self.sum.survivor_names, encode(self.sum.survivors()))

    def confirmations(self):
        """The confirmations, for each survivor, when all have confirmed."""
        self._once(self.lists, self.sum.add_confirmation)
        return dict.fromkeys(self.sum.confirmed, encode(self.sum.confirmations()))

    def total(self):
        """The sum, when all have revealed."""
        self._once(self.confirmations, self.sum.add_reveal)
        return self.sum.total()

    def requests(self):
        """What every step asks, in order."""
        return (self.plans, self.books, self.deliveries, self.lists, self.confirmations)

    def _once(self, requests, add):
        if requests in self.done:
            return
        for name, data in requests().items():
            add(read(self.members[name].answer(data)))
        self.done.append(requests)


def request(federation, name, number=1, **changes):
    """What ``name`` answers with what it has computed: a plan, or shares where it is to mask."""
    if not federation.agreement.aggregation.masked:
        return plan(federation.agreement, number, **changes)
    return Steps(federation, number, **changes).deliveries()[name]
