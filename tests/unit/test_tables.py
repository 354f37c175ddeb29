# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Tables as records and as labels: what they give, and every way in which they are refused."""

import gzip
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from fedcode.corpus import tables
from fedcode.corpus.files import parse
from fedcode.corpus.tables import TableLabels, corpus, rows
from fedcode.errors import CorpusError
from fedcode.federation import TableColumns
from fedcode.record import Corpus

CLASSES = [
    {"project": "ant", "release": "1.5", "class": "org.a.War", "bugs": 2, "loc": 90,
     "tokens": ["War", "setFile", "if"], "kinds": "dcf", "wmc": 9.5},
    {"project": "ant", "release": "1.6", "class": "org.a.War", "bugs": 0, "loc": 95,
     "tokens": ["War", "File"], "kinds": "dn", "wmc": None},
    {"project": "ivy", "release": "1.0", "class": "Ivy", "bugs": 0, "loc": 1,
     "tokens": [], "kinds": "", "wmc": 1},
]  # fmt: skip
COLUMNS = TableColumns(
    kind="class", name="class", label="bugs", lines="loc", ast="tokens", kinds="kinds",
    repository="project", features=("wmc",), apart=("release",),
)  # fmt: skip
SIMPLE = TableColumns(path="path")


def json_lines(folder, values, name="t.jsonl.gz"):
    path = folder / name
    text = "".join(f"{json.dumps(value)}\n" for value in values).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def csv(folder, text, name="t.csv"):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_rows_become_records(tmp_path) -> None:
    found = corpus(json_lines(tmp_path, CLASSES), "ant", COLUMNS, {"project": "ant"})
    one, two = found.records("class")
    assert (one.unit, two.unit) == ("1.5::org/a/War::org.a.War", "1.6::org/a/War::org.a.War")
    assert (one.path, one.name, one.repository) == ("org/a/War", "org.a.War", "ant")
    assert (one.label, two.label, one.lines) == (1, 0, 90)
    assert one.ast == ("d:War", "c:setFile", "f:if")
    assert two.ast == ("d:War", "c:File"), "an object that is made is a call"
    assert (one.features, two.features) == ((("wmc", 9.5),), (("wmc", 0.0),))


def test_rows_are_chosen_by_values_or_lists_of_them(tmp_path) -> None:
    path = json_lines(tmp_path, CLASSES)
    chosen = {"project": ("ant", "ivy"), "release": ("1.6", "1.0")}
    assert [r.name for r in corpus(path, "x", COLUMNS, chosen).records()] == ["Ivy", "org.a.War"]
    with pytest.raises(CorpusError, match=r"no row of .* is of x"):
        corpus(path, "x", COLUMNS, {"project": "log4j"})


