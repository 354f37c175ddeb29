# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The budget of one data asset, and the caps that a charge must stay below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Self

from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy.accountant import NANO, Filter, converted
from fedcode.privacy.organization import CapSettings, SignedPolicy
from fedcode.record import PrivacyUnit

WINDOW = timedelta(days=30)
"""Of the cap on what may be charged in a while."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be charged to an account, at its order and δ.

    Attributes:
        total: ever.
        window: within any 30 days; None for no such cap. What was refunded counts.
        purposes: ever, for one purpose.
    """

    total: Filter
    window: Filter | None = None
    purposes: Mapping[str, Filter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for cap in self._all():
            if (cap.order, cap.delta) != (self.total.order, self.total.delta):
                raise PrivacyError("the caps of an account have one order and one delta")
            spent = converted(cap.order, cap.budget_nano / NANO, cap.delta)
            if cap.budget_nano and spent > cap.epsilon:
                raise PrivacyError(f"a budget of {cap.budget_nano} passes ε = {cap.epsilon:g}")

    @classmethod
    def of(cls, settings: CapSettings, delta: float, order: float, *, closing: bool) -> Self:
        """The largest budgets at ``order`` that stay within a policy's caps.

        Args:
            settings: the policy's.
            delta: of the account.
            order: of the account.
            closing: a cap that buys nothing at this order is 0: nothing more is spent.

        Raises:
            ConfigError: a cap buys nothing at this order, and it is not for closing.
        """

        def budget(epsilon: float) -> Filter:
            try:
                return Filter.for_budget(epsilon, delta, order)
            except ConfigError:
                if not closing:
                    raise
                return Filter(epsilon, delta, order, 0)

        return cls(
            budget(settings.epsilon),
            budget(settings.per_30_days) if settings.per_30_days else None,
            {purpose: budget(epsilon) for purpose, epsilon in settings.purposes.items()},
        )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`plain` wrote."""
        window = values["window"]
        return cls(
            Filter(**values["total"]),
            None if window is None else Filter(**window),
            {purpose: Filter(**cap) for purpose, cap in values["purposes"].items()},
        )

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)

    def follow(self, settings: CapSettings) -> bool:
        """Whether these are the caps of a policy: the same ones, for the same ε."""
        return (
            self.total.epsilon == settings.epsilon
            and (self.window.epsilon if self.window else None) == settings.per_30_days
            and {p: cap.epsilon for p, cap in self.purposes.items()} == settings.purposes
        )

    def _all(self) -> Iterator[Filter]:
        yield self.total
        if self.window is not None:
            yield self.window
        yield from self.purposes.values()


@dataclass(frozen=True, slots=True)
class Account:
    """The budget of one data asset.

    Attributes:
        asset: what the data is, not what it is called: a digest of its content or its first commit.
        organization: the name when the account was opened.
        unit: what adjacency adds or removes.
        caps: the Rényi budgets; order and δ are fixed for the life of the account.
        seeded: whether it is a simulation's, whose noise need not be secret.
        policy: what the organization's officers signed; a simulation's account has none.
    """

    asset: str
    organization: str
    unit: PrivacyUnit
    caps: Caps
    seeded: bool
    policy: SignedPolicy | None

    @property
    def budget(self) -> Filter:
        """The cap on everything."""
        return self.caps.total

    @classmethod
    def read(cls, asset: str, values: Mapping[str, Any]) -> Self:
        """What :meth:`plain` wrote."""
        return cls(
            asset,
            values["organization"],
            PrivacyUnit(values["unit"]),
            Caps.read(values["caps"]),
            bool(values["seeded"]),
            SignedPolicy.read(values["signed"]) if values["signed"] else None,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON wants it, without the asset."""
        return {
            "organization": self.organization,
            "unit": str(self.unit),
            "caps": self.caps.plain(),
            "seeded": self.seeded,
            "signed": self.policy.plain() if self.policy else None,
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """What was charged to an account, in nano-units.

    Attributes:
        spent: ever, less refunds; with what officers have booked for lost rows.
        purpose: for one purpose, less refunds; with all that was booked for lost rows.
        agreement: for one agreement, less refunds.
        charged: ever, refunds included; with what was booked for lost rows.
    """

    spent: int = 0
    purpose: int = 0
    agreement: int = 0
    charged: int = 0

    def plus(self, nano: int) -> Totals:
        """After a charge."""
        return Totals(
            self.spent + nano, self.purpose + nano, self.agreement + nano, self.charged + nano
        )

    def less(self, nano: int) -> Totals:
        """After a refund."""
        return Totals(self.spent - nano, self.purpose - nano, self.agreement - nano, self.charged)

    def plain(self) -> dict[str, int]:
        """As rows of the ledger have it."""
        return {f"{name}_nano": value for name, value in asdict(self).items()}
