# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A coordinator's process, and organizations whose members release noise about public numbers.

The network, the services, the ledgers and the secure sums are the real ones; what is not there is
code to train on. As a program it is one such organization's agent:

    python -m tests.parties HOME
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "unit"))

from officers import open_real

from fedcode.budgets import calibrated, permitted_rounds
from fedcode.certificates import Invitation
from fedcode.federation import Federation, check
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.rounds.member import Member
from fedcode.start import PUBLIC, Start
from fedcode.storage import append_line
from fedcode.trainer import LocalReport
from fedcode_client import home as theirs
from fedcode_client import joining
from fedcode_client.agent import Agent
from fedcode_client.answering import Answering
from fedcode_client.lines import Straight
from fedcode_client.offers import Desk, Offer
from fedcode_server import founding
from fedcode_server.asking import ask
from fedcode_server.registry import Registry
from fedcode_server.settings import Home
from fedcode_server.up import Process

FEDERATION, TASK, ASSET = "ours", "toy", "code"


def ports(count: int) -> list[int]:
    """Ports that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def federation_of(names: list[str], *, rounds: int = 3, **changes: object) -> Federation:
    """What the organizations are asked for: one task of no model."""
    values = {
        "name": FEDERATION,
        "purpose": "test",
        "privacy": {"epsilon": 200.0},
        "organizations": [{"name": name} for name in names],
        "tasks": [
            {
                "name": TASK,
                "rounds": rounds,
                "training": {"sampling_rate": 0.01, "noise_multiplier": 1.0},
            }
        ],
    }
    return check(values | changes)


def start_files(folder: Path, weights: int) -> Path:
    """What ``fedcode prepare`` would leave, of nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PUBLIC).write_bytes(b"nothing")
    zeros = np.zeros(weights, np.float32)
    Start.make(TASK, {}, fingerprint="0" * 64, public="1" * 64, weights=zeros, frozen={}).save(
        folder
    )
    return folder


class Noise:
    """Releases a change of weights to a target, with noise, at once."""

    def __init__(self, policy, nominal: int, journal: Path, target: float = 0.0) -> None:
        self.report = LocalReport()
        self.policy, self.nominal, self.target = policy, nominal, np.float32(target)
        self.journal = journal

    def train(self, weights, receipt):
        """See Trainer; how long it took is a line of the journal."""
        start = time.perf_counter()
        release = self.released(weights, receipt)
        append_line(self.journal, [receipt.round, time.perf_counter() - start])
        return release

    def released(self, weights, receipt):
        """What leaves."""
        mechanism = GaussianMechanism(self.policy, SecureGenerator(), receipt)
        units = len(mechanism.sample(100))
        pull = self.target - weights
        pull *= np.float32(min(1.0, self.policy.clipping_norm / max(1e-9, np.linalg.norm(pull))))
        noised = mechanism.noised(ClippedSum(pull, self.policy.clipping_norm)).values
        mechanism.end_step(units)
        return mechanism.release(noised / np.float32(self.nominal))


