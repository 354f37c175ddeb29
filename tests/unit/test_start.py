# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Start files: what was written is read, by digest; everything else is refused in one way."""

import hashlib
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from starts import FILES, corpus, start
from test_agreement import FEDERATION, ROSTER, agreement

from fedcode.corpus import deduplicate, digest_of, parse, read_public, save_public, without
from fedcode.corpus import public as public_module
from fedcode.errors import ConfigError, CorpusError, RunError
from fedcode.identity import Roster
from fedcode.record import Corpus
from fedcode.start import Start, expected_agreement

# A task's start.


def test_a_start_is_read_as_it_was_written(tmp_path) -> None:
    made = start()
    path = made.save(tmp_path)
    assert path.name == "completion.safetensors"
    found = Start.load(path)
    assert (found.task, found.settings) == ("completion", {"hidden": 8})
    assert (found.fingerprint, found.public) == ("0f" * 32, "1e" * 32)
    np.testing.assert_array_equal(found.weights, made.weights)
    np.testing.assert_array_equal(found.frozen["embedding.weight"], np.ones((2, 3)))
    assert found.digest == made.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_part_is_in_the_digest() -> None:
    changed = [
        start(),
        start(task="defects"),
        start(settings={"hidden": 9}),
        start(fingerprint="00" * 32),
        start(public="00" * 32),
        start(weights=np.ones(4, np.float32)),
        start(weights=np.arange(5, dtype=np.float32)),
        start(frozen={}),
        start(frozen={"other": np.ones((2, 3), np.float32)}),
        start(frozen={"embedding.weight": np.ones((3, 2), np.float32)}),
    ]
    assert len({one.digest for one in changed}) == len(changed)
    assert start().digest == start().digest


def with_header(content, change):
    """The file with another header."""
    size = struct.unpack("<Q", content[:8])[0]
    header = change(json.loads(content[8 : 8 + size]))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def metadata(**changes):
    def change(header):
        own = json.loads(header["__metadata__"]["fedcode"]) | changes
        return header | {"__metadata__": {"fedcode": json.dumps(own)}}

    return change


def tensor(name, **changes):
    return lambda header: header | {name: header[name] | changes}


@pytest.mark.parametrize(
    "change",
    [
        lambda header: [],
        lambda header: {k: v for k, v in header.items() if k != "__metadata__"},
        lambda header: header | {"__metadata__": {}},
        lambda header: header | {"__metadata__": {"fedcode": "[]"}},
        lambda header: header | {"__metadata__": {"fedcode": "{" * 5000}},
        lambda header: header | {"__metadata__": header["__metadata__"] | {"more": ""}},
        lambda header: header | {"weights": 3},
        metadata(form="fedcode/start/2"),
        metadata(more=1),
        metadata(task="../x"),
        metadata(fingerprint="0F" * 32),
        metadata(public=""),
        metadata(weights=3),
        metadata(weights=4.0),
        metadata(settings=[]),
        tensor("weights", shape=[2, 2]),
        tensor("weights", dtype="I32"),
        tensor("weights", dtype="BF16", shape=[8]),
        tensor("weights", shape=[1 << 62]),
        lambda header: {k.replace("frozen/", ""): v for k, v in header.items()},
        lambda header: {k.replace("weights", "others"): v for k, v in header.items()},
    ],
)
def test_another_header_is_refused(change) -> None:
    content = start().content
    assert Start.decode(with_header(content, lambda header: header)).task == "completion"
    with pytest.raises(RunError) as found:
        Start.decode(with_header(content, change))
    assert found.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value) -> None:
    for made in (
        start(weights=np.array([1, value], np.float32)),
        start(frozen={"e": np.array([value], np.float32)}),
    ):
        with pytest.raises(RunError, match="not finite"):
            Start.decode(made.content)


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(RunError, match=r"none\.safetensors cannot be read"):
        Start.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(RunError, match=r"bad\.safetensors: this is no start file"):
        Start.load(tmp_path / "bad.safetensors")


# What is agreed on.


def started(**changes):
    return start(settings=dict(FEDERATION.tasks[0].model), **changes)


def test_every_party_computes_the_same_agreement() -> None:
    own = started()
    found = expected_agreement(FEDERATION.published(), "completion", own, ROSTER)
    assert found == expected_agreement(FEDERATION, "completion", own, ROSTER)
    assert (found.start, found.weights) == (own.digest, 4)
    same = ("federation", "purpose", "rounds", "epsilon", "training", "server", "aggregation")
    assert all(getattr(found, name) == getattr(agreement(), name) for name in same)
    other = expected_agreement(
        FEDERATION, "completion", started(weights=-np.arange(4, dtype=np.float32)), ROSTER
    )
    assert other.digest() != found.digest()


@pytest.mark.parametrize(
    ("task", "made", "roster"),
    [
        ("nothing", started(), ROSTER),
        ("defects", started(), ROSTER),
        ("completion", start(), ROSTER),
        ("completion", started(), Roster("other", 1, "", "cc" * 32, ROSTER.members)),
        ("completion", started(), Roster("whole", 1, "", "cc" * 32, (("initech", "aa" * 32),))),
    ],
)
def test_what_does_not_belong_together_is_refused(task, made, roster) -> None:
    with pytest.raises(ConfigError):
        expected_agreement(FEDERATION, task, made, roster)


# The public corpus.


def saved(tmp_path, whole):
    path = tmp_path / "public.corpus"
    return path, save_public(path, whole)


