# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Audits a finished run: one organization's training once more, with canaries and secrets in it.

Everything is as the run's manifest says, but for the noise: it is secret, as it would be outside of
a simulation. The charges go to a ledger of their own, in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedcode.errors import ConfigError
from fedcode.privacy.accountant import epsilon
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.one_run import Guesses, one_run_finding, plan_canaries, plan_guesses
from fedcode.record import Record, units
from fedcode.rounds.coordinator import State
from fedcode.simulation.arms import Arm, Bench, Noise
from fedcode.simulation.canaries import Secret, canaries, planted, public_words, secrets
from fedcode.simulation.jobs import Job, Prepared, learner_of, prepare, run, start_file
from fedcode.simulation.learners import GradientLearner, Learner
from fedcode.simulation.memory import ASKED, COPIES, GIVEN, PASSES, exposures, extraction
from fedcode.task import Generates, counts_of, gradients_of
from fedcode.trainer import Trainer
from fedcode.training.observer import (
    ObservedTrainer,
    Seen,
    count_scores,
    gradient_scores,
    over_rounds,
)

_DECOYS = 256


@dataclass(frozen=True, slots=True)
class AuditJob:
    """One task to audit.

    Attributes:
        federation: the run's configuration.
        task: which of its tasks.
        organization: the member whose training is repeated.
        noise: as the run had it.
        canaries: how many; None for as few as could show more than is claimed.
    """

    federation: Mapping[str, Any]
    task: str
    organization: str
    noise: Noise
    canaries: int | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """The audited training, and what was seen of it.

    Attributes:
        rounds: what left the organization.
        state: the weights at the end, and what is handed out of them.
        claimed: ε of what the run was charged.
    """

    rounds: Sequence[Seen]
    state: State
    claimed: float


def audit(job: AuditJob) -> dict[str, Any]:
    """Audits one task.

    Returns:
        Its entry in ``audit.json`` (docs/audit.md), but for the training without privacy.

    Raises:
        ConfigError: the organization takes part in no round, or has no room for canaries.
    """
    start = time.perf_counter()
    prepared, base = _prepare(job)
    number, choices = _plan(job, prepared)
    words = public_words(prepared.data.public)
    draw = np.random.default_rng(base.seed)
    made = canaries(words, prepared.task.labels, number + _DECOYS, draw)
    hidden = _hidden(base, prepared)
    coins = np.zeros(number, np.bool_)
    coins[SecureGenerator().poisson_sample(number, 0.5)] = True
    extra = [c for c, inside in zip(made, coins, strict=False) if inside]
    trained = _train(base, prepared, [*extra, *_copies(hidden)])
    if not trained.rounds:
        raise ConfigError(
            f"{job.organization} takes part in no round of {job.task}", "audit another organization"
        )
    training = prepared.settings.training
    a_round = 1 - (1 - training.sampling_rate) ** training.steps_per_round
    scores = over_rounds(_scores(base, prepared, made, trained)[:, :number], a_round)
    delta = prepared.federation.privacy.delta
    finding = one_run_finding(scores, coins, choices, trained.claimed, delta)
    return {
        "name": job.task,
        "one_run": asdict(finding) | {"broken": finding.broken},
        "memory": {
            "given": GIVEN,
            "asked": ASKED,
            "private": _by_heart(base, prepared, hidden, _network(base, prepared, trained)),
        }
        if hidden
        else None,
        "seconds": time.perf_counter() - start,
    }


def without_privacy(job: AuditJob) -> dict[str, Any]:
    """What a task's model learns by heart from the same records without privacy.

    The start and the secrets are the same; there are no canaries, and several whole passes.

    Returns:
        Entries of ``memory`` in ``audit.json`` (docs/audit.md).
    """
    prepared, base = _prepare(job)
    hidden = _hidden(base, prepared)
    plain = prepared.settings.plain
    passes = max(PASSES, plain.epochs)
    settings = prepared.settings.model_copy(
        update={"plain": plain.model_copy(update={"epochs": passes})}
    )
    learner = learner_of(
        replace(base, arm=Arm("federated-plain", (job.organization,)), noise=None),
        replace(prepared, settings=settings),
    )
    start = learner.start()
    own = prepared.data.train[job.organization].records()
    change, _ = learner.plain([*own, *_copies(hidden)], 1)(start, 1)
    model = _gradient(learner).model(start + change)
    return {"passes": passes, "plain": _by_heart(base, prepared, hidden, model)}


def _prepare(job: AuditJob) -> tuple[Prepared, Job]:
    """The task, and the run's own job of this organization alone, with its warm start."""
    prepared = prepare(json.dumps(job.federation, sort_keys=True), job.task)
    seed = prepared.federation.seed
    warm = run(Job(job.federation, job.task, seed))["warm"]
    arm = Arm("alone", (job.organization,))
    path = Path(warm) if warm else None
    return prepared, Job(job.federation, job.task, seed, arm, job.noise, warm=path)


