# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where an organization's files lie: a repository, a folder, a wheel, a package, the library.

Nothing found there is ever imported, run or extracted. Left out everywhere but in the standard
library: folders of tests, documentation, examples and vendored code, and files of tests. A folder's
hidden folders and virtual environments are left out, too; so are the standard library's tests,
bundled packages, and the programs ``idlelib``, ``lib2to3`` and ``turtledemo``.

A folder is read in all languages; so is a commit of a repository, of which git gives the content.
Packages, wheels and the standard library are Python's, and what else they carry is mostly built or
borrowed: of them Python alone is read.
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
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath

from fedcode.corpus import git
from fedcode.corpus.files import LONGEST_FILE
from fedcode.corpus.filters import Beside, Screen, vendored
from fedcode.corpus.filters.beside import MOST_READ, of_folder, telling
from fedcode.corpus.git import History, Listed
from fedcode.corpus.languages import LANGUAGES
from fedcode.corpus.revisions import folder_of, revision
from fedcode.errors import CorpusError
from fedcode.record import Skipped, Taken

LEFT_OUT = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples"}
    | {"vendor", "_vendor", "third_party", "__tests__", "__mocks__", "testdata"}
)
"""Folders, at any depth, that do not count as an organization's code."""

LEFT_OUT_BUT_PYTHON = frozenset({"spec", "target", "build", "dist", "out", "bower_components"})
"""Folders of tests and of what was built, but for Python: its packages may be called so."""

_TESTS = re.compile(
    r"test_.*|tests?|Test([A-Z].*)?|.*[a-z\d_](Tests?|TestCase|IT)|.*[._-](spec|tests?)"
)
"""File names, without suffix, of tests in other languages."""

_NOT_WRITTEN = (".min.js", ".d.ts", ".pb.go", ".g.cs", ".designer.cs")
"""How files end that programs write."""

LEFT_OUT_OF_STDLIB = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "__phello__"}
)
"""Folders, at any depth, that are in ``stdlib+tests`` only."""

_PYTHON = frozenset({".py"})
_NEVER = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_LONGEST = 4 * (LONGEST_FILE + 1)
"""In bytes: no file of ``LONGEST_FILE`` characters is longer in an encoding that is in use."""

_REGULAR, _LINK, _SUBMODULE = ("100644", "100755"), "120000", "160000"
"""Git's modes of files, and of what is none."""

_SCHEMES = frozenset({"git", "commits", "path", "wheel", "package"})

