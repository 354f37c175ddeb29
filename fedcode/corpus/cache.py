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
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedcode.corpus.files import Cut
from fedcode.corpus.language import Function
from fedcode.errors import CacheDamaged
from fedcode.record import Skipped
from fedcode.storage import write_atomically

READER = 1
"""Raised when a file's tokens or records would come out otherwise."""

_MAGIC = b"fedcode-corpus/1"


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
    cache: Path, source: str, name: str, max_tokens: int | None, files: Iterable[tuple[str, str]]
) -> Path:
    """Where a corpus is kept.

    Args:
        cache: the cache's folder.
        source: as it was asked for.
        name: the organization's.
        max_tokens: the cap, if any.
        files: path and content digest of every file, in path order.
    """
    python = list(sys.version_info[:2])
    key = json.dumps([READER, python, source, name, max_tokens, list(files)])
    return cache / "corpus" / f"{hashlib.sha256(key.encode()).hexdigest()}.zz"


def store(file: Path, pieces: Sequence[Cut], skipped: Sequence[Skipped]) -> None:
    """Writes what was read to ``file``: all of it, or nothing."""
    lines = [json.dumps([[s.path, s.reason] for s in skipped])]
    for piece in pieces:
        functions = [[f.name, f.start, f.stop, f.lines] for f in piece.functions]
        # No token holds a line break.
        lines.append(json.dumps([piece.path, piece.lines, functions, "\n".join(piece.tokens)]))
    keep(file, "\n".join(lines))


def load(file: Path) -> tuple[list[Cut], list[Skipped]]:
    """What :func:`store` wrote.

    Raises:
        CacheDamaged: the file is not what was written.
    """
    try:
        skipped, *lines = kept(file).split("\n")
        pieces = [_piece(line) for line in lines]
        return pieces, [Skipped(path, reason) for path, reason in json.loads(skipped)]
    except (ValueError, TypeError) as error:
        raise damaged(file) from error


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


def _piece(line: str) -> Cut:
    path, lines, functions, text = json.loads(line)
    return Cut(path, tuple(text.split("\n")), tuple(Function(*f) for f in functions), lines)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
