# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What both sides know of one sum before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fedcode.errors import SecureSumError
from fedcode.groups import FEWEST_MEMBERS, MOST_MEMBERS, threshold
from fedcode.identity import COORDINATOR
from fedcode.wire.forms import DIGEST, NAME


class _OfASum(Protocol):
    """A message of a secure sum."""

    @property
    def agreement(self) -> str: ...
    @property
    def round(self) -> int: ...
    @property
    def plan(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Session:
    """One sum: who takes part, and what for.

    Attributes:
        agreement: its digest, in hexadecimal.
        round: from 1.
        plan: SHA-256 of the plan's exact bytes, in hexadecimal.
        weights: digest of the weights in the plan.
        coordinator: its public key, in hexadecimal.
        members: name and public key of all that the plan names, sorted by name.
        length: how many coordinates are added up.

    Raises:
        SecureSumError: too few or too many members, names or keys that are not sorted, stand twice
            or are not of their form, or a member that is called as the coordinator is.
    """

    agreement: str
    round: int
    plan: str
    weights: str
    coordinator: str
    members: tuple[tuple[str, str], ...]
    length: int

    def __post_init__(self) -> None:
        names, keys = self.names, [key for _, key in self.members]
        if not FEWEST_MEMBERS <= len(names) <= MOST_MEMBERS:
            raise SecureSumError(
                f"a secure sum has {FEWEST_MEMBERS} to {MOST_MEMBERS} members, not {len(names)}"
            )
        if list(names) != sorted(set(names)) or len(set(keys)) != len(keys):
            raise SecureSumError("members are not sorted, or one of them or a key stands twice")
        texts = (self.agreement, self.plan, self.weights, self.coordinator, *keys)
        if not all(DIGEST.pattern.fullmatch(text) for text in texts):
            raise SecureSumError("a digest or key is not of its form")
        if not all(NAME.pattern.fullmatch(name) and name != COORDINATOR for name in names):
            raise SecureSumError("a name that no member can have")
        if self.round < 1 or self.length < 1:
            raise SecureSumError("rounds and lengths are counted from 1")

    @property
    def names(self) -> tuple[str, ...]:
        """All members, sorted."""
        return tuple(name for name, _ in self.members)

    @property
    def threshold(self) -> int:
        """t: how many must take part in every step; more than two thirds of all members."""
        return threshold(len(self.members))

    def index(self, name: str) -> int:
        """A member's place, from 1."""
        return self.names.index(name) + 1

    def key(self, name: str) -> str | None:
        """A member's public key; None for anybody else."""
        return dict(self.members).get(name)

    def concerns(self, message: _OfASum) -> bool:
        """Whether ``message`` is of this sum."""
        ours = (self.agreement, self.round, self.plan)
        return (message.agreement, message.round, message.plan) == ours
