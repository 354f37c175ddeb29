# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Several sources of one organization as one corpus: labels, laziness, owners."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_corpus_history import ANN, BOB, Repository

from fedcode.corpus import (
    Screen,
    history,
    join,
    label_sources,
    owned,
    read,
    read_own,
    split_own,
    together,
    with_histories,
    with_owners,
)
from fedcode.corpus.filters import Erased, new_salt
from fedcode.corpus.store import Store
from fedcode.corpus.views import Joined
from fedcode.errors import CorpusError
from fedcode.federation import HistoryLabelSettings
from fedcode.filters import SWITCHES, FilterSettings
from fedcode.record import Corpus, PrivacyUnit, Skipped, SourceFile, Taken, population, units

OFF = FilterSettings(**dict.fromkeys(SWITCHES, False))
LABELS = HistoryLabelSettings(kind="history", horizon_days=10)
CY = "cy@example.org"
BOTH = "def both(a):\n    return a.close()\n"


@pytest.fixture(scope="module")
def company(tmp_path_factory) -> Path:
    """Ann wrote in both repositories; ``billing`` mends one function, and a file stands in both."""
    root = tmp_path_factory.mktemp("company")
    billing, ledger = Repository(root / "billing"), Repository(root / "ledger")
    texts = {"a": "def a(x):\n    return x + 1\n", "b": "def b(x):\n    y = x\n    return y\n"}
    for name, text in texts.items():
        billing.write(f"lib/{name}.py", *text.splitlines())
        billing.git("add", "-A")
        who, when = {"a": ANN, "b": BOB}[name], "2020-01-01T00:00:00Z"
        billing.git("commit", "-q", "-m", "x", author=who, when=when)
    billing.git("tag", "begun")
    billing.write("lib/a.py", "def a(x):", "    return x + 2")
    billing.write("lib/same.py", *BOTH.splitlines())
    billing.git("add", "-A")
    billing.git("commit", "-q", "-m", "Fix a bug", author=ANN, when="2020-01-05T00:00:00Z")
    billing.git("commit", "-q", "-m", "x", "--allow-empty", when="2020-03-01T00:00:00Z")
    for name, who in (("c", CY), ("d", ANN)):
        ledger.write(f"lib/{name}.py", f"def {name}(x):", f"    return x.{name}({name!r})")
        ledger.git("add", "-A")
        ledger.git("commit", "-q", "-m", "x", author=who, when="2020-01-01T00:00:00Z")
    ledger.git("tag", "begun")
    ledger.write("lib/same.py", *BOTH.splitlines())
    ledger.write("lib/twice.py", *BOTH.splitlines())
    ledger.git("add", "-A")
    ledger.git("commit", "-q", "-m", "x", author=ANN, when="2020-03-01T00:00:00Z")
    return root


def sources(company: Path, at: str = "", *names: str) -> list[str]:
    return [f"git:{company / name}{at}" for name in names or ("ledger", "billing")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("git:/srv/billing", "git:/srv/ledger.git"), ("billing", "ledger")),
        (("git:/srv/billing/.git", "path:/srv/v@2"), ("billing", "v-2")),
        (("git:/srv/billing@2024-01-31", "commits:/srv/billing@main"), ("billing", "billing-2")),
        (("path:/a/x", "path:/b/x", "path:/c/x-2", "path:/d/x"), ("x", "x-2", "x-2-2", "x-3")),
        (("package:networkx", "wheel:/w/nx_a-1.0-py3-none-any.whl"), ("networkx", "nx_a")),
        (("path:/srv/our code (old)", "path:/"), ("our-code-old", "source")),
        (("path:/srv/.hidden", "path:/srv/größe"), ("hidden", "größe")),
    ],
)
def test_labels_say_what_a_source_is(given, expected) -> None:
    assert label_sources(given) == expected
    assert label_sources((*given, "path:/srv/more"))[: len(given)] == expected


