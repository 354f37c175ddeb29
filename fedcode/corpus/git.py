# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A repository's history, read by git in such a way that the repository can make nothing run.

A repository's own configuration names programs: for hooks, file monitors, text conversion, filters,
signatures, and the far end of a fetch that a missing object asks for. So git is asked which commit
is checked out, a question that runs none of them, and their keys are set otherwise even so. All
else it is asked in an empty repository of our own that borrows the objects: without the
configuration, the index, the work tree, the hooks, the remotes and the replaced commits of the one
that is read.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fedcode.errors import CorpusError

_PATIENCE = 120.0
"""Seconds; a file of a few thousand lines takes a tenth of one."""

_OFF = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "protocol.allow": "never",
}
"""What the repository may not choose where its configuration is read."""

_BLOCK = re.compile(rb"([0-9a-f]{40,64}) \d+ \d+ (\d+)")


@dataclass(frozen=True, slots=True)
class History:
    """Everything up to one commit.

    Attributes:
        root: the work tree that it was found in, for messages.
        commit: its name.
        objects: the folder of objects, which is all that is read.
        format: what the objects' names are digests by.
    """

    root: Path
    commit: str
    objects: str
    format: str


def checked_out(root: Path) -> History | None:
    """The history of what is checked out in the work tree ``root``; None if there is none.

    Raises:
        CorpusError: the history is cut off, so that it says of old lines what is not true.
    """
    words = ("--is-shallow-repository", "--show-object-format", "--git-path", "objects")
    settings = {**_OFF, "safe.directory": str(root)}
    where = {"GIT_DIR": str(root / ".git"), "GIT_WORK_TREE": str(root)}
    said = _run(root, Path(root.anchor), ("rev-parse", *words, "HEAD^{commit}"), settings, where)
    if said is None:
        return None
    shallow, kind, objects, commit = os.fsdecode(said).removesuffix("\n").split("\n")
    if shallow != "false":
        raise CorpusError(
            f"the history of {root} is cut off: it does not say how it began",
            "fetch all of it: git fetch --unshallow",
        )
    return History(root, commit, str(root / objects), kind)


def tracked(history: History) -> set[str]:
    """Paths of all files of the commit."""
    listed = _borrowing(history, "ls-tree", "-r", "-z", "--name-only", history.commit)
    return {os.fsdecode(path) for path in listed.split(b"\0")}


def first_commit(history: History) -> str:
    """Where the commit's line of first parents begins: merging other histories changes nothing."""
    words = ("rev-list", "--first-parent", "--max-parents=0", history.commit)
    return _borrowing(history, *words).decode("ascii").strip()


def main_author(history: History, path: str) -> str:
    """Who wrote most lines of a file of the commit: an e-mail address in lower case.

    White space does not count; the commit's own ``.mailmap`` does. Of several who wrote as many
    lines it is the first by name. Empty if the file is, or the address.
    """
    words = ("blame", "-w", "--incremental", "--no-textconv", history.commit, "--", path)
    lines: Counter[bytes] = Counter()
    addresses: dict[bytes, str] = {}
    current = b""
    for line in _borrowing(history, *words).split(b"\n"):
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


def _borrowing(history: History, *words: str) -> bytes:
    """What git says in an empty repository with the objects of ``history``."""
    settings = {**_OFF, "mailmap.blob": f"{history.commit}:.mailmap"}
    with TemporaryDirectory(prefix="fedcode-git-") as name:
        own = Path(name)
        (own / "refs").mkdir()
        (own / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        (own / "config").write_text(
            f"[core]\nrepositoryFormatVersion = 1\n[extensions]\nobjectFormat = {history.format}\n",
            encoding="ascii",
        )
        where = {"GIT_DIR": name, "GIT_OBJECT_DIRECTORY": history.objects}
        said = _run(history.root, own, words, settings, where)
    if said is None:
        raise CorpusError(f"git cannot read the history of {history.root}", "check it: git fsck")
    return said


def _run(
    root: Path,
    folder: Path,
    words: tuple[str, ...],
    settings: Mapping[str, str],
    where: Mapping[str, str],
) -> bytes | None:
    """What git says, run in ``folder``; None if it fails."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        **where,
    }
    for number, (key, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    try:
        done = subprocess.run(
            ["git", *words],  # noqa: S607  the organization's own
            cwd=folder,
            env=environment,
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
