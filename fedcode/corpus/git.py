# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A repository's history, read by git in such a way that the repository can make nothing run.

A repository's own configuration names programs: for hooks, file monitors, text conversion, filters,
signatures, and the far end of a fetch that a missing object asks for. So git is told the repository
instead of finding it, reads no configuration but the repository's, whose dangerous keys are set
otherwise on top, and reads commits alone: no index, no file of the work tree. It may not fetch.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

from fedcode.errors import CorpusError

_PATIENCE = 120.0
"""Seconds; a file of a few thousand lines takes a tenth of one."""

_OFF = {
    "blame.ignoreRevsFile": "",
    "core.attributesFile": os.devnull,
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "diff.algorithm": "default",
    "diff.external": "",
    "diff.renameLimit": "1000",
    "mailmap.blob": "HEAD:.mailmap",
    "mailmap.file": "",
    "protocol.allow": "never",
}
"""What the repository may not choose: programs, and whatever else changes who wrote a line."""

_BLOCK = re.compile(rb"([0-9a-f]{40,64}) \d+ \d+ (\d+)")


def head(root: Path) -> str | None:
    """The commit that is checked out in the work tree ``root``; None if there is none.

    Raises:
        CorpusError: the history is cut off, so that it says of old lines what is not true.
    """
    said = _git(root, "rev-parse", "--is-shallow-repository", "HEAD^{commit}")
    if said is None:
        return None
    shallow, commit = said.decode("ascii").split()
    if shallow != "false":
        raise CorpusError(
            f"the history of {root} is cut off: it does not say who wrote old lines",
            "fetch all of it: git fetch --unshallow",
        )
    return commit


def tracked(root: Path, commit: str) -> set[str]:
    """Paths of all files of ``commit``."""
    listed = _git(root, "ls-tree", "-r", "-z", "--full-tree", "--name-only", commit)
    if listed is None:
        raise _unreadable(root)
    return {os.fsdecode(path) for path in listed.split(b"\0")}


def main_author(root: Path, commit: str, path: str) -> str:
    """Who wrote most lines of a file of ``commit``: an e-mail address in lower case.

    White space does not count; the repository's own ``.mailmap`` does. Of several who wrote as many
    lines it is the first by name. Empty if the file is, or the address.
    """
    said = _git(root, "blame", "-w", "--incremental", "--no-textconv", commit, "--", path)
    if said is None:
        raise _unreadable(root)
    lines: Counter[bytes] = Counter()
    addresses: dict[bytes, str] = {}
    current = b""
    for line in said.split(b"\n"):
        if block := _BLOCK.fullmatch(line):
            current = block[1]
            lines[current] += int(block[2])
        elif line.startswith(b"author-mail "):
            address = line.removeprefix(b"author-mail ").strip(b" <>")
            addresses[current] = address.decode("utf-8", "replace").lower()
    wrote: Counter[str] = Counter()
    for author, number in lines.items():
        wrote[addresses[author]] += number
    return min(wrote, key=lambda address: (-wrote[address], address), default="")


def _git(root: Path, *words: str) -> bytes | None:
    """What git says about the repository whose work tree is ``root``; None if it fails."""
    try:
        done = subprocess.run(
            ["git", *words],  # noqa: S607  the organization's own
            cwd=root.anchor,
            env=_environment(root),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CorpusError(
            f"git took more than {_PATIENCE:g} seconds in {root}", "is the repository whole?"
        ) from error
    except OSError as error:
        raise CorpusError("git cannot be started", "install git") from error
    return done.stdout if done.returncode == 0 else None


def _environment(root: Path) -> dict[str, str]:
    settings = {**_OFF, "safe.directory": str(root)}
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_DIR": str(root / ".git"),
        "GIT_WORK_TREE": str(root),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_OPTIONAL_LOCKS": "0",
    }
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def _unreadable(root: Path) -> CorpusError:
    return CorpusError(f"git cannot read the history of {root}", "check it: git fsck")
