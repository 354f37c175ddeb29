# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What was spent of each account: in all, by purpose, by month and by agreement. No rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from fedcode.privacy.accountant import epsilon
from fedcode.privacy.ledger import Account, BudgetLedger, Charge, Left


@dataclass(frozen=True, slots=True)
class Part:
    """What charges of one kind come to.

    Attributes:
        nano: in the ledger's nano-units, refunds not counted.
        epsilon: of these alone (PLD).
        charges: how many.
        rounds: the last round that was charged.
    """

    nano: int
    epsilon: float
    charges: int
    rounds: int


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """One account.

    Attributes:
        epsilon_cap: the most that may ever be spent.
        epsilon_spent: of everything (PLD).
        left_nano: what may still be charged; below 0 after the cap was lowered.
        left: the same as a share of the budget, which stops training.
        seeded: it is a simulation's.
        caps: each cap, and what it leaves; the one on everything first.
        purposes: what was spent for each.
        months: what was spent in each, as ``2026-11``, by UTC.
        agreements: what was spent for each, by digest.
    """

    asset: str
    organization: str
    unit: str
    delta: float
    order: float
    epsilon_cap: float
    epsilon_spent: float
    budget_nano: int
    left_nano: int
    left: float
    charges: int
    seeded: bool
    caps: tuple[Left, ...]
    purposes: Mapping[str, Part]
    months: Mapping[str, Part]
    agreements: Mapping[str, Part]

    def available(self, purpose: str) -> int:
        """What may be charged now for a purpose, in nano-units: the least that a cap leaves."""
        return max(0, min(one.left_nano for one in self.caps if one.purpose in (None, purpose)))

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`plain` wrote."""
        parts = {
            name: {key: Part(**part) for key, part in values[name].items()}
            for name in ("purposes", "months", "agreements")
        }
        caps = tuple(Left(**one) for one in values["caps"])
        return cls(**{**values, **parts, "caps": caps})


def totals(ledger: BudgetLedger, units: int = 1) -> list[AccountTotals]:
    """Every account of ``ledger``, in the order of opening; ε for the owner of so many units."""
    return [_of(ledger, account, units) for account in ledger.accounts()]


def _of(ledger: BudgetLedger, account: Account, units: int) -> AccountTotals:
    asset, budget = account.asset, account.budget
    kept = [charge for charge in ledger.history(asset) if charge.state != "REFUNDED"]
    left = ledger.remaining(asset)

    def by(keys: Iterable[str]) -> dict[str, Part]:
        groups: dict[str, list[Charge]] = defaultdict(list)
        for key, charge in zip(keys, kept, strict=True):
            groups[key].append(charge)
        return {key: _part(group, budget.delta, units) for key, group in groups.items()}

    return AccountTotals(
        asset=asset,
        organization=account.organization,
        unit=str(account.unit),
        delta=budget.delta,
        order=budget.order,
        epsilon_cap=budget.epsilon,
        epsilon_spent=ledger.epsilon(asset, units),
        budget_nano=budget.budget_nano,
        left_nano=left,
        left=left / max(1, budget.budget_nano),
        charges=len(kept),
        seeded=account.seeded,
        caps=tuple(ledger.left(asset)),
        purposes=by(charge.purpose for charge in kept),
        months=by(charge.time[:7] for charge in kept),
        agreements=by(charge.agreement for charge in kept),
    )


def _part(charges: Iterable[Charge], delta: float, units: int) -> Part:
    steps: dict[tuple[float, float], int] = defaultdict(int)
    nano = count = last = 0
    for charge in charges:
        steps[charge.noise_multiplier, charge.sampling_rate] += charge.steps
        nano, count, last = nano + charge.cost_nano, count + 1, max(last, charge.round)
    return Part(nano, epsilon(steps, delta, units), count, last)
