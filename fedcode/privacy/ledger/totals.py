# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What was charged to an account so far, and whether a charge passes a cap.

Each row of a charge carries the totals after it: finding them takes as long with a million rows as
with ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fedcode.errors import BudgetExhausted
from fedcode.privacy.accountant import NANO, Cost, Filter
from fedcode.privacy.ledger.account import WINDOW, Account, Totals
from fedcode.privacy.ledger.chain import Chain, Entry, now

_TOTALS = "kind IN ('RESERVED', 'REFUNDED')"
_FORFEITED = "asset = ? AND kind = 'FORFEITED'"


def totals(chain: Chain, asset: str, purpose: str, agreement: str) -> Totals:
    """What the latest rows say."""

    def last(condition: str = "1", *values: str | int) -> Entry | None:
        return chain.entry(f"asset = ? AND {condition} AND {_TOTALS}", (asset, *values))

    def value(entry: Entry | None, name: str) -> int:
        return int(entry.values[name]) if entry else 0

    latest, forfeit = last(), chain.entry(_FORFEITED, (asset,))
    of_purpose = last("body ->> '$.purpose' = ?", purpose)
    of_purpose_nano = value(of_purpose, "purpose_nano")
    if forfeit is not None:
        # what was lost may have been for any purpose: rows written before it do not count it yet
        seen = chain.entry(
            f"{_FORFEITED} AND seq < ?", (asset, of_purpose.seq if of_purpose else 0)
        )
        of_purpose_nano += value(forfeit, "forfeited_nano") - value(seen, "forfeited_nano")
        latest = later(latest, forfeit)
    return Totals(
        value(latest, "spent_nano"),
        of_purpose_nano,
        value(last("body ->> '$.agreement' = ?", agreement), "agreement_nano"),
        value(latest, "charged_nano"),
    )


def forfeited(chain: Chain, asset: str) -> int:
    """What officers have booked on an account for rows that were lost."""
    entry = chain.entry(_FORFEITED, (asset,))
    return int(entry.values["forfeited_nano"]) if entry else 0


def later(one: Entry | None, other: Entry | None) -> Entry | None:
    """The later one of two rows."""
    return max((e for e in (one, other) if e), key=lambda e: e.seq, default=None)


def check(chain: Chain, account: Account, purpose: str, after: Totals, cost: Cost) -> None:
    """Whether the totals after a charge are within all caps.

    Raises:
        BudgetExhausted: they are not.
    """
    caps = account.caps
    found = [(caps.total, after.spent, "")]
    if purpose in caps.purposes:
        found.append((caps.purposes[purpose], after.purpose, f" for {purpose}"))
    if caps.window is not None:
        recent = after.charged - _charged_before_window(chain, account.asset)
        found.append((caps.window, recent, " within 30 days"))
    for cap, spent, where in found:
        if spent > cap.budget_nano:
            raise _exhausted(account, cap, cost, spent - cost.nano, where)


@dataclass(frozen=True, slots=True)
class Left:
    """One cap of an account.

    Attributes:
        what: it is on, in words: in all, within 30 days, for a purpose.
        purpose: whose it is; None where it is on all of them.
        epsilon: the cap.
        budget_nano: the same at the account's order.
        left_nano: what may still be charged; below 0 after the cap was lowered, or rows were lost.
    """

    what: str
    purpose: str | None
    epsilon: float
    budget_nano: int
    left_nano: int


def left(chain: Chain, account: Account) -> list[Left]:
    """What each cap of an account leaves now, the one on everything first."""

    def one(what: str, purpose: str | None, cap: Filter, spent: int) -> Left:
        return Left(what, purpose, cap.epsilon, cap.budget_nano, cap.budget_nano - spent)

    caps, every = account.caps, totals(chain, account.asset, "", "")
    found = [one("in all", None, caps.total, every.spent)]
    if caps.window is not None:
        recent = every.charged - _charged_before_window(chain, account.asset)
        found.append(one("within 30 days", None, caps.window, recent))
    for purpose, cap in caps.purposes.items():
        spent = totals(chain, account.asset, purpose, "").purpose
        found.append(one(f"for {purpose}", purpose, cap, spent))
    return found


def _charged_before_window(chain: Chain, asset: str) -> int:
    start = datetime.fromisoformat(now()) - WINDOW
    time = start.isoformat(timespec="microseconds")
    before = chain.query(
        "SELECT seq, body ->> '$.charged_nano' FROM entries WHERE asset = ? AND time <= ? "
        "AND kind IN ('RESERVED', 'REFUNDED') ORDER BY time DESC, seq DESC LIMIT 1",
        (asset, time),
    )
    before += chain.query(
        "SELECT seq, body ->> '$.charged_nano' FROM entries WHERE asset = ? "
        "AND kind = 'FORFEITED' AND time <= ? ORDER BY seq DESC LIMIT 1",
        (asset, time),
    )
    return int(max(before)[1]) if before else 0


def _exhausted(
    account: Account, cap: Filter, cost: Cost, spent: int, where: str
) -> BudgetExhausted:
    return BudgetExhausted(
        f"{account.organization}: the next round costs {cost.nano / NANO:.6f}, and "
        f"{max(0, cap.budget_nano - spent) / NANO:.6f} of {cap.budget_nano / NANO:.6f} remains "
        f"of the budget for ε = {cap.epsilon:g}{where}",
        "the organization takes part in no further round; its budget is for good",
    )
