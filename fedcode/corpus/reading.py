# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Reads an organization's code: file after file, in several processes, in a fixed order."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import multiprocessing
import signal
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from fedcode.corpus import cache as cached
from fedcode.corpus import commits, git
from fedcode.corpus.files import Cut, cut, source_file
from fedcode.corpus.filters import Screen
from fedcode.corpus.filters.personal import FILTER as PERSONAL
from fedcode.corpus.revisions import SCHEME, folder_of, revision
from fedcode.corpus.sources import Entry, contents, find
from fedcode.errors import CorpusError
from fedcode.record import Corpus, Skipped, Taken

_FEW_FILES = 60
_FEW_TOKENS = 200_000
"""So much is read sooner than further processes start."""

_AT_ONCE = 16
"""Files that a process reads at a time."""

_FEW_COLLECTIONS = 100_000
"""A reading process makes many objects and no cycles: it looks for cycles that seldom."""

_Read = tuple[Cut | Skipped, str]
"""A file, or why it was not read, and the SHA-256 of the bytes it was read from."""


def read(
    source: str,
    name: str,
    *,
    max_tokens: int | None = None,
    cache: Path | None = None,
    workers: int = 1,
    screen: Screen | None = None,
) -> Corpus:
    """Reads what an organization holds. A bad file is named in the result, and never fatal.

    So is one with syntax errors, of which some functions were read.

    Files whose tokens equal an earlier one's are left out; so are empty ones.

    Args:
        source: see :func:`fedcode.corpus.sources.find`.
        name: the organization's.
        max_tokens: files are taken in the order of SHA-256("name/path") until the next one would
            pass so many lexer tokens.
        cache: a folder to keep the result in, under a digest of the files' content; of files that
            were read before, in the same place, what came of them is taken from there.
        workers: processes. With more than one, a script that calls this needs the usual
            ``if __name__ == "__main__":``.
        screen: what must not be trained on; it is in ``taken``. None takes nothing.

    Raises:
        CorpusError: no such source, or nothing in it that can be read and trained on.
        ConfigError: ``screen`` asks for what is not installed.
        CacheDamaged: the kept result is not what was written.
    """
    if screen:
        screen.check()
    scheme, _, rest = source.partition(":")
    if scheme == commits.SCHEME and rest:
        refused: list[str] = []
        if screen:  # what paths and whole files say is said of the files as they are
            whole = read(f"{SCHEME}:{rest}", name, cache=cache, workers=workers, screen=screen)
            refused = [one.path for one in whole.taken if not one.name and one.filter != PERSONAL]
        return commits.read(rest, name, max_tokens, cache, screen, refused)
    screen = _knowing(screen, source)
    listing = find(source, screen)
    entries = [listing.entries[path] for path in sorted(listing.entries)]
    place = last = None
    digests: dict[str, str] = {}
    known: dict[tuple[str, ...], Cut] = {}
    if cache is not None:
        digests = {entry.path: _digest(data) for entry, data in contents(entries)}
        files = [(entry.path, digests[entry.path], entry.licence) for entry in entries]
        key = screen.key() if screen else ""
        place = cached.place(cache, source, name, max_tokens, files, key)
        last = cached.last(cache, f"{scheme}:{folder_of(rest)}", name, key)
        if place.exists():
            pieces, skipped, taken = cached.load(place)
            return _corpus(name, pieces, skipped, [*listing.taken, *taken])
        if last.exists():
            known = cached.known(cache / "corpus" / cached.kept(last))
    if max_tokens is not None:
        entries.sort(key=lambda entry: _digest(f"{name}/{entry.path}"))
    found = _Found(list(listing.skipped))
    keys = {entry.path: (digests.get(entry.path, ""), entry.licence) for entry in entries}
    new = [entry for entry in entries if (entry.path, *keys[entry.path]) not in known]
    few = len(new) <= _FEW_FILES or (max_tokens is not None and max_tokens <= _FEW_TOKENS)
    with closing(_read_all(new, 1 if few else workers, screen)) as stream:
        steady = found.take(_in_order(entries, keys, known, stream), max_tokens, digests)
    if not found.pieces:
        taken = [*listing.taken, *found.taken]
        raise _nothing(source, max_tokens if entries else None, found.skipped, taken)
    found.pieces.sort(key=lambda piece: piece.path)
    found.skipped.sort(key=lambda bad: bad.path)
    if place is not None and last is not None and steady:
        with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
            cached.store(place, found.pieces, found.skipped, found.taken, keys)
            cached.keep(last, place.name)
    return _corpus(name, found.pieces, found.skipped, [*listing.taken, *found.taken])


