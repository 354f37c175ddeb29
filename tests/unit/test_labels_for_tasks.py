# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a federation's file says of labels, tables, and tasks that go on from others."""

import pytest

from fedcode.corpus.labels import InjectedBugs, labeller_of
from fedcode.corpus.tables import TableLabels
from fedcode.errors import ConfigError, CorpusError
from fedcode.federation import OWN, TableLabelSettings, load, parse
from fedcode.record import Corpus, Record, SourceFile, UnitId
from fedcode.simulation.dataset import Dataset
from fedcode.simulation.jobs import Job, handed_on
from fedcode.simulation.run import check_continued, check_labelled, check_tasks

HEAD = 'name = "small"\naggregation = { mode = "open" }\n'
BELIEF = "model = { hidden = [4] }\n"
TASKS = f'[[tasks]]\nname = "belief-1"\nbudget_share = 0.3\n{BELIEF}'
NEXT = f'[[tasks]]\nname = "defects-belief"\nbudget_share = 0.7\ncontinues = "belief-1"\n{BELIEF}'
ACME = '[[organizations]]\nname = "acme"\nsource = "path:acme"\n'
GIT = ACME.replace("path:", "git:")
TABLE = '[[organizations]]\nname = "ant"\nsource = "table:t.csv"\nrows = { project = "ant" }\n'
REAL = '[labels]\nkind = "table"\n'
HISTORY = '[labels]\nkind = "history"\n'
NONE = Corpus("public", ())


