# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whole populations: the same numbers whatever trains them, and nobody is read without need."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_population import STEPS, Listed, ragged, rows, start, world_of

from fedcode.errors import CorpusError
from fedcode.privacy.ledger import BudgetLedger
from fedcode.simulation.population.crew import PlainWork, Processes, ThisProcess
from fedcode.simulation.population.data import Packed, pack
from fedcode.simulation.population.guards import Draw, TrustedAggregator, guarantee
from fedcode.simulation.population.run import prepare, repeatable, simulate
from fedcode.simulation.population.settings import check

PROGRAM = str(Path(sys.executable).parent / "fedcode")

SMALL = {
    "name": "small",
    "source": "synthetic",
    "members": 150,
    "cohort": 30,
    "rounds": 3,
    "workers": 1,
    "engine": "together",
    "heldout": 5,
    "synthetic": {"records": 12, "features": 8},
    "network": {"hidden": [6]},
    "training": {"steps": 3, "batch": 4},
    "privacy": {"delta": 1e-3},
}
LOCAL = {"mode": "local", "sampling_rate": 0.5, "delta": 1e-3, "epsilon": 30.0}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))


def run(tmp_path, name, **changes):
    """The result, the digests of the weights, and the weights themselves."""
    result = simulate(check(SMALL | changes), tmp_path / name)
    manifest = json.loads((tmp_path / name / "manifest.json").read_text())
    tensors = load_file(tmp_path / name / "weights.safetensors")
    return result, manifest["weights"], np.concatenate([t.ravel() for t in tensors.values()])


def rounds_of(folder, *, ready, **changes):
    """Digests and lines of three rounds; other processes may be ready for the last two."""
    settings = check(SMALL | {"members": 400, "cohort": 150, "rounds": 3} | changes)
    folder.mkdir()
    with ExitStack() as held:
        run = prepare(settings, folder, held, lambda _line: None)
        for number in range(1, 4):
            line = run.step(number)
            line.pop("seconds")
            if ready:
                run.crew.wait()
        return run.digests, run.rounds


@pytest.mark.parametrize(
    ("engine", "privacy"),
    [("together", {"delta": 1e-3}), ("sequential", {"delta": 1e-3}), ("together", LOCAL)],
)
def test_one_process_and_several_find_the_same_weights(tmp_path, engine, privacy) -> None:
    changes = {"engine": engine, "privacy": privacy}
    one = rounds_of(tmp_path / "one", ready=False, workers=1, **changes)
    two = rounds_of(tmp_path / "two", ready=True, workers=2, **changes)
    assert one == two
    assert len(set(one[0])) == 3


@pytest.mark.parametrize("privacy", [{"delta": 1e-3}, LOCAL, {"mode": "none"}])
def test_both_engines_find_the_same_weights(tmp_path, privacy) -> None:
    one, _, together = run(tmp_path, "together", privacy=privacy)
    two, _, sequential = run(tmp_path, "sequential", engine="sequential", privacy=privacy)
    assert np.abs(together - sequential).max() < 1e-5
    cohorts = [[line["local"]["members"] for line in r["rounds"]] for r in (one, two)]
    assert cohorts[0] == cohorts[1]


def test_a_run_is_repeated_by_its_manifest(tmp_path) -> None:
    _, digests, _ = run(tmp_path, "one", engine="auto")
    settings, before = repeatable(tmp_path / "one")
    assert settings.engine == before["engine"]["engine"]
    simulate(settings, tmp_path / "two")
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["weights"] == digests


def test_another_seed_finds_other_weights(tmp_path) -> None:
    assert run(tmp_path, "one")[1] != run(tmp_path, "two", seed=2)[1]