@dataclass
class Organization:
    """One organization: its folder, its ledger, and an agent in a thread while it is up."""

    home: theirs.Home
    ledger: BudgetLedger | None = None
    agent: Agent | None = None
    members: list[Member] = field(default_factory=list)
    change: Callable[[Member], object] = lambda _member: None
    largest: int = 256 << 20
    _thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """In the federation."""
        return self.home.membership().member

    @property
    def journal(self) -> Path:
        """How long its members' training took: round and seconds, a line each."""
        return self.home.root / "training.jsonl"

    def build(self, offer: Offer) -> dict[str, Member]:
        """Members whose training is noise."""
        made = {}
        for signed in offer.agreements:
            agreed, federation = signed.agreement, offer.federation
            permitted = permitted_rounds(
                federation, federation.member(self.name), calibrated(federation)
            )
            policy = agreed.policy
            step = (policy.noise_multiplier, policy.sampling_rate, policy.steps_per_round)
            cost = self.ledger.account(ASSET).budget.cost(*step)
            member = Member(
                self.name,
                ASSET,
                agreed,
                cost,
                permitted[agreed.task] * cost.nano,
                self.ledger,
                Noise(policy, agreed.training.nominal_batch, self.journal),
                self.home.signing_key(),
            )
            self.change(member)
            self.members.append(member)
            made[agreed.digest()] = member
        return made

    def accept(self, run: str) -> None:
        """Looks at a run, and signs it."""
        desk = Desk(self.home)
        offer = desk.offer(run)
        desk.check(offer)
        desk.accept(offer)

    def open(self) -> None:
        """Opens the ledger, which has an account."""
        self.ledger = BudgetLedger.open(self.home.ledger / "ledger.sqlite")
        if self.ledger.account(ASSET) is None:
            open_real(self.ledger, ASSET, epsilon=200.0)

    def up(self) -> None:
        """The agent goes on until :meth:`down`."""
        if self.ledger is None:
            self.open()
        self.answering, self.agent = agent_of(self.home, self.build, self.largest)
        self._thread = threading.Thread(target=self.agent.run, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its agent goes on."""
        return self._thread is not None and self._thread.is_alive()

    def down(self) -> None:
        """Ends the agent."""
        if self.agent is not None:
            self.agent.stop()
            self._thread.join(30)
        if self.ledger is not None:
            self.ledger.close()
        self.ledger = self.agent = None


def agent_of(home, build, largest):
    """An agent of the straight way, and what it answers with."""
    answering = Answering(home, build)
    line = partial(Straight, home, largest)
    return answering, Agent(home, answering, line, lambda: None)


class Parties:
    """A coordinator and organizations in a folder."""

    def __init__(self, folder: Path, **rounds: float) -> None:
        self.folder = folder
        founding.found(folder / "coordinator", FEDERATION, ["127.0.0.1", "localhost"])
        self.home = Home(folder / "coordinator")
        text = self.home.toml.read_text().replace('"0.0.0.0"', '"127.0.0.1"')
        for name, port in zip(("enrolment", "fleet", "local"), ports(3), strict=True):
            text = text.replace(f"\n{name} = ", f"\n{name} = {port} # ")
        for name, value in rounds.items():
            text = text.replace(f"\n{name} = ", f"\n{name} = {value} # ")
        self.home.toml.write_text(text)
        self.organizations: dict[str, Organization] = {}

    def join(self, name: str) -> Organization:
        """An organization becomes a member of whoever serves."""
        theirs.make(self.folder / name)
        home, settings = theirs.Home(self.folder / name), self.home.settings()
        invitation = Invitation.make(self.home.authority().fingerprint, int(time.time()) + 3600)
        with Registry.open(self.home.registry) as registry:
            registry.invite(invitation, name, approve=True)
        joining.join(home, joining.Ticket(invitation, "127.0.0.1", settings.listen.enrolment))
        self.organizations[name] = Organization(home)
        return self.organizations[name]

    def ask(self, process: Process, federation: Federation, weights: int) -> str:
        """Offers a run; its name."""
        start = start_files(self.folder / f"start-{weights}", weights)
        path = self.folder / "federation.toml"
        path.write_text(toml(federation))
        with Registry.open(self.home.registry) as registry:
            return ask(self.home, registry, process.runs, path, start, None).name


def toml(federation: Federation) -> str:
    """The settings as a person would write them."""
    (task,) = federation.tasks
    aggregation = federation.aggregation.model_dump(exclude_none=True)
    lines = [
        f'name = "{federation.name}"',
        f'purpose = "{federation.purpose}"',
        "[aggregation]",
        *(f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in aggregation.items()),
        "[privacy]",
        f"epsilon = {federation.privacy.epsilon}",
        "[[tasks]]",
        f'name = "{task.name}"\nrounds = {task.rounds}',
        "[tasks.training]",
        f"sampling_rate = {task.training.sampling_rate}",
        f"noise_multiplier = {task.training.noise_multiplier}",
    ]
    lines += [f'[[organizations]]\nname = "{one.name}"' for one in federation.members]
    return "\n".join(lines)


@contextmanager
def federation(
    folder: Path, names: list[str], **rounds: float
) -> Iterator[tuple[Parties, Process]]:
    """A coordinator that is up, and organizations that have joined."""
    parties = Parties(folder, **rounds)
    with Process(parties.home) as process:
        for name in names:
            parties.join(name)
        try:
            yield parties, process
        finally:
            for one in parties.organizations.values():
                one.down()


def finished(process: Process, run: str, seconds: float) -> None:
    """Waits for a run's end, and demands that it is a good one."""
    end = time.monotonic() + seconds
    while (row := process.runs.get(run)).state in ("offered", "running"):
        assert time.monotonic() < end, f"the run is {row.state} after {seconds:g} s"
        time.sleep(0.05)
    assert row.state == "finished", row.note


if __name__ == "__main__":
    logging.disable()
    organization = Organization(theirs.Home(Path(sys.argv[1])))
    organization.up()
    sys.stdout.write("up\n")
    sys.stdout.flush()
    sys.stdin.read()
    organization.down()
