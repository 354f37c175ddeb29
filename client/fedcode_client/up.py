# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The agent's process: our ledger, our code, and the rounds that we have agreed to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

import grpc
from prometheus_client import CollectorRegistry, Gauge

from fedcode.errors import ConfigError, LedgerDamaged, PrivacyError
from fedcode.logs import event
from fedcode.rounds.member import Member
from fedcode.services import enrollment_pb2_grpc as stubs
from fedcode.storage import alone, append_line
from fedcode.transport.front import Listener
from fedcode.transport.local import local_app
from fedcode_client import witness
from fedcode_client.agent import Agent
from fedcode_client.answering import Answering
from fedcode_client.budget.keys import Role
from fedcode_client.budget.remote import RemoteLedger
from fedcode_client.budget.where import connects
from fedcode_client.certificate import TRANSCRIPT
from fedcode_client.connection import Unreachable, asking, connect
from fedcode_client.data import Snapshots
from fedcode_client.home import Home
from fedcode_client.lines import Straight
from fedcode_client.offers import Offer
from fedcode_client.ours import Ours, StartFiles
from fedcode_client.screening import screen_of
from fedcode_client.supernode import Beside

logger = logging.getLogger(__name__)

_STATUS = "`fedcode-client status` says more"
_AGAIN = 3.0
_LEAST = 64 << 20


