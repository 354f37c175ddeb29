# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a programming language must offer so that its files become records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

STRING = "<STR>"
NUMBER = "<NUM>"
INDENT = "<IN>"
DEDENT = "<DE>"
NEWLINE = "<NL>"

PLACEHOLDERS = (STRING, NUMBER, INDENT, DEDENT, NEWLINE)
"""Tokens that stand for something else; no token of a source text looks like one of them."""


@dataclass(frozen=True, slots=True)
class Lexed:
    """A text as normalized lexer tokens.

    Attributes:
        tokens: without comments and blank lines; no token holds a line break.
        lines: the line, from 1, that each token starts in; as many as there are tokens.
    """

    tokens: tuple[str, ...]
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """An outermost function or method: where it stands in the file's tokens.

    Attributes:
        name: qualified name, unique in the file.
        start: index of its first token.
        stop: index after its last token.
        lines: its non-blank source lines.
    """

    name: str
    start: int
    stop: int
    lines: int


class Language(Protocol):
    r"""One language. Every method raises ``CorpusError`` with a short reason for a bad file.

    Lines of a text end in ``\n``; only ``decode`` may give others.
    """

    def decode(self, data: bytes) -> str:
        """The text of a file."""
        ...

    def lex(self, text: str) -> Lexed:
        """The text's tokens."""
        ...

    def functions(self, text: str, lexed: Lexed) -> list[Function]:
        """The text's functions, ascending and disjoint."""
        ...
