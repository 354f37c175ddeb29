# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a commit does to files."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_HUNK = 20_000
"""Lines; of longer hunks only the numbers of lines are kept: no person wrote them by hand."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines of a file that others replace.

    Attributes:
        start: index, from 0, of the first line taken, or of the line before which others are added.
        taken: how many lines.
        added: how many.
        old: the lines taken, without their ends, if they were asked for; none of a hunk beyond
            :data:`LONGEST_HUNK`.
        new: the lines added.
    """

    start: int
    taken: int
    added: int
    old: tuple[bytes, ...] = ()
    new: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where a merge's parents meet in a file, and one line of each stands for the other's.

    Attributes:
        start: index of the first line in the first parent's file.
        columns: for each line a sign for every parent: ``+`` where it lacks a line of the merge,
            ``-`` where it alone of some has a line that the merge lacks, else a space.
    """

    start: int
    columns: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to one file.

    Attributes:
        path: the file afterwards; before, where it is gone.
        before: its path before; the same if it was not renamed, empty where it is new.
        copied: whether it was made of ``before``, which another file was renamed from.
        old: the blob before, in hexadecimal; empty where it is new.
        new: the blob afterwards; empty where it is gone.
        hunks: ascending; none of a merge.
        parents: of a merge that made of the file what no parent had, where it could be told: the
            blobs of all parents.
        meetings: then, ascending.
    """

    path: str
    before: str
    old: str
    new: str
    hunks: tuple[Hunk, ...] = ()
    copied: bool = False
    parents: tuple[str, ...] = ()
    meetings: tuple[Meeting, ...] = ()
