# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the start files of a federation: what its coordinator and all its members begin from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fedcode.budgets import calibrated
from fedcode.corpus import save_public
from fedcode.errors import RunError
from fedcode.federation import Federation
from fedcode.folders import check_empty
from fedcode.simulation import jobs
from fedcode.simulation.dataset import load
from fedcode.simulation.jobs import Job, Progress
from fedcode.simulation.run import check_tasks
from fedcode.start import PUBLIC, Start


@dataclass(frozen=True, slots=True)
class Prepared:
    """What lies in a folder of start files.

    Attributes:
        folder: the folder.
        public: digest of the public corpus.
        files: its files.
        tokens: its lexer tokens.
        starts: of every task, in the federation's order.
    """

    folder: Path
    public: str
    files: int
    tokens: int
    starts: tuple[Start, ...]


class _Told:
    """Takes progress where worker processes have a queue."""

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self.put = tell


def prepare(
    federation: Federation,
    folder: Path,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Prepared:
    """Reads the public code, makes the tasks, warms them up, and writes ``folder``.

    Public code that stands in an organization whose source is known here is left out, so that what
    is measured there was not trained on.

    Args:
        federation: the file.
        folder: gets the start files; must not exist or be empty.
        tell: called with each step of a warm start.

    Raises:
        UsageError: something a person can mend; nothing is written.
    """
    check_tasks(federation)
    federation.check_beginnings("a start file")
    federation.check_labels()
    calibrated(federation)
    check_empty(folder)
    load(federation, os.cpu_count() or 1, known=True)  # in several processes, into the cache
    jobs.initialize(_Told(tell), None, federation.threads)
    plain = federation.model_dump(mode="json")
    starts = []
    for settings in federation.tasks:
        job = Job(plain, settings.name, federation.seed)
        warm = jobs.run(job)["warm"]
        made = jobs.prepared(job)
        starts.append(jobs.start_file(replace(job, warm=Path(warm) if warm else None), made))
    try:
        public = save_public(folder / PUBLIC, made.data.public)
        for start in starts:
            start.save(folder)
    except OSError as error:
        raise RunError(f"{folder} cannot be written", "choose another --out") from error
    corpus = made.data.public
    return Prepared(folder, public, len(corpus.files), corpus.lexer_tokens, tuple(starts))