def _hidden(base: Job, prepared: Prepared) -> list[Secret]:
    """The secrets, the same in every training; none where the model writes no code."""
    if not isinstance(prepared.task, Generates):
        return []
    draw = np.random.default_rng((base.seed, 1))
    return secrets(public_words(prepared.data.public), COPIES, draw)


def _plan(job: AuditJob, prepared: Prepared) -> tuple[int, Sequence[Guesses]]:
    """How many canaries and guesses, from what is public before the training."""
    training, delta = prepared.settings.training, prepared.federation.privacy.delta
    steps = prepared.settings.rounds * training.steps_per_round
    reached = 1 - (1 - training.sampling_rate) ** steps
    claimed = _claim(job, prepared)
    own = units(prepared.data.train[job.organization].records(), prepared.federation.privacy.unit)
    room = int(1 / delta) - len(own) - sum(COPIES) - 1
    if room < max(1, job.canaries or 0):
        raise ConfigError(
            f"with delta {delta:g}, {job.organization} has room for {max(0, room)} canaries",
            "ask for fewer, or audit a smaller organization",
        )
    number = job.canaries or plan_canaries(reached, claimed, delta, room)
    return number, plan_guesses(number, reached, claimed, delta)


def _claim(job: AuditJob, prepared: Prepared) -> float:
    """ε of all rounds of the task."""
    training = prepared.settings.training
    step = (job.noise.noise_multiplier, training.sampling_rate)
    steps = prepared.settings.rounds * training.steps_per_round
    return epsilon({step: steps}, prepared.federation.privacy.delta)


def _train(base: Job, prepared: Prepared, extra: Sequence[Record]) -> Trained:
    """The organization's rounds with ``extra`` among its records."""
    arm, name = _alone(base)
    watched: list[ObservedTrainer] = []

    def observe(trainer: Trainer) -> Trainer:
        watched.append(ObservedTrainer(trainer))
        return watched[-1]

    bench = Bench(
        federation=prepared.federation,
        settings=prepared.settings,
        data=replace(prepared.data, train={name: planted(prepared.data.train[name], extra)}),
        learner=learner_of(base, prepared),
        fingerprint=prepared.task.fingerprint(),
        start=start_file(base, prepared).digest,
        glimpse=[],
        noise=base.noise,
        seed=base.seed,
        secret=True,
        observe=observe,
    )
    asset = prepared.federation.member(name).assets[0]
    with BudgetLedger.open(":memory:") as ledger:
        state = bench.run(arm, ledger)
        return Trained(watched[0].seen, state, ledger.epsilon(asset))


def _alone(base: Job) -> tuple[Arm, str]:
    """The arm, and the organization that is alone in it."""
    if base.arm is None or len(base.arm.members) != 1:
        raise TypeError("one organization is audited at a time")
    return base.arm, base.arm.members[0]


def _copies(hidden: Sequence[Secret]) -> list[Record]:
    return [record for secret in hidden for record in secret.records()]


def _scores(
    base: Job, prepared: Prepared, made: Sequence[Record], trained: Trained
) -> NDArray[np.float64]:
    """How much each canary seems to be in each update; the last ones made are decoys."""
    counting, task = counts_of(prepared.task), gradients_of(prepared.task)
    if counting is not None:
        return count_scores(counting, made, trained.rounds)
    if task is None:
        raise TypeError("a task has gradients or counts")
    examples = task.examples(made)
    if len(examples) != len(made):
        raise ConfigError(
            f"{task.name} makes no example of a function of {len(made[0].tokens)} names",
            "a canary must be an example",
        )
    model = _network(base, prepared, trained)
    known, decoys = examples[:-_DECOYS], examples[-_DECOYS:]
    return gradient_scores(task, model, known, trained.rounds, decoys)


def _network(base: Job, prepared: Prepared, trained: Trained) -> nn.Module:
    """The network at the end of the private training, without hooks."""
    return _gradient(learner_of(base, prepared)).model(trained.state.released)


def _gradient(learner: Learner) -> GradientLearner:
    if not isinstance(learner, GradientLearner):
        raise TypeError("a network was expected")
    return learner


def _by_heart(
    base: Job, prepared: Prepared, hidden: Sequence[Secret], model: nn.Module
) -> dict[str, Any]:
    """What ``model`` has learned; every model is asked the same questions."""
    task, writer = gradients_of(prepared.task), prepared.task
    if task is None or not isinstance(writer, Generates):
        raise TypeError("the task writes no code")
    name = _alone(base)[1]
    draw = np.random.default_rng((base.seed, 2))
    own, elsewhere = prepared.data.train[name], prepared.data.heldout[name]
    return {
        "exposure": exposures(task, model, hidden, draw),
        "trained_on": extraction(writer, model, own.records(), draw),
        "held_out": extraction(writer, model, elsewhere.records(), draw),
    }
