# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members in processes of Ray's, reached over Flower's own simulation runtime.

Flower's runtime gives any message to any of its processes, and keeps nothing there. A member is not
like that: its keys live from one message of a round to the next. It therefore has a home, a process
of its own or one that it shares with a few others, and Flower's app takes each message there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from fedcode.agreement import Agreement
from fedcode.errors import Interrupted
from fedcode.privacy.ledger import BudgetLedger
from fedcode.simulation.arms import Arm, Bench
from fedcode.simulation.bookkeeping import Bookkeeper, FarLedger
from fedcode.simulation.cluster import answer_of, joined
from fedcode.simulation.jobs import Job, bench_of, prepare
from fedcode.simulation.members import AnyMember, Engine, Members, reports_of
from fedcode.trainer import LocalReport
from fedcode.transport.flower import members_app
from fedcode.transport.internals.runtime import RuntimeGrid, RuntimeStopped, running
from fedcode.transport.lossy import Fate, LossyGrid


class Home:
    """Some members of an arm, made here from plain values; an actor of Ray's."""

    def __init__(self) -> None:
        self._members: dict[str, AnyMember] = {}

    def build(
        self, job: Job, levels: Mapping[str, float | None], keeper: Any, threads: int
    ) -> None:
        """Makes the members.

        Args:
            job: whose arm they take part in.
            levels: by member, where adaptive clipping starts; None at the beginning.
            keeper: of the ledger.
            threads: of this process.
        """
        import torch

        torch.set_num_threads(threads)
        arm = cast("Arm", job.arm)
        bench = bench_of(job, prepare(json.dumps(job.federation, sort_keys=True), job.task))
        agreement = bench.agreement(arm)
        ledger = FarLedger(keeper)
        self._members = {
            name: bench.member(name, arm, agreement, ledger, level)
            for name, level in levels.items()
        }

    def answer(self, name: str, data: bytes) -> bytes:
        """The answer of a member that lives here."""
        return self._members[name].answer(data)

    def reports(self) -> dict[str, LocalReport]:
        """Each member's last figures; what went wrong inside a member is raised."""
        return reports_of(self._members)


class InHomes:
    """The members of an arm, as :class:`~fedcode.simulation.members.Members` has them.

    Args:
        grid: Flower's.
        nodes: the grid's node of each member.
        homes: actors.
    """

    def __init__(self, grid: RuntimeGrid, nodes: Mapping[str, int], homes: Sequence[Any]) -> None:
        self._grid = grid
        self.nodes = nodes
        self._homes = homes

    def grid(self, fate: Callable[[int], Fate]) -> LossyGrid:
        """See ``Members``."""
        return LossyGrid(self._grid, fate)

    def reports(self) -> dict[str, LocalReport]:
        """See ``Members``."""
        found: dict[str, LocalReport] = {}
        for one in answer_of([home.reports.remote() for home in self._homes]):
            found |= one
        return found


def on_flower(job: Job, path: Path) -> Engine:
    """The engine of a job: its members on Flower's runtime.

    Args:
        job: of the arm; homes do it again as far as their members go.
        path: of the ledger that the arm charges.
    """
    return partial(_members, job, path)


@contextmanager
def _members(
    job: Job,
    path: Path,
    bench: Bench,
    arm: Arm,
    agreement: Agreement,
    ledger: BudgetLedger,
    levels: Mapping[str, float | None],
) -> Iterator[Members]:
    del agreement, ledger  # homes make the one and have the other by its keeper
    names, threads = arm.members, bench.federation.threads
    with joined() as cores:
        keeper = _keeper(path)
        homes = [_home() for _ in range(max(1, min(len(names), cores // threads)))]
        living = [
            {name: levels.get(name) for name in names[number :: len(homes)]}
            for number in range(len(homes))
        ]
        answer_of(
            [home.build.remote(job, own, keeper, threads)
             for home, own in zip(homes, living, strict=True)]
        )  # fmt: skip
        app = members_app(partial(_taken_home, homes, names))
        with running(app, len(names), min(threads, cores)) as (grid, nodes):
            try:
                yield InHomes(grid, dict(zip(names, nodes, strict=True)), homes)
            except RuntimeStopped as error:
                raise Interrupted(
                    f"{error} on Flower's runtime; was there enough memory?"
                ) from error


def _taken_home(homes: Sequence[Any], names: Sequence[str], place: int, data: bytes) -> bytes:
    """The answer of the member at ``place``, from its home; in a process of Flower's."""
    answer: bytes = answer_of(homes[place % len(homes)].answer.remote(names[place], data))
    return answer


def _keeper(path: Path) -> Any:
    """An actor on this machine, where the ledger is."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Bookkeeper).options(num_cpus=0, scheduling_strategy=here).remote(path)


def _home() -> Any:
    """An actor on any machine.

    It asks for no core: Flower's runtime counts them all for its own processes, which do nothing
    but wait for homes.
    """
    import ray

    return ray.remote(Home).options(num_cpus=0, scheduling_strategy="SPREAD").remote()
