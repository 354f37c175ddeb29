# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who trains a cohort: this process, or several of one thread each. The sum is the same.

A cohort is cut into parts that do not depend on how many processes there are; a part's sum has a
place of its own in shared memory, and the parts are added up in their order.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fedcode.errors import Interrupted
from fedcode.simulation.population.problem import World
from fedcode.simulation.population.steps import Engine, LocalSteps, Part, Tally, at_once
from fedcode.simulation.population.steps import Sequential as PlainSequential
from fedcode.simulation.population.steps import Together as PlainTogether
from fedcode.weights import Vector

EngineName = Literal["sequential", "together"]

_PARTS = 16


class Work(Protocol):
    """What members do in a round; it crosses process boundaries."""

    def engine(self, name: EngineName, world: World[Any, Any]) -> Engine:
        """What does it."""
        ...


@dataclass(frozen=True, slots=True)
class PlainWork:
    """Members take plain local steps; their changes may be clipped."""

    steps: LocalSteps

    def engine(self, name: EngineName, world: World[Any, Any]) -> Engine:
        """See :class:`Work`."""
        return (PlainTogether if name == "together" else PlainSequential)(world, self.steps)


class Crew(Protocol):
    """Trains cohorts."""

    def sum(self, engine: EngineName, weights: Vector, number: int, cohort: NDArray[Any]) -> Part:
        """The sum of the changes of ``cohort``, ascending numbers, in round ``number``."""
        ...

    def wait(self) -> None:
        """Comes back when a cohort can be trained without waiting."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


def parts_of(cohort: NDArray[Any], weights: int, engine: EngineName) -> list[list[int]]:
    """Who is trained after whom, whatever the number of processes."""
    size = at_once(weights) if engine == "together" else 1
    parts = max(1, min(_PARTS, math.ceil(len(cohort) / size)))
    return [part.tolist() for part in np.array_split(cohort, parts)]


class ThisProcess:
    """Trains part after part.

    Args:
        world: who there is.
        work: what they do.
    """

    def __init__(self, world: World[Any, Any], work: Work) -> None:
        self._world, self._work = world, work
        self._engines: dict[EngineName, Engine] = {}

    def part(
        self, engine: EngineName, weights: Vector, number: int, members: Sequence[int]
    ) -> Part:
        """One part's sum."""
        if engine not in self._engines:
            self._engines[engine] = self._work.engine(engine, self._world)
        return self._engines[engine].run(weights, number, members)

    def sum(self, engine: EngineName, weights: Vector, number: int, cohort: NDArray[Any]) -> Part:
        """See :class:`Crew`."""
        total, tally = np.zeros(len(weights)), Tally()
        for members in parts_of(cohort, len(weights), engine):
            part, fared = self.part(engine, weights, number, members)
            total += part
            tally += fared
        return total, tally

    def wait(self) -> None:
        """It can be at once."""

    def close(self) -> None:
        """Ends its engines."""
        for engine in self._engines.values():
            engine.close()


class Shared:
    """Weights and parts' sums in memory that processes share.

    Args:
        weights: d.
        name: of memory that is there already; makes new memory if None.
    """

    def __init__(self, weights: int, name: str | None = None) -> None:
        size = 8 * _PARTS * weights + 4 * weights
        self._memory = SharedMemory(name, create=name is None, size=size)
        self.name = self._memory.name
        shape, after = (_PARTS, weights), 8 * _PARTS * weights
        self.sums: NDArray[np.float64] = np.ndarray(shape, np.float64, self._memory.buf)
        self.weights: Vector = np.ndarray(weights, np.float32, self._memory.buf, after)

    def close(self) -> None:
        """Gives the memory back; whoever made it does this."""
        del self.sums, self.weights
        self._memory.close()
        self._memory.unlink()


class Processes:
    """Worker processes of one thread each, which hold the world and nothing of a cohort.

    They start at once, and make their world while the caller goes on. They end with the process
    that started them, whatever ends that.

    Args:
        processes: how many.
        make: makes a process' world; must be a module's function, or a partial of one.
        work: what members do.
        weights: d.
    """

    def __init__(
        self, processes: int, make: Callable[[], World[Any, Any]], work: Work, weights: int
    ) -> None:
        self._shared = Shared(weights)
        context = multiprocessing.get_context("spawn")
        arguments = (self._shared.name, weights, make, work)
        self._pool = ProcessPoolExecutor(processes, context, _initialize, arguments)
        self._ready = [self._submit(_prepare) for _ in range(processes)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sum(self, engine: EngineName, weights: Vector, number: int, cohort: NDArray[Any]) -> Part:
        """See :class:`Crew`.

        Raises:
            Interrupted: a process was killed.
        """
        self._shared.weights[:] = weights
        total, tally = np.zeros(len(weights)), Tally()
        with _told():
            parts = parts_of(cohort, len(weights), engine)
            given = [
                self._submit(_train, engine, number, place, members)
                for place, members in enumerate(parts)
            ]
            for place, future in enumerate(given):
                tally += future.result()
                total += self._shared.sums[place]
        return total, tally

    def wait(self) -> None:
        """See :class:`Crew`; what went wrong in a process that started is raised here."""
        with _told():
            for future in self._ready:
                future.result()

    def close(self) -> None:
        """Ends the processes at once, and whatever they are at."""
        for process in list((self._pool._processes or {}).values()):  # noqa: SLF001  no other way
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._shared.close()

    def _submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """A process that starts with this never sees a terminal's Ctrl-C."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._pool.submit(work, *arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise Interrupted("a worker process was killed; was there enough memory?") from error


class _Station:
    """What a worker process holds."""

    def __init__(
        self, name: str, weights: int, make: Callable[[], World[Any, Any]], work: Work
    ) -> None:
        self.shared = Shared(weights, name)
        self._make, self._work = make, work
        self._crew: ThisProcess | None = None

    @property
    def crew(self) -> ThisProcess:
        """Made when it is first asked for: an error in it is then told."""
        if self._crew is None:
            self._crew = ThisProcess(self._make(), self._work)
        return self._crew


_station: _Station | None = None


def _initialize(name: str, weights: int, make: Callable[[], World[Any, Any]], work: Work) -> None:
    global _station  # noqa: PLW0603  one per process
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True, name="end with parent").start()
    _station = _Station(name, weights, make, work)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare() -> None:
    if _station is not None:
        _ = _station.crew


def _train(engine: EngineName, number: int, place: int, members: list[int]) -> Tally:
    if _station is None:
        raise RuntimeError("this process was not prepared")
    weights = _station.shared.weights.copy()
    total, tally = _station.crew.part(engine, weights, number, members)
    _station.shared.sums[place] = total
    return tally
