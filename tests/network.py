# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A coordinator's listener and members' ends of it, on loopback, with certificates of their own."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from fedcode import certificates
from fedcode.errors import TransportError, TransportRefusal, WireError
from fedcode.transport.fleet import Fleet
from fedcode.transport.front import Front, Listener
from fedcode.transport.line import Line
from fedcode.transport.superlink import SuperLink
from fedcode_client.home import Home, Membership, make

LARGEST = 8 << 20


class Killed(Exception):
    """Raised by an answer: the member's process is gone, without a word."""


@dataclass
class Network:
    """One coordinator's end.

    Attributes:
        folder: for its files.
        refused: nodes, by public key, that are not let in.
    """

    folder: Path
    far_away: float = 60.0
    refused: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.authority = certificates.Authority.make("test")
        self.authority.save(self.folder / "ca.key", self.folder / "ca.crt")
        key = certificates.new_key()
        made = self.authority.for_server(key.public_key(), ["127.0.0.1", "localhost"], 1)
        (self.folder / "server.key").write_bytes(certificates.key_pem(key))
        (self.folder / "server.crt").write_bytes(certificates.pem(made))
        self.start()

    def start(self, port: int = 0) -> None:
        self.link = SuperLink(self.folder / "superlink.sqlite")
        front = Front(self.link.fleet, self._admitted, LARGEST)
        files = tuple(self.folder / name for name in ("server.crt", "server.key", "ca.crt"))
        self.listener = Listener(front, "127.0.0.1", port, (files[0], files[1], files[2]))
        self.listener.start()

    def stop(self) -> None:
        self.listener.stop()
        self.link.close()

    def _admitted(self, peer: bytes, node_key: bytes) -> bool:
        return bool(peer) and node_key not in self.refused

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.port}"

    def tls(self, name: str) -> ssl.SSLContext:
        """What a member with a certificate of this authority connects with."""
        key = certificates.new_key()
        made = self.authority.for_member(key.public_key(), name, 1)
        (self.folder / f"{name}.pem").write_bytes(
            certificates.key_pem(key) + certificates.pem(made)
        )
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / f"{name}.pem")
        return context

    def member(self, name: str, answer: Callable[[bytes], bytes], address: str = "") -> Answering:
        """A member that is let in, and answers from now on."""
        key = ec.generate_private_key(ec.SECP384R1())
        public = certificates.public_pem(key.public_key())
        node = self.link.admit(name, public)
        return Answering(self, name, key, public, node, answer, address or self.address)

    def home(self, name: str, supernode: int) -> Home:
        """The folder of an organization that has joined, whose SuperNode is to have this port."""
        root = self.folder / name
        made = Home(root)
        make(root)
        with made.toml.open("a") as settings:
            settings.write(f"front = 0\nsupernode = {supernode}\n")
        port = self.listener.port
        membership = Membership(
            member=name,
            federation="test",
            host="127.0.0.1",
            enrolment=0,
            fleet=port,
            coordinator="0" * 64,
        )
        ours = self.authority.for_member(made.tls_key().public_key(), name, 1)
        made.keep(membership, certificates.pem(ours), self.authority.pem)
        return made


@dataclass
class Answering:
    """A member's end in a thread: it takes requests, and sends what ``answer`` makes of them."""

    network: Network
    name: str
    key: ec.EllipticCurvePrivateKey
    public: bytes
    node: int
    answer: Callable[[bytes], bytes]
    address: str
    objections: list[str] = field(default_factory=list)
    pause: float = 0.02

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)

    def online(self) -> None:
        """Waits until it is."""
        while self.node not in self.network.link.online([self.node]):
            time.sleep(0.02)

    def line(self) -> Line:
        """Over which requests come."""
        return Fleet(
            self.address, self.network.tls(self.name), self.key, largest=LARGEST, before=self.node
        )

    def _run(self) -> None:
        line = self.line()
        opened = False
        while not self._stop.is_set():
            try:
                if not opened:
                    line.open()
                    opened = True
                arrived = line.receive()
                if arrived is None:
                    self._stop.wait(self.pause)
                    continue
                try:
                    reply = self.answer(line.content(arrived))
                except Killed:
                    return
                for _ in range(20):
                    with contextlib.suppress(TransportError):
                        line.reply(arrived, reply)
                        break
                    time.sleep(0.2)
            except (TransportError, TransportRefusal, WireError) as error:
                self.objections.append(type(error).__name__)
                self._stop.wait(0.2)
        line.close()


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A coordinator's end that is stopped at the end."""
    made = Network(folder)
    try:
        yield made
    finally:
        made.stop()
