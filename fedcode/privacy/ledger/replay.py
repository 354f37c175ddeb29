# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a ledger's rows mean, one after the other."""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import datetime
from typing import Any

from fedcode.errors import PrivacyError
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger.account import WINDOW, Account, Caps, Totals
from fedcode.privacy.ledger.chain import Entry
from fedcode.privacy.ledger.witness import CountersignedHead
from fedcode.privacy.organization import OrganizationPolicy, SignedPolicy
from fedcode.record import PrivacyUnit

OPENED, ADOPTED, RESERVED, ARMED, SENT, REFUNDED, LATCHED, WITNESSED = (
    "OPENED",  # an account, with its caps
    "ADOPTED",  # another policy, and so other caps
    "RESERVED",  # a charge: nothing is computed before it
    "ARMED",  # a message that may leave from now on: its digest
    "SENT",  # a message that has left
    "REFUNDED",  # a charge for which nothing was computed
    "LATCHED",  # an answer in a protocol that must never be another one
    "WITNESSED",  # a head that somebody else has signed
)
"""What a row can be."""


class Replay:
    """Replays a ledger's rows."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._policy: OrganizationPolicy | None = None
        self._totals: dict[tuple[str, ...], int] = defaultdict(int)
        self._recent: dict[str, deque[tuple[datetime, int]]] = defaultdict(deque)
        self._charges: dict[int, tuple[str, str, int]] = {}  # asset, state, cost of what goes on
        self._latched: set[tuple[Any, ...]] = set()
        self._first = ""

    def read(self, entry: Entry) -> str:
        """What is wrong with the next row, or nothing."""
        self._first = self._first or entry.hash
        if entry.kind == OPENED:
            return self._opened(entry)
        if entry.kind == WITNESSED:
            return self._witnessed(entry)
        if entry.asset not in self._accounts:
            return f"belongs to {entry.asset}, which has no account"
        meanings = {
            ADOPTED: self._adopted,
            RESERVED: self._reserved,
            ARMED: self._armed,
            SENT: self._sent,
            REFUNDED: self._refunded,
            LATCHED: self._latch,
        }
        meaning = meanings.get(entry.kind)
        return meaning(entry) if meaning else "is of no known kind"

    def _opened(self, entry: Entry) -> str:
        if entry.asset in self._accounts:
            return f"opens the account of {entry.asset} again"
        account = read_account(entry)
        if account.policy is None and not account.seeded:
            return "opens an account without a policy"
        self._accounts[entry.asset] = account
        return self._signed(account)

    def _adopted(self, entry: Entry) -> str:
        before = self._accounts[entry.asset]
        account = changed(before, entry)
        self._accounts[entry.asset] = account
        fixed = (before.budget.order, before.budget.delta)
        if before.seeded or (account.budget.order, account.budget.delta) != fixed:
            return "changes what is fixed for the life of an account"
        return self._signed(account)

    def _signed(self, account: Account) -> str:
        """Whether the policy of an account may follow the one before, and its caps are these."""
        signed_policy = account.policy
        if signed_policy is None:
            return ""
        policy = signed_policy.policy
        if not account.caps.follow(policy.caps) or account.budget.delta != policy.delta:
            return "has other caps than its policy"
        if policy != self._policy:
            try:
                signed_policy.check(self._policy)
            except PrivacyError as error:
                return f"has a policy that was not to follow: {error}"
            self._policy = policy
        return ""

    def _reserved(self, entry: Entry) -> str:
        values, account = entry.values, self._accounts[entry.asset]
        cost = Cost(
            values["cost_nano"],
            account.budget.order,
            values["noise_multiplier"],
            values["sampling_rate"],
            values["steps"],
        ).nano
        totals = self._count(entry, cost)
        self._charges[entry.seq] = (account.asset, RESERVED, cost)
        if not _stands(values, totals):
            return "has a total that is not the sum of the charges"
        passed = (
            ("budget", account.budget.budget_nano, totals.spent),
            ("cap of its purpose", _of(account, values["purpose"]), totals.purpose),
            ("cap of 30 days", _window(account), self._in_window(entry, cost)),
        )
        return next((f"passes the {n}" for n, cap, x in passed if cap is not None and x > cap), "")

    def _armed(self, entry: Entry) -> str:
        asset, state, cost = self._charges.get(entry.values["charge"], ("", "", 0))
        if (asset, state) != (entry.asset, RESERVED):
            return "arms what was not charged, or was armed already"
        self._charges[entry.values["charge"]] = (asset, ARMED, cost)
        return ""

    def _sent(self, entry: Entry) -> str:
        asset, state, _ = self._charges.pop(entry.values["charge"], ("", "", 0))
        return "" if (asset, state) == (entry.asset, ARMED) else "sends what was not armed"

    def _refunded(self, entry: Entry) -> str:
        asset, state, cost = self._charges.pop(entry.values["charge"], ("", "", 0))
        if (asset, state) != (entry.asset, RESERVED):
            return "refunds what was not charged, or was armed"
        stands = _stands(entry.values, self._count(entry, -cost))
        return "" if stands else "has a total that is not the sum of the charges"

    def _latch(self, entry: Entry) -> str:
        v = entry.values
        key = (entry.asset, v["agreement"], v["round"], v["step"])
        if key in self._latched:
            return "answers a step again"
        self._latched.add(key)
        return ""

    def _witnessed(self, entry: Entry) -> str:
        v = entry.values
        seen = CountersignedHead(self._first, v["head"], v["witness"], v["signature"])
        try:
            seen.check(frozenset([v["witness"]]))
        except PrivacyError:
            return "has a signature that is none"
        return ""

    def _count(self, entry: Entry, nano: int) -> Totals:
        """The totals after a row that adds ``nano``."""
        v, asset = entry.values, entry.asset
        keys = ("spent",), ("purpose", v["purpose"]), ("agreement", v["agreement"])
        for key in keys:
            self._totals[asset, *key] += nano
        self._totals[asset, "charged"] += max(0, nano)
        return Totals(*(self._totals[asset, *key] for key in (*keys, ("charged",))))

    def _in_window(self, entry: Entry, cost: int) -> int:
        recent, now = self._recent[entry.asset], datetime.fromisoformat(entry.time)
        if self._accounts[entry.asset].caps.window is None:
            recent.clear()  # what a cap that comes later would count: the ledger has refused it
            return 0
        recent.append((now, cost))
        while recent and recent[0][0] <= now - WINDOW:
            recent.popleft()
        return sum(nano for _, nano in recent)


def read_account(entry: Entry) -> Account:
    """The account that an ``OPENED`` row opens."""
    v = entry.values
    return Account(
        entry.asset,
        v["organization"],
        PrivacyUnit(v["unit"]),
        Caps.read(v["caps"]),
        bool(v["seeded"]),
        SignedPolicy.read(v["signed"]) if v["signed"] else None,
    )


def changed(account: Account, entry: Entry) -> Account:
    """``account`` after an ``ADOPTED`` row."""
    v = entry.values
    return Account(
        account.asset,
        account.organization,
        account.unit,
        Caps.read(v["caps"]),
        account.seeded,
        SignedPolicy.read(v["signed"]),
    )


def _stands(values: dict[str, Any], totals: Totals) -> bool:
    return all(values[name] == value for name, value in totals.plain().items())


def _of(account: Account, purpose: str) -> int | None:
    cap = account.caps.purposes.get(purpose)
    return None if cap is None else cap.budget_nano


def _window(account: Account) -> int | None:
    return None if account.caps.window is None else account.caps.window.budget_nano
