# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The data that never leaves its owner: records, the files they stand in, and the privacy unit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NewType

from fedcode.errors import ConfigError

OTHER_UNIT = "choose another privacy.unit: function, file or repository"
"""What to do where authors are not known."""

UnitId = NewType("UnitId", str)
"""Names one record inside an organization: ``path::qualified.name``."""

Role = Literal["train", "validation", "unseen"]
"""What an organization is for: a member, a set to choose on, or one never trained on."""


class PrivacyUnit(StrEnum):
    """What the guarantee adds or removes: all of one unit's records at once.

    A function is one record. A file, an author, a repository are all records of that path, of that
    main author of their files, or below that root.
    """

    FUNCTION = "function"
    FILE = "file"
    AUTHOR = "author"
    REPOSITORY = "repository"

    @property
    def plural(self) -> str:
        """Several of them, in words."""
        return "repositories" if self is PrivacyUnit.REPOSITORY else f"{self}s"


@dataclass(frozen=True, slots=True)
class Record:
    """One training example: a function, or what is left of its file without its functions.

    Attributes:
        unit: the record's name inside the organization; its privacy unit if that is the function.
        path: the file, relative to the organization's root, with forward slashes.
        name: qualified name (``Class.method``), or ``<module>`` for a file's remainder.
        kind: ``function`` or ``module``.
        tokens: normalized lexer tokens (see ``fedcode.corpus.lexer``).
        lines: non-blank source lines.
        label: 1 defective, 0 not, None unlabelled.
        place: index in ``tokens`` where a defective record's defect starts; None if not known.
        author: pseudonym of its file's main author; empty if not known.
        repository: the root of its file's repository, relative to the organization's root, which
            is the empty string.
    """

    unit: UnitId
    path: str
    name: str
    kind: Literal["function", "module"]
    tokens: tuple[str, ...]
    lines: int
    label: int | None = None
    place: int | None = None
    author: str = ""
    repository: str = ""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: all its tokens in order, and the records cut out of them.

    Every token of the file belongs to exactly one record, unless the record was removed as a
    duplicate of another one.
    """

    path: str
    tokens: tuple[str, ...]
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read, and why. Stays in the organization's own report."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """What one organization holds.

    Attributes:
        name: the organization's name.
        files: in path order.
        skipped: files that could not be read, with the reason.
        duplicates: number of records removed because an equal one was seen before.
    """

    name: str
    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...] = ()
    duplicates: int = 0
    fingerprint: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.files))

    def records(self, kind: Literal["function", "module"] | None = None) -> list[Record]:
        """All records in file order, or only those of one kind."""
        return [r for f in self.files for r in f.records if kind is None or r.kind == kind]

    @property
    def lexer_tokens(self) -> int:
        """Number of lexer tokens in all files."""
        return sum(len(f.tokens) for f in self.files)

    def __iter__(self) -> Iterator[SourceFile]:
        return iter(self.files)


def units(records: Sequence[Record], unit: PrivacyUnit) -> list[tuple[Record, ...]]:
    """Groups records by the privacy unit that they belong to.

    Returns:
        The units in the order of their first records, each with its records in order.

    Raises:
        ConfigError: the unit is the author, and a record has none.
    """
    if unit is PrivacyUnit.FUNCTION:
        return [(record,) for record in records]
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_owner(record, unit), []).append(record)
    return [tuple(group) for group in groups.values()]


def _owner(record: Record, unit: PrivacyUnit) -> str:
    if unit is PrivacyUnit.FILE:
        return record.path
    if unit is PrivacyUnit.REPOSITORY:
        return record.repository
    if not record.author:
        raise ConfigError(f"{record.path} has no known author", OTHER_UNIT)
    return record.author


def fingerprint(files: Sequence[SourceFile]) -> str:
    """SHA-256 over paths, tokens and the records kept, with owners: equal data, equal fingerprint.

    A record without author and repository adds its name alone.
    """
    digest = hashlib.sha256()
    for file in files:
        for part in (file.path, "\x00".join(file.tokens), *map(_named, file.records)):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big"))
            digest.update(raw)
    return digest.hexdigest()


def _named(record: Record) -> str:
    owners = f"{record.author}\x00{record.repository}"
    return record.unit if owners == "\x00" else f"{record.unit}\x00{owners}"
