# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Python: its encoding, its tokens by :mod:`~fedcode.corpus.languages.indentation`, its tree."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from fedcode.corpus.language import Function, Reading
from fedcode.corpus.languages.indentation import Block, Lexed, lex, prose
from fedcode.corpus.syntax import (
    Grammar,
    Outline,
    encoded,
    first_error,
    named,
    parsed,
    written_lines,
)
from fedcode.errors import CorpusError

QUERY = """
(decorated_definition definition: (function_definition)) @function
(function_definition name: (_) @d parameters: (_) @parameters) @function
(class_definition name: (_) @d) @scope
(type_alias_statement left: (_) @d)

(call function: [(identifier) @c (attribute attribute: (_) @c)])

(if_statement) @if
(elif_clause) @if @chained
(for_statement) @for
(while_statement) @while
(match_statement) @switch
(case_clause) @case
(try_statement) @try
(except_clause) @catch
(finally_clause) @finally
(with_statement) @with
(raise_statement) @throw
(return_statement) @return
(break_statement) @break
(continue_statement) @continue
(assert_statement) @assert
(yield) @yield
(conditional_expression) @ternary
[(assignment right: (_)) (augmented_assignment) (named_expression)] @assignment
(comment) @comment
(expression_statement . (string) @comment .)
"""

_LONGEST_LINE = 1000
"""Python's own parser may take minutes to say what is wrong in a line of many brackets."""

GRAMMAR = Grammar("tree_sitter_python", QUERY, angles=False)


class Python:
    """Python. Where tree-sitter sees an error, Python's own parser has the last word."""

    name = "python"

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

    def read(self, text: str) -> Reading:
        """See :class:`fedcode.corpus.language.Language`."""
        data = encoded(text)
        tree = parsed(GRAMMAR, data)
        line = first_error(tree)
        error = _error(text, line) if line else None
        outline = Outline(GRAMMAR, tree, data)
        lexed = None
        if error is None:
            try:
                lexed = lex(text)
            except CorpusError as bad:
                error = bad
        if lexed is None or error is not None:
            return _pieces(text, outline, error)
        return _whole(text, data, outline, lexed)

    def prose(self, text: str) -> Iterator[tuple[int, int]]:
        """See :class:`fedcode.corpus.language.Language`."""
        return prose(text)


PYTHON = Python()


def _error(text: str, line: int) -> CorpusError | None:
    """What is wrong with a text, if anything is."""
    if max(map(len, text.split("\n"))) > _LONGEST_LINE:
        return CorpusError(f"syntax error in line {line}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is its author's business
            ast.parse(text)
    except SyntaxError as error:
        return CorpusError(f"syntax error in line {error.lineno or 1}")
    except (RecursionError, MemoryError):
        return CorpusError("nested too deeply")
    return None


def _whole(text: str, data: bytes, outline: Outline, lexed: Lexed) -> Reading:
    rows = text.split("\n") if len(text) == len(data) else data.split(b"\n")
    ends = [0, *accumulate(map(len, rows))]  # a function has its lines for itself
    written = written_lines(text)
    spans = [
        (ends[block.first - 1] + block.first - 1, ends[block.last] + block.last)
        for block in lexed.functions
    ]
    functions = tuple(
        _function(block, written[block.last] - written[block.first - 1], outline, *span)
        for block, span in zip(lexed.functions, spans, strict=True)
    )
    return Reading(
        tokens=lexed.tokens,
        functions=functions,
        lines=written[-1] - sum(f.lines for f in functions),
        ast=outline.rest(spans),
        found=len(functions),
        broken=False,
        places=lexed.lines,
    )


def _pieces(text: str, outline: Outline, error: CorpusError | None) -> Reading:
    """What can be read of a text with an error: functions without one, each for itself."""
    spans = outline.spans(named)
    rows = text.split("\n")
    tokens: list[str] = []
    places: list[int] = []
    functions: list[Function] = []
    for span in spans:
        own = "\n".join(rows[span.first - 1 : span.last])
        try:
            lexed = lex(own) if span.sound else None
        except CorpusError:
            continue
        if lexed is None or len(lexed.functions) != 1:
            continue
        (block,) = lexed.functions
        block = replace(
            block,
            name=span.name,
            start=block.start + len(tokens),
            stop=block.stop + len(tokens),
            first=span.first,
            last=span.first + block.last - 1,
        )
        lines = sum(bool(row.strip()) for row in rows[block.first - 1 : block.last])
        functions.append(_function(block, lines, outline, span.start, span.stop))
        tokens += lexed.tokens
        places += [line + span.first - 1 for line in lexed.lines()]
    if not functions:
        raise error or CorpusError("syntax error")
    return Reading(
        tokens=tuple(tokens),
        functions=tuple(functions),
        lines=0,
        ast=(),
        found=len(spans),
        broken=True,
        places=lambda: tuple(places),
    )


def _function(block: Block, lines: int, outline: Outline, start: int, stop: int) -> Function:
    more = outline.details(start, stop)
    return Function(
        name=block.name,
        start=block.start,
        stop=block.stop,
        first=block.first,
        last=block.last,
        lines=lines,
        ast=more.ast,
        metrics=more.metrics,
        comments=more.comments,
    )
