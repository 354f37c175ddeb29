# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a source is, whatever it is called: the account of the ledger that pays for its use.

Renaming, moving, copying or reading anew changes no identity. A clone, a fork and a folder of a
repository are that repository: what is charged to one is charged to all of them.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

from fedcode.corpus import git
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
        source: ``path:DIR``, ``package:NAME`` or ``wheel:FILE``.

    Raises:
        CorpusError: a folder without history that is not registered, a folder of several
            repositories, a history that is cut off, or no source.
    """
    scheme, _, rest = source.partition(":")
    if scheme in ("package", "wheel") and rest:
        name = Path(rest).name.partition("-")[0] if scheme == "wheel" else rest
        return f"package:{re.sub(r'[-_.]+', '-', name).lower()}"  # PEP 503
    if scheme != "path" or not rest:
        raise CorpusError(f"{source} is no organization's source", NAMING)
    root = Path(rest).resolve()
    top = next((one for one in (root, *root.parents) if (one / ".git").exists()), None)
    history = git.checked_out(top) if top else None
    return f"git:{git.first_commit(history)}" if history else f"folder:{_registration(root)}"


def register(folder: Path) -> str:
    """Gives a folder without history an identity, in a file that goes where the folder goes.

    Returns:
        The identity; the one that it has, if it has one.

    Raises:
        CorpusError: the folder has a history, or cannot be written.
    """
    source = f"path:{folder}"
    file = folder / REGISTERED
    if not file.exists() and not _repositories(folder):
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            with os.fdopen(handle, "w", encoding="ascii") as new:
                new.write(f"{uuid.uuid4().hex}\n")
        except OSError as error:
            raise CorpusError(f"{file} cannot be made", "is the folder writable?") from error
    return asset_of(source)


def _registration(root: Path) -> str:
    repositories = _repositories(root)
    if repositories:
        raise CorpusError(
            f"{root} holds repositories, {repositories[0]} for one",
            "each has a budget of its own: name them one by one",
        )
    try:
        text = (root / REGISTERED).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{root} has no history and is not registered",
            f"fedcode-client asset path:{root} --register",
        ) from error
    if not _REGISTRATION.fullmatch(text):
        raise CorpusError(f"{root / REGISTERED} is not what was written", "restore it")
    return text.strip()


def _repositories(root: Path) -> list[str]:
    """Folders below ``root`` that are repositories."""
    found = []
    for folder, names, files in os.walk(root):
        if ".git" in (*names, *files):
            found.append(str(Path(folder).relative_to(root)))
            names.clear()
    return sorted(found)
