# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A line straight to the coordinator: Flower's Fleet API under mutual TLS."""

from __future__ import annotations

import contextlib
import ssl
import threading

from cryptography.hazmat.primitives.asymmetric import ec

from fedcode.errors import TransportError, TransportRefusal
from fedcode.transport.bounded import Bounded, translated
from fedcode.transport.internals.fleet import FleetCalls
from fedcode.transport.line import FRAME, Line

INTERVAL = 10.0
"""Seconds between heartbeats: after two without one a node counts as offline."""

_SECONDS = 30.0
_WHOM = "the coordinator"


class Fleet(Line):
    """One node of a federation.

    Args:
        address: ``host:port`` of the coordinator's listener.
        tls: with the organization's certificate, and the coordinator's authority alone.
        key: of Flower's node authentication.
        largest: bytes that a message of ours may have, either way.
        before: the node's identity when it was last online, if it was: an earlier process of ours
            may not have gone offline.
    """

    def __init__(
        self,
        address: str,
        tls: ssl.SSLContext,
        key: ec.EllipticCurvePrivateKey,
        *,
        largest: int,
        before: int = 0,
    ) -> None:
        self._fleet = FleetCalls(address, tls, key, Bounded(largest + FRAME, tls), _SECONDS)
        self._fleet.node = before
        super().__init__(self._fleet, _WHOM, largest)
        self._beating = threading.Event()

    @property
    def node(self) -> int:
        """Its identity; 0 before it was ever online."""
        return self._fleet.node

    def open(self) -> None:
        """Comes online; heartbeats go on in the background until :meth:`close`.

        Raises:
            TransportError: the coordinator cannot be reached now.
            TransportRefusal: it does not let us in.
        """
        if self.node:
            with contextlib.suppress(TransportRefusal), translated(_WHOM):  # it was offline
                self._fleet.deactivate()
        with translated(_WHOM):
            self._fleet.activate(INTERVAL)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def close(self) -> None:
        """Goes offline, if the coordinator can be told."""
        self._beating.set()
        if self.node:
            with contextlib.suppress(TransportError, TransportRefusal), translated(_WHOM):
                self._fleet.deactivate()
        self._fleet.close()

    def _beat(self) -> None:
        while not self._beating.wait(INTERVAL * 0.8):
            try:
                with translated(_WHOM):
                    self._fleet.heartbeat(INTERVAL)
            except (TransportError, TransportRefusal):
                continue
