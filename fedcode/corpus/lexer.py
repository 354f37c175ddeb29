# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Normalized lexer tokens: one compiled regular expression a language, no loop over characters.

Comments and blank lines are left out; long strings and long numbers become placeholders. Nothing in
an expression can take more than time in proportion to the text: what is opened and never closed
goes to the end of its line or of the text, and is not looked at again.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence
from functools import cache

from fedcode.corpus.language import NUMBER, STRING

LONGEST_STRING = 15
LONGEST_NUMBER = 4

_MOST_KNOWN, LONGEST_KNOWN = 200_000, 60
"""Tokens that are remembered, and how long one may be."""

SLASHES = r"//(?:[^\n\\]++|\\.|\\\n)*+"
BLOCK = r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)"
HASH = r"\#[^\n]*+"

NAME = r"[^\W\d]\w*+"
DOLLAR_NAME = r"(?:[^\W\d]|\$)[\w$]*+"
DIGITS = r"0[xX][\da-fA-F_'.]*+(?:[pP][-+]?\d+)?\w*+|\.?\d(?:[eE][-+](?=\d)|[\w']|\.(?!\.))*+"
"""A number of any brace language, with its suffix."""

DOUBLE = r'"[^"\\\n]*+(?:\\[\s\S][^"\\\n]*+)*+(?:"|(?=\n)|\\?\Z)'
SINGLE = DOUBLE.replace('"', "'")
TRIPLE = r'"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+(?:"""|\\?\Z)'
RAW = r"`[^`]*+(?:`|\Z)"


def longest_first(operators: str) -> str:
    """A pattern of the operators that ``operators`` names; any other character is one by itself."""
    several = sorted(operators.split(), key=len, reverse=True)
    return "|".join(map(re.escape, several))


def pattern(
    *,
    comments: Sequence[str] = (SLASHES, BLOCK),
    strings: Sequence[str] = (DOUBLE, SINGLE),
    name: str = NAME,
    operators: str,
) -> re.Pattern[str]:
    """A lexer of a language with braces: what is between tokens, then a token, or the end.

    Args:
        comments: patterns of what is left out.
        strings: patterns of strings and the like; they may begin like a name.
        name: the pattern of a name.
        operators: those of several characters, with spaces between.
    """
    between = "|".join([r"\s++", r"\\\n", *comments])
    simple = f"{name}(?!['\"#])"  # most tokens are names: strings with a prefix come later
    one_character = r"[(){}\[\];,]"
    tokens = [simple, one_character, *strings, DIGITS, name, longest_first(operators)]
    return re.compile(f"(?:{between})*+({'|'.join(tokens)}|[\\s\\S]|\\Z)")


class Known(dict[str, str]):
    """Tokens as they stand in a text, each with its normalized form; empty is left out."""

    def __missing__(self, raw: str) -> str:
        """Finds a token's form when it is met for the first time."""
        if len(self) > _MOST_KNOWN:
            self.clear()
        form = normalized(raw)
        if len(raw) <= LONGEST_KNOWN:
            self[raw] = form
        return form


def normalized(raw: str) -> str:
    """The form of one token."""
    if '"' in raw or "'" in raw or "`" in raw or "\n" in raw:
        if raw[0].isdigit():  # C++ writes 1'000
            return NUMBER if len(raw) > LONGEST_NUMBER else raw
        return STRING if len(raw) > LONGEST_STRING or "\n" in raw else raw
    if raw[:1].isdigit() or (raw[:1] == "." and raw[1:2].isdigit()):
        return NUMBER if len(raw) > LONGEST_NUMBER else raw
    if raw[:1] == "/" and len(raw) > LONGEST_STRING:  # a regular expression
        return STRING
    if raw[:1] == "#" and raw[1:2].isspace():  # a directive with space in it
        return "#" + raw[1:].strip()
    return raw if not raw.isspace() else ""


@cache
def known() -> Known:
    """The tokens met by this process."""
    return Known()


def tokens_of(lexer: re.Pattern[str], text: str) -> list[str]:
    """The normalized tokens of a text."""
    return list(filter(None, map(known().__getitem__, lexer.findall(text))))


def lines_of(lexer: re.Pattern[str], text: str, first: int = 1) -> list[int]:
    """The line that each of :func:`tokens_of` starts in; the text's first line is ``first``."""
    lines, line, end = [], first, 0
    for match in lexer.finditer(text):
        line += text.count("\n", end, match.start(1))
        end = match.start(1)
        if known()[match[1]]:
            lines.append(line)
    return lines


def prose_of(lexer: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """See :meth:`fedcode.corpus.language.Language.prose`."""
    for match in lexer.finditer(text):
        start, stop = match.span(1)
        if match.start() < start:
            yield match.start(), start
        raw = match[1]
        regular = raw[:1] == "/" and len(raw) > 3
        if regular or (("'" in raw or '"' in raw or "`" in raw) and not raw[0].isdigit()):
            yield start, stop


def is_identifier(text: str) -> bool:
    """Whether a token is a name: a soft keyword such as ``match`` is, a placeholder is not."""
    return text.isidentifier() and not keyword.iskeyword(text)
