# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What officers sign when rows of a ledger are lost: all that may have been spent is spent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger.account import Account
from fedcode.privacy.organization import TO_RAISE, OrganizationPolicy
from fedcode.signing import SigningKey, canonical, signed

DOMAIN = "fedcode/acknowledgement/1"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Two officers know that a ledger has lost rows, and take it that every cap was spent.

    Attributes:
        ledger: the one that goes on: the hash of its first row.
        lost: the ledger of the head; the same one if it was set back, another if it was replaced.
        head: what a witness has countersigned, and this ledger does not have.
        epsilon: the highest total cap that was ever in force, in the lost rows too.
        signatures: of the above, by public key.
    """

    ledger: str
    lost: str
    head: str
    epsilon: float
    signatures: tuple[tuple[str, str], ...] = ()

    def sign(self, key: SigningKey) -> Acknowledgement:
        """The same with one signature more."""
        others = tuple(pair for pair in self.signatures if pair[0] != key.public)
        given = (key.public, key.sign(DOMAIN, self._content()))
        return replace(self, signatures=tuple(sorted((*others, given))))

    def signers(self, policy: OrganizationPolicy) -> tuple[str, ...]:
        """The names of those officers who have signed."""
        given, data = dict(self.signatures), self._content()
        return tuple(
            officer.name
            for officer in policy.officers
            if signed(officer.key, given.get(officer.key, ""), DOMAIN, data)
        )

    def check(self, policy: OrganizationPolicy) -> None:
        """Whether enough officers of the policy in force have signed.

        Raises:
            PrivacyError: they have not, or ε is below the cap in force.
        """
        who = self.signers(policy)
        if len(who) < TO_RAISE:
            raise PrivacyError(
                f"an acknowledgement needs {TO_RAISE} officers' signatures, it has {len(who)}"
            )
        if not math.isfinite(self.epsilon) or self.epsilon < policy.caps.epsilon:
            raise PrivacyError(
                f"ε = {self.epsilon:g} is below a cap that was in force, {policy.caps.epsilon:g}",
                "name the highest cap that there ever was",
            )

    def forfeited(self, account: Account, spent: int) -> int:
        """What is booked on ``account``: nothing is left of the largest budget it can have had."""
        budget = account.budget
        try:
            largest = Filter.for_budget(self.epsilon, budget.delta, budget.order).budget_nano
        except ConfigError:  # it bought nothing at this order
            largest = 0
        return max(0, max(largest, budget.budget_nano) - spent)

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self) | {"signatures": [list(pair) for pair in self.signatures]}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`plain` wrote.

        Raises:
            ConfigError: it is not that.
        """
        try:
            pairs = tuple((str(key), str(signature)) for key, signature in values["signatures"])
            found = cls(**{**values, "signatures": pairs})
            found._content()
            good = found.epsilon > 0
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError("this is not an acknowledgement") from error
        texts = (found.ledger, found.lost, found.head)
        if not good or not all(isinstance(text, str) for text in texts):
            raise ConfigError("this is not an acknowledgement")
        return found

    def _content(self) -> bytes:
        values = asdict(self)
        del values["signatures"]
        return canonical(values)