NAMING = "write git:DIR, commits:DIR, path:DIR, package:NAME or wheel:FILE"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that can be read.

    Attributes:
        path: relative to the organization's root, with forward slashes.
        location: the file on this machine, the member of ``archive``, or the blob of ``history``.
        archive: the zip file that holds it, or empty.
        history: whose repository holds it, or None.
        licence: of the nearest folder that states one, as an SPDX expression.
    """

    path: str
    location: str
    archive: str = ""
    history: History | None = None
    licence: str = ""


@dataclass(slots=True)
class Listing:
    """An organization's files before any is read, by path, and those that cannot be.

    Attributes:
        suffixes: of the languages that are looked for.
        entries: files to read.
        screen: what must not be trained on.
        skipped: files that cannot be read.
        taken: files and folders that must not be trained on, each once.
    """

    suffixes: Container[str]
    screen: Screen | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    taken: dict[Taken, None] = field(default_factory=dict)

    def wants(self, path: str) -> bool:
        """Whether a file is in a language that is looked for."""
        return PurePosixPath(path).suffix in self.suffixes

    def add(self, entry: Entry) -> None:
        """Takes a file, if its name can be written down and is new."""
        if entry.path.isprintable() and entry.path not in self.entries:
            gone = self.screen.path(entry.path) if self.screen else None
            if gone:
                self.taken[gone] = None
            else:
                self.entries[entry.path] = entry
        else:
            self.skip(entry.path, "its name is not printable, or there twice")

    def skip(self, path: str, reason: str) -> None:
        """Notes a file that cannot be read."""
        shown = path if path.isprintable() else ascii(path)
        self.skipped.append(Skipped(shown, reason))

    def take(self, path: str, name: str, reason: str) -> None:
        """Notes a file or folder that the filter ``name`` takes, once."""
        shown = path if path.isprintable() else ascii(path)
        self.taken[Taken(shown, name, "", reason)] = None


def named(what: str) -> str:
    """A source as a person types it: a path becomes ``git:``, ``wheel:`` or ``path:``.

    Raises:
        CorpusError: nothing was typed.
    """
    if ":" in what:
        return what
    if not what:
        raise CorpusError("a source without a name", NAMING)
    if Path(what).suffix == ".whl":
        return f"wheel:{what}"
    folder = Path(folder_of(what) or what)
    return f"git:{what}" if folder.is_dir() and git.is_repository(folder) else f"path:{what}"


def check_there(source: str) -> None:
    """Whether there is something at a source's path at all; a package is looked for later.

    Raises:
        CorpusError: there is not, or it is no source.
    """
    scheme, _, rest = source.partition(":")
    if source not in ("stdlib", "stdlib+tests") and (scheme not in _SCHEMES or not rest):
        raise _unknown(source)
    if scheme in ("git", "commits", "path", "wheel") and rest:
        place = Path(folder_of(rest) or rest)
        if not place.exists():
            raise CorpusError(f"{place} is not there", "nothing was read; is the path right?")


def find(source: str, screen: Screen | None = None) -> Listing:
    """Lists a source's files.

    Args:
        source: ``git:DIR``, ``git:DIR@REVISION``, ``git:DIR@DATE``, ``path:DIR``, ``package:NAME``,
            ``wheel:FILE``, ``stdlib`` or ``stdlib+tests``.
        screen: what must not be trained on: here what paths, and files beside them, tell.

    Raises:
        CorpusError: there is no such source, or a file of it that says what to leave out cannot be
            read.
    """
    scheme, _, rest = source.partition(":")
    if source == "stdlib":
        return _stdlib(LEFT_OUT_OF_STDLIB, screen)
    if source == "stdlib+tests":
        return _stdlib(frozenset(), screen)
    if rest and scheme == "package":
        return _package(rest, screen)
    if rest and scheme == "wheel":
        return _wheel(Path(rest), screen)
    if rest and scheme == "path":
        return _folder(Path(rest), screen)
    if rest and scheme == "git":
        return _commit(revision(rest).snapshot, screen)
    raise _unknown(source)


def _unknown(source: str) -> CorpusError:
    return CorpusError(
        f"unknown source {source!r}", f"{NAMING}; for public code also stdlib or stdlib+tests"
    )


def contents(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes | str]]:
    """Reads files one after the other: what each holds, or why it cannot be read."""
    for history, some in groupby(entries, key=lambda entry: entry.history):
        if history is None:
            yield from _contents(some)
            continue
        asked = list(some)
        found = git.contents(history, [entry.location for entry in asked])
        for entry, data in zip(asked, found, strict=True):
            yield entry, "its repository lacks it" if data is None else data


def _contents(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes | str]]:
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


def counts(path: str) -> bool:
    """Whether a file is its organization's own code, as far as its path tells."""
    *folders, file = path.split("/")
    suffix = PurePosixPath(file).suffix
    stem = file.removesuffix(suffix)
    if suffix not in _PYTHON:
        return (
            (LEFT_OUT | LEFT_OUT_BUT_PYTHON).isdisjoint(folders)
            and not _TESTS.fullmatch(stem)
            and not file.lower().endswith(_NOT_WRITTEN)
        )
    return (
        not stem.startswith("__editable__")  # an installer's pointer to the code
        and LEFT_OUT.isdisjoint(folders)
        and not stem.startswith("test_")
        and not stem.endswith("_test")
        and stem not in ("test", "tests", "conftest")
    )


