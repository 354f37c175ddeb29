# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode measure`: a coordinator's run becomes the same kind of result as a simulation's."""

import io
import json
import re
import shutil

import numpy as np
import pytest
from agents import NAMES, ledgers, made_run
from rich.console import Console

from fedcode.budgets import calibrated
from fedcode.errors import ConfigError, PrivacyError, RunError
from fedcode.federation import load
from fedcode.report.result import read_manifest, read_result
from fedcode.report.terminal import summary
from fedcode.rounds.coordinator import Coordinator
from fedcode.simulation.measuring import measure
from fedcode.simulation.run import repeatable
from fedcode.simulation.spending import charged_at_most
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.use.model import load as load_model
from fedcode.weights import load_tensors, save_tensors
from fedcode_client.training import member
from fedcode_server.runs import RunFolder

ROUNDS = 3


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished run of three rounds in a coordinator's folder, and what it was charged."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("measured")
        patched.setenv("FEDCODE_CACHE", str(folder / "cache"))
        run = made_run(folder, ROUNDS)
        found = RunFolder.create(
            folder / "run", run.federation, folder / "start", run.signed.agreement.roster
        )
        found.keep(run.signed)
        own = ledgers(run, calibrated(run.federation).filter.order)
        members = {
            name: member(
                run.federation,
                run.signed,
                run.files,
                run.ours[name],
                own[name],
                run.keys[name],
                name,
            )
            for name in NAMES
        }
        state = found.begin("completion")
        grid = InMemoryGrid({name: member_app(one.answer) for name, one in members.items()})
        coordinator = Coordinator(run.signed.agreement, grid, grid.nodes, run.keys["coordinator"])
        for _ in range(ROUNDS):
            state, outcome = coordinator.run(state)
            found.keep_round("completion", state, outcome)
        found.finish({"completion": state})
        charges = {name: own[name].charges(run.ours[name].assets[0]) for name in NAMES}
        (folder / "charges.json").write_text(json.dumps(charges))
        yield folder


@pytest.fixture(scope="module")
def measured(base):
    """The result, with the researcher's file: the run's own settings name no source."""
    return measure(base / "run", load(base / "federation.toml"), base / "result")


def test_the_folder_is_that_of_a_run(base, measured) -> None:
    folder = base / "result"
    assert sorted(p.name for p in folder.iterdir()) == [
        "agreement-completion.json",
        "manifest.json",
        "models",
        "report.html",
        "result.json",
        "transcript.jsonl",
    ]
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(measured))
    found = read_result(measured)
    run = read_manifest(json.loads((folder / "manifest.json").read_text()))
    assert not found.simulation.simulated
    assert not found.simulation.seeded_noise
    assert not run.seeded_noise
    assert len(run.weights["completion"]) == ROUNDS
    with pytest.raises(RunError, match="is not a manifest"):
        repeatable(folder / "manifest.json")


def test_weights_are_named_tensors(base, measured) -> None:
    tensors = load_tensors(base / "result" / "models" / "completion" / "weights.safetensors")
    flat = load_tensors(base / "run" / "weights.safetensors")["completion/weights"]
    trained = np.concatenate([t.ravel() for t in tensors.values()])
    assert set(flat.tolist()) <= set(trained.tolist())
    assert len(trained) > len(flat), "what is public is among them"


def test_the_model_can_be_used_and_its_card_is_of_no_simulation(base, measured) -> None:
    model = load_model(base / "result" / "models" / "completion", "completion")
    assert not model.card.simulated
    assert model.card.members == len(read_result(measured).members)
    assert model.card.protection.epsilon > 0
    assert not any("seed" in limit for limit in model.card.limits)
    assert model.card.own.figures == {
        key: one.mean for key, one in read_result(measured).tasks[0].arms[1].unseen.items()
    }


def test_the_model_is_measured_beside_its_warm_start(measured) -> None:
    (task,) = read_result(measured).tasks
    public, federated = task.arms
    assert (public.key, federated.key) == ("public", "federated")
    assert set(public.unseen) == set(federated.unseen)
    bits = task.leading.key
    assert public.unseen[bits].mean != federated.unseen[bits].mean
    assert set(federated.seeds[0].by_organization) == {"gamma"}
    assert public.epsilon is None
    assert task.verdict[0].claim == "better than the public warm start alone"


def test_it_says_of_no_member_what_only_that_member_knows(measured) -> None:
    for organization in read_result(measured).organizations:
        if organization.role == "train":
            known = (organization.files, organization.records, organization.units)
            assert known == (None, None, None)
            assert organization.local is None
        else:
            assert organization.files > 0
    for line in measured["tasks"][0]["curves"]:
        assert line["local"] == {}


