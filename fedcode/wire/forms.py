# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The forms of what stands in a header: each value can be written in one way only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Protocol

from fedcode.errors import WireError
from fedcode.groups import MOST_MEMBERS
from fedcode.identity import NAME as MEMBER

LAST_ROUND = 1_000_000


class Form(Protocol):
    """How a value is written as JSON, and read."""

    def plain(self, value: Any) -> Any:
        """As JSON has it."""

    def read(self, key: str, value: Any) -> Any:
        """What ``value`` stands for; WireError for any other form."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of one pattern."""

    pattern: re.Pattern[str]

    def plain(self, value: str) -> str:
        """As it is."""
        return value

    def read(self, key: str, value: Any) -> str:
        """The same text."""
        if not isinstance(value, str) or not self.pattern.fullmatch(value):
            raise WireError(f"{key} is not of its form")
        return value


def hexadecimal(size: int) -> Text:
    """The form of ``size`` bytes."""
    return Text(re.compile(f"[0-9a-f]{{{2 * size}}}"))


@dataclass(frozen=True, slots=True)
class Round:
    """A number from 1."""

    def plain(self, value: int) -> int:
        """As it is."""
        return value

    def read(self, key: str, value: Any) -> int:
        """The same number."""
        if type(value) is not int or not 1 <= value <= LAST_ROUND:
            raise WireError(f"{key} is not a number from 1")
        return value


@dataclass(frozen=True, slots=True)
class Code:
    """One of the codes of ``kind``."""

    kind: type[StrEnum]

    def plain(self, value: StrEnum) -> str:
        """The code's text."""
        return str(value)

    def read(self, key: str, value: Any) -> StrEnum:
        """The code."""
        try:
            return self.kind(value)
        except ValueError as error:
            raise WireError(f"unknown refusal {key}") from error


@dataclass(frozen=True, slots=True)
class Names:
    """Members' names, sorted, at least one."""

    def plain(self, value: tuple[str, ...]) -> list[str]:
        """A list."""
        return list(value)

    def read(self, key: str, value: Any) -> tuple[str, ...]:
        """A tuple."""
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_MEMBERS:
            raise WireError(f"{key} is not a list of 1 to {MOST_MEMBERS} names")
        for name in value:
            NAME.read(key, name)
        if value != sorted(set(value)):
            raise WireError(f"{key} is not sorted, or names a member twice")
        return tuple(value)


@dataclass(frozen=True, slots=True)
class NamedTexts:
    """Pairs of a member's name and a text, sorted by name; there may be none."""

    text: Text

    def plain(self, value: tuple[tuple[str, str], ...]) -> list[list[str]]:
        """A list of lists."""
        return [list(pair) for pair in value]

    def read(self, key: str, value: Any) -> tuple[tuple[str, str], ...]:
        """A tuple of pairs."""
        if not isinstance(value, list) or len(value) > MOST_MEMBERS:
            raise WireError(f"{key} is not a list of at most {MOST_MEMBERS} pairs")
        found = []
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise WireError(f"{key} is not a list of pairs")
            found.append((NAME.read(key, pair[0]), self.text.read(key, pair[1])))
        if any(left[0] >= right[0] for left, right in pairwise(found)):
            raise WireError(f"{key} is not sorted, or names a member twice")
        return tuple(found)


NAME = Text(MEMBER)
DIGEST = hexadecimal(32)
KEY = hexadecimal(32)
SIGNATURE = hexadecimal(64)
SHARE = hexadecimal(33)
CIPHERTEXT = hexadecimal(2 * 33 + 16)
