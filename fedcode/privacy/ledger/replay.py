# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a ledger's rows mean, one after the other."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from fedcode.errors import PrivacyError
from fedcode.privacy.accountant import NANO, Cost
from fedcode.privacy.ledger.account import WINDOW, Account, Caps, Totals
from fedcode.privacy.ledger.acknowledgement import Acknowledgement
from fedcode.privacy.ledger.chain import Entry
from fedcode.privacy.ledger.witness import CountersignedHead
from fedcode.privacy.organization import OrganizationPolicy, SignedPolicy

OPENED, ADOPTED, RESERVED, ARMED, SENT, REFUNDED, LATCHED, WITNESSED, FORFEITED = (
    "OPENED",  # an account, with its caps
    "ADOPTED",  # another policy, and so other caps
    "RESERVED",  # a charge: nothing is computed before it
    "ARMED",  # a message that may leave from now on: its digest
    "SENT",  # a message that has left
    "REFUNDED",  # a charge for which nothing was computed
    "LATCHED",  # an answer in a protocol that must never be another one
    "WITNESSED",  # a head that somebody else has signed
    "FORFEITED",  # all that may have been spent in rows that were lost, booked as spent
)
"""What a row can be."""

_ROUNDING = 1e-6

_SHARED = (
    *("agreement", "purpose", "task", "round"),
    *("noise_multiplier", "sampling_rate", "steps", "cost_nano", "delta"),
)
"""What the accounts of one charge say alike."""


class _Charge(NamedTuple):
    """A charge of which more rows may follow.

    Attributes:
        rest: the rows of the other accounts that pay for the same release.
        follows: whether it is one of these rows: what happens to it, happens to the first one.
    """

    asset: str
    purpose: str
    agreement: str
    round: int
    nano: int
    rest: range
    follows: bool
    armed: bool = False


class _Due(NamedTuple):
    """A row that must come next: what happens to a charge, happens to all its accounts at once.

    Attributes:
        kind: of the row.
        asset: whose account it is of.
        says: what its body has, beside totals.
    """

    kind: str
    asset: str
    says: Mapping[str, Any]

    def is_(self, entry: Entry) -> bool:
        same = (entry.kind, entry.asset) == (self.kind, self.asset)
        return same and self.says.items() <= entry.values.items()


