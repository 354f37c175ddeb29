# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A coordinator and three organizations as processes of their own, on this machine.

    python examples/three_organizations/run.py --out three

Every step is a command that a person would type, and is printed as one. With ``--kill`` the
coordinator and one agent are killed (SIGKILL) in the middle of training, and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
CODE = {"acme": "package:sympy", "globex": "package:sqlalchemy", "initech": "package:networkx"}
TOKENS = 250_000
PORTS = {"enrolment": 19471, "fleet": 19472, "local": 19473}

POLICY = """\
organization = "{name}"
version = 1
delta = 1e-6

[caps]
epsilon = 20.0
per_30_days = 12.0

[permitted]
purposes = ["demonstration"]
tasks = ["completion", "defects"]
units = ["function"]
minimum_cohort = 3

[[officers]]
name = "ada"
key = "{ada}"

[[officers]]
name = "grace"
key = "{grace}"
"""


class Stage:
    """Where the play takes place.

    Args:
        out: a new folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def say(self, program: str, *words: str, quiet: bool = False) -> str:
        """Types a command, and waits for what it prints."""
        if not quiet:
            print(f"$ {shlex.join([program, *words])}", flush=True)
        done = subprocess.run(
            [str(BIN / program), *words], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{program} {words[0]} ended with {done.returncode}")
        if done.stdout and not quiet:
            print(done.stdout, end="", flush=True)
        return done.stdout

    def tell(self, program: str, *words: str) -> object:
        """Types a command with --json, and reads what it prints."""
        return json.loads(self.say(program, *words, "--json", quiet=True))

    def begin(self, name: str, program: str, *words: str) -> None:
        """Starts a program that goes on."""
        print(f"$ {shlex.join([program, *words])} &", flush=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.processes[name] = subprocess.Popen(
            [str(BIN / program), *words],
            stdout=(self.out / f"{name}.out").open("ab"),
            env=environment,
        )

    def kill(self, name: str) -> None:
        """Ends a program as a power cut would."""
        print(f"# SIGKILL {name}", flush=True)
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def end(self) -> None:
        """Ends whatever goes on."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(30)

    def until(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        """Waits for something."""
        end = time.monotonic() + seconds
        while not done():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise SystemExit(f"{name} has ended with {process.returncode}")
            if time.monotonic() > end:
                raise SystemExit(f"{what}: not within {seconds:g} seconds")
            time.sleep(0.3)


def found_coordinator(stage: Stage) -> str:
    """The coordinator's folder and process."""
    home = str(stage.out / "coordinator")
    stage.say("fedcode-server", "init", home, "--federation", "three", "--host", "127.0.0.1")
    settings = Path(home) / "server.toml"
    text = settings.read_text(encoding="utf-8")
    for name, port in PORTS.items():
        text = text.replace(f"{name} = {port - 10000}", f"{name} = {port}")
    settings.write_text(text.replace('"0.0.0.0"', '"127.0.0.1"'), encoding="utf-8")
    begin_coordinator(stage)
    return home


def begin_coordinator(stage: Stage) -> None:
    """Its process, which answers when this returns."""
    home = str(stage.out / "coordinator")
    stage.begin("coordinator", "fedcode-server", "up", "--home", home)
    stage.until("the coordinator", lambda: (stage.out / "coordinator.out").stat().st_size > 0, 60)
    time.sleep(1)


def join(stage: Stage, name: str, coordinator: str) -> str:
    """An organization joins, and its officers open a budget."""
    home = str(stage.out / name)
    invited = stage.tell("fedcode-server", "invite", name, "--home", coordinator)
    assert isinstance(invited, dict)
    stage.say("fedcode-client", "init", home)
    stage.say("fedcode-client", "join", invited["join"], "--home", home)
    stage.say("fedcode-server", "approve", name, "--home", coordinator)
    settings = Path(home) / "client.toml"
    text = settings.read_text(encoding="utf-8")
    text = f'source = "{CODE[name]}"\n{text}'
    settings.write_text(text.replace("# max_tokens = 10000000", f"max_tokens = {TOKENS}"))
    keys = {}
    for officer in ("ada", "grace"):
        key = str(Path(home) / f"{officer}.key")
        keys[officer] = stage.say("fedcode-client", "policy", "key", key).strip()
    policy = Path(home) / "policy.toml"
    policy.write_text(POLICY.format(name=name, **keys), encoding="utf-8")
    for officer in keys:
        key = str(Path(home) / f"{officer}.key")
        stage.say("fedcode-client", "policy", "sign", str(policy), "--key", key)
    stage.say(
        "fedcode-client", "budget", "create", CODE[name], "--policy", str(policy),
        "--unit", "function", "--home", home,
    )  # fmt: skip
    return home


def rounds(stage: Stage, coordinator: str) -> int:
    """How many rounds are done, over all tasks."""
    (run,) = stage.tell("fedcode-server", "status", "--home", coordinator)  # type: ignore[misc]
    return sum(done for done, _ in run["rounds"].values())


def finished(stage: Stage, coordinator: str) -> bool:
    """Whether the run is over."""
    (run,) = stage.tell("fedcode-server", "status", "--home", coordinator)  # type: ignore[misc]
    if run["state"] in ("failed", "declined", "stopped"):
        raise SystemExit(f"the run has {run['state']}: {run['note']}")
    return bool(run["state"] == "finished")


def main() -> None:
    """The whole play."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--kill", action="store_true", help="kill two of them on the way")
    parser.add_argument("--federation", type=Path, default=HERE / "federation.toml")
    options = parser.parse_args()
    if options.out.exists() and any(options.out.iterdir()):
        raise SystemExit(f"{options.out} is not empty")
    options.out.mkdir(parents=True, exist_ok=True)
    stage = Stage(options.out.resolve())
    try:
        play(stage, options.federation, kill=options.kill)
    finally:
        stage.end()


def play(stage: Stage, federation: Path, *, kill: bool) -> None:
    """From the first command to the report."""
    coordinator = found_coordinator(stage)
    homes = {name: join(stage, name, coordinator) for name in CODE}
    start = str(stage.out / "start")
    stage.say("fedcode", "prepare", str(federation), "--out", start)
    stage.say("fedcode-server", "run", str(federation), "--start", start, "--home", coordinator)
    for name, home in homes.items():
        stage.say("fedcode-client", "accept", "three-1", "--yes", "--home", home)
        stage.begin(name, "fedcode-client", "up", "--home", home)
    if kill:
        stage.until("two rounds", lambda: rounds(stage, coordinator) >= 2, 300)
        stage.kill("coordinator")
        begin_coordinator(stage)
        before = rounds(stage, coordinator)
        stage.until("another round", lambda: rounds(stage, coordinator) > before, 300)
        stage.kill("acme")
        stage.begin("acme", "fedcode-client", "up", "--home", homes["acme"])
    stage.until("the run", lambda: finished(stage, coordinator), 900)
    stage.say("fedcode-server", "status", "--home", coordinator)
    for name, home in homes.items():
        stage.say("fedcode-client", "budget", "show", "--home", home, quiet=name != "acme")
    run = str(Path(coordinator) / "runs" / "three-1")
    result = str(stage.out / "result")
    stage.say("fedcode", "measure", run, "--federation", str(federation), "--out", result)


if __name__ == "__main__":
    if shutil.which("fedcode-server", path=str(BIN)) is None:
        raise SystemExit("fedcode-server is not installed beside this Python")
    main()
