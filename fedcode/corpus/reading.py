# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Reads an organization's code: file after file, in several processes, in a fixed order."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import signal
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

from fedcode.corpus import cache as cached
from fedcode.corpus.files import Cut, cut, source_file
from fedcode.corpus.sources import Entry, contents, find
from fedcode.errors import CorpusError
from fedcode.record import Corpus, Skipped

_FEW_FILES = 60
_FEW_TOKENS = 200_000
"""So much is read sooner than further processes start."""

_AT_ONCE = 16
"""Files that a process reads at a time."""

_Read = tuple[Cut | Skipped, str]
"""A file, or why it was not read, and the SHA-256 of the bytes it was read from."""


def read(
    source: str,
    name: str,
    *,
    max_tokens: int | None = None,
    cache: Path | None = None,
    workers: int = 1,
) -> Corpus:
    """Reads what an organization holds. A bad file is named in the result, and never fatal.

    Files whose tokens equal an earlier one's are left out; so are empty ones.

    Args:
        source: see :func:`fedcode.corpus.sources.find`.
        name: the organization's.
        max_tokens: files are taken in the order of SHA-256("name/path") until the next one would
            pass so many lexer tokens.
        cache: a folder to keep the result in, under a digest of the files' content.
        workers: processes. With more than one, a script that calls this needs the usual
            ``if __name__ == "__main__":``.

    Raises:
        CorpusError: no such source, or nothing in it that can be read.
        CacheDamaged: the kept result is not what was written.
    """
    listing = find(source)
    entries = [listing.entries[path] for path in sorted(listing.entries)]
    place = None
    digests: dict[str, str] = {}
    if cache is not None:
        digests = {entry.path: _digest(data) for entry, data in contents(entries)}
        place = cached.place(cache, source, name, max_tokens, digests.items())
        if place.exists():
            return _corpus(name, *cached.load(place))
    if max_tokens is not None:
        entries.sort(key=lambda entry: _digest(f"{name}/{entry.path}"))
    pieces: list[Cut] = []
    skipped = list(listing.skipped)
    few = len(entries) <= _FEW_FILES or (max_tokens is not None and max_tokens <= _FEW_TOKENS)
    with closing(_read_all(entries, 1 if few else workers)) as stream:
        steady = _take(stream, max_tokens, digests, pieces, skipped)
    if not pieces:
        raise _nothing(source, max_tokens if entries else None, skipped)
    pieces.sort(key=lambda piece: piece.path)
    skipped.sort(key=lambda bad: bad.path)
    if place is not None and steady:
        with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
            cached.store(place, pieces, skipped)
    return _corpus(name, pieces, skipped)


def _corpus(name: str, pieces: Sequence[Cut], skipped: Sequence[Skipped]) -> Corpus:
    return Corpus(name, tuple(map(source_file, pieces)), tuple(skipped))


def _digest(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def _take(
    stream: Iterable[_Read],
    max_tokens: int | None,
    digests: dict[str, str],
    pieces: list[Cut],
    skipped: list[Skipped],
) -> bool:
    """Sorts files into those taken and those skipped, up to the cap.

    Returns:
        Whether every file still was what ``digests`` say.
    """
    first: dict[tuple[str, ...], str] = {}
    total = 0
    steady = True
    for item, digest in stream:
        steady &= digests.get(item.path, digest) == digest
        if isinstance(item, Skipped):
            skipped.append(item)
        elif item.tokens in first:
            skipped.append(Skipped(item.path, f"same tokens as {first[item.tokens]}"))
        elif item.tokens:
            total += len(item.tokens)
            if max_tokens is not None and total > max_tokens:
                break
            first[item.tokens] = item.path
            pieces.append(item)
    return steady


def _read_all(entries: Sequence[Entry], workers: int) -> Generator[_Read]:
    """Reads files in the order given; stops reading soon after it is closed."""
    if workers <= 1:
        yield from (_read_one(entry, data) for entry, data in contents(entries))
        return
    # Fresh processes: a fork would copy the locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_ignore_interrupt)
    try:
        chunks = [entries[i : i + _AT_ONCE] for i in range(0, len(entries), _AT_ONCE)]
        for results in pool.map(_read_some, chunks):
            yield from results
    except BrokenProcessPool as error:
        raise CorpusError("a reading process died", "read with a single worker") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C


def _read_some(entries: Sequence[Entry]) -> list[_Read]:
    return [_read_one(entry, data) for entry, data in contents(entries)]


def _read_one(entry: Entry, data: bytes | str) -> _Read:
    if isinstance(data, str):
        return Skipped(entry.path, data), _digest(data)
    try:
        return cut(entry.path, data), _digest(data)
    except CorpusError as error:
        return Skipped(entry.path, str(error)), _digest(data)


def _nothing(source: str, max_tokens: int | None, skipped: Sequence[Skipped]) -> CorpusError:
    if skipped:
        first = f"{skipped[0].path}: {skipped[0].reason}"
        return CorpusError(
            f"no file of {source} can be read ({len(skipped)} skipped)", f"the first is {first}"
        )
    if max_tokens is not None:
        return CorpusError(
            f"no file of {source} fits into {max_tokens:,} tokens",
            "raise max_tokens, or leave it out",
        )
    return CorpusError(
        f"no source files in {source}",
        "tests, documentation, examples and vendored code do not count",
    )
