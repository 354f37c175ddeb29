# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Python files: their encoding, and where their functions stand."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from fedcode.corpus import lexer
from fedcode.corpus.language import DEDENT, INDENT, NEWLINE, Function, Lexed
from fedcode.errors import CorpusError

_Definition = ast.FunctionDef | ast.AsyncFunctionDef


class Python:
    """Python, as the running interpreter understands it."""

    def decode(self, data: bytes) -> str:
        """The text, by its byte order mark or encoding declaration (PEP 263), else UTF-8."""
        encoding = "utf-8"
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            return data.decode(encoding)
        except SyntaxError as error:
            raise CorpusError("its encoding is unknown or not as declared") from error
        except (LookupError, ValueError) as error:
            raise CorpusError(f"not decodable as {encoding}") from error

    def lex(self, text: str) -> Lexed:
        """See :func:`fedcode.corpus.lexer.lex`."""
        return lexer.lex(text)

    def functions(self, text: str, lexed: Lexed) -> list[Function]:
        """Every outermost function or method, with its decorators and all that is nested in it.

        A second definition of the same name gets ``#2``.
        """
        written = [0, *accumulate(bool(line.strip()) for line in text.split("\n"))]
        times: Counter[str] = Counter()
        found = []
        for name, node in _outermost(_parsed(text)):
            times[name] += 1
            unique = name if times[name] == 1 else f"{name}#{times[name]}"
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            start = _start(lexed, first, decorated=bool(node.decorator_list))
            lines = written[node.end_lineno or node.lineno] - written[first - 1]
            found.append(Function(unique, start, _stop(lexed.tokens, start), lines))
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
