# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A repository at one of its commits: ``git:DIR``, ``git:DIR@REVISION`` or ``git:DIR@DATE``.

What is read is the commit, not the work tree: a bare repository will do, and nothing that is not
committed is seen. A date names the last commit of the main line before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedcode.corpus import git
from fedcode.corpus.git import History
from fedcode.errors import CorpusError

SCHEME = "git"

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?Z?)?")


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit, and all that is known of what came after it.

    Attributes:
        snapshot: up to the commit that is read.
        latest: up to the last one.
        moment: the date that was asked for, or when the commit was made: seconds since 1970.
    """

    snapshot: History
    latest: History
    moment: int

    def leading(self) -> set[str]:
        """Ids of the commits that lead to the snapshot, and its own."""
        return git.ancestors(self.snapshot)


def folder_of(place: str) -> str:
    """The repository's folder, without the commit."""
    return place if Path(place).is_dir() else place.rpartition("@")[0]


def revision(place: str) -> Revision:
    """Finds a commit.

    Args:
        place: ``DIR``, ``DIR@REVISION`` or ``DIR@DATE``.

    Raises:
        CorpusError: no such repository, no such commit, or a history that is cut off.
    """
    folder = Path(folder_of(place))
    at = place.removeprefix(str(folder_of(place))).removeprefix("@")
    root = folder.resolve()
    if not folder.name:
        raise CorpusError(f"{place} is not there", "name a repository: git:DIR")
    if not git.is_repository(root):
        what = "is no git repository" if folder.is_dir() else "is not there"
        raise CorpusError(f"{folder} {what}", "name one: git:DIR; of other folders write path:DIR")
    if place != str(folder) and place.endswith("@"):
        raise CorpusError(f"{place} names no revision after the @", "git:DIR reads the last commit")
    if not _DATE.fullmatch(at):
        found = git.checked_out(root, at or "HEAD")
        if found is None:
            raise CorpusError(
                f"{folder} has no commit {at}" if at else f"{folder} has no commit",
                "name a branch, a tag, a commit or a date: git:DIR@2024-01-01",
            )
        latest = git.checked_out(root) if at else None
        return Revision(found, latest or found, git.time_of(found))
    moment = _moment(at)
    latest = git.checked_out(root)
    found = git.before(latest, moment) if latest else None
    if latest is None or found is None:
        raise CorpusError(f"{folder} has no commit before {at}", "name a later date")
    return Revision(found, latest, moment)


def _moment(text: str) -> int:
    """Seconds since 1970 of a date or time in UTC."""
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError as error:
        raise CorpusError(f"{text} is no date", "write it as 2024-01-31") from error
    return int(moment.replace(tzinfo=UTC).timestamp())