def test_the_central_result_says_what_it_is(tmp_path) -> None:
    result, _, _ = run(tmp_path, "one")
    privacy = result["privacy"]
    assert (privacy["mode"], privacy["unit"]) == ("central", "member")
    assert "trusted aggregator" in privacy["statement"]
    assert any("seed" in note for note in (privacy["note"],))
    assert 0 < privacy["epsilon"] <= privacy["epsilon_cap"]
    assert privacy["sampling_rate"] == 30 / 150
    assert set(result["rounds"][-1]["metrics"]) == {"loss", "accuracy"}
    with BudgetLedger.open(tmp_path / "one" / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.charges("small") == 3
        assert ledger.epsilon("small") == pytest.approx(privacy["epsilon"])
        assert ledger.verify() == 4


def test_the_local_result_counts_every_members_budget(tmp_path) -> None:
    result, _, _ = run(tmp_path, "one", rounds=6, privacy=LOCAL | {"participations": 1})
    spent = [line["local"]["spent"] for line in result["rounds"]]
    assert spent[0] == 0
    assert sum(spent) > 0
    with BudgetLedger.open(tmp_path / "one" / "ledger.sqlite", read_only=True) as ledger:
        accounts = [account.asset for account in ledger.accounts()]
        assert {ledger.charges(asset) for asset in accounts} == {1}
        assert len(accounts) == sum(line["local"]["trained"] for line in result["rounds"])
        shown = max(ledger.epsilon(asset) for asset in accounts[:1])
    assert result["privacy"]["epsilon"] == pytest.approx(shown)
    assert result["privacy"]["unit"] == "record"


def test_without_privacy_nothing_is_charged_and_it_is_said(tmp_path) -> None:
    result, _, _ = run(tmp_path, "one", privacy={"mode": "none"})
    assert result["privacy"] == {
        "mode": "none",
        "statement": "no noise: nothing here is private",
    }
    assert not (tmp_path / "one" / "ledger.sqlite").exists()
    losses = [line["local"]["loss"] for line in result["rounds"]]
    assert losses[-1] < losses[0]


def test_members_that_are_packed_already_can_be_named(tmp_path) -> None:
    draw = np.random.default_rng(1)
    sizes = draw.integers(1, 20, 60)
    members = [(draw.standard_normal((n, 4), np.float32), draw.integers(3, size=n)) for n in sizes]
    pack(tmp_path / "own", members)
    changes = {
        "source": f"packed:{tmp_path / 'own'}",
        "members": 50,
        "cohort": 10,
        "network": {"classes": 3},
    }
    plain = {key: value for key, value in SMALL.items() if key != "synthetic"}
    result = simulate(check(plain | changes), tmp_path / "out")
    assert result["population"]["members"] == 50
    assert result["weights"] == 4 * 128 + 128 + 128 * 3 + 3


class Endless(Listed):
    """A hundred thousand members that are made when they are looked at."""

    def __len__(self):
        return 100_000

    def member(self, number):
        self.seen.append(number)
        return rows(6, number)


def test_of_a_hundred_thousand_members_the_cohort_alone_is_read() -> None:
    world = world_of([])
    population = Endless([])
    object.__setattr__(world, "population", population)
    weights = start(world)
    settings = check(
        SMALL | {"members": 100_000, "cohort": 50, "privacy": {"delta": 1e-7, "clipping_norm": 0.3}}
    )
    promised = guarantee(settings, 100_000, len(weights))
    draw = Draw("many", 1, 100_000, 50 / 100_000)
    with BudgetLedger.open(":memory:") as ledger:
        guard = TrustedAggregator(
            draw, 50, promised.policy, promised.budget, ledger, "many", "test", "a" * 64, "t"
        )
        crew = ThisProcess(world, PlainWork(STEPS))
        for number in (1, 2):
            population.seen.clear()
            outcome = guard.run(crew, "together", weights, number)
            assert population.seen == draw.cohort(number).tolist()
            assert 20 < outcome.cohort < 90


def test_files_of_a_code_corpus_are_members(tmp_path) -> None:
    source = tmp_path / "code"
    source.mkdir()
    for number in range(60):
        functions = [f"def f{number}_{i}(x):\n    return x + {number} * {i}\n" for i in range(3)]
        (source / f"m{number}.py").write_text("\n".join(functions))
    changes = {
        "source": f"path:{source}",
        "split": "file",
        "cohort": 10,
        "task": {
            "name": "completion",
            "model": {"vocabulary": 300, "embedding": 8, "hidden": 8},
            "warm_start": {"epochs": 0.05},
        },
        "public": {"source": "package:rich", "max_tokens": 8_000},
        "engine": "auto",
    }
    plain = {k: v for k, v in SMALL.items() if k not in ("members", "synthetic", "network")}
    result = simulate(check(plain | changes), tmp_path / "out")
    assert 50 <= result["population"]["members"] < 60  # some files are held out
    assert result["engine"]["engine"] == "sequential"
    assert result["rounds"][-1]["local"]["trained"] == result["rounds"][-1]["local"]["members"]
    assert result["rounds"][-1]["metrics"]["bits"] > 0
    again = simulate(check(plain | changes | {"workers": 2}), tmp_path / "again")
    assert [line["local"] for line in again["rounds"]] == [
        line["local"] for line in result["rounds"]
    ]


def test_a_process_that_cannot_make_its_world_says_why(tmp_path) -> None:
    world = ragged()
    work = PlainWork(STEPS)
    crew = Processes(
        2, partial(Packed, tmp_path / "none"), ThisProcess(world, work), work, 9, "together"
    )
    with closing(crew), pytest.raises(CorpusError, match="holds no packed population"):
        crew.wait()


# A person's hands.


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids, seconds=20.0):
    """Whether all processes end within a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_stopping_leaves_neither_files_nor_processes(tmp_path, blow) -> None:
    toml = tmp_path / "endless.toml"
    toml.write_text(
        'name = "endless"\nsource = "synthetic"\nmembers = 50\ncohort = 10\nrounds = 1000000\n'
        'workers = 2\nengine = "together"\n[privacy]\nmode = "none"\n'
        "[synthetic]\nrecords = 4\nfeatures = 3\n"
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        program = subprocess.Popen(
            [PROGRAM, "population", str(toml), "--out", str(tmp_path / "out")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with program:
        for line in program.stderr:
            if line.startswith("round 2/"):
                break
        started = children(program.pid)
        assert len(started) >= 2
        program.send_signal(blow)
        said = program.stderr.read()
        program.wait(timeout=30)
    assert gone(started)
    if blow == signal.SIGINT:
        assert program.returncode == 2
        assert "fedcode: stopped by Ctrl-C\nhint: " in said
        assert "Traceback" not in said
        assert not (tmp_path / "out").exists()
