# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""From a file's bytes to its records."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from fedcode.corpus.language import Function, Language
from fedcode.corpus.python import Python
from fedcode.errors import CorpusError
from fedcode.record import Record, SourceFile, UnitId

LANGUAGES: Mapping[str, Language] = {".py": Python()}
"""By file suffix. A further language is one more line here."""

MODULE = "<module>"
"""Name of the record that holds what is left of a file without its functions."""

LONGEST_FILE = 200_000
"""In characters; longer files are tables, or were written by programs."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A file and where to cut it: what travels between processes and lies in the cache.

    Attributes:
        path: the file, relative to the organization's root.
        tokens: all its tokens; empty where the file holds none.
        functions: ascending and disjoint.
        lines: non-blank source lines outside the functions.
    """

    path: str
    tokens: tuple[str, ...]
    functions: tuple[Function, ...]
    lines: int


def cut(path: str, data: bytes) -> Cut:
    """Reads one file.

    Raises:
        CorpusError: why it cannot be read; the message holds nothing of its text.
    """
    return _cut(path, LANGUAGES[PurePosixPath(path).suffix].decode(data))


def _cut(path: str, text: str) -> Cut:
    language = LANGUAGES[PurePosixPath(path).suffix]
    if len(text) > LONGEST_FILE:
        raise CorpusError(f"over {LONGEST_FILE:,} characters")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Cut(path, (), (), 0)
    lexed = language.lex(text)
    functions = tuple(language.functions(text, lexed))
    lines = sum(bool(line.strip()) for line in text.split("\n"))
    return Cut(path, lexed.tokens, functions, lines - sum(f.lines for f in functions))


def source_file(piece: Cut) -> SourceFile:
    """The file with its records: every function, then the module with all remaining tokens."""
    tokens = tuple(map(sys.intern, piece.tokens))  # most tokens repeat: one copy in memory of each
    records = []
    rest: list[str] = []
    end = 0
    for function in piece.functions:
        rest += tokens[end : function.start]
        end = function.stop
        records.append(
            Record(
                unit=UnitId(f"{piece.path}::{function.name}"),
                path=piece.path,
                name=function.name,
                kind="function",
                tokens=tokens[function.start : end],
                lines=function.lines,
            )
        )
    rest += tokens[end:]
    if rest:
        unit = UnitId(f"{piece.path}::{MODULE}")
        records.append(Record(unit, piece.path, MODULE, "module", tuple(rest), piece.lines))
    return SourceFile(piece.path, tokens, tuple(records))


def parse(path: str, text: str) -> SourceFile:
    """One file from its text, cut as in a corpus that was read.

    Raises:
        CorpusError: the text cannot be read as the language that the path's suffix names.
    """
    return source_file(_cut(path, text))
