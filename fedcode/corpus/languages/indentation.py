# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Python's lexer tokens, normalized, and the functions that they show.

Indentation and line ends become placeholders. A string is one token, an f-string with all that is
in it as well, so that every Python version gives the same tokens.

One expression finds all tokens; a line end, with the comment before it, the blank lines after it
and the next line's indentation, is one of them. Brackets and line ends alone are looked at one by
one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from fedcode.corpus.language import DEDENT, INDENT, NEWLINE, STRING
from fedcode.corpus.lexer import LONGEST_KNOWN, Known
from fedcode.errors import CorpusError

_CONTINUED = "\\\n"
_LONG_LINES = "<STR>\n"
"""A string over several lines, until its lines are counted."""

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_LOOKED_AT = _OPENING | _CLOSING | {NEWLINE, _CONTINUED, _LONG_LINES}
_BEGINNINGS = frozenset({"def", "class", "async", "@", ""})
_MOST_BREAKS = 20_000
_DEEPEST = 100
"""Levels of indentation, as many as Python itself permits."""


def _strings() -> str:
    """Strings without a prefix, which most are; those with expressions in them; all others."""
    simple, formatted, prefixed = [], [], []
    for q in ("'''", '"""', "'", '"'):
        one, other, long = q[0], "'" if q[0] == '"' else '"', len(q) == 3
        no_break, single = ("", rf"|{one}(?!{q[1:]})") if long else (r"\n", "")
        end = rf"(?:{q}|\Z)" if long else rf"(?:{q}|(?=\n))"
        plain = rf"{q}(?:[^{one}\\{no_break}]++|\\[\s\S]{single})*+{end}"
        simple.append(plain)
        prefixed.append(rf"(?i:br?|r[bft]?|u|fr?|tr?){plain}")
        # before Python 3.12 no quote of its own stood in an f-string
        outside = rf"[^{one}\\{{}}{no_break}]++|\\[\s\S]|{{{{|}}}}{single}"
        inside = rf"[^{one}{{}}{no_break}]*+"
        balanced = rf"{{{inside}(?:{{{inside}}}{inside})*+}}"
        strings = rf"{other}(?:[^{other}\\\n]|\\.)*+{other}|{one}(?:[^{one}\\\n]|\\.)*+{one}"
        code = rf"[^{{}}{one}{other}]|{strings}"
        nested = rf"{{(?:{code}|{{(?:{code}|{{(?:{code})*+}})*+}})*+}}"
        formatted += [
            rf"(?i:fr?|rf|tr?|rt){q}(?:{outside}|{inner})*+{q}" for inner in (balanced, nested)
        ]
    return "|".join([*simple, *formatted, *prefixed])


_DIGITS = r"[0-9](?:_?[0-9])*+"
_EXPONENT = rf"[eE][-+]?{_DIGITS}"
_NUMBER = (
    r"0[xX](?:_?[\da-fA-F])++|0[bB](?:_?[01])++|0[oO](?:_?[0-7])++"
    rf"|(?:(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS})(?:{_EXPONENT})?|{_DIGITS}{_EXPONENT})[jJ]?"
    rf"|{_DIGITS}[jJ]|0(?:_?0)*+|[1-9](?:_?[0-9])*+"
)
_BLANK = r"[ \t\f]*+(?:\#[^\n]*+)?\n"
_LEXER = re.compile(
    rf"[ \t\f]*+("
    rf"[^\W\d]\w*+(?!['\"])"
    rf"|[(),\[\]{{}};~]|(?:\#[^\n]*+)?\n(?:{_BLANK})*+[ \t\f]*+|[=<>]=?(?![=<>])|\.(?![.\d])|:(?!=)"
    rf"|{_strings()}|{_NUMBER}"
    rf"|\*\*=?|//=?|>>=?|<<=?|\.\.\.|->|:=|!=|[-+*/%&|^=<>@]=?|\\\n"
    rf"|\w+|\S|\Z)"
)


class _Known(Known):
    """As :class:`Known`; what the reader looks at one by one has forms that tell it."""

    def __missing__(self, raw: str) -> str:
        if raw[:1] in ("#", "\n") or raw == _CONTINUED:
            form = _CONTINUED if raw == _CONTINUED else NEWLINE
        elif raw[-1:] in ("'", '"') and "\n" in raw:
            form = _LONG_LINES
        elif _unfinished(raw):
            raise CorpusError("a string has no end")
        else:
            return super().__missing__(raw)
        if len(raw) <= LONGEST_KNOWN:
            self[raw] = form
        return form


def _unfinished(raw: str) -> bool:
    return ("'" in raw or '"' in raw) and (
        raw[-1] not in "'\"" or len(raw.lstrip("rbfutRBFUT")) < 2
    )


@cache
def _known() -> _Known:
    return _Known()


class _Breaks(dict[str, tuple[int, int]]):
    """Line ends and other tokens over several lines: how many, and the next one's indentation."""

    def __missing__(self, raw: str) -> tuple[int, int]:
        if len(self) > _MOST_BREAKS:
            self.clear()
        found = (raw.count("\n"), _width(raw.rpartition("\n")[2]))
        if len(raw) <= LONGEST_KNOWN:
            self[raw] = found
        return found


@cache
def _breaks() -> _Breaks:
    return _Breaks()


