# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Stores: what is written comes back, damage is told, and nothing is held that nobody looks at."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcode.corpus import (
    deduplicate,
    distinct_files,
    near_duplicates,
    read,
    reading,
    split_own,
    store,
    with_owners,
    without,
)
from fedcode.corpus.files import Cut, source_file
from fedcode.corpus.labels import InjectedBugs
from fedcode.corpus.language import Function
from fedcode.corpus.store import Rows, Store, Writer, rows_of
from fedcode.corpus.views import View, changed, chosen, paths
from fedcode.errors import CacheDamaged
from fedcode.record import (
    Corpus,
    Metrics,
    PrivacyUnit,
    Skipped,
    SourceFile,
    Taken,
    population,
    units,
)

TEXTS = st.text(st.characters(), max_size=6)  # lone surrogates and control characters, too
TOKENS = st.lists(TEXTS, max_size=30).map(tuple)
COUNTS = st.integers(0, 2**31 - 1)


@st.composite
def cuts(draw):
    tokens = draw(TOKENS)
    ends = sorted(draw(st.sets(st.integers(0, len(tokens)), max_size=6)))
    functions = tuple(
        Function(
            f"{draw(TEXTS)}{start}",
            start,
            stop,
            draw(COUNTS),
            draw(COUNTS),
            draw(COUNTS),
            draw(TOKENS),
            Metrics(*draw(st.tuples(*[COUNTS] * 6))),
            tuple(draw(st.lists(st.tuples(COUNTS, COUNTS), max_size=3))),
        )
        for start, stop in zip(ends[::2], ends[1::2], strict=False)
    )
    taken = tuple(Taken(*draw(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, COUNTS))) for _ in range(2))
    path = f"{draw(TEXTS)}x.py"
    key = (path, draw(TEXTS), draw(TEXTS))
    return Cut(path, tokens, functions, draw(COUNTS), draw(TOKENS), draw(TEXTS), taken), key


def written(place, pieces, *, keep=True):
    with Writer(place) as writer:
        for start in range(0, len(pieces), 3):
            batch = rows_of(pieces[start : start + 3])
            rows = Rows(batch)
            for row in range(len(rows)):
                writer.add(batch.slice(row, 1), rows.row(row).tokens)
        return writer.finish([Skipped("é\ud800", "why")], [Taken("a", "b", "c", "d", 2)], keep=keep)


@given(st.lists(cuts(), max_size=8), st.sampled_from([1, 3, 256]))
@settings(max_examples=25, deadline=None)
def test_what_is_written_comes_back(pieces, most):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_MOST_ROWS", most)
        place = Path(folder, "new", "a.arrow")
        for found in (written(place, pieces), Store.open(place), written(None, pieces)):
            assert [found.piece(i) for i in range(len(found))] == [piece for piece, _ in pieces]
            assert list(found.keys()) == [key for _, key in pieces]
            assert found == tuple(source_file(piece) for piece, _ in pieces)
            assert found.paths() == paths(found) == [piece.path for piece, _ in pieces]
            assert found.skipped == (Skipped("é\ud800", "why"),)
            assert found.taken == (Taken("a", "b", "c", "d", 2),)
        again = [found.row(i) for i in reversed(range(len(found)))]
        copy = Path(folder, "copy.arrow")
        with Writer(copy) as writer:
            for row, batch in again:
                writer.add(batch, row.tokens)
            assert writer.finish((), (), keep=True) == found[::-1]
        assert sorted(file.name for file in Path(folder).rglob("*.arrow")) == ["a.arrow", copy.name]


@given(st.lists(TOKENS, min_size=2, max_size=12))
@settings(max_examples=50, deadline=None)
def test_rows_are_the_same_where_tokens_are(sequences):
    pieces = [
        (Cut(f"{i}.py", tokens, (), 0), (f"{i}.py", "", "")) for i, tokens in enumerate(sequences)
    ]
    rows = Rows(rows_of(pieces))
    same = [rows.row(i).same for i in range(len(rows))]
    for one, a in zip(sequences, same, strict=True):
        for other, b in zip(sequences, same, strict=True):
            assert (one == other) == (a == b)


def some(number=40):
    made = []
    for i in range(number):
        body = ("x", "=", f"word{i}", "\n", f"é{i % 7}", "<NL>")
        function = Function(f"f{i}", 0, 4, 1, 2, 2, ("c:x",), Metrics(calls=i), ((1, 1),))
        path = f"f{i:03}.py"
        made.append((Cut(path, body * 3, (function,), 3, ("d:f",)), (path, f"{i}", "MIT")))
    return made


def test_a_byte_that_flips_anywhere_is_noticed(tmp_path):
    place = tmp_path / "a.arrow"
    written(place, some(3))
    whole = place.read_bytes()
    for at in {*range(140), *range(140, len(whole), 37), *range(len(whole) - 20, len(whole))}:
        place.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CacheDamaged):
            Store.open(place)
    for wrong in (b"", whole[:-1], whole + b"\0", whole[:128], whole[128:]):
        place.write_bytes(wrong)
        with pytest.raises(CacheDamaged, match="not what was written"):
            Store.open(place)
    with pytest.raises(CacheDamaged):
        Store.open(tmp_path / "absent")


