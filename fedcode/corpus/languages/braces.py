# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What languages with braces have in common."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedcode.corpus.language import Function, Reading
from fedcode.corpus.lexer import lines_of, prose_of, tokens_of
from fedcode.corpus.syntax import (
    Grammar,
    Name,
    Outline,
    Span,
    encoded,
    first_error,
    named,
    parsed,
    written_lines,
)
from fedcode.errors import CorpusError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")


def decoded(data: bytes) -> str:
    """The text, by its byte order mark, else UTF-8, else Latin-1 if that gives characters only.

    Raises:
        CorpusError: it is none of these.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except ValueError as error:
        text = data.decode("latin-1")
        if encoding != "utf-8" or _CONTROL.search(text):
            raise CorpusError(f"not decodable as {encoding.removesuffix('-sig')}") from error
        return text


@dataclass(frozen=True, slots=True)
class Braces:
    """A language whose tokens need nothing but an expression, and whose functions its tree shows.

    Attributes:
        name: what it is called.
        grammar: of its tree.
        lexer: the expression.
        scope: gives the name of a class or the like.
        owner: see :meth:`Outline.spans`.
    """

    name: str
    grammar: Grammar
    lexer: re.Pattern[str]
    scope: Name = named
    owner: Name | None = None

    def decode(self, data: bytes) -> str:
        """See :func:`decoded`."""
        return decoded(data)

    def read(self, text: str) -> Reading:
        """See :class:`fedcode.corpus.language.Language`."""
        data = encoded(text)
        tree = parsed(self.grammar, data)
        error = first_error(tree)
        broken = error > 0
        outline = Outline(self.grammar, tree, data)
        spans = outline.spans(self.scope, self.owner)
        sound = [span for span in spans if span.sound]
        if broken and not sound:
            raise CorpusError(f"syntax error in line {error}")
        tokens: list[str] = []
        parts: list[tuple[int, str]] = []
        functions: list[Function] = []
        written = written_lines(text)
        part = _slices(text, data)
        end, line = 0, 0
        for span in sound:
            if not broken:
                tokens += self._lexed(part(end, span.start), max(line, 1), parts)
            start = len(tokens)
            tokens += self._lexed(part(span.start, span.stop), span.first, parts)
            lines = written[span.last] - written[max(span.first - 1, line)]
            functions.append(_function(span, start, len(tokens), max(lines, 0), outline))
            end, line = span.stop, span.last
        if not broken:
            tokens += self._lexed(part(end, len(data)), max(line, 1), parts)
        return Reading(
            tokens=tuple(tokens),
            functions=tuple(functions),
            lines=0 if broken else written[-1] - sum(f.lines for f in functions),
            ast=() if broken else outline.rest([(s.start, s.stop) for s in sound]),
            found=len(spans),
            broken=broken,
            places=lambda: tuple(n for at, cut in parts for n in lines_of(self.lexer, cut, at)),
        )

    def prose(self, text: str) -> Iterator[tuple[int, int]]:
        """See :class:`fedcode.corpus.language.Language`."""
        return prose_of(self.lexer, text)

    def _lexed(self, text: str, line: int, parts: list[tuple[int, str]]) -> list[str]:
        parts.append((line, text))
        return tokens_of(self.lexer, text)


def _slices(text: str, data: bytes) -> Callable[[int, int], str]:
    """Gives the text between two bytes."""
    if len(text) == len(data):
        return lambda start, stop: text[start:stop]
    return lambda start, stop: data[start:stop].decode()


def _function(span: Span, start: int, stop: int, lines: int, outline: Outline) -> Function:
    more = outline.details(span.start, span.stop)
    return Function(
        name=span.name,
        start=start,
        stop=stop,
        first=span.first,
        last=span.last,
        lines=lines,
        ast=more.ast,
        metrics=more.metrics,
        comments=more.comments,
    )
