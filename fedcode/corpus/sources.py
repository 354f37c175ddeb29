# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where an organization's files lie: a folder, a wheel, an installed package, the standard library.

Nothing found there is ever imported, run or extracted. Left out everywhere but in the standard
library: folders of tests, documentation, examples and vendored code, and files of tests. A folder's
hidden folders and virtual environments are left out, too; so are the standard library's tests,
bundled packages, and the programs ``idlelib``, ``lib2to3`` and ``turtledemo``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import stat
import sysconfig
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fedcode.corpus.files import LANGUAGES, LONGEST_FILE
from fedcode.errors import CorpusError
from fedcode.record import Skipped

LEFT_OUT = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples"}
    | {"vendor", "_vendor", "third_party"}
)
"""Folders, at any depth, that do not count as an organization's code."""

LEFT_OUT_OF_STDLIB = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "__phello__"}
)
"""Folders, at any depth, that are in ``stdlib+tests`` only."""

_NEVER = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_LONGEST = 4 * (LONGEST_FILE + 1)
"""In bytes: no file of ``LONGEST_FILE`` characters is longer in an encoding that is in use."""

NAMING = "write path:DIR, package:NAME or wheel:FILE"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that can be read.

    Attributes:
        path: relative to the organization's root, with forward slashes.
        location: the file on this machine, or the member of ``archive``.
        archive: the zip file that holds it, or empty.
    """

    path: str
    location: str
    archive: str = ""


@dataclass(slots=True)
class Listing:
    """An organization's files before any is read, by path, and those that cannot be."""

    entries: dict[str, Entry] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Takes a file, if its name can be written down and is new."""
        if entry.path.isprintable() and entry.path not in self.entries:
            self.entries[entry.path] = entry
        else:
            self.skip(entry.path, "its name is not printable, or there twice")

    def skip(self, path: str, reason: str) -> None:
        """Notes a file that cannot be read."""
        shown = path if path.isprintable() else ascii(path)
        self.skipped.append(Skipped(shown, reason))


def find(source: str) -> Listing:
    """Lists a source's files.

    Args:
        source: ``package:NAME``, ``wheel:FILE``, ``path:DIR``, ``stdlib`` or ``stdlib+tests``.

    Raises:
        CorpusError: there is no such source.
    """
    scheme, _, rest = source.partition(":")
    if source == "stdlib":
        return _stdlib(LEFT_OUT_OF_STDLIB)
    if source == "stdlib+tests":
        return _stdlib(frozenset())
    if rest and scheme == "package":
        return _package(rest)
    if rest and scheme == "wheel":
        return _wheel(Path(rest))
    if rest and scheme == "path":
        return _folder(Path(rest))
    raise CorpusError(
        f"unknown source {source!r}", f"{NAMING}; for public code also stdlib or stdlib+tests"
    )


def contents(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes | str]]:
    """Reads files one after the other: what each holds, or why it cannot be read."""
    archive: zipfile.ZipFile | None = None
    try:
        for entry in entries:
            try:
                if entry.archive and (archive is None or archive.filename != entry.archive):
                    archive = zipfile.ZipFile(entry.archive)
                yield entry, _member(archive, entry) if archive else _file(entry)
            except CorpusError as error:
                yield entry, str(error)
            except (zipfile.BadZipFile, zlib.error, EOFError):
                yield entry, "damaged in its archive"
            except (OSError, RuntimeError, NotImplementedError) as error:
                yield entry, f"unreadable ({type(error).__name__})"
    finally:
        if archive:
            archive.close()


def _file(entry: Entry) -> bytes:
    # Opened without waiting: a named pipe would block for ever.
    handle = os.open(entry.location, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise CorpusError("not a regular file")
        return _short(file.read(_LONGEST + 1))


def _member(archive: zipfile.ZipFile, entry: Entry) -> bytes:
    with archive.open(entry.location) as file:
        return _short(file.read(_LONGEST + 1))  # the size that a zip file states may be a lie


def _short(data: bytes) -> bytes:
    if len(data) > _LONGEST:
        raise CorpusError(f"over {LONGEST_FILE:,} characters")
    return data


def _is_source(path: str) -> bool:
    return PurePosixPath(path).suffix in LANGUAGES


def _counts(path: str) -> bool:
    """Whether a file is its organization's own code, as far as its path tells."""
    *folders, file = path.split("/")
    stem = file.removesuffix(PurePosixPath(file).suffix)
    return (
        _is_source(path)
        and not stem.startswith("__editable__")  # an installer's pointer to the code
        and LEFT_OUT.isdisjoint(folders)
        and not stem.startswith("test_")
        and not stem.endswith("_test")
        and stem not in ("test", "tests", "conftest")
    )


