# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What of our code must not be trained on, as our folder says it; nothing of it is sent."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from fedcode.corpus import Screen, asset_of, cache_folder, forget, git
from fedcode.corpus.filters import Erased, What, digest, new_salt, opted_out
from fedcode.errors import ConfigError
from fedcode.storage import write_atomically
from fedcode_client.home import Home


def erased_of(home: Home) -> Path:
    """The list of what was erased."""
    return home.root / "erased.json"


def opted_out_of(home: Home) -> Path:
    """The list of who opted out."""
    return home.root / "opted-out.txt"


def screen_of(home: Home) -> Screen:
    """All filters, by ``client.toml`` and the lists beside it.

    Raises:
        ConfigError: one of the files is not what it should be: nothing is read before it is mended.
    """
    return Screen(
        home.settings().filters,
        erased=Erased.load(erased_of(home)).denied(),
        opted_out=opted_out(opted_out_of(home)),
    )


def erase(home: Home, what: What, name: str) -> bool:
    """Puts one more on the list of what was erased, and deletes what was read before.

    Args:
        home: our folder.
        what: what ``name`` names.
        name: ``path::name`` of a unit, a file's path, a repository's folder or account, an e-mail
            address. It is not kept.

    Returns:
        Whether it is new on the list.

    Raises:
        ConfigError: no such thing can have that name, or the list is damaged.
    """
    if not name.strip():
        raise ConfigError("nothing is named", f"fedcode-client erase {what} NAME")
    if what == "unit" and "::" not in name:
        raise ConfigError(f"{name} names no unit", "write path::name, as ingest's report does")
    if what == "author" and "@" not in name:
        raise ConfigError(f"{name} is no e-mail address", "authors are known by their addresses")
    before = Erased.load(erased_of(home))
    after = before.having(what, _as_read(what, name))
    # also where it is there already: what was read before goes in any case
    after.save(erased_of(home))
    forget(cache_folder())
    return after != before


def _as_read(what: What, name: str) -> str:
    """The name as reading compares it: paths without ``./``, a repository's folder as its account.

    Raises:
        ConfigError: a path that no file of a source can have, or a unit without a name.
    """
    if what == "author":
        return name
    if what == "repository":
        if ":" not in name and Path(name).is_dir() and git.is_repository(Path(name).resolve()):
            return asset_of(f"git:{name}")
        if name.startswith("git:") and Path(name.removeprefix("git:")).is_dir():
            return asset_of(name)
        return name if ":" in name else _path(name.rstrip("/"))
    if what == "file":
        return _path(name)
    path, _, unit = name.partition("::")
    if not unit:
        raise ConfigError(f"{name} names no unit", "write path::name, as ingest's report does")
    return f"{_path(path)}::{unit}"


def _path(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ConfigError(
            f"{name} is no path below a source", "write it as ingest does, relative to the source"
        )
    return str(path)


def opt_out(home: Home, address: str) -> bool:
    """Puts an author on the list of those who opted out, as a digest under a salt of its own.

    Returns:
        Whether the author is new on the list.

    Raises:
        ConfigError: it is no address, or the list is damaged.
    """
    if "@" not in address:
        raise ConfigError(f"{address} is no e-mail address", "authors are known by their addresses")
    path = opted_out_of(home)
    if opted_out(path).holds("author", address):
        return False
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        text += "\n"
    salt = new_salt()
    write_atomically(path, f"{text}{salt}:{digest(salt, 'author', address)}\n".encode())
    return True
