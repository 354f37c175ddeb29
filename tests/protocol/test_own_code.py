# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode-client ingest` and `preview`: our code, as client.toml names it."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from small import write_federation

import fedcode_client.cli
from fedcode.federation import load
from fedcode.simulation.preparation import prepare

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from officers import open_real

from fedcode.privacy.ledger import BudgetLedger


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A federation that does not say where alpha's code lies, and alpha's folder, which does."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FEDCODE_CACHE", str(folder / "cache"))
        text = write_federation(folder, rounds=2).read_text(encoding="utf-8")
        for name in ("alpha", "beta", "delta"):
            text = text.replace(f'source = "path:{name}"\n', "")
        (folder / "real.toml").write_text(text, encoding="utf-8")
        prepare(load(folder / "real.toml"), folder / "start")
        yield folder


def program(line):
    """Exit code, stdout and stderr of a command line."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv, before = shlex.split(line), sys.argv
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            fedcode_client.cli.main()
    except SystemExit as done:
        return done.code or 0, out.getvalue(), err.getvalue()
    finally:
        sys.argv = before


@pytest.fixture
def home(base, tmp_path):
    folder = tmp_path / "home"
    assert program(f"fedcode-client init {folder}")[0] == 0
    toml = folder / "client.toml"
    toml.write_text('source = "path:../code"\n' + toml.read_text(encoding="utf-8"))
    (tmp_path / "code").symlink_to(base / "alpha")
    return folder


def test_what_was_found_is_said(base, home) -> None:
    (base / "alpha" / "broken.py").write_text("def (:\n")
    code, out, err = program(f"fedcode-client ingest --home {home}")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"path:{base / 'alpha'}: 8 files, 80 functions, ")
    assert lines[1] == "privacy units: 88 by function, 8 by file, 1 by repository"
    assert lines[2].startswith("skipped broken.py: ")
    assert lines[3] == "filters: nothing was taken"
    assert lines[4] == f"no account can pay: fedcode-client asset path:{base / 'alpha'} --register"
    (base / "alpha" / "broken.py").unlink()


def test_for_machines_too_with_the_account(base, home) -> None:
    program(f"fedcode-client asset path:{base / 'alpha'} --register")
    found = json.loads(program(f"fedcode-client ingest --home {home} --json")[1])
    assert found["functions"] == 80
    assert found["skipped"] == []
    assert found["asset"].startswith("folder:")
    assert found["account"] is None
    with BudgetLedger.open(home / "ledger" / "ledger.sqlite") as ledger:
        assert "has no account yet" in program(f"fedcode-client ingest --home {home}")[1]
        open_real(ledger, found["asset"])
    assert "has an account" in program(f"fedcode-client ingest --home {home}")[1]


def test_a_folder_that_does_not_say_where_its_code_lies_is_refused(home) -> None:
    toml = home / "client.toml"
    _, _, rest = toml.read_text(encoding="utf-8").partition("\n")
    toml.write_text(rest)
    code, out, err = program(f"fedcode-client ingest --home {home}")
    assert (code, out) == (2, "")
    assert "does not say where our code lies" in err
    assert "hint: set source = " in err


def test_a_preview_takes_our_code_from_our_own_folder(base, home) -> None:
    line = f"fedcode-client preview {base / 'real.toml'} alpha --home {home}"
    found = json.loads(program(f"{line} --json")[1])
    (task,) = found["tasks"]
    assert found["files"] == 8
    assert found["units"] == found["records"]
    assert task["expected_batch"] == pytest.approx(0.3 * found["units"])
    assert task["seconds"] is None
    assert "a round" not in program(line)[1]


def test_with_the_start_files_it_says_how_long_a_round_takes_here(base, home) -> None:
    line = f"fedcode-client preview {base / 'real.toml'} alpha --home {home} --start {base}/start"
    code, out, _ = program(line)
    assert code == 0
    lines = out.splitlines()
    assert lines[1].split()[-2:] == ["a", "round"]
    assert lines[2].endswith(" s")
    assert lines[-1].startswith("A round: its training, as public code takes it here")
    found = json.loads(program(f"{line} --json")[1])
    assert found["tasks"][0]["seconds"] > 0
    assert not (home / "ledger" / "ledger.sqlite").exists()


def test_code_that_nobody_names_cannot_be_previewed(base, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = program(f"fedcode-client preview {base / 'real.toml'} alpha")
    assert (code, out) == (2, "")
    assert "is no organization's folder" in err
