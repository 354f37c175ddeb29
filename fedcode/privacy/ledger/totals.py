# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What was charged to an account so far, and whether a charge passes a cap.

Each row of a charge carries the totals after it: finding them takes as long with a million rows as
with ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fedcode.errors import BudgetExhausted
from fedcode.privacy.accountant import NANO, Cost, Filter
from fedcode.privacy.ledger.account import WINDOW, Account, Totals
from fedcode.privacy.ledger.chain import Chain, now

_TOTALS = "kind IN ('RESERVED', 'REFUNDED')"


def totals(chain: Chain, asset: str, purpose: str, agreement: str) -> Totals:
    """What the latest rows say."""

    def last(condition: str = "1", *values: str) -> Mapping[str, int]:
        entry = chain.entry(f"asset = ? AND {condition} AND {_TOTALS}", (asset, *values))
        return entry.values if entry else Totals().plain()

    latest = last()
    return Totals(
        latest["spent_nano"],
        last("body ->> '$.purpose' = ?", purpose)["purpose_nano"],
        last("body ->> '$.agreement' = ?", agreement)["agreement_nano"],
        latest["charged_nano"],
    )


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


def _charged_before_window(chain: Chain, asset: str) -> int:
    start = datetime.fromisoformat(now()) - WINDOW
    before = chain.query(
        "SELECT body ->> '$.charged_nano' FROM entries WHERE asset = ? AND time <= ? "
        "AND kind IN ('RESERVED', 'REFUNDED') ORDER BY time DESC, seq DESC LIMIT 1",
        (asset, start.isoformat(timespec="microseconds")),
    )
    return int(before[0][0]) if before else 0


def _exhausted(
    account: Account, cap: Filter, cost: Cost, spent: int, where: str
) -> BudgetExhausted:
    return BudgetExhausted(
        f"{account.organization}: the next round costs {cost.nano / NANO:.6f}, and "
        f"{max(0, cap.budget_nano - spent) / NANO:.6f} of {cap.budget_nano / NANO:.6f} remains "
        f"of the budget for ε = {cap.epsilon:g}{where}",
        "the organization takes part in no further round; its budget is for good",
    )
