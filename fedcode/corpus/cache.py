# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A corpus that was read before, kept under the digest of everything that made it.

A file is one line with a checksum and zlib-compressed lines of JSON: nothing in it can run.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from fedcode.corpus.files import Cut
from fedcode.corpus.language import Function
from fedcode.corpus.syntax import GRAMMARS
from fedcode.errors import CacheDamaged
from fedcode.record import Metrics, Skipped, Taken
from fedcode.storage import write_atomically

READER = 4
"""Raised when a file's tokens or records would come out otherwise."""

_MAGIC = b"fedcode-corpus/4"
_METRICS = tuple(field.name for field in fields(Metrics))


def cache_folder() -> Path:
    """``FEDCODE_CACHE``, else ``fedcode`` in the platform's folder for caches."""
    if chosen := os.environ.get("FEDCODE_CACHE"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "fedcode"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "fedcode"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "fedcode"


def place(
    cache: Path,
    source: str,
    name: str,
    max_tokens: int | None,
    files: Iterable[tuple[str, ...]],
    screen: str = "",
) -> Path:
    """Where a corpus is kept.

    Args:
        cache: the cache's folder.
        source: as it was asked for.
        name: the organization's.
        max_tokens: the cap, if any.
        files: path, content digest and folder's licence of every file, in path order.
        screen: what says all of the filters.
    """
    versions = [list(sys.version_info[:2]), *map(_version, GRAMMARS)]
    key = json.dumps([READER, versions, source, name, max_tokens, list(files), screen])
    return cache / "corpus" / f"{hashlib.sha256(key.encode()).hexdigest()}.zz"


def last(cache: Path, source: str, name: str, screen: str = "") -> Path:
    """Where it is kept which corpus was read last of a source, at whatever commit.

    Args:
        cache: the cache's folder.
        source: without a commit.
        name: the organization's.
        screen: what says all of the filters.
    """
    versions = [list(sys.version_info[:2]), *map(_version, GRAMMARS)]
    key = json.dumps([READER, versions, source, name, screen])
    return cache / "last" / f"{hashlib.sha256(key.encode()).hexdigest()}.zz"


def store(
    file: Path,
    pieces: Sequence[Cut],
    skipped: Sequence[Skipped],
    taken: Sequence[Taken],
    keys: Mapping[str, tuple[str, ...]],
) -> None:
    """Writes what was read to ``file``: all of it, or nothing.

    Args:
        file: see :func:`place`.
        pieces: in path order.
        skipped: what was not read.
        taken: what filters took.
        keys: of each file what its piece was made from.
    """
    lines = [json.dumps([[s.path, s.reason] for s in skipped])]
    lines += [json.dumps(list(map(astuple, taken)))]
    lines += [json.dumps([keys[piece.path], packed(piece)]) for piece in pieces]
    keep(file, "\n".join(lines))


def load(file: Path) -> tuple[list[Cut], list[Skipped], list[Taken]]:
    """What :func:`store` wrote, without the keys.

    Raises:
        CacheDamaged: the file is not what was written.
    """
    pieces, skipped, taken = _loaded(file)
    return list(pieces.values()), skipped, taken


def known(file: Path) -> dict[tuple[str, ...], Cut]:
    """What :func:`store` wrote, by path and key; nothing if there is no such file.

    Raises:
        CacheDamaged: the file is not what was written.
    """
    return _loaded(file)[0] if file.exists() else {}


def _loaded(file: Path) -> tuple[dict[tuple[str, ...], Cut], list[Skipped], list[Taken]]:
    try:
        skipped, taken, *lines = kept(file).split("\n")
        pieces = {}
        for line in lines:
            key, values = json.loads(line)
            piece = unpacked(values)
            pieces[piece.path, *key] = piece
        bad = [Skipped(path, reason) for path, reason in json.loads(skipped)]
        return pieces, bad, [Taken(*values) for values in json.loads(taken)]
    except (ValueError, TypeError) as error:
        raise damaged(file) from error


def forget(cache: Path) -> None:
    """Deletes all that was kept of corpora and their histories: they are read anew."""
    for folder in ("corpus", "last", "labels", "authors", "commits"):
        for file in (cache / folder).rglob("*.zz"):
            file.unlink(missing_ok=True)


def keep(file: Path, text: str) -> None:
    """Writes ``text`` to ``file``, compressed and with its checksum: all of it, or nothing."""
    body = zlib.compress(text.encode(), 3)
    write_atomically(file, b"%s %s\n%s" % (_MAGIC, _checksum(body), body))


def kept(file: Path) -> str:
    """What :func:`keep` wrote.

    Raises:
        CacheDamaged: the file is not what was written.
    """
    try:
        return zlib.decompress(_checked(file.read_bytes())).decode()
    except (OSError, ValueError, zlib.error) as error:
        raise damaged(file) from error


def damaged(file: Path) -> CacheDamaged:
    """What to say of a file that is not what was written."""
    return CacheDamaged(f"{file} is not what was written there", "delete it; it will be made again")


def _checked(content: bytes) -> bytes:
    first, _, body = content.partition(b"\n")
    if first != b"%s %s" % (_MAGIC, _checksum(body)):
        raise ValueError("the checksum differs")
    return body


def packed(piece: Cut) -> list[Any]:
    """A file as plain values, few of them: it travels and is written faster so."""
    functions = [
        [
            *(f.name, f.start, f.stop, f.first, f.last, f.lines, "\n".join(f.ast)),
            *([getattr(f.metrics, name) for name in _METRICS], f.comments),
        ]
        for f in piece.functions
    ]
    # No token holds a line break.
    tokens, ast = "\n".join(piece.tokens), "\n".join(piece.ast)
    taken = [astuple(one) for one in piece.taken]
    return [piece.path, piece.lines, piece.note, functions, tokens, ast, taken]


def unpacked(values: list[Any]) -> Cut:
    """What :func:`packed` made."""
    path, lines, note, functions, tokens, ast, taken = values
    found = tuple(
        Function(
            name=name,
            start=start,
            stop=stop,
            first=first,
            last=last,
            lines=own_lines,
            ast=_split(own),
            metrics=Metrics(*metrics),
            comments=tuple((a, b) for a, b in comments),
        )
        for name, start, stop, first, last, own_lines, own, metrics, comments in functions
    )
    gone = tuple(Taken(*one) for one in taken)
    return Cut(path, _split(tokens), found, lines, _split(ast), note, gone)


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
