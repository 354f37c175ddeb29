# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What was found before, kept under the digest of everything that made it.

A corpus lies in a store (see ``fedcode.corpus.store``). Any other file is one line with a checksum
and zlib-compressed lines of JSON: nothing in it can run.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from fedcode.corpus.syntax import GRAMMARS
from fedcode.errors import CacheDamaged
from fedcode.storage import write_atomically

READER = 5
"""Raised when a file's tokens or records would come out otherwise."""

STORE = ".arrow"
"""What the name of a store ends with."""

_MAGIC = b"fedcode-corpus/4"


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
    return cache / "corpus" / f"{hashlib.sha256(key.encode()).hexdigest()}{STORE}"


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


def forget(cache: Path) -> None:
    """Deletes all that was kept of corpora and their histories: they are read anew."""
    for folder in ("corpus", "last", "labels", "authors", "commits"):
        for form in ("*.zz", f"*{STORE}"):
            for file in (cache / folder).rglob(form):
                file.unlink(missing_ok=True)


def keep(file: Path, text: str) -> None:
    """Writes ``text`` to ``file``, compressed and with its checksum: all of it, or nothing.

    A cache that cannot be written is no reason to stop.
    """
    body = zlib.compress(text.encode(), 3)
    with suppress(OSError):
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


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
