# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Runs beside and after one another: what becomes of one is nothing to the others."""

from pathlib import Path

import pytest

from fedcode.errors import ConfigError
from fedcode_client.offers import Desk
from fedcode_server.register import DECLINED, FAILED, FINISHED, STOPPED
from fedcode_server.runs import RunFolder
from tests.parties import Parties, federation, federation_of, finished

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
