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
from fedcode.simulation.jobs import Job, Progress, initialize, run

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

    def submit(self, job: Job) -> Future[dict[str, Any]]:
        """Starts ``job`` when a process is free. New processes never see a terminal's Ctrl-C."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return self._pool.submit(run, job)
        finally:
            signal.signal(signal.SIGINT, before)

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
    """Runs warm starts first, then the arms that build on them, the most wanted first.

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
        self._running: dict[Future[dict[str, Any]], Job] = {}
        self.results: dict[str, dict[str, Any]] = {}

    def run(self, warm_starts: list[Job], arms: list[Job]) -> None:
        """Runs everything.

        Args:
            warm_starts: one for each task and seed.
            arms: in the order in which they shall start; their ``warm`` is filled in.

        Raises:
            Interrupted: on Ctrl-C, when every job has come to the end of its round. A second
                Ctrl-C does not wait for that.
        """
        waiting = [job for job in arms if not self._restored(job)]
        needed = {(job.task, job.seed) for job in waiting}
        for job in warm_starts:
            if (job.task, job.seed) in needed:
                self._running[self._workers.submit(job)] = job
        try:
            while self._running:
                waiting = self._step(waiting)
        except KeyboardInterrupt:
            self._wind_down()
            raise Interrupted("stopped by Ctrl-C") from None
        except BrokenProcessPool as error:
            raise Interrupted("a worker process was killed; was there enough memory?") from error

    def _step(self, waiting: list[Job]) -> list[Job]:
        done, _ = wait(self._running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        for progress in self._workers.progress():
            self._tell(progress)
        for future in done:
            job = self._running.pop(future)
            result = future.result()
            if job.arm is not None:
                self._keep(job, result)
                continue
            warm = Path(result["warm"]) if result["warm"] else None
            ready = [j for j in waiting if (j.task, j.seed) == (job.task, job.seed)]
            for arm in ready:
                self._running[self._workers.submit(replace(arm, warm=warm))] = arm
            waiting = [j for j in waiting if j not in ready]
        return waiting

    def _restored(self, job: Job) -> bool:
        result = load_result(self._folder, job.name)
        if result is not None:
            self.results[job.name] = result
            self._finished(job)
        return result is not None

    def _keep(self, job: Job, result: dict[str, Any]) -> None:
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
