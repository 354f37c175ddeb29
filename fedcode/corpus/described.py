# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A source in counts, for its data card: licences, languages, what was not read. Holds no text."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from fedcode.corpus import commits
from fedcode.corpus.filters import Screen
from fedcode.corpus.filters.licences import of_header, readable
from fedcode.corpus.filters.look import Look
from fedcode.corpus.reading import SAME_AS
from fedcode.corpus.revisions import SCHEME, revision
from fedcode.corpus.sources import contents, find
from fedcode.filters import FilterSettings
from fedcode.record import Corpus

_HEAD = 16_000

NONE_STATED = "none stated"
UNREADABLE = "unreadable"

NEVER_READ = (
    "folders of tests, documentation, examples and vendored code, and files of tests, are never "
    "read",
    "files in languages that are not known by name are never read",
)
"""What every source lacks."""


@dataclass(frozen=True, slots=True)
class LanguageCounts:
    """One language's part of a source.

    Attributes:
        language: in lower case; empty for none that is known.
    """

    language: str
    files: int
    records: int
    lines: int
    tokens: int


def by_language(corpus: Corpus) -> list[LanguageCounts]:
    """The languages of a corpus, the one with most records first."""
    files: dict[str, set[str]] = defaultdict(set)
    records, lines, tokens = Counter[str](), Counter[str](), Counter[str]()
    for file in corpus:
        for record in file.records:
            name = record.language
            files[name].add(file.path)
            records[name] += 1
            lines[name] += record.lines
            tokens[name] += len(record.tokens)
    return [
        LanguageCounts(name, len(files[name]), number, lines[name], tokens[name])
        for name, number in sorted(records.items(), key=lambda one: (-one[1], one[0]))
    ]


def licences(corpus: Corpus, source: str) -> dict[str, int]:
    """Files of ``corpus`` by the SPDX expression that they are under; of commits nothing is said.

    A file's own header counts before the nearest licence file above it, as for the filter.

    Raises:
        CorpusError: the source is not there any more.
    """
    if source.startswith(f"{commits.SCHEME}:"):
        return {}
    paths = {file.path for file in corpus}
    every = Screen(FilterSettings(ignored=False, vendored=False))  # what was read is known already
    listed = sorted(find(source, every).entries.items())
    entries = [one for path, one in listed if path in paths]
    found: Counter[str] = Counter()
    for entry, data in contents(entries):
        head = "" if isinstance(data, str) else data[:_HEAD].decode("utf-8", "replace")
        stated = of_header(Look.at(head)) or entry.licence
        if stated and not readable(stated):
            stated = UNREADABLE
        found[stated or NONE_STATED] += 1
    return dict(found.most_common())


def revision_of(source: str) -> str:
    """The commit that a source is read at; empty where there is none.

    Raises:
        CorpusError: there is no such commit any more.
    """
    scheme, _, place = source.partition(":")
    if scheme not in (SCHEME, commits.SCHEME):
        return ""
    return str(revision(place).snapshot.commit)


def skipped(corpus: Corpus) -> dict[str, int]:
    """Files that were not read as a whole, by reason, without what a reason says of one file."""
    found: Counter[str] = Counter()
    for one in corpus.skipped:
        reason, _, _ = one.reason.partition(":")
        if reason.startswith(SAME_AS):
            reason = f"{SAME_AS}another file"
        found[reason] += 1
    return dict(found.most_common())