def _in_order(
    entries: Iterable[Entry],
    keys: Mapping[str, tuple[str, ...]],
    known: Mapping[tuple[str, ...], Cut],
    stream: Iterator[_Read],
) -> Iterator[_Read]:
    """What was read before, and between it what is read now, in the order of ``entries``."""
    for entry in entries:
        before = known.get((entry.path, *keys[entry.path]))
        if before is None:
            yield next(stream)
        else:
            yield before, keys[entry.path][0]


def _knowing(screen: Screen | None, source: str) -> Screen | None:
    """With the names of a repository's authors, where persons are to be replaced."""
    scheme, _, rest = source.partition(":")
    if screen is None or scheme != SCHEME or not rest or not screen.settings.personal:
        return screen
    return replace(screen, people=screen.people | git.people(revision(rest).snapshot))


def _corpus(
    name: str, pieces: Sequence[Cut], skipped: Sequence[Skipped], taken: Sequence[Taken]
) -> Corpus:
    files = tuple(map(source_file, pieces))
    return Corpus(name, files, tuple(skipped), taken=tuple(sorted(taken)))


def _digest(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


@dataclass(slots=True)
class _Found:
    """What was read, what could not be, and what must not be trained on."""

    skipped: list[Skipped]
    pieces: list[Cut] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)

    def take(
        self, stream: Iterable[_Read], max_tokens: int | None, digests: Mapping[str, str]
    ) -> bool:
        """Sorts files into those kept and those skipped, up to the cap.

        Returns:
            Whether every file still was what ``digests`` say.
        """
        first: dict[tuple[str, ...], str] = {}
        total = 0
        steady = True
        for item, digest in stream:
            steady &= digests.get(item.path, digest) == digest
            if isinstance(item, Skipped):
                self.skipped.append(item)
            elif item.tokens and item.tokens in first:
                self.skipped.append(Skipped(item.path, f"same tokens as {first[item.tokens]}"))
            else:
                total += len(item.tokens)
                if max_tokens is not None and total > max_tokens:
                    break
                self.taken += item.taken
                if item.tokens:
                    first[item.tokens] = item.path
                    self.pieces.append(item)
                if item.note:
                    self.skipped.append(Skipped(item.path, item.note))
        return steady


def _read_all(entries: Sequence[Entry], workers: int, screen: Screen | None) -> Generator[_Read]:
    """Reads files in the order given; stops reading soon after it is closed."""
    if workers <= 1:
        yield from (_read_one(entry, data, screen) for entry, data in contents(entries))
        return
    # Fresh processes: a fork would copy the locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_prepare)
    try:
        chunks = [entries[i : i + _AT_ONCE] for i in range(0, len(entries), _AT_ONCE)]
        for results in pool.map(partial(_read_some, screen=screen), chunks):
            for values, digest in results:
                read = values if isinstance(values, Skipped) else cached.unpacked(values)
                yield read, digest
    except BrokenProcessPool as error:
        raise CorpusError("a reading process died", "read with a single worker") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    gc.set_threshold(_FEW_COLLECTIONS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C


def _read_some(
    entries: Sequence[Entry], screen: Screen | None = None
) -> list[tuple[list[Any] | Skipped, str]]:
    """In a process of its own: files as what travels fast."""
    found = (_read_one(entry, data, screen) for entry, data in contents(entries))
    return [
        (cached.packed(item) if isinstance(item, Cut) else item, digest) for item, digest in found
    ]


def _read_one(entry: Entry, data: bytes | str, screen: Screen | None) -> _Read:
    if isinstance(data, str):
        return Skipped(entry.path, data), _digest(data)
    try:
        return cut(entry.path, data, screen, entry.licence), _digest(data)
    except CorpusError as error:
        return Skipped(entry.path, str(error)), _digest(data)


def _nothing(
    source: str, max_tokens: int | None, skipped: Sequence[Skipped], taken: Sequence[Taken]
) -> CorpusError:
    if taken:
        first = f"{taken[0].path} by {taken[0].filter}: {taken[0].reason}"
        return CorpusError(
            f"filters leave nothing of {source} ({len(taken)} taken)", f"the first is {first}"
        )
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
