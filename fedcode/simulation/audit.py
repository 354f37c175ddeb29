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
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.one_run import (
    Guesses,
    OneRunFinding,
    one_run_finding,
    plan_canaries,
    plan_guesses,
)
from fedcode.record import Corpus, Record
from fedcode.rounds.coordinator import State
from fedcode.simulation.arms import Arm, Bench, Noise
from fedcode.simulation.canaries import Secret, canaries, planted, public_words, secrets
from fedcode.simulation.jobs import Job, Prepared, learner_of, prepare, run
from fedcode.simulation.learners import GradientLearner
from fedcode.simulation.memory import ASKED, COPIES, GIVEN, PASSES, exposures, extraction
from fedcode.task import Generates, GradientTask, counts_of, gradients_of
from fedcode.trainer import Trainer
from fedcode.training.observer import ObservedTrainer, Seen, count_scores, gradient_scores

_DECOYS = 128


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
        state: the weights at the end.
        claimed: ε of what the run was charged.
    """

    rounds: Sequence[Seen]
    state: State
    claimed: float


def audit(job: AuditJob) -> dict[str, Any]:
    """Audits one task.

    Returns:
        Its entry in ``audit.json`` (docs/audit.md).

    Raises:
        ConfigError: the organization takes part in no round, or has no room for canaries.
    """
    start = time.perf_counter()
    prepared = prepare(json.dumps(job.federation, sort_keys=True), job.task)
    seed = int(job.federation["seed"])
    draw = np.random.default_rng(seed)
    base = Job(job.federation, job.task, seed, Arm("alone", (job.organization,)), job.noise)
    warm = run(replace(base, arm=None, noise=None))["warm"]
    base = replace(base, warm=Path(warm) if warm else None)
    number, choices = _plan(job, prepared)
    words = public_words(prepared.data.public)
    made = canaries(words, prepared.task.labels, number + _DECOYS, draw)
    hidden = secrets(words, COPIES, draw) if isinstance(prepared.task, Generates) else []
    coins = np.zeros(number, np.bool_)
    coins[SecureGenerator().poisson_sample(number, 0.5)] = True
    extra = [c for c, inside in zip(made, coins, strict=False) if inside]
    bench, trained = _train(base, prepared, [*extra, *_copies(hidden)])
    if not trained.rounds:
        raise ConfigError(
            f"{job.organization} takes part in no round of {job.task}", "audit another organization"
        )
    scores = _scores(base, prepared, made, trained)[:number]
    delta = prepared.federation.privacy.delta
    finding = one_run_finding(scores, coins, choices, trained.claimed, delta)
    return {
        "name": job.task,
        "one_run": told(finding),
        "memory": _memory(base, prepared, hidden, bench, trained, draw),
        "seconds": time.perf_counter() - start,
    }


def told(finding: OneRunFinding) -> dict[str, Any]:
    """A finding as ``audit.json`` has it."""
    return asdict(finding) | {"broken": finding.broken}


def _plan(job: AuditJob, prepared: Prepared) -> tuple[int, Sequence[Guesses]]:
    """How many canaries and guesses, from what is public before the training."""
    training, delta = prepared.settings.training, prepared.federation.privacy.delta
    steps = prepared.settings.rounds * training.steps_per_round
    reached = 1 - (1 - training.sampling_rate) ** steps
    claimed = _claim(job, prepared)
    room = int(1 / delta) - len(prepared.data.train[job.organization].records()) - sum(COPIES) - 1
    if room < max(1, job.canaries or 0):
        raise ConfigError(
            f"with delta {delta:g}, {job.organization} has room for {max(0, room)} canaries",
            "ask for fewer, or audit a smaller organization",
        )
    number = job.canaries or plan_canaries(reached, claimed, delta, room)
    return number, plan_guesses(number, reached, claimed, delta)


def _claim(job: AuditJob, prepared: Prepared) -> float:
    """ε of all rounds of the task."""
    from fedcode.privacy.accountant import epsilon

    training = prepared.settings.training
    step = (job.noise.noise_multiplier, training.sampling_rate)
    steps = prepared.settings.rounds * training.steps_per_round
    return epsilon({step: steps}, prepared.federation.privacy.delta)


def _train(base: Job, prepared: Prepared, extra: Sequence[Record]) -> tuple[Bench, Trained]:
    """The organization's rounds with ``extra`` among its records."""
    (name,) = base.arm.members if base.arm else ("",)
    watched: list[ObservedTrainer] = []

    def observe(trainer: Trainer) -> Trainer:
        watched.append(ObservedTrainer(trainer))
        return watched[-1]

    bench = Bench(
        federation=prepared.federation,
        settings=prepared.settings,
        data=replace(prepared.data, train={name: _with(prepared.data.train[name], extra)}),
        learner=learner_of(base, prepared),
        fingerprint=prepared.task.fingerprint(),
        glimpse=[],
        noise=base.noise,
        seed=base.seed,
        secret=True,
        observe=observe,
    )
    asset = next(o.source for o in prepared.federation.members if o.name == name)
    with BudgetLedger.open(":memory:") as ledger:
        state = bench.run(base.arm or Arm("public"), ledger)
        return bench, Trained(watched[0].seen, state, ledger.epsilon(asset))


