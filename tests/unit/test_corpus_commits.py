# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Commits as records: what is known when one is made, and whether it had to be mended."""

import pytest
from test_corpus_history import ANN, BOB, Repository
from test_corpus_past import TWO, changed, commit

from fedcode.corpus import Screen, asset_of, with_owners
from fedcode.corpus import read as corpus_of
from fedcode.corpus.commits import FEATURES, read, read_commits
from fedcode.corpus.filters import Denied, Erased, digest, new_salt
from fedcode.corpus.languages.general import of_pieces
from fedcode.corpus.past import Rules
from fedcode.corpus.revisions import revision
from fedcode.errors import CorpusError
from fedcode.filters import FilterSettings
from fedcode.record import PrivacyUnit


@pytest.fixture
def made(tmp_path) -> Repository:
    """Ann begins, Bob adds a wrong line, Ann mends it."""
    found = Repository(tmp_path / "code")
    commit(found, "2020-01-01", "Begin", ANN, a=TWO, lib__b=("x = 1",))
    commit(found, "2020-01-11", "Multiply", BOB, a=changed(TWO, 8, "    return a * 3"))
    commit(found, "2020-02-01", "Fix the factor", ANN, a=changed(TWO, 8, "    return a * 4"))
    return found


def records(made: Repository, at: str = "", rules: Rules | None = None):
    place = f"{made.root}{at}"
    return read_commits(revision(place), "x", rules or Rules())[0].records()


def test_a_commit_whose_line_is_mended_is_defective(made) -> None:
    found = records(made)
    assert [record.kind for record in found] == ["commit"] * 3
    assert [record.label for record in found] == [0, 1, 0]
    assert [record.label for record in records(made, rules=Rules(horizon=20))] == [0, 0, 0]


def test_the_future_labels_and_nothing_else(made) -> None:
    (first, second) = records(made, "@2020-01-20")
    whole = records(made)
    assert (first, second) == tuple(whole[:2])
    assert second.features == whole[1].features
    assert second.label == 1


def test_what_is_known_when_it_is_made(made) -> None:
    first, second, third = (dict(record.features) for record in records(made))
    assert tuple(first) == FEATURES
    assert first["subsystems"] == first["folders"] == first["files"] == 2
    assert 0 < first["entropy"] < 1
    assert first["added"] == len(TWO) + 1
    assert (second["added"], second["taken"], second["size"]) == (1, 1, len(TWO))
    assert (second["developers"], second["changes"], second["age_days"]) == (1, 1, 10)
    assert (second["experience"], third["experience"]) == (0, 1)
    assert [one["fix"] for one in (first, second, third)] == [0, 0, 1]
    assert third["developers"] == 2
    assert third["own_subsystem"] == 1


def test_tokens_are_those_of_the_lines_added(made) -> None:
    assert records(made)[1].tokens == ("return", "a", "*", "3")
    for path, text in (("a.py", "x = 1 # why"), ("a.c", "x = 1 // why"), ("a.lua", "x = 1 -- why")):
        assert of_pieces(path).read(text).tokens == ("x", "=", "1")


def test_tests_and_merges_are_no_records(made) -> None:
    made.git("checkout", "-q", "-b", "side")
    commit(made, "2020-02-02", "Test", tests__test_a=TWO)
    made.git("checkout", "-q", "-")
    commit(made, "2020-02-03", "Other", a=TWO)
    made.git("merge", "-q", "--no-ff", "-m", "Merge", "side")
    assert len(records(made)) == 4


def test_authors_stay_beside_the_records(made) -> None:
    corpus, authors = read_commits(revision(str(made.root)), "x", Rules())
    assert authors == [ANN, BOB, ANN]
    assert all(record.author == "" for record in corpus.records())


