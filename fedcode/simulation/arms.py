# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The arms of a comparison: the same rounds with other members, or without privacy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from fedcode.agreement import Agreement, SignedAgreement, agree
from fedcode.budgets import allowance, budget
from fedcode.errors import TrainingError
from fedcode.federation import AggregationSettings, Federation, ServerSettings, TaskSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.accountant import epsilon as epsilon_of
from fedcode.privacy.calibration import Calibration
from fedcode.privacy.ledger import BudgetLedger, Ledger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import SourceFile
from fedcode.rounds.coordinator import Coordinator, Outcome, State
from fedcode.rounds.gathering import STEPS
from fedcode.rounds.member import Member
from fedcode.rounds.transcript import Summed, confirmed
from fedcode.simulation.dataset import Dataset, all_files
from fedcode.simulation.dropouts import Dropping
from fedcode.simulation.identities import coordinator_of, key_of, roster_of
from fedcode.simulation.learners import Learner
from fedcode.simulation.members import AnyMember, Engine, in_memory
from fedcode.simulation.unprotected import UnprotectedMember
from fedcode.task import Metrics
from fedcode.trainer import LocalReport, Trainer

Key = Literal["public", "alone", "federated", "federated-plain", "centralized-plain", "baseline"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the comparison.

    Attributes:
        key: which kind of arm.
        members: who trains.
    """

    key: Key
    members: tuple[str, ...] = ()

    @property
    def private(self) -> bool:
        """Whether members train under differential privacy."""
        return self.key in ("alone", "federated")

    @property
    def title(self) -> str:
        """What tables call it."""
        return {
            "public": "public warm start alone",
            "alone": f"{self.members[0] if self.members else ''} alone, private",
            "federated": "federated, private",
            "federated-plain": "federated, no privacy",
            "centralized-plain": "centralized, no privacy",
            "baseline": "baselines",
        }[self.key]

    @property
    def name(self) -> str:
        """Unique among the arms."""
        return f"{self.key}-{self.members[0]}" if self.key == "alone" else self.key


@dataclass(frozen=True, slots=True)
class Noise:
    """What calibration decided for one task.

    Attributes:
        calibration: of the whole federation.
        noise_multiplier: this task's: std of the noise over the sensitivity.
    """

    calibration: Calibration
    noise_multiplier: float


@dataclass(frozen=True, slots=True)
class Round:
    """One line of the learning curve; see docs/result.md."""

    round: int
    metrics: Metrics
    survivors: tuple[str, ...]
    charged: tuple[str, ...]
    refusals: Mapping[str, str]
    epsilon: Mapping[str, float]
    seconds: float
    local: Mapping[str, Mapping[str, Any]]
    weights: str
    shared: Mapping[str, Mapping[str, float]]
    sums: Sequence[Mapping[str, Any]]
    changed: bool

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


@dataclass(slots=True)
class Bench:
    """All that the arms of one task and seed share.

    Attributes:
        federation: the whole configuration.
        settings: the task's part of it.
        data: labelled if the task wants it.
        learner: the task on its public weights.
        fingerprint: of the task.
        start: digest of the task's start file, as ``fedcode prepare`` writes it.
        glimpse: files that every round is measured on.
        noise: None in a run without privacy.
        seed: of training and of the noise.
        secret: take the noise from the system, not from the seed.
        observe: looks over a private trainer's shoulder.
        dropout: the chance that a member is lost in a round of the federated arm.
        engine: where members live.
    """

    federation: Federation
    settings: TaskSettings
    data: Dataset
    learner: Learner
    fingerprint: str
    start: str
    glimpse: list[SourceFile]
    noise: Noise | None
    seed: int
    secret: bool = False
    observe: Callable[[Trainer], Trainer] = lambda trainer: trainer
    dropout: float = 0.0
    engine: Engine = in_memory

    def run(
        self,
        arm: Arm,
        ledger: BudgetLedger,
        *,
        state: State | None = None,
        before: Sequence[Mapping[str, Any]] = (),
        after: Callable[[State, Round], bool] = lambda _state, _round: True,
    ) -> State:
        """Runs an arm to its end.

        Args:
            arm: who trains and how.
            ledger: charged by private arms.
            state: where to continue; the public weights if None.
            before: the lines of the rounds that led there, as JSON has them.
            after: called after each round; False stops the arm there.

        Returns:
            The last state.
        """
        state = state or State(0, self.learner.start())
        if arm.key == "public":
            return state
        if arm.key == "centralized-plain":
            return self._centralized(state)
        agreement = self.agreement(arm)
        levels = {
            name: part.get("level") for line in before for name, part in line["local"].items()
        }
        assets = self._open_accounts(arm, agreement, ledger)
        with self.engine(self, arm, agreement, ledger, levels) as members:
            drops = self._drops(arm, agreement, members.nodes, state.round)
            grid = members.grid(lambda node: drops[node].next())
            coordinator = Coordinator(agreement, grid, members.nodes, coordinator_of(self.seed))
            while state.round < agreement.rounds:
                for one in drops.values():
                    one.begin()
                before_it = {name: ledger.charges(asset) for name, asset in assets.items()}
                state, outcome = coordinator.run(state)
                reports = members.reports()
                charged = tuple(n for n, a in assets.items() if ledger.charges(a) > before_it[n])
                spent = {name: ledger.epsilon(asset) for name, asset in assets.items()}
                if assets:
                    reports = {name: reports[name] for name in charged}
                line = self._line(outcome, state, reports, spent, charged)
                left = len(set(arm.members) - state.spent)
                if not after(state, line) or not agreement.possible(left):
                    break
        return state

    def measure(self, state: State, arm: Arm) -> dict[str, Any]:
        """The figures of a finished arm; see docs/result.md."""
        measured = self.data.unseen
        by_name = {name: self._figures(state, corpus.files) for name, corpus in measured.items()}
        unseen = (
            next(iter(by_name.values()))
            if len(by_name) == 1
            else self._figures(state, all_files(measured))
        )
        owners = arm.members or tuple(self.data.heldout)
        heldout = {
            name: self._figures(state, self.data.heldout[name].files)
            for name in owners
            if self.data.heldout[name].files
        }
        return {"unseen": unseen, "by_organization": by_name, "local": {"heldout": heldout}}

    def summed(
        self, arm: Arm, rounds: Sequence[Mapping[str, Any]], ledger: BudgetLedger
    ) -> list[Summed]:
        """The secure sums of an arm of which there could be a total, for the ε of the sums.

        Those of its lines, as JSON has them; and what members have confirmed by their own ledgers
        in rounds that no line tells of, for the run was cut off.
        """
        training = self.settings.training
        if self.noise is None:
            return []
        step = self.noise.noise_multiplier, training.sampling_rate, training.steps_per_round
        alone = None if training.kind == "gradient-sum" else 1
        agreement = self.agreement(arm)
        known = [
            (line["round"], tuple(one["survivors"]))
            for line in rounds
            for one in line["sums"]
            if confirmed(one)
        ]
        found = [Summed(names, *step, alone) for _, names in known]
        told = {(number, name) for number, names in known for name in names}
        for name in arm.members:
            own = ledger.latched(self._asset(name), agreement.digest(), "survivors")
            untold = sum((number, name) not in told for number in own)
            found += untold * [Summed((name,), *step, alone or agreement.fewest_survivors)]
        return found

    def most_charges(self, arm: Arm, ledger: BudgetLedger) -> int:
        """How often the member was charged for this arm that was charged most often."""
        digest = self.agreement(arm).digest()
        histories = (ledger.history(self._asset(name)) for name in arm.members)
        return max(
            sum(one.agreement == digest and one.state != "REFUNDED" for one in history)
            for history in histories
        )

    def _asset(self, name: str) -> str:
        """The first of a member's accounts: the others are charged with it."""
        return self._assets(name)[0]

    def _assets(self, name: str) -> tuple[str, ...]:
        return self.federation.member(name).assets

    def epsilon(self, rounds: int) -> float | None:
        """ε (PLD) of so many rounds of this task."""
        if self.noise is None:
            return None
        if not rounds:
            return 0.0
        training = self.settings.training
        step = (self.noise.noise_multiplier, training.sampling_rate)
        return epsilon_of({step: rounds * training.steps_per_round}, self.federation.privacy.delta)

    def agreement(self, arm: Arm) -> Agreement:
        """What the members of an arm agree on; those that are no federation mask nothing."""
        settings, aggregation = self.settings, self.federation.aggregation
        if not arm.private:
            training = settings.training.model_copy(update={"kind": "local-steps", "metrics": ()})
            changed = {"server": ServerSettings(), "training": training}
            settings = settings.model_copy(update=changed)
        if arm.key != "federated":
            aggregation = AggregationSettings(mode="open")
        return agree(
            self.federation,
            settings,
            fingerprint=self.fingerprint,
            start=self.start,
            weights=len(self.learner.start()),
            noise_multiplier=self.noise.noise_multiplier if arm.private and self.noise else 0.0,
            roster=roster_of(self.federation.name, self.seed, arm.members),
            aggregation=aggregation,
        )

    def signed(self, arm: Arm) -> SignedAgreement:
        """The same, signed by all of them."""
        found = SignedAgreement.unsigned(self.agreement(arm))
        for name in sorted(arm.members):
            found = found.sign(name, key_of(self.seed, name))
        return found

    def member(
        self,
        name: str,
        arm: Arm,
        agreement: Agreement,
        ledger: Ledger,
        level: float | None,
    ) -> AnyMember:
        """One member of an arm.

        Args:
            name: whose.
            arm: in which it takes part.
            agreement: of the arm.
            ledger: in which the accounts of a private arm are open.
            level: where its adaptive clipping starts; None at the beginning.
        """
        records = self.data.train[name]
        if not arm.private or self.noise is None:
            train = self.learner.plain(records.records(), self.settings.rounds)
            return UnprotectedMember(name, agreement, train, key_of(self.seed, name))
        policy, filter_ = agreement.policy, self._budget(name, self.noise)
        private = self.learner.trainer(records.each, policy, self._randomness(arm, name), level)
        asset, *others = self._assets(name)
        return Member(
            name,
            asset,
            agreement,
            filter_.cost(policy.noise_multiplier, policy.sampling_rate, policy.steps_per_round),
            allowance(self.settings, filter_),
            ledger,
            self.observe(private),
            key_of(self.seed, name),
            others=others,
            simulated=True,
        )

    def _budget(self, name: str, noise: Noise) -> Filter:
        organization = next(o for o in self.federation.members if o.name == name)
        return budget(self.federation, organization, noise.calibration)

    def _open_accounts(
        self, arm: Arm, agreement: Agreement, ledger: BudgetLedger
    ) -> dict[str, str]:
        """The account that shows what each member of a private arm was charged; all are open."""
        if not arm.private or self.noise is None:
            return {}
        for name in arm.members:
            ledger.open_many_simulated(
                [(asset, name) for asset in self._assets(name)],
                unit=agreement.policy.unit,
                budget=self._budget(name, self.noise),
            )
        return {name: self._asset(name) for name in arm.members}

    def _drops(
        self, arm: Arm, agreement: Agreement, nodes: Mapping[str, int], done: int
    ) -> dict[int, Dropping]:
        """For each node its losses in the rounds after those that are done."""
        rate = self.dropout if arm.key == "federated" else 0.0
        steps = len(STEPS) if agreement.aggregation.masked else 1
        which = [t.name for t in self.federation.tasks].index(self.settings.name)
        found = {}
        for number, name in enumerate(arm.members):
            found[nodes[name]] = one = Dropping(rate, steps, [self.seed, which, number])
            for _ in range(done):
                one.begin()
        return found

    def _randomness(self, arm: Arm, name: str) -> Callable[[Receipt], SecureGenerator]:
        if self.secret:
            return lambda _receipt: SecureGenerator()
        task = self.settings.name
        return lambda receipt: SeededGenerator(self.seed, arm.name, task, name, receipt.round)

    def _line(
        self,
        outcome: Outcome,
        state: State,
        reports: Mapping[str, LocalReport],
        spent: Mapping[str, float],
        charged: tuple[str, ...],
    ) -> Round:
        start = time.perf_counter()
        metrics = self._figures(state, self.glimpse) if self.glimpse else {}
        return Round(
            outcome.round,
            metrics,
            outcome.survivors,
            charged,
            outcome.refusals,
            spent,
            outcome.seconds + time.perf_counter() - start,
            {name: asdict(report) for name, report in reports.items()},
            outcome.weights,
            {key: asdict(one) for key, one in outcome.metrics.items()},
            [one.plain() for one in outcome.sums],
            outcome.changed,
        )

    def _figures(self, state: State, files: Sequence[SourceFile]) -> dict[str, float]:
        """What the model measures on ``files``; a model that has run away is an error."""
        if not files:
            return {}
        figures = dict(self.learner.measure(state.released, files))
        wrong = [key for key, value in figures.items() if not isfinite(value)]
        if wrong:
            raise TrainingError(
                f"{wrong[0]} is not finite after round {state.round} of {self.settings.name}",
                "lower the learning rates",
            )
        return figures

    def _centralized(self, state: State) -> State:
        records = [r for corpus in self.data.train.values() for r in corpus.records()]
        change, _ = self.learner.plain(records, 1)(state.weights, 1)
        return State(self.settings.rounds, state.weights + change)