def _with(corpus: Corpus, extra: Sequence[Record]) -> Corpus:
    return planted(corpus, extra) if extra else corpus


def _copies(hidden: Sequence[Secret]) -> list[Record]:
    return [record for secret in hidden for record in secret.records()]


def _scores(
    base: Job, prepared: Prepared, made: Sequence[Record], trained: Trained
) -> NDArray[np.float64]:
    """How much each canary seems to have been in; the last ones made are decoys."""
    counting, task = counts_of(prepared.task), gradients_of(prepared.task)
    if counting is not None:
        return count_scores(counting, made, trained.rounds)
    learner = learner_of(base, prepared)
    if task is None or not isinstance(learner, GradientLearner):
        raise TypeError("a task has gradients or counts")
    examples = task.examples(made)
    if len(examples) != len(made):
        raise ConfigError(
            f"{task.name} makes no example of a function of {len(made[0].tokens)} names",
            "a canary must be an example",
        )
    model = learner.model(trained.state.weights)
    known, decoys = examples[:-_DECOYS], examples[-_DECOYS:]
    return gradient_scores(task, model, known, trained.rounds, decoys)


def _memory(
    base: Job,
    prepared: Prepared,
    hidden: Sequence[Secret],
    bench: Bench,
    trained: Trained,
    draw: np.random.Generator,
) -> dict[str, Any] | None:
    """What the private model has learned by heart, and the same training without privacy."""
    task = gradients_of(prepared.task)
    if task is None or not hidden or not isinstance(bench.learner, GradientLearner):
        return None
    (name,) = base.arm.members if base.arm else ("",)
    own = prepared.data.train[name].records()
    elsewhere = prepared.data.heldout[name].records()
    private = _by_heart(
        task, bench.learner.model(trained.state.weights), hidden, own, elsewhere, draw
    )
    plain = _by_heart(
        task, _plainly(base, prepared, [*own, *_copies(hidden)]), hidden, own, elsewhere, draw
    )
    return {
        "given": GIVEN,
        "asked": ASKED,
        "passes": max(PASSES, prepared.settings.plain.epochs),
        "private": private,
        "plain": plain,
    }


def _by_heart(
    task: GradientTask[Any, Any],
    model: nn.Module,
    hidden: Sequence[Secret],
    own: Sequence[Record],
    elsewhere: Sequence[Record],
    draw: np.random.Generator,
) -> dict[str, Any]:
    if not isinstance(task, Generates):
        raise TypeError("the task does not write code")
    return {
        "exposure": exposures(task, model, hidden, draw),
        "trained_on": extraction(task, model, own, draw),
        "held_out": extraction(task, model, elsewhere, draw),
    }


def _plainly(base: Job, prepared: Prepared, records: Sequence[Record]) -> nn.Module:
    """The same start and the same records without privacy, in several whole passes."""
    plain = prepared.settings.plain
    whole = plain.model_copy(update={"epochs": max(PASSES, plain.epochs)})
    settings = prepared.settings.model_copy(update={"plain": whole})
    arm = Arm("federated-plain", base.arm.members if base.arm else ())
    learner = learner_of(replace(base, arm=arm, noise=None), replace(prepared, settings=settings))
    if not isinstance(learner, GradientLearner):
        raise TypeError("only a network is trained here")
    start = learner.start()
    change, _ = learner.plain(records, 1)(start, 1)
    return learner.model(start + change)
