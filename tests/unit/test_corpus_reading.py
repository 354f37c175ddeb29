# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fedcode.corpus import cache_folder, distinct_files, read, reading, split
from fedcode.errors import CacheDamaged, CorpusError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "code"
    root.mkdir()
    for i in range(70):
        body = f"    return x + {i}\n" * (1 + i % 5)
        (root / f"f{i:02}.py").write_text(f"def f{i}(x):\n{body}\ny = 'é{i}'\n")
    (root / "bad.py").write_text("x = = 1")
    (root / "same.py").write_text((root / "f07.py").read_text() + "# again")
    return root


def test_processes_give_what_one_gives(folder):
    assert len(list(folder.iterdir())) > reading._FEW_FILES
    one = read(f"path:{folder}", "o")
    assert read(f"path:{folder}", "o", workers=2) == one
    assert [f.path for f in one] == [f"f{i:02}.py" for i in range(70)]
    assert [s.path for s in one.skipped] == ["bad.py", "same.py"]


def test_a_cap_takes_files_in_the_order_of_their_names_digests(folder):
    (folder / "same.py").unlink()
    size = {f.path: len(f.tokens) for f in read(f"path:{folder}", "o")}
    order = sorted(size, key=lambda path: hashlib.sha256(f"o/{path}".encode()).hexdigest())
    cap = sum(size[path] for path in order[:10])
    for max_tokens in (cap, cap + 1):
        taken = [f.path for f in read(f"path:{folder}", "o", max_tokens=max_tokens)]
        assert taken == sorted(order[:10])
    assert len(read(f"path:{folder}", "o", max_tokens=cap - 1).files) == 9
    other = [f.path for f in read(f"path:{folder}", "another", max_tokens=cap)]
    assert other != sorted(order[:10])


def test_a_cap_stops_the_processes_early(folder, monkeypatch):
    monkeypatch.setattr(reading, "_FEW_TOKENS", 0)
    capped = read(f"path:{folder}", "o", max_tokens=200, workers=2)
    assert capped == read(f"path:{folder}", "o", max_tokens=200)
    assert 0 < capped.lexer_tokens <= 200


def test_a_cap_that_no_file_fits_into(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    with pytest.raises(CorpusError, match="fits into 3 tokens"):
        read(f"path:{tmp_path}", "o", max_tokens=3)


def test_the_cache_gives_what_reading_gives(folder, tmp_path, monkeypatch):
    source, cache = f"path:{folder}", tmp_path / "cache"
    fresh = read(source, "o", cache=cache)
    assert fresh == read(source, "o")
    monkeypatch.setattr(reading, "_read_all", None)
    kept = read(source, "o", cache=cache)
    assert kept == fresh
    assert kept.fingerprint == fresh.fingerprint


def test_the_cache_notices_whatever_makes_a_difference(folder, tmp_path):
    source, cache = f"path:{folder}", tmp_path / "cache"
    read(source, "o", cache=cache)
    assert len(read(source, "o", cache=cache, max_tokens=100).files) < 10
    assert read(source, "p", cache=cache).name == "p"
    first = folder / "f00.py"
    times = first.stat()
    first.write_text(first.read_text().replace("return", "yield "))
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "yield" in read(source, "o", cache=cache).files[0].tokens
    first.unlink()
    assert read(source, "o", cache=cache).files[0].path == "f01.py"
    assert len(list((cache / "corpus").iterdir())) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:100] + bytes([raw[100] ^ 1]) + raw[101:],
        lambda raw: b"",
        lambda raw: raw.split(b"\n", 1)[1],
        lambda raw: b"fedcode-store/0" + raw[15:],
    ],
)
def test_a_damaged_cache_is_noticed(folder, tmp_path, damage):
    source, cache = f"path:{folder}", tmp_path / "cache"
    read(source, "o", cache=cache)
    (file,) = (cache / "corpus").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CacheDamaged, match=file.name) as caught:
        read(source, "o", cache=cache)
    assert "delete" in caught.value.hint


def test_a_file_that_changes_while_it_is_read_is_not_kept(folder, tmp_path, monkeypatch):
    digest = reading._digest
    target = (folder / "f05.py").read_bytes()

    def change(data):
        if data == target:
            (folder / "f05.py").write_text("changed = 1")
        return digest(data)

    monkeypatch.setattr(reading, "_digest", change)
    corpus = read(f"path:{folder}", "o", cache=tmp_path / "cache")
    assert corpus.files[5].tokens[0] == "changed"
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(folder, tmp_path):
    (tmp_path / "cache").write_text("a file, where a folder should be")
    assert len(read(f"path:{folder}", "o", cache=tmp_path / "cache").files) == 70


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FEDCODE_CACHE")
    assert cache_folder().name == "fedcode"
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/fedcode")


PINNED = {
    "celery": (148, 208_179),
    "dask": (123, 320_356),
    "docutils": (128, 219_749),
    "networkx": (281, 334_568),
    "nltk": (292, 558_224),
    "twisted": (405, 604_582),
    "marshmallow": (13, 22_478),
    "mkdocs": (30, 38_831),
    "paramiko": (46, 83_524),
    "boltons": (29, 67_402),
    "fsspec": (43, 88_011),
    "hypothesis": (95, 173_588),
}


@pytest.mark.skipif("FEDCODE_WHEELS" not in os.environ, reason="FEDCODE_WHEELS names no wheels")
def test_the_pinned_wheels_give_the_published_counts():
    folder = Path(os.environ["FEDCODE_WHEELS"])
    corpora = [
        read(f"wheel:{next(folder.glob(f'{name}-*.whl'))}", name, workers=2) for name in PINNED
    ]
    distinct = distinct_files(corpora)
    assert {c.name: (len(c.files), c.lexer_tokens) for c in distinct} == PINNED
    sides = [split(corpus, 20) for corpus in distinct[:6]]
    assert sum(train.lexer_tokens for train, _ in sides) == 2_169_583
    assert sum(heldout.lexer_tokens for _, heldout in sides) == 76_075
