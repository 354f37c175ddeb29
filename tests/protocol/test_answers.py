# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What people say to a run that is offered, as they type it, and what they are told."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fedcode_client.cli
import fedcode_server.cli
from fedcode.errors import MembershipError
from fedcode_client.budget.keys import make_keys
from fedcode_client.budget.service import KEYS
from fedcode_client.offers import Desk
from fedcode_server.register import FAILED, FINISHED, RUNNING, STOPPED
from fedcode_server.up import Process
from tests.parties import Parties, federation, federation_of, ports

NAMES = ["acme", "globex", "initech"]
WEIGHTS = 7
PROGRAMS = {
    "fedcode-server": fedcode_server.cli.main,
    "fedcode-client": fedcode_client.cli.main,
}

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Parties, Process]]:
    """A coordinator that is up, and three members; no agent is."""
    with federation(tmp_path_factory.mktemp("answers"), NAMES) as made:
        yield made


@pytest.fixture
def run(stage: tuple[Parties, Process]) -> str:
    parties, process = stage
    return parties.ask(process, federation_of(NAMES), WEIGHTS)


class Interrupted(io.StringIO):
    """A terminal at which somebody presses Ctrl-C."""

    def readline(self, *_: object) -> str:
        raise KeyboardInterrupt


@pytest.fixture
def typed(stage: tuple[Parties, Process]) -> Typed:
    """Runs a command line beside the folders; code, stdout, stderr."""
    parties, _ = stage

    def said(line: str, answers: str | io.StringIO = "") -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        program, *words = shlex.split(line)
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(parties.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", [program, *words])
            patch.setattr(sys, "stdin", io.StringIO(answers) if type(answers) is str else answers)
            patch.setenv("COLUMNS", "500")
            with pytest.raises(SystemExit) as left:
                PROGRAMS[program]()
        return int(left.value.code or 0), out.getvalue(), err.getvalue()

    return said


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_who_does_not_say_yes_has_signed_nothing(
    stage: tuple[Parties, Process], run: str, typed: Typed, answer: str
) -> None:
    code, _, err = typed(f"fedcode-client accept {run} --home acme", answer)
    assert code == 2
    assert err.endswith(  # the prompt is before it: nobody has pressed a key
        f"fedcode-client: nothing was signed\nhint: to say no to it: fedcode-client decline {run}\n"
    )
    parties, process = stage
    assert run not in Desk(parties.organizations["acme"].home).accepted()
    assert process.runs.get(run).state == "offered"


def test_ctrl_c_is_told_as_what_it_is(run: str, typed: Typed) -> None:
    code, _, err = typed(f"fedcode-client accept {run} --home acme", Interrupted())
    assert code == 2
    assert err.endswith("fedcode-client: stopped by Ctrl-C\n")


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_who_does_not_say_yes_stays_a_member(
    stage: tuple[Parties, Process], typed: Typed, answer: str
) -> None:
    code, out, err = typed("fedcode-client leave --home acme", answer)
    assert (code, out) == (2, "")
    assert err.endswith(
        "fedcode-client: acme is still a member of ours\nhint: to leave, answer y\n"
    )
    assert stage[0].organizations["acme"].home.member_of() is not None


@pytest.mark.parametrize("state", [RUNNING, FINISHED, FAILED, STOPPED])
@pytest.mark.parametrize("word", ["accept", "decline"])
def test_a_run_that_is_not_offered_asks_nothing_of_us(
    stage: tuple[Parties, Process],
    run: str,
    typed: Typed,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    word: str,
) -> None:
    monkeypatch.setattr(stage[1], "_next", lambda: None)
    stage[1].runs.move(run, state)
    code, out, err = typed(f"fedcode-client {word} {run} --home acme", "y\n")
    stage[1].runs.move(run, STOPPED)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"fedcode-client: {run} is {state}: nothing is asked of us any more",
        "hint: `fedcode-client offers` shows what is",
    ]


def test_a_run_that_was_declined_waits_for_nobody(run: str, typed: Typed) -> None:
    assert typed(f"fedcode-client decline {run} --home globex")[:2] == (0, f"declined {run}\n")
    code, out, err = typed(f"fedcode-client accept {run} --yes --home acme")
    assert (code, out) == (2, "")
    assert f"{run} is declined: nothing is asked of us any more" in err
    (line,) = [
        line
        for line in typed("fedcode-client offers --home acme")[1].splitlines()
        if line.split()[0] == run
    ]
    assert line.split() == [run, "declined", "toy", "3", "not", "answered"]
    (told,) = json.loads(typed(f"fedcode-server status {run} --home coordinator --json")[1])
    assert told["note"] == "declined by globex"


def test_a_run_that_ends_while_we_look_at_it(stage: tuple[Parties, Process], run: str) -> None:
    desk = Desk(stage[0].organizations["acme"].home)
    offer = desk.asked(run)
    desk.check(offer)
    stage[1].runs.move(run, STOPPED)
    with pytest.raises(MembershipError, match="does not wait for this any more") as caught:
        desk.accept(offer)
    assert "fedcode-client offers" in caught.value.hint


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but databases."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "sqlite" not in path.name
    }


def test_two_runs_have_two_names(stage: tuple[Parties, Process], run: str, typed: Typed) -> None:
    parties, process = stage
    folder = parties.home.root
    before, rows = contents(folder), process.runs.all()
    asked = f"fedcode-server run federation.toml --start start-{WEIGHTS} --home coordinator"
    code, out, err = typed(f"{asked} --name {run}")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"fedcode-server: there is a run {run}",
        "hint: choose another --name",
    ]
    assert (contents(folder), process.runs.all()) == (before, rows)


def test_a_status_for_machines_says_whether_the_coordinator_tells(
    run: str, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(typed("fedcode-client status --home acme --json")[1])
    assert told["unreachable"] is None
    assert told["runs"][run] == "offered"

    def silent(_home: object) -> None:
        raise MembershipError("nobody answers us")

    monkeypatch.setattr("fedcode_client.offers.connect", silent)
    told = json.loads(typed("fedcode-client status --home acme --json")[1])
    assert (told["unreachable"], told["runs"]) == ("nobody answers us", {})


def test_a_budget_service_that_is_down_is_waited_for_aloud(
    stage: tuple[Parties, Process], tmp_path: Path
) -> None:
    """It may have to be started; that takes up to a minute."""
    home = stage[0].organizations["initech"].home
    before, address = home.toml.read_text(), f"127.0.0.1:{ports(1)[0]}"
    home.toml.write_text(f'source = "path:{tmp_path}"\nbudget = "{address}"\n{before}')
    make_keys(home.ledger / KEYS)
    words = [sys.executable, "-m", "fedcode_client", "up", "--home", str(home.root)]
    began = time.monotonic()
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr is not None
        line = agent.stderr.readline()
        waited = time.monotonic() - began
        agent.terminate()
    home.toml.write_text(before)
    assert line == f"fedcode-client: waits for the budget service at {address}\n"
    assert waited < 30
    log = (home.log / "client.log").read_text(encoding="utf-8")
    assert json.loads(log.splitlines()[-1])["event"] == "waits for the budget service"
