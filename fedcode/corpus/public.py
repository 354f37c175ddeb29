# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The public corpus as a file that a coordinator hands to its members.

A file like those of the cache, but its reader trusts nobody: nothing is allocated before its size
was looked at, and what is malformed is one error. A record's tokens are runs of its file's tokens.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedcode.corpus.files import MODULE
from fedcode.errors import CorpusError, RunError
from fedcode.record import Corpus, Record, SourceFile, UnitId
from fedcode.storage import write_atomically

_MAGIC = b"fedcode-public/1"
_LARGEST = 128 << 20  # bytes of a file
_LONGEST = 4 << 20  # bytes of one source file in it, before compression
_MOST_TEXT = 512 << 20
_MOST_TOKENS = 20_000_000
_CHUNK = 1 << 16

Tokens = tuple[str, ...]


def save_public(path: Path, corpus: Corpus) -> str:
    """Writes ``corpus``, all or nothing.

    Returns:
        Its digest.

    Raises:
        CorpusError: it is larger than what :func:`read_public` takes.
    """
    digest, pieces, total = hashlib.sha256(), [], 0
    packer = zlib.compressobj(6)
    for line in _lines_of(corpus):
        digest.update(line)
        total += len(line)
        pieces.append(packer.compress(line))
    body = b"".join([*pieces, packer.flush()])
    fits = len(body) <= _LARGEST - _CHUNK and total <= _MOST_TEXT
    if not fits or corpus.lexer_tokens > _MOST_TOKENS:
        raise CorpusError("the public corpus is too large to be sent", "set public.max_tokens")
    write_atomically(path, b"%s %s\n%s" % (_MAGIC, hashlib.sha256(body).hexdigest().encode(), body))
    return digest.hexdigest()


def digest_of(corpus: Corpus) -> str:
    """SHA-256 of what :func:`save_public` writes, before compression."""
    digest = hashlib.sha256()
    for line in _lines_of(corpus):
        digest.update(line)
    return digest.hexdigest()


def read_public(path: Path, digest: str) -> Corpus:
    """What :func:`save_public` wrote.

    Args:
        path: the file.
        digest: of the corpus that is wanted.

    Raises:
        RunError: it is another one, or none.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    except OSError as error:
        raise RunError(f"{path} cannot be read", "is it among the start files?") from error
    try:
        files, found = _files(content)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, zlib.error) as error:
        raise RunError(
            f"{path} is not what was written there", "fetch the start files again"
        ) from error
    if found != digest:
        raise RunError(
            f"{path} is not the public corpus that the start files name",
            "fetch the start files again",
        )
    return Corpus("public", files)


def _lines_of(corpus: Corpus) -> Iterator[bytes]:
    """A line of JSON for each file: path, tokens, and its records."""
    for file in corpus.files:
        records = [
            [record.name, record.lines, runs]
            for record, runs in zip(file.records, _runs(file), strict=True)
        ]
        # No token holds a line break.
        line = json.dumps([file.path, "\n".join(file.tokens), records], separators=(",", ":"))
        if len(line) >= _LONGEST:
            raise CorpusError(f"{file.path} is too long to be sent", "leave it out")
        yield line.encode() + b"\n"


def _runs(file: SourceFile) -> Iterator[list[int]]:
    """Where each record's tokens stand: starts and ends of runs, in order."""
    end = 0
    for record in file.records:
        if record.kind == "function":
            start = _find(file.tokens, record.tokens, end)
            end = start + len(record.tokens)
            yield [start, end]
        else:
            yield _scattered(file.tokens, record.tokens)


def _find(tokens: Tokens, part: Tokens, start: int) -> int:
    while tokens[start : start + len(part)] != part:
        start = tokens.index(part[0], start + 1)
    return start


def _scattered(tokens: Tokens, part: Sequence[str]) -> list[int]:
    """Runs of ``tokens`` that give ``part``, each token at its first possible place."""
    runs: list[int] = []
    place = 0
    for token in part:
        found = tokens.index(token, place)
        if runs and runs[-1] == found:
            runs[-1] = found + 1
        else:
            runs += [found, found + 1]
        place = found + 1
    return runs


def _files(content: bytes) -> tuple[tuple[SourceFile, ...], str]:
    """The files, and the digest of their lines.

    Raises:
        ValueError: not of this form, or too large; so TypeError and others.
    """
    first, _, body = content.partition(b"\n")
    if first != b"%s %s" % (_MAGIC, hashlib.sha256(body).hexdigest().encode()):
        raise ValueError("the checksum differs")
    digest, files, tokens = hashlib.sha256(), [], 0
    for line in _unpacked(body):
        digest.update(line + b"\n")
        tokens += line.count(b"\\n")
        if tokens > _MOST_TOKENS:
            raise ValueError("too many tokens")
        files.append(_file(json.loads(line)))
    if [f.path for f in files] != sorted({f.path for f in files}):
        raise ValueError("the paths are not in order")
    return tuple(files), digest.hexdigest()


def _unpacked(body: bytes) -> Iterator[bytes]:
    """Lines, none longer than it may be; each is looked at before more is unpacked."""
    packed = zlib.decompressobj()
    rest, total = b"", 0
    data = body
    while not packed.eof:
        text = packed.decompress(data, _CHUNK)
        data, total = packed.unconsumed_tail, total + len(text)
        if not text and not packed.eof:
            raise ValueError("it ends too early")
        *lines, rest = (rest + text).split(b"\n")
        if total > _MOST_TEXT or any(len(line) > _LONGEST for line in (*lines, rest)):
            raise ValueError("too long")
        yield from lines
    if rest or packed.unused_data:
        raise ValueError("something follows")


def _file(values: Any) -> SourceFile:
    path, text, entries = values
    if type(path) is not str or not path.isprintable() or type(text) is not str or not text:
        raise TypeError("a path or text is not of its type")
    tokens = tuple(map(sys.intern, text.split("\n")))
    records, left = [], len(tokens)
    for name, lines, runs in entries:
        if type(name) is not str or any(type(n) is not int for n in (lines, *runs)):
            raise TypeError("a record is not of its type")
        own = [(a, b) for a, b in zip(runs[::2], runs[1::2], strict=True)]
        ends = [0, *runs, len(tokens)]
        left -= sum(b - a for a, b in own)
        if not own or lines < 0 or left < 0 or ends != sorted(ends) or any(a == b for a, b in own):
            raise ValueError("a record is not in its file")
        part = tuple(token for a, b in own for token in tokens[a:b])
        kind: Any = "module" if name == MODULE else "function"
        records.append(Record(UnitId(f"{path}::{name}"), path, name, kind, part, lines))
    if len({record.unit for record in records}) < len(records):
        raise ValueError("two records have one name")
    return SourceFile(path, tokens, tuple(records))
