# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Reads an organization's code: file after file, in several processes, in a fixed order."""

from __future__ import annotations

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
from fedcode.corpus.files import Cut, cut
from fedcode.corpus.filters import Screen
from fedcode.corpus.filters.personal import FILTER as PERSONAL
from fedcode.corpus.revisions import SCHEME, folder_of, revision
from fedcode.corpus.sources import Entry, Listing, contents, find
from fedcode.corpus.store import Key, Row, Rows, Store, Writer, rows_of
from fedcode.errors import CorpusError
from fedcode.record import Corpus, Skipped, Taken

SAME_AS = "same tokens as "
"""How the reason begins for which a file is skipped that equals an earlier one, which it names."""

_FEW_FILES = 60
_FEW_TOKENS = 200_000
"""So much is read sooner than further processes start."""

_AT_ONCE = 16
"""Files that a process reads at a time."""

_FEW_COLLECTIONS = 100_000
"""A reading process makes many objects and no cycles: it looks for cycles that seldom."""

_Read = tuple[Row, Any] | tuple[Skipped, str]
"""A file's row; or why it was not read, and the SHA-256 of the bytes it would be read from."""

_Some = tuple[Any, list[tuple[Skipped, str] | None]]


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
    place = last = old = None
    digests: dict[str, str] = {}
    if cache is not None:
        digests = {entry.path: _digest(data) for entry, data in contents(entries)}
        files = [(entry.path, digests[entry.path], entry.licence) for entry in entries]
        key = screen.key() if screen else ""
        place = cached.place(cache, source, name, max_tokens, files, key)
        last = cached.last(cache, f"{scheme}:{folder_of(rest)}", name, key)
        if place.exists():
            return _corpus(name, Store.open(place), listing)
        old = _last(cache, last)
    if max_tokens is not None:
        entries.sort(key=lambda entry: _digest(f"{name}/{entry.path}"))
    job = _Job(entries, digests, old, max_tokens, workers, screen, listing.skipped)
    try:
        store, steady = job.write(place)
    except OSError:  # a cache that cannot be written is no reason to stop
        store, steady = job.write(None)
    if not len(store):
        taken = [*listing.taken, *store.taken]
        raise _nothing(source, max_tokens if entries else None, store.skipped, taken)
    if place is not None and last is not None and steady:
        cached.keep(last, place.name)
    return _corpus(name, store, listing)


def _last(cache: Path, last: Path) -> Store | None:
    """What was read last of the same source, if it is there."""
    if not last.exists():
        return None
    place = cache / "corpus" / cached.kept(last)
    return Store.open(place) if place.exists() else None


def _knowing(screen: Screen | None, source: str) -> Screen | None:
    """With the names of a repository's authors, where persons are to be replaced."""
    scheme, _, rest = source.partition(":")
    if screen is None or scheme != SCHEME or not rest or not screen.settings.personal:
        return screen
    return replace(screen, people=screen.people | git.people(revision(rest).snapshot))


def _corpus(name: str, store: Store, listing: Listing) -> Corpus:
    taken = tuple(sorted([*listing.taken, *store.taken]))
    return Corpus(name, store, store.skipped, taken=taken)


