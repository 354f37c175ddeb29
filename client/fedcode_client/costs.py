# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What rounds cost an account, at the account's own order, and how many of them it still pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcode.agreement import Agreement
from fedcode.budgets import calibrated, permitted_rounds
from fedcode.errors import ConfigError
from fedcode.federation import Federation, OrganizationSettings
from fedcode.privacy.accountant import epsilon, price
from fedcode.rounds.verification import read
from fedcode_client.budget.totals import AccountTotals


@dataclass(frozen=True, slots=True)
class RoundsLeft:
    """An agreement that was accepted.

    Attributes:
        asset: the account that pays.
        agreement: its digest.
        task: its name.
        planned: rounds of the agreement.
        charged: how many of them were charged; one that was missed is not, and does not come again.
        left: rounds that are to come and that the account's budget pays for.
    """

    asset: str
    agreement: str
    task: str
    planned: int
    charged: int
    left: int

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a federation would cost an account.

    Attributes:
        asset: the account.
        epsilon: of all planned rounds of all tasks (PLD).
        share: of the whole budget that they cost; above 1 if it does not pay for them.
        left: the share of the budget that is left now.
        after: the share that would be left; below 0 if it does not pay for them.
        rounds: by task, how many of the planned ones it pays for, one task after another.
        limit: the cap that leaves least now, in words.
    """

    asset: str
    epsilon: float
    share: float
    left: float
    after: float
    rounds: dict[str, int]
    limit: str

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def accepted(state: Path) -> list[Agreement]:
    """The agreements that the organization has signed, by its agent's records."""
    paths = sorted(state.glob("agreements/*/agreement-*.json"))
    return [read(path).agreement for path in paths]


def rounds_left(accounts: list[AccountTotals], agreements: list[Agreement]) -> list[RoundsLeft]:
    """How far each account goes on with each agreement of its unit."""
    return [
        _left(account, agreement)
        for agreement in agreements
        for account in accounts
        if account.unit == agreement.unit
        and (agreement.digest() in account.agreements or len(accounts) == 1)
    ]


def _left(account: AccountTotals, agreement: Agreement) -> RoundsLeft:
    part = account.agreements.get(agreement.digest())
    charged, done = (part.charges, part.rounds) if part else (0, 0)
    training = agreement.training
    each = price(
        account.order,
        agreement.noise_multiplier,
        training.sampling_rate,
        training.steps_per_round,
    )
    left = min(agreement.rounds - done, account.available(agreement.purpose) // each)
    return RoundsLeft(
        account.asset, agreement.digest(), agreement.task, agreement.rounds, charged, left
    )


def costs(
    accounts: list[AccountTotals], federation: Federation, *, name: str | None = None
) -> list[Cost]:
    """What ``federation`` would cost every account of its unit; nothing is charged.

    Args:
        accounts: that might pay.
        federation: its settings.
        name: ours in it; without it a member is meant that has no cap of its own.

    Raises:
        ConfigError: there is no such account.
    """
    unit = str(federation.privacy.unit)
    ours = [one for one in accounts if one.unit == unit and not one.seeded]
    if not ours:
        raise ConfigError(
            f"no account has the unit {unit}",
            f"fedcode-client budget create SOURCE --policy POLICY.toml --unit {unit}",
        )
    calibration = calibrated(federation)
    organization = federation.member(name) if name else OrganizationSettings(name="any")
    permitted = permitted_rounds(federation, organization, calibration)
    noises = calibration.noise_multipliers
    return [_cost(account, federation, noises, permitted) for account in ours]


def _cost(
    account: AccountTotals,
    federation: Federation,
    noises: tuple[float, ...],
    permitted: Mapping[str, int],
) -> Cost:
    steps: dict[tuple[float, float], int] = {}
    rounds, whole = {}, 0
    left = available = account.available(federation.purpose)
    for task, noise in zip(federation.tasks, noises, strict=True):
        training = task.training
        key, taken = (noise, training.sampling_rate), training.steps_per_round
        each = price(account.order, noise, training.sampling_rate, taken)
        steps[key] = steps.get(key, 0) + task.rounds * taken
        rounds[task.name] = min(permitted[task.name], left // each)
        left -= rounds[task.name] * each
        whole += task.rounds * each
    budget = max(1, account.budget_nano)
    limits = (one for one in account.caps if one.purpose in (None, federation.purpose))
    return Cost(
        account.asset,
        epsilon(steps, federation.privacy.delta),
        whole / budget,
        available / budget,
        (available - whole) / budget,
        rounds,
        min(limits, key=lambda one: one.left_nano).what,
    )
