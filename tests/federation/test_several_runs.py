# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Runs beside and after one another: what becomes of one is nothing to the others."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from fedcode.checks import Check, examined
from fedcode.errors import ConfigError
from fedcode.services.enrollment_pb2_grpc import EnrollmentStub
from fedcode_client import doctor, witness
from fedcode_client.connection import connect
from fedcode_client.offers import Desk
from fedcode_server.register import DECLINED, FAILED, FINISHED, OPEN, RUNNING, STOPPED
from fedcode_server.runs import RunFolder
from tests.parties import ASSET, Parties, federation, federation_of, finished

NAMES = ["a", "b", "c"]


def not_json(folder: RunFolder) -> None:
    (folder.path / "agreement-toy.json").write_text("{", encoding="utf-8")


def without(folder: RunFolder) -> None:
    (folder.path / "agreement-toy.json").unlink()


def of_another_kind(folder: RunFolder) -> None:
    (folder.path / "federation.json").write_text("[]", encoding="utf-8")


def offered(parties: Parties) -> list[str]:
    return [one.run for one in Desk(parties.organizations["a"].home).offers()]


@pytest.mark.parametrize("damage", [not_json, without, of_another_kind])
def test_a_damaged_run_fails_alone(tmp_path: Path, damage) -> None:
    with federation(tmp_path, NAMES) as (parties, process):
        asked = federation_of(NAMES, rounds=1)
        damaged = RunFolder(parties.home.runs / parties.ask(process, asked, 10))
        damage(damaged)
        whole = parties.ask(process, asked, 11)
        assert offered(parties) == [whole]
        for one in parties.organizations.values():
            one.accept(whole)
            one.up()
        finished(process, whole, 120)
        states = {row.name: row.state for row in process.runs.all()}
        assert states == {damaged.name: FAILED, whole: FINISHED}
        assert process.health()["ok"]


def test_a_run_that_has_trained_nothing_has_failed(tmp_path: Path) -> None:
    """Whoever looks is told why members were not in it; to go on with it changes nothing."""
    with federation(tmp_path, NAMES, lost_in_a_row=99) as (parties, process):
        run = parties.ask(process, federation_of(NAMES, rounds=2), 10)
        for one in parties.organizations.values():
            one.change = broken
            one.accept(run)
            one.up()
        assert ended(process, run) == (FAILED, NOTHING)
        process.runs.move(run, RUNNING)
        assert ended(process, run) == (FAILED, NOTHING)


NOTHING = "toy: no round had a total (a: failed, b: failed, c: failed)"


def broken(member) -> None:
    def train(_weights, _receipt):
        raise ValueError

    member._trainer.train = train


def ended(process, run: str) -> tuple[str, str]:
    end = time.monotonic() + 120
    while (row := process.runs.get(run)).state in OPEN:
        assert time.monotonic() < end
        time.sleep(0.05)
    return row.state, row.note


def test_a_doctor_looks_at_the_ledger(tmp_path: Path) -> None:
    """Set back, it lacks a head that the coordinator has countersigned; damaged, a row."""
    with federation(tmp_path, ["a"]) as (parties, _process):
        one = parties.organizations["a"]
        one.open()
        file, before = one.home.ledger / "ledger.sqlite", tmp_path / "before.sqlite"
        copied(file, before)
        cost = one.ledger.account(ASSET).budget.cost(50.0, 0.01, 1)
        what = {"agreement": "x", "purpose": "test", "task": "toy", "round": 1}
        one.ledger.charge(cost, asset=ASSET, cohort=3, **what)
        membership = one.home.membership()
        with connect(one.home) as opened:
            stub = EnrollmentStub(opened)
            witness.countersign(one.ledger, stub, membership.coordinator)
        one.down()
        assert looked(one.home).good
        copied(before, file)
        found = looked(one.home)
        assert not found.good
        assert "it was set back" in found.what
        assert found.hint


def copied(source: Path, to: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(to)) as other:
        one.backup(other)


def looked(home) -> Check:
    (found,) = examined([doctor._ledger], home)
    return found


def test_epochs_of_the_roster_come_and_go(tmp_path: Path) -> None:
    """A member left out of an epoch takes the next; what it has signed stays signed."""
    with federation(tmp_path, [*NAMES, "d"]) as (parties, process):
        asked = {
            who: parties.ask(process, federation_of(list(who), rounds=1), 10)
            for who in ("abc", "bcd", "abcd")
        }
        a, d = (parties.organizations[name] for name in "ad")
        a.accept(asked["abc"])
        a.accept(asked["abcd"])
        desk = Desk(a.home)
        assert desk.known_roster().epoch == 3
        desk.check(desk.offer(asked["abc"]))  # as an agent does that is started again
        a.accept(asked["abc"])  # once more: what is known is not set back
        assert desk.known_roster().epoch == 3
        d.accept(asked["abcd"])
        with pytest.raises(ConfigError, match="epoch 2 of the roster is not later than epoch 3"):
            d.accept(asked["bcd"])


def test_runs_that_are_over_are_few(tmp_path: Path) -> None:
    """What is open is always told; of the others the last twenty, and to an agent none."""
    with federation(tmp_path, NAMES) as (parties, process):
        asked = federation_of(NAMES, rounds=1)
        runs = [parties.ask(process, asked, 10) for _ in range(23)]
        desk = Desk(parties.organizations["a"].home)
        assert {one.run for one in desk.offers()} == set(runs)
        for run in runs[1:]:
            process.runs.move(run, DECLINED if run == runs[1] else STOPPED)
        told = [one.run for one in desk.offers()]
        assert (len(told), runs[0] in told) == (1 + 20, True)
        assert [one.run for one in desk.offers(only_open=True)] == runs[:1]
