# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode-client ingest`, `erase` and `opt-out`: what is kept from training."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from test_own_code import program

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from planted_secrets import planted
from test_corpus_history import ANN, Repository

SECRET = planted()["github-token"]
CODE = f"""# Author: Ann Lee


def f(x):
    return x + 1


def g(x):
    return "{SECRET}"


def h(x):
    return x + 3
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "home"
    assert program(f"fedcode-client init {folder}")[0] == 0
    toml = folder / "client.toml"
    toml.write_text('source = "path:../code"\n' + toml.read_text(encoding="utf-8"))
    code = tmp_path / "code"
    (code / "secret").mkdir(parents=True)
    (code / "a.py").write_text(CODE)
    (code / "b.py").write_text("# SPDX-License-" + "Identifier: GPL-3.0-only\nx = 1\n")
    (code / "secret" / "c.py").write_text("x = 2\n")
    (code / ".fedcodeignore").write_text("secret/\n")
    return folder


def found(home, *words):
    code, out, err = program(f"fedcode-client ingest --home {home} {' '.join(words)}")
    assert (code, err) == (0, "")
    return out


def test_ingest_says_what_filters_took_and_lists_it(home):
    lines = found(home).splitlines()
    assert ": 1 files, 2 functions, " in lines[0]
    report = home / "state" / "taken.jsonl"
    assert (
        "filters: ignored 1 taken, licences 1 taken, personal 1 persons replaced, "
        f"secrets 1 taken; all of it is in {report}"
    ) in lines
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert [(row["filter"], row["path"], row["name"], row["reason"]) for row in rows] == [
        ("personal", "a.py", "", "NAME"),
        ("secrets", "a.py", "g", "github-token"),
        ("licences", "b.py", "", "GPL-3.0-only"),
        ("ignored", "secret/", "", "pattern"),
    ]
    assert {row["source"] for row in rows} == {json.loads(found(home, "--json"))["source"]}
    assert SECRET[4:20] not in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600
    said = json.loads(found(home, "--json"))
    assert said["taken"] == {"ignored": 1, "licences": 1, "personal": 1, "secrets": 1}
    assert (said["filters_off"], said["report"]) == ([], str(report))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("''", "a source without a name"),
        (". nowhere", "nowhere is not there"),
        (". gti:here", "unknown source 'gti:here'"),
    ],
)
def test_every_path_is_looked_for_before_any_is_read(home, words, said):
    code, out, err = program(f"fedcode-client ingest --home {home} {words}")
    assert (code, out) == (2, "")
    assert said in err


def test_sources_that_would_be_refused_together_are_noted(home):
    folder = home.parent / "code"
    for words, said in (
        (f"{folder} {folder}/../code", "is named twice"),
        (f"{folder} {home.parent}", "have files in common"),
    ):
        code, out, err = program(f"fedcode-client ingest --home {home} {words}")
        assert code == 0
        assert err.startswith("note: ")
        assert said in err
        assert len(err.splitlines()) == 1
        assert out


def test_a_filter_that_is_off_is_named(home):
    toml = home / "client.toml"
    toml.write_text(toml.read_text() + "\n[filters]\nsecrets = false\nlicences = false\n")
    out = found(home)
    assert "filters switched off: licences, secrets" in out.splitlines()
    assert "3 functions" in out
    toml.write_text(toml.read_text().replace("secrets = false", "secret = false"))
    code, out, err = program(f"fedcode-client ingest --home {home}")
    assert (code, out) == (2, "")
    assert "filters.secret: unknown key" in err


def test_what_is_erased_is_not_read_again(home, tmp_path):
    assert "2 functions" in found(home)
    assert list((tmp_path / "cache" / "corpus").iterdir())
    line = f"fedcode-client erase unit a.py::f --home {home}"
    code, out, err = program(line)
    assert (code, out, err) == (0, f"unit added to {home / 'erased.json'}\n", "")
    assert not list((tmp_path / "cache" / "corpus").iterdir())
    assert program(line)[1] == f"unit is already in {home / 'erased.json'}\n"
    assert json.loads(program(f"{line} --json")[1])["new"] is False
    assert "a.py" not in (home / "erased.json").read_text()
    out = found(home)
    assert "1 functions" in out
    assert "erased 1 taken" in out
    listed = map(json.loads, (home / "state" / "taken.jsonl").read_text().splitlines())
    assert [one["name"] for one in listed if one["filter"] == "erased"] == ["(erased)"]


def test_paths_are_erased_however_they_are_written(home):
    assert program(f"fedcode-client erase unit ./a.py::f --home {home}")[0] == 0
    assert "1 functions" in found(home)
    assert program(f"fedcode-client erase file ./a.py --home {home}")[0] == 0
    assert program(f"fedcode-client ingest --home {home}")[0] == 2, "nothing is left"


def test_a_name_can_come_from_stdin(home, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("a.py::h\n"))
    assert program(f"fedcode-client erase unit - --home {home}")[0] == 0
    assert "1 functions" in found(home)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("erase folder x", "folder cannot be erased"),
        ("erase unit a.py", "names no unit"),
        ("erase author ann", "is no e-mail address"),
        ("erase file ''", "nothing is named"),
        ("erase unit a.py::", "names no unit"),
        ("erase file /srv/a.py", "is no path below a source"),
        ("erase file ../a.py", "is no path below a source"),
        ("opt-out ann", "is no e-mail address"),
    ],
)
def test_what_cannot_be_erased_is_refused(home, words, message):
    code, out, err = program(f"fedcode-client {words} --home {home}")
    assert (code, out) == (2, "")
    assert message in err
    assert "hint: " in err
    assert not (home / "erased.json").exists()


def test_a_damaged_list_stops_all_reading(home):
    (home / "erased.json").write_text("{}")
    code, out, err = program(f"fedcode-client ingest --home {home}")
    assert (code, out) == (2, "")
    assert "erased.json is not what was written there" in err


def test_who_opts_out_is_a_digest_in_a_file(home):
    path = home / "opted-out.txt"
    assert program(f"fedcode-client opt-out Ann@firm.com --home {home}")[0] == 0
    text = path.read_text()
    assert "ann" not in text.lower()
    path.write_text(text.rstrip("\n"))
    assert program(f"fedcode-client opt-out bob@firm.com --home {home}")[0] == 0
    assert len(path.read_text().splitlines()) == 2
    again = json.loads(program(f"fedcode-client opt-out ANN@firm.com --home {home} --json")[1])
    assert again == {"what": "author", "new": False, "file": str(path)}


def test_a_whole_repository_is_erased_by_its_account(home, tmp_path):
    asset = program(f"fedcode-client asset path:{tmp_path / 'code'} --register")[1].strip()
    assert program(f"fedcode-client erase repository {asset} --home {home}")[0] == 0
    code, out, err = program(f"fedcode-client ingest --home {home}")
    assert (code, out) == (2, "")
    assert "this repository was erased" in err


@pytest.mark.parametrize("prefix", ["", "git:"])
def test_a_repository_is_erased_by_its_folder(home, tmp_path, prefix):
    made = Repository(tmp_path / "repository")
    made.commit(ANN, a=("def f():", "    return 1"))
    line = f"fedcode-client erase repository {prefix}{made.root} --home {home}"
    assert program(line)[0] == 0
    code, out, err = program(f"fedcode-client ingest {made.root} --home {home}")
    assert (code, out) == (2, "")
    assert "this repository was erased" in err
