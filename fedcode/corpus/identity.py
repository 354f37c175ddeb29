# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a source is, whatever it is called: the account of the ledger that pays for its use.

Renaming, moving, copying or reading anew changes no identity. A clone, a fork and a folder of a
repository are that repository: what is charged to one is charged to all of them. That code was not
copied into another repository, or a registration removed, is the organization's word.
"""

from __future__ import annotations

import os
import re
import shlex
import uuid
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

from fedcode.corpus import commits, git
from fedcode.corpus.revisions import SCHEME, revision
from fedcode.corpus.sources import NAMING
from fedcode.errors import CorpusError

REGISTERED = ".fedcode-asset"
"""The file in a folder without history that names it."""

_REGISTRATION = re.compile(r"[0-9a-f]{32}\n")


def asset_of(source: str) -> str:
    """The identity of what a source holds.

    ``git:`` and the first commit, for a folder of a repository; ``folder:`` and the number that
    :func:`register` gave it, for another folder; ``package:`` and the normalized name, for
    installed packages and wheels of any version.

    Args:
        source: ``git:DIR``, ``commits:DIR``, ``path:DIR``, ``package:NAME`` or ``wheel:FILE``.

    Raises:
        CorpusError: a folder without history that is not registered, a folder of several
            repositories, a history that is cut off, or no source.
    """
    scheme, _, rest = source.partition(":")
    if scheme in ("package", "wheel") and rest:
        name = _wheel(Path(rest)) if scheme == "wheel" else _distribution(rest)
        return f"package:{_normalized(name)}"
    if scheme in (SCHEME, commits.SCHEME) and rest:
        return f"git:{git.first_commit(revision(rest).snapshot)}"
    if scheme != "path" or not rest:
        raise CorpusError(f"{source} is no organization's source", NAMING)
    root = Path(rest).resolve()
    if not root.is_dir():
        raise CorpusError(f"{rest} is no folder", "name a folder")
    top = git.work_tree(root)
    history = git.checked_out(top) if top else None
    if history:
        _refuse_several([folder for folder in _repositories(root) if folder != "."], root)
    return f"git:{git.first_commit(history)}" if history else f"folder:{_registration(root)}"


def places_of(source: str) -> list[tuple[str, Path]]:
    """Where the files of a source lie: a folder of what has an identity, and one of this machine.

    Two sources have files in common, maybe of different dates, if in one of these places a folder
    lies in the other's.
    """
    scheme, _, rest = source.partition(":")
    root = Path(rest).resolve()
    found = [("", root)] if scheme == "path" else []
    try:
        asset = asset_of(source)
    except CorpusError:  # not there, not registered, or cut off: reading says what matters
        return found
    top = root
    if scheme == "path":
        top = (asset.startswith("git:") and git.work_tree(root)) or _registered(root)
    return [*found, (asset, root.relative_to(top))]


def assets_of(sources: Iterable[str]) -> tuple[str, ...]:
    """The identities of what several sources hold, each once, in an order that is not theirs.

    Raises:
        CorpusError: as :func:`asset_of`.
    """
    return tuple(sorted({asset_of(source) for source in sources}))


def register(folder: Path) -> str:
    """Gives a folder without history an identity, in a file that goes where the folder goes.

    Returns:
        The identity; the one that it has, if it has one.

    Raises:
        CorpusError: the folder has a history, or cannot be written.
    """
    source = f"path:{folder}"
    file = folder / REGISTERED
    above = (folder.resolve(), *folder.resolve().parents)
    named = any((one / ".git").exists() or (one / REGISTERED).exists() for one in above)
    if folder.is_dir() and not named and not _repositories(folder):
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            with os.fdopen(handle, "w", encoding="ascii") as new:
                new.write(f"{uuid.uuid4().hex}\n")
        except OSError as error:
            raise CorpusError(f"{file} cannot be made", "is the folder writable?") from error
    return asset_of(source)


def _registered(root: Path) -> Path:
    """The folder whose registration counts for ``root``; itself, if there is none."""
    return next((one for one in (root, *root.parents) if (one / REGISTERED).exists()), root)


def _registration(root: Path) -> str:
    _refuse_several(_repositories(root), root)
    try:
        top = _registered(root)
        text = (top / REGISTERED).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{root} has no history and is not registered",
            f"fedcode-client asset {shlex.quote(f'path:{root}')} --register",
        ) from error
    if not _REGISTRATION.fullmatch(text):
        raise CorpusError(f"{top / REGISTERED} is not what was written", "restore it")
    return text.strip()


def _refuse_several(repositories: list[str], root: Path) -> None:
    if repositories:
        raise CorpusError(
            f"{root} holds repositories, {repositories[0]} for one",
            "each has a budget of its own: name them one by one, and leave them out of this one",
        )


def _repositories(root: Path) -> list[str]:
    """``root`` (as ``.``) and the folders below it, as far as they are repositories."""
    found = []
    for folder, names, files in os.walk(root):
        if ".git" in (*names, *files):
            found.append(str(Path(folder).relative_to(root)))
        if ".git" in names:
            names.remove(".git")
    return sorted(found)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _distribution(name: str) -> str:
    """The distribution of that name, or the one that a module of that name comes from."""
    try:
        return str(metadata.distribution(name).metadata["Name"])
    except metadata.PackageNotFoundError:
        owners = sorted(set(metadata.packages_distributions().get(name, [])))
    if len(owners) > 1:
        raise CorpusError(
            f"{name} comes from several distributions: {', '.join(owners)}", "name one of them"
        )
    return owners[0] if owners else name


def _wheel(file: Path) -> str:
    """The name that a wheel gives itself, whatever its file is called."""
    try:
        with zipfile.ZipFile(file) as archive:
            inside = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            name = message_from_bytes(archive.read(next(inside)))["Name"]
    except (OSError, zipfile.BadZipFile, StopIteration, KeyError) as error:
        raise CorpusError(
            f"{file} is no wheel that says its name", "name a whole .whl file"
        ) from error
    return str(name)