@dataclass(frozen=True, slots=True)
class Block:
    """A function: tokens ``start`` to ``stop``, source lines ``first`` to ``last``."""

    name: str
    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Lexed:
    """A text's tokens and functions.

    Attributes:
        tokens: normalized.
        functions: the outermost ones, with unique names.
        rows: where another line begins: index of a token, line from 1; ascending.
    """

    tokens: tuple[str, ...]
    functions: tuple[Block, ...]
    rows: tuple[tuple[int, int], ...]

    def lines(self) -> tuple[int, ...]:
        """The line that each token starts in."""
        found: list[int] = []
        for (start, line), (stop, _) in pairwise((*self.rows, (len(self.tokens), 0))):
            found += [line] * (stop - start)
        return tuple(found)


def lex(text: str) -> Lexed:
    r"""The tokens of a Python text whose lines end in ``\n``; the first may be indented.

    Raises:
        CorpusError: the text is not made of Python tokens.
    """
    raw = _LEXER.findall(f"\n{text}" if text.endswith("\n") else f"\n{text}\n")
    try:
        tokens = list(map(_known().__getitem__, raw))
    except CorpusError as error:
        raise CorpusError("not tokenizable") from error
    return _Reader(raw, tokens).read()


def prose(text: str) -> Iterator[tuple[int, int]]:
    """See :meth:`fedcode.corpus.language.Language.prose`."""
    for match in _LEXER.finditer(f"{text}\n"):
        raw = match[1]
        if raw[:1] in ("#", "\n") or "'" in raw or '"' in raw:
            yield match.start(1), min(match.end(1), len(text))


class _Reader:
    """Goes from one bracket or line end to the next, and writes the tokens between them."""

    def __init__(self, raw: Sequence[str], tokens: list[str]) -> None:
        self._raw = raw
        self._tokens = tokens
        self._out: list[str] = []
        self._rows: list[tuple[int, int]] = []
        self._line = 0  # a line end was put before the text
        self._levels: list[int] = []
        self._classes: list[tuple[int, str]] = []
        self._times: Counter[str] = Counter()
        self._functions: list[Block] = []
        self._decorated: tuple[int, int] | None = None
        self._open: tuple[int, str, int, int] | None = None
        self._steady = -1

    def read(self) -> Lexed:
        tokens, raw, out, rows = self._tokens, self._raw, self._out, self._rows
        breaks = _breaks()
        depth, end = 0, 0
        places = [i for i, token in enumerate(tokens) if token in _LOOKED_AT]
        for i in places:
            token = tokens[i]
            if token in _OPENING:
                depth += 1
            elif token in _CLOSING:
                depth -= 1
            else:
                out += tokens[end:i]
                end = i + 1
                count, width = breaks[raw[i]]
                if token == _LONG_LINES:
                    out.append(STRING)
                elif token == NEWLINE and depth == 0:
                    last = self._line
                    if last:
                        out.append(NEWLINE)
                    self._line += count
                    rows.append((len(out), self._line))
                    following = tokens[end]
                    if width != self._steady or following in _BEGINNINGS:
                        self._new_line(end, width if following else -1, last)
                    continue
                self._line += count
                rows.append((len(out), self._line))
        if depth:
            raise CorpusError(f"not tokenizable from line {self._line}")
        return Lexed(tuple(out), tuple(self._functions), tuple(rows))

    def _new_line(self, i: int, width: int, last: int) -> None:
        """A logical line ended in line ``last``; the next one, at ``i``, is another block's."""
        levels, out = self._levels, self._out
        if not levels:
            levels.append(max(width, 0))
        elif width > levels[-1]:
            levels.append(width)
            out.append(INDENT)
            if len(levels) > _DEEPEST:
                raise CorpusError("nested too deeply")
        else:
            self._dedent(width, last)
        first = self._tokens[i]
        if first in _BEGINNINGS and not self._open:
            self._begin(i)
        elif first != _CONTINUED:
            self._decorated = None
        # in a steady block no line closes anything
        depth = self._open[0] if self._open else self._classes[-1][0] if self._classes else 0
        self._steady = levels[-1] if len(levels) > depth and not self._decorated else -1

    def _dedent(self, width: int, last: int) -> None:
        levels = self._levels
        self._close(last)
        while len(levels) > 1 and width < levels[-1]:
            levels.pop()
            self._out.append(DEDENT)
            self._close(last)
        if width not in (levels[-1], -1):
            raise CorpusError(f"not tokenizable from line {self._line}")

    def _close(self, last: int) -> None:
        """Ends the function and the classes that are no deeper than where we are."""
        depth = len(self._levels)
        if self._open and self._open[0] >= depth:
            _, name, start, first = self._open
            self._functions.append(Block(name, start, len(self._out), first, last))
            self._open = None
        while self._classes and self._classes[-1][0] >= depth:
            self._classes.pop()

    def _begin(self, i: int) -> None:
        """A line outside of functions begins with a word of a definition at ``i``."""
        here = (len(self._out), self._line)
        words = [*(word for word in self._tokens[i : i + 6] if word != _CONTINUED), "", ""]
        if words[0] == "@":
            self._decorated = self._decorated or here
            return
        start, first = self._decorated or here
        self._decorated = None
        if words[0] == "class":
            self._classes.append((len(self._levels), words[1]))
        elif words[0] == "def" or words[1] == "def":
            name = ".".join([*(outer for _, outer in self._classes), words[words.index("def") + 1]])
            self._times[name] += 1
            unique = name if self._times[name] == 1 else f"{name}#{self._times[name]}"
            self._open = len(self._levels), unique, start, first


def _width(white: str) -> int:
    """Columns of a line's indentation, with a tab stop at every eighth one."""
    if not white.strip(" "):
        return len(white)
    column = 0
    for character in white:
        column = {" ": column + 1, "\t": column // 8 * 8 + 8}.get(character, 0)
    return column
