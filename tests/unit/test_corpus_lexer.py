# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import token
from tokenize import TokenInfo

import pytest

from fedcode.corpus import PLACEHOLDERS, is_identifier
from fedcode.corpus.languages.indentation import lex
from fedcode.errors import CorpusError
from tests.unit.python_oracle import _joined
from tests.unit.python_oracle import lex as lex_by_tokenize

GOLDEN = [
    ("x = 1  # one\n", "x = 1 <NL>"),
    ("\n\n# only a comment\n\n", ""),
    ("if x:\n\n    # y\n    y\nz\n", "if x : <NL> <IN> y <NL> <DE> z <NL>"),
    ("f(a,\n  b)", "f ( a , b ) <NL>"),
    ("x = 9999 + 12345 + 1.50 + 1e-10", "x = 9999 + <NUM> + 1.50 + <NUM> <NL>"),
    ("s = '1234567890123'", "s = '1234567890123' <NL>"),
    ("s = '12345678901234'", "s = <STR> <NL>"),
    ("s = '''\n'''", "s = <STR> <NL>"),
    ("s = 'a\\\nb'", "s = <STR> <NL>"),
    ("s = f'{x}' f'{ f(x) !r:>{width}}'", "s = f'{x}' <STR> <NL>"),
    ('s = rf"""{\nx}"""', "s = <STR> <NL>"),
    ("a -> b := c ... @= //=\n", "a -> b := c ... @= //= <NL>"),
    ("naïve = größe\n", "naïve = größe <NL>"),
    ("x = \\\n  1\n", "x = 1 <NL>"),
]


@pytest.mark.parametrize(("text", "tokens"), GOLDEN)
def test_golden(text, tokens):
    assert lex(text).tokens == tuple(tokens.split())
    assert lex_by_tokenize(text).tokens == tuple(tokens.split())


def test_a_token_knows_the_line_it_starts_in():
    lexed = lex('x = """\n\n"""\n\nif x:\n    y\n')
    assert list(zip(lexed.tokens, lexed.lines(), strict=True)) == [
        ("x", 1), ("=", 1), ("<STR>", 1), ("<NL>", 3),
        ("if", 5), ("x", 5), (":", 5), ("<NL>", 5),
        ("<IN>", 6), ("y", 6), ("<NL>", 6), ("<DE>", 7),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["f(", '"""', "  x\n y\n", "if x:\n        y\n    z\n"])
def test_what_is_not_tokenizable(text):
    with pytest.raises(CorpusError, match="not tokenizable"):
        lex(text)


def test_fstrings_that_come_in_parts_are_put_together():
    """As Python 3.12 and later give them: x = f'{y:{f"{z}"}}' + 1."""
    text = "x = f'{y:{f\"{z}\"}}' + 1\n"
    start, end = 900, 901
    parts = [
        (token.NAME, 0, 1), (token.OP, 2, 3),
        (start, 4, 6), (token.OP, 6, 7), (token.NAME, 7, 8), (token.OP, 8, 9), (token.OP, 9, 10),
        (start, 10, 12), (token.OP, 12, 13), (token.NAME, 13, 14), (token.OP, 14, 15),
        (end, 15, 16), (token.OP, 16, 17), (token.OP, 17, 18), (end, 18, 19),
        (token.OP, 20, 21), (token.NUMBER, 22, 23),
    ]  # fmt: skip
    infos = [TokenInfo(k, text[a:b], (1, a), (1, b), text) for k, a, b in parts]
    joined = list(_joined(iter(infos), text, frozenset({start}), frozenset({end})))
    assert [i.string for i in joined] == ["x", "=", "f'{y:{f\"{z}\"}}'", "+", "1"]
    assert joined[2].type == token.STRING


def test_an_fstring_over_several_lines_is_put_together():
    text = "f'''{x\n}é'''\n"
    infos = [
        TokenInfo(900, "f'''", (1, 0), (1, 4), text),
        TokenInfo(token.NAME, "x", (1, 5), (1, 6), text),
        TokenInfo(901, "'''", (2, 2), (2, 5), text),
    ]
    (whole,) = _joined(iter(infos), text, frozenset({900}), frozenset({901}))
    assert whole.string == text.rstrip("\n")


def test_identifiers():
    assert all(map(is_identifier, ["x", "_", "naïve", "match", "type", "self"]))
    assert not any(map(is_identifier, ["if", "None", "1", "'x'", "+", "", *PLACEHOLDERS]))
