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
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Barrier
from statistics import median
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fedcode.errors import Interrupted
from fedcode.simulation.population.problem import World
from fedcode.simulation.population.steps import Engine, LocalSteps, Part, Tally
from fedcode.simulation.population.steps import Sequential as PlainSequential
from fedcode.simulation.population.steps import Together as PlainTogether
from fedcode.training import network
from fedcode.weights import Vector

EngineName = Literal["sequential", "together"]

_TRIALS, _AGAIN = 3, 32
_PARTS = 16
_TOGETHER = 64  # members of a part that is trained together, if there are no more than 16 parts


class Work(Protocol):
    """What members do in a round; it crosses process boundaries."""

    def engine(self, name: EngineName, world: World[Any, Any]) -> Engine:
        """What does it."""
        ...

    def aside(self) -> Work:
        """The same to try out: no account is charged."""
        ...


@dataclass(frozen=True, slots=True)
class PlainWork:
    """Members take plain local steps; their changes may be clipped."""

    steps: LocalSteps

    def engine(self, name: EngineName, world: World[Any, Any]) -> Engine:
        """See :class:`Work`."""
        return (PlainTogether if name == "together" else PlainSequential)(world, self.steps)

    def aside(self) -> PlainWork:
        """Itself."""
        return self


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


def parts_of(cohort: NDArray[Any], engine: EngineName) -> list[list[int]]:
    """Whose changes are added up before whose, whatever the number of processes."""
    size = _TOGETHER if engine == "together" else 1
    parts = max(1, min(_PARTS, math.ceil(len(cohort) / size)))
    return [part.tolist() for part in np.array_split(cohort, parts)]


class ThisProcess:
    """Trains a whole cohort.

    Args:
        world: who there is.
        work: what they do.
    """

    def __init__(self, world: World[Any, Any], work: Work) -> None:
        self._world, self._work = world, work
        self._engines: dict[EngineName, Engine] = {}

    def parts(
        self, engine: EngineName, weights: Vector, number: int, parts: Sequence[Sequence[int]]
    ) -> list[Part]:
        """Each part's sum."""
        if engine not in self._engines:
            self._engines[engine] = self._work.engine(engine, self._world)
        return self._engines[engine].run(weights, number, parts)

    def sum(self, engine: EngineName, weights: Vector, number: int, cohort: NDArray[Any]) -> Part:
        """See :class:`Crew`."""
        total, tally = np.zeros(len(weights)), Tally()
        for part, fared in self.parts(engine, weights, number, parts_of(cohort, engine)):
            total += part
            tally += fared
        return total, tally

    def wait(self) -> None:
        """It is ready."""

    def close(self) -> None:
        """Ends its engines."""
        for engine in self._engines.values():
            engine.close()


class Pace:
    """Whether further processes are worth it: on a machine that others use they may not be.

    Both ways are timed, the faster one is taken, and the slower one is tried again now and then.
    """

    def __init__(self) -> None:
        self._taken = {way: deque[float](maxlen=5) for way in (True, False)}
        self._rounds = 0

    def shared(self) -> bool:
        """Whether the next round is for all processes, rather than for this one alone."""
        self._rounds += 1
        for way, taken in self._taken.items():
            if len(taken) < _TRIALS:
                return way
        faster = median(self._taken[True]) <= median(self._taken[False])
        return faster if self._rounds % _AGAIN else not faster

    def note(self, way: bool, seconds: float) -> None:
        """What a member of a round took."""
        self._taken[way].append(seconds)


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

    They start at once, and make their world while the caller goes on: until all are ready, and
    where it is faster (see :class:`Pace`), cohorts are trained by the process that started them.
    They end with it, whatever ends it.

    Args:
        processes: how many.
        make: makes a process' world; must be a module's function, or a partial of one.
        own: what this process trains with.
        work: what members do.
        weights: d.
        engine: that will be asked for; it is tried before a process is ready.
    """

    def __init__(
        self,
        processes: int,
        make: Callable[[], World[Any, Any]],
        own: ThisProcess,
        work: Work,
        weights: int,
        engine: EngineName,
    ) -> None:
        self._own, self._shared, self._pace = own, Shared(weights), Pace()
        context = multiprocessing.get_context("spawn")
        everybody = context.Barrier(processes)
        arguments = (self._shared.name, weights, make, work, everybody)
        self._pool = ProcessPoolExecutor(processes, context, _initialize, arguments)
        self._starting = [self._submit(_prepare, engine) for _ in range(processes)]

    def sum(self, engine: EngineName, weights: Vector, number: int, cohort: NDArray[Any]) -> Part:
        """See :class:`Crew`.

        Raises:
            Interrupted: a process was killed.
        """
        if not all(future.done() for future in self._starting):
            return self._own.sum(engine, weights, number, cohort)
        self.wait()
        way, start = self._pace.shared(), time.perf_counter()
        found = (self._shared_sum if way else self._own.sum)(engine, weights, number, cohort)
        if len(cohort):
            self._pace.note(way, (time.perf_counter() - start) / len(cohort))
        return found

    def _shared_sum(
        self, engine: EngineName, weights: Vector, number: int, cohort: NDArray[Any]
    ) -> Part:
        """A round of all processes."""
        self._shared.weights[:] = weights
        total, tally = np.zeros(len(weights)), Tally()
        with _told():
            given = [
                self._submit(_train, engine, number, place, members)
                for place, members in enumerate(parts_of(cohort, engine))
            ]
            for place, future in enumerate(given):
                tally += future.result()
                total += self._shared.sums[place]
        return total, tally

    def wait(self) -> None:
        """See :class:`Crew`; what went wrong in a process that started is raised here."""
        with _told():
            while self._starting:
                self._starting.pop().result()

    def close(self) -> None:
        """Ends the processes at once, and whatever they are at."""
        for process in list((self._pool._processes or {}).values()):  # noqa: SLF001  no other way
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._shared.close()
        self._own.close()

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
        self,
        name: str,
        weights: int,
        make: Callable[[], World[Any, Any]],
        work: Work,
        everybody: Barrier,
    ) -> None:
        self.shared = Shared(weights, name)
        self._make, self._work, self._everybody = make, work, everybody

    def prepare(self, engine: EngineName) -> None:
        """Makes what is needed, and waits for the others: each process does this once."""
        try:
            self._prepare(engine)
        finally:
            self._everybody.wait()

    def _prepare(self, engine: EngineName) -> None:
        """Makes the world; the first members of an engine take long, so they are made-up ones."""
        world = self._make()
        tried = ThisProcess(world.made_up(), self._work.aside())
        tried.parts(engine, network.read(world.model), 1, [range(_TOGETHER)])
        tried.close()
        self.crew = ThisProcess(world, self._work)


_station: _Station | None = None


def _initialize(
    name: str,
    weights: int,
    make: Callable[[], World[Any, Any]],
    work: Work,
    everybody: Barrier,
) -> None:
    global _station  # noqa: PLW0603  one per process
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True, name="end with parent").start()
    _station = _Station(name, weights, make, work, everybody)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare(engine: EngineName) -> None:
    _own().prepare(engine)


def _train(engine: EngineName, number: int, place: int, members: list[int]) -> Tally:
    own = _own()
    weights = own.shared.weights.copy()
    ((total, tally),) = own.crew.parts(engine, weights, number, [members])
    own.shared.sums[place] = total
    return tally


def _own() -> _Station:
    if _station is None:
        raise RuntimeError("this process is no worker")
    return _station
