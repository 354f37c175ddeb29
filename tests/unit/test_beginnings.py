# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where somebody writes, a text ends in the midst of a line, of a block, of brackets."""

import pytest

from fedcode.corpus import parse
from fedcode.corpus.beginnings import tokens_until
from fedcode.errors import CorpusError
from fedcode.use.spelling import spelled

WHOLE = """\
import os


class Reader:
    def read(self, path, limit=3):
        '''What it
        says.'''
        found = [os.path.join(path, str(one)) for one in range(limit)]  # a comment (
        if found and {"a": (1, 2)}:
            return found[0]
        return None
"""


def test_every_beginning_of_a_text_has_the_first_tokens_of_the_whole() -> None:
    whole = parse("a.py", WHOLE).tokens
    read = 0
    for end in range(len(WHOLE) + 1):
        text = WHOLE[:end]
        if end < len(WHOLE) and WHOLE[end - 1 : end + 1].isalnum():
            continue  # a name would be another one
        try:
            tokens = tokens_until("a.py", text)
        except CorpusError:
            continue  # within a string
        read += 1
        # a last name, number or operator may be a part of another one
        kept = [max(0, len(tokens) - unsure) for unsure in (1, 2)]
        assert any(tokens[:n] == whole[:n] for n in kept), text
    assert read > 140, "only what ends within a string is refused"


def test_an_open_string_is_refused() -> None:
    with pytest.raises(CorpusError, match="no Python"):
        tokens_until("a.py", "x = 'abc")


def test_the_end_of_a_line_is_a_token_only_if_it_was_typed() -> None:
    assert tokens_until("a.py", "x = f(1)") == ("x", "=", "f", "(", "1", ")")
    assert tokens_until("a.py", "x = f(1)\n") == ("x", "=", "f", "(", "1", ")", "<NL>")
    assert tokens_until("a.py", "x = f(1,\n") == ("x", "=", "f", "(", "1", ",")


def test_languages_with_braces_need_no_end() -> None:
    text = "int f(int a) {\r\n  if (a > 1) return g(a, "
    assert tokens_until("a.c", text)[-4:] == ("g", "(", "a", ",")
    assert tokens_until("a.kt", "fun f() = g(")[-2:] == ("g", "(")


def test_a_file_of_no_language_is_refused() -> None:
    with pytest.raises(CorpusError, match="no language"):
        tokens_until("a.txt", "x")


@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (
            ("self", ".", "x", "=", "f", "(", "a", ",", "b", "[", "0", "]", ")"),
            "self.x = f(a, b[0])",
        ),
        (("if", "(", "a", "<", "<NUM>", ")"), "if (a < 0)"),
        (("return", "[", "<STR>", "]"), 'return ["…"]'),
        (("<NL>", "<IN>", "pass"), "\npass"),
    ],
)
def test_tokens_become_a_line(tokens, line) -> None:
    assert spelled(tokens) == line
