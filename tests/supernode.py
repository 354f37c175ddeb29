# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A stock ``flower-supernode`` as a process, our front before it, and our worker behind it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flwr.cli.build import build_fab_from_files

from fedcode import certificates
from fedcode.transport.line import Line
from fedcode_client.supernode import Beside
from tests.network import LARGEST, Answering, Network

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


@dataclass
class Worker(Answering):
    """A member whose requests come through a SuperNode.

    Attributes:
        beside: the front, and the way to the SuperNode's tasks.
        bundles: how many app bundles the front has refused.
    """

    beside: Beside | None = None
    bundles: list[int] = field(default_factory=list)

    def line(self) -> Line:
        assert self.beside is not None
        return self.beside.line()


@dataclass
class SuperNode:
    """The process, and what is around it."""

    worker: Worker
    process: subprocess.Popen[bytes]
    said: Path

    @property
    def node(self) -> int:
        return self.worker.node

    def alive(self) -> bool:
        return self.process.poll() is None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def supernode(
    net: Network, name: str, answer: Callable[[bytes], bytes], *changes: tuple[str, str]
) -> Iterator[SuperNode]:
    """One that is online; ``changes`` are words of its command, and others instead."""
    home = net.home(name, free_port())
    key = home.node_key()
    public = certificates.public_pem(key.public_key())
    bundles: list[int] = []
    beside = Beside(home, LARGEST, lambda: bundles.append(1))
    node = net.link.admit(name, public)
    command = [dict(changes).get(word, word) for word in beside.command]
    programs = str(Path(sys.executable).parent)
    command[0] = f"{programs}/{command[0]}"
    said = home.root / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ
            | QUIET
            | {
                "FLWR_HOME": str(home.root / "flwr"),
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            },
        )
    worker = Worker(net, name, key, public, node, answer, "", beside=beside, bundles=bundles)
    made = SuperNode(worker, process, said)
    try:
        until = time.monotonic() + 40
        while node not in net.link.online([node]):
            assert made.alive(), said.read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield made
    finally:
        worker.stop()
        process.terminate()
        process.wait(30)
        beside.stop()


def bundle(writes: Path) -> bytes:
    """An app that writes a file as soon as it is imported."""
    settings = (
        '[project]\nname = "evil"\nversion = "1"\nlicense = "Apache-2.0"\n'
        '[tool.flwr.app]\npublisher = "p"\n'
        '[tool.flwr.app.components]\nserverapp = "evil:app"\nclientapp = "evil:app"\n'
    )
    code = (
        f"open({str(writes)!r}, 'w').close()\n"
        "from flwr.clientapp import ClientApp\napp = ClientApp()\n"
    )
    files = {"pyproject.toml": settings.encode(), "evil.py": code.encode()}
    with warnings.catch_warnings(action="ignore"):  # Flower's own
        made, _ = build_fab_from_files(files)
    return made
