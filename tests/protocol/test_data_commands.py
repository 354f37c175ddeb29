# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode-client data` and `accept-data`: tests of our data at the command line."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from small import write_federation
from test_own_code import program

from fedcode.strict import parsed
from fedcode_client.home import Home
from fedcode_client.settings import TOML, ClientSettings
from fedcode_client.up import Process


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_federation(folder, rounds=1)
    return folder


@pytest.fixture
def home(base, tmp_path, monkeypatch):
    monkeypatch.setenv("FEDCODE_CACHE", str(base / "cache"))
    folder = tmp_path / "home"
    assert program(f"fedcode-client init {folder}")[0] == 0
    toml = folder / "client.toml"
    text = f'source = "path:{base / "alpha"}"\n' + toml.read_text(encoding="utf-8")
    toml.write_text(text, encoding="utf-8")
    return folder


def strict(home):
    with (home / "client.toml").open("a", encoding="utf-8") as file:
        file.write('\n[data_tests]\nfew = 20\nmost_common = 0.01\noff = ["schema"]\n')


def test_before_any_test_there_is_nothing_to_show(home) -> None:
    code, out, err = program(f"fedcode-client data --home {home}")
    assert (code, out) == (2, "")
    assert "nothing was tested yet" in err
    assert "hint: fedcode-client data RUN" in err


def test_what_passes_is_shown(base, home) -> None:
    line = f"fedcode-client data {base / 'federation.toml'} alpha --home {home}"
    code, out, err = program(line)
    assert (code, err) == (0, "")
    assert f"path:{base / 'alpha'}, tested " in out
    assert "5 files, 50 records, 3,700 tokens, " in out
    assert program(f"fedcode-client data --home {home}")[1] == out
    (said,) = json.loads(program(f"fedcode-client data --home {home} --json")[1])
    assert said["not_accepted"] == []
    assert {one["state"] for one in said["outcomes"]} == {"passed", "not-applicable"}
    assert "too few to tell" in next(o for o in said["outcomes"] if o["test"] == "lengths")["said"]
    assert "alpha" not in json.dumps(said["profile"])


def test_what_fails_is_accepted_by_its_digest(base, home) -> None:
    strict(home)
    line = f"fedcode-client data {base / 'federation.toml'} alpha --home {home}"
    code, out, _ = program(line)
    assert code == 1
    assert "not trained on: tokens failed; fedcode-client accept-data --because WHY" in out
    assert "switched off in [data_tests]" in out
    said = program(f"fedcode-client doctor --home {home}")[1]
    assert "BAD  our data fails tokens: no round trains on it until it is accepted" in said
    accept = f"fedcode-client accept-data --home {home} --because 'made so'"
    code, out, _ = program(f"{accept} --test tokens")
    assert code == 0
    assert out.startswith("accepted tokens of ")
    code, out, _ = program(line)
    assert code == 0
    assert "failed, accepted" in out
    said = program(f"fedcode-client doctor --home {home}")[1]
    assert "ok   our data passed its tests, or was accepted" in said
    code, out, err = program(accept)
    assert (code, out) == (2, "")
    assert "nothing waits to be accepted" in err


def test_a_file_needs_our_name(base, home) -> None:
    code, _, err = program(f"fedcode-client data {base / 'federation.toml'} --home {home}")
    assert code == 2
    assert f"hint: fedcode-client data {base / 'federation.toml'} NAME" in err


def test_no_reason_no_acceptance(home) -> None:
    assert program(f"fedcode-client accept-data --home {home}")[0] == 2
    code, _, err = program(f"fedcode-client accept-data --because '' --home {home}")
    assert code == 2
    assert "there is no reason" in err


def test_the_agents_own_process_tests_what_it_reads(base, home) -> None:
    """By the settings of its folder: without snapshots a member would train on anything."""
    strict(home)
    found = Home.find(home)
    given = SimpleNamespace(
        _home=found,
        _settings=found.settings(),
        _membership=SimpleNamespace(member="alpha"),
        _ours=None,
    )
    ours = Process._own(given)
    assert ours.snapshots.settings.off == ("schema",)
    assert ours.snapshots.history == found.data / "accepted.jsonl"
    assert Process._own(given) is ours, "it is read once"


def test_what_a_new_home_says_can_be_set_can_be(home) -> None:
    lines = TOML.splitlines()
    set_ = [line.removeprefix("# ") for line in lines if re.match(r"# (\[|\w+ = )", line)]
    parsed(ClientSettings, "\n".join(set_), "client.toml")
