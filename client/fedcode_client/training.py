# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A member of a run, made of what all have signed and of our own code.

What was signed is not taken from the coordinator: every number of the agreement is computed here
once more, from the federation's settings and the start files, and must come out the same.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fedcode.agreement import SignedAgreement
from fedcode.budgets import calibrated, permitted_rounds
from fedcode.corpus.labels import InjectedBugs
from fedcode.errors import ConfigError, PrivacyError
from fedcode.federation import Federation, TaskSettings, TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import Account, BudgetLedger, Ledger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy, check_population
from fedcode.privacy.receipt import Receipt
from fedcode.record import Corpus, PrivacyUnit, Record, population, units
from fedcode.rounds.member import Member
from fedcode.signing import SigningKey
from fedcode.start import Start, expected_agreement
from fedcode.task import AnyTask, gradients_of
from fedcode.tasks import make
from fedcode.training.batches import examples_by_unit
from fedcode.training.learner import private_learner
from fedcode_client.ours import Ours, StartFiles


def member(
    federation: Federation,
    signed: SignedAgreement,
    files: StartFiles,
    ours: Ours,
    ledger: Ledger,
    key: SigningKey,
    name: str,
    *,
    memory_mib: int | None = None,
) -> Member:
    """Our half of the rounds of one agreement.

    Args:
        federation: its settings, as we were sent them.
        signed: what all members have signed.
        files: what training starts from.
        ours: our code.
        ledger: ours; the account of our code is open.
        key: the one that the roster names.
        name: ours in the federation.
        memory_mib: for the tensors of a step, where it is not what the settings say.

    Raises:
        PrivacyError: not all have signed, it is not what settings and files give, or our account
            is not of its kind.
        UsageError: our code is too little, or has no account.
    """
    agreed = signed.agreement
    signed.check()
    settings, organization = federation.task(agreed.task), federation.member(name)
    start = files.starts[agreed.task]
    expected = expected_agreement(federation, agreed.task, start, agreed.roster)
    if expected.digest() != agreed.digest():
        raise PrivacyError(
            f"the agreement on {agreed.task} is not what its settings and start files give"
        )
    task = make(settings.name, settings.model, files.public)
    corpus, permitted = _permitted(federation, files, ours, task)
    records = corpus.each
    _check_units(federation, settings, records, name)
    account, *others = _accounts(ours, ledger)
    policy = agreed.policy
    rounds = permitted_rounds(federation, organization, calibrated(federation))[agreed.task]
    step = (policy.noise_multiplier, policy.sampling_rate)
    cost = account.budget.cost(*step, policy.steps_per_round)
    trainer = private_learner(task, start, own(settings.training, memory_mib)).trainer(
        records, policy, _secret
    )
    made = Member(
        name,
        account.asset,
        agreed,
        cost,
        rounds * cost.nano,
        ledger,
        trainer,
        key,
        others=[other.asset for other in others],
    )
    made.permitted = permitted
    return made


def _accounts(ours: Ours, ledger: Ledger) -> list[Account]:
    """All that pay."""
    found = []
    for asset in ours.assets:
        account = ledger.account(asset)
        if account is None:
            raise ConfigError(
                f"{asset}, of {ours.source}, has no account in the ledger",
                "fedcode-client budget create SOURCE",
            )
        found.append(account)
    return found


def _permitted(
    federation: Federation, files: StartFiles, ours: Ours, task: AnyTask
) -> tuple[Corpus, Callable[[], None]]:
    """What is trained on, and what asks before every round whether it may be.

    It is asked each time: people accept what fails while the agent is up.
    """
    snapshots = ours.snapshots
    if snapshots is None:
        return ours.trained_on(federation, files.public, task.labels), lambda: None
    corpus, snapshot = ours.tested(federation, files.public, task.labels, snapshots)
    return corpus, partial(snapshots.check, snapshot)


def own(training: TrainingSettings, memory_mib: int | None) -> TrainingSettings:
    """With what is ours alone to say: it changes speed, not results."""
    if memory_mib is None:
        return training
    return training.model_copy(update={"memory_mib": memory_mib, "physical_batch": None})


