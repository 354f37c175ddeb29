# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whose a record is, where the privacy unit is wider than a file: its repository, its author.

A ``path:`` source may hold several repositories, one in another: a file belongs to the innermost.
A file's author is whoever wrote most of its lines (``git blame -w`` at HEAD); lines of others in it
count as theirs. Authors become numbers in the order of their first files: nothing outside of this
module, and no cache, ever holds a name or an address.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache as remembered
from pathlib import Path

from fedcode.corpus import cache as cached
from fedcode.corpus import git
from fedcode.errors import CorpusError
from fedcode.record import OTHER_UNIT, Corpus, PrivacyUnit

READER = 1
"""Raised when other authors would be found."""

_Place = tuple[Path | None, str]
"""The work tree that a file lies in, if any, and its path there."""


def with_owners(
    corpus: Corpus,
    source: str,
    unit: PrivacyUnit,
    *,
    cache: Path | None = None,
    workers: int = 1,
) -> Corpus:
    """``corpus`` with the authors or repositories of its records, where ``unit`` asks for them.

    Args:
        corpus: as it was read.
        source: that it was read from.
        unit: the privacy unit.
        cache: a folder to keep authors in, under a digest of the commits that they are found in.
        workers: git processes at a time.

    Raises:
        CorpusError: the unit is the author, and not every file has one.
        CacheDamaged: what was kept is not what was written.
    """
    if unit not in (PrivacyUnit.AUTHOR, PrivacyUnit.REPOSITORY):
        return corpus
    scheme, _, rest = source.partition(":")
    root = Path(rest).resolve() if scheme == "path" else None
    paths = [file.path for file in corpus.files]
    inner = _innermost(root) if root else lambda _: ""
    if unit is PrivacyUnit.REPOSITORY:
        return _owned(corpus, [""] * len(paths), [inner(_folder(path)) for path in paths])
    places = [_place(root, inner(_folder(path)), path) for path in paths]
    authors = _authors(places, cache, workers)
    unknown = [path for path, author in zip(paths, authors, strict=True) if not author]
    if unknown:
        raise CorpusError(
            f"{corpus.name}: no history says who wrote {len(unknown)} of {len(paths)} files "
            f"({unknown[0]}, for one)",
            OTHER_UNIT,
        )
    return _owned(corpus, authors, [""] * len(paths))


def _owned(corpus: Corpus, authors: Sequence[str], repositories: Sequence[str]) -> Corpus:
    owners = zip(corpus.files, authors, repositories, strict=True)
    files = [
        replace(
            file,
            records=tuple(replace(r, author=author, repository=where) for r in file.records),
        )
        for file, author, where in owners
    ]
    return Corpus(corpus.name, tuple(files), corpus.skipped, corpus.duplicates)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _innermost(root: Path) -> Callable[[str], str]:
    """For a folder below ``root`` the innermost repository's root; empty if that is not below."""

    @remembered
    def inner(folder: str) -> str:
        if not folder or (root / folder / ".git").exists():
            return folder
        return inner(_folder(folder))

    return inner


def _place(root: Path | None, repository: str, path: str) -> _Place:
    if root is None:
        return None, path
    if repository:
        return root / repository, path.removeprefix(f"{repository}/")
    top = next((one for one in (root, *root.parents) if (one / ".git").exists()), None)
    return top, (root / path).relative_to(top).as_posix() if top else path


def _authors(places: Sequence[_Place], cache: Path | None, workers: int) -> list[str]:
    """A pseudonym for the main author of each file, empty where there is none."""
    tops = {top for top, _ in places if top}
    found = {top: past for top in tops if (past := git.checked_out(top))}
    commits = {top: past.commit for top, past in found.items()}
    key = json.dumps([READER, [(top and commits.get(top), path) for top, path in places]])
    kept = cache / "authors" / f"{hashlib.sha256(key.encode()).hexdigest()}.zz" if cache else None
    if kept is not None and kept.exists():
        return _load(kept, len(places))
    known = {top: git.tracked(past) for top, past in found.items()}

    def address(place: _Place) -> str:
        top, path = place
        if top not in found or path not in known[top]:
            return ""
        return git.main_author(found[top], path)

    with ThreadPoolExecutor(workers) as threads:
        addresses = list(threads.map(address, places))
    numbers = {one: str(n) for n, one in enumerate(dict.fromkeys(filter(None, addresses)), start=1)}
    authors = [numbers.get(one, "") for one in addresses]
    if kept is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
            cached.keep(kept, json.dumps(authors))
    return authors


def _load(file: Path, files: int) -> list[str]:
    try:
        authors = [str(author) for author in json.loads(cached.kept(file))]
    except (ValueError, TypeError) as error:
        raise cached.damaged(file) from error
    if len(authors) != files:
        raise cached.damaged(file)
    return authors
