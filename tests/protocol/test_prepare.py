# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode prepare`: what a federation starts from is what its simulation starts from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import write_federation

from fedcode.corpus import parse, read_public
from fedcode.start import Start

PROGRAM = str(Path(sys.executable).parent / "fedcode")
MEMBERS = ("alpha", "beta", "delta")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files: one names all sources, the other those of its members not."""
    folder = tmp_path_factory.mktemp("prepare")
    text = write_federation(folder, rounds=1).read_text(encoding="utf-8")
    shared = (folder / "gamma" / "module_0.py").read_text(encoding="utf-8")
    (folder / "public" / "shared.py").write_text(f"{shared}\nMORE = 1\n", encoding="utf-8")
    for name in MEMBERS:
        text = text.replace(f'source = "path:{name}"\n', "")
    (folder / "real.toml").write_text(text, encoding="utf-8")
    return folder


def program(base: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *words],
        capture_output=True,
        text=True,
        cwd=base,
        env={**os.environ, "FEDCODE_CACHE": str(base / "cache"), "OMP_NUM_THREADS": "1"},
        timeout=120,
    )


@pytest.fixture(scope="module")
def made(base: Path) -> dict[str, object]:
    done = program(base, "prepare", "real.toml", "--out", "start", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_files_are_what_it_says(base: Path, made) -> None:
    folder = base / "start"
    assert sorted(p.name for p in folder.iterdir()) == ["completion.safetensors", "public.corpus"]
    start = Start.load(folder / "completion.safetensors")
    assert made["starts"] == [
        {
            "task": "completion",
            "file": "completion.safetensors",
            "weights": len(start.weights),
            "fingerprint": start.fingerprint,
            "start": start.digest,
        }
    ]
    assert start.public == made["public"]
    assert start.settings["vocabulary"] == 300
    assert abs(start.weights).max() > 0


def test_what_is_measured_stands_in_no_public_file(base: Path, made) -> None:
    public = read_public(base / "start" / "public.corpus", made["public"])
    text = (base / "gamma" / "module_0.py").read_text(encoding="utf-8")
    own = {r.tokens for r in parse("x.py", text).records}
    shared = (base / "public" / "shared.py").read_text(encoding="utf-8")
    assert own & {r.tokens for r in parse("shared.py", shared).records}
    assert not own & {r.tokens for r in public.records()}
    assert "shared.py" in {f.path for f in public.files}


def test_a_simulation_starts_from_the_same_file(base: Path, made) -> None:
    done = program(base, "simulate", "federation.toml", "--out", "run")
    assert done.returncode == 0, done.stderr
    agreed = json.loads((base / "run" / "agreement-completion.json").read_text())["agreement"]
    assert agreed["start"] == made["starts"][0]["start"]


def test_it_says_what_to_do_next_and_does_nothing_twice(base: Path) -> None:
    done = program(base, "prepare", "real.toml", "--out", "again")
    assert done.returncode == 0, done.stderr
    assert "again/public.corpus" in done.stdout
    assert done.stdout.endswith("next: fedcode-server run real.toml --start again\n")
    before = {p: p.read_bytes() for p in (base / "again").iterdir()}
    twice = program(base, "prepare", "real.toml", "--out", "again")
    assert twice.returncode == 2
    assert "again is not empty" in twice.stderr
    assert {p: p.read_bytes() for p in (base / "again").iterdir()} == before


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_loaded(base: Path) -> None:
    """Torch alone takes seconds."""
    (base / "full").mkdir()
    (base / "full" / "mine").write_text("mine")
    code = (
        "import sys; from fedcode.cli import app; from fedcode.terminal import run\n"
        "sys.modules['fedcode.simulation.preparation'] = None; run(app, 'fedcode')"
    )
    words = ["prepare", "real.toml", "--out", "full"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=base, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fedcode: full is not empty\nhint: choose another --out\n"


def test_code_that_only_an_agent_knows_cannot_be_simulated(base: Path) -> None:
    done = program(base, "simulate", "real.toml", "--out", "none")
    assert done.returncode == 2
    assert "only its own agent knows where the code of alpha lies" in done.stderr
    assert "hint: " in done.stderr
    assert not (base / "none").exists()
