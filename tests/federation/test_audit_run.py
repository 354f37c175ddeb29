# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode audit DIR`, as a person types it, on a small run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small import write_federation
from typer.testing import CliRunner

from fedcode.cli import app
from fedcode.errors import ConfigError, RunError
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.seeded import SeededGenerator
from fedcode.simulation import audit as audits
from fedcode.simulation.audit import AuditJob, audit
from fedcode.simulation.audit_folder import audit_folder
from tests.program import forked

OTHERS = """
[[tasks]]
name = "defects"
rounds = 2
budget_share = 0.3
model = { vocabulary = 300, table = 20, embedding = 8, hidden = 6, head = 5, pointer = 4 }
[tasks.training]
sampling_rate = 0.3
[tasks.warm_start]
epochs = 0.2
batch = 4
[[tasks]]
name = "ngram"
rounds = 1
budget_share = 0.2
model = { vocabulary = 300, min_records = 2 }
[tasks.training]
kind = "gradient-sum"
sampling_rate = 1.0
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all three tasks, audited."""
    base = tmp_path_factory.mktemp("audited")
    toml = write_federation(base, task="budget_share = 0.5")
    toml.write_text(
        toml.read_text("utf-8").replace("[[organizations]]", OTHERS + "[[organizations]]", 1)
    )
    with pytest.MonkeyPatch.context() as patch, forked():
        patch.setenv("FEDCODE_CACHE", str(base / "cache"))
        done = CliRunner().invoke(app, ["simulate", str(toml), "--out", str(base / "out")])
        assert done.exit_code == 0, done.output
        done = CliRunner().invoke(app, ["audit", str(base / "out"), "--trials", "400"])
        assert done.exit_code == 0, done.output
        (base / "said").write_text(done.stdout, encoding="utf-8")
        yield base


def test_every_task_is_audited(run) -> None:
    found = json.loads((run / "out" / "audit.json").read_text(encoding="utf-8"))
    result = json.loads((run / "out" / "result.json").read_text(encoding="utf-8"))
    assert found["schema"] == "fedcode/audit/1"
    assert found["organization"] in ("alpha", "beta", "delta")
    assert [task["name"] for task in found["tasks"]] == ["completion", "defects", "ngram"]
    claims = {
        task["name"]: next(a["epsilon"] for a in task["arms"] if a["key"] == "federated")
        for task in result["tasks"]
    }
    for task in found["tasks"]:
        one = task["one_run"]
        assert one["claimed"] == pytest.approx(claims[task["name"]]), "as the run was charged"
        assert one["delta"] == result["privacy"]["delta"]
        assert 0 <= one["found"] <= one["detectable"]
        assert 0 < one["right"] <= one["guesses"] <= one["canaries"]
    assert found["tasks"][1]["memory"] is found["tasks"][2]["memory"] is None
    for model in ("private", "plain"):
        part = found["tasks"][0]["memory"][model]
        assert [one["copies"] for one in part["exposure"]] == [1, 16]
        assert part["trained_on"]["functions"] > 0


def test_the_terminal_and_the_page_show_it(run) -> None:
    said = (run / "said").read_text(encoding="utf-8")
    assert max(map(len, said.splitlines())) <= 80
    assert "completion, one run" in said
    assert "what could not be found" in said
    page = run / "out" / "report.html"
    before = page.read_bytes()
    assert b'id="audits"' in before
    page.unlink()
    assert CliRunner().invoke(app, ["report", str(run / "out")]).exit_code == 0
    assert page.read_bytes() == before


def job(run, task="completion", canaries=60):
    """What the program makes for one task of the run."""
    jobs = []

    class Taken(Exception):
        pass

    def take(found, *_):
        jobs.extend(found)
        raise Taken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedcode.simulation.audit_folder._run", take)
        with pytest.raises(Taken):
            audit_folder(run / "out", "alpha", canaries)
    return next(j for j in jobs if j.task == task)


def test_the_audit_is_of_secret_noise_and_its_own_ledger(run, monkeypatch) -> None:
    ledger = (run / "out" / "ledger.sqlite").read_bytes()
    monkeypatch.setattr(SeededGenerator, "__init__", lambda *_: pytest.fail("noise from the seed"))
    audit(job(run))
    assert (run / "out" / "ledger.sqlite").read_bytes() == ledger


def test_coins_come_from_the_secure_generator(run, monkeypatch) -> None:
    asked = []

    class Watched(SecureGenerator):
        def poisson_sample(self, population, rate):
            asked.append((population, rate))
            return super().poisson_sample(population, rate)

    monkeypatch.setattr(audits, "SecureGenerator", Watched)
    audit(job(run, "ngram", 50))
    assert asked == [(50, 0.5)]


def test_what_cannot_be_audited_is_refused(run, tmp_path) -> None:
    with pytest.raises(ConfigError, match="gamma is no member"):
        audit_folder(run / "out", "gamma")
    made = job(run)
    with pytest.raises(ConfigError, match="has room for"):
        audit(AuditJob(made.federation, "completion", "alpha", made.noise, 5_000))
    with pytest.raises(RunError, match="cannot be read"):
        audit_folder(tmp_path)
    for name, change, match in (
        ("open", lambda m: m["options"].update(private=False), "had no privacy"),
        ("other", lambda m: m["fingerprints"].update(alpha="0" * 64), "has changed since"),
    ):
        folder = tmp_path / name
        shutil.copytree(run / "out", folder)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with pytest.raises(RunError, match=match):
            audit_folder(folder)


def test_the_programs_exit_code_says_that_something_is_broken(run, monkeypatch) -> None:
    found = json.loads((run / "out" / "audit.json").read_text(encoding="utf-8"))
    found["tasks"][0]["one_run"] |= {"found": 99.0, "broken": True}
    monkeypatch.setattr("fedcode.simulation.audit_folder.audit_folder", lambda *_: found)
    said = CliRunner().invoke(app, ["audit", str(run / "out")])
    assert said.exit_code == 1
    assert "BROKEN: completion" in said.stdout
    as_json = CliRunner().invoke(app, ["audit", str(run / "out"), "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) == found


def test_an_organization_without_a_folder_is_refused() -> None:
    refused = CliRunner().invoke(app, ["audit", "--organization", "alpha"])
    assert isinstance(refused.exception, ConfigError)
