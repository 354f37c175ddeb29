# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether our account pays for what a federation asks: known before anybody says yes to it."""

from __future__ import annotations

from dataclasses import dataclass

from fedcode.corpus import asset_of
from fedcode.errors import ConfigError, FedcodeError
from fedcode.federation import Federation, anchored
from fedcode_client.budget.keys import Role
from fedcode_client.budget.service import LEDGER
from fedcode_client.budget.where import connected
from fedcode_client.costs import Cost, costs
from fedcode_client.home import Home


@dataclass(frozen=True, slots=True)
class Paying:
    """What our account has to say of a federation.

    Attributes:
        planned: rounds by task.
        cost: what it would cost the account; None where there is none yet.
        why: there is none, in words.
    """

    planned: dict[str, int]
    cost: Cost | None
    why: str = ""

    def lines(self) -> list[str]:
        """For people."""
        if self.cost is None:
            return [f"nobody knows what our account pays: {self.why}"]
        found, rounds = self.cost, self.cost.rounds
        shares = f"{found.share:.1%} of the budget, {found.left:.1%} left"
        said = [f"our account {found.asset}: {shares}"]
        said += [
            f"it pays for {rounds[task]} of {planned} rounds of {task}: then we would stop, and "
            "the others go on"
            for task, planned in self.planned.items()
            if rounds[task] < planned
        ]
        return said

    def check(self) -> None:
        """Whether we can take part at all.

        Raises:
            ConfigError: the account pays for no round of a task.
        """
        nothing = [t for t, number in self.cost.rounds.items() if not number] if self.cost else []
        if self.cost and nothing:
            raise ConfigError(
                f"our account pays for no round of {', '.join(nothing)}: too little is left "
                f"{self.cost.limit}",
                "fedcode-client budget show; officers can raise a cap, or decline the run",
            )


def paying(home: Home, federation: Federation, name: str) -> Paying:
    """What our account would pay of a federation, by its budget and by our policy.

    Args:
        home: our folder.
        federation: its settings.
        name: ours in it.

    Raises:
        ConfigError: the account has another unit; it has it for good.
        PolicyRefusal: our policy does not permit it.
    """
    planned = {task.name: task.rounds for task in federation.tasks}
    source = home.settings().source
    if source is None:
        return Paying(planned, None, f"{home.toml} names no source")
    try:
        asset = asset_of(anchored(source, home.root))
    except FedcodeError as error:
        return Paying(planned, None, str(error))
    none = Paying(planned, None, f"{asset} has no account yet")
    if home.settings().budget is None and not (home.ledger / LEDGER).exists():
        return none  # to look makes no ledger
    with connected(home, Role.TRAINER) as office:
        account = office.account(asset)
        accounts = [one for one in office.totals() if one.asset == asset]
    if account is None:
        return none
    unit = federation.privacy.unit
    if account.unit != unit:
        raise ConfigError(
            f"our account {asset} is for a {account.unit}, and the federation protects a {unit}",
            "an account's unit is for good: decline the run",
        )
    if account.policy is not None:
        for task in planned:
            account.policy.policy.check(
                purpose=federation.purpose, task=task, unit=unit, cohort=len(federation.members)
            )
    (cost,) = costs(accounts, federation, name=name)
    return Paying(planned, cost)