def _digest(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be read.

    Attributes:
        entries: in the order of reading.
        digests: of the content of every file, where they were looked at before.
        old: what was read before; files that have not changed are copied from there.
        max_tokens: the cap, if any.
        workers: processes.
        screen: what must not be trained on.
        skipped: what is known not to be readable.
    """

    entries: Sequence[Entry]
    digests: Mapping[str, str]
    old: Store | None
    max_tokens: int | None
    workers: int
    screen: Screen | None
    skipped: Sequence[Skipped]

    def write(self, place: Path | None) -> tuple[Store, bool]:
        """Reads all into a store, in path order.

        Returns:
            The store, and whether every file still was what the digests say. Only then is it kept
            at ``place``.

        Raises:
            OSError: it cannot be written there.
        """
        found = _Found(list(self.skipped))
        with Writer(place) as writer:
            with closing(self._stream()) as stream:
                steady = found.take(stream, self.max_tokens, self.digests, writer)
            found.skipped.sort(key=lambda bad: bad.path)
            keep = steady and found.files > 0
            if self.max_tokens is None:
                return writer.finish(found.skipped, found.taken, keep=keep), steady
            mixed = writer.finish((), (), keep=False)
        paths = mixed.paths()
        with Writer(place) as writer:
            for index in sorted(range(len(paths)), key=paths.__getitem__):
                row, batch = mixed.row(index)
                writer.add(batch, row.tokens)
            return writer.finish(found.skipped, found.taken, keep=keep), steady

    def _stream(self) -> Generator[_Read]:
        """What was read before, and between it what is read now."""
        keys = [(e.path, self.digests.get(e.path, ""), e.licence) for e in self.entries]
        known = {key: row for row, key in enumerate(self.old.keys())} if self.old else {}
        new = [entry for entry, key in zip(self.entries, keys, strict=True) if key not in known]
        few = len(new) <= _FEW_FILES or (
            self.max_tokens is not None and self.max_tokens <= _FEW_TOKENS
        )
        with closing(_read_all(new, 1 if few else self.workers, self.screen)) as stream:
            for key in keys:
                if self.old is not None and key in known:
                    yield self.old.row(known[key])
                else:
                    yield next(stream)


@dataclass(slots=True)
class _Found:
    """What was read, what could not be, and what must not be trained on."""

    skipped: list[Skipped]
    taken: list[Taken] = field(default_factory=list)
    files: int = 0

    def take(
        self,
        stream: Iterable[_Read],
        max_tokens: int | None,
        digests: Mapping[str, str],
        writer: Writer,
    ) -> bool:
        """Sorts files into those kept, which are written, and those skipped, up to the cap.

        Returns:
            Whether every file still was what ``digests`` say.
        """
        first: dict[bytes, str] = {}
        total = 0
        steady = True
        for item, rest in stream:
            path = item.path
            digest = rest if isinstance(item, Skipped) else item.key[1]
            steady &= digests.get(path, digest) == digest
            if isinstance(item, Skipped):
                self.skipped.append(item)
            elif item.same in first:
                self.skipped.append(Skipped(path, SAME_AS + first[item.same]))
            else:
                total += item.tokens
                if max_tokens is not None and total > max_tokens:
                    break
                self.taken += item.taken
                if item.tokens:
                    first[item.same] = path
                    writer.add(rest, item.tokens)
                    self.files += 1
                if item.note:
                    self.skipped.append(Skipped(path, item.note))
        return steady


def _read_all(entries: Sequence[Entry], workers: int, screen: Screen | None) -> Generator[_Read]:
    """Reads files in the order given; stops reading soon after it is closed."""
    chunks = [entries[i : i + _AT_ONCE] for i in range(0, len(entries), _AT_ONCE)]
    if workers <= 1:
        for chunk in chunks:
            yield from _apart(_read_some(chunk, screen))
        return
    # Fresh processes: a fork would copy the locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_prepare)
    try:
        for some in pool.map(partial(_read_some, screen=screen), chunks):
            yield from _apart(some)
    except BrokenProcessPool as error:
        raise CorpusError("a reading process died", "read with a single worker") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _apart(some: _Some) -> Iterator[_Read]:
    """The files that were read together, one by one."""
    batch, skipped = some
    rows = Rows(batch)
    numbers = iter(range(len(rows)))
    for bad in skipped:
        if bad is not None:
            yield bad
        else:
            row = next(numbers)
            yield rows.row(row), batch.slice(row, 1)


def _prepare() -> None:
    gc.set_threshold(_FEW_COLLECTIONS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C


def _read_some(entries: Sequence[Entry], screen: Screen | None = None) -> _Some:
    """Files as rows; and for each file None if it is a row, or why it was not read."""
    pieces: list[tuple[Cut, Key]] = []
    skipped: list[tuple[Skipped, str] | None] = []
    for entry, data in contents(entries):
        digest = _digest(data)
        piece = _read_one(entry, data, screen)
        if isinstance(piece, Skipped):
            skipped.append((piece, digest))
        else:
            pieces.append((piece, (entry.path, digest, entry.licence)))
            skipped.append(None)
    return rows_of(pieces), skipped


def _read_one(entry: Entry, data: bytes | str, screen: Screen | None) -> Cut | Skipped:
    if isinstance(data, str):
        return Skipped(entry.path, data)
    try:
        return cut(entry.path, data, screen, entry.licence)
    except CorpusError as error:
        return Skipped(entry.path, str(error))


def _nothing(
    source: str, max_tokens: int | None, skipped: Sequence[Skipped], taken: Sequence[Taken]
) -> CorpusError:
    if taken:
        first = f"{taken[0].path} by {taken[0].filter}: {taken[0].reason}"
        return CorpusError(
            f"filters leave nothing of {source} ({len(taken)} taken)",
            f"the first is {first}; [filters] says what may stay (docs/filters.md)",
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
