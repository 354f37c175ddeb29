# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What commits did, kept by their ids: a commit never changes, so nothing of it is read twice.

Files of a few thousand commits each lie in one folder. They hold paths, blobs and numbers of lines:
no text of a line, no message and nobody's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from fedcode.corpus import cache as cached
from fedcode.corpus.changes import Change, Hunk, Meeting

READER = 1
"""Raised when commits would be read otherwise."""

_TOGETHER = 4096
_AT_HAND = 4


class Kept:
    """What is known of commits.

    Args:
        folder: where it lies; it is made when something is to be kept.

    Raises:
        CacheDamaged: what was kept is not what was written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._where: dict[str, tuple[Path, int]] = {}
        self._new: dict[str, tuple[Change, ...]] = {}
        self._lines = lru_cache(_AT_HAND)(_lines)
        for file in sorted(folder.glob("*.zz")):
            ids, *_ = self._lines(file)
            self._where |= {one: (file, n) for n, one in enumerate(ids.split(), start=1)}

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Self]:
        """Keeps what was learnt when all went well."""
        kept = cls(folder)
        yield kept
        kept.flush()

    def __contains__(self, commit: str) -> bool:
        return commit in self._where or commit in self._new

    def __getitem__(self, commit: str) -> tuple[Change, ...]:
        if commit in self._new:
            return self._new[commit]
        file, line = self._where[commit]
        try:
            return tuple(_unpacked(one) for one in json.loads(self._lines(file)[line]))
        except (ValueError, TypeError, IndexError) as error:
            raise cached.damaged(file) from error

    def learn(self, commit: str, changes: tuple[Change, ...]) -> None:
        """Takes a commit that is not known yet; the text of its lines is not kept."""
        self._new[commit] = changes
        if len(self._new) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Writes what was learnt."""
        if not self._new:
            return
        ids = " ".join(self._new)
        lines = [ids, *(json.dumps([_packed(one) for one in done]) for done in self._new.values())]
        file = self._folder / f"{hashlib.sha256(ids.encode()).hexdigest()}.zz"
        cached.keep(file, "\n".join(lines))
        self._new.clear()


def _lines(file: Path) -> list[str]:
    return cached.kept(file).split("\n")


def _packed(one: Change) -> list[Any]:
    hunks = [number for h in one.hunks for number in (h.start, h.taken, h.added)]
    meetings = [[m.start, [c.decode("latin-1") for c in m.columns]] for m in one.meetings]
    plain = [one.path, one.before, one.old, one.new, hunks, one.copied]
    return [*plain, one.parents, meetings] if one.parents else plain


def _unpacked(values: list[Any]) -> Change:
    path, before, old, new, numbers, copied, *merge = values
    hunks = tuple(map(Hunk, numbers[::3], numbers[1::3], numbers[2::3]))
    parents, meetings = merge or ((), ())
    return Change(
        path,
        before,
        old,
        new,
        hunks,
        copied,
        tuple(parents),
        tuple(Meeting(at, tuple(c.encode("latin-1") for c in own)) for at, own in meetings),
    )
