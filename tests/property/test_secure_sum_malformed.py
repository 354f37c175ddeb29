# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever arrives: it is refused in bounded time and memory, and the sum goes on."""

import importlib.util
import random
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from functools import lru_cache
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from mutations import LENGTH, Target, changed_bytes, changed_meaning

from fedcode.errors import WireError
from fedcode.secure_sum import checks
from fedcode.wire import decode, signatures

enough = settings(deadline=None, derandomize=True, max_examples=100)


@pytest.fixture(scope="module")
def target():
    return Target()


@pytest.fixture
def quick(monkeypatch):
    """Signatures of the same bytes are verified once."""
    monkeypatch.setattr(signatures, "signed", lru_cache(4096)(signatures.signed))
    monkeypatch.setattr(checks, "usable", lru_cache(4096)(checks.usable))


def attempts(target, number, seed=0):
    """So many changed messages: what became of them."""
    draw, found = random.Random(seed), Counter()
    steps = [*target.members, *target.coordinators]
    for _ in range(number):
        data, _, own = draw.choice(target.messages)
        if draw.random() < 0.5:
            sent = changed_bytes(data, draw)
        else:
            sent = changed_meaning(data, draw, draw.choice(target.messages)[0])
        step = own if draw.random() < 0.8 else draw.choice(steps)
        found[target.receive(sent, step)] += 1
    return found


def test_the_messages_are_taken_as_they_are(target) -> None:
    """Otherwise nothing below would say anything."""
    np.testing.assert_array_equal(target.total, target.expected)
    assert len(target.messages) == 9
    for data, _, step in target.messages:
        assert target.receive(data, step) == "taken"


@pytest.mark.usefixtures("quick")
def test_five_thousand_changed_messages(target) -> None:
    found = attempts(target, 5000)
    assert found["unread"] > 1000
    assert found["refused"] > 500


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_a_million_changed_messages(target, part) -> None:
    start = time.perf_counter()
    found = attempts(target, 50_000, seed=1 + part)
    assert found["refused"] > 5000
    assert time.perf_counter() - start < 300


def test_every_byte_of_every_message_counts(target) -> None:
    """Each byte changed in one way: never taken."""
    for data, _, step in target.messages:
        for place in range(0, len(data), 3):
            changed = bytearray(data)
            changed[place] ^= 1
            assert target.receive(bytes(changed), step) in ("unread", "refused", "nothing")


def test_a_refused_message_is_no_step(target) -> None:
    """After a thousand refusals the same half still takes the message that it waits for."""
    draw = random.Random(5)
    for data, side, step in target.messages:
        half = (target.members if side == "member" else target.coordinators)[step]
        before = target.receive(data, step)
        for _ in range(100):
            target.receive(changed_bytes(data, draw), step)
        assert before == target.receive(data, step) == "taken"
        assert half is not None


@enough
@given(st.binary(max_size=400), st.sampled_from([*"PURKBSDMLCAV"]))
def test_any_bytes(data, kind) -> None:
    size = len(data).to_bytes(4, "big")
    for sent in (data, b"fedcode/1" + kind.encode() + size + data):
        with pytest.raises(WireError):
            decode(sent, weights=0, length=0)


# Memory: tests/property/test_wire.py has the longest messages that are good.

FILLINGS = {
    "lists": b"[],",
    "objects": b"{},",
    "pairs": b'{"":0},',
    "nested": b"[[[[[]]]]],",
    "numbers": b"-6,",
    "fractions": b"1.5,",
    "texts": b'"ab",',
    "escapes": b"\\ud83d\\ude00",
    "names": b'"m000",',
    "long": b"7" * 1000,
    "deep": b'{"":',
    "brackets": b"[",
    "quotes": b'"a":',
}
MARKS = "PURKBSDMLCAV"
MIB = 1 << 20


def peak(data, length):
    """The most memory that reading takes, in bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(data, weights=length, length=length)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filling", FILLINGS)
def test_no_header_takes_more_than_a_mebibyte(filling) -> None:
    from fedcode.wire.codec import _BY_MARK

    for mark in MARKS:
        most = _BY_MARK[mark.encode()].most
        for start, end in ((b'{"a":[', b"1]}"), (b'{"a":"', b'"}'), (b"", b"")):
            body = FILLINGS[filling] * ((most - 10) // len(FILLINGS[filling]))
            header = start + body + end
            numbers = bytes(4) if mark in "PUM" else b""
            data = b"fedcode/1" + mark.encode() + len(header).to_bytes(4, "big") + header + numbers
            assert peak(data, 1) < MIB, (mark, filling)


@pytest.mark.parametrize("mark", MARKS)
def test_a_header_that_says_it_is_long_takes_nothing(mark) -> None:
    for size in (1 << 18, 1 << 31, (1 << 32) - 1):
        assert peak(b"fedcode/1" + mark.encode() + size.to_bytes(4, "big") + b"{}", 1) < 100_000
    many = b"fedcode/1" + mark.encode() + (1 << 18).to_bytes(4, "big") + b"[" * (1 << 18)
    assert peak(many, 1) < 100_000


@pytest.mark.parametrize(("mark", "share"), [("P", 1.3), ("U", 1.3), ("M", 0.1)])
def test_a_payload_is_held_once_more_at_most(mark, share) -> None:
    """Though it is refused in the end: one number is not finite, or a key is missing."""
    import hashlib
    import json

    numbers = np.ones(2_000_000, np.float32)
    name = {"P": "weights"}.get(mark, "payload")
    header = json.dumps(
        {name: hashlib.sha256(numbers.tobytes()).hexdigest()}, separators=(",", ":")
    ).encode()
    start = b"fedcode/1" + mark.encode() + len(header).to_bytes(4, "big")
    assert peak(start + header + numbers.tobytes(), numbers.size) < share * numbers.nbytes + MIB


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris is not installed")
def test_a_fuzzer_that_follows_the_code_finds_nothing(tmp_path) -> None:
    """libFuzzer with coverage of codec and both halves; a crash ends it with another code."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, here / "fuzz_secure_sum.py", f"-artifact_prefix={tmp_path}/",
         "-runs=500000", "-max_total_time=240", "-timeout=10", "-rss_limit_mb=2048",
         "-max_len=6000", "-seed=1"],
        capture_output=True, text=True, timeout=500, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr
    assert not list(tmp_path.glob("crash-*"))


assert LENGTH == 4