def test_equal_tables_have_equal_fingerprints_whatever_they_are_packed_in(tmp_path) -> None:
    one = corpus(json_lines(tmp_path, CLASSES), "x", COLUMNS, {})
    two = corpus(json_lines(tmp_path, CLASSES[::-1], "u.jsonl"), "x", COLUMNS, {})
    other = [{**CLASSES[0], "bugs": 0}, *CLASSES[1:]]
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != corpus(json_lines(tmp_path, other), "x", COLUMNS, {}).fingerprint


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_csv_has_texts_and_quotes(tmp_path, name) -> None:
    path = csv(tmp_path, 'path,name,label,size\na.py,"f, g",1,2.5\nb.py,h,0,\n', name)
    columns = TableColumns(path="path", features=("size",))
    one, two = corpus(path, "x", columns, {}).records("function")
    assert (one.name, one.label, one.features) == ("f, g", 1, (("size", 2.5),))
    assert (two.label, two.features) == (0, (("size", 0.0),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,name\na.py,f\n", "row 1 has no column label"),
        ("path,name,label\na.py,f\n", "row 1 has 2 fields, not 3"),
        ("path,path,label\na.py,f,1\n", "names no columns, or one twice"),
        ("", "names no columns"),
        ("path,name,label\na.py,f,1\na.py,f,0\n", "has a.py::f twice"),
        ("path,name,label\na.py,,1\n", "name is no text"),
        ("path,name,label\na.py,f,\n", "label is no label"),
        ("path,name,label\na.py,f,-1\n", "label is no label"),
        ("path,name,label\na.py,f,nan\n", "label is no number"),
        ("path,name,label\na.py,f,yes\n", "label is no number"),
        ('path,name,label\na.py,"f"g,1\n', "cannot be read as a table"),
        ("path,name,label\n", "no row"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, text, message) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        corpus(csv(tmp_path, text), "x", SIMPLE, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": "a b", "kinds": "cc"}, ""),
        ({"tokens": ["a", 1]}, "tokens is no list of tokens"),
        ({"kinds": "c"}, "kinds is no letter for each token"),
        ({"wmc": True}, "wmc is no number"),
        ({"wmc": 1e999}, "wmc is no number"),
        ({"class": None}, "class is no text"),
        ({"loc": -3}, "loc is below 0"),
    ],
)
def test_values_are_of_their_kind(tmp_path, changes, message) -> None:
    path = json_lines(tmp_path, [{**CLASSES[0], **changes}])
    if not message:
        assert corpus(path, "x", COLUMNS, {}).records()[0].ast == ("c:a", "c:b")
        return
    with pytest.raises(CorpusError, match=message):
        corpus(path, "x", COLUMNS, {})


def test_files_that_are_none_are_refused(tmp_path) -> None:
    with pytest.raises(CorpusError, match="is not a table that is known"):
        list(rows(tmp_path / "t.xlsx"))
    with pytest.raises(CorpusError, match="is not there"):
        list(rows(tmp_path / "absent.csv"))
    (tmp_path / "t.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(CorpusError, match="cannot be read as a table"):
        list(rows(tmp_path / "t.csv.gz"))
    (tmp_path / "t.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="row 1 is no JSON object"):
        list(rows(tmp_path / "t.jsonl"))


LIMITS = [("MOST_ROWS", 20), ("MOST_TEXT", 99), ("_LONGEST_CELL", 4)]


@pytest.mark.parametrize(("name", "most"), LIMITS)
def test_huge_tables_are_refused_in_time(tmp_path, monkeypatch, name, most) -> None:
    path = csv(tmp_path, "path,name,label\n" + "a.py,f,1\n" * 50)
    monkeypatch.setattr(tables, name, most)
    with pytest.raises(CorpusError, match="is too large"):
        list(rows(path))


def test_parquet_is_read_by_batches(tmp_path) -> None:
    columns = {
        "path": ["a.py", "b.py", "a.py"],
        "name": ["f", "f", "ü"],
        "label": pa.array([1, 0, 7], pa.int8()),
        "loc": pa.array([3, None, 2**40], pa.int64()),
        "churn": pa.array([0.5, 1e300, None], pa.float64()),
        "tree": [["c:x", "f:if"], [], ["d:\n"]],
    }
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table(columns), path, row_group_size=2)
    assert [dict(row) for row in rows(path)] == pa.table(columns).to_pylist()
    wanted = TableColumns(path="path", lines="loc", ast="tree", features=("churn",))
    found = corpus(path, "x", wanted, {"path": "a.py"}).records()
    assert [(r.name, r.label, r.lines, r.ast) for r in found] == [
        ("f", 1, 3, ("c:x", "f:if")),
        ("ü", 1, 2**40, ("d:\n",)),
    ]
    assert [r.features for r in found] == [(("churn", 0.5),), (("churn", 0.0),)]


def test_parquet_that_is_damaged_or_too_long_is_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"path": ["a.py"] * 5}), path)
    monkeypatch.setattr(tables, "MOST_ROWS", 4)
    with pytest.raises(CorpusError, match="is too large"):
        list(rows(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorpusError, match="cannot be read as a table"):
        list(rows(path))
    with pytest.raises(CorpusError, match="is not there"):
        list(rows(tmp_path / "absent.parquet"))


CODE = "def f(a):\n    return a\n\n\nclass C:\n    def g(self):\n        x = 1\n        return x\n"


@pytest.fixture
def code():
    return Corpus("acme", (parse("a.py", CODE), parse("b.py", CODE.replace("f(", "h("))))


def labels_of(corpus):
    return {(r.path, r.name): r.label for r in corpus.records("function") if r.label is not None}


def test_labels_are_matched_by_path_and_name(tmp_path, code) -> None:
    path = csv(tmp_path, "path,name,label\na.py,f,0\na.py,C.g,3\nb.py,f,1\nc.py,f,1\n")
    table = TableLabels.load(path, SIMPLE, {})
    found = table.label(code)
    assert labels_of(found) == {("a.py", "f"): 0, ("a.py", "C.g"): 1}
    assert table.unmatched([code]) == ["b.py::f", "c.py::f"]
    assert found.fingerprint == code.fingerprint
    assert table.label(found) == found, "labels of before do not stay by chance"


def test_labels_are_matched_by_path_and_line(tmp_path, code) -> None:
    path = csv(tmp_path, "path,line,label\na.py,7,1\na.py,8,0\na.py,4,1\nb.py,1,0\n")
    table = TableLabels.load(path, TableColumns(path="path", line="line"), {})
    assert labels_of(table.label(code)) == {("a.py", "C.g"): 1, ("b.py", "h"): 0}
    assert table.unmatched([code]) == ["a.py:4"], "between the functions"


def test_a_table_of_several_organizations_says_whose_a_row_is(tmp_path, code) -> None:
    path = csv(tmp_path, "who,path,name,label\nacme,a.py,f,1\nother,a.py,C.g,1\n")
    table = TableLabels.load(path, TableColumns(path="path", repository="who"), {})
    assert labels_of(table.label(code)) == {("a.py", "f"): 1}
    assert table.unmatched([code]) == ["a.py::C.g"]
    only = TableLabels.load(path, SIMPLE, {"who": "other"})
    assert labels_of(only.label(code)) == {("a.py", "C.g"): 1}


def test_labels_that_contradict_one_another_are_refused(tmp_path) -> None:
    path = csv(tmp_path, "path,name,label\na.py,f,0\na.py,f,1\n")
    with pytest.raises(CorpusError, match=r"labels a\.py where an earlier row does"):
        TableLabels.load(path, SIMPLE, {})
    with pytest.raises(CorpusError, match="need the column of paths"):
        TableLabels.load(path, TableColumns(), {})
