# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The coordinator's and the organization's programs, as a person types them."""

import contextlib
import errno
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click
import pytest
import typer
from officers import KEYS, policy
from small import write_federation

import fedcode.cli
import fedcode_client.cli
import fedcode_server.cli
from fedcode.privacy.accountant import Filter, epsilon
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit

ROOT = Path(__file__).resolve().parents[2]
BUDGET = Filter.for_budget(8.0, 1e-5, 4.0)
COST = BUDGET.cost(1.0, 0.1, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A federation of made-up code, and the ledger of one of its members."""
    folder = tmp_path_factory.mktemp("programs")
    write_federation(folder)
    with BudgetLedger.open(folder / "ledger.sqlite") as ledger:
        signed = policy(*KEYS[:2], organization="alpha")
        for asset in ("root:1f2e", "root:9a8b"):
            ledger.open_account(asset, policy=signed, unit=PrivacyUnit.FUNCTION, order=BUDGET.order)
        for number in (1, 2):
            receipt = ledger.charge(
                COST,
                asset="root:1f2e",
                agreement="ab" * 32,
                purpose="research",
                task="completion",
                round=number,
            )
        ledger.arm(receipt, "p" * 64, b"noised")
        ledger.sent(receipt)
    return folder


@dataclass
class Done:
    """What a program has left: as subprocess tells it."""

    returncode: int
    stdout: str
    stderr: str


PROGRAMS = {
    "fedcode": fedcode.cli.main,
    "fedcode-server": fedcode_server.cli.main,
    "fedcode-client": fedcode_client.cli.main,
}


@pytest.fixture(scope="module")
def typed(folder):
    """Runs a command line in the folder, inside this process: it starts faster."""

    def run(line):
        program, *words = line.split()
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", [program, *words])
            patch.setenv("FEDCODE_CACHE", str(folder / "cache"))
            with pytest.raises(SystemExit) as left:
                PROGRAMS[program]()
        return Done(left.value.code or 0, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="module")
def said(typed):
    """What a command line that succeeds prints; it says nothing on stderr."""

    def stdout(line):
        done = typed(line)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return stdout


@pytest.fixture(scope="module")
def refused(typed):
    """What a command line that fails says: one line and a hint, on stderr only."""

    def message(line):
        done = typed(line)
        assert (done.returncode, done.stdout) == (2, "")
        first, second = done.stderr.splitlines()
        program = line.split()[0]
        assert first.startswith(f"{program}: ")
        text = first.removeprefix(f"{program}: ")
        assert text
        assert not text.endswith(".")
        assert second.startswith("hint: ")
        assert len(second) > len("hint: ")
        return text

    return message


def test_noise_is_found_for_a_budget(said, refused) -> None:
    lines = said("fedcode calibrate --rate 0.1 --epsilon 8 --rounds 50").splitlines()
    assert lines[0].split() == ["noise", "multiplier", "0.8574"]
    assert lines[2] == "stops at          ε = 8 by a Rényi filter of order 3"
    found = json.loads(said("fedcode calibrate --rate 0.1 --epsilon 8 --noise 0.8574 --json"))
    assert found["rounds"] == 50
    assert 6.9 < found["epsilon_shown"] < found["epsilon"] == 8.0
    assert "decide the third" in refused("fedcode calibrate --rate 0.1 --epsilon 8")


def test_the_coordinator_says_what_a_federation_costs(said) -> None:
    lines = said("fedcode-server plan federation.toml").splitlines()
    assert lines[0] == "small: 3 members, unit function, ε ≤ 8, δ = 0.001"
    assert lines[1].split() == [
        *("task", "rounds", "steps", "sampling", "rate", "noise", "multiplier", "ε")
    ]
    task, rounds, steps, rate, noise, spent = lines[2].split()
    assert (task, rounds, steps, rate) == ("completion", "3", "3", "0.3")
    assert 0.3 < float(noise) < 2.0
    assert 4.0 < float(spent) <= 8.0
    assert lines[3] == "completion sends the change of weights after 1 local step"
    assert lines[4].startswith("secure sum of 3: the coordinator learns the total")
    assert len(lines) == 5


def test_the_plan_for_machines(said) -> None:
    (price,) = json.loads(said("fedcode-server plan federation.toml --json"))
    assert (price["task"], price["rounds"], price["steps"]) == ("completion", 3, 3)
    assert price["epsilon"] == epsilon({(price["noise_multiplier"], 0.3): 3}, 1e-3) <= 8.0


def test_the_coordinator_needs_no_source_code(folder, said) -> None:
    text = (folder / "federation.toml").read_text().replace("path:", "path:/nowhere/")
    (folder / "elsewhere.toml").write_text(text)
    assert said("fedcode-server plan elsewhere.toml") == said("fedcode-server plan federation.toml")


def test_an_organization_previews_what_would_be_asked_of_it(said) -> None:
    lines = said("fedcode-client preview federation.toml alpha").splitlines()
    assert lines[0].startswith("8 files, ")
    assert (
        "records to train on; the federation's cap for us is ε = 8, all tasks together cost ε = "
        in lines[0]
    )
    task, rounds, affordable, batch, noise, spent = lines[2].split()
    assert (task, rounds, affordable) == ("completion", "3", "3")
    assert float(batch) > 1
    assert float(noise) > 0
    assert lines[0].endswith(f"ε = {spent}")
    assert lines[3] == "completion sends the change of weights after 1 local step"
    assert lines[4].startswith("secure sum of 3: the coordinator learns the total")


def test_the_preview_for_machines_agrees_with_the_plan(said) -> None:
    ours = json.loads(said("fedcode-client preview federation.toml beta --json"))
    (price,) = json.loads(said("fedcode-server plan federation.toml --json"))
    (task,) = ours["tasks"]
    for key in ("task", "rounds", "noise_multiplier", "epsilon"):
        assert task[key] == price[key]
    assert task["expected_batch"] == pytest.approx(0.3 * ours["records"])
    assert ours["epsilon"] == price["epsilon"]


def test_a_lower_cap_of_our_own_pays_for_fewer_rounds(folder, said) -> None:
    text = (folder / "federation.toml").read_text()
    text = text.replace('source = "path:alpha"', 'source = "path:alpha"\nepsilon = 5.0')
    (folder / "capped.toml").write_text(text)
    ours = json.loads(said("fedcode-client preview capped.toml alpha --json"))
    assert ours["epsilon_cap"] == 5.0
    covered = ours["tasks"][0]["rounds_affordable"]
    assert 0 < covered < 3
    for line, words in (
        ("fedcode-client preview capped.toml alpha", f"the cap covers {covered} of 3 rounds"),
        (
            "fedcode-server plan capped.toml",
            f"alpha (ε ≤ 5) can take part in {covered} of 3 rounds of completion",
        ),
    ):
        assert words in said(line)


def test_a_preview_leaves_nothing_behind_but_the_cache(folder, said) -> None:
    before = {p.name for p in folder.iterdir()} | {"cache"}
    said("fedcode-client preview federation.toml alpha")
    assert {p.name for p in folder.iterdir()} == before


def test_the_ledger_shows_every_account(said) -> None:
    lines = said("fedcode-client ledger show ledger.sqlite").splitlines()
    assert lines[1].split() == [
        *("alpha", "root:1f2e", "function", "2.468", "8", "1e-05", "2", "92.8%")
    ]
    assert lines[2].split()[-5:] == ["0.000", "8", "1e-05", "0", "100.0%"]
    assert lines[3].startswith("ε spent: by privacy loss distribution. left: of the Rényi budget")
    assert len(lines) == 4


def test_a_simulations_ledger_is_shown_as_one(folder, said) -> None:
    with BudgetLedger.open(folder / "seeded.sqlite") as ledger:
        ledger.open_simulated("a", organization="o", unit=PrivacyUnit.FUNCTION, budget=BUDGET)
    assert "A simulation's ledger" in said("fedcode-client ledger show seeded.sqlite")


def test_the_ledger_for_machines(said) -> None:
    first, second = json.loads(said("fedcode-client ledger show ledger.sqlite --json"))
    assert (first["asset"], first["organization"], first["charges"]) == ("root:1f2e", "alpha", 2)
    assert first["epsilon_spent"] == epsilon({(1.0, 0.1): 6}, 1e-5)
    assert first["left"] == 1 - 2 * COST.nano / BUDGET.budget_nano
    assert (second["asset"], second["left"]) == ("root:9a8b", 1.0)


def test_epsilon_for_somebody_with_several_units(said) -> None:
    first, _ = json.loads(said("fedcode-client ledger show ledger.sqlite --units 3 --json"))
    assert first["epsilon_spent"] == epsilon({(1.0, 0.1): 6}, 1e-5, 3)
    assert "to whom 3 units belong" in said("fedcode-client ledger show ledger.sqlite --units 3")


def test_an_asset_is_told_and_a_folder_is_named_once(folder, said, refused) -> None:
    assert said("fedcode-client asset package:Our_Code") == "package:our-code\n"
    assert "is not registered" in refused("fedcode-client asset path:alpha")
    named = said("fedcode-client asset path:alpha --register")
    assert named.startswith("folder:")
    assert said("fedcode-client asset path:alpha") == named
    (folder / "alpha" / ".fedcode-asset").unlink()


def test_sources_in_hints_are_quoted(folder, typed) -> None:
    (folder / "a;b").mkdir()
    done = typed("fedcode-client asset path:a;b")
    assert f"hint: fedcode-client asset 'path:{folder / 'a;b'}' --register" in done.stderr
    done = typed("fedcode-client preview a;b.toml")
    assert "hint: fedcode-client preview 'a;b.toml' NAME" in done.stderr
    (folder / "a;b" / "checkpoint").mkdir()
    done = typed("fedcode report a;b")
    assert "hint: fedcode simulate --resume 'a;b'" in done.stderr


# The officers' policy.


def written(*keys):
    """A policy's file, its officers ada and grace."""
    officers = "".join(
        f'[[officers]]\nname = "{name}"\nkey = "{key}"\n'
        for name, key in zip(("ada", "grace"), keys, strict=True)
    )
    return (
        'organization = "acme"\nversion = 1\ndelta = 1e-6\ncaps = { epsilon = 8 }\n[permitted]\n'
        'purposes = ["research"]\ntasks = ["completion"]\nunits = ["function"]\n' + officers
    )


def test_a_policy_is_signed_by_two_and_checked(folder, said, refused) -> None:
    keys = [said(f"fedcode-client policy key {name}.key").strip() for name in ("ada", "grace")]
    text = written(*keys)
    (folder / "policy.toml").write_text(text, encoding="utf-8")
    assert said("fedcode-client policy sign policy.toml --key ada.key") == (
        "signed version 1: policy.toml.signatures\n"
    )
    line = refused("fedcode-client policy check policy.toml")
    assert "needs 2 officers' signatures, it has 1 (ada)" in line
    said("fedcode-client policy sign policy.toml --key grace.key")
    assert said("fedcode-client policy check policy.toml").splitlines() == [
        "acme, version 1: signed by ada, grace",
        "enough for the first version",
    ]
    lower = text.replace("version = 1", "version = 2").replace("epsilon = 8", "epsilon = 7")
    (folder / "lower.toml").write_text(lower, encoding="utf-8")
    said("fedcode-client policy sign lower.toml --key ada.key")
    checked = said("fedcode-client policy check lower.toml --before policy.toml")
    assert (
        checked.splitlines()[1]
        == "enough: it permits no more than version 1, if policy.toml is in force"
    )
    assert "version 2 follows another" in refused("fedcode-client policy check lower.toml")
    assert "64 hexadecimal" in refused("fedcode-client ledger verify ledger.sqlite --head abc")
    line = refused("fedcode-client policy check policy.toml --before lower.toml")
    assert "version 1 of the policy does not follow 2" in line


@pytest.mark.parametrize(
    "line",
    [
        "fedcode-client policy key file/ada.key",
        "fedcode-client policy key none/ada.key",
        "fedcode-client policy sign kept/policy.toml --key officer.key",
        "fedcode prepare federation.toml --out file",
        "fedcode prepare federation.toml --out file/start",
        "fedcode report file/run",
    ],
)
def test_what_cannot_be_written_is_one_line_and_a_hint(folder, refused, monkeypatch, line) -> None:
    """As root one may write everywhere: a file stands for what is closed."""
    (folder / "file").write_text("mine")
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    (kept / "policy.toml").write_text(written(KEYS[0].public, KEYS[1].public), encoding="utf-8")
    if not (folder / "officer.key").exists():
        KEYS[0].save(folder / "officer.key")

    def closed(**_):
        raise PermissionError(errno.EACCES, "Permission denied", str(kept / ".x"))

    monkeypatch.setattr("fedcode.storage.tempfile.mkstemp", closed)
    refused(line)
    assert [path.name for path in kept.iterdir()] == ["policy.toml"]
    assert not (folder / "none").exists()
    assert (folder / "file").read_text() == "mine"


def test_the_policy_in_the_documents_is_one(folder, refused) -> None:
    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    toml = text.split("```toml\n")[1].split("```")[0]
    (folder / "documented.toml").write_text(toml, encoding="utf-8")
    line = refused("fedcode-client policy check documented.toml")
    assert "it has 0 (nobody signed)" in line


def test_a_ledger_is_verified_to_its_head(folder, said) -> None:
    with BudgetLedger.open(folder / "ledger.sqlite", read_only=True) as ledger:
        head = ledger.head
    words = said("fedcode-client ledger verify ledger.sqlite")
    first, note = words.splitlines()
    assert first == f"6 rows, every one in order; head {head}"
    assert "--head" in note


def test_rows_that_were_cut_off_are_noticed_by_whoever_noted_the_head(folder, typed) -> None:
    with BudgetLedger.open(folder / "ledger.sqlite", read_only=True) as ledger:
        head = ledger.head
    path = folder / "short.sqlite"
    path.write_bytes((folder / "ledger.sqlite").read_bytes())
    assert typed(f"fedcode-client ledger verify short.sqlite --head {head}").returncode == 0
    sql("DELETE FROM entries WHERE seq > 3")(path)
    assert typed("fedcode-client ledger verify short.sqlite").returncode == 0
    done = typed(f"fedcode-client ledger verify short.sqlite --head {head}")
    assert done.returncode == 2
    assert "ends at row 3, before the head remembered" in done.stderr


def test_a_ledger_is_exported_row_by_row(said) -> None:
    rows = [json.loads(r) for r in said("fedcode-client ledger export ledger.sqlite").splitlines()]
    assert [r["seq"] for r in rows] == [1, 2, 3, 4, 5, 6]
    assert [r["kind"] for r in rows] == [
        "OPENED",
        "OPENED",
        "RESERVED",
        "RESERVED",
        "ARMED",
        "SENT",
    ]
    assert [a["hash"] for a in rows[:-1]] == [b["previous"] for b in rows[1:]]
    assert rows[2]["body"]["cost_nano"] == COST.nano


def test_reading_a_ledger_changes_no_byte_of_it(folder, said) -> None:
    before = (folder / "ledger.sqlite").read_bytes()
    for what in ("show", "verify", "export"):
        said(f"fedcode-client ledger {what} ledger.sqlite")
    assert (folder / "ledger.sqlite").read_bytes() == before
    assert not list(folder.glob("ledger.sqlite-*"))


def test_a_new_ledger_is_its_owners_alone(folder) -> None:
    assert (folder / "ledger.sqlite").stat().st_mode & 0o777 == 0o600


# Bad input.


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fedcode-server plan missing.toml", "missing.toml cannot be read"),
        ("fedcode-server plan alpha", "alpha cannot be read"),
        ("fedcode-server plan ledger.sqlite", "ledger.sqlite"),
        ("fedcode-server plan alpha/module_0.py", "alpha/module_0.py is not TOML"),
        ("fedcode-server plan", "missing argument"),
        ("fedcode-server plan federation.toml --jsn", "no such option"),
        ("fedcode-server train", "no such command 'train'"),
        ("fedcode-client preview missing.toml alpha", "missing.toml cannot be read"),
        ("fedcode-client preview federation.toml stranger", "stranger is no member of small"),
        ("fedcode-client preview federation.toml gamma", "gamma is no member of small"),
        ("fedcode-client preview federation.toml", "federation.toml names several organizations"),
        ("fedcode-client ledger show missing.sqlite", "missing.sqlite is not a file"),
        ("fedcode-client ledger verify alpha", "alpha is not a file"),
        ("fedcode-client ledger export federation.toml", "federation.toml is not a ledger"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_a_hint(refused, line, message) -> None:
    assert message in refused(line)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rounds = 3", "rounds = 0", "tasks.0.rounds"),
        ("delta = 1e-3", "delta = 1e-3\nepsilon = 0", "privacy.epsilon"),
        ('name = "small"', 'name = "small"\nseeds = 2', "seeds"),
        ('name = "beta"', 'name = "alpha"', "organization alpha is named twice"),
        ("delta = 1e-3", "delta = 1e-9\nepsilon = 1e-3", "epsilon 0.001 is too small for delta"),
    ],
)
def test_a_federation_that_cannot_be_is_refused_by_both(folder, refused, old, new, message) -> None:
    text = (folder / "federation.toml").read_text()
    assert old in text
    (folder / "edited.toml").write_text(text.replace(old, new))
    assert message in refused("fedcode-server plan edited.toml")
    assert message in refused("fedcode-client preview edited.toml alpha")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("path:alpha", "path:nowhere", "nowhere"),
        ("path:alpha", "path:bare", "bare"),
        ("delta = 1e-3", "delta = 0.1", "delta 0.1 is not below 1/functions"),
        ("sampling_rate = 0.3", "sampling_rate = 0.001", "are too few for sampling_rate 0.001"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_its_owner(folder, refused, old, new, message) -> None:
    (folder / "bare").mkdir(exist_ok=True)
    text = (folder / "federation.toml").read_text()
    assert old in text
    (folder / "unfit.toml").write_text(text.replace(old, new))
    assert message in refused("fedcode-client preview unfit.toml alpha")


def cut(path):
    path.write_bytes(path.read_bytes()[:6000])


def overwritten(path):
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 97):
        data[place] ^= 0xFF
    path.write_bytes(data)