def _secret(_receipt: Receipt) -> SecureGenerator:
    return SecureGenerator()


def _check_units(
    federation: Federation, settings: TaskSettings, records: Iterable[Record], name: str
) -> None:
    privacy = federation.privacy
    rate = settings.training.sampling_rate
    members = population(records, privacy.unit)
    check_population(members, privacy.delta, rate, privacy.unit, name)


# How long it would take.


def round_seconds(
    federation: Federation,
    task: str,
    files: StartFiles,
    ours: Ours,
    noise_multiplier: float,
    *,
    memory_mib: int | None = None,
) -> float | None:
    """How long a round's training would take here.

    One private step is timed on as many public records as a step would find of ours, with the noise
    of the federation: nothing is computed on our own records, for nobody has paid for it. Only how
    many they are is looked at.

    Returns:
        Seconds; None where no public record is of a kind that the task trains on.
    """
    settings, start = federation.task(task), files.starts[task]
    made = make(settings.name, settings.model, files.public)
    own_records = ours.trained_on(federation, files.public, made.labels).each
    expected = max(1, round(_expected(made, own_records, federation, settings)))
    pool = _trainable(made, files.public, federation.seed)
    chosen = list(itertools.islice(itertools.cycle(pool), expected))
    if not chosen:
        return None
    training = own(settings.training, memory_mib).model_copy(
        update={"sampling_rate": 1.0, "steps_per_round": 1}
    )
    step = _timed_step(made, start, training, chosen, noise_multiplier)
    return step * settings.training.steps_per_round


def _expected(
    task: AnyTask, records: Iterable[Record], federation: Federation, settings: TaskSettings
) -> float:
    """How many examples a step finds, on average."""
    unit, most = federation.privacy.unit, settings.training.records_per_unit
    gradients = gradients_of(task)
    found: Sequence[Sequence[Any]]
    if gradients is None:
        found = units(records, unit)
    else:
        found = examples_by_unit(gradients, records, unit)
    return settings.training.sampling_rate * sum(min(len(one), most) for one in found)


def _trainable(task: AnyTask, public: Corpus, seed: int) -> list[Record]:
    """Public records that the task makes an example of."""
    if task.labels == "defects":
        public = InjectedBugs(seed).label(public)
    gradients = gradients_of(task)
    if gradients is None:
        return public.records()
    return [record for record in public.records() if len(gradients.examples([record]))]


def _timed_step(
    task: AnyTask,
    start: Start,
    training: TrainingSettings,
    chosen: Sequence[Record],
    noise_multiplier: float,
) -> float:
    """Seconds of one private step on all of ``chosen``, paid for by an account of nobody's."""
    unit, delta = PrivacyUnit.FUNCTION, 1 / (len(chosen) + 1)
    policy = PrivacyPolicy(
        unit=unit,
        clipping_norm=training.clipping_norm,
        weights=training.coordinates(len(start.weights)),
        noise_multiplier=noise_multiplier,
        sampling_rate=1.0,
        steps_per_round=1,
        delta=delta,
        max_epsilon=_ENOUGH,
    )
    numbered = [replace(r, unit=type(r.unit)(f"{n}/{r.unit}")) for n, r in enumerate(chosen)]
    trainer = private_learner(task, start, training).trainer(numbered, policy, _secret)
    paid = Filter.for_budget(_ENOUGH, delta, 4.0)
    with BudgetLedger.open(":memory:") as ledger:
        ledger.open_simulated("public", organization="nobody", unit=unit, budget=paid)
        seconds = 0.0
        for number in (1, 2):  # the first one pays for what is prepared once
            receipt = ledger.charge(
                paid.cost(noise_multiplier, 1.0, 1),
                asset="public",
                agreement="timing",
                purpose="timing",
                task=task.name,
                round=number,
            )
            begun = time.perf_counter()
            trainer.train(start.weights.copy(), receipt)
            seconds = time.perf_counter() - begun
    return seconds


_ENOUGH = 1e6
"""An ε that pays for any noise: what is timed is public."""
