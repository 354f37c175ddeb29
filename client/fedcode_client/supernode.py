# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Beside a stock SuperNode: a front for it on loopback, and a line to its tasks.

What the SuperNode needs lies in ``state/supernode``: Flower's node key in the form that it reads,
the front's authority, and the secret that it shares with our worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedcode.certificates import (
    AUTHORITY_DAYS,
    Authority,
    key_pem,
    load_certificate,
    new_key,
    pem,
    public_pem,
)
from fedcode.storage import write_atomically
from fedcode.transport.front import Listener
from fedcode.transport.line import FRAME, Line
from fedcode.transport.passing import Passing
from fedcode.transport.tasks import Tasks
from fedcode_client.home import Home, joined
from fedcode_client.lines import tls

_HOST = "127.0.0.1"
_SOON = timedelta(days=30)


class Beside:
    """The front of a SuperNode, which listens until :meth:`stop`.

    Args:
        home: the organization's folder.
        largest: bytes of a message, either way.
        refused: told when an app bundle was not passed on.

    Raises:
        RunError: the front's port is taken.
    """

    def __init__(self, home: Home, largest: int, refused: Callable[[], None]) -> None:
        self._home, self._largest = home, largest
        self._folder = home.state / "supernode"
        membership, settings = home.membership(), home.settings()
        self._runtime = settings.supernode
        _make(self._folder, home)
        self._passing = Passing(
            joined(membership.host, membership.fleet),
            tls(home),
            public_pem(home.node_key().public_key()),
            largest=largest + FRAME,
            refused=refused,
        )
        files = (self._folder / "front.crt", self._folder / "front.key")
        self._listener = Listener(self._passing, _HOST, settings.front, files)
        self._listener.start()

    def stop(self) -> None:
        """Ends the front."""
        self._listener.stop()

    def line(self) -> Line:
        """A line to the SuperNode's tasks; the front has our newest certificate from now on."""
        self._passing.renew(tls(self._home))
        secret = (self._folder / "secret").read_bytes()
        return Tasks(f"{_HOST}:{self._runtime}", secret, largest=self._largest)

    @property
    def command(self) -> list[str]:
        """What is run beside us, word by word."""
        folder = self._folder.resolve()
        return [
            "flower-supernode",
            *("--superlink", f"{_HOST}:{self._listener.port}"),
            *("--root-certificates", str(folder / "ca.crt")),
            *("--auth-supernode-private-key", str(folder / "node.key")),
            *("--isolation", "process"),
            *("--host", _HOST, "--port", str(self._runtime)),
            *("--superexec-auth-secret-file", str(folder / "secret")),
        ]


def _make(folder: Path, home: Home) -> None:
    """Makes what is not there; the front's authority has signed its certificate and is gone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    node = home.node_key().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    write_atomically(folder / "node.key", node)
    if not (folder / "secret").exists():
        write_atomically(folder / "secret", os.urandom(32))
    made = folder / "front.crt"
    if made.exists() and load_certificate(made).not_valid_after_utc > datetime.now(UTC) + _SOON:
        return
    authority, key = Authority.make("the front of a SuperNode"), new_key()
    hosts = [_HOST, "localhost"]
    certificate = authority.for_server(key.public_key(), hosts, AUTHORITY_DAYS - 1)
    write_atomically(folder / "ca.crt", authority.pem)
    write_atomically(folder / "front.key", key_pem(key))
    write_atomically(made, pem(certificate))
