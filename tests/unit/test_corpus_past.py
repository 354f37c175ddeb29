# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Labels and features from a history: what is looked back at, and what is looked ahead to."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from test_corpus_history import ANN, BOB, Repository

from fedcode.corpus import cache as cached
from fedcode.corpus import git, read
from fedcode.corpus.past import FEATURES, Rules, look, main_authors, with_past
from fedcode.corpus.revisions import revision
from fedcode.errors import CacheDamaged

TWO = (
    "def first(a):",
    "    b = a + 1",
    "    return b",
    "",
    "",
    "def second(a):",
    '    """What it does."""',
    "    # why",
    "    return a * 2",
)


@pytest.fixture
def made(tmp_path) -> Repository:
    return Repository(tmp_path / "code")


def commit(made: Repository, day: str, message: str, author: str = ANN, **files) -> None:
    for name, lines in files.items():
        path = name.replace("__", "/")
        made.write(f"{path}.py", *lines)
    made.git("add", "-A")
    stamp = f"{day}T12:00:00+0000"
    made.git("commit", "-q", "--allow-empty", "-m", message, author=author, when=stamp)


def changed(lines, index: int, text: str):
    return (*lines[:index], text, *lines[index + 1 :])


def labels(made: Repository, place: str, rules: Rules | None = None) -> dict[str, int | None]:
    source = f"{made.root}@{place}" if place else str(made.root)
    rules = rules or Rules()
    corpus = read(f"git:{source}", "x")
    found = with_past(corpus, look(revision(source), rules), rules)
    return {record.name: record.label for record in found.records("function")}