def _wheel(file: Path) -> Listing:
    listing = Listing()
    try:
        with zipfile.ZipFile(file) as archive:
            names = sorted(i.filename for i in archive.infolist() if not i.is_dir())
    except (OSError, zipfile.BadZipFile) as error:
        what = "is not a wheel that can be read" if file.exists() else "is not there"
        raise CorpusError(f"{file} {what}", NAMING) from error
    for name in names:
        parts = name.split("/")
        if "\\" in name or ":" in parts[0] or not {"", ".", ".."}.isdisjoint(parts):
            listing.skip(name, "its path leads out of the wheel")
        elif _counts(name):
            listing.add(Entry(name, name, str(file)))
    return listing


def _folder(root: Path) -> Listing:
    if not root.is_dir():
        raise CorpusError(f"{root} is not a folder", "name one that is there: path:DIR")
    listing = Listing()
    _walk(listing, root.resolve(), "", LEFT_OUT | _NEVER)
    for path in [p for p in listing.entries if not _counts(p)]:
        del listing.entries[path]
    return listing


def _stdlib(left_out: frozenset[str]) -> Listing:
    listing = Listing()
    _walk(listing, Path(sysconfig.get_path("stdlib")).resolve(), "", left_out | _NEVER)
    return listing


def _walk(listing: Listing, root: Path, below: str, left_out: frozenset[str]) -> None:
    """Adds the source files under ``root / below``, in a fixed order.

    No symbolic link is followed: what one points at inside of ``root`` is read where it stands.
    """
    waiting = [below]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(root / inside) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            listing.skip(inside or ".", f"unreadable folder ({type(error).__name__})")
            continue
        if any(item.name == "pyvenv.cfg" for item in items):
            continue  # a virtual environment: other people's code
        for item in items:
            path = f"{inside}/{item.name}" if inside else item.name
            if item.name in left_out or item.name.startswith("."):
                continue
            if item.is_symlink():
                _note_link(listing, root, path)
            elif item.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif _is_source(path):
                listing.add(Entry(path, item.path))


def _note_link(listing: Listing, root: Path, path: str) -> None:
    try:
        target = (root / path).resolve(strict=True)
    except (OSError, RuntimeError):
        if _is_source(path):
            listing.skip(path, "symbolic link in a loop or to nothing")
        return
    if (root / path).parent.is_relative_to(target):
        listing.skip(path, "symbolic link in a loop")
    elif not target.is_relative_to(root) and (target.is_dir() or _is_source(path)):
        listing.skip(path, "symbolic link out of the folder")


def _package(name: str) -> Listing:
    """The files of an installed distribution, else of a top-level package or module."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise CorpusError(f"{name!r} is not a package's name", NAMING)
    listing = _distribution(name)
    if not listing.entries and name.isidentifier():
        listing = _top_level(name)
    if not listing.entries:
        raise CorpusError(
            f"no package {name} with source files is installed", f"pip install {name}"
        )
    return listing


def _distribution(name: str) -> Listing:
    listing = Listing()
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return listing
    for file in sorted(files, key=str):
        path = file.as_posix()
        if _counts(path) and ".." not in file.parts and not file.is_absolute():
            listing.add(Entry(path, str(file.locate())))
    return listing


def _top_level(name: str) -> Listing:
    """Found by its name alone: looking for a name without a dot imports nothing."""
    listing = Listing()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return listing
    if spec is None:
        return listing
    for folder in spec.submodule_search_locations or ():
        root = Path(folder).resolve()
        _walk(listing, root.parent, root.name, LEFT_OUT | _NEVER)
    if spec.submodule_search_locations is None and spec.has_location and spec.origin:
        listing.add(Entry(Path(spec.origin).name, spec.origin))
    for path in [p for p in listing.entries if not _counts(p)]:
        del listing.entries[path]
    return listing