def test_what_filters_take_is_no_record(made) -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLF"
    commit(made, "2020-03-01", "Key", a=changed(TWO, 8, f'    return "{key}"'))
    commit(made, "2020-03-02", "By\n\nCo-authored-by: GitHub Copilot <x@github.com>", a=TWO)
    eve = "eve@example.org"
    commit(made, "2020-03-03", "Eve", eve, a=changed(TWO, 1, "    b = 1"))
    salt = new_salt()
    gone = Screen(opted_out=Denied(frozenset({(salt, digest(salt, "author", eve))})))
    corpus = read(str(made.root), "x", screen=gone)
    assert len(corpus.files) == 3
    assert corpus.taken_by() == {"secrets": 1, "models": 1, "opted_out": 1}
    assert key not in repr(corpus)
    off = Screen(FilterSettings(secrets=False, models=False))
    assert len(read(str(made.root), "x", screen=off).files) == 6


def test_what_is_erased_is_not_read_in_pieces(made) -> None:
    gone = Screen(erased=Erased(new_salt()).having("unit", "a.py::first").denied())
    with pytest.raises(CorpusError, match="something was erased"):
        corpus_of(f"commits:{made.root}", "x", screen=gone)


def test_lines_of_files_that_filters_take_are_left_out(made) -> None:
    made.write(".fedcodeignore", "ignored.py")
    made.write("gpl/COPYING", "GNU GENERAL PUBLIC LICENSE", "Version 3, 29 June 2007")
    made.write("own.py", "# SPDX-License-Identifier: GPL-3.0-only", "header = 1")
    commit(made, "2020-03-01", "Files", ignored=("ignored = 1",), gpl__c=("gpl = 1",))
    made.write("own.py", "# SPDX-License-Identifier: GPL-3.0-only", "header = 1", "later = 1")
    commit(made, "2020-03-02", "Later", vendor__d=("vendored = 1",), kept=("kept = 1",))
    corpus = corpus_of(f"commits:{made.root}", "x", screen=Screen())
    tokens = {token for record in corpus.records() for token in record.tokens}
    assert "kept" in tokens
    assert tokens.isdisjoint({"ignored", "gpl", "header", "later", "vendored"})


def test_a_commit_that_only_takes_lines_is_a_record(made) -> None:
    commit(made, "2020-03-01", "Less", a=TWO[:3])
    (last,) = (r for r in records(made) if r.lines == 0)
    assert (last.tokens, last.ast) == ((), ())
    assert dict(last.features)["taken"] == 6


def test_persons_are_replaced(made) -> None:
    commit(made, "2020-03-01", "Mail", a=changed(TWO, 8, '    return "a@b.org"'))
    found = read(str(made.root), "x", screen=Screen())
    assert found.taken_by() == {"personal": 1}
    tokens = {t for r in found.records() for t in r.tokens}
    assert not any("a@b.org" in token for token in tokens)


def test_the_last_commits_that_fit(made) -> None:
    first, *rest = records(made)
    total = sum(len(record.tokens) for record in rest)
    found = read(str(made.root), "x", max_tokens=total).records()
    assert {r.unit for r in found} == {r.unit for r in rest}
    assert all(r.label is None for r in found)
    assert first.unit not in {r.unit for r in found}
    with pytest.raises(CorpusError, match=r"no commit of .* fits into 1 tokens"):
        read(str(made.root), "x", max_tokens=1)


def test_a_source_of_commits(made, tmp_path) -> None:
    source = f"commits:{made.root}"
    corpus = corpus_of(source, "x", cache=tmp_path / "cache")
    assert len(corpus.records("commit")) == 3
    assert asset_of(source) == asset_of(f"git:{made.root}")
    owned = with_owners(corpus, source, PrivacyUnit.AUTHOR, cache=tmp_path / "cache")
    assert sorted(r.author for r in owned.records()) == ["1", "1", "2"]
    assert owned == with_owners(corpus, source, PrivacyUnit.AUTHOR, cache=tmp_path / "cache")


def test_a_history_without_source_files(tmp_path) -> None:
    made = Repository(tmp_path / "code")
    (made.root / "a.txt").write_text("x")
    commit(made, "2020-01-01", "Begin")
    with pytest.raises(CorpusError, match="no commit that changes source files"):
        records(made)
