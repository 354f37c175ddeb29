# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether our accounts pay for what a federation asks: known before anybody says yes to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedcode.corpus import assets_of
from fedcode.errors import ConfigError, FedcodeError
from fedcode.federation import Federation
from fedcode.privacy.ledger import Account
from fedcode_client.budget.keys import Role
from fedcode_client.budget.service import LEDGER
from fedcode_client.budget.where import connected
from fedcode_client.costs import Cost, costs
from fedcode_client.home import Home


@dataclass(frozen=True, slots=True)
class Paying:
    """What our accounts have to say of a federation.

    Attributes:
        planned: rounds by task.
        costs: what it would cost each account; none where one of them is not there yet.
        why: there is none, in words.
    """

    planned: dict[str, int]
    costs: tuple[Cost, ...]
    why: str = ""

    def lines(self) -> list[str]:
        """For people."""
        if not self.costs:
            return [f"nobody knows what our account pays: {self.why}"]
        return [line for cost in self.costs for line in self._lines(cost)]

    def _lines(self, cost: Cost) -> list[str]:
        shares = f"{cost.share:.1%} of the budget, {cost.left:.1%} left"
        said = [f"our account {cost.asset}: {shares}"]
        said += [
            f"it pays for {cost.rounds[task]} of {planned} rounds of {task}: then we would stop, "
            "and the others go on"
            for task, planned in self.planned.items()
            if cost.rounds[task] < planned
        ]
        return said

    def check(self) -> None:
        """Whether we can take part at all.

        Raises:
            ConfigError: an account pays for no round of a task.
        """
        for cost in self.costs:
            nothing = [task for task, number in cost.rounds.items() if not number]
            if nothing:
                which = f" {cost.asset}" if len(self.costs) > 1 else ""
                raise ConfigError(
                    f"our account{which} pays for no round of {', '.join(nothing)}: too little is "
                    f"left {cost.limit}",
                    "fedcode-client budget show; officers can raise a cap, or decline the run",
                )


def paying(home: Home, federation: Federation, name: str) -> Paying:
    """What our accounts would pay of a federation, by their budgets and by our policy.

    Args:
        home: our folder.
        federation: its settings.
        name: ours in it.

    Raises:
        ConfigError: an account has another unit; it has it for good.
        PolicyRefusal: our policy does not permit it.
    """
    planned = {task.name: task.rounds for task in federation.tasks}
    sources = home.sources()
    if not sources:
        return Paying(planned, (), f"{home.toml} names no source")
    try:
        assets = assets_of(sources)
    except FedcodeError as error:
        return Paying(planned, (), str(error))
    if home.settings().budget is None and not (home.ledger / LEDGER).exists():
        return Paying(planned, (), _none(assets))  # to look makes no ledger
    with connected(home, Role.TRAINER) as office:
        found = {asset: office.account(asset) for asset in assets}
        accounts = [one for one in office.totals() if one.asset in assets]
    for account in filter(None, found.values()):
        _check(account, federation)
    missing = [asset for asset, account in found.items() if account is None]
    if missing:
        return Paying(planned, (), _none(missing))
    return Paying(planned, tuple(costs(accounts, federation, name=name)))


def _none(assets: Sequence[str]) -> str:
    return f"{', '.join(assets)} {'has' if len(assets) == 1 else 'have'} no account yet"


def _check(account: Account, federation: Federation) -> None:
    """Whether an account is for what the federation protects, and our policy permits it."""
    unit = federation.privacy.unit
    if account.unit != unit:
        raise ConfigError(
            f"our account {account.asset} is for a {account.unit}, and the federation protects a "
            f"{unit}",
            "an account's unit is for good: decline the run",
        )
    if account.policy is not None:
        for task in federation.tasks:
            account.policy.policy.check(
                purpose=federation.purpose,
                task=task.name,
                unit=unit,
                cohort=len(federation.members),
            )
