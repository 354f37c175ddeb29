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
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from fedcode.errors import CorpusError

_PATIENCE = 120.0
"""Seconds; a file of a few thousand lines takes a tenth of one."""

_STREAM_PATIENCE = 3600.0

_OFF = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "protocol.allow": "never",
}
"""What the repository may not choose where its configuration is read."""

_BLOCK = re.compile(rb"([0-9a-f]{40,64}) \d+ (\d+) (\d+)")


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


def work_tree(folder: Path) -> Path | None:
    """The innermost work tree that a folder is or lies in; its root."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)


def is_repository(root: Path) -> bool:
    """Whether a folder is a work tree's root, or a bare repository."""
    bare = (root / "objects").is_dir() and (root / "HEAD").exists() and (root / "refs").exists()
    return (root / ".git").exists() or bare


def checked_out(root: Path, revision: str = "HEAD") -> History | None:
    """The history of a commit: of what is checked out, if no other is named.

    Args:
        root: a work tree, or a bare repository.
        revision: a branch, a tag or a commit.

    Returns:
        None if there is no such commit.

    Raises:
        CorpusError: the history is cut off, so that it says of old lines what is not true.
    """
    words = ("--is-shallow-repository", "--show-object-format", "--git-path", "objects")
    folder = root / ".git" if (root / ".git").exists() else root
    settings = {**_OFF, "safe.directory": str(root)}
    where = {"GIT_DIR": str(folder), "GIT_WORK_TREE": str(root)}
    asked = ("rev-parse", *words, "--end-of-options", f"{revision}^{{commit}}")
    answer = _run(root, Path(root.anchor), asked, settings, where)
    if answer is None:
        return None
    shallow, kind, objects, *_, commit = os.fsdecode(answer).removesuffix("\n").split("\n")
    if shallow != "false":
        raise CorpusError(
            f"the history of {root} is cut off: it does not say how it began",
            "fetch all of it: git fetch --unshallow",
        )
    return History(root, commit, str(root / objects), kind)


def tracked(history: History) -> set[str]:
    """Paths of all files of the commit."""
    listed = said(history, "ls-tree", "-r", "-z", "--name-only", history.commit)
    return {os.fsdecode(path) for path in listed.split(b"\0")}


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a commit.

    Attributes:
        path: with forward slashes; bytes that are no UTF-8 as Python escapes them.
        mode: git's six digits.
        blob: its content's id, or the commit of a submodule.
        size: in bytes; 0 for a submodule.
    """

    path: str
    mode: str
    blob: str
    size: int


def listed(history: History, *paths: str) -> Iterator[Listed]:
    """All files of the commit, or those of ``paths``, as they come; nothing of them is read."""
    text = said(history, "ls-tree", "-r", "-l", "-z", "--full-tree", history.commit, "--", *paths)
    for line in text.split(b"\0")[:-1]:
        words, _, path = line.partition(b"\t")
        mode, _, blob, size = words.decode("ascii").split()
        yield Listed(os.fsdecode(path), mode, blob, int(size) if size.isdigit() else 0)


def before(history: History, moment: int) -> History | None:
    """What the main line was at a moment: its last commit that was made before.

    Args:
        history: up to a later commit.
        moment: in seconds since 1970.
    """
    words = ("rev-list", "-1", "--first-parent", f"--before=@{moment}", history.commit)
    commit = said(history, *words).decode("ascii").strip()
    return replace(history, commit=commit) if commit else None


def time_of(history: History) -> int:
    """When the commit was made: seconds since 1970, as its committer's clock said."""
    return int(said(history, "log", "-1", "--format=%ct", history.commit))


def ancestors(history: History) -> set[str]:
    """Ids of all commits that lead to the commit, and its own."""
    return set(said(history, "rev-list", history.commit).decode("ascii").split())


def newest(history: History, patterns: Sequence[str]) -> str:
    """The last commit that changed files of some kinds, or merged such changes; empty if none."""
    words = ("rev-list", "-1", "--topo-order", "--full-history", "--parents", history.commit)
    return said(history, *words, "--", *patterns).decode("ascii").partition(" ")[0].strip()


