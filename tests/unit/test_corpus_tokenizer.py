# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcode.corpus import PAD, PLACEHOLDERS, SMALLEST, SPECIAL, Subwords, parse
from fedcode.errors import CorpusError

TEXT = '''
def count(words, wanted):
    """How often a wanted word stands there."""
    return sum(word == wanted for word in words) + 123456


class Counter:
    def count_all(self, words, mark='a b'):
        return {word: count(words, word) for word in words if word != mark}
'''

PROGRAM = f"""
from fedcode.corpus import Subwords, parse
print(Subwords.train([parse("a.py", {TEXT!r}), parse("b.py", "x = 'naïve'")], 300).digest)
"""


@pytest.fixture(scope="module")
def files():
    return [parse("a.py", TEXT), parse("b.py", "x = 'naïve'")]


@pytest.fixture(scope="module")
def subwords(files):
    return Subwords.train(files, 300)


def test_text_comes_back(files, subwords):
    for file in files:
        assert subwords.decode(subwords.encode(file.tokens)) == list(file.tokens)


TOKENS = st.text(
    st.characters(codec="utf-8") | st.sampled_from(" \x1fĠÿłé"), min_size=1
) | st.sampled_from([*PLACEHOLDERS, "'<STR>'", "<pad>"])


@settings(deadline=None)
@given(st.lists(TOKENS))
def test_any_tokens_come_back(subwords, tokens):
    pieces = subwords.encode(tokens)
    assert subwords.decode(pieces) == tokens
    assert subwords.ends[pieces].sum() == len(tokens)
    assert PAD not in pieces
    assert pieces.dtype == np.int32


def test_no_piece_crosses_a_lexer_token(files, subwords):
    for token in files[0].tokens:
        ends = subwords.ends[subwords.encode([token])]
        assert ends[-1]
        assert not ends[:-1].any()


def test_frequent_tokens_are_one_piece_and_placeholders_always(subwords):
    assert len(subwords.encode(["words"])) == 1
    assert [SPECIAL[i] for i in subwords.encode(PLACEHOLDERS)] == list(PLACEHOLDERS)
    assert SPECIAL[PAD] == "<pad>"
    assert not subwords.ends[PAD]


def test_many_at_once_are_what_each_is_alone(files, subwords):
    sequences = [files[0].tokens, (), ("never_seen_before", "x")]
    fresh = Subwords.from_json(subwords.to_json())
    for tokens, pieces in zip(sequences, subwords.encode_many(sequences), strict=True):
        assert pieces.tolist() == fresh.encode(tokens).tolist()


def test_padding_and_broken_pieces_decode_to_something(subwords):
    pieces = subwords.encode(["é"])
    assert subwords.decode([PAD, *pieces, PAD, PAD]) == ["é"]
    assert subwords.decode(subwords.encode(["words", "zz"])[:-1]) == ["words", "zz"]  # no end yet
    assert subwords.decode([pieces[0]]) == ["\ufffd"]
    assert subwords.decode([]) == []


def test_the_same_files_give_the_same_vocabulary_in_any_process(subwords):
    command = [sys.executable, "-c", PROGRAM]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert runs == [subwords.digest] * 2


def test_other_files_give_another_vocabulary(files, subwords):
    assert Subwords.train(files[1:], 300).digest != subwords.digest
    assert Subwords.train(files, 299).digest != subwords.digest


def test_sizes(files, subwords):
    assert subwords.size == len(subwords.ends) == 300
    assert SMALLEST < Subwords.train(files[1:], 5000).size < 300
    assert Subwords.train([], SMALLEST).size == SMALLEST
    with pytest.raises(CorpusError, match="too small"):
        Subwords.train(files, SMALLEST - 1)


def test_json_is_the_whole_of_it(subwords, files):
    again = Subwords.from_json(subwords.to_json())
    assert (again.digest, again.to_json()) == (subwords.digest, subwords.to_json())
    assert again.encode(files[0].tokens).tolist() == subwords.encode(files[0].tokens).tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(format="other"),
        lambda c: c.update(extra=1),
        lambda c: c.pop("merges"),
        lambda c: c["pieces"].pop(0),
        lambda c: c["pieces"].append(c["pieces"][0]),
        lambda c: c["pieces"].append("not a letter"),
        lambda c: c["pieces"].append(""),
        lambda c: c["pieces"].append(1),
        lambda c: c["merges"].append(["q", "qqqq"]),
        lambda c: c["merges"].append(["q"]),
    ],
)
def test_json_of_something_else_is_refused(subwords, change):
    content = json.loads(subwords.to_json())
    change(content)
    with pytest.raises(CorpusError, match="not a vocabulary"):
        Subwords.from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "[]", "null", '"x"'])
def test_what_is_no_json_of_ours_is_refused(text):
    with pytest.raises(CorpusError, match="not a vocabulary"):
        Subwords.from_json(text)