def test_a_fix_labels_the_function_whose_line_it_takes(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    commit(made, "2020-03-01", "Fix the sum", a=changed(TWO, 1, "    b = a + 2"))
    assert labels(made, "2020-02-01") == {"first": 1, "second": 0}
    assert labels(made, "2020-04-01") == {"first": 0, "second": 0}, "it is mended"


def test_the_horizon_ends(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    commit(made, "2020-03-01", "Fix the sum", a=changed(TWO, 1, "    b = a + 2"))
    assert labels(made, "2020-02-01", Rules(horizon=20)) == {"first": 0, "second": 0}


def test_lines_written_after_the_snapshot_do_not_count(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    late = changed(TWO, 8, "    return a * 3")
    commit(made, "2020-03-01", "Multiply by more", a=late)
    commit(made, "2020-04-01", "Fix the factor", a=changed(late, 8, "    return a * 4"))
    assert labels(made, "2020-02-01") == {"first": 0, "second": 0}
    assert labels(made, "2020-03-15") == {"first": 0, "second": 1}


def test_a_function_is_followed_through_renames_and_moves_of_lines(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    made.git("mv", "a.py", "b.py")
    commit(made, "2020-02-10", "Rename")
    lower = ("import os", "", *TWO)
    commit(made, "2020-02-20", "Add an import", b=lower)
    commit(made, "2020-03-01", "Fix the factor", b=changed(lower, 10, "    return a * 3"))
    assert labels(made, "2020-02-01") == {"first": 0, "second": 1}


def test_comments_and_documentation_are_no_defects(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    commit(made, "2020-03-01", "Fix the wrong comment", a=changed(TWO, 7, "    # why not"))
    better = changed(changed(TWO, 7, "    # why not"), 6, '    """What it really does."""')
    commit(made, "2020-03-02", "Correct what was wrong", a=better)
    assert labels(made, "2020-02-01") == {"first": 0, "second": 0}


def test_what_is_only_laid_out_otherwise_or_renamed_is_no_defect(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    laid = (*TWO[:8], "    return (", "        a * 2", "    )")
    commit(
        made, "2020-03-01", "Fix the layout that was broken", a=changed(TWO, 8, "    return a*2")
    )
    commit(made, "2020-03-02", "Fix more", a=laid)
    assert labels(made, "2020-02-01")["first"] == 0


def test_tests_and_mass_changes_are_no_fixes(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO, tests__test_a=TWO)
    commit(made, "2020-03-01", "Fix a bug", tests__test_a=changed(TWO, 1, "    b = 3"))
    assert labels(made, "2020-02-01") == {"first": 0, "second": 0}
    many = {f"m{n}": (f"x = {n}",) for n in range(10)}
    commit(made, "2020-03-02", "Fix all", a=changed(TWO, 1, "    b = a + 2"), **many)
    assert labels(made, "2020-02-01") == {"first": 0, "second": 0}
    assert labels(made, "2020-02-01", Rules(most_files=11)) == {"first": 1, "second": 0}


def test_insertions_count_where_they_are_asked_for(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    checked = (*TWO[:2], "    assert b", *TWO[2:])
    commit(made, "2020-03-01", "Fix a missing check", a=checked)
    assert labels(made, "2020-02-01") == {"first": 0, "second": 0}
    assert labels(made, "2020-02-01", Rules(insertions=True)) == {"first": 1, "second": 0}


def test_between_two_functions_nothing_is_inserted_into_either(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    more = (*TWO[:4], "C = 1", "", *TWO[4:])
    commit(made, "2020-03-01", "Fix a missing constant", a=more)
    assert labels(made, "2020-02-01", Rules(insertions=True)) == {"first": 0, "second": 0}


def test_a_fix_on_a_branch_that_is_merged_later(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    made.git("checkout", "-q", "-b", "side")
    commit(made, "2020-02-15", "Fix the sum", a=changed(TWO, 1, "    b = a + 2"))
    made.git("checkout", "-q", "-")
    commit(made, "2020-02-01", "Other", b=("x = 1",))
    made.git("merge", "-q", "--no-ff", "-m", "Merge", "side", when="2020-03-01T12:00:00+0000")
    assert labels(made, "2020-02-10") == {"first": 1, "second": 0}


def test_features_look_back_only(made) -> None:
    commit(made, "2019-01-01", "Begin", a=TWO)
    commit(made, "2019-12-22", "Fix it", BOB, a=changed(TWO, 1, "    b = a + 2"))
    place = f"{made.root}@2020-01-01"
    rules = Rules()

    def features() -> dict[str, dict[str, float]]:
        found = with_past(read(f"git:{place}", "x"), look(revision(place), rules), rules)
        return {r.name: dict(r.features) for r in found.records("function")}

    before = features()
    assert tuple(before["first"]) == FEATURES
    begun = (datetime(2020, 1, 1, tzinfo=UTC) - datetime(2019, 1, 1, 12, tzinfo=UTC)).days + 0.5
    assert before["first"] == {
        "age_days": begun,
        "last_change_days": 9.5,
        "commits": 2,
        "authors": 2,
        "recent_lines": 3,
        "file_commits": 2,
        "file_authors": 2,
        "file_fixes": 1,
        "file_churn": 2 + len(TWO),
    }
    assert before["second"]["authors"] == 1
    commit(made, "2020-02-01", "Fix everything", "eve@example.org", a=("def first(): pass",))
    assert features() == before


def test_no_later_commit_changes_a_label_once_the_horizon_is_over(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    commit(made, "2020-03-01", "Fix the sum", a=changed(TWO, 1, "    b = a + 2"))
    rules = Rules(horizon=60)
    before = labels(made, "2020-02-01", rules)
    commit(made, "2020-04-02", "Fix the rest", a=("def second(a): pass",))
    assert labels(made, "2020-02-01", rules) == before
    assert labels(made, "2020-02-01", replace(rules, horizon=90)) != before


def test_whether_the_horizon_is_covered(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    commit(made, "2020-03-01", "More", b=("x = 1",))  # at noon
    place = revision(f"{made.root}@2020-02-01")
    assert look(place, Rules(horizon=29)).covered
    assert not look(place, Rules(horizon=30)).covered


def test_a_snapshot_whose_commit_changed_no_source(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    commit(made, "2020-02-01", "Nothing")
    commit(made, "2020-03-01", "Fix the sum", a=changed(TWO, 1, "    b = a + 2"))
    assert labels(made, "2020-02-15") == {"first": 1, "second": 0}


def test_main_authors_are_those_that_git_blames(made) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO, b=("x = 1",))
    commit(made, "2020-02-01", "More", BOB, a=(*TWO, *(f"z{n} = 1" for n in range(12))))
    commit(made, "2020-03-01", "Less", ANN, b=("x = 1", "y = 2"))
    history = git.checked_out(made.root)
    found = main_authors(history)
    assert found == {"a.py": BOB, "b.py": ANN}
    assert found == {path: git.main_author(history, path) for path in found}


def test_a_second_look_asks_for_new_commits_alone(made, tmp_path, monkeypatch) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    made.git("checkout", "-q", "-b", "side")
    commit(made, "2020-01-10", "Fix the sum", a=changed(TWO, 1, "    b = a + 2"))
    made.git("checkout", "-q", "-")
    commit(made, "2020-01-11", "Fix the factor", a=changed(TWO, 8, "    return a * 3"))
    rules, cache = Rules(), tmp_path / "cache"
    place = f"{made.root}@2020-01-05"
    first = look(revision(place), rules, cache)
    assert first == look(revision(place), rules)
    made.git("merge", "-q", "--no-ff", "-m", "Merge", "side", when="2020-02-01T12:00:00+0000")
    commit(made, "2020-03-01", "Fix once more", BOB, b=TWO)
    asked: list[str] = []
    stream = git.stream

    def counted(history, *words, given=None):
        if "-p" in words:
            asked.extend(given)
        return stream(history, *words, given=given)

    monkeypatch.setattr(git, "stream", counted)
    second = look(revision(place), rules, cache)
    new = made.git("rev-list", "-2", "--first-parent", "HEAD").split()
    fixes = {fix.commit for fix in second.fixes}
    assert len(fixes) == 2
    assert set(asked) == {*new, *fixes}, "the text of fixes is not kept"
    assert second == look(revision(place), rules)
    assert look(revision(place), rules, cache) == second


def test_what_is_kept_of_commits_holds_no_text(made, tmp_path) -> None:
    commit(made, "2020-01-01", "Begin with a message", a=TWO)
    look(revision(str(made.root)), Rules(), tmp_path)
    (file,) = tmp_path.rglob("*.zz")
    kept = cached.kept(file)
    assert "a.py" in kept
    for text in ("message", "return", ANN, "ann"):
        assert text not in kept


def test_a_cache_of_commits_that_was_changed_is_refused(made, tmp_path) -> None:
    commit(made, "2020-01-01", "Begin", a=TWO)
    look(revision(str(made.root)), Rules(), tmp_path)
    (file,) = tmp_path.rglob("*.zz")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CacheDamaged, match="is not what was written"):
        look(revision(str(made.root)), Rules(), tmp_path)