def test_the_public_corpus_is_read_as_it_was_written(tmp_path) -> None:
    whole = corpus()
    path, digest = saved(tmp_path, whole)
    found = read_public(path, digest)
    assert found.files == whole.files
    assert digest == digest_of(whole)
    assert found.fingerprint == whole.fingerprint


def test_so_is_one_without_what_stands_elsewhere(tmp_path) -> None:
    """Its files have tokens of records that are gone, and records that are runs of tokens."""
    twice = corpus(FILES | {"e.py": FILES["a.py"] + "\n\ndef three():\n    pass\n"})
    organization = Corpus("acme", (parse("x.py", "def one(x):\n    return x + 1\n"),))
    less = deduplicate([without(twice, [organization])])[0]
    assert len(less.records()) < len(twice.records()) - 1
    path, digest = saved(tmp_path, less)
    assert read_public(path, digest).files == less.files
    assert digest != digest_of(twice)


def test_another_public_corpus_is_refused(tmp_path) -> None:
    path, digest = saved(tmp_path, corpus())
    other = corpus(FILES | {"d.py": "import sys\n"})
    with pytest.raises(RunError, match="not the public corpus that the start files name"):
        read_public(path, digest_of(other))
    content = path.read_bytes()
    for wrong in (content[:-1], content + b"x", content.replace(b"/1", b"/2", 1), b""):
        path.write_bytes(wrong)
        with pytest.raises(RunError, match="is not what was written there"):
            read_public(path, digest)
    with pytest.raises(RunError, match="cannot be read"):
        read_public(tmp_path / "none", digest)


def packed(tmp_path, text, more=b""):
    body = zlib.compress(text) + more
    path = tmp_path / "public.corpus"
    path.write_bytes(b"fedcode-public/1 " + hashlib.sha256(body).hexdigest().encode())
    with path.open("ab") as file:
        file.write(b"\n" + body)
    return path


def lines(*files):
    return b"".join(json.dumps(file).encode() + b"\n" for file in files)


GOOD = ["a.py", "def\none\nx", [["one", 1, [0, 2]], ["<module>", 0, [2, 3]]]]


@pytest.mark.parametrize(
    "file",
    [
        [],
        {},
        5,
        ["a.py", "x"],
        [["a.py"], *GOOD[1:]],
        ["a\n.py", *GOOD[1:]],
        ["a.py", "", []],
        ["a.py", 3, []],
        ["a.py", "x", [["one", 1, [0, 2]]]],
        ["a.py", "x", [["one", 1, [-1, 1]]]],
        ["a.py", "x", [["one", 1, [0, 0]]]],
        ["a.py", "x", [["one", 1, [0]]]],
        ["a.py", "x", [["one", 1, []]]],
        ["a.py", "x", [["one", -1, [0, 1]]]],
        ["a.py", "x", [["one", True, [0, 1]]]],
        ["a.py", "x", [["one", 1, [0, 1.0]]]],
        ["a.py", "x", [[1, 1, [0, 1]]]],
        ["a.py", "x", [["one", 1, [0, 1]], ["two", 1, [0, 1]]]],
        ["a.py", "x\ny", [["one", 1, [0, 1]], ["one", 1, [1, 2]]]],
        ["a.py", "x\ny\nz", [["one", 1, [1, 3, 0, 1]]]],
    ],
)
def test_files_that_cannot_be_are_refused(tmp_path, file) -> None:
    text = lines(GOOD)
    found = read_public(packed(tmp_path, text), hashlib.sha256(text).hexdigest())
    assert [r.tokens for r in found.records()] == [("def", "one"), ("x",)]
    with pytest.raises(RunError, match="is not what was written there"):
        read_public(packed(tmp_path, lines(file)), hashlib.sha256(lines(file)).hexdigest())


@pytest.mark.parametrize(
    "text",
    [
        lines(GOOD, GOOD),
        lines(["b.py", *GOOD[1:]], GOOD),
        lines(GOOD)[:-1],
        lines(GOOD) + b"\n",
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b"1" * 10_000 + b"\n",
    ],
)
def test_texts_that_cannot_be_are_refused(tmp_path, text) -> None:
    with pytest.raises(RunError):
        read_public(packed(tmp_path, text), hashlib.sha256(text).hexdigest())


def test_what_follows_is_refused(tmp_path) -> None:
    text = lines(GOOD)
    with pytest.raises(RunError):
        read_public(packed(tmp_path, text, b"more"), hashlib.sha256(text).hexdigest())


@pytest.mark.parametrize("limit", ["_LARGEST", "_LONGEST", "_MOST_TEXT", "_MOST_TOKENS"])
def test_what_is_too_large_is_neither_read_nor_written(tmp_path, monkeypatch, limit) -> None:
    path, digest = saved(tmp_path, corpus())
    monkeypatch.setattr(public_module, limit, 1)
    with pytest.raises(RunError):
        read_public(path, digest)
    with pytest.raises(CorpusError, match=r"too (large|long) to be sent"):
        save_public(tmp_path / "more.corpus", corpus())
    assert not (tmp_path / "more.corpus").exists()


def test_little_that_unpacks_to_much_costs_little(tmp_path) -> None:
    """A gigabyte of one line is given up after a few megabytes."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(1 << 24)) for _ in range(64)]
    body = b"".join([*pieces, packer.flush()])
    path = tmp_path / "public.corpus"
    path.write_bytes(
        b"fedcode-public/1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    )
    assert len(body) < 2 << 20
    tracemalloc.start()
    with pytest.raises(RunError):
        read_public(path, "0" * 64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20
