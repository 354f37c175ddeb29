# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A coordinator and organizations as real processes on loopback, and what must hold of them.

Their training is noise alone (``tests.campaigns.quick``), so that a round takes about a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedcode.budgets import calibrated
from fedcode.certificates import Invitation
from fedcode.corpus import digest_of, save_public
from fedcode.errors import MembershipError
from fedcode.federation import load
from fedcode.privacy.ledger import BudgetLedger
from fedcode.rounds.checkpoints import load_state
from fedcode.rounds.optimizer import ServerOptimizer
from fedcode.rounds.verification import verify
from fedcode.start import PUBLIC, Start
from fedcode.storage import write_json
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.weights import digest
from fedcode_client import joining
from fedcode_client.home import Home as OurHome
from fedcode_client.home import make
from fedcode_client.offers import Desk
from fedcode_server import founding
from fedcode_server.asking import ask
from fedcode_server.register import Runs
from fedcode_server.registry import Registry
from fedcode_server.runs import RunFolder
from fedcode_server.settings import Home as TheirHome
from tests.campaigns.doomed import DOOM, Doom
from tests.proxy import Proxy
from tests.unit.officers import open_real
from tests.unit.starts import corpus

ROOT = Path(__file__).parents[1]
RUN, TASK, DELTA = "stage-1", "completion", 1e-3
CODE = "def ours(number):\n    return number + {}\n"

FEDERATION = """\
name = "stage"

[privacy]
delta = {delta}

[public]
source = "path:public"

[[tasks]]
name = "{task}"
rounds = {rounds}

[tasks.training]
sampling_rate = 0.1
{organizations}
"""

SETTINGS = """\
federation = "stage"
hosts = ["127.0.0.1"]

[listen]
address = "127.0.0.1"
enrolment = {enrolment}
fleet = {fleet}
local = {local}

[rounds]
{rounds}
"""

