# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which line an organization's agent takes to its coordinator."""

from __future__ import annotations

import ssl
from pathlib import Path

from fedcode.storage import write_atomically
from fedcode.transport.fleet import Fleet
from fedcode_client.home import Home, joined


class Straight(Fleet):
    """To the coordinator's listener, as the node that we were before.

    Args:
        home: the organization's folder.
        largest: bytes of a message, either way.
    """

    def __init__(self, home: Home, largest: int) -> None:
        membership = home.membership()
        self._path = home.state / "node"
        before = _node(self._path)
        address = joined(membership.host, membership.fleet)
        super().__init__(address, tls(home), home.node_key(), largest=largest, before=before)

    def open(self) -> None:
        """See :class:`Line`."""
        super().open()
        write_atomically(self._path, str(self.node).encode())


def _node(path: Path) -> int:
    """Who we were when we were online last; 0 where that is not known, which costs no more."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def tls(home: Home) -> ssl.SSLContext:
    """Our certificate, and the coordinator's authority alone."""
    made = ssl.create_default_context(cafile=str(home.authority))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(home.certificate, home.keys / "tls.key")
    return made
