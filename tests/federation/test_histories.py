# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whole simulations, and a member's own half, on labels from the histories of repositories."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from small import write_code
from test_simulation import fedcode

from fedcode.corpus import Screen
from fedcode.errors import ConfigError
from fedcode.federation import FixSettings, load
from fedcode.simulation.dataset import load as load_data
from fedcode_client.ours import Ours

NAMES = ("alpha", "beta", "gamma", "new")
CALLS = ("open", "read", "log", "send", "wait")


def text(bodies: dict[int, list[str]]) -> str:
    """Functions of a file, each by the calls that it makes."""
    return "".join(
        f"def part_{n}(a):\n" + "".join(f"    {call}_{n}(a, {i})\n" for i, call in enumerate(body))
        for n, body in bodies.items()
    )


def write_repository(root: Path, seed: int) -> None:
    """A bare repository of 60 functions: those that open and do not close are mended later."""
    draw = random.Random(seed)
    bodies = {}
    for n in range(60):
        body = draw.choices(CALLS, k=draw.randint(2, 8))
        bodies[n] = [*body, "open"] if n % 3 else [*body, "close"]
    wrong = [n for n, body in bodies.items() if body[-1] == "open"]
    feed: list[str] = []

    def commit(day: int, message: str) -> None:
        when = 1_577_836_800 + day * 86_400
        feed.append("commit refs/heads/main\n")
        feed.append(f"committer Ann <ann@example.org> {when} +0000\n")
        feed.append(f"data {len(message)}\n{message}\n")
        for part in range(6):
            own = text({n: bodies[n] for n in range(part * 10, part * 10 + 10)})
            feed.append(f"M 100644 inline lib/m{part}.py\ndata {len(own)}\n{own}\n")

    commit(0, "Begin")
    for day, n in enumerate(wrong, start=10):
        bodies[n] = [*bodies[n][:-1], "close"]
        commit(day, f"Fix a leak in part {n}")
    bodies |= {n: [*draw.choices(CALLS, k=5), "open"] for n in range(60, 70)}
    for part in (bodies,):
        own = text({n: part[n] for n in range(60, 70)})
        feed.append("commit refs/heads/main\n")
        feed.append(f"committer Bob <bob@example.org> {1_577_836_800 + 150 * 86_400} +0000\n")
        feed.append(f"data 4\nMore\nM 100644 inline lib/late.py\ndata {len(own)}\n{own}\n")
    bodies[60] = [*bodies[60][:-1], "close"]
    own = text({n: bodies[n] for n in range(60, 70)})
    feed.append("commit refs/heads/main\n")
    feed.append(f"committer Bob <bob@example.org> {1_577_836_800 + 300 * 86_400} +0000\n")
    feed.append(f"data 10\nFix a leak\nM 100644 inline lib/late.py\ndata {len(own)}\n{own}\n")
    subprocess.run(["git", "init", "-q", "--bare", str(root)], check=True)
    environment = {**os.environ, "GIT_DIR": str(root)}
    command = ["git", "fast-import", "--quiet"]
    subprocess.run(command, input="".join(feed).encode(), env=environment, check=True)
    (root / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")


def write_federation(folder: Path, labels: str = "", scheme: str = "git", at: str = "") -> Path:
    organizations = "".join(
        f'[[organizations]]\nname = "{name}"\nsource = "{scheme}:{name}.git{at or "@2020-01-05"}"\n'
        f'role = "{"unseen" if name == "new" else "train"}"\n'
        for name in NAMES
    )
    file = folder / "f.toml"
    file.write_text(
        'name = "repositories"\n[aggregation]\nmode = "secagg"\n[privacy]\ndelta = 1e-2\n'
        '[public]\nsource = "path:public"\n'
        f'[labels]\nkind = "history"\nhorizon_days = 100\n{labels}'
        '[filters]\nnear_duplicates = false\n[[tasks]]\nname = "defects-belief"\nrounds = 3\n'
        'model = { words = 16, folders = 0, features = ["commits", "age_days"], hidden = [8] }\n'
        '[tasks.training]\nkind = "gradient-sum"\nsampling_rate = 0.5\nnominal_batch = 30\n'
        'clipping = "normalized"\nlearning_rate = 2.0\n[tasks.warm_start]\nepochs = 0.0\n'
        f"[tasks.plain]\nepochs = 40.0\nlearning_rate = 0.02\n{organizations}",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_code(tmp_path / "public", 1, files=2)
    for seed, name in enumerate(NAMES):
        write_repository(tmp_path / f"{name}.git", seed)
    return tmp_path


def simulate(folder: Path, file: Path, *words: str):
    return fedcode(folder / "cache", "simulate", file, *words, "--out", folder / "out")


def test_repositories_are_organizations(folder) -> None:
    file = write_federation(folder, 'later = "2020-07-01"\n')
    done = simulate(folder, file, "--compare")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["labels"] == {"kind": "history", "horizon_days": 100, "later": "2020-07-01"}
    for organization in result["organizations"]:
        local = organization["local"]
        assert (local["labelled"], local["defective"]) == (60, 40)
        assert local["languages"] == {"python": 60}
    (task,) = result["tasks"]
    arms = {arm["title"]: arm for arm in task["arms"]}
    assert arms["centralized, no privacy"]["unseen"]["auc"]["mean"] > 0.75
    heldout = arms["federated, private"]["seeds"][0]["local"]["heldout"]
    assert set(heldout) == {"alpha", "beta", "gamma"}, "at the later date ten functions are new"
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "within 100 days after the commit that was read" in page
    assert "40 (66.7 %)" in page
    for text_ in ("ann@example.org", "bob@example.org"):
        assert text_ not in page + json.dumps(result)


def with_second(file: Path, old: str, second: str) -> None:
    """Makes a list of the sources of one organization."""
    text_ = file.read_text(encoding="utf-8")
    assert old in text_
    text_ = text_.replace(old, f'[{old}, "{second}"]').replace("delta = 1e-2", "delta = 5e-3")
    file.write_text(text_, encoding="utf-8")


def test_an_organization_has_two_repositories(folder, monkeypatch) -> None:
    """Each is labelled by its own history, at the later date, too."""
    write_repository(folder / "more.git", 7)
    file = write_federation(folder, 'later = "2020-07-01"\n')
    with_second(file, '"git:alpha.git@2020-01-05"', "git:more.git@2020-01-05")
    done = simulate(folder, file)
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
    alpha, beta, *_ = result["organizations"]
    assert alpha["source"] == [f"git:{folder}/{name}.git@2020-01-05" for name in ("alpha", "more")]
    assert beta["source"] == f"git:{folder}/beta.git@2020-01-05"
    assert (alpha["files"], beta["files"]) == (12, 6)
    assert (alpha["local"]["labelled"], alpha["local"]["defective"]) == (120, 80)
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert all(source in page for source in alpha["source"])
    monkeypatch.setenv("FEDCODE_CACHE", str(folder / "cache"))
    data, _ = load_data(load(file), 1)
    for corpus in (data.train["alpha"], data.heldout["alpha"]):
        assert {file.path.split("/")[0] for file in corpus} == {"alpha", "more"}
        assert {record.repository for record in corpus.stream()} == {"alpha", "more"}
    late = [r for r in data.heldout["alpha"].stream("function") if r.path.endswith("late.py")]
    assert [r.label for r in late] == [0] * 20


def test_commits_are_records(folder) -> None:
    done = simulate(folder, write_federation(folder, scheme="commits", at="@2020-03-01"))
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
    local = result["organizations"][0]["local"]
    assert local["labelled"] == 41
    assert local["defective"] == 1, "the first, whose lines were wrong"


def test_where_all_is_mended_nothing_is_left_to_learn(folder) -> None:
    """The later snapshot's labels are of its own future: none of the mended functions is left."""
    file = write_federation(folder, at="@2020-04-20")
    done = simulate(folder, file)
    assert done.returncode == 2
    assert "defective" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("labels", "at", "message"),
    [
        ("", "@2020-09-01", "ends 44 days before what follows is known"),
        ('later = "2020-02-01"\n', "", "labels.later, 2020-02-01, is 73 days too early"),
        ('[labels.fixes]\nissues = "A"\ntracker = "no.csv"\n', "", "no.csv is not there"),
    ],
)
def test_what_cannot_be_labelled_is_said_in_a_line(folder, labels, at, message) -> None:
    done = simulate(folder, write_federation(folder, labels, at=at))
    assert done.returncode == 2
    assert message in done.stderr, done.stderr
    *_, said, hint = done.stderr.strip().splitlines()
    assert said.startswith("fedcode: ")
    assert hint.startswith("hint: ")
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("labels", "old", "new", "message"),
    [
        ('later = "soon"\n', "", "", "a date, as 2024-01-31"),
        ('[labels.fixes]\npatterns = ["("]\n', "", "", "is no regular expression"),
        ('[labels.fixes]\nissues = "A-1"\n', "", "", "issues and tracker belong together"),
        ("", "git:alpha.git", "path:public#", "alpha has no history to take labels from"),
        (
            "",
            '"git:alpha.git@2020-01-05"',
            '["git:alpha.git", "path:old"]',
            "path:old of alpha has no history to take labels from",
        ),
    ],
)
def test_settings_that_cannot_be(labels, old, new, message, tmp_path) -> None:
    file = write_federation(tmp_path, labels)
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load(file)


def test_who_takes_part_needs_nobody_elses_files(tmp_path) -> None:
    own = '[labels.fixes]\npatterns = ["^Mends"]\nissues = "A"\ntracker = "a.csv"\n'
    federation = load(write_federation(tmp_path, own))
    assert federation.labels.fixes.tracker == str(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match=r"labels\.fixes is for simulations"):
        federation.check_labels()
    assert str(tmp_path) not in federation.published().model_dump_json()
    federation.published().check_labels()


def test_a_member_labels_its_own_code_as_a_simulation_does(folder, monkeypatch) -> None:
    monkeypatch.setenv("FEDCODE_CACHE", str(folder / "cache"))
    federation = load(write_federation(folder))
    whole, _ = load_data(federation, 1)
    member = federation.member("alpha")
    ours = Ours.read("alpha", [member.source], screen=Screen(federation.filters))
    train = ours.trained_on(federation, whole.public, "defects")
    assert train.files == whole.train["alpha"].files
    assert sum(record.label for record in train.records("function")) == 40
    mine = Ours.read("alpha", [member.source], fixes=FixSettings(other=("leak",)))
    assert not any(r.label for r in mine.trained_on(federation, whole.public, "defects").records())