class Replay:
    """Replays a ledger's rows."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._policy: OrganizationPolicy | None = None
        self._behind: set[str] = set()  # accounts that a later policy has not come to yet
        self._highest = 0.0  # total cap that any policy had
        self._acknowledged: Acknowledgement | None = None
        self._owing: set[str] = set()  # accounts that the acknowledgement has not come to yet
        self._totals: dict[tuple[str, ...], int] = defaultdict(int)
        self._recent: dict[str, _Window] = defaultdict(_Window)
        self._charges: dict[int, _Charge] = {}
        self._due: deque[_Due] = deque()
        self._answered: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._latched: set[tuple[Any, ...]] = set()
        self._requests: set[tuple[Any, ...]] = set()
        self._first = ""

    @property
    def whole(self) -> bool:
        """Whether no row is missing at the end."""
        return not self._due

    def read(self, entry: Entry) -> str:
        """What is wrong with the next row, or nothing."""
        self._first = self._first or entry.hash
        due = self._due.popleft() if self._due else None
        if due is not None and not due.is_(entry):
            return f"stands where {due.asset} has its part of a charge"
        if due is None and self._follows(entry):
            return "comes without the charge that it is part of"
        if self._behind and entry.kind != ADOPTED:
            return f"comes before the policy in force has come to {min(self._behind)}"
        if self._owing and entry.kind != FORFEITED:
            return f"comes before what was lost is booked on {min(self._owing)}"
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
            FORFEITED: self._forfeited,
        }
        meaning = meanings.get(entry.kind)
        return meaning(entry) if meaning else "is of no known kind"

    def _follows(self, entry: Entry) -> bool:
        """Whether a row is part of a charge, and not its first account's."""
        if entry.kind == RESERVED:
            return "of" in entry.values
        charge = self._charges.get(entry.values.get("charge", 0))
        return charge is not None and charge.follows

    def _opened(self, entry: Entry) -> str:
        if entry.asset in self._accounts:
            return f"opens the account of {entry.asset} again"
        account = read_account(entry)
        if (account.policy is None) != account.seeded:
            return "opens an account without a policy, or a simulation's under one"
        self._accounts[entry.asset] = account
        if account.policy is None:
            return ""
        policy = account.policy.policy
        if self._policy is not None and policy != self._policy:
            return "opens an account under a policy that is not in force"
        if account.unit not in policy.permitted.units:
            return "opens an account for a unit that is not permitted"
        if self._acknowledged is not None:
            self._owing.add(entry.asset)
        return self._signed(account, account.policy)

    def _adopted(self, entry: Entry) -> str:
        before = self._accounts[entry.asset]
        account = changed(before, entry)
        self._accounts[entry.asset] = account
        fixed = (before.budget.order, before.budget.delta)
        if before.seeded or (account.budget.order, account.budget.delta) != fixed:
            return "changes what is fixed for the life of an account"
        if account.policy is None:
            return "adopts no policy"
        if account.policy.policy != self._policy:
            self._behind = {name for name, one in self._accounts.items() if not one.seeded}
        self._behind.discard(entry.asset)
        return self._signed(account, account.policy)

    def _signed(self, account: Account, signed: SignedPolicy) -> str:
        """Whether the policy of an account may follow the one before, and its caps are these."""
        policy = signed.policy
        if not account.caps.follow(policy.caps) or account.budget.delta != policy.delta:
            return "has other caps than its policy"
        if policy != self._policy:
            try:
                signed.check(self._policy)
            except PrivacyError as error:
                return f"has a policy that was not to follow: {error}"
            self._policy = policy
        self._highest = max(self._highest, policy.caps.epsilon)
        return ""

    def _forfeited(self, entry: Entry) -> str:
        v, account = entry.values, self._accounts[entry.asset]
        known = Acknowledgement.read(v["acknowledgement"])
        if account.seeded or self._policy is None:
            return "books something on a simulation's account"
        if known != self._acknowledged:
            try:
                known.check(self._policy)
            except PrivacyError as error:
                return f"has an acknowledgement that does not hold: {error}"
            if known.ledger != self._first or known.epsilon < self._highest:
                return "has an acknowledgement of another ledger, or of less than was permitted"
            self._acknowledged = known
            self._owing = {name for name, one in self._accounts.items() if not one.seeded}
        if entry.asset not in self._owing:
            return "books what was lost again"
        self._owing.discard(entry.asset)
        spent = self._totals[entry.asset, "spent"]
        nano = known.forfeited(account, spent)
        for key in ("spent", "charged", "forfeited"):
            self._totals[entry.asset, key] += nano
            if v[f"{key}_nano"] != self._totals[entry.asset, key]:
                return "has a total that is not the sum of the charges"
        self._recent[entry.asset].add(entry, nano)
        return ""

    def _reserved(self, entry: Entry) -> str:
        v, account = entry.values, self._accounts[entry.asset]
        order = account.budget.order
        cost = Cost(v["cost_nano"], order, v["noise_multiplier"], v["sampling_rate"], v["steps"])
        least = least_divergence(order, cost.noise_multiplier, cost.sampling_rate)
        if cost.nano < NANO * cost.steps * least * (1 - _ROUNDING):
            return "costs less than its price"
        if v["delta"] != account.budget.delta:
            return "is for another δ than its account's"
        if "request" in v:
            request = (account.asset, v["agreement"], v["round"], v["request"])
            if request in self._requests:
                return "pays for a request again"
            self._requests.add(request)
        permitted = account.policy.policy.permitted if account.policy else None
        if permitted and (
            v["purpose"] not in permitted.purposes or v["task"] not in permitted.tasks
        ):
            return "is for what was not permitted"
        others = v.get("others", [])
        if problem := self._together(account, others, "of" in v):
            return problem
        says = {name: v[name] for name in _SHARED} | {"of": entry.seq}
        self._due.extend(_Due(RESERVED, other, says) for other in others)
        rest = range(entry.seq + 1, entry.seq + 1 + len(others))
        self._charges[entry.seq] = _Charge(
            account.asset, v["purpose"], v["agreement"], v["round"], cost.nano, rest, "of" in v
        )
        totals = self._count(self._charges[entry.seq], cost.nano)
        if not _stands(v, totals):
            return "has a total that is not the sum of the charges"
        passed = (
            ("budget", account.budget.budget_nano, totals.spent),
            ("cap of its purpose", _of(account, v["purpose"]), totals.purpose),
            ("cap of 30 days", _window(account), self._recent[account.asset].add(entry, cost.nano)),
        )
        return next((f"passes the {n}" for n, cap, x in passed if cap is not None and x > cap), "")

    def _together(self, account: Account, others: Sequence[str], follows: bool) -> str:
        """What is wrong with the accounts that pay for a release together, or nothing."""
        if len({account.asset, *others}) <= len(others) or (others and follows):
            return "pays for one release twice"
        kinds = {_kind(account)} | {_kind(self._accounts[o]) for o in others if o in self._accounts}
        return "is paid by accounts of different kinds" if len(kinds) > 1 else ""

    def _same(self, entry: Entry, charge: _Charge) -> None:
        """What happened to a charge happens to its other accounts next."""
        for row in charge.rest:
            says = {name: v for name, v in entry.values.items() if not name.endswith("_nano")}
            self._due.append(_Due(entry.kind, self._charges[row].asset, says | {"charge": row}))

    def _armed(self, entry: Entry) -> str:
        v = entry.values
        charge = self._charges.get(v["charge"])
        if charge is None or charge.asset != entry.asset or charge.armed:
            return "arms what was not charged, or was armed already"
        if (v["agreement"], v["round"]) != (charge.agreement, charge.round):
            return "arms another round than was charged"
        answered = self._answered[entry.asset, charge.agreement]
        if charge.round in answered:
            return "answers a round again"
        answered.add(charge.round)
        self._charges[v["charge"]] = charge._replace(armed=True)
        self._same(entry, charge)
        return ""

    def _sent(self, entry: Entry) -> str:
        charge = self._charges.pop(entry.values["charge"], None)
        if charge is None or charge.asset != entry.asset or not charge.armed:
            return "sends what was not armed"
        self._same(entry, charge)
        return ""

    def _refunded(self, entry: Entry) -> str:
        v = entry.values
        charge = self._charges.pop(v["charge"], None)
        if charge is None or charge.asset != entry.asset or charge.armed:
            return "refunds what was not charged, or was armed"
        if (v["purpose"], v["agreement"]) != (charge.purpose, charge.agreement):
            return "refunds another charge than it says"
        self._same(entry, charge)
        stands = _stands(v, self._count(charge, -charge.nano))
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

    def _count(self, charge: _Charge, nano: int) -> Totals:
        """The totals after a row that adds ``nano``."""
        keys = ("spent",), ("purpose", charge.purpose), ("agreement", charge.agreement)
        for key in keys:
            self._totals[charge.asset, *key] += nano
        self._totals[charge.asset, "charged"] += max(0, nano)
        spent, purpose, agreement, charged = (
            self._totals[charge.asset, *key] for key in (*keys, ("charged",))
        )
        lost = self._totals[charge.asset, "forfeited"]
        return Totals(spent, purpose + lost, agreement, charged)


