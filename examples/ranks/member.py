# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One member's rounds on several devices of its own: a language model on an installed package.

    torchrun --standalone --nproc-per-node 2 examples/ranks/member.py

Every process runs all of this file. Rank 0 is the member: it alone has a ledger, draws, adds noise
and answers. Here it also plays the coordinator, who has one member only, so that nothing can be
masked. The account is a simulation's, for no officer has signed a policy; the noise is secret all
the same.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from fedcode.agreement import Agreement
from fedcode.corpus.reading import read
from fedcode.federation import AggregationSettings, ServerSettings, TrainingSettings
from fedcode.identity import Roster
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import PrivacyUnit
from fedcode.rounds.member import Member
from fedcode.signing import SigningKey
from fedcode.tasks.completion import CompletionTask
from fedcode.training import network
from fedcode.training.assist import assist
from fedcode.training.private import PrivateNetwork, PrivateTrainer
from fedcode.training.ranks import Distributed, Ranks
from fedcode.weights import Vector
from fedcode.wire import Plan, ReceivedUpdate, decode, encode, sign

ROUNDS, UNIT, NOISE = 3, PrivacyUnit.FILE, 1.0
BUDGET = Filter.for_budget(epsilon=20.0, delta=1e-3, order=3.0)
SETTINGS = TrainingSettings(
    steps_per_round=2, sampling_rate=0.2, nominal_batch=20, clipping="adaptive", learning_rate=2.0
)
MODEL = {"vocabulary": 512, "embedding": 16, "hidden": 32, "record_pieces": 64}


def main(organization: str = "package:opacus") -> None:
    """Trains, or assists."""
    torch.manual_seed(1)  # weights that are not trained must be the same on all ranks
    task = CompletionTask.make(MODEL, read("stdlib", "public", max_tokens=20_000))
    own = PrivateNetwork(task.build())
    records = read(organization, "organization", max_tokens=60_000).records()
    weights = network.read(own.model)
    policy = PrivacyPolicy(
        UNIT,
        SETTINGS.clipping_norm,
        SETTINGS.coordinates(len(weights)),
        NOISE,
        SETTINGS.sampling_rate,
        SETTINGS.steps_per_round,
        BUDGET.delta,
        BUDGET.epsilon,
    )
    with Distributed() as ranks:
        if ranks.rank:
            steps = assist(task, own, records, SETTINGS, policy, ranks)
            print(f"rank {ranks.rank} on {network.device()} assisted in {steps} steps", flush=True)
            return
        trainer = PrivateTrainer(
            task, own, records, SETTINGS, policy, lambda _: SecureGenerator(), ranks=ranks
        )
        rounds(task, trainer, weights, ranks)


def rounds(
    task: CompletionTask,
    trainer: PrivateTrainer[Any, Any],
    weights: Vector,
    ranks: Ranks,
) -> None:
    """Plans, and what the member answers."""
    key, coordinator = SigningKey.generate(), SigningKey.generate()
    agreement = Agreement(
        federation="ranks",
        purpose="research",
        task=task.name,
        task_fingerprint=task.fingerprint(),
        start="0" * 64,  # every rank makes the same network
        weights=len(weights),
        rounds=ROUNDS,
        roster=Roster("ranks", 1, "", coordinator.public, (("organization", key.public),)),
        unit=UNIT,
        epsilon=BUDGET.epsilon,
        delta=BUDGET.delta,
        noise_multiplier=NOISE,
        training=SETTINGS,
        server=ServerSettings(),
        aggregation=AggregationSettings(mode="open"),
    )
    cost = BUDGET.cost(NOISE, SETTINGS.sampling_rate, SETTINGS.steps_per_round)
    with BudgetLedger.open(":memory:") as ledger:
        ledger.open_simulated("code", organization="organization", unit=UNIT, budget=BUDGET)
        member = Member(
            "organization", "code", agreement, cost, BUDGET.budget_nano, ledger, trainer,
            key, simulated=True,
        )  # fmt: skip
        for number in range(1, ROUNDS + 1):
            plan = sign(Plan(agreement.digest(), number, ("organization",), weights), coordinator)
            said = member.answer(encode(plan))
            answer = decode(said, weights=len(weights), length=agreement.length)
            if not isinstance(answer, ReceivedUpdate):
                sys.exit(f"round {number}: {answer}; {member.error}")
            weights = weights + answer.values
            loss = "none" if member.report.loss is None else f"{member.report.loss:.2f}"
            print(
                f"round {number} on {ranks.size} ranks: loss {loss}, "
                f"{member.report.examples} records, ε {ledger.epsilon('code'):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
