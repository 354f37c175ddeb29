# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A text as filters look at it, and what they say of it."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Look:
    """A file's text, lower-cased once for all filters.

    Attributes:
        text: as it is decoded.
        low: the same in lower case, of the same length: a place in one is a place in the other.
    """

    text: str
    low: str

    @classmethod
    def at(cls, text: str) -> Look:
        """``text`` and its lower case."""
        low = text.lower()
        return cls(text, low if len(low) == len(text) else text.translate(_LOWER))

    def places(self, word: str) -> Iterator[int]:
        """Where ``word``, in lower case, stands in any case."""
        at = self.low.find(word)
        while at >= 0:
            yield at
            at = self.low.find(word, at + len(word))

    def line(self, place: int) -> int:
        """The line, from 1, of a place."""
        return self.text.count("\n", 0, place) + 1


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of which nothing may be trained on.

    Attributes:
        filter: the filter's name.
        reason: a fixed word.
        first: line, from 1.
        last: line, the first or a later one.
        above: whether it speaks of the function that follows, if one does at once.
    """

    filter: str
    reason: str
    first: int
    last: int
    above: bool = False
