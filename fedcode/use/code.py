# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The code that a model is asked about: files and folders as they lie on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcode.corpus import LANGUAGES, cache_folder, git, parse, read
from fedcode.errors import CorpusError
from fedcode.record import Record, SourceFile


@dataclass(frozen=True, slots=True)
class Place:
    """A record and where it stands.

    Attributes:
        file: its file, as it was named or below the folder that was.
        record: what was read there.
    """

    file: Path
    record: Record

    @property
    def line(self) -> int:
        """Its first line, from 1."""
        return max(1, self.record.first)


def functions(paths: Sequence[Path], since: str | None = None) -> list[Place]:
    """The functions of files and folders, in the order of the paths, each once.

    A folder is read as when it is trained on: tests, documentation and borrowed code are left out.
    A file that is named is read whatever it is called.

    Args:
        paths: files and folders.
        since: only what has changed since this commit of the repository: what it lacks, or has with
            other tokens; comments and white space change nothing.

    Raises:
        CorpusError: a path is not there, cannot be read, or has no such commit.
    """
    found: dict[tuple[Path, str], Place] = {}
    for path in paths:
        for file, source in _files(path):
            old = _before(file, since) if since is not None else {}
            for record in source.records:
                if record.kind == "function" and old.get(record.name) != record.tokens:
                    found.setdefault((file.resolve(), record.name), Place(file, record))
    return list(found.values())


def _files(path: Path) -> Iterator[tuple[Path, SourceFile]]:
    if not path.exists():
        raise CorpusError(f"{path} is not there", "name a file or a folder of source code")
    if path.is_dir():
        for file in read(f"path:{path}", "own", cache=cache_folder()).files:
            yield path / file.path, file
        return
    yield path, parse(path.name, text_of(path))


def text_of(path: Path) -> str:
    """The text of a source file.

    Raises:
        CorpusError: it is in no language that is read, or cannot be read.
    """
    language = LANGUAGES.get(path.suffix)
    if language is None:
        raise CorpusError(
            f"{path}: files of the kind {path.suffix or path.name!r} are not read",
            "docs/federation.md lists the languages",
        )
    if not path.is_file():
        raise CorpusError(f"{path} is not there", "name a file of source code")
    return language.decode(path.read_bytes())


def _before(file: Path, revision: str) -> dict[str, tuple[str, ...]]:
    """The tokens of a file's functions at a commit, by name; none where it was not there."""
    root = git.work_tree(file.resolve().parent)
    if root is None:
        raise CorpusError(f"{file} lies in no git repository", "leave --since out")
    history = _history(root, revision)
    path = file.resolve().relative_to(root).as_posix()
    blobs = [one.blob for one in git.listed(history, path)]
    (content,) = git.contents(history, blobs) if blobs else (None,)
    if content is None:
        return {}
    try:
        source = parse(file.name, LANGUAGES[file.suffix].decode(content))
    except CorpusError:  # what could not be read then has all changed
        return {}
    return {record.name: record.tokens for record in source.records}


def _history(root: Path, revision: str) -> git.History:
    history = git.checked_out(root, revision)
    if history is None:
        raise CorpusError(f"{root} has no commit {revision}", "name a branch, a tag or a commit")
    return history
