# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whose a record is, where the privacy unit is wider than a file: its repository, its author.

A ``path:`` source may hold several repositories, one in another: a file belongs to the innermost. A
file's author is whoever wrote most of its lines (``git blame -w`` at HEAD, or at the commit that a
``git:`` source names); lines of others in it count as theirs. Authors become numbers in the order
of their first files, over all sources of an organization: nothing outside of this module, and no
cache, ever holds a name or an address.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache as remembered
from functools import partial
from itertools import islice
from pathlib import Path

from fedcode.corpus import cache as cached
from fedcode.corpus import commits, git
from fedcode.corpus.deduplicate import without_units
from fedcode.corpus.filters import Screen, models
from fedcode.corpus.log import Commit
from fedcode.corpus.past import line_owners, main_authors
from fedcode.corpus.revisions import SCHEME, revision
from fedcode.corpus.views import changed, chosen
from fedcode.corpus.views import paths as paths_of
from fedcode.errors import CorpusError
from fedcode.record import OTHER_UNIT, Corpus, PrivacyUnit, SourceFile, Taken

READER = 1
"""Raised when other authors would be found."""

MODEL = "\0model"
"""Stands for the author of what a model wrote."""

_Place = tuple[Path | None, str]
"""The work tree that a file lies in, if any, and its path there."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question for the authors of files.

    Attributes:
        key: the commit that each file is looked up at, if any, and its path there.
        addresses: gives their main authors' addresses, empty where there is none.
    """

    key: Sequence[tuple[str | None, str]]
    addresses: Callable[[], list[str]]


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
    (owned,) = with_owners_of([(source, corpus)], unit, cache=cache, workers=workers)
    return owned


def with_owners_of(
    parts: Sequence[tuple[str, Corpus]],
    unit: PrivacyUnit,
    *,
    cache: Path | None = None,
    workers: int = 1,
) -> list[Corpus]:
    """As :func:`with_owners`, of several sources: who wrote in two of them has the same number.

    Args:
        parts: the source that each corpus was read from, and the corpus.
        unit: the privacy unit.
        cache: a folder to keep authors in, under a digest of all commits that they are found in.
        workers: git processes at a time.

    Returns:
        The corpora, in the order given.

    Raises:
        CorpusError: the unit is the author, and not every file has one.
        CacheDamaged: what was kept is not what was written.
    """
    if unit is PrivacyUnit.REPOSITORY:
        return [_of_repositories(source, corpus) for source, corpus in parts]
    if unit is not PrivacyUnit.AUTHOR:
        return [corpus for _, corpus in parts]
    paths = [paths_of(corpus.files) for _, corpus in parts]
    asked = [
        _asked(source, ours, cache, workers) for (source, _), ours in zip(parts, paths, strict=True)
    ]
    authors = iter(_pseudonyms(asked, cache))
    owned = []
    for (source, corpus), ours in zip(parts, paths, strict=True):
        own = list(islice(authors, len(ours)))
        unknown = [path for path, author in zip(ours, own, strict=True) if not author]
        if unknown:
            where = f" of {source}" if len(parts) > 1 else ""
            raise CorpusError(
                f"{corpus.name}: no history{where} says who wrote {len(unknown)} of {len(own)} "
                f"files ({unknown[0]}, for one)",
                OTHER_UNIT,
            )
        owned.append(_owned(corpus, own, [""] * len(own)))
    return owned


def _of_repositories(source: str, corpus: Corpus) -> Corpus:
    scheme, _, rest = source.partition(":")
    inner = _innermost(Path(rest).resolve()) if scheme == "path" else lambda _: ""
    found = [inner(_folder(path)) for path in paths_of(corpus.files)]
    return _owned(corpus, [""] * len(found), found)


def without_refused(
    corpus: Corpus, source: str, screen: Screen, *, cache: Path | None = None, workers: int = 1
) -> Corpus:
    """``corpus`` without what ``screen`` takes by who wrote it: see :func:`without_authors`.

    No history is looked at where nobody asks for it.
    """
    by_model = source.startswith(f"{SCHEME}:") and screen.settings.models
    if not by_model and not screen.asks_for_authors:
        return corpus
    return without_authors(
        corpus, source, screen.author, by_model=screen.by_model, cache=cache, workers=workers
    )


def without_authors(
    corpus: Corpus,
    source: str,
    refused: Callable[[str], str],
    *,
    by_model: Callable[[str, str], bool] | None = None,
    cache: Path | None = None,
    workers: int = 1,
) -> Corpus:
    """``corpus`` without the files and functions whose main author is refused.

    A function's main author is who wrote most of its lines. What no history knows stays. Files that
    differ from the commit are judged by the commit's lines. Commits that a model wrote are a
    ``git:`` source's alone: blame does not tell what a commit says of itself.

    Args:
        corpus: as it was read.
        source: that it was read from.
        refused: gives, for an e-mail address in lower case, the filter that takes what its owner
            wrote; empty for none.
        by_model: whether a commit's author and message say that a model wrote it.
        cache: a folder to keep in what commits did.
        workers: git processes at a time.

    Raises:
        CorpusError: a history is cut off, so that it does not say who wrote what, or nothing stays.
    """
    scheme, _, rest = source.partition(":")
    if scheme == SCHEME:

        def owner(commit: Commit) -> str:
            wrote = by_model is not None and by_model(commit.author, commit.message)
            return MODEL if wrote else commit.author

        def why(author: str) -> str:
            return models.FILTER if author == MODEL else refused(author)

        lines = line_owners(revision(rest).snapshot, owner, cache)
        return _allowed(
            corpus, source, [lines.get(path, []) for path in paths_of(corpus.files)], why
        )
    if scheme != "path":
        return corpus
    root = Path(rest).resolve()
    inner = _innermost(root)
    places = [_place(root, inner(_folder(path)), path) for path in paths_of(corpus.files)]
    found = _histories(places)
    known = {top: git.tracked(past) for top, past in found.items()}

    def authors(place: _Place) -> list[str]:
        top, path = place
        if top is None or path not in known.get(top, ()):
            return []
        return git.line_authors(found[top], path)

    with ThreadPoolExecutor(workers) as threads:
        wrote = list(threads.map(authors, places))
    return _allowed(corpus, source, wrote, refused)