def sql(*statements):
    def change(path):
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def index(path):
    """One byte of the index, which no row shows."""
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND name = 'entries_by_kind'"
    ).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    data = bytearray(path.read_bytes())
    at = data.index(b"RESERVED", (page - 1) * size, page * size)
    data[at] ^= 1
    path.write_bytes(data)


def emptied(path):
    """A database in which nothing is: a ledger whose -wal file was left behind."""
    path.unlink()
    sql("PRAGMA user_version = 0", "CREATE TABLE t (x)", "DROP TABLE t")(path)


CHEAPER = "UPDATE entries SET body = replace(body, '\"steps\":3', '\"steps\":1') WHERE seq = 3"
DAMAGES = {
    "cut": (cut, "is not a ledger"),
    "overwritten": (overwritten, "cannot be read"),
    "edited": (sql(CHEAPER), "row 3 of the ledger"),
    "not json": (sql("UPDATE entries SET body = 'x' WHERE seq = 1"), "row 1 of the ledger"),
    "row removed": (sql("DELETE FROM entries WHERE seq = 4"), "row 4 of the ledger"),
    "other version": (sql("PRAGMA user_version = 9"), "has schema version 9, not 2"),
    "other database": (sql("DROP TABLE entries"), "ledger"),
    "index": (index, "is damaged outside its rows"),
    "no database": (emptied, "holds no ledger"),
}


