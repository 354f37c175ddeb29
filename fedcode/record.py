# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The data that never leaves its owner: records, the files they stand in, and the privacy unit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

Kind = Literal["function", "module", "class", "commit", "report"]
"""What a record is."""


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
class Metrics:
    """The size of a function, as its syntax tree has it; nested functions count.

    Attributes:
        parameters: that it declares, ``self`` included.
        branches: conditions, cases, loops and handlers.
        calls: of functions, and objects made.
        returns: places where it returns.
        assignments: increments and declarations with a value included.
        nesting: the most conditions, loops and the like that stand in one another.
    """

    parameters: int = 0
    branches: int = 0
    calls: int = 0
    returns: int = 0
    assignments: int = 0
    nesting: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """What a text is about: words in lower case, each with how often it stands there.

    Attributes:
        identifiers: the parts of names.
        names: whole names of several parts.
        prose: words of comments and strings.
        definitions: names of the functions that are defined, and of what they stand in.
        lines: of the text that are not blank.
    """

    identifiers: Mapping[str, int]
    names: Mapping[str, int]
    prose: Mapping[str, int]
    definitions: Mapping[str, int]
    lines: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file among which the one that a report is about is searched, as it was at that time.

    Attributes:
        path: relative to its repository's root.
        words: of the file; files that are the same share them.
        right: whether the report's fix changed it.
        changes: commits that changed it.
        fixes: of these, how many mended something.
        changed: days since the last change; None if that is not known.
        fixed: days since the last fix; None if there was none.
        alike: how much the report is like earlier ones whose fixes changed the file.
    """

    path: str
    words: Words
    right: bool = False
    changes: int = 0
    fixes: int = 0
    changed: float | None = None
    fixed: float | None = None
    alike: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """One training example.

    A function, or what is left of its file without its functions; a class that a table names, or a
    commit, with no tokens but those of its syntax tree; or a report of a bug, whose tokens are its
    words as they stand, and whose name is its summary.

    From ``language`` on its fields say more of the same text. They do not tell records apart, and a
    public corpus that was sent lacks them.

    Attributes:
        unit: the record's name inside the organization; its privacy unit if that is the function.
        path: the file, relative to the organization's root, with forward slashes.
        name: qualified name (``Class.method``), or ``<module>`` for a file's remainder.
        kind: ``function``, ``module``, ``class``, ``commit`` or ``report``.
        tokens: normalized lexer tokens (see ``fedcode.corpus.lexer``).
        lines: non-blank source lines.
        label: 1 defective, 0 not, None unlabelled.
        place: index in ``tokens`` where a defective record's defect starts; None if not known.
        author: pseudonym of its file's main author; empty if not known.
        repository: the root of its file's repository, relative to the organization's root, which
            is the empty string.
        language: what it is written in, in lower case; empty if it is not known.
        first: its first source line, from 1; 0 for a module, which has no place of its own.
        last: its last source line.
        ast: tokens of its syntax tree (see ``fedcode.corpus.language.Reading``).
        metrics: a function's size.
        comments: first and last line of every comment in a function, documentation strings too.
        features: what is known of it beside its text, by name: its history, a table's columns.
        candidates: of a report, the files of its repository.
    """

    unit: UnitId
    path: str
    name: str
    kind: Kind
    tokens: tuple[str, ...]
    lines: int
    label: int | None = None
    place: int | None = None
    author: str = ""
    repository: str = ""
    language: str = field(default="", compare=False)
    first: int = field(default=0, compare=False)
    last: int = field(default=0, compare=False)
    ast: tuple[str, ...] = field(default=(), compare=False)
    metrics: Metrics = field(default=Metrics(), compare=False)
    comments: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    features: tuple[tuple[str, float], ...] = field(default=(), compare=False)
    candidates: tuple[Candidate, ...] = field(default=(), compare=False, repr=False)


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
    """A file that was not read as a whole, and why. Stays in the organization's own report."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, order=True)
class Taken:
    """What a filter kept from training. Stays in the organization's own report.

    Holds nothing of any text: a reason is a fixed word, or a licence's identifier.

    Attributes:
        path: the file, or a folder with a slash at its end.
        filter: the filter's name.
        name: the record's; empty for all of the file.
        reason: why.
        number: so often; of personal data, what was replaced: the rest of the file stays.
    """

    path: str
    filter: str
    name: str
    reason: str
    number: int = 1


@dataclass(frozen=True, slots=True)
class Corpus:
    """What one organization holds.

    Attributes:
        name: the organization's name.
        files: in path order; a tuple, or a sequence that makes each when it is looked at.
        skipped: files that could not be read, or not as a whole, with the reason.
        duplicates: number of records removed because an equal one was seen before.
        known_as: the fingerprint, where it is not that of ``files`` or was asked for.
        taken: what filters kept from training.
    """

    name: str
    files: Sequence[SourceFile]
    skipped: tuple[Skipped, ...] = ()
    duplicates: int = 0
    known_as: str = field(default="", compare=False, repr=False)
    taken: tuple[Taken, ...] = ()

    @property
    def fingerprint(self) -> str:
        """See :func:`fingerprint`; or what the corpus says that it is known as."""
        if not self.known_as:
            object.__setattr__(self, "known_as", fingerprint(self.files))
        return self.known_as

    def stream(self, kind: Kind | None = None) -> Iterator[Record]:
        """All records in file order, or only those of one kind, one after another."""
        return (r for f in self.files for r in f.records if kind is None or r.kind == kind)

    @property
    def each(self) -> Records:
        """All records, made anew whenever they are gone through."""
        return Records(self)

    def records(self, kind: Kind | None = None) -> list[Record]:
        """What :meth:`stream` gives, all of it in memory."""
        return list(self.stream(kind))

    def taken_by(self) -> dict[str, int]:
        """What each filter took, in number: records, files, folders, or persons in a text."""
        counts: dict[str, int] = {}
        for one in self.taken:
            counts[one.filter] = counts.get(one.filter, 0) + one.number
        return dict(sorted(counts.items()))

    @property
    def lexer_tokens(self) -> int:
        """Number of lexer tokens in all files."""
        return sum(len(f.tokens) for f in self.files)

    def __iter__(self) -> Iterator[SourceFile]:
        return iter(self.files)


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a corpus, one after another, as often as they are asked for.

    Attributes:
        corpus: whose they are.
    """

    corpus: Corpus

    def __iter__(self) -> Iterator[Record]:
        return self.corpus.stream()


def units(records: Iterable[Record], unit: PrivacyUnit) -> list[tuple[Record, ...]]:
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
        groups.setdefault(owner_of(record, unit), []).append(record)
    return [tuple(group) for group in groups.values()]


def population(records: Iterable[Record], unit: PrivacyUnit) -> int:
    """How many privacy units records belong to: as many as :func:`units` gives.

    Raises:
        ConfigError: the unit is the author, and a record has none.
    """
    if unit is PrivacyUnit.FUNCTION:
        return sum(1 for _ in records)
    return len({owner_of(record, unit) for record in records})


def owner_of(record: Record, unit: PrivacyUnit) -> str:
    """The name of the unit that a record belongs to, which is wider than a function.

    Raises:
        ConfigError: the unit is the author, and the record has none.
    """
    if unit is PrivacyUnit.FILE:
        return record.path
    if unit is PrivacyUnit.REPOSITORY:
        return record.repository
    if not record.author:
        raise ConfigError(f"{record.path} has no known author", OTHER_UNIT)
    return record.author


def fingerprint(files: Iterable[SourceFile]) -> str:
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