def test_what_was_charged_is_no_more_than_what_is_shown(base, measured) -> None:
    charges = json.loads((base / "charges.json").read_text())
    result = read_result(measured)
    for row in result.ledger:
        assert row.charges >= charges[row.organization] == ROUNDS
        assert 0 < row.epsilon_spent <= row.epsilon_cap
        assert row.spent_nano <= row.budget_nano
    (task,) = result.tasks
    assert task.arms[1].epsilon == max(row.epsilon_spent for row in result.ledger)
    last = task.curves[-1].epsilon
    assert last == {row.organization: row.epsilon_spent for row in result.ledger}
    first = task.curves[0].epsilon
    assert all(0 < first[name] < last[name] for name in NAMES)


def test_the_page_says_that_it_was_no_simulation(base, measured) -> None:
    page = (base / "result" / "report.html").read_text()
    text = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "no simulation: every organization trained on its own machines" in text
    assert "because this is a simulation" not in text
    assert "Private data of each organization" not in text
    assert "is a simulation:" not in text


def test_so_does_the_terminal(base, measured) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(summary(measured, base / "result"))
    said = console.export_text()
    assert "largest ε at most" in said
    assert "models" in said
    assert "ledger.sqlite" not in said, "there is none"


def test_who_was_asked_to_train_may_have_paid(base) -> None:
    """Though it is not among the survivors; who never shared its secrets cannot have."""
    agreed = RunFolder(base / "run").agreement("completion").agreement
    lines = [
        {"sums": [{"sharers": ["alpha", "beta"], "survivors": ["alpha"]}]},
        {"sums": []},
    ]
    assert charged_at_most(agreed, lines) == [{"alpha", "beta"}, frozenset()]


@pytest.fixture
def copy(base, tmp_path):
    shutil.copytree(base / "run", tmp_path / "run")
    return tmp_path / "run"


def refused(base, run, kind, words, federation=...):
    asked = load(base / "federation.toml") if federation is ... else federation
    with pytest.raises(kind, match=words):
        measure(run, asked, run / "result")
    assert not (run / "result").exists()


def test_what_is_not_finished_is_refused(base, copy) -> None:
    (copy / "weights.safetensors").unlink()
    refused(base, copy, RunError, "is not finished")


def test_a_run_without_sources_to_measure_on_is_refused(base, copy) -> None:
    refused(base, copy, ConfigError, "no organization's code can be read here", federation=None)


def test_a_file_of_other_settings_is_refused(base, copy) -> None:
    other = load(base / "federation.toml").model_copy(update={"purpose": "other"})
    refused(base, copy, ConfigError, "are not what was agreed on", federation=other)


def test_other_weights_and_starts_are_refused(base, copy) -> None:
    path = copy / "weights.safetensors"
    flat = load_tensors(path)["completion/weights"]
    for wrong in (
        {"completion/weights": flat[1:]},
        {"other": flat},
        {"completion/weights": flat * np.nan},
    ):
        save_tensors(path, wrong)
        refused(base, copy, RunError, "has no weights of completion")
    save_tensors(path, {"completion/weights": flat})
    start = copy / "start" / "completion.safetensors"
    start.write_bytes(start.read_bytes()[:-1])
    refused(base, copy, RunError, "is no start file")


def test_an_agreement_that_somebody_has_not_signed_is_refused(base, copy) -> None:
    path = copy / "agreement-completion.json"
    signed = json.loads(path.read_text())
    del signed["signatures"]["beta"]
    path.write_text(json.dumps(signed))
    refused(base, copy, PrivacyError, "beta did not sign")


def test_a_transcript_that_does_not_hold_is_refused(base, copy) -> None:
    path = copy / "transcript.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, first, *rest]) + "\n")
    refused(base, copy, RunError, "does not hold: round 1: alpha is in two sums")


@pytest.mark.parametrize("text", ["[]\n", "{}\n", "no\n", '{"task": "completion"}\n'])
def test_lines_that_cannot_be_read_are_refused(base, copy, text) -> None:
    (copy / "rounds.jsonl").write_text(text)
    refused(base, copy, RunError, r"rounds\.jsonl cannot be read")


def test_nothing_is_measured_twice_into_one_folder(base, measured) -> None:
    with pytest.raises(RunError, match="is not empty"):
        measure(base / "run", None, base / "result")
