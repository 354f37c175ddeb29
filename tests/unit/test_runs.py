# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A run's folder: what is asked for, who has signed, and journals that outlive crashes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedcode.errors import ConfigError, PrivacyError, RunError
from fedcode.federation import Federation, parse
from fedcode.identity import Roster
from fedcode.rounds.coordinator import Outcome, State
from fedcode.rounds.gathering import TRAINED
from fedcode.rounds.resting import Resting
from fedcode.rounds.transcript import Lost, Story
from fedcode.signing import SigningKey
from fedcode.start import PUBLIC, Start
from fedcode_server.asking import ask
from fedcode_server.database import Database
from fedcode_server.register import DECLINED, FAILED, OFFERED, RUNNING, STOPPED, Runs
from fedcode_server.runs import RunFolder

NAMES = ("acme", "globex", "initech")
TOML = """
name = "ours"
privacy = { epsilon = 50.0 }

[[tasks]]
name = "completion"
rounds = 4
training = { kind = "gradient-sum" }

[[organizations]]
name = "acme"

[[organizations]]
name = "globex"

[[organizations]]
name = "initech"
"""


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    return {name: SigningKey.generate() for name in (*NAMES, "coordinator")}


@pytest.fixture(scope="module")
def federation() -> Federation:
    return parse(TOML).published()


@pytest.fixture
def start(tmp_path: Path) -> Path:
    folder = tmp_path / "start"
    weights = np.arange(6, dtype=np.float32)
    made = Start.make(
        "completion", {}, fingerprint="a" * 64, public="b" * 64, weights=weights, frozen={}
    )
    folder.mkdir()
    made.save(folder)
    (folder / PUBLIC).write_bytes(b"public")
    return folder


def roster(keys: dict[str, SigningKey]) -> Roster:
    members = tuple((name, keys[name].public) for name in NAMES)
    return Roster("ours", 1, "", keys["coordinator"].public, members)


@pytest.fixture
def folder(
    tmp_path: Path, federation: Federation, start: Path, keys: dict[str, SigningKey]
) -> RunFolder:
    return RunFolder.create(tmp_path / "runs" / "one", federation, start, roster(keys))


def signatures(folder: RunFolder, name: str, key: SigningKey) -> dict[str, str]:
    return {
        one.agreement.digest(): one.sign(name, key).signatures.by_member[name]
        for one in folder.agreements()
    }


def test_all_have_to_sign(folder: RunFolder, keys: dict[str, SigningKey]) -> None:
    assert folder.missing() == NAMES
    folder.sign("acme", signatures(folder, "acme", keys["acme"]))
    assert folder.missing() == ("globex", "initech")
    for name in NAMES[1:]:
        folder.sign(name, signatures(folder, name, keys[name]))
    assert folder.missing() == ()
    for one in folder.agreements():
        one.check()


def test_a_signature_of_another_is_none(folder: RunFolder, keys: dict[str, SigningKey]) -> None:
    given = signatures(folder, "acme", keys["globex"])
    for name in ("acme", "nobody"):
        with pytest.raises(PrivacyError):
            folder.sign(name, given)
    with pytest.raises(PrivacyError):
        folder.sign("acme", {})
    assert folder.missing() == NAMES


def test_a_folder_is_made_whole_or_not(
    tmp_path: Path, federation: Federation, start: Path, keys: dict[str, SigningKey]
) -> None:
    (start / PUBLIC).unlink()
    with pytest.raises(RunError):
        RunFolder.create(tmp_path / "runs" / "one", federation, start, roster(keys))
    assert not (tmp_path / "runs" / "one").exists()
    assert not list((tmp_path / "runs").glob("*"))


def test_start_files_of_another_federation_are_refused(
    tmp_path: Path, start: Path, keys: dict[str, SigningKey]
) -> None:
    other = parse(TOML.replace("rounds = 4", "rounds = 4\nmodel = { hidden = 7 }")).published()
    with pytest.raises(ConfigError, match="other settings"):
        RunFolder.create(tmp_path / "runs" / "one", other, start, roster(keys))


def outcome(number: int, *, lost: dict[str, Lost] | None = None) -> Outcome:
    survivors = tuple(name for name in NAMES if name not in (lost or {}))
    story = Story(
        NAMES, 3, lost or {}, NAMES, survivors, survivors, (), ("c0ffee",), {}, "", (), ("ab",)
    )
    return Outcome(number, survivors, {}, "d" * 64, 1.5, sums=(story,))