def _bundled(listing: Listing, path: str) -> bool:
    """Whether a file of a package or wheel lies in a folder of other people's code."""
    if listing.screen is None or not listing.screen.settings.vendored:
        return False
    folders = path.split("/")[:-1]
    for depth, folder in enumerate(folders[1:], start=2):
        if vendored.named(folder):
            listing.take("/".join(folders[:depth]) + "/", vendored.FILTER, "folder-name")
            return True
    return False


def _wheel(file: Path, screen: Screen | None) -> Listing:
    listing = Listing(_PYTHON, screen)
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
        elif listing.wants(name) and counts(name) and not _bundled(listing, name):
            listing.add(Entry(name, name, str(file)))
    return listing


def _folder(root: Path, screen: Screen | None) -> Listing:
    if not root.is_dir():
        raise CorpusError(f"{root} is not a folder", "name one that is there: path:DIR")
    listing = Listing(LANGUAGES, screen)
    _walk(listing, root.resolve(), "", LEFT_OUT | _NEVER)
    _keep_counting(listing)
    return listing


def _keep_counting(listing: Listing) -> None:
    """Drops what is not its organization's own code, of files that were taken, too."""
    for path in [p for p in listing.entries if not counts(p)]:
        del listing.entries[path]
    for one in [t for t in listing.taken if t.path[-1:] != "/" and not counts(t.path)]:
        del listing.taken[one]


def _commit(history: History, screen: Screen | None) -> Listing:
    listing = Listing(LANGUAGES, screen)
    folders: dict[str, list[Listed]] = {}
    for file in git.listed(history):
        folder, _, _ = file.path.rpartition("/")
        folders.setdefault(folder, []).append(file)
    beside = _Beside(history, folders, listing) if screen else None
    for folder, files in sorted(folders.items()):
        if any(part in _NEVER or part.startswith(".") for part in folder.split("/") if part):
            continue
        here = beside.of(folder) if beside else Beside()
        if here is None:
            continue
        for file in files:
            _add_blob(listing, history, file, here)
    _keep_counting(listing)
    return listing


def _add_blob(listing: Listing, history: History, file: Listed, here: Beside) -> None:
    if file.path.rpartition("/")[2].startswith("."):
        return
    if file.mode == _SUBMODULE:
        listing.skip(file.path, "a repository of its own: name it as a source")
    elif not listing.wants(file.path) or not counts(file.path):
        return
    elif file.mode == _LINK:
        listing.skip(file.path, "symbolic link")
    elif file.size > _LONGEST:
        listing.skip(file.path, f"over {LONGEST_FILE:,} characters")
    elif listing.screen and (taken := here.takes(file.path, listing.screen)):
        listing.take(file.path, *taken)
    else:
        listing.add(Entry(file.path, file.blob, history=history, licence=here.licence))


class _Beside:
    """What holds in the folders of a commit; None in those that filters take.

    Args:
        history: up to the commit.
        folders: its files, by folder.
        listing: notes what is taken.
    """

    def __init__(
        self, history: History, folders: Mapping[str, Sequence[Listed]], listing: Listing
    ) -> None:
        self._history, self._folders, self._listing = history, folders, listing
        self._known: dict[str, Beside | None] = {}
        small = [
            file
            for files in folders.values()
            for file in files
            if telling(file.path.rpartition("/")[2]) and file.mode in _REGULAR
        ]
        asked = [file for file in small if file.size <= MOST_READ]
        found = git.contents(history, [file.blob for file in asked])
        self._texts = dict(zip((file.path for file in asked), found, strict=True))

    def of(self, folder: str) -> Beside | None:
        """What holds in a folder."""
        if folder not in self._known:
            self._known[folder] = self._found(folder)
        return self._known[folder]

    def _found(self, folder: str) -> Beside | None:
        screen = self._listing.screen
        if screen is None:
            return Beside()
        above = self.of(folder.rpartition("/")[0]) if folder else Beside()
        if above is None:
            return None
        names = [file.path.rpartition("/")[2] for file in self._folders.get(folder, ())]
        if folder:
            taken = above.takes(f"{folder}/", screen)
            if why := above.unpacked(names, screen):
                taken = taken or (vendored.FILTER, why)
            if taken:
                self._listing.take(f"{folder}/", *taken)
                return None
        return above.within(self._history.root, self._texts.get, folder, names, screen)