def refused(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_task_goes_on_from_one_before_it() -> None:
    federation = parse(HEAD + REAL + TASKS + NEXT + ACME)
    assert [task.continues for task in federation.tasks] == [None, "belief-1"]
    check_continued(federation, NONE)
    refused(
        HEAD + REAL + NEXT + TASKS + ACME, "defects-belief continues belief-1, which is no task"
    )
    own = NEXT.replace('continues = "belief-1"', 'continues = "defects-belief"')
    refused(HEAD + REAL + TASKS + own + ACME, "which is no task before it")
    warm = f"{NEXT}[tasks.warm_start]\nepochs = 2.0\n"
    refused(HEAD + REAL + TASKS + warm + ACME, "starts from the weights of belief-1")


@pytest.mark.parametrize(
    "before",
    [TASKS.replace("[4]", "[5]"), TASKS.replace("[4]", "[4, 4]")],
)
def test_networks_that_differ_are_refused(before) -> None:
    with pytest.raises(ConfigError, match="defects-belief cannot continue belief-1"):
        check_continued(parse(HEAD + REAL + before + NEXT + ACME), NONE)


def test_what_starts_before_any_training_knows_no_other_end() -> None:
    federation = parse(HEAD + REAL + TASKS + NEXT + ACME)
    with pytest.raises(ConfigError, match="defects-belief continues belief-1, whose weights"):
        federation.check_beginnings("a start file")
    parse(HEAD + TASKS + ACME).check_beginnings("a start file")


def test_an_arm_goes_on_from_the_same_arm() -> None:
    job = Job({}, "defects-belief", 3, continues="belief-1")
    assert job.before == Job({}, "belief-1", 3).name
    assert Job({}, "belief-1", 3).before is None


def test_ends_have_names_of_their_own(tmp_path) -> None:
    assert handed_on(tmp_path, "belief-1") != tmp_path / "belief-1.safetensors"


def test_labels_are_injected_unless_a_table_is_named(tmp_path) -> None:
    bugs = labeller_of(parse("seed = 7\n" + HEAD + TASKS + ACME))
    assert bugs == InjectedBugs(7)
    assert labeller_of(parse(HEAD + REAL + TASKS + TABLE)) is None
    (tmp_path / "labels.csv").write_text("path,name,label\na.py,f,1\n", encoding="utf-8")
    text = REAL + 'table = "labels.csv"\ncolumns = { path = "path" }\n'
    (tmp_path / "f.toml").write_text(HEAD + text + TASKS + ACME, encoding="utf-8")
    federation = load(tmp_path / "f.toml")
    found = labeller_of(federation)
    assert isinstance(found, TableLabels)
    assert found.labels == {("", "a.py", "f"): 1}
    public = federation.published()
    assert isinstance(public.labels, TableLabelSettings)
    assert public.labels.table is None, "no path of this machine"


def test_nothing_is_held_out_at_random_where_labels_are_of_history() -> None:
    assert parse(HEAD + TASKS + ACME).heldout == 20
    assert parse(HEAD + REAL + TASKS + ACME).heldout is None


def test_tables_are_read_by_rows_in_simulations_alone() -> None:
    federation = parse(HEAD + REAL + TASKS + TABLE)
    assert federation.members[0].rows == {"project": "ant"}
    (asset,) = federation.members[0].assets
    assert asset != federation.members[0].source
    assert federation.published().members[0].source == OWN
    assert not federation.published().members[0].rows
    refused(HEAD + TASKS + TABLE, "ant is a table: its labels are labels.kind")
    refused(HEAD + REAL + TASKS + TABLE + "max_tokens = 5\n", "leave max_tokens out")
    refused(HEAD + REAL + TASKS + ACME + 'rows = { a = "b" }\n', "rows is of a source table:FILE")
    unit = '[privacy]\nunit = "author"\n'
    refused(HEAD + unit + REAL + TASKS + TABLE, "privacy.unit must be function or file")
    refused(HEAD + '[labels]\nkind = "guess"\n' + TASKS + ACME, "labels: ")
    with pytest.raises(ConfigError, match="labels of a table are for simulations"):
        federation.check_labels()


def labelled(name, *labels):
    """One class for each of ``labels``."""
    made = [
        Record(UnitId(f"{i}"), "a", f"{i}", "class", (), 1, label) for i, label in enumerate(labels)
    ]
    return Corpus(name, tuple(SourceFile(r.unit, (), (r,)) for r in made))


@pytest.mark.parametrize(
    ("train", "unseen", "words"),
    [
        ((0, 1), (0, 1), None),
        ((None, None), (0, 1), "no function of acme is labelled"),
        ((0, 1), (0, 0), "what is unseen is not labelled with both"),
        ((0, 1), (None,), "what is unseen is not labelled with both"),
    ],
)
def test_labels_that_leave_nothing_to_learn_or_measure_are_refused(train, unseen, words) -> None:
    federation = parse(HEAD + REAL + TASKS + NEXT + ACME)
    data = Dataset(NONE, {"acme": labelled("acme", *train)}, {}, {}, {"x": labelled("x", *unseen)})
    if words is None:
        check_labelled(federation, data)
        return
    with pytest.raises(CorpusError, match=words):
        check_labelled(federation, data)
    check_labelled(parse(HEAD + REAL + TASKS + ACME), data)


def test_syntax_trees_hold_no_injected_bugs() -> None:
    with pytest.raises(ConfigError, match="reads syntax trees, which injected bugs do not change"):
        check_tasks(parse(HEAD + TASKS + NEXT + ACME))
    check_tasks(parse(HEAD + REAL + TASKS + NEXT + ACME))


@pytest.mark.parametrize(
    ("labels", "source", "feature", "words"),
    [
        (HISTORY, "git:acme", "age_days", None),
        (HISTORY, "git:acme", "age_dais", "no record has a feature age_dais"),
        (HISTORY, "git:acme", "entropy", "no record has a feature entropy"),
        (HISTORY, "commits:acme", "entropy", None),
        (REAL, "path:acme", "age_days", "no record has a feature age_days"),
    ],
)
def test_a_mistyped_feature_is_refused(labels, source, feature, words) -> None:
    text = HEAD + labels + TASKS + NEXT + ACME.replace("path:acme", source)
    federation = parse(text)
    task = federation.tasks[-1]
    model = task.model | {"features": [feature]}
    changed = federation.model_copy(update={"tasks": (task.model_copy(update={"model": model}),)})
    if words is None:
        check_tasks(changed)
        return
    with pytest.raises(ConfigError, match=words):
        check_tasks(changed)


@pytest.mark.parametrize("written", ['"2024-01-31"', "2024-01-31"])
def test_a_date_needs_no_quotation_marks(written) -> None:
    labels = parse(HEAD + HISTORY + f"later = {written}\n" + TASKS + GIT).labels
    assert labels.later == "2024-01-31"
    refused(HEAD + HISTORY + "later = 2024-01-31T00:00:00\n" + TASKS + GIT, "a date, as")