def test_a_round_is_kept_and_gone_on_from(folder: RunFolder) -> None:
    state = folder.begin("completion")
    assert (state.round, list(state.weights)) == (0, [0, 1, 2, 3, 4, 5])
    after = replace(state, round=1, weights=state.weights + 1)
    folder.record("completion", 1).cohort(NAMES)
    folder.keep_round("completion", after, outcome(1))
    again = folder.begin("completion")
    assert again.round == 1
    assert np.array_equal(again.weights, after.weights)
    (line,) = folder.done()
    assert (line["task"], line["round"], line["survivors"]) == ("completion", 1, list(NAMES))
    assert "confirmations" not in line["sums"][0]
    (proof,) = map(json.loads, (folder.path / "transcript.jsonl").read_text().splitlines())
    assert (proof["cohort"], proof["confirmations"]) == (list(NAMES), ["c0ffee"])
    assert not (folder.path / "exchange" / "completion-1").exists()


def test_lines_of_a_round_without_a_checkpoint_are_written_once(folder: RunFolder) -> None:
    """The crash was between the journals and the checkpoint."""
    folder.keep_round("completion", State(1, folder.begin("completion").weights), outcome(1))
    for name in ("rounds.jsonl", "transcript.jsonl"):
        path = folder.path / name
        line = json.loads(path.read_text().splitlines()[0]) | {"round": 2}
        path.write_text(path.read_text() + json.dumps(line) + "\n" + '{"task": "comp')
    state = folder.begin("completion")
    assert state.round == 1
    folder.keep_round("completion", State(2, state.weights), outcome(2))
    assert [line["round"] for line in folder.done()] == [1, 2]


def test_a_run_has_one_name_and_moves_between_states(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "registry.sqlite")
    runs = Runs(database)
    runs.add("one")
    with pytest.raises(RunError, match="there is a run one"):
        runs.add("one")
    assert runs.get("one").state == OFFERED
    assert not runs.move("one", RUNNING, since=(STOPPED, FAILED))
    assert runs.move("one", RUNNING)
    runs.ask_to_stop("one")
    assert runs.get("one").stop
    runs.move("one", STOPPED)
    assert (runs.get("one").state, runs.get("one").stop) == (STOPPED, False)
    with pytest.raises(RunError):
        runs.ask_to_stop("one")
    runs.add("two")
    runs.ask_to_stop("two")
    assert runs.get("two").state == STOPPED
    runs.move("two", DECLINED, "declined by acme")
    assert runs.get("two").note == "declined by acme"
    database.close()


@pytest.mark.parametrize(
    ("federation", "words"),
    [(TOML.replace('"ours"', '"theirs"', 1), "this is the coordinator of"), (TOML, "no approved")],
)
def test_only_members_are_asked_and_in_their_own_federation(
    tmp_path: Path, start: Path, federation: str, words: str
) -> None:
    from fedcode_server.founding import found
    from fedcode_server.registry import Registry
    from fedcode_server.settings import Home

    found(tmp_path / "home", "ours", ["localhost"])
    home = Home(tmp_path / "home")
    path = tmp_path / "federation.toml"
    path.write_text(federation)
    with Registry.open(home.registry) as registry:
        runs = Runs(registry.database)
        with pytest.raises(ConfigError, match=words):
            ask(home, registry, runs, path, start, None)
        assert runs.all() == []
    assert not list(home.runs.iterdir())


def possible(asked: int) -> bool:
    return asked >= 3


def test_who_makes_others_pay_rests_longer_each_time() -> None:
    resting, members = Resting(), frozenset((*NAMES, "umbrella"))
    for number, left_out in ((1, 1), (3, 2), (6, 4)):
        resting.note(outcome(number, lost={"acme": Lost(TRAINED, "absent")}))
        for later in range(number + 1, number + 1 + left_out):
            assert resting.without(later, members, possible) == {"acme"}
        assert resting.without(number + 1 + left_out, members, possible) == frozenset()
    resting.note(outcome(11))
    resting.note(outcome(12, lost={"acme": Lost(TRAINED, "absent")}))
    assert resting.without(14, members, possible) == frozenset()  # it begins anew


def test_nobody_rests_where_too_few_would_be_left() -> None:
    resting = Resting()
    resting.note(outcome(1, lost={"acme": Lost(TRAINED, "absent")}))
    assert resting.without(2, frozenset(NAMES), possible) == frozenset()


def test_who_is_lost_before_anybody_pays_does_not_rest() -> None:
    resting = Resting()
    resting.note(outcome(1, lost={"acme": Lost("keys", "absent")}))
    assert resting.without(2, frozenset((*NAMES, "umbrella")), possible) == frozenset()
