# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode`, in a process of its own or in this one.

Most of a small run is three processes' import of torch. In this process it is imported already, and
workers are forked from one that has done nothing else; the rest is as it is in a process.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from fedcode.cli import main

PROGRAM = str(Path(sys.executable).parent / "fedcode")


class _Forked(ProcessPoolExecutor):
    """Workers that are forked from a process in which nothing but the imports has been done."""

    def __init__(
        self, processes: int, _: object, initialize: Callable[..., None], given: tuple[Any, ...]
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["fedcode.simulation.jobs", __name__])
        super().__init__(processes, context, _begin, (dict(os.environ), initialize, given))


def _begin(
    environment: dict[str, str], initialize: Callable[..., None], given: tuple[Any, ...]
) -> None:
    """A worker has the environment that its program has now, as one that is spawned."""
    os.environ.clear()
    os.environ.update(environment)
    initialize(*given)


@contextlib.contextmanager
def forked() -> Iterator[None]:
    """While this is open, a simulation's workers are forked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedcode.simulation.schedule.ProcessPoolExecutor", _Forked)
        yield


def started(words: list[str], environment: Mapping[str, str]) -> CompletedProcess[str]:
    """What the program does, in a process of its own."""
    return subprocess.run(
        [PROGRAM, *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
    )


def typed(words: list[str], environment: Mapping[str, str]) -> CompletedProcess[str]:
    """What the program does, in this process."""
    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with (
        pytest.MonkeyPatch.context() as patch,
        forked(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", [PROGRAM, *words])
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
    return CompletedProcess(words, ended.value.code or 0, out.getvalue(), err.getvalue())
