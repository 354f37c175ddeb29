# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization's people look at before they say yes, and afterwards."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcode.budgets import budget, calibrated, rounds_covered
from fedcode.corpus import arrange, asset_of, cache_folder, read, with_owners
from fedcode.corpus import register as registered
from fedcode.errors import ConfigError
from fedcode.federation import OWN, Federation
from fedcode.privacy.accountant import epsilon
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.policy import check_population
from fedcode.record import units


@dataclass(frozen=True, slots=True)
class TaskPreview:
    """One task, as it would be for this organization.

    Attributes:
        task: its name.
        rounds: that the federation plans.
        rounds_affordable: that our own cap pays for, of this task's share.
        expected_batch: privacy units that a step looks at, on average.
        noise_multiplier: σ.
        epsilon: of all planned rounds (PLD).
    """

    task: str
    rounds: int
    rounds_affordable: int
    expected_batch: float
    noise_multiplier: float
    epsilon: float


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be asked of an organization."""

    files: int
    records: int
    epsilon_cap: float
    epsilon: float
    tasks: tuple[TaskPreview, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account of a ledger.

    Attributes:
        left: the unspent share of the budget of Rényi divergence, which stops training.
        seeded: it was opened for a simulation, whose noise can be drawn again.
    """

    asset: str
    organization: str
    unit: str
    epsilon_cap: float
    epsilon_spent: float
    delta: float
    charges: int
    left: float
    seeded: bool

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def asset(source: str, *, register: bool) -> str:
    """The account that pays for a source; a folder without history is named if asked for."""
    scheme, _, folder = source.partition(":")
    if register and scheme == "path":
        return registered(Path(folder))
    return asset_of(source)


def preview(federation: Federation, name: str, workers: int) -> Preview:
    """Reads our own code and says what the federation would ask of it.

    Raises:
        ConfigError: we are no member, or our data is too small for what is asked.
    """
    ours = next((o for o in federation.members if o.name == name), None)
    if ours is None:
        members = ", ".join(o.name for o in federation.members)
        raise ConfigError(f"{name} is no member of {federation.name}", f"members: {members}")
    if ours.source == OWN:
        raise ConfigError(
            f"{federation.name} does not say where the code of {name} lies",
            "give it a source, or preview what an agent is offered",
        )
    corpus = read(
        ours.source, name, max_tokens=ours.max_tokens, cache=cache_folder(), workers=workers
    )
    unit = federation.privacy.unit
    corpus = with_owners(corpus, ours.source, unit, cache=cache_folder(), workers=workers)
    splits = arrange([("train", corpus)], corpus, federation.heldout_every)
    records = len(splits.train[0].records())
    population = len(units(splits.train[0].records(), unit))
    calibration = calibrated(federation)
    own = budget(federation, ours, calibration)
    tasks: list[TaskPreview] = []
    steps: dict[tuple[float, float], int] = {}
    for task, noise in zip(federation.tasks, calibration.noise_multipliers, strict=True):
        training, privacy = task.training, federation.privacy
        check_population(population, privacy.delta, training.sampling_rate, unit)
        step, taken = (noise, training.sampling_rate), task.rounds * training.steps_per_round
        steps[step] = steps.get(step, 0) + taken
        tasks.append(
            TaskPreview(
                task.name,
                task.rounds,
                rounds_covered(task, noise, own),
                population * training.sampling_rate,
                noise,
                epsilon({step: taken}, privacy.delta),
            )
        )
    return Preview(
        len(corpus.files),
        records,
        federation.cap(ours),
        epsilon(steps, federation.privacy.delta),
        tuple(tasks),
    )


def accounts(ledger: BudgetLedger, units: int = 1) -> list[AccountRow]:
    """Every account of ``ledger``, in the order of opening; ε for the owner of so many units."""
    return [
        AccountRow(
            account.asset,
            account.organization,
            str(account.unit),
            account.budget.epsilon,
            ledger.epsilon(account.asset, units),
            account.budget.delta,
            ledger.charges(account.asset),
            ledger.remaining(account.asset) / max(1, account.budget.budget_nano),
            account.seeded,
        )
        for account in ledger.accounts()
    ]
