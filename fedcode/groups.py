# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How many share a secure sum, and who, where there are several: nobody chooses it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fedcode.errors import ConfigError

FEWEST_GROUPS = 3
"""Of two sums that differ, nobody can tell the harmful one."""

SMALLEST_GROUP = 4
"""A secure sum of so many bears one dropout."""

FEWEST_MEMBERS, MOST_MEMBERS = 3, 100
"""Of one secure sum."""


def threshold(members: int) -> int:
    """t, the fewest that must stay until the end of a secure sum of ``members``."""
    return 2 * members // 3 + 1


def check_groups(members: int, count: int) -> None:
    """Whether so many members can stand in ``count`` groups.

    Raises:
        ConfigError: they cannot.
    """
    if count < FEWEST_GROUPS:
        raise ConfigError(
            f"at least {FEWEST_GROUPS} groups are wanted, not {count}",
            "more groups, or the mode secagg",
        )
    if members < count * SMALLEST_GROUP:
        raise ConfigError(
            f"{members} members are too few for {count} groups of at least {SMALLEST_GROUP}",
            "more members, fewer groups, or the mode secagg",
        )


def groups(
    agreement: str, round_: int, cohort: Sequence[str], count: int
) -> tuple[tuple[str, ...], ...]:
    """The groups of one round; every member finds them by itself, from public values.

    Members are ranked by SHA-256 of agreement, round and name, and dealt out in turn: another round
    has other groups, whose sizes differ by one at most. A member's rank depends on nobody else.

    Args:
        agreement: the agreement's digest, in hexadecimal.
        round_: from 1.
        cohort: names of members, in any order.
        count: the number of groups.

    Returns:
        Disjoint groups that cover the cohort, the names of each sorted.

    Raises:
        ConfigError: the cohort is too small, see :func:`check_groups`, or names a member twice.
    """
    check_groups(len(cohort), count)
    if len(set(cohort)) < len(cohort):
        raise ConfigError("the cohort names a member twice", "name each member once")
    # Digest and number hold no zero byte: the parts cannot run into one another.
    place = f"{agreement}\x00{round_}\x00".encode()
    domain = b"fedcode/groups/1\x00"
    ranked = sorted(cohort, key=lambda n: hashlib.sha256(domain + place + n.encode()).digest())
    return tuple(tuple(sorted(ranked[start::count])) for start in range(count))
