# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A simulation tests all data before it trains, and says what it found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console
from small import write_code, write_federation

from fedcode.corpus.labels import InjectedBugs
from fedcode.data_tests import DATA_TESTS, SimulatedDataTests
from fedcode.errors import CorpusError
from fedcode.federation import load
from fedcode.simulation import data_tests
from fedcode.simulation.dataset import load as load_data
from fedcode.simulation.run import Options, simulate
from fedcode.simulation.view import View


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))


def large(folder, extra=""):
    """Members with enough functions for every test, of which hardly a token varies."""
    path = write_federation(folder, rounds=1, extra=extra)
    for seed, name in enumerate(("alpha", "beta", "delta")):
        write_code(folder / name, seed, files=24, functions=16)
    return load(path)


STRICT = "[data_tests]\nmost_common = 0.01\n"


def test_a_failing_test_stops_before_anything_is_trained(tmp_path) -> None:
    out = tmp_path / "out"
    with pytest.raises(
        CorpusError, match=r"alpha fails the data test tokens: .*\(2 more fail\)"
    ) as e:
        simulate(large(tmp_path, STRICT), Options(), out, View(Console(quiet=True)))
    assert "instead of 0.01" in str(e.value)
    assert "[data_tests.accept]" in e.value.hint
    assert not out.exists()


def test_what_is_accepted_is_reported_with_its_reason(tmp_path, capsys) -> None:
    why = "generated <b>on purpose</b>"
    federation = large(tmp_path, f'{STRICT}accept = {{ tokens = "{why}", schema = "any" }}\n')
    out, console = tmp_path / "out", Console(width=200, force_terminal=False)
    found = simulate(federation, Options(), out, View(console))["data_tests"]
    assert found["accepted"] == {"tokens": why}
    assert list(found["organizations"]) == ["alpha", "beta", "delta"]
    outcomes = found["organizations"]["alpha"]
    assert [one["test"] for one in outcomes] == list(DATA_TESTS)
    states = {one["test"]: one["state"] for one in outcomes}
    assert states["tokens"] == "failed"
    assert (states["schema"], states["leakage"]) == ("passed", "passed")
    line = next(o for o in capsys.readouterr().out.splitlines() if o.startswith("data tests: "))
    assert line.endswith(", 3 failed and accepted: tokens")
    page = (out / "report.html").read_text()
    assert "Accepted although it failed: tokens." in page
    assert "generated &lt;b&gt;on purpose" in page
    assert "Kolmogorov" not in page


def test_small_members_are_too_few_to_tell(tmp_path) -> None:
    federation = load(write_federation(tmp_path, extra=STRICT))
    data, _ = load_data(federation, 1)
    found = data_tests.examine(federation, data, InjectedBugs(1))
    states = {one.test: one.state for one in found["alpha"]}
    assert states.pop("schema") == states.pop("leakage") == "passed"
    assert set(states.values()) == {"not-applicable"}


def test_what_is_measured_on_is_not_in_what_is_trained_on(tmp_path) -> None:
    """The tests look at how data was split, not only at each side of it."""
    federation = load(write_federation(tmp_path))
    data, _ = load_data(federation, 1)
    both = data.unseen["gamma"]
    leaking = replace(data, train=data.train | {"beta": replace(both, name="beta", known_as="")})
    with pytest.raises(CorpusError, match="beta fails the data test leakage"):
        data_tests.examine(federation, leaking, None)


def test_what_all_parties_know_holds_no_thresholds_of_ours(tmp_path) -> None:
    federation = load(write_federation(tmp_path, extra=STRICT))
    assert federation.data_tests.most_common == 0.01
    assert federation.published().data_tests == SimulatedDataTests()


LONG = "def copied(rows):\n" + "".join(f"    rows[{i}] = rows[{i + 1}] * {i}\n" for i in range(40))


def test_what_was_removed_as_a_duplicate_is_told_of_its_organization(tmp_path) -> None:
    path = write_federation(tmp_path)
    before = load_data(load(path), 1)[1]
    near = LONG.replace("rows[7] = ", "rows[7] += ")
    (tmp_path / "gamma" / "equal.py").write_text(f"x = 1\n\n\n{LONG}", encoding="utf-8")
    (tmp_path / "alpha" / "equal.py").write_text(f"y = 2\n\n\n{LONG}", encoding="utf-8")
    (tmp_path / "beta" / "near.py").write_text(f"z = 3\n\n\n{near}", encoding="utf-8")
    _, whole = load_data(load(path), 1)

    def removed(corpora, name):
        return corpora[name].duplicates, corpora[name].taken_by().get("near_duplicates", 0)

    gone = {
        name: tuple(b - a for a, b in zip(removed(before, name), removed(whole, name), strict=True))
        for name in whole
    }
    assert gone == {"alpha": (1, 0), "beta": (0, 1), "delta": (0, 0), "gamma": (0, 0)}
    assert len(whole["alpha"].records()) == len(before["alpha"].records()) + 2, "as it was read"