SERVES = {"answer_seconds": 30, "training_seconds": 60, "away_seconds": 40, "gather_seconds": 10}


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Stage:
    """One federation.

    Args:
        folder: for all of it.
        names: of the organizations.
        rounds: of the run.
        weights: of the model.
        proxied: whether agents reach the coordinator through proxies.
        settings: of rounds, at the coordinator.

    Attributes:
        processes: that go on.
        proxies: of the ports that agents call.
    """

    def __init__(
        self,
        folder: Path,
        names: tuple[str, ...] = ("a", "b", "c"),
        *,
        rounds: int = 100,
        weights: int = 500,
        proxied: bool = False,
        **settings: float,
    ) -> None:
        self.folder, self.names, self.weights = folder, names, weights
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.proxies: dict[str, Proxy] = {}
        self._log = (folder / "stderr").open("ab")
        enrolment, fleet, local = free_ports(3)
        self.ports = {"enrolment": enrolment, "fleet": fleet, "local": local}
        self.coordinator = TheirHome(folder / "coordinator")
        self.homes = {name: OurHome(folder / name) for name in names}
        self.federation = folder / "federation.toml"
        try:
            self._begin(rounds, {**SERVES, **settings}, proxied=proxied)
        except BaseException:
            self.close()
            raise

    def _begin(self, rounds: int, settings: dict[str, float], *, proxied: bool) -> None:
        names = self.names
        self._found(settings)
        self.start("coordinator")
        self.until("the coordinator", self.healthy)
        organizations = "".join(f'\n[[organizations]]\nname = "{name}"' for name in names)
        text = FEDERATION.format(delta=DELTA, task=TASK, rounds=rounds, organizations=organizations)
        self.federation.write_text(text, encoding="utf-8")
        for name in names:
            self._join(name)
        self._ask()
        if proxied:
            self.proxies = {one: Proxy(self.ports[one]) for one in ("enrolment", "fleet")}
        for name in names:
            if proxied:
                self.through(name, **{one: made.port for one, made in self.proxies.items()})
            self.start(name)

    # Who takes part.

    def _found(self, rounds: dict[str, float]) -> None:
        founding.found(self.coordinator.root, "stage", ["127.0.0.1"])
        lines = "\n".join(f"{key} = {value}" for key, value in rounds.items())
        text = SETTINGS.format(rounds=lines, **self.ports)
        self.coordinator.toml.write_text(text, encoding="utf-8")

    def _join(self, name: str) -> None:
        home = self.homes[name]
        make(home.root)
        invitation = Invitation.make(
            self.coordinator.authority().fingerprint, int(time.time()) + 3600
        )
        with Registry.open(self.coordinator.registry) as registry:
            registry.invite(invitation, name, approve=True)
        self._enrol(home, joining.Ticket(invitation, "127.0.0.1", self.ports["enrolment"]))
        code = home.root.with_name(f"{name}-code")
        code.mkdir()
        (code / "ours.py").write_text(CODE.format(len(name)), encoding="utf-8")
        (code / ".fedcode-asset").write_text(f"{self.names.index(name):032x}\n", encoding="ascii")
        home.toml.write_text(f'source = "path:{code}"\n', encoding="utf-8")
        with BudgetLedger.open(home.ledger / "ledger.sqlite") as ledger:
            open_real(
                ledger,
                self.asset(name),
                order=calibrated(load(self.federation)).filter.order,
                delta=DELTA,
            )

    @staticmethod
    def _enrol(home: OurHome, ticket: joining.Ticket) -> None:
        """Again where a busy machine has not heard of the invitation yet."""
        for _ in range(20):
            with contextlib.suppress(MembershipError):
                joining.join(home, ticket)
                return
        joining.join(home, ticket)

    def asset(self, name: str) -> str:
        return f"folder:{self.names.index(name):032x}"

    def _ask(self) -> None:
        """Offers a run, which all accept."""
        public, start = corpus(), self.folder / "start"
        save_public(start / PUBLIC, public)
        Start.make(
            TASK,
            {},
            fingerprint="0f" * 32,
            public=digest_of(public),
            weights=np.linspace(-1, 1, self.weights, dtype=np.float32),
            frozen={},
        ).save(start)
        with Registry.open(self.coordinator.registry) as registry:
            runs = Runs(registry.database)
            ask(self.coordinator, registry, runs, self.federation, start, None)
        for name in self.names:
            desk = Desk(self.homes[name])
            offer = desk.offer(RUN)
            desk.check(offer)
            desk.accept(offer)

    def through(self, name: str, enrolment: int, fleet: int) -> None:
        """From its next start on, an agent reaches the coordinator at other ports."""
        path = self.homes[name].state / "membership.json"
        values = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, values | {"enrolment": enrolment, "fleet": fleet})

    # Processes.

    def doom_folder(self, name: str) -> Path:
        made = self.folder / f"{name}-doom"
        made.mkdir(exist_ok=True)
        return made

    def start(self, name: str, *more: str) -> None:
        """Starts a party by the one command that starts it, with ``more`` words."""
        doom = self.doom_folder(name)
        if name == "coordinator":
            words = ["fedcode_server", "up", "--home", str(self.coordinator.root)]
        else:
            (doom.with_name(f"{doom.name}-budget")).mkdir(exist_ok=True)
            words = ["fedcode_client", "up", "--home", str(self.homes[name].root), *more]
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.doomed", str(doom), *words],
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def end(self, name: str, number: int) -> int:
        """Sends a signal, and waits for the end."""
        self.processes[name].send_signal(number)
        return self.processes[name].wait(30)

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for proxy in self.proxies.values():
            proxy.close()
        self._log.close()

    def until(self, what: str, done: Callable[[], object], seconds: float = 180) -> None:
        """Waits; what dies in the meantime without being told to is a failure."""
        end = time.monotonic() + seconds
        while not done():
            for name, process in self.processes.items():
                code = process.poll()
                assert code is None, f"{what}: {name} has ended with {code}\n{self.said()}"
            assert time.monotonic() < end, f"{what}: not within {seconds:g} s\n{self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        """The last lines of all logs, for whoever reads why a test failed."""
        parts = [(self.folder / "stderr").read_text(encoding="utf-8", errors="replace")[-3000:]]
        for path in sorted(self.folder.glob("*/log/*.log")):
            lines = path.read_text(encoding="utf-8").splitlines()[-12:]
            parts += [f"-- {path.parent.parent.name}", *lines]
        return "\n".join(parts)

    def healthy(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.ports["local"])) == 0

    # Deaths.

    def kill(self, party: str, doom: Doom, seconds: float = 180, *, then: int | None = 1) -> None:
        """Lets a party end where ``doom`` says, starts it again, and waits for rounds.

        Args:
            party: ``coordinator``, an organization, or ``NAME-budget``: its budget service.
            doom: where.
            seconds: for each of these.
            then: how many more rounds are waited for; None where there are none.
        """
        of_budget = party.endswith("-budget")
        name = party.removesuffix("-budget")
        folder = self.doom_folder(name)
        if of_budget:
            folder = folder.with_name(f"{folder.name}-budget")
        doom.put(folder)
        self._died(party, name, folder, seconds, of_budget=of_budget)
        if then is not None:
            wanted = self.rounds() + then
            self.until(f"{party} died {doom}", lambda: self.rounds() >= wanted, seconds)

    def _died(
        self, party: str, name: str, folder: Path, seconds: float, *, of_budget: bool
    ) -> None:
        end = time.monotonic() + seconds
        while (folder / DOOM).exists():
            assert time.monotonic() < end, f"{party} does not come to its doom\n{self.said()}"
            time.sleep(0.01)
        if of_budget:
            return  # its agent starts it again
        assert self.processes[name].wait(10) == -9
        self.start(name)

    # What must hold.

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.coordinator.runs / RUN)

    def rounds(self) -> int:
        """Rounds whose lines are written."""
        path = self.run.path / "rounds.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def state(self) -> str:
        """The run's."""
        with Registry.open(self.coordinator.registry) as registry:
            row = Runs(registry.database).get(RUN)
        assert row is not None
        return row.state

    def check(self) -> int:
        """All that is promised, of a federation whose processes have ended or go on.

        Returns:
            How many rounds had a total.
        """
        checkpoint = self.run.path / "checkpoint"
        self.until("a checkpoint", lambda: load_state(checkpoint, TASK)[0])
        state, _ = load_state(checkpoint, TASK)
        assert state is not None
        lines = [one for one in self.run.done() if one["round"] <= state.round]
        assert [one["round"] for one in lines] == list(range(1, state.round + 1))
        changed = self._check_weights(lines, state.weights)
        self._check_transcript()
        for name in self.names:
            self._check_ledger(name, lines)
        return changed

    def _check_weights(self, lines: list, last: np.ndarray) -> int:
        """The weights are what the members' own terms, added up anew, give."""
        agreement = self.run.agreement(TASK).agreement
        lattice, weights = agreement.lattice(), self.run.start_of(TASK).weights
        optimizer, grid, changed = ServerOptimizer(agreement.server, 0.0, {}), InMemoryGrid({}), 0
        for line in lines:
            terms = [
                np.load(self.doom_folder(name) / f"{line['round']}.npy").astype(np.int64)
                for name in line["survivors"]
            ]
            if line["changed"]:
                mean = lattice.values(np.sum(terms, axis=0)) / len(terms) * agreement.factor
                weights = optimizer.apply(line["round"], weights, mean, grid)
                changed += 1
            assert digest(weights) == line["weights"], f"round {line['round']}: another sum"
        assert np.array_equal(weights, last)
        return changed

    def _check_transcript(self) -> None:
        agreement = self.run.path / f"agreement-{TASK}.json"
        found = verify(agreement, None, self.run.path / "transcript.jsonl")
        assert found.wrong == ()
        assert found.missing == ()

    def _check_ledger(self, name: str, lines: list) -> None:
        """One charge a round at most, and one for each round in whose sum the member is."""
        asset = self.asset(name)
        with BudgetLedger.open(self.homes[name].ledger / "ledger.sqlite", read_only=True) as ledger:
            history = ledger.history(asset)
            ledger.verify(None)
        rounds = [charge.round for charge in history]
        assert len(rounds) == len(set(rounds)), f"{name} has paid twice for a round"
        inside = {one["round"] for one in lines if name in one["survivors"]}
        assert inside <= {charge.round for charge in history if charge.state == "SENT"}


@contextmanager
def stage(folder: Path, **more) -> Iterator[Stage]:
    """A stage that is cleared at the end."""
    made = Stage(folder, **more)
    try:
        yield made
    finally:
        made.close()
