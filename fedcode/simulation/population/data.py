# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Many members' data, of which a round reads its cohort's alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, overload

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fedcode.errors import CorpusError

E_co = TypeVar("E_co", covariant=True)

Row = tuple[NDArray[Any], ...]
"""One example of arrays: a value of each column."""

_OFFSETS = "members.npy"
_WHOLE = "pack it anew with fedcode.simulation.population.data.pack"


class Population(Protocol[E_co]):
    """Members by number. Looking at one reads no other."""

    def __len__(self) -> int:
        """How many members there are."""
        ...

    def member(self, number: int) -> Sequence[E_co]:
        """The examples of member ``number``, from 0."""
        ...


class Rows(Sequence[Row]):
    """Examples as columns: views, nothing is copied.

    Args:
        columns: each of shape (rows, ...).
    """

    __slots__ = ("columns",)

    def __init__(self, columns: tuple[NDArray[Any], ...]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        part = tuple(column[index] for column in self.columns)
        return Rows(part) if isinstance(index, slice) else part

    def take(self, chosen: NDArray[np.int64]) -> Rows:
        """The rows of these numbers, in their order."""
        return Rows(tuple(column[chosen] for column in self.columns))


class Packed:
    """A folder that :func:`pack` wrote, mapped into memory: processes share its pages.

    Args:
        folder: where it lies.

    Raises:
        CorpusError: it is not of this form.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            names = sorted(folder.glob("column-*.npy"))
            self.offsets: NDArray[np.int64] = _mapped(folder / _OFFSETS)
            self.columns: tuple[NDArray[Any], ...] = tuple(map(_mapped, names))
        except (OSError, ValueError) as error:
            raise CorpusError(f"{folder} holds no packed population", _WHOLE) from error
        ends, ascending = self.offsets[[0, -1]], (np.diff(self.offsets) >= 0).all()
        if not self.columns or not ascending or ends[0] != 0:
            raise CorpusError(f"{folder} is not a whole packed population", _WHOLE)
        if any(len(column) != ends[1] for column in self.columns):
            raise CorpusError(f"the columns of {folder} are not of one length", _WHOLE)

    def __reduce__(self) -> tuple[Callable[[Path], Packed], tuple[Path]]:
        """Another process maps the same files."""
        return type(self), (self.folder,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def columns_of(self, number: int) -> tuple[NDArray[Any], ...]:
        """The part of every column that is member ``number``'s."""
        start, end = int(self.offsets[number]), int(self.offsets[number + 1])
        return tuple(column[start:end] for column in self.columns)


def _mapped(file: Path) -> NDArray[Any]:
    """A file's array: pages are read when they are looked at, and what is changed stays here."""
    return npy.open_memmap(file, mode="c").view(np.ndarray)


class PackedPopulation:
    """Members whose examples are rows of arrays.

    Args:
        packed: the arrays.
        members: so many of the first ones; the rest are somebody else's to use.
    """

    def __init__(self, packed: Packed, members: int) -> None:
        self._packed, self._members = packed, members

    def __len__(self) -> int:
        return self._members

    def member(self, number: int) -> Rows:
        """Views into the mapped files."""
        return Rows(self._packed.columns_of(number))


def pack(folder: Path, members: Iterable[tuple[NDArray[Any], ...]]) -> Packed:
    """Writes members' columns one after the other: one member is in memory at a time.

    Args:
        folder: is there when it is whole, and not before.
        members: for each its columns, of shape (rows, ...); equal types and shapes but for rows.

    Raises:
        CorpusError: there is no member, or columns do not fit to one another.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(unfinished, members)
        unfinished.replace(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return Packed(folder)


class _Column:
    """One file that grows; its header has room for the number of rows."""

    def __init__(self, file: BinaryIO, first: NDArray[Any]) -> None:
        self._file, self._dtype, self._shape = file, first.dtype, first.shape[1:]
        self.rows = 0
        self._header()

    def add(self, values: NDArray[Any]) -> None:
        if (values.dtype, values.shape[1:]) != (self._dtype, self._shape):
            raise CorpusError(
                f"a member's column is of {values.dtype}{list(values.shape[1:])}, and the first "
                f"one's of {self._dtype}{list(self._shape)}",
                "give every member the same columns",
            )
        self._file.write(np.ascontiguousarray(values).data.cast("B") if values.size else b"")
        self.rows += len(values)

    def finish(self) -> None:
        self._file.seek(0)
        self._header()

    def _header(self) -> None:
        about = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._shape),
        }
        npy.write_array_header_1_0(self._file, about)


def _write(folder: Path, members: Iterable[tuple[NDArray[Any], ...]]) -> None:
    columns: list[_Column] = []
    files: list[BinaryIO] = []
    offsets = [0]
    try:
        for values in members:
            if not columns:
                files = [(folder / f"column-{n:02}.npy").open("wb") for n in range(len(values))]
                columns = [_Column(f, v) for f, v in zip(files, values, strict=True)]
            if len(values) != len(columns) or len({len(v) for v in values}) != 1:
                raise CorpusError(
                    "a member's columns are not as many, or not as long, as they should be",
                    "give every member the same columns, with one value a row",
                )
            for column, value in zip(columns, values, strict=True):
                column.add(value)
            offsets.append(columns[0].rows)
        if not columns:
            raise CorpusError("a population needs a member", "is there anything in its source?")
        for column in columns:
            column.finish()
    finally:
        for file in files:
            file.close()
    with (folder / _OFFSETS).open("wb") as file:
        npy.write_array(file, np.array(offsets, np.int64))
