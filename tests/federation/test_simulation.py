# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whole simulations as a person runs them, on a small federation."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from safetensors.numpy import load_file
from small import write_federation

from fedcode.privacy.ledger import BudgetLedger
from tests.program import PROGRAM, started, typed


def fedcode(
    cache: Path, *words: object, run: Callable[..., CompletedProcess[str]] = typed
) -> CompletedProcess[str]:
    """Runs the program to its end."""
    return run([*map(str, words)], environment(cache))


def environment(cache: Path) -> dict[str, str]:
    return {"FEDCODE_CACHE": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


class Run:
    """One finished run."""

    def __init__(self, base: Path) -> None:
        self.base, self.cache, self.out = base, base / "cache", base / "out"
        self.toml = write_federation(base)
        words = ("simulate", self.toml, "--compare", "--out", self.out)
        self.done = fedcode(self.cache, *words, run=started)

    def read(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.out / name).read_text(encoding="utf-8"))
        return value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("simulation"))


def test_it_ends_well_and_briefly(run: Run) -> None:
    assert run.done.returncode == 0, run.done.stderr
    assert "federated, private" in run.done.stdout
    assert str(run.out / "report.html") in run.done.stdout.replace("\n", "")
    assert len(run.done.stdout.splitlines()) <= 20
    assert "Traceback" not in run.done.stderr
    assert "Warning" not in run.done.stderr


def test_the_folder_holds_what_was_promised_and_nothing_else(run: Run) -> None:
    assert sorted(p.name for p in run.out.iterdir()) == [
        "agreement-completion.json",
        "ledger.sqlite",
        "manifest.json",
        "models",
        "report.html",
        "result.json",
        "transcript.jsonl",
    ]
    assert sorted(p.name for p in (run.out / "models" / "completion").iterdir()) == [
        "card.html",
        "card.json",
        "public.corpus",
        "weights.safetensors",
    ]


def test_every_arm_is_in_the_result(run: Run) -> None:
    (task,) = run.read("result.json")["tasks"]
    arms = [(arm["key"], arm["member"]) for arm in task["arms"]]
    assert arms == [
        ("public", None),
        ("alone", "alpha"),
        ("alone", "beta"),
        ("alone", "delta"),
        ("federated", None),
        ("federated-plain", None),
        ("centralized-plain", None),
        ("baseline", None),
    ]
    assert len(task["curves"]) == task["rounds_planned"] == 3
    assert all(line["survivors"] == ["alpha", "beta", "delta"] for line in task["curves"])
    assert {arm["epsilon"] is not None for arm in task["arms"] if arm["private"]} == {True}
    assert {arm["epsilon"] for arm in task["arms"] if not arm["private"]} == {None}
    bits = [arm["unseen"]["bits"]["mean"] for arm in task["arms"]]
    assert len(set(bits)) == len(bits), "two arms are the same model"


def test_a_simulation_says_that_its_noise_protects_nobody(run: Run) -> None:
    assert run.read("result.json")["simulation"]["seeded_noise"] is True
    assert run.read("manifest.json")["seeded_noise"] is True


def test_the_ledger_has_every_round_and_stays_below_the_cap(run: Run) -> None:
    with BudgetLedger.open(run.out / "ledger.sqlite", read_only=True) as ledger:
        # three accounts; in each round keys and survivors latched, and charged, armed and sent
        assert ledger.verify() == 3 + 3 * 3 * 5
        for account in ledger.accounts():
            history = ledger.history(account.asset)
            assert [charge.round for charge in history] == [1, 2, 3]
            assert {charge.state for charge in history} == {"SENT"}
            assert 0 < ledger.epsilon(account.asset) <= 8
    spent = {row["epsilon_spent"] for row in run.read("result.json")["ledger"]}
    last = run.read("result.json")["tasks"][0]["curves"][-1]["epsilon"]
    assert spent == set(last.values())


def test_the_weights_are_those_of_the_last_round(run: Run) -> None:
    weights = load_file(run.out / "models" / "completion" / "weights.safetensors")
    assert "embedding.weight" in weights
    digests = run.read("manifest.json")["weights"]["completion"]
    assert len(digests) == len(set(digests)) == 3


def test_the_manifest_tells_what_a_repetition_needs(run: Run) -> None:
    manifest = run.read("manifest.json")
    assert manifest["packages"]["torch"]
    assert manifest["hardware"]["cores"] >= 1
    assert set(manifest["fingerprints"]) == {"alpha", "beta", "gamma", "delta"}
    assert manifest["federation"]["tasks"][0]["model"]["hidden"] == 8


