# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where the members of an arm live, and how its coordinator reaches them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from fedcode.agreement import Agreement
from fedcode.privacy.ledger import BudgetLedger
from fedcode.rounds.member import Member
from fedcode.simulation.unprotected import UnprotectedMember
from fedcode.trainer import LocalReport
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.transport.lossy import Fate, LossyGrid

if TYPE_CHECKING:
    from fedcode.simulation.arms import Arm, Bench

AnyMember = Member | UnprotectedMember


class Members(Protocol):
    """All members of an arm, ready for its rounds."""

    @property
    def nodes(self) -> Mapping[str, int]:
        """The grid's node of each member."""
        ...

    def grid(self, fate: Callable[[int], Fate]) -> LossyGrid:
        """Reaches them, but for what is to be lost: ``fate`` of the next message to a node."""
        ...

    def reports(self) -> dict[str, LocalReport]:
        """Each member's last figures.

        Raises:
            Exception: what went wrong inside a member; a simulation does not hide it.
        """
        ...


class Engine(Protocol):
    """Makes the members of an arm, and ends them."""

    def __call__(
        self,
        bench: Bench,
        arm: Arm,
        agreement: Agreement,
        ledger: BudgetLedger,
        levels: Mapping[str, float | None],
    ) -> AbstractContextManager[Members]:
        """The members of an arm while the block runs.

        Args:
            bench: what they train with.
            arm: whose members.
            agreement: of the arm.
            ledger: in which the accounts of a private arm are open.
            levels: where their adaptive clipping starts, of those for whom it does not at the
                beginning.
        """
        ...


class InOneProcess:
    """Members that share a process and a network.

    Args:
        members: by name.
    """

    def __init__(self, members: Mapping[str, AnyMember]) -> None:
        self._members = members
        self._grid = InMemoryGrid({name: member_app(one.answer) for name, one in members.items()})
        self.nodes = self._grid.nodes

    def grid(self, fate: Callable[[int], Fate]) -> LossyGrid:
        """See :class:`Members`."""
        return LossyGrid(self._grid, fate)

    def reports(self) -> dict[str, LocalReport]:
        """See :class:`Members`."""
        return reports_of(self._members)


def reports_of(members: Mapping[str, AnyMember]) -> dict[str, LocalReport]:
    """Each member's last figures; what went wrong inside a member is raised."""
    for member in members.values():
        if member.error is not None:
            raise member.error
    return {name: member.report for name, member in members.items()}


@contextmanager
def in_memory(
    bench: Bench,
    arm: Arm,
    agreement: Agreement,
    ledger: BudgetLedger,
    levels: Mapping[str, float | None],
) -> Iterator[Members]:
    """The members in this process: an :class:`Engine`."""
    yield InOneProcess(
        {name: bench.member(name, arm, agreement, ledger, levels.get(name)) for name in arm.members}
    )
