# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a ledger's rows mean, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from fedcode.privacy.accountant import Cost, Filter
from fedcode.privacy.chain import Entry
from fedcode.record import PrivacyUnit

OPENED, RESERVED, SENT = "OPENED", "RESERVED", "SENT"
"""What a row can be: an account opened, a charge, a release that left."""


@dataclass(frozen=True, slots=True)
class Account:
    """The budget of one data asset.

    Attributes:
        asset: what the data is, not what it is called: a digest of its content or its first commit.
        organization: the name when the account was opened.
        unit: what adjacency adds or removes.
        budget: (ε, δ), the Rényi order and the most that may be charged.
        seeded: whether it is a simulation's, whose noise need not be secret.
    """

    asset: str
    organization: str
    unit: PrivacyUnit
    budget: Filter
    seeded: bool


class Replay:
    """Replays a ledger's rows."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._spent: dict[str, int] = {}
        self._reserved: dict[int, str] = {}

    def read(self, entry: Entry) -> str:
        """What is wrong with the next row, or nothing."""
        asset, values = entry.asset, entry.values
        if entry.kind == OPENED:
            if asset in self._accounts:
                return f"opens the account of {asset} again"
            self._accounts[asset], self._spent[asset] = read_account(entry), 0
        elif asset not in self._accounts:
            return f"belongs to {asset}, which has no account"
        elif entry.kind == RESERVED:
            self._spent[asset] += Cost(
                values["cost_nano"],
                self._accounts[asset].budget.order,
                values["noise_multiplier"],
                values["sampling_rate"],
                values["steps"],
            ).nano
            if self._spent[asset] != values["spent_nano"]:
                return "has a total that is not the sum of the charges"
            if self._spent[asset] > self._accounts[asset].budget.budget_nano:
                return "passes the budget"
            self._reserved[entry.seq] = asset
        elif entry.kind != SENT or self._reserved.pop(values["charge"], None) != asset:
            return "is of no known kind, or of a release that was not charged or left already"
        return ""


def read_account(entry: Entry) -> Account:
    """The account that an ``OPENED`` row opens."""
    v = entry.values
    budget = Filter(v["epsilon"], v["delta"], v["order"], v["budget_nano"])
    return Account(
        entry.asset, v["organization"], PrivacyUnit(v["unit"]), budget, bool(v["seeded"])
    )
