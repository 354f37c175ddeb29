# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Lexer tokens as a line that a person would type."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fedcode.corpus.language import DEDENT, INDENT, NEWLINE, NUMBER, STRING

_SHOWN = {STRING: '"…"', NUMBER: "0", INDENT: "", DEDENT: "", NEWLINE: "\n"}
_CLOSED = frozenset({")", "]", "}", ",", ";", ":", "."})
"""Nothing stands between these and what is before them."""
_OPEN = frozenset({"(", "[", "{", ".", "@", "~", "!"})
"""Nothing stands between these and what is after them."""
_CALLED = re.compile(r"[\w)\]]+")
_WORDS = frozenset(
    {"and", "as", "assert", "await", "case", "catch", "elif", "else", "except", "for", "from", "if"}
    | {"import", "in", "is", "lambda", "not", "or", "raise", "return", "switch", "while", "with"}
    | {"yield"}
)


def spelled(tokens: Sequence[str]) -> str:
    """The line; white space within it is a guess."""
    line, before = "", ""
    for token in tokens:
        text = _SHOWN.get(token, token)
        called = token in "([" and bool(_CALLED.fullmatch(before)) and before not in _WORDS
        apart = not line or line.endswith("\n") or before in _OPEN or token in _CLOSED or called
        line += text if apart or not text.strip() else f" {text}"
        before = token
    return line.strip(" ")
