# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which secure sums a plan asks for: each side finds it for itself, and both the same."""

from __future__ import annotations

from collections.abc import Sequence

from fedcode.agreement import Agreement
from fedcode.groups import groups
from fedcode.secure_sum import Session
from fedcode.weights import digest
from fedcode.wire import Plan


def parts(agreement: Agreement, number: int, cohort: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Who adds up with whom in round ``number``."""
    count = agreement.aggregation.groups
    if count is None:
        return (tuple(sorted(cohort)),)
    return groups(agreement.digest(), number, cohort, count)


def sessions(agreement: Agreement, plan: Plan, plan_digest: str) -> tuple[Session, ...]:
    """The sums of a round.

    Args:
        agreement: what was agreed on; the plan's.
        plan: of the round; its cohort is of the roster.
        plan_digest: SHA-256 of its bytes.
    """
    weights = plan.digest or digest(plan.weights)
    return tuple(
        Session(
            agreement=plan.agreement,
            round=plan.round,
            plan=plan_digest,
            weights=weights,
            coordinator=agreement.roster.coordinator,
            members=tuple((name, agreement.roster.key(name)) for name in names),
            length=agreement.length,
        )
        for names in parts(agreement, plan.round, plan.cohort)
    )
