# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Kills a member at every named step and at random times; checks the ledger after each kill.

python -m tests.campaigns.kills TIMES [SEED]
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable

from fedcode.privacy.ledger.chain import Chain
from tests.campaigns.member import Killed, Site, Step, apart

POINTS = {
    "opened": 1,
    "charged": 4,
    "trained": 4,
    "answered": 8,
    "sent": 8,
    "CREATE": 15,
    "BEGIN": 16,
    "INSERT INTO entries": 13,
    "DELETE": 4,
    "INSERT INTO outbox": 4,
    "COMMIT": 16,
    "some time": 1,
}
"""Steps of a member and statements of its ledger, and how often a short life comes to each."""
LIVES = 40  # of one site, before it is replaced: a ledger is verified after each
ROUNDS = 4
LONGEST = 0.02  # seconds that a member lives before a random kill


def kill(site: Site, point: str, draw: random.Random) -> bool:
    """Lets a member live until ``point``; says whether it was killed before its end."""
    left, when = draw.randrange(POINTS[point]), draw.uniform(0, LONGEST)

    def come(name: str) -> None:
        nonlocal left
        if name.startswith(point):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def life() -> list[int]:
        if point == "some time":
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it ends the process
            signal.setitimer(signal.ITIMER_REAL, when)
        traced(come)
        return site.live(ROUNDS, come)

    try:
        refused = apart(life)
    except Killed:
        return True
    assert not refused, f"a member refused at {point}"
    return False


def traced(
    come: Step, made: Callable[[sqlite3.Connection], object] = lambda _connection: None
) -> None:
    """Lets every connection of a ledger tell its statements, from the first one on."""
    connect = Chain._connect

    def connected(chain: Chain) -> sqlite3.Connection:
        connection = connect(chain)
        connection.set_trace_callback(come)
        made(connection)
        return connection

    Chain._connect = connected  # type: ignore[method-assign]


def campaign(times: int, seed: int = 1) -> Counter[str]:
    """So many kills; every one is followed by a check, and by a member that goes on.

    Returns:
        How many kills there were at each point, and what was lost.
    """
    draw, done, points = random.Random(seed), Counter[str](), list(POINTS)
    site, lives, lost = Site(), 0, 0
    try:
        while done["kills"] < times:
            point = points[done["kills"] % len(points)]
            if point == "CREATE" or lives == LIVES:
                done += Counter({"reservations lost": lost, "answers sent": len(site.lines())})
                site.remove()
                site, lives, lost = Site(), 0, 0
            killed = kill(site, point, draw)
            done += Counter({"kills": killed, f"at {point}": killed})
            now = apart(site.check)
            assert now <= lost + killed, "a kill lost more than one reservation"
            lost, lives = now, lives + 1
    finally:
        site.remove()
    return done


if __name__ == "__main__":
    start = time.perf_counter()
    found = campaign(*map(int, sys.argv[1:]))
    sys.stdout.write(f"{dict(found)} in {time.perf_counter() - start:.0f} s\n")