def test_a_folder_that_has_no_name_has_that_of_where_it_lies(tmp_path, monkeypatch) -> None:
    (tmp_path / "code" / "lib").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "code" / "lib")
    assert label_sources(["path:.", "path:.."]) == ("lib", "code")


def test_one_source_stays_as_it_is(company, tmp_path) -> None:
    (source,) = sources(company, "", "billing")
    (part,) = read_own("o", [source], cache=tmp_path, screen=Screen())
    alone = read(source, "o", cache=tmp_path, screen=Screen())
    assert (part.label, part.source, part.corpus) == ("billing", source, alone)
    assert together([part]) is part.corpus
    assert len(list((tmp_path / "corpus").iterdir())) == 1
    one = owned([part], PrivacyUnit.AUTHOR, cache=tmp_path)
    assert one == with_owners(alone, source, PrivacyUnit.AUTHOR, cache=tmp_path)
    assert len(list((tmp_path / "authors").iterdir())) == 1


def test_each_source_lies_in_a_folder_of_its_label(company) -> None:
    whole = together(read_own("o", sources(company)))
    assert [file.path for file in whole] == [
        *("billing/lib/a.py", "billing/lib/b.py", "billing/lib/same.py"),
        *("ledger/lib/c.py", "ledger/lib/d.py", "ledger/lib/same.py"),
    ]
    assert [str(r.unit) for r in whole.records("function")] == [
        *("billing/lib/a.py::a", "billing/lib/b.py::b", "billing/lib/same.py::both"),
        *("ledger/lib/c.py::c", "ledger/lib/d.py::d", "ledger/lib/same.py::both"),
    ]
    for file in whole:
        for record in file.records:
            assert record.path == file.path
            assert record.repository == file.path.partition("/")[0]
    same = Skipped("ledger/lib/twice.py", "same tokens as ledger/lib/same.py")
    assert whole.skipped == (same,)


def test_files_are_joined_in_path_order_whatever_order_the_sources_have(company) -> None:
    def corpus(*names: str) -> Corpus:
        return Corpus("o", tuple(SourceFile(name, ("x", name), ()) for name in names))

    parts = [("x", corpus("a", "z")), ("x-2", corpus("b")), ("a", corpus())]
    joined = join("o", parts)
    assert [file.path for file in joined] == ["x-2/b", "x/a", "x/z"]
    assert [file.path for file in joined] == sorted(file.path for file in joined)
    assert join("o", parts[::-1]) == joined
    assert join("o", parts[::-1]).fingerprint == joined.fingerprint
    one, other = (together(read_own("o", sources(company)[::step])) for step in (1, -1))
    assert one == other
    assert one.fingerprint == other.fingerprint


def test_what_was_removed_and_taken_is_named_with_the_label() -> None:
    parts = []
    for name, number in (("one", 2), ("two", 3)):
        taken = (Taken("lib/", "vendored", "", "folder-name"),)
        parts.append((name, Corpus("o", (), (Skipped("a.py", "no"),), number, taken=taken)))
    whole = join("o", parts)
    assert [one.path for one in whole.skipped] == ["one/a.py", "two/a.py"]
    assert [one.path for one in whole.taken] == ["one/lib/", "two/lib/"]
    assert whole.duplicates == 5


def test_no_file_is_made_or_held_before_it_is_looked_at(company, tmp_path, monkeypatch) -> None:
    parts = read_own("o", sources(company), cache=tmp_path)
    whole = owned(parts, PrivacyUnit.AUTHOR, cache=tmp_path)
    made: list[int] = []
    at = Store.at
    monkeypatch.setattr(Store, "at", lambda store, row: (made.append(row), at(store, row))[1])
    whole = owned(parts, PrivacyUnit.AUTHOR, cache=tmp_path)
    assert isinstance(whole.files, Joined)
    assert len(whole.files) == len(whole.files.paths()) == 6
    assert not whole.known_as
    assert not made
    assert whole.files[-1].path == "ledger/lib/same.py"
    assert [file.path for file in whole.files[2:4]] == ["billing/lib/same.py", "ledger/lib/c.py"]
    assert made == [2, 2, 0]
    with pytest.raises(IndexError):
        whole.files[6]
    assert whole == Corpus("o", tuple(whole), whole.skipped)
    assert whole.fingerprint == Corpus("o", tuple(whole)).fingerprint
    text = "".join(str(p.read_bytes()) for p in tmp_path.rglob("*.zz"))
    assert "example" not in text


