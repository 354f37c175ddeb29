# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``.fedcodeignore`` and ``.gitattributes``, at any level of a folder: read as data, never run.

Patterns are git's. Of several that match, the last one holds, and a deeper file's before a higher
one's. What is below an ignored folder cannot be named again, as in git.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcode.errors import CorpusError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORED = "ignored"
IGNORE, ATTRIBUTES = ".fedcodeignore", ".gitattributes"

LARGEST = 1 << 20
"""In bytes."""

_MOST_STARS = 4
"""In one part of a pattern: what a matcher tries grows with the power of their number."""

GENERATED, VENDORED = "linguist-generated", "linguist-vendored"


@dataclass(frozen=True, slots=True)
class Rules:
    """What one file says of the paths below its folder.

    Attributes:
        folder: relative to the root; empty for the root.
        specs: a word, and the patterns of what it holds of; after ``!``, of what it does not.
    """

    folder: str
    specs: tuple[tuple[str, GitIgnoreSpec], ...]

    def said(self, path: str, word: str) -> bool | None:
        """Whether a word holds of a path, relative to the root; None if nothing is said of it.

        A folder ends with a slash.
        """
        below = path[len(self.folder) + 1 :] if self.folder else path
        for one, spec in self.specs:
            if one == word:
                return spec.check_file(below).include
        return None


def ignoring(data: bytes | None, file: Path, folder: str) -> Rules:
    """A ``.fedcodeignore``, whose word is :data:`IGNORED`.

    Args:
        data: what it holds; None if it cannot be read.
        file: where it is, for messages.
        folder: relative to the root.

    Raises:
        CorpusError: it cannot be read, or a pattern is none: nothing is left out by guess.
    """
    text = _text(data)
    if text is None:
        raise CorpusError(
            f"{file} cannot be read", "it has to be a UTF-8 file of less than a megabyte"
        )
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if wrong := _wrong(line):
            raise CorpusError(f"{file}, line {number}: {wrong}", "the form is that of .gitignore")
    return Rules(folder, ((IGNORED, _spec(lines)),))


def attributes(data: bytes | None, folder: str) -> Rules:
    """A ``.gitattributes``, whose words are :data:`GENERATED` and :data:`VENDORED`.

    What cannot be read of it says nothing: git passes over it, too.
    """
    said: dict[str, list[str]] = {GENERATED: [], VENDORED: []}
    for line in (_text(data) or "").split("\n"):
        if "linguist-" not in line or line.strip().startswith(("#", "[", "!")):
            continue
        pattern, words = _split(line.strip())
        if not pattern or _wrong(pattern):
            continue
        for word, holding in _attributes(words):
            said[word].append(pattern if holding else f"!{pattern}")
    return Rules(folder, tuple((word, _spec(lines)) for word, lines in said.items()))


def holds(rules: Sequence[Rules], path: str, word: str) -> bool:
    """Whether ``word`` holds of a path by the rules of the folders above it, the root's first."""
    said = (one.said(path, word) for one in reversed(rules))
    return next((holding for holding in said if holding is not None), False)


def _attributes(words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    for word in words:
        name, _, value = word.lstrip("-!").partition("=")
        if name in (GENERATED, VENDORED):
            yield name, not word.startswith(("-", "!")) and value.lower() != "false"


def _split(line: str) -> tuple[str, list[str]]:
    """A pattern, in quotes or not, and the words after it."""
    if line.startswith('"'):
        pattern, _, rest = line[1:].partition('"')
        return pattern, rest.split()
    pattern, *words = line.split()
    return pattern, words


def _wrong(pattern: str) -> str:
    """What is wrong with a line of patterns; empty if nothing is."""
    from pathspec import GitIgnoreSpec

    parts = pattern.replace("**", "").split("/")
    if not pattern.startswith("#") and max(part.count("*") for part in parts) > _MOST_STARS:
        return f"more than {_MOST_STARS} stars in one name"
    try:
        GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        return "no pattern"
    return ""


def _spec(lines: Sequence[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)


def _text(data: bytes | None) -> str | None:
    """What a small file holds; None for a larger one, and for what is no text."""
    try:
        return None if data is None or len(data) > LARGEST else data.decode("utf-8")
    except UnicodeDecodeError:
        return None
