# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Bad input to `fedcode`: one clear line, a hint, exit code 2, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from small import write_federation

from tests.program import started, typed

Run = Callable[[list[str], dict[str, str]], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    write_federation(folder)
    (folder / "empty").mkdir()
    return folder


def refused(
    base: Path, *words: object, edit: tuple[str, str] | None = None, run: Run = typed
) -> str:
    """What the program said on stderr; the run must not have left a folder behind."""
    toml = base / "federation.toml"
    if edit is not None:
        text = toml.read_text(encoding="utf-8")
        assert edit[0] in text
        toml = base / "edited.toml"
        toml.write_text(text.replace(*edit), encoding="utf-8")
    out = base / "out"
    done = run(
        ["simulate", str(toml), "--out", str(out), *map(str, words)],
        {"FEDCODE_CACHE": str(base / "cache"), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith(("fedcode:", "hint:"))]
    assert len(said) == 2, done.stderr
    assert said[0].startswith("fedcode: ")
    assert said[1].startswith("hint: ")
    assert not (out / "result.json").exists()
    return said[0]


def test_an_unknown_task(base: Path) -> None:
    assert "unknown task nothing" in refused(base, "--task", "nothing", run=started)


def test_an_organization_without_python_files(base: Path) -> None:
    said = refused(base, edit=('source = "path:beta"', 'source = "path:empty"'))
    assert "no source files" in said


def test_an_organization_that_is_not_there(base: Path) -> None:
    assert "nowhere" in refused(base, edit=('"path:beta"', '"path:nowhere"'))
    assert "no-such-package" in refused(base, edit=('"path:beta"', '"package:no-such-package"'))


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan"])
def test_an_epsilon_that_lets_nothing_be_learned(base: Path, epsilon: str) -> None:
    assert "epsilon" in refused(base, "--epsilon", epsilon)


def test_a_delta_that_publishes_a_record(base: Path) -> None:
    said = refused(base, edit=("delta = 1e-3", "delta = 0.1"))
    assert "delta 0.1 is not below 1/" in said


def test_no_noise_with_privacy_on(base: Path) -> None:
    edit = ("sampling_rate = 0.3", "sampling_rate = 0.3\nnoise_multiplier = 0.0")
    assert "noise_multiplier" in refused(base, edit=edit)


def test_too_few_records_for_the_sampling_rate(base: Path) -> None:
    said = refused(base, edit=("sampling_rate = 0.3", "sampling_rate = 0.001"))
    assert "too few for sampling_rate 0.001" in said


def test_a_loss_that_is_not_finite(base: Path) -> None:
    edit = ("learning_rate = 0.01", "learning_rate = 1e38")
    assert "not finite" in refused(base, edit=edit)


def test_a_file_that_is_not_toml(base: Path) -> None:
    assert "is not TOML" in refused(base, edit=('name = "small"', "name = small"))


def test_an_unknown_key(base: Path) -> None:
    assert "heldout_evry" in refused(base, edit=("heldout_every", "heldout_evry"))
    said = refused(base, edit=("hidden = 8", "hiden = 8"))
    assert "completion: hiden: unknown key" in said
    assert "read " not in said, "a misspelt key is found before anything is read"


def test_a_server_learning_rate_where_there_is_none(base: Path) -> None:
    assert "fedavg has no server learning rate" in refused(base, edit=("fedadam", "fedavg"))


def test_a_folder_that_holds_something(base: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    assert "is not empty" in refused(base, "--out", tmp_path)
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"
    assert len(list(tmp_path.iterdir())) == 1
    assert "--resume" not in refused(base, "--out", tmp_path), "there is no run to go on with"


def test_nothing_to_resume_or_repeat(base: Path, tmp_path: Path) -> None:
    for word in ("--resume", "--again"):
        done = typed(["simulate", word, str(tmp_path)], {})
        assert done.returncode == 2
        assert "manifest.json cannot be read" in done.stderr


def test_a_damaged_cache(base: Path) -> None:
    toml, cache = base / "federation.toml", base / "damaged"
    words = ["simulate", str(toml), "--rounds", "1", "--out"]
    environment = {"FEDCODE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    first = typed([*words, str(base / "first")], environment)
    assert first.returncode == 0
    for file in cache.rglob("*"):
        if file.is_file():
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)
    second = typed([*words, str(base / "second")], environment)
    assert second.returncode == 2
    assert "fedcode: " in second.stderr
    assert "hint: " in second.stderr
    assert str(cache) in second.stderr
    assert not (base / "second" / "result.json").exists()


@pytest.mark.parametrize("words", [("--epsilon", "1"), ("--rounds", "2"), ("--seeds", "2")])
def test_what_a_run_was_asked_to_do_is_not_changed_by_resuming_it(base: Path, words) -> None:
    done = typed(["simulate", "--resume", str(base / "none"), *words], {})
    assert done.returncode == 2
    assert "do what the run was asked to do" in done.stderr


def test_flowers_engine_without_ray(base: Path, tmp_path: Path) -> None:
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ray" else find(name, *rest)
from fedcode.cli import main
main()
"""
    words = ("simulate", base / "federation.toml", "--engine", "flower", "--out", tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
        "fedcode: --engine flower needs Ray, which is not installed",
        "hint: pip install 'fedcode[flower-engine]'",
    ]
    assert not (tmp_path / "out").exists()


def test_flowers_engine_without_privacy(base: Path) -> None:
    assert "live in memory" in refused(base, "--engine", "flower", "--no-privacy")


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_a_cluster_that_is_not_there(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "there is no Ray to join at 127.0.0.1:1" in refused(
        base, "--engine", "flower", run=started
    )


def test_a_file_is_no_folder_for_a_result(base: Path) -> None:
    toml = base / "federation.toml"
    for out in (toml, toml / "x"):
        words = ["simulate", str(toml), "--out", str(out)]
        done = typed(words, {"FEDCODE_CACHE": str(base / "cache")})
        assert done.returncode == 2, done.stderr
        assert "choose another --out" in done.stderr
        assert "Traceback" not in done.stderr
