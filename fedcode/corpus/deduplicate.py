# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Removes what stands in several places, so that nothing is measured that was trained on.

Two records are equal when their tokens are: white space, comments, long strings and long numbers do
not tell them apart. Every record counts, a one-line function as well.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from fedcode.corpus.views import Kept, changed, chosen
from fedcode.record import Corpus, Record, SourceFile, UnitId

Tokens = tuple[str, ...]


def distinct_files(corpora: Sequence[Corpus]) -> list[Corpus]:
    """Leaves out every file whose tokens equal an earlier one's; the first in order stays.

    ``duplicates`` grows by the records that go with them.
    """
    return _first(corpora, records=False)


def deduplicate(corpora: Sequence[Corpus]) -> list[Corpus]:
    """Removes equal files and equal records within and across organizations.

    The first in order keeps what is equal: put first what is measured, last what is trained on.
    ``SourceFile.tokens`` stay as they are, for models that are measured over whole files.
    """
    return _first(corpora, records=True)


def _first(corpora: Sequence[Corpus], *, records: bool) -> list[Corpus]:
    """The first of equal files, and of equal ``records``. In memory are digests, not tokens."""
    files, seen = set[bytes](), set[bytes]()
    result = []
    for corpus in corpora:
        kept = Kept()
        for file in corpus.files:
            if not _new(file.tokens, files):
                kept.pass_over(file)
            else:
                kept.take(not records or _new(r.tokens, seen) for r in file.records)
        result.append(_with(corpus, kept.of(corpus.files), kept.removed))
    return result


def without(public: Corpus, organizations: Sequence[Corpus]) -> Corpus:
    """``public`` less every file and every record that also stands in an organization.

    Here the records' tokens leave ``SourceFile.tokens``, too: whole files are trained on. Files of
    which nothing remains go. Duplicates within ``public`` stay; see :func:`deduplicate`.

    Args:
        public: as it was read: with all its records.
        organizations: as they were read, before any record was removed.
    """
    files, records = set[bytes](), set[bytes]()
    for corpus in organizations:
        for file in corpus.files:
            files.add(tokens_digest(file.tokens))
            records.update(tokens_digest(r.tokens) for r in file.records)
    rows, removed = array("q"), 0
    gone: dict[str, set[UnitId]] = {}
    for row, file in enumerate(public.files):
        if tokens_digest(file.tokens) in files:
            removed += len(file.records)
            continue
        if units := {r.unit for r in file.records if tokens_digest(r.tokens) in records}:
            gone[file.path] = units
            removed += len(units)
        if not units or without_units(file, units).tokens:
            rows.append(row)
    left = chosen(public.files, rows)
    if gone:
        left = changed(left, lambda _, file: without_units(file, gone.get(file.path, ())))
    return _with(public, left, removed)


def _with(corpus: Corpus, files: Sequence[SourceFile], removed: int) -> Corpus:
    duplicates = corpus.duplicates + removed
    return replace(corpus, files=files, duplicates=duplicates, known_as="")


def tokens_digest(tokens: Tokens) -> bytes:
    """128 bits that tell tokens apart; no token holds a line break."""
    text = "\n".join(tokens).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def _new(tokens: Tokens, seen: set[bytes]) -> bool:
    if not tokens:
        return True  # rows of tables have none, and are told apart by their names
    known = len(seen)
    seen.add(tokens_digest(tokens))
    return len(seen) > known


def without_units(file: SourceFile, unwanted: Collection[UnitId]) -> SourceFile:
    """A file less some of its records and their tokens.

    Args:
        file: as it was read: with all its records.
        unwanted: units of its records.
    """
    kept = tuple(r for r in file.records if r.unit not in unwanted)
    if len(kept) == len(file.records):
        return file
    units = {record.unit for record in kept}
    tokens = tuple(token for owner, part in _parts(file) if owner.unit in units for token in part)
    return SourceFile(file.path, tokens, kept)


def _parts(file: SourceFile) -> Iterator[tuple[Record, Tokens]]:
    """A file with all its records as runs of tokens, each with the record it belongs to.

    A module record's tokens are what stands between the functions, and functions stand in order.
    So the module's next tokens end where the next function starts: it is the first place that
    leaves the right number of tokens behind it and reads as the function does.
    """
    functions = [r for r in file.records if r.kind == "function"]
    module = [r for r in file.records if r.kind == "module"]
    end = 0
    for function in functions:
        start = _find(file.tokens, function.tokens, end)
        yield from ((m, file.tokens[end:start]) for m in module)
        end = start + len(function.tokens)
        yield function, file.tokens[end - len(function.tokens) : end]
    yield from ((m, file.tokens[end:]) for m in module)


def _find(tokens: Tokens, part: Tokens, start: int) -> int:
    while tokens[start : start + len(part)] != part:
        start = tokens.index(part[0], start + 1)
    return start