def contents(history: History, blobs: Sequence[str]) -> Iterator[bytes | None]:
    """What blobs hold, in the order asked for; None for one that is not there."""
    with _borrowed(history) as (own, settings, where):
        process = _start(("cat-file", "--batch"), own, settings, where, stdin=subprocess.PIPE)
        overdue = threading.Timer(_STREAM_PATIENCE, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            asked, told = process.stdin, process.stdout
            assert asked is not None  # they were asked for
            assert told is not None
            for blob in blobs:
                asked.write(f"{blob}\n".encode("ascii"))
                asked.flush()
                head = told.readline().split()
                if len(head) != 3:
                    if not head:
                        raise _unreadable(history)
                    yield None
                    continue
                data = told.read(int(head[2]))
                told.read(1)
                yield data
        except OSError as error:
            raise _unreadable(history) from error
        finally:
            overdue.cancel()
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(OSError):
                        pipe.close()


def people(history: History) -> frozenset[str]:
    """Names of several words, and addresses, of all who wrote or committed."""
    told = said(history, "log", "--format=%aN%x00%aE%x00%cN%x00%cE", history.commit)
    words = re.split(r"[\0\n]", told.decode("utf-8", "replace"))
    return frozenset(one for one in map(str.strip, words) if " " in one or "@" in one)


def first_commit(history: History) -> str:
    """Where the commit's line of first parents begins: merging other histories changes nothing."""
    words = ("rev-list", "--first-parent", "--max-parents=0", history.commit)
    return said(history, *words).decode("ascii").strip()


def main_author(history: History, path: str) -> str:
    """Who wrote most lines of a file of the commit: an e-mail address in lower case.

    White space does not count; the commit's own ``.mailmap`` does. Of several who wrote as many
    lines it is the first by name. Empty if the file is, or the address.
    """
    return most_frequent(line_authors(history, path))


def line_authors(history: History, path: str) -> list[str]:
    """Who wrote each line of a file of the commit, as :func:`main_author` counts them."""
    words = ("blame", "-w", "--incremental", "--no-textconv", history.commit, "--", path)
    parts: list[tuple[int, int, bytes]] = []
    addresses: dict[bytes, str] = {}
    current = b""
    for line in said(history, *words).split(b"\n"):
        if block := _BLOCK.fullmatch(line):
            current = block[1]
            parts.append((int(block[2]), int(block[3]), current))
        elif line.startswith(b"author-mail "):
            address = line.removeprefix(b"author-mail ").strip(b" <>")
            addresses[current] = address.decode("utf-8", "replace").lower()
    return [addresses[commit] for _, number, commit in sorted(parts) for _ in range(number)]


def most_frequent(authors: Iterable[str]) -> str:
    """Who stands in a list most often, the first by name of several; empty for an empty list."""
    wrote = Counter(authors)
    return min(wrote, key=lambda address: (-wrote[address], address), default="")


@contextmanager
def stream(
    history: History, *words: str, given: Sequence[str] | None = None
) -> Iterator[IO[bytes]]:
    """What git says of a history while it says it; git is ended where not all of it is read.

    Args:
        history: that it is asked of.
        words: of the question.
        given: lines that git reads, if it is to read any.

    Raises:
        CorpusError: git fails, or has not come to its end in an hour.
    """
    with _borrowed(history) as (own, settings, where):
        asked = own / "given"
        asked.write_text("".join(f"{line}\n" for line in given or ()), encoding="ascii")
        with asked.open("rb") as lines:
            process = _start(words, own, settings, where, stdin=lines)
        overdue = threading.Timer(_STREAM_PATIENCE, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            with process.stdout as text:  # type: ignore[union-attr]  # it was asked for
                yield text
                text.read()
            if process.wait() != 0:
                raise _unreadable(history)
        finally:
            overdue.cancel()
            process.kill()
            process.wait()


def said(history: History, *words: str) -> bytes:
    """All that git says of a history, at once.

    Raises:
        CorpusError: git fails.
    """
    with _borrowed(history) as (own, settings, where):
        answer = _run(history.root, own, words, settings, where)
    if answer is None:
        raise _unreadable(history)
    return answer


def _unreadable(history: History) -> CorpusError:
    return CorpusError(
        f"git cannot read the history of {history.root}",
        "is it whole? git fsck; of a partial clone, fetch all of it",
    )


@contextmanager
def _borrowed(history: History) -> Iterator[tuple[Path, dict[str, str], dict[str, str]]]:
    """An empty repository with the objects of ``history``: folder, settings, whereabouts."""
    settings = {
        **_OFF,
        "mailmap.blob": f"{history.commit}:.mailmap",
        "core.quotePath": "false",
        "diff.renameLimit": "1000",
    }
    with TemporaryDirectory(prefix="fedcode-git-") as name:
        own = Path(name)
        (own / "refs").mkdir()
        (own / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        (own / "config").write_text(
            f"[core]\nrepositoryFormatVersion = 1\n[extensions]\nobjectFormat = {history.format}\n",
            encoding="ascii",
        )
        yield own, settings, {"GIT_DIR": name, "GIT_OBJECT_DIRECTORY": history.objects}


def _start(
    words: tuple[str, ...],
    folder: Path,
    settings: Mapping[str, str],
    where: Mapping[str, str],
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["git", *words],  # noqa: S607  the organization's own
            cwd=folder,
            env=_environment(settings, where),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise CorpusError("git cannot be started", "install git") from error


def _run(
    root: Path,
    folder: Path,
    words: tuple[str, ...],
    settings: Mapping[str, str],
    where: Mapping[str, str],
) -> bytes | None:
    """What git says, run in ``folder``; None if it fails."""
    try:
        done = subprocess.run(
            ["git", *words],  # noqa: S607  the organization's own
            cwd=folder,
            env=_environment(settings, where),
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


def _environment(settings: Mapping[str, str], where: Mapping[str, str]) -> dict[str, str]:
    """All that git is told, whoever asks."""
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
    return environment