def test_a_store_is_whole_or_not_there(tmp_path):
    place = tmp_path / "a.arrow"

    def stopped():
        with Writer(place) as writer:
            writer.add(rows_of(some(1)), 9)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()
    assert not list(tmp_path.iterdir())
    gone = written(place, some(), keep=False)
    assert not list(tmp_path.iterdir())
    assert len(list(gone)) == 40
    first = written(place, some())
    second = written(place, some(3))
    assert (len(first), len(second), len(Store.open(place))) == (40, 3, 3)
    assert first[39].path == "f039.py", "what is replaced can still be read"
    assert [file.name for file in tmp_path.iterdir()] == [place.name]


def alive():
    gc.collect()
    return sum(type(one) is SourceFile for one in gc.get_objects())


def test_files_are_made_when_they_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_MOST_ROWS", 8)
    found = written(tmp_path / "a.arrow", some(400))
    view = changed(chosen(found, range(0, 400, 2)), lambda _, f: replace(f, records=f.records[:1]))
    before, most = alive(), 0
    for number, _ in enumerate(view):
        if number % 50 == 0:
            most = max(most, alive() - before)
            assert found._batch.cache_info().currsize <= store._OPEN
    assert number == 199
    assert most < 10
    assert view[-1].path == view[3:][-1].path == "f398.py"
    assert view != view[1:]
    assert view == tuple(view)
    assert tuple(view) == view
    with pytest.raises(TypeError):
        hash(view)


CODE = (
    "def f{i}(x):\n    y = x + {j}\n    return y * {i}\n\ndef g(a):\n    return a[{j}]\n\nz = {i}\n"
)
LONG = "def h{i}(rows):\n    found = []\n    for row in rows:\n        if row.{w} > row.size:\n"
LONG += "            found.append(row.name.strip().lower())\n        elif row.last is not None:\n"
LONG += "            found.extend(one for one in row.parts if one not in found)\n    return found\n"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "code"
    root.mkdir()
    for i in range(60):
        text = CODE.format(i=i % 45 + 10**6, j=i % 9 + 10**6) + LONG.format(i=i, w="abcde"[i % 5])
        (root / f"f{i:02}.py").write_text(text + f"v{i} = 1\n")
    return root


def eager(corpus):
    return replace(corpus, files=tuple(corpus.files))


def test_what_follows_reading_gives_the_same_of_files_in_memory_and_not(folder, tmp_path):
    source = f"path:{folder}"
    lazy = read(source, "o", cache=tmp_path / "cache")
    held = eager(lazy)
    public = read(source, "public", max_tokens=400)
    assert isinstance(held.files, tuple)
    steps = [
        lambda c: distinct_files([c, c])[1],
        lambda c: deduplicate([public, c])[1],
        lambda c: near_duplicates(deduplicate([c]), 0.8)[0],
        lambda c: without(c, [public]),
        lambda c: with_owners(c, source, PrivacyUnit.REPOSITORY),
        lambda c: split_own(c, eager(public), 5, 0.8)[0],
        lambda c: split_own(c, public, 5)[1],
        InjectedBugs(3).label,
        lambda c: InjectedBugs(3).label(split_own(c, public, 5, 0.8)[0]),
    ]
    for step in steps:
        one, other = step(lazy), step(held)
        assert isinstance(one.files, View)
        assert isinstance(other.files, tuple)
        assert one == other
        assert tuple(one.files) == other.files
        assert one.fingerprint == other.fingerprint
        assert one.records() == other.records() == list(one.stream())
        assert one.lexer_tokens == other.lexer_tokens
        for unit in (PrivacyUnit.FUNCTION, PrivacyUnit.FILE, PrivacyUnit.REPOSITORY):
            assert population(one.stream(), unit) == len(units(other.records(), unit))
    assert near_duplicates(deduplicate([lazy]), 0.8)[0].taken


def test_what_was_read_before_is_copied_and_only_new_files_are_read(folder, tmp_path, monkeypatch):
    source, cache, asked = f"path:{folder}", tmp_path / "cache", []
    cut = reading.cut
    monkeypatch.setattr(
        reading, "cut", lambda path, *rest: (asked.append(path), cut(path, *rest))[1]
    )
    read(source, "o", cache=cache)
    assert len(asked) == 60
    asked.clear()
    (folder / "f07.py").write_text("def other(x):\n    return x\n")
    (folder / "f20.py").unlink()
    (folder / "a.py").write_text("def new(x):\n    return -x\n")
    again = read(source, "o", cache=cache)
    assert asked == ["a.py", "f07.py"]
    capped = read(source, "o", cache=cache, max_tokens=900)
    assert asked == ["a.py", "f07.py"]
    kept = read(source, "o", cache=cache)
    fresh = read(source, "o")
    assert again == kept == fresh
    assert again.fingerprint == kept.fingerprint == fresh.fingerprint
    assert capped == read(source, "o", max_tokens=900)
    assert [f.path for f in capped] == sorted(f.path for f in capped)


def test_a_disk_that_is_full_is_no_reason_to_stop(folder, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(28, "no space left")

    monkeypatch.setattr(store._Sink, "write", full)
    cache = tmp_path / "cache"
    assert read(f"path:{folder}", "o", cache=cache) == read(f"path:{folder}", "o")
    assert not [file for file in cache.rglob("*.arrow") if file.is_file()]


def test_a_corpus_is_known_by_its_files_wherever_they_are(folder):
    lazy = read(f"path:{folder}", "o")
    assert Corpus("o", tuple(lazy)).fingerprint == lazy.fingerprint
