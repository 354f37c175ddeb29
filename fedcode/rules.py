# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""By which rule many updates become one where some of them may be meant to do harm."""

from __future__ import annotations

from typing import Literal

from fedcode.errors import ConfigError

Rule = Literal["median", "trimmed-mean", "krum", "centred-clipping"]
"""See ``fedcode.rounds.robust``."""

Combined = Literal["members", "groups"]
"""What has an update of its own: a member, or a group with its sum."""


def fewest(rule: Rule, malicious: int) -> int:
    """The fewest updates among which ``rule`` can bear ``malicious`` harmful ones."""
    return 2 * malicious + (3 if rule == "krum" else 1)


def check_rule(rule: Rule, malicious: int, count: int, what: Combined = "members") -> None:
    """Whether ``rule`` can be applied to so many updates.

    A harmful member spoils the sum of its whole group: against f of them, f groups may be harmful.

    Args:
        rule: of the agreement.
        malicious: f, the harmful updates that are to be borne.
        count: the updates.
        what: each of them is a member's, or a group's.

    Raises:
        ConfigError: it cannot.
    """
    if what == "groups" and rule not in ("median", "trimmed-mean"):
        raise ConfigError(
            f"{rule} is for updates of single members, not for sums of groups",
            "take median or trimmed-mean, or the mode open-robust",
        )
    wanted = fewest(rule, malicious)
    if count < wanted:
        raise ConfigError(
            f"{rule} against {malicious} malicious {what} wants {wanted} {what}, not {count}",
            f"more {what}, or a lower number of malicious ones",
        )
