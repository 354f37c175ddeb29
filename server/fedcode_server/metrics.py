# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told of a coordinator: how rounds go, never what is in them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fedcode.rounds.coordinator import Outcome

_SECONDS = (1, 3, 10, 30, 60, 300, 900, 3600)


class Measured:
    """The coordinator's metrics.

    Attributes:
        registry: all of them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._rounds = Counter(
            "fedcode_rounds", "Rounds that are over.", ["task", "result"], registry=self.registry
        )
        self._seconds = Histogram(
            "fedcode_round_seconds",
            "From a round's plan to its weights.",
            ["task"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._lost = Counter(
            "fedcode_members_lost",
            "Members that a round went on without, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._survivors = Gauge(
            "fedcode_survivors", "Members in the last round.", ["task"], registry=self.registry
        )
        self._members = Gauge("fedcode_members", "Approved members.", registry=self.registry)
        self._online = Gauge(
            "fedcode_members_online", "Members whose agents are there.", registry=self.registry
        )

    def round(self, task: str, outcome: Outcome) -> None:
        """One more round."""
        self._rounds.labels(task, "changed" if outcome.changed else "lost").inc()
        self._seconds.labels(task).observe(outcome.seconds)
        self._survivors.labels(task).set(len(outcome.survivors))
        for reason in outcome.refusals.values():
            self._lost.labels(reason).inc()

    def members(self, approved: int, online: int) -> None:
        """Who is there."""
        self._members.set(approved)
        self._online.set(online)
