# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that are ended, stopped, started twice, or cannot write: what can go on, goes on."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcode.privacy.ledger import BudgetLedger
from fedcode_server.register import RUNNING, STOPPED, Runs
from fedcode_server.registry import Registry
from tests.campaigns.quick import SLOW
from tests.stage import ROOT, RUN, Stage, stage


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stops")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDCODE_CACHE", str(folder / "cache"))
        with stage(folder, rounds=1000) as found:
            found.until("a first round", lambda: found.rounds() > 0)
            yield found


def goes_on(made: Stage, seconds: float = 180) -> None:
    begun = made.rounds()

    def whole() -> bool:
        lines = made.run.done()[begun:]
        return any(len(one["survivors"]) == len(made.names) for one in lines)

    made.until("a round with everybody", whole, seconds)
    made.check()


def in_training(made: Stage, name: str = "a") -> None:
    """When this returns, a member trains; it takes two seconds."""
    folder = made.doom_folder(name)
    (folder / SLOW).write_text("2", encoding="ascii")
    trained = len(list(folder.glob("*.npy")))
    answers = made.rounds()
    made.until("a round", lambda: made.rounds() > answers)
    made.until("training", lambda: charged(made, name) > len(list(folder.glob("*.npy"))) > 0)
    assert len(list(folder.glob("*.npy"))) >= trained
    (folder / SLOW).unlink()


def charged(made: Stage, name: str) -> int:
    path = made.homes[name].ledger / "ledger.sqlite"
    with BudgetLedger.open(path, read_only=True) as ledger:
        return ledger.charges(made.asset(name))


def test_a_coordinator_that_is_ended_in_training_goes_on_with_the_round(made: Stage) -> None:
    in_training(made)
    begun = len(made.run.done())
    start = time.monotonic()
    assert made.end("coordinator", signal.SIGTERM) == 0
    assert time.monotonic() - start < 30
    made.start("coordinator")
    goes_on(made)
    assert made.run.done()[begun]["changed"], "the round was lost"


def test_an_agent_that_is_ended_in_training_sends_what_was_paid_for(made: Stage) -> None:
    in_training(made)
    assert made.end("a", signal.SIGTERM) == 0
    made.start("a")
    goes_on(made)


@pytest.mark.parametrize("name", ["coordinator", "a"])
def test_a_second_process_of_one_home_is_refused(made: Stage, name: str) -> None:
    program, home = "fedcode_client", made.folder / name
    if name == "coordinator":
        program = "fedcode_server"
    words = f"import sys; sys.argv[1:] = ['up', '--home', '{home}']; import {program}.cli as cli"
    done = subprocess.run(
        [sys.executable, "-c", f"{words}; cli.main()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 2
    assert "it is up already" in done.stderr
    goes_on(made)


def test_a_run_is_stopped_and_gone_on_with(made: Stage) -> None:
    with Registry.open(made.coordinator.registry) as registry:
        runs = Runs(registry.database)
        runs.ask_to_stop(RUN)
        made.until("the stop", lambda: made.state() == STOPPED)
        assert runs.move(RUN, RUNNING, since=(STOPPED,))
    goes_on(made)


def test_a_budget_that_cannot_be_written_is_not_spent_from(made: Stage) -> None:
    """A full disk, as a limit of a file's size: the round goes on when there is room again."""
    child = _child(made.processes["a"].pid)
    before = resource.prlimit(child, resource.RLIMIT_FSIZE)
    resource.prlimit(child, resource.RLIMIT_FSIZE, (4096, before[1]))
    begun = made.rounds()
    made.until("a round without", lambda: made.rounds() > begun)
    assert "a" not in made.run.done()[-1]["survivors"]
    resource.prlimit(child, resource.RLIMIT_FSIZE, before)
    goes_on(made)


def _child(pid: int) -> int:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    (child,) = map(int, found)
    return child


@pytest.mark.slow
def test_a_coordinator_that_cannot_write_goes_on_when_it_can(made: Stage) -> None:
    """Not even its log: so what it does is told by its rounds."""
    number = made.processes["coordinator"].pid
    before = resource.prlimit(number, resource.RLIMIT_FSIZE)
    resource.prlimit(number, resource.RLIMIT_FSIZE, (2048, before[1]))
    time.sleep(8)
    begun = made.rounds()
    time.sleep(4)
    assert made.rounds() == begun, "it could write"
    resource.prlimit(number, resource.RLIMIT_FSIZE, before)
    made.until("another round", lambda: made.rounds() > begun)
    assert made.state() == RUNNING
    goes_on(made)
