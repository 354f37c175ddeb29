# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode-client card`: what there is, whose it is, and what depends on it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from small import write_federation
from test_own_code import program

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from officers import open_real
from test_corpus_history import ANN, BOB, Repository

from fedcode.privacy.ledger import BudgetLedger
from fedcode.storage import write_json

HOSTILE = "<script>alert(1)</script>"
AGREEMENT = "ab" * 32


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A repository of two authors below a folder with a hostile name, tested and charged."""
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "home"
    assert program(f"fedcode-client init {folder}")[0] == 0
    code = tmp_path / "<img src=x>"
    made = Repository(code)
    made.commit(ANN, a=("def f(x):", "    return x + 1", "", "def g(x):", "    return x * 2"))
    made.commit(BOB, b=("# SPDX-License-" + "Identifier: MIT", "def h(y):", "    return y - 3"))
    toml = folder / "client.toml"
    text = f'source = "git:{code}"\nmax_tokens = 5000\n' + toml.read_text(encoding="utf-8")
    toml.write_text(
        text + "\n[filters]\nsecrets = false\n[data_tests]\nfew = 1\nmost_common = 0.01\n",
        encoding="utf-8",
    )
    return folder


def charged(home, asset, times):
    """A ledger in which ``times`` rounds were charged, and one was given back."""
    with BudgetLedger.open(home.joinpath("ledger", "ledger.sqlite")) as ledger:
        open_real(ledger, asset, delta=1e-3)
        cost = ledger.account(asset).budget.cost(4.0, 0.1, 2)
        for number in range(1, times + 2):
            receipt = ledger.charge(
                cost,
                asset=asset,
                agreement=AGREEMENT,
                purpose="research",
                task="completion",
                round=number,
            )
        ledger.refund(receipt)
        return ledger.epsilon(asset)


def cards(home, *words):
    code, out, err = program(f"fedcode-client card --home {home} {' '.join(words)} --json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    page, plain = Path(said["html"]), Path(said["json"])
    for path in (page, plain):
        assert path.stat().st_mode & 0o777 == 0o600
    return page.read_text(encoding="utf-8"), json.loads(plain.read_text(encoding="utf-8"))


def test_the_card_of_a_repository(home, tmp_path) -> None:
    page, card = cards(home)
    (source,) = card["sources"]
    assert card["private"] is True
    assert re.fullmatch("[0-9a-f]{40}", source["revision"])
    assert source["asset"].startswith("git:")
    assert (source["authors"], source["files"]) == (2, 2)
    assert source["licences"] == {"none stated": 1, "MIT": 1}
    (language,) = source["languages"]
    assert (language["language"], language["files"], language["records"]) == ("python", 2, 3)
    assert language["tokens"] == source["tokens"] > 0
    assert source["lines"] == 6
    assert source["filters"]["off"] == ["secrets"]
    assert any("5,000 tokens" in gap for gap in source["gaps"])
    assert any("tests" in gap for gap in source["gaps"])
    assert (source["data_tests"], source["used_by"], source["epsilon"]) == ([], [], 0.0)
    for words in ("Keep this to yourselves", "no round was charged to it", "No data test was made"):
        assert words in page
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page
    for name in ("ann", "bob"):
        assert name not in json.dumps(card).lower().replace("none", "")


def test_tests_acceptances_and_what_depends_on_it(home, tmp_path) -> None:
    write_federation(tmp_path / "other", rounds=1)
    line = f"fedcode-client data {tmp_path / 'other' / 'federation.toml'} alpha --home {home}"
    assert program(line)[0] == 1
    said = json.loads(program(f"fedcode-client data --home {home} --json")[1])
    asset = said[0]["subject"]["assets"][0]
    accept = f"fedcode-client accept-data --home {home} --because '{HOSTILE}'"
    page, card = cards(home)
    assert card["sources"][0]["data_tests"][0]["not_accepted"] == ["tokens"]
    assert "Not trained on until somebody accepts: tokens" in page
    assert program(accept)[0] == 0
    spent = charged(home, asset, 3)
    write_json(
        home / "state" / "agreements" / "run-7" / "answer.json",
        {"answer": "accepted", "agreements": [AGREEMENT], "time": 0},
    )
    page, card = cards(home, "--out", str(tmp_path / "cards"))
    (source,) = card["sources"]
    (accepted,) = source["acceptances"]
    assert (accepted["accepted"], accepted["because"]) == (["tokens"], HOSTILE)
    assert "<h3>Accepted by a person</h3>\n<ul>" in page
    assert "Passed by itself" not in page
    assert accepted["digest"] == source["data_tests"][0]["digest"] == said[0]["digest"]
    assert source["data_tests"][0]["not_accepted"] == []
    assert source["data_tests"][0]["labels"] is None
    (used,) = source["used_by"]
    assert (used["run"], used["agreement"], used["task"]) == ("run-7", AGREEMENT, "completion")
    assert used["rounds"] == 3
    assert used["epsilon"] == pytest.approx(spent) == pytest.approx(source["epsilon"])
    assert spent > 0
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(src|href)\s*=\s*"', page)


def test_the_card_says_which_licences_were_refused(home, tmp_path) -> None:
    head = "# SPDX-License-" + "Identifier: GPL-3.0-only"
    (tmp_path / "plain").mkdir()
    for name, first in (("a", ""), ("b", head), ("c", head)):
        text = f"{first}\ndef {name}(x):\n    return x + {name!r}\n"
        (tmp_path / "plain" / f"{name}.py").write_text(text, encoding="utf-8")
    text = (home / "client.toml").read_text(encoding="utf-8")
    text = text.replace(text.splitlines()[0], f'source = "path:{tmp_path / "plain"}"')
    (home / "client.toml").write_text(text, encoding="utf-8")
    page, card = cards(home)
    assert card["sources"][0]["filters"]["refused"] == {"GPL-3.0-only": 2}
    assert "Licences that were refused" in page
    assert "<h3>Accepted by a person</h3>\n<p>Nothing.</p>" in page


def test_an_account_whose_code_is_not_named_any_more(home) -> None:
    charged(home, "folder:" + "0" * 32, 1)
    page, card = cards(home)
    ours, other = card["sources"]
    assert ours["used_by"] == []
    assert (other["source"], other["asset"]) == (None, "folder:" + "0" * 32)
    assert other["used_by"][0]["run"] is None
    assert "not named in the settings any more" in page


def test_a_folder_that_is_not_registered_has_a_card(home, tmp_path) -> None:
    write_federation(tmp_path / "plain", rounds=1)
    text = (home / "client.toml").read_text(encoding="utf-8")
    first = text.splitlines()[0]
    text = text.replace(first, f'source = "path:{tmp_path / "plain" / "alpha"}"')
    (home / "client.toml").write_text(text, encoding="utf-8")
    page, card = cards(home)
    (source,) = card["sources"]
    assert (source["asset"], source["revision"], source["authors"]) == (None, "", None)
    assert "the folder is not registered" in page
