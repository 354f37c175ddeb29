# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Code that says that a language model wrote it: in its text, or in a commit's trailers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from fedcode.corpus.filters.look import Block, Look

FILTER = "models"

_FIRST_LINES = 15
"""What is said so early is said of the file."""

_VERBS = ("generated", "authored", "written", "created", "produced", "assisted", "suggested")
_BY = (
    r"(?:[ -]{1,2}(?:by|with|using|via|from|through))?[ \t:]{1,3}"
    r"(?:(?:the|github|google|microsoft|openai'?s?|anthropic'?s?|meta|ai|from)[ \t]{1,2}){0,3}"
)


def blocks(look: Look, names: Sequence[str]) -> list[Block]:
    """The lines that say so."""
    by = _by(tuple(names))
    lines = {
        look.line(at)
        for verb in _VERBS
        for at in look.places(verb)
        if by.match(look.low, at + len(verb))
    }
    return [Block(FILTER, "marked", line, line, above=True) for line in sorted(lines)]


def whole(found: Sequence[Block]) -> bool:
    """Whether one of the lines speaks of the whole file."""
    return any(block.first <= _FIRST_LINES for block in found)


def in_trailers(trailers: Iterable[str], keys: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a commit's trailers (``Key: value``, a line each) name a model."""
    for trailer in trailers:
        key, _, value = trailer.lower().partition(":")
        if key.strip() in keys and _named(tuple(names)).search(value):
            return True
    return False


@cache
def _by(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"{_BY}(?:{_either(names)})(?![a-z0-9])")


@cache
def _named(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])(?:{_either(names)})(?![a-z0-9])")


def _either(names: Sequence[str]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)"
