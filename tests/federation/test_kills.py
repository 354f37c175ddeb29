# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of each party at each step of a round; it is started again, and nothing else is done.

Whatever dies, the federation comes to its end; nobody pays twice for a round; no sum is opened for
two sets of survivors; and the weights are what the members' own terms give (``Stage.check``).
"""

from pathlib import Path

import pytest

from tests.campaigns.doomed import Doom
from tests.stage import Stage, stage

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))


def at_coordinator(members: int) -> list[Doom]:
    """In the order of a round: five times all members are asked, and heard."""
    made = [Doom("round", "after cohort")]
    for step in range(5):
        made += [
            Doom("round", "after ask", step * members + 1),
            Doom("round", "after ask", step * members + members),
            Doom("round", "before hear", step * members + 1),
            Doom("round", "after hear", step * members + 1),
            Doom("round", "after settle", step + 1),
        ]
    return [
        *made,
        Doom("round", "before keep round"),
        Doom("round", "after line", 1),  # of the transcript
        Doom("round", "after line", 2),  # of the journal
        Doom("round", "after checkpoint"),
        Doom("round", "after forget"),
    ]


AT_AGENT = [
    Doom("sync", "after sync"),
    Doom("take", "after take"),
    Doom("begin", "before begin"),
    Doom("begin", "after latch", 1),  # its keys
    Doom("begin", "after answer", 1),
    Doom("begin", "after reply", 1),
    Doom("begin", "after answer", 2),  # its shares
    Doom("begin", "after reply", 2),
    Doom("begin", "before charge"),
    Doom("begin", "after charge"),
    Doom("begin", "after train"),
    Doom("begin", "after arm"),
    Doom("begin", "after sent"),
    Doom("begin", "after answer", 3),  # its masked term
    Doom("begin", "after reply", 3),
    Doom("begin", "after latch", 2),  # the survivors
    Doom("begin", "after answer", 4),  # its confirmation
    Doom("begin", "after reply", 4),
    Doom("begin", "after answer", 5),  # what it reveals
    Doom("begin", "after reply", 5),
    Doom("show", "before show"),
    Doom("show", "after show"),
]

AT_BUDGET = [
    Doom("check", "before check"),
    Doom("check", "after check"),
    Doom("check", "after latch", 1),
    Doom("check", "before charge"),
    Doom("check", "after charge"),
    Doom("check", "before arm"),
    Doom("check", "after arm"),
    Doom("check", "before sent"),
    Doom("check", "after sent"),
    Doom("check", "before latch", 2),
    Doom("check", "after latch", 2),
    Doom("look", "before look"),
    Doom("witness", "before witness"),
    Doom("witness", "after witness"),
]


def to_its_end(made: Stage) -> int:
    """Waits for it, and looks at what has become of all; says how many rounds had a total."""
    made.until("the run's end", lambda: made.state() == "finished", 900)
    return made.check()


def test_each_party_dies_once(tmp_path: Path) -> None:
    deaths = {
        "coordinator": Doom("round", "after ask", 8),  # one has got what it trains for
        "a": Doom("begin", "after train"),
        "b-budget": Doom("check", "after charge"),
    }
    with stage(tmp_path, rounds=8) as made:
        for party, doom in deaths.items():
            made.kill(party, doom)
        assert to_its_end(made) >= 8 - 2


@pytest.mark.slow
def test_the_coordinator_dies_at_every_step(tmp_path: Path) -> None:
    points = at_coordinator(3)
    # Rounds go on while what the last one left is checked.
    with stage(tmp_path, rounds=3 * len(points)) as made:
        for doom in points:
            made.kill("coordinator", doom)
            made.check()
        for doom in (Doom("finish", "before finish"), Doom("finish", "after weights")):
            made.kill("coordinator", doom, 900, then=None)
        assert to_its_end(made) == made.rounds(), "no round is lost for the coordinator's sake"


@pytest.mark.slow
def test_an_agent_dies_at_every_step(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    with stage(tmp_path, names=names, rounds=4 * len(AT_AGENT), lost_in_a_row=99) as made:
        for number, doom in enumerate(AT_AGENT):
            made.kill(names[number % len(names)], doom)
            made.check()
        to_its_end(made)


@pytest.mark.slow
def test_a_budget_service_dies_at_every_step(tmp_path: Path) -> None:
    with stage(tmp_path, rounds=3 * len(AT_BUDGET)) as made:
        for number, doom in enumerate(AT_BUDGET):
            made.kill(f"{'abc'[number % 3]}-budget", doom)
            made.check()
        assert to_its_end(made) == made.rounds(), "no round is lost for a budget service's sake"
