# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Start files come from a coordinator: whatever they hold, they are read or refused."""

import hashlib
import json
import sys
import zlib
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from starts import corpus, start

from fedcode.corpus import digest_of, parse, read_public, save_public
from fedcode.errors import RunError
from fedcode.record import Corpus
from fedcode.start import Start

CONTENT = start().content
EDITS = st.lists(
    st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=4
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.text("ab\n", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
)


@given(EDITS)
@settings(max_examples=300, deadline=None)
def test_a_start_with_other_bytes_is_another_or_none(edits) -> None:
    changed = bytearray(CONTENT)
    for place, value in edits:
        changed[place] = value
    try:
        found = Start.decode(bytes(changed))
    except RunError:
        return
    assert np.isfinite(found.weights).all()
    assert (found.digest == start().digest) == (bytes(changed) == CONTENT)


@given(st.binary(max_size=200), st.integers(0, len(CONTENT)))
@example(b"\x00", len(CONTENT) - 2)
@example(b"\x00", len(CONTENT))
@settings(max_examples=200, deadline=None)
def test_what_is_cut_or_made_up_is_no_start(noise, cut) -> None:
    for content in (noise, CONTENT[:cut] + noise):
        if len(content) != len(CONTENT):  # as long, it may be another: see above
            with pytest.raises(RunError):
                Start.decode(content)


def packed(path, text):
    body = zlib.compress(text, 1)
    path.write_bytes(
        b"fedcode-public/1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    )


@given(st.lists(VALUES, max_size=4) | st.tuples(st.just("a.py"), st.just("x\ny"), VALUES))
@settings(max_examples=300, deadline=None)
def test_a_corpus_of_any_json_is_read_or_refused(tmp_path_factory, values) -> None:
    text = json.dumps(values).encode() + b"\n"
    path = tmp_path_factory.mktemp("any") / "public.corpus"
    packed(path, text)
    try:
        found = read_public(path, hashlib.sha256(text).hexdigest())
    except RunError:
        return
    assert sum(len(r.tokens) for r in found.records()) <= found.lexer_tokens


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_a_corpus_of_any_bytes_is_refused(tmp_path_factory, noise) -> None:
    path = tmp_path_factory.mktemp("any") / "public.corpus"
    path.write_bytes(noise)
    with pytest.raises(RunError):
        read_public(path, "0" * 64)
    packed(path, noise + b"\n")
    with pytest.raises(RunError):
        read_public(path, "0" * 64)


NAMES = st.sampled_from(["f", "g", "h"])
FUNCTIONS = st.lists(NAMES, unique=True).flatmap(
    lambda names: st.tuples(
        st.just(names), st.lists(st.sampled_from(["x = 1", "y", "f"]), max_size=2)
    )
)


@given(st.lists(FUNCTIONS, min_size=1, max_size=3), st.sets(st.integers(0, 12)))
@settings(max_examples=100, deadline=None)
def test_a_corpus_with_any_records_removed_comes_back(tmp_path_factory, files, gone) -> None:
    made, number = [], 0
    for place, (names, between) in enumerate(files):
        middle = "\n".join(between)
        text = "z\n" + middle + "\n".join(f"\ndef {n}():\n    return f\n{middle}" for n in names)
        file = parse(f"{place}.py", text)
        kept = []
        for record in file.records:
            if number not in gone:
                kept.append(record)
            number += 1
        made.append(type(file)(file.path, file.tokens, tuple(kept)))
    whole = Corpus("public", tuple(made))
    path = tmp_path_factory.mktemp("any") / "public.corpus"
    digest = save_public(path, whole)
    assert digest == digest_of(whole)
    assert read_public(path, digest).files == whole.files
    assert digest != digest_of(corpus())