def _stdlib(left_out: frozenset[str], screen: Screen | None) -> Listing:
    listing = Listing(_PYTHON, screen)
    _walk(listing, Path(sysconfig.get_path("stdlib")).resolve(), "", left_out | _NEVER)
    return listing


def _walk(listing: Listing, root: Path, below: str, left_out: frozenset[str]) -> None:
    """Adds the source files under ``root / below``, in a fixed order.

    No symbolic link is followed: what one points at inside of ``root`` is read where it stands.
    """
    screen = listing.screen
    waiting = [(below, Beside.above(root, screen) if screen else Beside())]
    while waiting:
        inside, beside = waiting.pop()
        try:
            with os.scandir(root / inside) as found:
                items = sorted(found, key=lambda item: item.name)
        except OSError as error:
            listing.skip(inside or ".", f"unreadable folder ({type(error).__name__})")
            continue
        if any(item.name == "pyvenv.cfg" for item in items):
            continue  # a virtual environment: other people's code
        names = [item.name for item in items if not item.is_dir(follow_symlinks=False)]
        if screen:
            if inside != below and (why := beside.unpacked(names, screen)):
                listing.take(f"{inside}/", vendored.FILTER, why)
                continue
            beside = beside.within(root, of_folder(root), inside, names, screen)
        for item in items:
            path = f"{inside}/{item.name}" if inside else item.name
            if item.name in left_out or item.name.startswith("."):
                continue
            if item.is_symlink():
                _note_link(listing, root, path)
                continue
            is_folder = item.is_dir(follow_symlinks=False)
            if not is_folder and not listing.wants(path):
                continue
            shown = f"{path}/" if is_folder else path
            if screen and (taken := beside.takes(shown, screen)):
                listing.take(shown, *taken)
            elif is_folder:
                waiting.append((path, beside))
            else:
                listing.add(Entry(path, item.path, licence=beside.licence))


def _note_link(listing: Listing, root: Path, path: str) -> None:
    try:
        target = (root / path).resolve(strict=True)
    except (OSError, RuntimeError):
        if listing.wants(path):
            listing.skip(path, "symbolic link in a loop or to nothing")
        return
    if (root / path).parent.is_relative_to(target):
        listing.skip(path, "symbolic link in a loop")
    elif not target.is_relative_to(root) and (target.is_dir() or listing.wants(path)):
        listing.skip(path, "symbolic link out of the folder")


def _package(name: str, screen: Screen | None) -> Listing:
    """The files of an installed distribution, else of a top-level package or module."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise CorpusError(f"{name!r} is not a package's name", NAMING)
    listing = _distribution(name, screen)
    if not listing.entries and not listing.taken and name.isidentifier():
        listing = _top_level(name, screen)
    if not listing.entries and not listing.taken:
        raise CorpusError(
            f"no package {name} with source files is installed", f"pip install {name}"
        )
    return listing


def _distribution(name: str, screen: Screen | None) -> Listing:
    listing = Listing(_PYTHON, screen)
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return listing
    for file in sorted(files, key=str):
        path = file.as_posix()
        if (
            listing.wants(path)
            and counts(path)
            and ".." not in file.parts
            and not file.is_absolute()
            and not _bundled(listing, path)
        ):
            listing.add(Entry(path, str(file.locate())))
    return listing


def _top_level(name: str, screen: Screen | None) -> Listing:
    """Found by its name alone: looking for a name without a dot imports nothing."""
    listing = Listing(_PYTHON, screen)
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
    _keep_counting(listing)
    return listing