def authors(whole: Corpus) -> dict[str, str]:
    return {record.path: record.author for record in whole.stream()}


def test_who_wrote_in_two_repositories_is_one_author(company, tmp_path) -> None:
    whole = owned(read_own("o", sources(company)), PrivacyUnit.AUTHOR, cache=tmp_path)
    assert authors(whole) == {
        "billing/lib/a.py": "1",
        "billing/lib/b.py": "2",
        "billing/lib/same.py": "1",
        "ledger/lib/c.py": "3",
        "ledger/lib/d.py": "1",
        "ledger/lib/same.py": "1",
    }
    assert population(whole.stream(), PrivacyUnit.AUTHOR) == 3
    found = units(whole.stream(), PrivacyUnit.AUTHOR)
    assert {r.path.partition("/")[0] for r in found[0]} == {"billing", "ledger"}
    checked_out = [f"path:{company / name}" for name in ("ledger", "billing")]
    assert authors(owned(read_own("o", checked_out), PrivacyUnit.AUTHOR)) == authors(whole)


def test_authors_are_kept_under_all_commits_together(company, tmp_path, monkeypatch) -> None:
    cache = tmp_path / "cache"
    for name in ("billing", "ledger"):
        shutil.copytree(company / name, tmp_path / name)
    first = owned(read_own("o", sources(tmp_path)), PrivacyUnit.AUTHOR, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(history, "main_authors", None)
        parts = read_own("o", sources(tmp_path)[::-1])
        assert authors(owned(parts, PrivacyUnit.AUTHOR, cache=cache)) == authors(first)
    ledger = Repository.__new__(Repository)
    ledger.root = tmp_path / "ledger"
    ledger.git("commit", "-q", "--amend", "-m", "x", "--author", f"Cy <{CY}>")
    again = owned(read_own("o", sources(tmp_path)), PrivacyUnit.AUTHOR, cache=cache)
    assert authors(again) == authors(first) | {"ledger/lib/same.py": "3"}


def test_a_source_whose_authors_nobody_knows_is_named(company, tmp_path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "o.py").write_text("o = 1\n")
    parts = read_own("o", [*sources(company), f"path:{tmp_path / 'old'}"])
    with pytest.raises(CorpusError, match=r"no history of path:.*old says who wrote 1 of 1 files"):
        owned(parts, PrivacyUnit.AUTHOR)


def test_files_and_repositories_are_told_apart_by_their_labels(company, tmp_path) -> None:
    for name in ("one", "two"):
        Repository(tmp_path / "mixed" / name).commit(ANN, m=(f"{name} = 1",))
    (tmp_path / "mixed" / "plain.py").write_text("plain = 1\n")
    parts = read_own("o", [*sources(company), f"path:{tmp_path / 'mixed'}"])
    found = {r.repository for r in owned(parts, PrivacyUnit.REPOSITORY).stream()}
    assert found == {"billing", "ledger", "mixed", "mixed/one", "mixed/two"}
    for unit in (PrivacyUnit.FUNCTION, PrivacyUnit.FILE):
        whole = owned(parts, unit)
        assert whole == together(parts)
        assert population(whole.stream(), unit) == sum(
            population(part.corpus.stream(), unit) for part in parts
        )


@pytest.mark.parametrize("unit", list(PrivacyUnit))
def test_a_file_less_in_one_repository_changes_nothing_else(company, tmp_path, unit) -> None:
    """Neighbouring data: the other units are the same ones, with the same records."""
    for name in ("billing", "ledger"):
        shutil.copytree(company / name, tmp_path / name)
    gone = "ledger/lib/c.py"

    def grouped() -> list[set[tuple[str, tuple[str, ...]]]]:
        whole = owned(read_own("o", sources(tmp_path)), unit)
        found = units(whole.stream(), unit)
        return [{(str(r.unit), r.tokens) for r in unit if r.path != gone} for unit in found]

    before = [group for group in grouped() if group]
    ledger = Repository.__new__(Repository)
    ledger.root = tmp_path / "ledger"
    ledger.git("rm", "-q", "lib/c.py")
    ledger.git("commit", "-q", "-m", "x", author=CY)
    assert grouped() == before


def test_what_stands_in_two_repositories_is_trained_on_once(company) -> None:
    whole = together(read_own("o", sources(company)))
    train, _ = split_own(whole, Corpus("public", ()), None)
    assert [r.path for r in train.stream() if r.name == "both"] == ["billing/lib/same.py"]
    assert train.duplicates == 1
    for every in range(2, 40):
        train, heldout = split_own(whole, Corpus("public", ()), every)
        both = [r for part in (train, heldout) for r in part.stream() if r.name == "both"]
        assert len(both) == 1
        if heldout.files:
            break
    else:
        raise AssertionError("nothing is held out")


def test_labels_come_from_each_history(company, tmp_path) -> None:
    parts = read_own("o", sources(company, "@begun"))
    labelled = together(with_histories(parts, LABELS, cache=tmp_path))
    assert {str(r.unit): r.label for r in labelled.stream("function")} == {
        "billing/lib/a.py::a": 1,
        "billing/lib/b.py::b": 0,
        "ledger/lib/c.py::c": 0,
        "ledger/lib/d.py::d": 0,
    }
    assert all(r.features for r in labelled.stream("function"))
    assert labelled.fingerprint == together(parts).fingerprint


def test_the_cap_is_of_each_source(company) -> None:
    parts = read_own("o", sources(company), max_tokens=40)
    assert all(0 < part.corpus.lexer_tokens <= 40 for part in parts)
    assert together(parts).lexer_tokens > 40


@pytest.mark.parametrize(
    ("what", "name", "gone"),
    [
        ("unit", "ledger/lib/c.py::c", {"ledger/lib/c.py::c"}),
        ("unit", "lib/c.py::c", {"ledger/lib/c.py::c"}),
        ("file", "ledger/lib/same.py", {"ledger/lib/same.py::both"}),
        ("file", "lib/same.py", {"ledger/lib/same.py::both", "billing/lib/same.py::both"}),
    ],
)
def test_what_is_erased_is_named_with_its_label_or_without(company, what, name, gone) -> None:
    erased = Erased(new_salt()).having(what, name).denied()
    every = together(read_own("o", sources(company)))
    left = together(read_own("o", sources(company), screen=Screen(OFF, erased=erased)))
    # the second of two equal files of one repository counts once the first is gone
    units = {str(r.unit) for r in left.stream("function")} - {"ledger/lib/twice.py::both"}
    assert units == {str(r.unit) for r in every.stream("function")} - gone
    assert {one.path for one in left.taken} == {unit.partition("::")[0] for unit in gone}


@pytest.mark.parametrize("name", ["ledger", "ledger/lib", "lib"])
def test_a_source_of_which_all_is_erased_is_not_passed_over(company, name) -> None:
    erased = Erased(new_salt()).having("repository", name).denied()
    with pytest.raises(CorpusError, match=r"filters leave nothing of git:.*ledger"):
        read_own("o", sources(company), screen=Screen(OFF, erased=erased))


def test_what_is_erased_by_its_label_is_not_taken_from_the_cache(company, tmp_path) -> None:
    (source,) = sources(company, "", "ledger")
    screen = Screen(OFF, erased=Erased(new_salt()).having("file", "ledger/lib/c.py").denied())
    paths = []
    for _ in range(2):
        assert len(read(source, "o", cache=tmp_path, screen=screen).files) == 3
        (part,) = read_own("o", [source], cache=tmp_path, screen=screen)
        paths.append([file.path for file in part.corpus])
    assert paths == [["lib/d.py", "lib/same.py"]] * 2
