# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Bad input to `fedcode population`: one line, a hint, exit code 2, nothing half-written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedcode.cli import app
from fedcode.errors import FedcodeError
from fedcode.simulation.population.data import pack
from fedcode.simulation.population.settings import (
    LocalTraining,
    NetworkSettings,
    PopulationPrivacy,
    PopulationSettings,
    SyntheticSettings,
)
from fedcode.strict import parsed

PROGRAM = str(Path(sys.executable).parent / "fedcode")

GOOD = """
name = "p"
source = "synthetic"
members = 50
cohort = 10
rounds = 2
workers = 1
[privacy]
delta = 1e-3
"""
LOCAL = '\nmode = "local"\nsampling_rate = 0.5'


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))


def refused(tmp_path, *, text=GOOD, words=()):
    """The error; nothing was printed, and there is no result."""
    toml = tmp_path / "p.toml"
    toml.write_text(text)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["population", str(toml), "--out", str(out), *words])
    assert isinstance(done.exception, FedcodeError), done.output
    assert done.exception.hint
    assert not (out / "result.json").exists()
    assert done.stdout == ""
    return str(done.exception)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cohort = 10", "cohort = 10\nchort = 1", "chort: unknown key"),
        ("members = 50", "", "synthetic population needs members"),
        ("cohort = 10", "cohort = 51", "cohort is larger than members"),
        ("cohort = 10", "cohort = 0", "cohort"),
        ("cohort = 10", 'cohort = "10"', "cohort"),
        ('"synthetic"', '"magic"', "source"),
        ('"synthetic"', '"path:x"', "needs split and a table task"),
        ('"synthetic"', '"packed:none"', "holds no packed population"),
        ("rounds = 2", 'rounds = 2\nsplit = "file"', "are for code corpora"),
        ("rounds = 2", 'rounds = 2\nengine = "fast"', "engine"),
        ("delta = 1e-3", "delta = 1e-1", "delta"),
        ("delta = 1e-3", "delta = 1e-3\nepsilon = 0.0", "epsilon"),
        ("delta = 1e-3", "delta = 1e-3\nsampling_rate = 0.1", "for the mode local"),
        ("delta = 1e-3", "delta = 1e-3\nparticipations = 3", "for the mode local"),
        ("delta = 1e-3", 'delta = 1e-3\nmode = "local"', "needs a sampling_rate"),
        ("delta = 1e-3", "delta = 1e-3\nnoise_multiplier = 0.2", "pays for"),
        ("[privacy]", "[packed]\n[privacy]", "packed: unknown key"),
    ],
)
def test_a_file_that_cannot_be(tmp_path, old, new, said) -> None:
    assert old in GOOD
    assert said in refused(tmp_path, text=GOOD.replace(old, new))
    assert not (tmp_path / "out").exists()


def test_an_unknown_task_is_named(tmp_path) -> None:
    text = GOOD.replace('"synthetic"', '"package:rich"\nsplit = "file"')
    assert "unknown task nothing" in refused(tmp_path, text=text + '[task]\nname = "nothing"\n')


def test_a_task_without_a_network_is_refused(tmp_path) -> None:
    text = GOOD.replace('"synthetic"', '"package:rich"\nsplit = "file"')
    text += '[task]\nname = "ngram"\n[public]\nsource = "package:rich"\nmax_tokens = 2000\n'
    assert "ngram has no network" in refused(tmp_path, text=text)


def test_rows_that_are_not_of_features_and_classes_are_refused(tmp_path) -> None:
    text = GOOD.replace('"synthetic"', '"packed:own"').replace("members = 50\n", "")
    pack(tmp_path / "own", [(np.zeros((3, 2)),)] * 40)
    assert "rows of float32 features" in refused(tmp_path, text=text)


def test_classes_that_the_network_lacks_are_refused(tmp_path) -> None:
    text = GOOD.replace('"synthetic"', '"packed:own"').replace("members = 50\n", "")
    pack(tmp_path / "own", [(np.zeros((3, 2), np.float32), np.array([0, 1, 2]))] * 40)
    assert "classes from 0 to 2" in refused(tmp_path, text=text)


def test_more_members_than_there_are_is_refused(tmp_path) -> None:
    text = GOOD.replace('"synthetic"', '"packed:own"')
    pack(tmp_path / "own", [(np.zeros((3, 2), np.float32), np.array([0, 1, 1]))] * 40)
    assert "has 40 members, 20 of them held out" in refused(tmp_path, text=text)


def test_a_folder_that_holds_something_is_left_alone(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("kept")
    assert "is not empty" in refused(tmp_path)
    assert (tmp_path / "out" / "kept").read_text() == "kept"


def test_the_first_file_of_the_documentation_is_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "population.md"
    examples = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert parsed(PopulationSettings, examples[0], "the page").cohort == 100
    keys = set(re.findall(r"^(?:# )?(\w+) =", examples[1], re.MULTILINE))
    models = [PopulationSettings, PopulationPrivacy, LocalTraining, SyntheticSettings]
    assert keys >= {key for model in (*models, NetworkSettings) for key in model.model_fields} - {
        *("privacy", "training", "synthetic", "network", "task", "public")
    }


def test_again_and_a_file_exclude_one_another(tmp_path) -> None:
    assert "is needed" in refused(tmp_path, words=["--again", str(tmp_path)])


def test_a_folder_without_a_manifest_cannot_be_repeated(tmp_path) -> None:
    done = CliRunner().invoke(app, ["population", "--again", str(tmp_path)])
    assert "manifest.json cannot be read" in str(done.exception)


def test_the_program_says_it_in_two_lines(tmp_path) -> None:
    toml = tmp_path / "p.toml"
    toml.write_text(GOOD.replace("cohort = 10", "cohort = 51"))
    done = subprocess.run(
        [PROGRAM, "population", str(toml), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("fedcode: ")
    assert second == "hint: docs/population.md lists every key"


def test_a_run_prints_a_table_and_a_line_a_round(tmp_path) -> None:
    toml, out = tmp_path / "p.toml", tmp_path / "out"
    toml.write_text(GOOD + LOCAL)
    done = CliRunner().invoke(app, ["population", str(toml), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "round 2/2: cohort" in done.stderr
    assert "on what is held out" in done.stdout
    assert "every member adds its own noise" in done.stdout
    again = CliRunner().invoke(
        app, ["population", "--again", str(out), "--out", str(tmp_path / "again")]
    )
    assert again.exit_code == 0, again.output
    assert "the same weights after every round" in again.stdout
