# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An agent does not train on data that fails its tests until a person accepts exactly it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from agents import NAMES, ledgers, made_run

from fedcode.budgets import calibrated
from fedcode.data_tests import AgentDataTests
from fedcode.rounds.coordinator import Coordinator, State
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid
from fedcode_client.data import Snapshots
from fedcode_client.ours import Ours
from fedcode_client.training import member

STRICT = AgentDataTests(few=20, most_common=0.01)


@pytest.fixture(scope="module", params=["secagg", "open"])
def run(request, tmp_path_factory):
    """Start files, everybody's code, and what all have signed; with and without secure sums."""
    with pytest.MonkeyPatch.context() as patched:
        base = tmp_path_factory.mktemp("run")
        patched.setenv("FEDCODE_CACHE", str(base / "cache"))
        edit = {"[privacy]\n": f'[aggregation]\nmode = "{request.param}"\n[privacy]\n'}
        yield made_run(base, 3, edit)


@pytest.fixture
def members(run, tmp_path):
    """Makes our members, each with snapshots of its own; alpha's tests are strict."""
    own = ledgers(run, calibrated(run.federation).filter.order)
    snapshots = {
        name: Snapshots(tmp_path / name, STRICT if name == "alpha" else AgentDataTests())
        for name in NAMES
    }

    def make(name, ours=None):
        ours = replace(ours or run.ours[name], snapshots=snapshots[name])
        return member(run.federation, run.signed, run.files, ours, own[name], run.keys[name], name)

    yield make, own, snapshots
    for ledger in own.values():
        ledger.close()


def played(run, made, number):
    """The outcome of a round."""
    grid = InMemoryGrid({name: member_app(one.answer) for name, one in made.items()})
    coordinator = Coordinator(run.signed.agreement, grid, grid.nodes, run.keys["coordinator"])
    return coordinator.run(State(number - 1, run.files.starts["completion"].weights))[1]


def test_nothing_is_charged_until_a_person_accepts_it(run, members) -> None:
    make, own, snapshots = members
    made = {name: make(name) for name in NAMES}
    asset = run.ours["alpha"].assets[0]
    outcome = played(run, made, 1)
    assert outcome.refusals["alpha"] == "data"
    assert own["alpha"].charges(asset) == own["alpha"].spent(asset) == 0
    assert made["alpha"].why.startswith("our data fails tokens (fedcode-client accept-data")
    assert list(snapshots["alpha"].acceptances()) == []
    ((found, tests),) = snapshots["alpha"].accept("it is written so")
    assert tests == ["tokens"]
    assert own["alpha"].charges(asset) == 0, "no budget is touched by it"
    outcome = played(run, made, 2)
    assert outcome.refusals == {}
    assert outcome.survivors == NAMES
    assert own["alpha"].charges(asset) == 1
    (line,) = snapshots["alpha"].acceptances()
    assert (line.digest, line.because) == (found.digest, "it is written so")
    assert line.by
    again = make("alpha")
    assert played(run, made | {"alpha": again}, 3).refusals == {}, "also after a restart"


def test_another_snapshot_is_refused_again(run, members, tmp_path) -> None:
    make, own, snapshots = members
    make("alpha")
    snapshots["alpha"].accept("it is written so")
    code = run.base / "alpha" / "later.py"
    code.write_text("def later(number):\n    return number + 1\n", encoding="utf-8")
    try:
        ours = Ours.read("alpha", run.ours["alpha"].sources)
    finally:
        code.unlink()
    made = {name: make(name) for name in ("beta", "delta")} | {"alpha": make("alpha", ours)}
    outcome = played(run, made, 1)
    assert outcome.refusals["alpha"] == "data"
    assert own["alpha"].charges(run.ours["alpha"].assets[0]) == 0
    snapshots["alpha"].accept("so is this")
    assert len({one.digest for one in snapshots["alpha"].acceptances()}) == 2
    assert played(run, made, 2).refusals == {}


def test_what_passes_becomes_the_next_snapshot_by_itself(run, members) -> None:
    make, _, snapshots = members
    make("beta")
    make("beta")
    (line,) = snapshots["beta"].acceptances()
    assert (line.failing, line.accepted) == ((), ())
    assert line.because == "the first snapshot: all tests passed"
    for path in (snapshots["beta"].history, snapshots["beta"].history.parent):
        assert path.stat().st_mode & 0o077 == 0
