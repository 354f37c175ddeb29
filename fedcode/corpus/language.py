# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a programming language must offer so that its files become records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fedcode.record import Metrics

STRING = "<STR>"
NUMBER = "<NUM>"
INDENT = "<IN>"
DEDENT = "<DE>"
NEWLINE = "<NL>"

PLACEHOLDERS = (STRING, NUMBER, INDENT, DEDENT, NEWLINE)
"""Tokens that stand for something else; no token of a source text looks like one of them."""


@dataclass(frozen=True, slots=True)
class Function:
    """An outermost function or method: where it stands in the file, and what it is made of.

    Attributes:
        name: qualified name, unique in the file.
        start: index of its first token.
        stop: index after its last token.
        first: its first source line, from 1; decorators, annotations and modifiers are its own.
        last: its last source line.
        lines: its non-blank source lines; a line that two functions share is the first one's.
        ast: tokens of its syntax tree, see :class:`Reading`.
        metrics: its size.
        comments: first and last line of every comment in it, documentation strings included.
    """

    name: str
    start: int
    stop: int
    first: int
    last: int
    lines: int
    ast: tuple[str, ...]
    metrics: Metrics
    comments: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a language makes of a text.

    Tokens of the syntax tree follow Wang et al. (ICSE 2016, section 3.1): ``c:name`` where
    something is called or made, ``d:name`` where a function or a type is declared, ``f:kind`` where
    control flows otherwise, with the same kinds in all languages; in the order of the text.

    Attributes:
        tokens: normalized, without comments and blank lines; no token holds a line break.
        functions: ascending and disjoint.
        lines: non-blank source lines outside the functions.
        ast: tokens of the syntax tree outside the functions.
        found: functions that the text seems to have. If they are more than ``functions`` or the
            text is ``broken``, its tokens are those of the functions alone.
        broken: whether there is a syntax error.
        places: gives the line, from 1, that each token starts in.
    """

    tokens: tuple[str, ...]
    functions: tuple[Function, ...]
    lines: int
    ast: tuple[str, ...]
    found: int
    broken: bool
    places: Callable[[], tuple[int, ...]]


class Language(Protocol):
    r"""One language. Its methods raise ``CorpusError`` with a short reason for a bad file.

    Lines of a text end in ``\n``; only ``decode`` may give others.
    """

    @property
    def name(self) -> str:
        """What the language is called."""
        ...

    def decode(self, data: bytes) -> str:
        """The text of a file."""
        ...

    def read(self, text: str) -> Reading:
        """All that is wanted of a text, in one pass."""
        ...

    def prose(self, text: str) -> Iterator[tuple[int, int]]:
        """Where comments, strings and white space stand: start and stop, ascending.

        Code that stands in a string, to be formatted, is part of it.
        """
        ...
