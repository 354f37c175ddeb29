# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are made when they are looked at, and what is said of them beside their text.

Whatever comes after reading (owners, labels, what was removed) goes over the files twice: once to
make a small table, and then, whenever somebody looks at a file, to apply it.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import eq
from typing import overload

from fedcode.record import SourceFile, UnitId

Change = Callable[[int, SourceFile], SourceFile]
"""Makes another file of a file and its index; of the same path."""


class Files(Sequence[SourceFile]):
    """A sequence that holds no files: each is made anew when it is asked for.

    It equals any sequence of equal files, and has no hash.
    """

    __slots__ = ()

    @abstractmethod
    def paths(self) -> list[str]:
        """Of all files, in order, without making one."""

    @abstractmethod
    def at(self, index: int) -> SourceFile:
        """The file there, from 0."""

    @overload
    def __getitem__(self, index: int) -> SourceFile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[SourceFile]: ...

    def __getitem__(self, index: int | slice) -> SourceFile | Sequence[SourceFile]:
        found = range(len(self))[index]
        return View(self, found) if isinstance(found, range) else self.at(found)

    def __iter__(self) -> Iterator[SourceFile]:
        return map(self.at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class View(Files):
    """Some of ``files``, each changed when it is looked at.

    Attributes:
        files: of which they are.
        rows: their indices there, in order.
        change: what is made of each; None leaves them as they are.
    """

    files: Sequence[SourceFile]
    rows: Sequence[int]
    change: Change | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def paths(self) -> list[str]:
        """See :class:`Files`."""
        every = paths(self.files)
        return [every[row] for row in self.rows]

    def at(self, index: int) -> SourceFile:
        """See :class:`Files`."""
        row = self.rows[index]
        file = self.files[row]
        return file if self.change is None else self.change(row, file)


class Joined(Files):
    """Files of several sequences, one sequence after another, each file below its folder.

    Args:
        parts: folder and files of each.
    """

    __slots__ = ("_parts", "_starts")

    def __init__(self, parts: Iterable[tuple[str, Sequence[SourceFile]]]) -> None:
        self._parts = tuple(parts)
        self._starts = [0, *accumulate(len(files) for _, files in self._parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def paths(self) -> list[str]:
        """See :class:`Files`."""
        return [f"{folder}/{path}" for folder, files in self._parts for path in paths(files)]

    def at(self, index: int) -> SourceFile:
        """See :class:`Files`."""
        number = bisect_right(self._starts, index) - 1
        folder, files = self._parts[number]
        return below(folder, files[index - self._starts[number]])


def below(folder: str, file: SourceFile) -> SourceFile:
    """A file as it stands in a folder more: its path, and its records' units and repositories."""
    records = (
        replace(
            record,
            unit=UnitId(f"{folder}/{record.unit}"),
            path=f"{folder}/{record.path}",
            repository=f"{folder}/{record.repository}" if record.repository else folder,
        )
        for record in file.records
    )
    return SourceFile(f"{folder}/{file.path}", file.tokens, tuple(records))


def paths(files: Sequence[SourceFile]) -> list[str]:
    """Of all files, in order."""
    return files.paths() if isinstance(files, Files) else [file.path for file in files]


def chosen(files: Sequence[SourceFile], rows: Sequence[int]) -> Sequence[SourceFile]:
    """The files at ``rows``, which ascend."""
    if isinstance(files, Files):
        return View(files, rows) if len(rows) < len(files) else files
    return tuple(files[row] for row in rows)


def changed(files: Sequence[SourceFile], change: Change) -> Sequence[SourceFile]:
    """What ``change`` makes of each file: when it is looked at, or now where all are in memory."""
    if isinstance(files, Files):
        return View(files, range(len(files)), change)
    return tuple(change(row, file) for row, file in enumerate(files))


class Kept:
    """Which files and records of a sequence stay: a number for each file, a byte for each record.

    Attributes:
        removed: so many records go.
    """

    def __init__(self) -> None:
        self.removed = 0
        self._seen = 0
        self._rows = array("q")
        self._starts = array("q")
        self._flags = bytearray()
        self._whole = True

    def pass_over(self, file: SourceFile) -> None:
        """The next file goes."""
        self._seen += 1
        self.removed += len(file.records)

    def take(self, stays: Iterable[bool]) -> None:
        """The next file stays, with those of its records for which ``stays`` says so."""
        self._rows.append(self._seen)
        self._seen += 1
        self._starts.append(len(self._flags))
        self._flags.extend(stays)
        gone = self._flags.count(0, self._starts[-1])
        self._whole &= not gone
        self.removed += gone

    def of(self, files: Sequence[SourceFile]) -> Sequence[SourceFile]:
        """What stays of ``files``, which all were passed over or taken."""
        stay = chosen(files, self._rows)
        return stay if self._whole else changed(stay, self._less)

    def _less(self, index: int, file: SourceFile) -> SourceFile:
        begin = self._starts[index]
        flags = self._flags[begin : begin + len(file.records)]
        if all(flags):
            return file
        records = (r for r, stays in zip(file.records, flags, strict=True) if stays)
        return SourceFile(file.path, file.tokens, tuple(records))