@pytest.mark.parametrize("what", ["show", "verify", "export"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_ledger_is_not_believed(folder, typed, what, damage) -> None:
    damage, message = DAMAGES[damage]
    path = folder / "damaged.sqlite"
    for name in ("damaged.sqlite", "damaged.sqlite-shm", "damaged.sqlite-wal"):
        (folder / name).unlink(missing_ok=True)
    path.write_bytes((folder / "ledger.sqlite").read_bytes())
    damage(path)
    done = typed(f"fedcode-client ledger {what} damaged.sqlite")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("fedcode-client: ")
    assert message in first
    assert second.startswith("hint: ")
    if what != "export":  # which prints the rows that are in order
        assert done.stdout == ""


# The rules of the terminal.


@pytest.mark.parametrize(
    "line",
    [
        "fedcode-server plan federation.toml --json",
        "fedcode-client preview federation.toml alpha",
        "fedcode-client ledger verify ledger.sqlite",
        "fedcode-client ledger verify missing.sqlite",
    ],
)
def test_the_installed_programs_do_the_same(folder, typed, line) -> None:
    program, *words = line.split()
    done = subprocess.run(
        [Path(sys.executable).parent / program, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "FEDCODE_CACHE": str(folder / "cache")},
        timeout=120,
    )
    assert Done(done.returncode, done.stdout, done.stderr) == typed(line)


def test_without_words_a_program_says_what_it_can_do(typed) -> None:
    for program, command in (("fedcode-server", "plan"), ("fedcode-client", "preview")):
        done = typed(program)
        assert done.returncode == 2
        assert command in done.stdout + done.stderr
        assert f"{program}: " not in done.stderr


def test_help_is_no_failure(said) -> None:
    assert "FEDERATION.toml" in said("fedcode-server plan --help")
    assert "LEDGER" in said("fedcode-client ledger verify --help")


def terminal(body):
    code = f"""
import typer
from fedcode.errors import RunError
from fedcode.terminal import run
app = typer.Typer(pretty_exceptions_enable=False)
@app.command()
def command():
    {body}
run(app, "program")
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("body", "code", "stderr"),
    [
        ("print('done')", 0, ""),
        ("raise typer.Exit(1)", 1, ""),
        ("raise typer.Exit()", 0, ""),
        ("raise KeyboardInterrupt", 2, "program: stopped by Ctrl-C\n"),
        ("raise typer.Abort()", 2, "program: stopped by Ctrl-C\n"),
        ("raise RunError('no', 'try')", 2, "program: no\nhint: try\n"),
        ("raise RunError('no')", 2, "program: no\n"),
        ("raise RunError('one\\ntwo', 'try')", 2, "program: one two\nhint: try\n"),
    ],
)
def test_exit_codes(body, code, stderr) -> None:
    done = terminal(body)
    assert (done.returncode, done.stderr) == (code, stderr)


def test_a_mistake_of_ours_is_not_dressed_up_as_the_persons() -> None:
    done = terminal("raise ZeroDivisionError('ours')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("program", ["fedcode_server.cli", "fedcode_client.cli"])
def test_every_command_speaks_json(program: str) -> None:
    """But for the export of a ledger, which has no other form."""
    found = typer.main.get_command(import_module(program).app)
    silent = [words for words, command in leaves(found) if not speaks(command)]
    assert silent == ([] if "server" in program else ["ledger export"])


def leaves(command: click.Command, words: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from leaves(below, f"{words} {name}".strip())
    else:
        yield words, command


def speaks(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)
