# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's process: two listeners, the services, and the rounds."""

from __future__ import annotations

import errno
import logging
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any, Self

from cryptography import x509
from sqlalchemy.exc import OperationalError

from fedcode.agreement import Agreement
from fedcode.certificates import common_name
from fedcode.errors import FedcodeError, Interrupted, RunError
from fedcode.logs import event, place
from fedcode.rounds.coordinator import Outcome
from fedcode.storage import alone
from fedcode.transport.front import Front, Listener
from fedcode.transport.local import local_app
from fedcode.transport.superlink import SuperLink
from fedcode_server.enrolment import serve
from fedcode_server.metrics import Measured
from fedcode_server.offers import Services
from fedcode_server.register import FAILED, FINISHED, OFFERED, RUNNING, STOPPED, Row, Runs
from fedcode_server.registry import Registry
from fedcode_server.rounds import Carrying, Present
from fedcode_server.runs import UNREADABLE, RunFolder
from fedcode_server.settings import Home

logger = logging.getLogger(__name__)

_LOOK = 0.5
_AGAIN = 2.0
_COUNT, _DAY = 5.0, 86_400.0
_STATUS = "`fedcode-server status` says more"


class Process:
    """All that ``fedcode-server up`` runs, until :meth:`close`.

    Args:
        home: the coordinator's folder.

    Raises:
        RunError: it is up already, or a port is taken.
    """

    def __init__(self, home: Home) -> None:
        self._home, self._settings = home, home.settings()
        self._stop, self._halt = threading.Event(), threading.Event()
        self._making, self._made = threading.Lock(), set[bytes]()
        self._closing = ExitStack()
        try:
            self._closing.enter_context(alone(home.state / "up.lock", _STATUS))
            self._start()
        except BaseException:
            self._closing.close()
            raise

    def _start(self) -> None:
        home, listen, closing = self._home, self._settings.listen, self._closing
        self._registry = closing.enter_context(Registry.open(home.registry))
        self.runs = Runs(self._registry.database)
        self._link = SuperLink(home.state / "superlink.sqlite")
        closing.callback(self._link.close)
        self._measured = Measured()
        services = Services(home, self._registry, self.runs)
        self._services = closing.enter_context(serve(home, services))
        home.server_chain()
        self._tls = (home.keys / "server.crt", home.keys / "server.key", home.keys / "ca.crt")
        largest = self._settings.rounds.largest_mib << 20
        front = Front(self._link.fleet, self._admitted, largest)
        self._fleet = Listener(front, listen.address, listen.fleet, self._tls)
        closing.callback(self._fleet.stop)
        local = local_app(self.health, self._measured.registry)
        self._local = Listener(local, "127.0.0.1", listen.local, None)
        closing.callback(self._local.stop)
        self._fleet.start()
        self._local.start()
        self._rounds = threading.Thread(target=self._carry_out, name="rounds", daemon=True)
        self._rounds.start()
        self._watch = threading.Thread(target=self._watching, name="watch", daemon=True)
        self._watch.start()
        event(logger, "up", **self.ports)

    @property
    def ports(self) -> dict[str, int]:
        """Where it listens."""
        return {
            "enrolment": self._services.port,
            "fleet": self._fleet.port,
            "local": self._local.port,
        }

    def health(self) -> dict[str, Any]:
        """Whether rounds go on, and who is there."""
        members = [one for one in self._registry.members() if one.state == "approved"]
        nodes = {self._link.admit(one.name, one.node_key.encode()): one.name for one in members}
        online = sorted(nodes[node] for node in self._link.online(nodes))
        self._measured.members(len(members), len(online))
        ok = self._rounds.is_alive()
        return {"ok": ok, "members": sorted(nodes.values()), "online": online}

    def wait(self) -> None:
        """Until :meth:`stop`."""
        while not self._stop.wait(_LOOK):
            if not (self._rounds.is_alive() and self._watch.is_alive()):
                raise RunError("the rounds have ended unexpectedly", "the log says where")

    def stop(self) -> None:
        """Ends it soon; a round that goes on is gone on with by the next process."""
        self._stop.set()
        self._halt.set()

    def close(self) -> None:
        """Ends it, and waits for the end."""
        self.stop()
        self._rounds.join(10)
        self._watch.join(10)
        self._closing.close()
        event(logger, "down")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _admitted(self, shown: bytes, node_key: bytes) -> bool:
        """Whether a request to the rounds may come in; a member's first one makes its node."""
        if not self._registry.admission(shown, node_key):
            return False
        with self._making:
            if node_key not in self._made:
                name = common_name(x509.load_der_x509_certificate(shown))
                self._link.admit(name, node_key)
                self._made.add(node_key)
        return True

    # Rounds.

    def _carry_out(self) -> None:
        while not self._stop.is_set():
            try:
                row = self._next()
                if row is not None:
                    self._one(row)
                    continue
            except (OSError, OperationalError) as error:
                if not _no_room(error):
                    raise
                event(logger, "cannot write", logging.ERROR, error=type(error).__name__)
                self._stop.wait(_AGAIN)
            except Exception as error:
                found = {"error": type(error).__name__, "at": place(error)}
                event(logger, "rounds have ended", logging.CRITICAL, **found)
                raise
            self._stop.wait(_LOOK)

    def _next(self) -> Row | None:
        """A run that was begun, or that everybody has signed."""
        rows = self.runs.all()
        begun = [row for row in rows if row.state == RUNNING]
        if begun:
            return begun[0]
        offered = [row for row in rows if row.state == OFFERED]
        return next((row for row in offered if self._signed(row)), None)

    def _signed(self, row: Row) -> bool:
        """Whether everybody has signed; a run that cannot be read has failed."""
        try:
            return not self._folder(row).missing()
        except UNREADABLE as error:
            if _no_room(error):
                raise
            self.runs.move(row.name, FAILED, f"its folder cannot be read: {type(error).__name__}")
            event(logger, "run ended", logging.ERROR, run=row.name, state=FAILED)
            return False

    def _one(self, row: Row) -> None:
        """Carries one run out, whatever becomes of it."""
        self._halt.clear()
        if self._stop.is_set():
            return
        self.runs.move(row.name, RUNNING)
        event(logger, "run goes on", run=row.name)
        carrying = Carrying(
            self._folder(row),
            self._link,
            self._home.signing_key(),
            self._settings.rounds,
            self._present,
            self._halt,
            self._tell,
        )
        state, note = FINISHED, ""
        try:
            carrying.run()
            good, note = self._folder(row).verdict()
            state = FINISHED if good else FAILED
        except Interrupted:
            if self._stop.is_set() or not self._to_be_stopped(row):
                return  # it is gone on with: by the next process, or at once
            state = STOPPED
        except FedcodeError as error:
            state, note = FAILED, str(error)
        except Exception as error:
            if _no_room(error):
                raise  # it goes on when there is room
            state, note = FAILED, type(error).__name__
        self.runs.move(row.name, state, note)
        event(logger, "run ended", run=row.name, state=state)

    def _to_be_stopped(self, row: Row) -> bool:
        """Whether a person wants it: what was noticed may have been of the run before."""
        now = self.runs.get(row.name)
        return now is not None and now.stop

    def _tell(self, task: str, outcome: Outcome) -> None:
        self._measured.round(task, outcome)
        event(
            logger,
            "round done",
            task=task,
            round=outcome.round,
            survivors=len(outcome.survivors),
            refusals=dict(outcome.refusals),
            changed=outcome.changed,
            seconds=round(outcome.seconds, 3),
        )

    def _present(self, agreement: Agreement) -> Present:
        keys = dict(agreement.roster.members)
        nodes = {
            one.name: self._link.admit(one.name, one.node_key.encode())
            for one in self._registry.members()
            if one.state == "approved" and keys.get(one.name) == one.signing_key
        }
        there = self._link.online(nodes.values())
        return Present(nodes, frozenset(name for name, node in nodes.items() if node in there))

    def _watching(self) -> None:
        """Looks for what a person wants, and for certificates that end."""
        renewed = counted = time.monotonic()
        while not self._stop.wait(_LOOK):
            if time.monotonic() - counted > _COUNT:
                counted = time.monotonic()
                with suppress(OperationalError):
                    self.health()  # which tells the metrics who is there
            with suppress(OperationalError):
                if any(row.stop and row.state == RUNNING for row in self.runs.all()):
                    self._halt.set()
            if time.monotonic() - renewed > _DAY:
                renewed = time.monotonic()
                self._home.server_chain()
                self._fleet.renew(self._tls)

    def _folder(self, row: Row) -> RunFolder:
        return RunFolder(self._home.runs / row.name)


def _no_room(error: Exception) -> bool:
    """Whether it is the disk's fault: what could not be written is as it was before."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    return isinstance(error, OperationalError) or getattr(error, "errno", None) in full