class Process:
    """All that ``fedcode-client up`` runs.

    Args:
        home: the organization's folder.
        supernode: whether requests come through a stock SuperNode, run beside us.
        tell: is given a line for a person who waits.

    Raises:
        ConfigError: no code is named, or its account is not there.
        MembershipError: we have not joined, or the coordinator cannot be reached now.
        LedgerDamaged: the ledger was set back.
        RunError: it is up already, the budget service does not start, or a port is taken.
    """

    def __init__(
        self,
        home: Home,
        *,
        supernode: bool = False,
        tell: Callable[[str], object] = lambda _line: None,
    ) -> None:
        self._home, self._settings, self._tell = home, home.settings(), tell
        self._membership = home.membership()
        if not home.sources():
            raise ConfigError(f"{home.toml} names no source", 'write source = "git:DIR" there')
        self._ours: Ours | None = None
        self._stop = threading.Event()
        self._closing = ExitStack()
        try:
            self._closing.enter_context(alone(home.state / "up.lock", _STATUS))
            channel = self._closing.enter_context(connects(home, Role.TRAINER))
            self._ledger = self._closing.enter_context(RemoteLedger(channel, waits=self._waits))
            self._checked = self._check_ledger()
            largest = max(_LEAST, self._settings.largest_mib << 20)
            self._answering = Answering(home, self._build)
            self._beside = self._front(largest) if supernode else None
            line = self._beside.line if self._beside else partial(Straight, home, largest)
            self.agent = Agent(home, self._answering, line, self._countersign)
            self._measured = Measured(self.agent, self._answering)
            local = local_app(self.health, self._measured.registry)
            self._local = Listener(local, "127.0.0.1", self._settings.local, None)
            self._closing.callback(self._local.stop)
            self._local.start()
            (home.state / "local").write_text(str(self._local.port), encoding="ascii")
        except BaseException:
            self._closing.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
        event(logger, "down")

    @property
    def port(self) -> int:
        """Of health and metrics, on loopback."""
        return self._local.port

    @property
    def command(self) -> list[str]:
        """The SuperNode's, where there is one."""
        return self._beside.command if self._beside else []

    def health(self) -> dict[str, Any]:
        """Whether the coordinator is reached, and what we take part in."""
        return {
            "ok": self.agent.connected,
            "member": self._membership.member,
            "agreements": list(self._answering.agreements),
            "answered": self._answering.counts.answered,
            "refused": dict(self._answering.counts.refused),
        }

    def run(self) -> None:
        """Until :meth:`stop`.

        Raises:
            LedgerDamaged: the ledger was set back, or is found damaged on the way.
        """
        event(logger, "up", member=self._membership.member)
        while not self._checked and not self._stop.wait(_AGAIN):
            self._checked = self._check_ledger()
        if self._checked:
            self.agent.run()

    def stop(self) -> None:
        """Ends :meth:`run` when what is being answered is answered."""
        self._stop.set()
        self.agent.stop()

    def _check_ledger(self) -> bool:
        """Whether it is known not to be behind what the coordinator has countersigned.

        Nothing is answered before; a coordinator that is away is waited for.

        Raises:
            LedgerDamaged: it is behind.
        """
        try:
            with connect(self._home) as opened, asking(self._membership.address):
                stub = stubs.EnrollmentStub(opened)
                witness.check(self._ledger, stub, self._membership.coordinator)
        except Unreachable:
            event(logger, "waits for the coordinator", logging.WARNING)
            return False
        return True

    def _waits(self) -> None:
        """For the budget service, which may have to be started again."""
        event(logger, "waits for the budget service", logging.WARNING)
        where = f" at {self._settings.budget}" if self._settings.budget else ""
        self._tell(f"waits for the budget service{where}")

    def _front(self, largest: int) -> Beside:
        made = Beside(self._home, largest, self._answering.bundle_refused)
        self._closing.callback(made.stop)
        return made

    def _countersign(self) -> None:
        """Shows the ledger's head; where the coordinator is away, the next time will do."""
        try:
            with connect(self._home) as opened:
                stub = stubs.EnrollmentStub(opened)
                witness.countersign(self._ledger, stub, self._membership.coordinator)
        except grpc.RpcError as error:
            event(logger, "head not countersigned", logging.WARNING, code=str(error.code()))
        except LedgerDamaged:
            raise
        except PrivacyError as error:
            event(logger, "head not countersigned", logging.ERROR, why=str(error))

    def _build(self, offer: Offer) -> dict[str, Member]:
        """Our members of a run that all have signed."""
        from fedcode_client.training import member  # torch, once it is needed

        start = time.monotonic()
        folder = self._home.state / "agreements" / offer.run / "start"
        files = StartFiles.load(folder, [task.name for task in offer.federation.tasks])
        made = {}
        for signed in offer.agreements:
            one = member(
                offer.federation,
                signed,
                files,
                self._own(),
                self._ledger,
                self._home.signing_key(),
                self._membership.member,
                memory_mib=self._settings.memory_mib,
            )
            one.confirmed = partial(append_line, folder.parent / TRANSCRIPT)
            made[signed.agreement.digest()] = one
        event(logger, "ready", run=offer.run, seconds=round(time.monotonic() - start, 1))
        return made

    def _own(self) -> Ours:
        """Our code, read when it is first needed."""
        if self._ours is None:
            read = Ours.read(
                self._membership.member,
                self._home.sources(),
                self._settings.max_tokens,
                self._settings.threads,
                screen_of(self._home),
                self._settings.fixes,
            )
            snapshots = Snapshots(self._home.data, self._settings.data_tests)
            self._ours = replace(read, snapshots=snapshots)
        return self._ours


class Measured:
    """What Prometheus is told of an agent: how many, never what.

    Args:
        agent: whose.
        answering: what it answers.

    Attributes:
        registry: all of it.
    """

    def __init__(self, agent: Agent, answering: Answering) -> None:
        self.registry = CollectorRegistry()
        self._agent, self._answering = agent, answering
        gauges = {
            "fedcode_agent_connected": ("Whether the coordinator is reached.", self._connected),
            "fedcode_agent_agreements": ("Agreements that are answered for.", self._agreements),
            "fedcode_agent_answered": ("Requests answered since the start.", self._answered),
            "fedcode_agent_refused": ("Requests refused since the start.", self._refused),
            "fedcode_agent_objections": ("Messages that were none of ours.", self._objections),
        }
        for name, (words, value) in gauges.items():
            Gauge(name, words, registry=self.registry).set_function(value)

    def _connected(self) -> float:
        return float(self._agent.connected)

    def _agreements(self) -> float:
        return float(len(self._answering.agreements))

    def _answered(self) -> float:
        return float(self._answering.counts.answered)

    def _refused(self) -> float:
        return float(sum(self._answering.counts.refused.values()))

    def _objections(self) -> float:
        return float(self._answering.counts.objections)
