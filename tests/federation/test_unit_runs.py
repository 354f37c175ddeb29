# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whole simulations whose privacy unit is wider than a function."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small import write_federation
from test_simulation import fedcode

from fedcode.errors import ConfigError
from fedcode.federation import load
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit
from fedcode.simulation.run import Options, simulate
from fedcode.simulation.view import View
from tests.program import PROGRAM

PEOPLE = ("ann", "bob", "cem")


def federation(base: Path, unit: str, *, rate: float = 0.6) -> Path:
    """The small federation with another unit, of whose records at most three take part."""
    toml = write_federation(base, rounds=1)
    text = toml.read_text(encoding="utf-8")
    for old, new in (
        ("[privacy]", f'[privacy]\nunit = "{unit}"'),
        ("heldout_every = 3", "heldout_every = 20"),
        ("sampling_rate = 0.3", f"sampling_rate = {rate}\nrecords_per_unit = 3"),
    ):
        assert old in text
        text = text.replace(old, new)
    toml.write_text(text, encoding="utf-8")
    return toml


def commit(folder: Path, *people: str) -> None:
    """A repository in which these people wrote the files by turns."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    own |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True, env=own, capture_output=True)
    for number, path in enumerate(sorted(folder.glob("*.py"))):
        name = people[number % len(people)]
        person = {f"GIT_{who}_NAME": name for who in ("AUTHOR", "COMMITTER")}
        person |= {f"GIT_{who}_EMAIL": f"{name}@example.org" for who in ("AUTHOR", "COMMITTER")}
        subprocess.run([*git, "add", path.name], check=True, env=own)
        subprocess.run([*git, "commit", "-q", "-m", "x"], check=True, env=own | person)


def simulated(toml: Path) -> tuple[dict[str, Any], str, Path]:
    """``result.json``, what was said, and the result's folder."""
    out = toml.parent / "out"
    done = fedcode(toml.parent / "cache", "simulate", toml, "--out", out)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return result, " ".join((done.stderr + done.stdout).split()), out


def drawn(result: dict[str, Any]) -> list[int]:
    """Records that took part, of each member in each round (of one step)."""
    (task,) = result["tasks"]
    return [one["examples"] for line in task["curves"] for one in line["local"].values()]


def test_a_federation_with_the_file_as_its_unit(tmp_path) -> None:
    toml = federation(tmp_path, "file")
    result, said, out = simulated(toml)
    assert result["privacy"]["unit"] == "file"
    members = [o for o in result["organizations"] if o["role"] == "train"]
    assert all(6 <= o["units"] <= o["files"] == 8 for o in members), "but for held-out files"
    assert result["organizations"][-1]["units"] is None
    (task,) = result["tasks"]
    assert task["records_per_unit"] == 3
    assert all(number % 3 == 0 for number in drawn(result)), "three of eleven records of each file"
    assert sum(drawn(result)) > 0
    assert "privacy unit: file" in said
    assert "file, add or remove one unit" in said
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "privacy unit is one file" in page
    assert "once for each file" in page
    with BudgetLedger.open(out / "ledger.sqlite", read_only=True) as ledger:
        assert {account.unit for account in ledger.accounts()} == {PrivacyUnit.FILE}
    assert "function" not in result["privacy"]["assumptions"][1]


def test_a_federation_with_the_author_as_its_unit(tmp_path) -> None:
    toml = federation(tmp_path, "author")
    commit(tmp_path / "alpha", *PEOPLE)
    commit(tmp_path / "beta", *PEOPLE[:2])
    commit(tmp_path / "delta", *PEOPLE)
    result, _, out = simulated(toml)
    units = {o["name"]: o["units"] for o in result["organizations"]}
    assert units == {"alpha": 3, "beta": 2, "delta": 3, "gamma": None}
    assert set(drawn(result)) <= {0, 3, 6, 9}, "three records of every author drawn"
    assert any("by its git history" in one for one in result["privacy"]["assumptions"])
    everything = "".join(str(p.read_bytes()) for p in out.rglob("*") if p.is_file())
    assert not any(f"{name}@example" in everything for name in PEOPLE)


@pytest.mark.slow
def test_a_run_by_authors_is_repeatable_without_its_cache(tmp_path) -> None:
    toml = federation(tmp_path, "author")
    for name in ("alpha", "beta", "delta"):
        commit(tmp_path / name, *PEOPLE)
    _, _, out = simulated(toml)
    words = ["simulate", "--again", out, "--out", tmp_path / "again"]
    again = fedcode(tmp_path / "another-cache", *words)
    assert again.returncode == 0, again.stderr
    assert "the same weights after every round" in again.stdout


@pytest.mark.slow
def test_a_federation_with_the_repository_as_its_unit(tmp_path) -> None:
    """One repository, and all of it in every step: noise makes up for the rest."""
    result, _, _ = simulated(federation(tmp_path, "repository", rate=1.0))
    assert {o["units"] for o in result["organizations"]} == {1, None}
    assert drawn(result) == [3, 3, 3]


def test_authors_that_are_not_known_are_refused(tmp_path) -> None:
    toml = federation(tmp_path, "author")
    commit(tmp_path / "alpha", *PEOPLE)
    out = tmp_path / "out"
    done = fedcode(tmp_path / "cache", "simulate", toml, "--out", out)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-2:] == [
        "fedcode: beta: no history says who wrote 8 of 8 files (module_0.py, for one)",
        "hint: choose another privacy.unit: function, file or repository",
    ]
    assert not out.exists()


@pytest.mark.parametrize(
    ("unit", "rate", "message"),
    [
        ("file", 0.1, "files are too few for sampling_rate 0.1"),
        ("repository", 0.3, "1 repository is too few for sampling_rate 0.3"),
    ],
)
def test_too_few_units_are_refused_before_training(
    tmp_path, unit, rate, message, monkeypatch
) -> None:
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))
    chosen, out = load(federation(tmp_path, unit, rate=rate)), tmp_path / "out"
    with pytest.raises(ConfigError, match=message) as caught:
        simulate(chosen, Options(), out, View(Console(quiet=True)))
    assert str(caught.value).startswith("alpha: ")
    assert "choose a sampling_rate of at least" in caught.value.hint
    assert not out.exists()


def test_a_preview_counts_units(tmp_path) -> None:
    toml = federation(tmp_path, "file")
    done = subprocess.run(
        [f"{PROGRAM}-client", "preview", toml, "alpha", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "FEDCODE_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tasks"][0]["expected_batch"] < 8 < found["records"]
