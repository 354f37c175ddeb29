# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""From a file's bytes to its records."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from fedcode.corpus.filters import Screen
from fedcode.corpus.language import Function, Language, Reading
from fedcode.corpus.languages import LANGUAGES
from fedcode.errors import CorpusError
from fedcode.record import Record, SourceFile, Taken, UnitId

MODULE = "<module>"
"""Name of the record that holds what is left of a file without its functions."""

LONGEST_FILE = 200_000
"""In characters; longer files are tables, or were written by programs."""


_LONG, _DENSEST = 20_000, 100
"""Longer texts than this, in characters, that shrink to less than a hundredth say nothing, and can
cost a parser time with their square."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A file and where to cut it: what a row of a store says.

    Attributes:
        path: the file, relative to the organization's root.
        tokens: all its tokens; empty where the file holds none.
        functions: ascending and disjoint.
        lines: non-blank source lines outside the functions.
        ast: tokens of the syntax tree outside the functions.
        note: what of the file was not read, if not all was; nothing of its text.
        taken: what filters took from it.
    """

    path: str
    tokens: tuple[str, ...]
    functions: tuple[Function, ...]
    lines: int
    ast: tuple[str, ...] = ()
    note: str = ""
    taken: tuple[Taken, ...] = ()


def cut(path: str, data: bytes, screen: Screen | None = None, licence: str = "") -> Cut:
    """Reads one file.

    Args:
        path: the file.
        data: what it holds.
        screen: what must not be trained on.
        licence: of the nearest folder that states one, as an SPDX expression.

    Raises:
        CorpusError: why it cannot be read; the message holds nothing of its text.
    """
    return _cut(path, _language(path).decode(data), screen, licence)


def _language(path: str) -> Language:
    return LANGUAGES[PurePosixPath(path).suffix]


def _cut(path: str, text: str, screen: Screen | None = None, licence: str = "") -> Cut:
    if len(text) > LONGEST_FILE:
        raise CorpusError(f"over {LONGEST_FILE:,} characters")
    if len(text) > _LONG:
        data = text.encode("utf-8", "surrogatepass")
        if _DENSEST * len(zlib.compress(data, 1)) < len(data):
            raise CorpusError("the same over and over")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Cut(path, (), (), 0)
    language = _language(path)
    if screen is None:
        return _made(path, language.read(text))
    screened = screen.text(path, text, language, licence)
    if screened.whole:
        return Cut(path, (), (), 0, taken=screened.taken)
    found = language.read(screened.text)
    rest, taken = screen.cut(path, found, screened.blocks)
    return replace(_made(path, rest), note=_note(found), taken=(*screened.taken, *taken))


def _made(path: str, found: Reading) -> Cut:
    return Cut(path, found.tokens, found.functions, found.lines, found.ast, _note(found))


def _note(found: Reading) -> str:
    return (
        f"syntax error: {len(found.functions)} of {found.found} functions read"
        if found.broken
        else ""
    )


def source_file(piece: Cut) -> SourceFile:
    """The file with its records: every function, then the module with all remaining tokens.

    What could not be read of a file is in no record, nor in its tokens.
    """
    tokens, path, language = piece.tokens, piece.path, _language(piece.path).name
    records = []
    rest: list[str] = []
    end = 0
    for function in piece.functions:
        rest += tokens[end : function.start]
        end = function.stop
        records.append(
            Record(
                unit=UnitId(f"{path}::{function.name}"),
                path=path,
                name=function.name,
                kind="function",
                tokens=tokens[function.start : end],
                lines=function.lines,
                language=language,
                first=function.first,
                last=function.last,
                ast=function.ast,
                metrics=function.metrics,
                comments=function.comments,
            )
        )
    rest += tokens[end:]
    if rest:
        records.append(
            Record(
                unit=UnitId(f"{path}::{MODULE}"),
                path=path,
                name=MODULE,
                kind="module",
                tokens=tuple(rest),
                lines=piece.lines,
                language=language,
                ast=piece.ast,
            )
        )
    return SourceFile(path, tokens, tuple(records))


def parse(path: str, text: str) -> SourceFile:
    """One file from its text, cut as in a corpus that was read.

    Raises:
        CorpusError: the text cannot be read as the language that the path's suffix names.
    """
    return source_file(_cut(path, text))