def test_again_gives_the_same_weights(run: Run) -> None:
    done = fedcode(run.cache, "simulate", "--again", run.out, "--out", run.base / "again")
    assert done.returncode == 0, done.stderr
    assert "completion: the same weights after every round" in done.stdout


def test_again_notices_other_weights(run: Run, tmp_path: Path) -> None:
    other = run.read("manifest.json")
    other["weights"]["completion"][-1] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(other), encoding="utf-8")
    done = fedcode(run.cache, "simulate", "--again", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "OTHER weights" in done.stdout


def test_another_seed_gives_other_weights(run: Run, tmp_path: Path) -> None:
    done = fedcode(run.cache, "simulate", run.toml, "--seed", 2, "--json", "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    other = json.loads((tmp_path / "o" / "manifest.json").read_text(encoding="utf-8"))
    mine = run.read("manifest.json")["weights"]["completion"]
    assert not set(mine) & set(other["weights"]["completion"])
    assert json.loads(done.stdout)["tasks"][0]["name"] == "completion"


def test_report_shows_a_run_again(run: Run) -> None:
    page = run.out / "report.html"
    before = page.read_bytes()
    page.unlink()
    done = fedcode(run.cache, "report", run.out)
    assert done.returncode == 0, done.stderr
    assert "federated, private" in done.stdout
    assert page.read_bytes() == before


def test_ctrl_c_then_resume_gives_what_an_unbroken_run_gives(tmp_path: Path) -> None:
    toml = write_federation(tmp_path, rounds=60)
    whole = tmp_path / "whole"
    start = [PROGRAM, "simulate", str(toml), "--out"]
    # a runner in the background ignores it, and its children would, too
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        broken = subprocess.Popen(
            [*start, str(tmp_path / "broken")],
            env=os.environ | environment(tmp_path / "cache"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    checkpoint = tmp_path / "broken" / "checkpoint"
    deadline = time.monotonic() + 120
    while not list(checkpoint.glob("*.state")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(broken.pid, signal.SIGINT)
    _, said = broken.communicate(timeout=120)
    assert broken.returncode == 2, said
    hint = f"hint: continue with: fedcode simulate --resume {tmp_path / 'broken'}"
    assert said.splitlines()[-1] == hint
    assert not (tmp_path / "broken" / "result.json").exists()

    early = fedcode(tmp_path / "cache", "report", tmp_path / "broken")
    assert early.returncode == 2
    assert "not finished" in early.stderr

    resumed = fedcode(tmp_path / "cache", "simulate", "--resume", tmp_path / "broken")
    assert resumed.returncode == 0, resumed.stderr
    unbroken = fedcode(tmp_path / "cache", "simulate", toml, "--out", whole)
    assert unbroken.returncode == 0, unbroken.stderr
    one, other = (
        json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["weights"]["completion"]
        for folder in (tmp_path / "broken", whole)
    )
    assert len(one) == 60
    assert one == other


def test_a_finished_run_is_not_run_again(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "finished"
    shutil.copytree(run.out, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    resumed = fedcode(run.cache, "simulate", "--resume", folder)
    assert resumed.returncode == 2
    assert f"the run in {folder} is finished" in resumed.stderr
    over = fedcode(run.cache, "simulate", run.toml, "--out", folder)
    assert over.returncode == 2
    assert "--resume" not in over.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_a_cap_that_pays_for_nothing_is_said_before_the_training(run: Run, tmp_path: Path) -> None:
    text = run.toml.read_text(encoding="utf-8")
    for name in ("alpha", "beta", "delta"):
        text = text.replace(f'source = "path:{name}"', f'source = "path:{name}"\nepsilon = 2.0')
    toml = run.base / "nothing.toml"
    toml.write_text(text, encoding="utf-8")
    done = fedcode(run.cache, "simulate", toml, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "alpha (ε ≤ 2) can take part in 0 of 3 rounds of completion" in done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    (arm,) = [a for a in result["tasks"][0]["arms"] if a["key"] == "federated"]
    assert arm["epsilon"] == 0.0, "nobody took part: nothing was spent"
    assert [row["epsilon_spent"] for row in result["ledger"]] == [0.0] * 3


def test_a_sum_of_too_few_is_not_begun_and_costs_nobody_anything(run: Run, tmp_path: Path) -> None:
    text = run.toml.read_text(encoding="utf-8")
    toml = run.base / "few.toml"
    toml.write_text(text.replace('source = "path:beta"', 'source = "path:beta"\nepsilon = 5.0'))
    done = fedcode(run.cache, "simulate", toml, "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    first, second = result["tasks"][0]["curves"]
    assert first["charged"] == first["survivors"] == ["alpha", "beta", "delta"]
    assert second["refusals"] == {"beta": "budget"}
    assert second["charged"] == second["survivors"] == []
    assert [row["charges"] for row in result["ledger"]] == [1, 1, 1]
    assert "2 of 3 members have sent keys" in second["sums"][0]["aborted"]


def test_a_lower_cap_stops_one_organization_and_the_others_go_on(run: Run, tmp_path: Path) -> None:
    text = run.toml.read_text(encoding="utf-8")
    lower = text.replace('source = "path:beta"', 'source = "path:beta"\nepsilon = 5.0')
    toml = run.base / "lower.toml"
    toml.write_text(f'aggregation = {{ mode = "open" }}\n{lower}', encoding="utf-8")
    done = fedcode(run.cache, "simulate", toml, "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (task,) = json.loads(done.stdout)["tasks"]
    before, stopped, last = task["curves"]
    assert before["survivors"] == ["alpha", "beta", "delta"]
    assert stopped["survivors"] == last["survivors"] == ["alpha", "delta"]
    assert stopped["refusals"] == last["refusals"] == {"beta": "budget"}
    assert last["epsilon"]["beta"] <= 5.0
    assert last["epsilon"]["alpha"] > last["epsilon"]["beta"]
    shown = fedcode(run.cache, "report", tmp_path / "out").stdout
    assert "beta" in shown, "the run must say who stopped"


def test_without_privacy_there_is_no_ledger(run: Run, tmp_path: Path) -> None:
    done = fedcode(
        run.cache, "simulate", run.toml, "--no-privacy", "--json", "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["privacy"] is None
    assert result["ledger"] == []
    assert not (tmp_path / "out" / "ledger.sqlite").exists()
    assert "ledger.sqlite" not in fedcode(run.cache, "report", tmp_path / "out").stdout
    assert [arm["key"] for arm in result["tasks"][0]["arms"]] == ["public", "federated-plain"]


def test_several_seeds_give_intervals(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = fedcode(run.cache, "simulate", run.toml, "--compare", "--seeds", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "±" in done.stdout
    (task,) = json.loads((out / "result.json").read_text(encoding="utf-8"))["tasks"]
    (one,) = run.read("result.json")["tasks"]
    for arm, alone in zip(task["arms"], one["arms"], strict=True):
        if arm["key"] == "baseline":
            continue
        assert [entry["seed"] for entry in arm["seeds"]] == [1, 2, 3]
        first, *others = (entry["unseen"]["bits"] for entry in arm["seeds"])
        assert first == alone["seeds"][0]["unseen"]["bits"], "the first seed is the run by itself"
        assert first not in others
        interval = arm["unseen"]["bits"]
        mean = sum((first, *others)) / 3
        spread = (sum((x - mean) ** 2 for x in (first, *others)) / 2) ** 0.5
        assert interval["mean"] == pytest.approx(mean)
        assert interval["high"] - mean == pytest.approx(4.302653 * spread / 3**0.5)
        assert interval["seeds"] == 3


def test_without_privacy_every_weight_is_trained_and_public_code_goes_on(
    run: Run, tmp_path: Path
) -> None:
    text = run.toml.read_text(encoding="utf-8")
    toml = run.base / "plain.toml"
    toml.write_text(
        text.replace("[tasks.server]", "[tasks.plain]\npublic_share = 0.5\n[tasks.server]"),
        encoding="utf-8",
    )
    results = {}
    for name, source in (("mixed", toml), ("own", run.toml)):
        out = tmp_path / name
        done = fedcode(run.cache, "simulate", source, "--no-privacy", "--json", "--out", out)
        assert done.returncode == 0, done.stderr
        results[name] = json.loads(done.stdout)["tasks"][0]["arms"][-1]["seeds"][0]["unseen"]
    assert results["mixed"]["bits"] != results["own"]["bits"]
    embeddings = {
        name: load_file(folder / "models/completion/weights.safetensors")["embedding.weight"]
        for name, folder in (("private", run.out), ("plain", tmp_path / "own"))
    }
    assert (embeddings["private"] != embeddings["plain"]).any()
