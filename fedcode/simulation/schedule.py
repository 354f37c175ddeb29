# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Worker processes, and which job runs when."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedcode.errors import Interrupted
from fedcode.simulation.checkpoints import load_result, save_result
from fedcode.simulation.jobs import Job, Progress, handed_on, initialize, run

Tell = Callable[[Progress], None]
Finished = Callable[[Job], None]

_POLL_SECONDS = 0.1

_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
"""glibc keeps the big logits' memory instead of asking the kernel for it anew: a quarter faster."""


class Workers:
    """A pool of processes with a link back; ``stop`` asks all of them to come to an end."""

    def __init__(self, processes: int, threads: int) -> None:
        for name, value in _ALLOCATOR.items():
            os.environ.setdefault(name, value)
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue()
        self._stop = context.Event()
        self._pool = ProcessPoolExecutor(
            processes, context, initialize, (self._queue, self._stop, threads)
        )
        self.processes = processes

    def submit(
        self, job: Any, work: Callable[[Any], dict[str, Any]] = run
    ) -> Future[dict[str, Any]]:
        """Does ``job`` when a process is free. New processes never see a terminal's Ctrl-C."""
        # blocked, not ignored: what comes while a process starts is handled right after it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._pool.submit(work, job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """Jobs end at their next whole round."""
        self._stop.set()

    def progress(self) -> Iterator[Progress]:
        """What the workers told since the last call."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._queue.get_nowait()

    def kill(self) -> None:
        """Ends all processes at once."""
        for process in list((self._pool._processes or {}).values()):  # noqa: SLF001  no other way
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Ends the processes after their jobs."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._queue.close()


class Schedule:
    """Gives each free process the first job that can run.

    An arm needs its warm start, or the end of the same arm of the task that it continues. The main
    runs, which charge the one ledger, take turns in the order of the tasks: what was spent after
    each round is then the same in every repetition. So do jobs on Flower's engine, of which each
    takes the whole cluster.

    Args:
        workers: the processes.
        folder: finished arms are kept here, and not run again.
        tell: called with every progress.
        finished: called with every arm that is done.
    """

    def __init__(self, workers: Workers, folder: Path, tell: Tell, finished: Finished) -> None:
        self._workers = workers
        self._folder = folder
        self._tell = tell
        self._finished = finished
        self._waiting: list[Job] = []
        self._running: dict[Future[dict[str, Any]], Job] = {}
        self._warm: dict[tuple[str, int], Path | None] = {}
        self.results: dict[str, dict[str, Any]] = {}

    def run(self, jobs: list[Job]) -> None:
        """Runs everything.

        Args:
            jobs: in the order in which they shall start, as far as they can.

        Raises:
            Interrupted: on Ctrl-C, when every job has come to the end of its round. A second
                Ctrl-C does not wait for that.
        """
        arms = [job for job in jobs if job.arm is not None and not self._restored(job)]
        needed = {(job.task, job.seed) for job in arms}
        self._waiting = [
            job for job in jobs if job in arms or (not job.arm and (job.task, job.seed) in needed)
        ]
        try:
            while self._waiting or self._running:
                self._start()
                self._step()
        except KeyboardInterrupt:
            self._wind_down()
            raise Interrupted("stopped by Ctrl-C") from None
        except BrokenProcessPool as error:
            raise Interrupted("a worker process was killed; was there enough memory?") from error

    def _start(self) -> None:
        for job in list(self._waiting):
            if len(self._running) < self._workers.processes and self._can_run(job):
                self._waiting.remove(job)
                ready = replace(job, warm=self._beginning(job))
                self._running[self._workers.submit(ready)] = job

    def _can_run(self, job: Job) -> bool:
        if job.arm is None:
            return True
        jobs = (*self._running.values(), *self._waiting)
        mains = [one for one in jobs if one.folder is not None]
        on_flower = [one for one in jobs if one.engine == "flower"]
        its_turn = all(job not in turns or turns[0] is job for turns in (mains, on_flower))
        known = (job.task, job.seed) in self._warm
        return its_turn and (known if job.before is None else job.before in self.results)

    def _beginning(self, job: Job) -> Path | None:
        """The weights that ``job`` starts from."""
        if job.before is None:
            return self._warm.get((job.task, job.seed))
        return handed_on(self._folder, job.before)

    def _step(self) -> None:
        done, _ = wait(self._running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        for progress in self._workers.progress():
            self._tell(progress)
        for future in done:
            self._keep(self._running.pop(future), future.result())

    def _restored(self, job: Job) -> bool:
        result = load_result(self._folder, job.name)
        if result is not None:
            self.results[job.name] = result
            self._finished(job)
        return result is not None

    def _keep(self, job: Job, result: dict[str, Any]) -> None:
        if job.arm is None:
            self._warm[job.task, job.seed] = Path(result["warm"]) if result["warm"] else None
            return
        self.results[job.name] = result
        save_result(self._folder, job.name, result)
        self._finished(job)

    def _wind_down(self) -> None:
        self._workers.stop()
        pending = [future for future in self._running if not future.cancel()]
        try:
            for future in pending:
                with contextlib.suppress(Interrupted, BrokenProcessPool):
                    self._keep(self._running[future], future.result())
        except KeyboardInterrupt:
            self._workers.kill()
