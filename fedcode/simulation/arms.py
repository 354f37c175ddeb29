# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The arms of a comparison: the same rounds with other members, or without privacy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from fedcode.agreement import Agreement, agree, allowance, budget
from fedcode.errors import TrainingError
from fedcode.federation import Federation, ServerSettings, TaskSettings
from fedcode.privacy.accountant import epsilon as epsilon_of
from fedcode.privacy.calibration import Calibration
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import SourceFile
from fedcode.rounds.coordinator import Coordinator, Outcome, State
from fedcode.rounds.member import Member
from fedcode.simulation.dataset import Dataset, all_files
from fedcode.simulation.learners import Learner
from fedcode.simulation.unprotected import UnprotectedMember
from fedcode.task import Metrics
from fedcode.trainer import LocalReport, Trainer
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid

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
    refusals: Mapping[str, str]
    epsilon: Mapping[str, float]
    seconds: float
    local: Mapping[str, Mapping[str, Any]]
    weights: str

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
        glimpse: files that every round is measured on.
        noise: None in a run without privacy.
        seed: of training and of the noise.
        secret: take the noise from the system, not from the seed.
        observe: looks over a private trainer's shoulder.
    """

    federation: Federation
    settings: TaskSettings
    data: Dataset
    learner: Learner
    fingerprint: str
    glimpse: list[SourceFile]
    noise: Noise | None
    seed: int
    secret: bool = False
    observe: Callable[[Trainer], Trainer] = lambda trainer: trainer

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
        agreement = self._agreement(arm)
        levels = {
            name: part.get("level") for line in before for name, part in line["local"].items()
        }
        members = {
            name: self._member(name, arm, agreement, ledger, levels.get(name))
            for name in arm.members
        }
        grid = InMemoryGrid({name: member_app(m.answer) for name, m in members.items()})
        coordinator = Coordinator(agreement, grid, grid.nodes)
        while state.round < agreement.rounds:
            state, outcome = coordinator.run(state)
            for member in members.values():
                if isinstance(member, Member) and member.error is not None:
                    raise member.error
            line = self._line(outcome, state, members, ledger)
            if not after(state, line) or not outcome.survivors:
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

    def epsilon(self, rounds: int) -> float | None:
        """ε (PLD) of so many rounds of this task."""
        if self.noise is None:
            return None
        if not rounds:
            return 0.0
        training = self.settings.training
        step = (self.noise.noise_multiplier, training.sampling_rate)
        return epsilon_of({step: rounds * training.steps_per_round}, self.federation.privacy.delta)

    def _agreement(self, arm: Arm) -> Agreement:
        settings = self.settings
        if not arm.private:
            settings = settings.model_copy(update={"server": ServerSettings()})
        return agree(
            self.federation,
            settings,
            fingerprint=self.fingerprint,
            weights=len(self.learner.start()),
            noise_multiplier=self.noise.noise_multiplier if arm.private and self.noise else 0.0,
            roster=arm.members,
        )

    def _member(
        self,
        name: str,
        arm: Arm,
        agreement: Agreement,
        ledger: BudgetLedger,
        level: float | None,
    ) -> Member | UnprotectedMember:
        records = self.data.train[name].records()
        if not arm.private or self.noise is None:
            train = self.learner.plain(records, self.settings.rounds)
            return UnprotectedMember(name, agreement, train)
        policy = self.policy()
        organization = next(o for o in self.federation.members if o.name == name)
        filter_ = budget(self.federation, organization, self.noise.calibration)
        ledger.open_simulated(
            organization.source, organization=name, unit=policy.unit, budget=filter_
        )
        private = self.learner.private(records, policy, self._randomness(arm, name), level)
        return Member(
            name,
            organization.source,
            agreement,
            filter_.cost(policy.noise_multiplier, policy.sampling_rate, policy.steps_per_round),
            allowance(self.settings, filter_),
            ledger,
            self.observe(private),
            simulated=True,
        )

    def policy(self) -> PrivacyPolicy:
        """What one round does to a member's data."""
        if self.noise is None:
            raise TrainingError("a run without privacy has no policy")
        training, privacy = self.settings.training, self.federation.privacy
        return PrivacyPolicy(
            unit=privacy.unit,
            clipping_norm=training.clipping_norm,
            weights=training.coordinates(len(self.learner.start())),
            noise_multiplier=self.noise.noise_multiplier,
            sampling_rate=training.sampling_rate,
            steps_per_round=training.steps_per_round,
            delta=privacy.delta,
            max_epsilon=privacy.epsilon,
        )

    def _randomness(self, arm: Arm, name: str) -> Callable[[Receipt], SecureGenerator]:
        if self.secret:
            return lambda _receipt: SecureGenerator()
        task = self.settings.name
        return lambda receipt: SeededGenerator(self.seed, arm.name, task, name, receipt.round)

    def _line(
        self,
        outcome: Outcome,
        state: State,
        members: Mapping[str, Member | UnprotectedMember],
        ledger: BudgetLedger,
    ) -> Round:
        start = time.perf_counter()
        metrics = self._figures(state, self.glimpse) if self.glimpse else {}
        local: dict[str, Mapping[str, Any]] = {}
        spent = {}
        for name, member in members.items():
            if isinstance(member, Member):
                if name in outcome.survivors:
                    local[name] = asdict(member.report)
                spent[name] = ledger.epsilon(member.asset)
            else:
                local[name] = asdict(LocalReport(member.loss))
        return Round(
            outcome.round,
            metrics,
            outcome.survivors,
            {name: str(code) for name, code in outcome.refusals.items()},
            spent,
            outcome.seconds + time.perf_counter() - start,
            local,
            outcome.weights,
        )

    def _figures(self, state: State, files: Sequence[SourceFile]) -> dict[str, float]:
        """What the model measures on ``files``; a model that has run away is an error."""
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
