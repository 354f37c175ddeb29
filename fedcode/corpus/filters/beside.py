# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What files beside source code say of it: what to leave out, and which licence it is under."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from fedcode.corpus.filters import licences, vendored
from fedcode.corpus.filters.ignore import (
    ATTRIBUTES,
    GENERATED,
    IGNORE,
    IGNORED,
    LARGEST,
    VENDORED,
    Rules,
    attributes,
    holds,
    ignoring,
)
from fedcode.corpus.filters.markers import GENERATED as GENERATED_FILTER
from fedcode.corpus.filters.screen import Screen
from fedcode.corpus.languages import LANGUAGES

MOST_READ = LARGEST + 1
"""Bytes of a file beside the code; what a licence is stands at its beginning."""

_LICENCE = 1 << 16

Reader = Callable[[str], bytes | None]
"""Gives the beginning of a regular file by its path below the root; None for what is none."""


def of_folder(root: Path) -> Reader:
    """Reads below a folder of this machine."""
    return lambda path: _beginning(root / path)


def telling(name: str) -> bool:
    """Whether a file of that name says something of the code beside it."""
    return name in (IGNORE, ATTRIBUTES) or _states_licence(name)


@dataclass(frozen=True, slots=True)
class Beside:
    """What holds in a folder, by its own files and those of the folders above it.

    Attributes:
        ignores: of ``.fedcodeignore``, the root's first.
        attributes: of ``.gitattributes``, the root's first.
        licence: of the nearest folder that states one, as an SPDX expression.
    """

    ignores: tuple[Rules, ...] = ()
    attributes: tuple[Rules, ...] = ()
    licence: str = ""

    @classmethod
    def above(cls, root: Path, screen: Screen) -> Self:
        """What holds of a source by the folders that it is in, up to its repository's root."""
        if not screen.settings.licences:
            return cls()
        top = next((one for one in (root, *root.parents) if (one / ".git").exists()), root)
        for folder in root.parents:
            if not folder.is_relative_to(top):
                break
            names = [one.name for one in _listed(folder)]
            if found := _licence(of_folder(folder), "", names):
                return cls(licence=found)
        return cls()

    def within(
        self, root: Path, read: Reader, inside: str, names: Sequence[str], screen: Screen
    ) -> Beside:
        """What holds in a folder.

        Args:
            root: of the source, for messages.
            read: gives what its files hold.
            inside: the folder, relative to it.
            names: of the files in it.
            screen: says which filters are on.

        Raises:
            CorpusError: a file that says what to leave out cannot be read.
        """
        settings, folder = screen.settings, f"{inside}/" if inside else ""
        ignores, said, licence = self.ignores, self.attributes, self.licence
        if settings.ignored and IGNORE in names:
            ignores = (*ignores, ignoring(read(folder + IGNORE), root / inside / IGNORE, inside))
        if (settings.generated or settings.vendored) and ATTRIBUTES in names:
            said = (*said, attributes(read(folder + ATTRIBUTES), inside))
        if settings.licences:
            licence = _licence(read, folder, names) or licence
        return Beside(ignores, said, licence)

    def unpacked(self, names: Sequence[str], screen: Screen) -> str:
        """Why a folder below the root is another package; empty if it is not known to be."""
        return vendored.unpacked(names) if screen.settings.vendored else ""

    def takes(self, path: str, screen: Screen) -> tuple[str, str] | None:
        """The filter that takes a file or folder, and why.

        Args:
            path: relative to the root; a folder's ends with a slash.
            screen: says which filters are on.
        """
        settings = screen.settings
        if self.ignores and holds(self.ignores, path, IGNORED):
            return IGNORED, "pattern"
        if settings.vendored and path.endswith("/") and vendored.named(_last(path)):
            return vendored.FILTER, "folder-name"
        if not self.attributes or path.endswith("/"):  # of files alone, as git has it
            return None
        if settings.vendored and holds(self.attributes, path, VENDORED):
            return vendored.FILTER, "attribute"
        if settings.generated and holds(self.attributes, path, GENERATED):
            return GENERATED_FILTER, "attribute"
        return None


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.is_file())
    except OSError:
        return []


def _licence(read: Reader, folder: str, names: Sequence[str]) -> str:
    """What a folder's licence files say; empty if there is none, or its text is not known."""
    texts = ((read(folder + name) or b"")[:_LICENCE] for name in names if _states_licence(name))
    return licences.of_files(licences.of_text(text.decode("utf-8", "replace")) for text in texts)


def _states_licence(name: str) -> bool:
    code = PurePosixPath(name).suffix in LANGUAGES
    return not code and bool(licences.LICENCE_FILE.fullmatch(name))


def _beginning(file: Path) -> bytes | None:
    """The first part of a regular file; None for what is none."""
    if file.is_symlink() or not file.is_file():
        return None
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_READ)
    except OSError:
        return None
