# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Python's lexer tokens, normalized.

Comments, blank lines and the end marker are left out; indentation and line ends, long strings and
long numbers become placeholders. An f-string is one string, as it was to Python 3.11's lexer, so
that every Python version gives the same tokens.
"""

from __future__ import annotations

import io
import keyword
import token
import tokenize
from collections.abc import Iterator

from fedcode.corpus.language import DEDENT, INDENT, NEWLINE, NUMBER, STRING, Lexed
from fedcode.errors import CorpusError

LONGEST_STRING = 15
LONGEST_NUMBER = 4

_DROPPED = frozenset({token.COMMENT, token.NL, token.ENDMARKER, token.ENCODING})
_FIXED = {token.INDENT: INDENT, token.DEDENT: DEDENT, token.NEWLINE: NEWLINE}
# Python 3.12 took f-strings apart, Python 3.14 added t-strings.
_OPENING = frozenset({getattr(token, "FSTRING_START", -1), getattr(token, "TSTRING_START", -1)})
_CLOSING = frozenset({getattr(token, "FSTRING_END", -1), getattr(token, "TSTRING_END", -1)})


def lex(text: str) -> Lexed:
    r"""The normalized tokens of a Python text whose lines end in ``\n``.

    Raises:
        CorpusError: the text is not made of Python tokens.
    """
    tokens: list[str] = []
    lines: list[int] = []
    try:
        for info in _joined(tokenize.generate_tokens(io.StringIO(text).readline), text):
            if info.type not in _DROPPED:
                tokens.append(_FIXED.get(info.type) or _shortened(info.type, info.string))
                lines.append(info.start[0])
    except tokenize.TokenError as error:
        raise CorpusError(f"not tokenizable from line {error.args[1][0]}") from error
    except SyntaxError as error:
        raise CorpusError(f"not tokenizable from line {error.lineno}") from error
    return Lexed(tuple(tokens), tuple(lines))


def _shortened(kind: int, text: str) -> str:
    if kind == token.STRING and (len(text) > LONGEST_STRING or "\n" in text):
        return STRING
    if kind == token.NUMBER and len(text) > LONGEST_NUMBER:
        return NUMBER
    return text


def _joined(
    infos: Iterator[tokenize.TokenInfo],
    text: str,
    opening: frozenset[int] = _OPENING,
    closing: frozenset[int] = _CLOSING,
) -> Iterator[tokenize.TokenInfo]:
    """Puts the parts of every f-string together again, nested ones included."""
    depth = 0
    start = (0, 0)
    rows: list[str] = []
    for info in infos:
        if info.type in opening:
            if depth == 0:
                start = info.start
            depth += 1
        elif info.type in closing:
            depth -= 1
            if depth == 0:
                rows = rows or text.split("\n")
                whole = _between(rows, start, info.end)
                yield tokenize.TokenInfo(token.STRING, whole, start, info.end, info.line)
        elif depth == 0:
            yield info


def _between(rows: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    picked = rows[start[0] - 1 : end[0]]
    picked[-1] = picked[-1][: end[1]]
    picked[0] = picked[0][start[1] :]
    return "\n".join(picked)


def is_identifier(text: str) -> bool:
    """Whether a token is a name: a soft keyword such as ``match`` is, a placeholder is not."""
    return text.isidentifier() and not keyword.iskeyword(text)