def _allowed(
    corpus: Corpus, source: str, wrote: Sequence[list[str]], refused: Callable[[str], str]
) -> Corpus:
    rows, taken = array("q"), list[Taken]()
    for row, (file, own) in enumerate(zip(corpus, wrote, strict=True)):
        rest, gone = _less(file, own, refused)
        taken += gone
        if rest.tokens:
            rows.append(row)
    if not taken:
        return corpus
    if not rows:
        raise CorpusError(
            f"nothing of {source} is left: its authors opted out, or were erased",
            "name another source",
        )
    by_path: dict[str, set[str]] = {}
    for one in taken:
        by_path.setdefault(one.path, set()).add(one.name)

    def less(_: int, file: SourceFile) -> SourceFile:
        names = by_path.get(file.path, ())
        return without_units(file, {r.unit for r in file.records if r.name in names})

    files = changed(chosen(corpus.files, rows), less)
    return replace(corpus, files=files, taken=(*corpus.taken, *taken), known_as="")


def _less(
    file: SourceFile, authors: Sequence[str], refused: Callable[[str], str]
) -> tuple[SourceFile, list[Taken]]:
    """A file without what is refused; without tokens if all of it is."""
    why = {author: refused(author) for author in {*authors, ""} if author}
    if name := why.get(git.most_frequent(authors), ""):
        return SourceFile(file.path, (), ()), [Taken(file.path, name, "", "main-author")]
    if not any(why.values()):
        return file, []
    gone = {}
    for record in file.records:
        own = authors[record.first - 1 : record.last] if record.kind == "function" else ()
        if name := why.get(git.most_frequent(own), ""):
            gone[record.unit] = Taken(file.path, name, record.name, "main-author")
    kept = without_units(file, gone.keys())
    return kept, list(gone.values())


def _owned(corpus: Corpus, authors: Sequence[str], repositories: Sequence[str]) -> Corpus:
    def owned(row: int, file: SourceFile) -> SourceFile:
        author, where = authors[row], repositories[row]
        records = (replace(r, author=author, repository=where) for r in file.records)
        return SourceFile(file.path, file.tokens, tuple(records))

    return replace(corpus, files=changed(corpus.files, owned), known_as="")


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
    top = git.work_tree(root)
    return top, (root / path).relative_to(top).as_posix() if top else path


def _asked(source: str, paths: Sequence[str], cache: Path | None, workers: int) -> _Asked:
    """Who wrote most of each file of a source, or each commit."""
    scheme, _, rest = source.partition(":")
    if scheme in (SCHEME, commits.SCHEME):
        history = revision(rest).snapshot
        own = partial(_addresses_at, scheme, rest, history, paths, cache)
        return _Asked([(history.commit, path) for path in paths], own)
    root = Path(rest).resolve() if scheme == "path" else None
    inner = _innermost(root) if root else lambda _: ""
    places = [_place(root, inner(_folder(path)), path) for path in paths]
    found = _histories(places)
    ends = {top: past.commit for top, past in found.items()}
    key = [(ends.get(top) if top else None, path) for top, path in places]
    return _Asked(key, partial(_addresses, places, found, workers))


def _addresses_at(
    scheme: str, place: str, history: git.History, paths: Sequence[str], cache: Path | None
) -> list[str]:
    by_commit = scheme == commits.SCHEME
    found = commits.authors_of(place, cache) if by_commit else main_authors(history)
    return [found.get(path, "") for path in paths]


def _addresses(
    places: Sequence[_Place], found: Mapping[Path, git.History], workers: int
) -> list[str]:
    known = {top: git.tracked(past) for top, past in found.items()}

    def address(place: _Place) -> str:
        top, path = place
        if top is None or top not in found or path not in known[top]:
            return ""
        return git.main_author(found[top], path)

    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(address, places))


def _pseudonyms(asked: Sequence[_Asked], cache: Path | None) -> list[str]:
    """A number for each address, in the order of the first, over all that is asked.

    They come from the cache if they are kept there; empty where there is no address.
    """
    key = [one for each in asked for one in each.key]
    digest = hashlib.sha256(json.dumps([READER, key]).encode()).hexdigest()
    kept = cache / "authors" / f"{digest}.zz" if cache else None
    if kept is not None and kept.exists():
        return _load(kept, len(key))
    found = [address for each in asked for address in each.addresses()]
    numbers = {one: str(n) for n, one in enumerate(dict.fromkeys(filter(None, found)), start=1)}
    authors = [numbers.get(one, "") for one in found]
    if kept is not None:
        cached.keep(kept, json.dumps(authors))
    return authors


def _histories(places: Sequence[_Place]) -> dict[Path, git.History]:
    """The history of each work tree that files lie in."""
    tops = {top for top, _ in places if top}
    return {top: past for top in tops if (past := git.checked_out(top))}


def _load(file: Path, files: int) -> list[str]:
    try:
        authors = [str(author) for author in json.loads(cached.kept(file))]
    except (ValueError, TypeError) as error:
        raise cached.damaged(file) from error
    if len(authors) != files:
        raise cached.damaged(file)
    return authors
