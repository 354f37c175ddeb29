# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode use`: trained models on code that lies here, as people and machines read it."""

import json
import subprocess
from itertools import pairwise

import pytest
from cards import write_model
from program import typed
from small import write_code

from fedcode.corpus import read

SMALL = {"vocabulary": 300, "embedding": 8, "hidden": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Models that nothing has trained, and a repository."""
    folder = tmp_path_factory.mktemp("use")
    write_code(folder / "public", 1)
    public = read(f"path:{folder / 'public'}", "public")
    write_model(folder / "completion", "completion", SMALL, public)
    encoder = {"vocabulary": 300, "embedding": 8, "hidden": 8, "head": 8, "pointer": 4, "table": 16}
    write_model(folder / "defects", "defects", encoder, public)
    write_model(folder / "defects-belief", "defects-belief", {"hidden": [4]}, public)
    attention = {"vocabulary": 60, "subtokens": 20, "embedding": 6, "hidden": 6}
    write_model(folder / "names-attention", "names-attention", attention, public)
    small = {"hidden": 4, "vocabulary": 64, "embedding": 4}
    write_model(folder / "localization", "localization", small, public)
    (folder / "report.md").write_text("# Totals are wrong\n\nin module_1.py\n", encoding="utf-8")
    (folder / "empty.md").write_text("\n#\n", encoding="utf-8")
    write_code(folder / "own", 2, files=2, functions=3)
    git(folder / "own", "init", "-q")
    git(folder / "own", "add", ".")
    git(folder / "own", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "first")
    return folder


def git(folder, *words):
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def use(base, monkeypatch):
    monkeypatch.chdir(base / "own")

    def run(what, *words, model=None):
        chosen = ["--model", str(base / (model or what))]
        return typed(["use", what, *map(str, words), *chosen], {"FEDCODE_CACHE": str(base / "c")})

    return run


@pytest.mark.parametrize("model", ["defects", "defects-belief"])
def test_functions_are_ranked_with_what_speaks_for_them(use, model) -> None:
    done = use("defects", ".", "--json", model=model)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["functions"] == len(found["risks"]) == 6
    assert found["model"]["task"] == model
    risks = [one["risk"] for one in found["risks"]]
    assert risks == sorted(risks, reverse=True)
    assert all(0 < risk < 1 for risk in risks)
    for one in found["risks"]:
        assert one["file"].startswith("module_")
        assert 1 <= one["first"] < one["last"]
        weights = [why["weight"] for why in one["because"]]
        assert all(a >= b for a, b in pairwise(weights))
    assert any(one["because"] for one in found["risks"])
    assert done.stderr == ""


def test_a_person_reads_a_table_and_what_the_card_says(use) -> None:
    done = use("defects", "module_0.py", "--most", 2)
    assert done.returncode == 0, done.stderr
    assert "3 functions, 2 shown" in done.stdout
    assert "module_0.py:" in done.stdout
    assert "defects of three: 3 organizations, ε ≤ 5.88" in done.stderr
    assert "9.123 (n-grams: 8.500)" in done.stderr


def test_sarif_names_each_function_once_and_relative_to_here(use) -> None:
    done = use("defects", ".", "--sarif")
    log = json.loads(done.stdout)
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    rule = run["tool"]["driver"]["rules"][0]["id"]
    assert len(run["results"]) == 6
    for one in run["results"]:
        assert one["ruleId"] == rule
        place = one["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] in ("module_0.py", "module_1.py")
        assert 1 <= place["region"]["startLine"] <= place["region"]["endLine"]
        assert 0 <= one["rank"] <= 100
    assert len({one["partialFingerprints"]["fedcode/1"] for one in run["results"]}) == 6


def test_since_a_commit_only_what_changed_is_ranked(use, base) -> None:
    file = base / "own" / "module_0.py"
    before = file.read_text(encoding="utf-8")
    assert json.loads(use("defects", ".", "--json", "--since", "HEAD").stdout)["functions"] == 0
    lines = before.replace("start + ", "start - ", 1).replace("def ", "# a comment\ndef ", 1)
    new = "\ndef quite_new(a):\n    return a + 1\n"
    file.write_text(lines + new, encoding="utf-8")
    try:
        found = json.loads(use("defects", ".", "--json", "--since", "HEAD").stdout)
        named = json.loads(use("defects", file, "--json", "--since", "HEAD").stdout)
    finally:
        file.write_text(before, encoding="utf-8")
    names = sorted(one["name"] for one in found["risks"])
    assert len(names) == 2
    assert "quite_new" in names
    assert sorted(one["name"] for one in named["risks"]) == names


def test_a_risk_beyond_the_threshold_ends_with_1(use) -> None:
    found = json.loads(use("defects", ".", "--json").stdout)
    highest = found["risks"][0]["risk"]
    assert use("defects", ".", "--fail-over", highest - 1e-6).returncode == 1
    assert use("defects", ".", "--fail-over", highest + 1e-6).returncode == 0
    assert use("defects", ".", "--fail-over", highest - 1e-6, "--most", 1).returncode == 1


def test_a_file_goes_on_as_the_model_says(use) -> None:
    done = use("completion", "module_0.py", "--line", 4, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["proposals"]
    chances = [one["chance"] for one in found]
    assert len(found) == 3
    assert chances == sorted(chances, reverse=True)
    assert len({one["text"] for one in found}) == 3
    shown = use("completion", "module_0.py", "--line", 4, "--most", 1)
    assert len(shown.stdout.splitlines()) == 2


def test_names_are_proposed_only_where_the_model_is_sure(use) -> None:
    every = json.loads(
        use("names", ".", "--json", "--confidence", 0, model="names-attention").stdout
    )
    assert every["functions"] == len(every["names"]) == 6
    chances = [one["chance"] for one in every["names"]]
    assert chances == sorted(chances, reverse=True)
    assert all(one["name"] != one["proposal"] for one in every["names"])
    sure = use("names", ".", "--confidence", chances[2], model="names-attention")
    assert "6 functions, of 2 another name is likelier" in sure.stdout
    none = use("names", ".", "--confidence", 1, model="names-attention")
    assert none.stdout == "6 functions, of 0 another name is likelier than 1\n"


def test_a_report_points_to_files(use) -> None:
    done = use("localization", "../report.md", "--repository", ".", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["files"] == 2
    assert {one["path"] for one in found["suspects"]} == {"module_0.py", "module_1.py"}
    assert sum(one["share"] for one in found["suspects"]) == pytest.approx(1)
    shown = use("localization", "../report.md", "--repository", ".", "--most", 1)
    assert "2 files, 1 shown" in shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("localization", "../none.md", "--repository", "."), "none.md cannot be read"),
        (("localization", "../empty.md", "--repository", "."), "empty.md is empty"),
        (("localization", "../report.md", "--repository", "../public"), "is no git repository"),
        (("defects", "nowhere"), "nowhere is not there"),
        (("defects", ".", "--since", "nothing"), "has no commit nothing"),
        (("defects", "../public", "--since", "HEAD"), "lies in no git repository"),
        (("defects", ".", "--json", "--sarif"), "exclude one another"),
        (("defects", ".", "--fail-over", "1.5"), "--fail-over is a risk"),
        (("completion", "module_0.py", "--line", "9999"), "has no line 9999"),
        (("completion", "none.txt", "--line", "1"), "files of the kind '.txt' are not read"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_a_hint(use, words, said) -> None:
    done = use(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("fedcode: ")
    assert said in error
    assert hint.startswith("hint: ")


def test_a_model_of_another_task_is_refused(use) -> None:
    done = use("defects", ".", model="completion")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a model of completion" in done.stderr
