# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Python by the interpreter's own ``tokenize`` and ``ast``: what our reader is held to."""

from __future__ import annotations

import ast
import io
import token
import tokenize
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from fedcode.corpus.language import DEDENT, INDENT, NEWLINE, NUMBER, STRING
from fedcode.errors import CorpusError

LONGEST_STRING = 15
LONGEST_NUMBER = 4

_DROPPED = frozenset({token.COMMENT, token.NL, token.ENDMARKER, token.ENCODING})
_FIXED = {token.INDENT: INDENT, token.DEDENT: DEDENT, token.NEWLINE: NEWLINE}
# Python 3.12 took f-strings apart, Python 3.14 added t-strings.
_OPENING = frozenset({getattr(token, "FSTRING_START", -1), getattr(token, "TSTRING_START", -1)})
_CLOSING = frozenset({getattr(token, "FSTRING_END", -1), getattr(token, "TSTRING_END", -1)})


@dataclass(frozen=True, slots=True)
class Lexed:
    """Tokens, and the line from 1 that each starts in."""

    tokens: tuple[str, ...]
    lines: tuple[int, ...]


def lex(text: str) -> Lexed:
    r"""The normalized tokens of a Python text whose lines end in ``\n``.

    Raises:
        CorpusError: the text is not made of Python tokens.
    """
    if text.rpartition("\n")[2].isspace():
        text += "\n"  # Python 3.11 does not count a last line of blanks that has no end
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


_Definition = ast.FunctionDef | ast.AsyncFunctionDef


def functions(text: str, lexed: Lexed) -> list[tuple[str, int, int, int, int, int]]:
    """Name, start, stop, first line, last line and non-blank lines of the outermost functions."""
    written = [0, *accumulate(bool(line.strip()) for line in text.split("\n"))]
    times: Counter[str] = Counter()
    found = []
    for name, node in _outermost(_parsed(text)):
        times[name] += 1
        unique = name if times[name] == 1 else f"{name}#{times[name]}"
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        start = _start(lexed, first, decorated=bool(node.decorator_list))
        last = node.end_lineno or node.lineno
        lines = written[last] - written[first - 1]
        found.append((unique, start, _stop(lexed.tokens, start), first, last, lines))
    return found


def _parsed(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is its author's business
            return ast.parse(text)
    except SyntaxError as error:
        raise CorpusError(f"syntax error in line {error.lineno or 1}") from error
    except ValueError as error:
        raise CorpusError("holds characters that no source text can") from error
    except (RecursionError, MemoryError) as error:
        raise CorpusError("nested too deeply") from error


def _outermost(tree: ast.Module) -> Iterator[tuple[str, _Definition]]:
    """Functions that no other function holds, in source order, with their classes' names.

    Without recursion: a long chain of ``elif`` would pass its limit.
    """
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        inside, node = waiting.pop()
        if isinstance(node, _Definition):
            yield inside + node.name, node
            continue
        if isinstance(node, ast.ClassDef):
            inside = f"{inside}{node.name}."
        parts = [
            part
            for block in ("body", "handlers", "cases", "orelse", "finalbody")
            for part in _statements(getattr(node, block, ()))
        ]
        waiting.extend((inside, part) for part in reversed(parts))


def _statements(block: object) -> list[ast.AST]:
    """A block's statements; a lambda's body is an expression, not a block."""
    return block if isinstance(block, list) else []


def _start(lexed: Lexed, line: int, *, decorated: bool) -> int:
    """Index of the first token of the definition that starts in ``line``.

    The indentation before it belongs to its surroundings. ``ast`` gives a decorator's line after
    its ``@``, which may stand one line above.
    """
    index = bisect_left(lexed.lines, line)
    while lexed.tokens[index] in (INDENT, DEDENT):
        index += 1
    if decorated and lexed.tokens[index] != "@":
        index -= 1
    return index


def _stop(tokens: tuple[str, ...], start: int) -> int:
    """Index after the definition at ``start``: after its line, or its indented block."""
    index = start
    while tokens[index] == "@":
        index = tokens.index(NEWLINE, index) + 1
    index = tokens.index(NEWLINE, index) + 1
    if index == len(tokens) or tokens[index] != INDENT:
        return index
    depth = 0
    while True:
        depth += (tokens[index] == INDENT) - (tokens[index] == DEDENT)
        index += 1
        if depth == 0:
            return index