class _Window:
    """What was charged in the last 30 days."""

    def __init__(self) -> None:
        self._charges: deque[tuple[datetime, int]] = deque()
        self._total = 0

    def add(self, entry: Entry, nano: int) -> int:
        """The total with one charge more."""
        time = datetime.fromisoformat(entry.time)
        self._charges.append((time, nano))
        self._total += nano
        while self._charges[0][0] <= time - WINDOW:
            self._total -= self._charges.popleft()[1]
        return self._total


@lru_cache(maxsize=1024)
def least_divergence(order: float, noise_multiplier: float, sampling_rate: float) -> float:
    """A lower bound on the Rényi divergence of a step, without the library that prices are from.

    It is exact at whole orders; divergence grows with the order. Sums of logarithms: no overflow.

    Source: Mironov, Talwar & Zhang 2019, arXiv:1908.10530, section 3.3.
    """
    n, q = math.floor(order), sampling_rate
    if q == 1:
        return order / (2 * noise_multiplier**2)
    terms = [
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(q)
        + (n - k) * math.log1p(-q)
        + k * (k - 1) / (2 * noise_multiplier**2)
        for k in range(n + 1)
    ]
    highest = max(terms)
    total = highest + math.log(math.fsum(math.exp(term - highest) for term in terms))
    return max(0.0, total / (n - 1))


def read_account(entry: Entry) -> Account:
    """The account that an ``OPENED`` row opens."""
    return Account.read(entry.asset, entry.values)


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


def _kind(account: Account) -> tuple[object, ...]:
    """What accounts that pay together have in common."""
    return account.unit, account.budget.delta, account.seeded


def _of(account: Account, purpose: str) -> int | None:
    cap = account.caps.purposes.get(purpose)
    return None if cap is None else cap.budget_nano


def _window(account: Account) -> int | None:
    return None if account.caps.window is None else account.caps.window.budget_nano
