# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What was read of files, in the columns of an Arrow file: written as it comes, mapped to be read.

A store is one line with a checksum of all that follows, and an Arrow IPC file: nothing in it can
run. A row is a file. It says its own words once, and all else are their numbers, so that a row is
read, or copied into another store, without those beside it. The last batch has no rows: its
metadata is what was read beside files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import tempfile
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache, lru_cache
from itertools import accumulate, chain, count, pairwise
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fedcode.corpus.cache import damaged
from fedcode.corpus.files import Cut, source_file
from fedcode.corpus.language import Function
from fedcode.corpus.views import Files
from fedcode.record import Metrics, Skipped, SourceFile, Taken

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str, ...]
"""What a row was made from: the file's path, its content's digest, its folder's licence."""

_MAGIC = b"fedcode-store/1"
_HEAD = 128
"""Bytes of the first line: a multiple of what Arrow aligns to."""

_MOST_ROWS = 256
_MOST_TOKENS = 1 << 17
"""A batch ends with the row that passes either."""

_OPEN = 4
"""Batches that are mapped at a time."""

_BLOCK = 1 << 20
_METRICS = tuple(field.name for field in fields(Metrics))
_NUMBERS = 8 + len(_METRICS)
"""Of a function: its name's, start, stop, first, last, lines, metrics, tree tokens, comments."""


@cache
def _schema() -> pa.Schema:
    import pyarrow as pa

    words, numbers = pa.list_(pa.binary()), pa.list_(pa.int32())
    return pa.schema(
        {
            "key": words,
            "same": pa.binary(32),  # equal where tokens are
            "lines": pa.int32(),
            "note": pa.binary(),
            "taken": pa.binary(),
            "words": words,
            "tokens": numbers,
            "ast": numbers,  # of the module, then of each function
            "functions": numbers,
            "comments": numbers,
        }
    )


def rows_of(pieces: Iterable[tuple[Cut, Key]]) -> pa.RecordBatch:
    """A row for each file.

    Args:
        pieces: each with what it was made from, its path first.
    """
    import pyarrow as pa

    keys, same, lines, notes, taken = _Lists(), [], array("i"), [], []
    words, tokens, trees = _Lists(), _Numbers(), _Numbers()
    functions, comments = _Numbers(), _Numbers()
    for piece, key in pieces:
        trees_of = [piece.ast, *(f.ast for f in piece.functions)]
        own = dict.fromkeys(piece.tokens)
        first = len(own)
        own |= dict.fromkeys(chain(*trees_of, (f.name for f in piece.functions)))
        number = dict(zip(own, count(), strict=False)).__getitem__
        raw = [_raw(word) for word in own]
        keys.add(map(_raw, key))
        words.add(raw)
        tokens.add(map(number, piece.tokens))
        trees.add(map(number, chain.from_iterable(trees_of)))
        for f in piece.functions:
            functions.values.extend((number(f.name), f.start, f.stop, f.first, f.last, f.lines))
            functions.values.extend(getattr(f.metrics, name) for name in _METRICS)
            functions.values.extend((len(f.ast), len(f.comments)))
            comments.values.extend(chain.from_iterable(f.comments))
        functions.end()
        comments.end()
        same.append(_same(tokens.last(), raw[:first]))
        lines.append(piece.lines)
        notes.append(_raw(piece.note))
        taken.append(json.dumps([astuple(one) for one in piece.taken]).encode())
    columns = [
        keys.column(),
        pa.array(same, pa.binary(32)),
        pa.array(np.frombuffer(lines, np.int32)),
        pa.array(notes, pa.binary()),
        pa.array(taken, pa.binary()),
        words.column(),
        *(one.column() for one in (tokens, trees, functions, comments)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_schema())


class _Numbers:
    """A column of lists of numbers."""

    def __init__(self) -> None:
        self.values, self._ends = array("i"), array("i", [0])

    def add(self, numbers: Iterable[int]) -> None:
        self.values.extend(numbers)
        self.end()

    def end(self) -> None:
        self._ends.append(len(self.values))

    def last(self) -> bytes:
        return self.values[self._ends[-2] :].tobytes()

    def column(self) -> pa.ListArray:
        import pyarrow as pa

        ends, values = np.array(self._ends, np.int32), np.array(self.values, np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(values))


class _Lists:
    """A column of lists of words."""

    def __init__(self) -> None:
        self._values: list[bytes] = []
        self._ends = array("i", [0])

    def add(self, words: Iterable[bytes]) -> None:
        self._values += words
        self._ends.append(len(self._values))

    def column(self) -> pa.ListArray:
        import pyarrow as pa

        ends = np.array(self._ends, np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(self._values, pa.binary()))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _same(numbers: bytes, words: Sequence[bytes]) -> bytes:
    """A digest of tokens: words in the order of their first places, and where they stand."""
    lengths = array("i", map(len, words)).tobytes()
    head = f"{len(numbers)} {len(lengths)} ".encode()
    return hashlib.sha256(b"".join([head, numbers, lengths, *words])).digest()


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says without its tokens.

    Attributes:
        key: what it was made from, its path first.
        same: equal for two rows if their tokens are.
        tokens: how many.
        note: what of the file was not read.
        taken: what filters took from it.
    """

    key: Key
    same: bytes
    tokens: int
    note: str
    taken: tuple[Taken, ...]

    @property
    def path(self) -> str:
        """The file's."""
        return self.key[0]


class Rows:
    """The rows of a batch.

    Args:
        batch: of :func:`rows_of`, or of a store.
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self._numbers = {
            name: _spread(batch.column(name)) for name in ("tokens", "ast", "functions", "comments")
        }
        self._words, self._word_ends = _spread_words(batch.column("words"))
        self._raw, self._raw_ends = self._words.buffers()[2], _ends_of(self._words)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def functions(self) -> int:
        """So many functions stand in all rows."""
        return len(self._numbers["functions"][0]) // _NUMBERS

    def key(self, row: int) -> Key:
        """What a row was made from."""
        return tuple(map(_text, self.batch.column("key")[row].as_py()))

    def row(self, row: int) -> Row:
        """All but its tokens."""
        _, ends = self._numbers["tokens"]
        taken = json.loads(self.batch.column("taken")[row].as_py())
        return Row(
            self.key(row),
            self.batch.column("same")[row].as_py(),
            int(ends[row + 1] - ends[row]),
            _text(self.batch.column("note")[row].as_py()),
            tuple(Taken(*one) for one in taken),
        )

    def piece(self, row: int) -> Cut:
        """All of it."""
        word = self._words_of(row).__getitem__
        trees = tuple(map(word, self._list("ast", row)))
        comments = self._list("comments", row)
        numbers = self._list("functions", row)
        starts = range(0, len(numbers), _NUMBERS)
        own = [numbers[start : start + _NUMBERS] for start in starts]
        # from behind: what is left is the module's
        functions = []
        for name, start, stop, first, last, of, *sizes, in_tree, remarks in reversed(own):
            cut = len(trees) - in_tree
            ast, trees = trees[cut:], trees[:cut]
            cut = len(comments) - 2 * remarks
            lines, comments = comments[cut:], comments[:cut]
            functions.append(
                Function(
                    word(name),
                    start,
                    stop,
                    first,
                    last,
                    of,
                    ast,
                    Metrics(*sizes),
                    tuple(zip(lines[::2], lines[1::2], strict=True)),
                )
            )
        said = self.row(row)
        return Cut(
            said.key[0],
            tuple(map(word, self._list("tokens", row))),
            tuple(reversed(functions)),
            self.batch.column("lines")[row].as_py(),
            trees,
            said.note,
            said.taken,
        )

    def _list(self, name: str, row: int) -> list[int]:
        values, ends = self._numbers[name]
        found: list[int] = values[ends[row] : ends[row + 1]].tolist()
        return found

    def _words_of(self, row: int) -> list[str]:
        first, last = int(self._word_ends[row]), int(self._word_ends[row + 1])
        ends = self._raw_ends[first : last + 1].tolist()
        if first == last:
            return []
        begin = ends[0]
        raw = self._raw[begin : ends[-1]].to_pybytes()
        if raw.isascii():
            text = raw.decode("ascii")
            return list(map(intern, [text[a - begin : b - begin] for a, b in pairwise(ends)]))
        return [intern(_text(raw[a - begin : b - begin])) for a, b in pairwise(ends)]


def _spread(column: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """A column of lists: all values one after another, and where each list ends."""
    return column.values.to_numpy(), column.offsets.to_numpy()


def _spread_words(column: Any) -> tuple[Any, NDArray[np.int32]]:
    return column.values, column.offsets.to_numpy()


def _ends_of(words: Any) -> NDArray[np.int32]:
    ends = words.buffers()[1]
    every: NDArray[np.int32] = np.frombuffer(ends, np.int32) if ends else np.zeros(1, np.int32)
    return every[words.offset : words.offset + len(words) + 1]


class Store(Files):
    """The files of one store, in the order of its rows.

    Args:
        source: what holds it.

    Attributes:
        skipped: files that were not read, or not as a whole.
        taken: what filters took.
    """

    __slots__ = ("_batch", "_starts", "skipped", "taken")

    def __init__(self, source: _Mapped | _Held) -> None:
        # threads may share a store
        self._batch = lru_cache(_OPEN)(lambda n: Rows(source.reader().get_batch(n)))
        reader = source.reader()
        _, said = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        beside = json.loads(said[b"beside"])
        self._starts: list[int] = [0, *accumulate(beside["rows"])]
        self.skipped = tuple(Skipped(*one) for one in beside["skipped"])
        self.taken = tuple(Taken(*one) for one in beside["taken"])

    @classmethod
    def open(cls, path: Path) -> Self:
        """What :class:`Writer` wrote.

        Raises:
            CacheDamaged: the file is not what was written.
        """
        from pyarrow import ArrowException

        try:
            source = _Mapped(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            source.check()
            return cls(source)
        except (OSError, ValueError, TypeError, KeyError, ArrowException) as error:
            raise damaged(path) from error

    def __len__(self) -> int:
        return int(self._starts[-1])

    def at(self, index: int) -> SourceFile:
        """See :class:`Files`."""
        return source_file(self.piece(index))

    def piece(self, index: int) -> Cut:
        """The file there, from 0, and where to cut it."""
        rows, place = self._rows(index)
        return rows.piece(place)

    def row(self, index: int) -> tuple[Row, pa.RecordBatch]:
        """What a row says of itself, and the row."""
        rows, place = self._rows(index)
        return rows.row(place), rows.batch.slice(place, 1)

    def keys(self) -> Iterator[Key]:
        """Of all rows, in order."""
        for number in range(len(self._starts) - 1):
            rows = self._batch(number)
            yield from map(rows.key, range(len(rows)))

    def paths(self) -> list[str]:
        """See :class:`Files`."""
        return [key[0] for key in self.keys()]

    def _rows(self, index: int) -> tuple[Rows, int]:
        number = bisect_right(self._starts, index) - 1
        return self._batch(number), index - self._starts[number]


class _Mapped:
    """A file, mapped anew for whoever reads: what nobody reads any more is not in memory.

    Args:
        handle: of the file, open; it is closed with this.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        weakref.finalize(self, os.close, handle)

    def check(self) -> None:
        """Compares the checksum.

        Raises:
            ValueError: it differs.
        """
        digest = hashlib.sha256()
        place = _HEAD
        while block := os.pread(self._handle, _BLOCK, place):
            digest.update(block)
            place += len(block)
        if os.pread(self._handle, _HEAD, 0) != _head(digest.hexdigest()):
            raise ValueError("the checksum differs")

    def reader(self) -> Any:
        import pyarrow as pa

        whole = pa.py_buffer(mmap.mmap(self._handle, 0, prot=mmap.PROT_READ))
        return pa.ipc.open_file(pa.BufferReader(whole[_HEAD:]))


class _Held:
    """A store that is in memory alone.

    Args:
        content: the Arrow file.
    """

    def __init__(self, content: pa.Buffer) -> None:
        self._content = content

    def reader(self) -> Any:
        import pyarrow as pa

        return pa.ipc.open_file(pa.BufferReader(self._content))


def _head(digest: str) -> bytes:
    return (
        b"%s %s" % (_MAGIC, digest.encode())
        + b" " * (_HEAD - len(_MAGIC) - 2 - len(digest))
        + b"\n"
    )


class Writer:
    """Writes a store: all of it, or nothing.

    To be entered: what was not finished is deleted at the end of the block.

    Args:
        place: the file; None keeps the store in memory.

    Raises:
        OSError: the file cannot be made; so from all methods.
    """

    def __init__(self, place: Path | None) -> None:
        import pyarrow as pa

        self._place = place
        self._temporary: Path | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._tokens = 0
        self._rows: list[int] = []
        self._sink: Any = pa.BufferOutputStream() if place is None else _Sink(self._made(place))
        try:
            self._file = pa.ipc.new_file(self._sink, _schema())
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._sink.abandoned()

    def add(self, row: pa.RecordBatch, tokens: int) -> None:
        """The next row, which holds so many tokens."""
        self._waiting.append(row)
        self._tokens += tokens
        if len(self._waiting) >= _MOST_ROWS or self._tokens >= _MOST_TOKENS:
            self._flush()

    def finish(self, skipped: Sequence[Skipped], taken: Sequence[Taken], *, keep: bool) -> Store:
        """What was written.

        Args:
            skipped: what was not read.
            taken: what filters took.
            keep: whether it is to be at its place from now on; else its file goes with the store.
        """
        import pyarrow as pa

        self._flush()
        beside = {
            "rows": self._rows,
            "skipped": [astuple(one) for one in skipped],
            "taken": [astuple(one) for one in taken],
        }
        none = pa.RecordBatch.from_pylist([], schema=_schema())
        self._file.write_batch(none, custom_metadata={"beside": json.dumps(beside)})
        self._file.close()
        if self._place is None or self._temporary is None:
            return Store(_Held(self._sink.getvalue()))
        handle = self._sink.finished()
        if keep:
            self._temporary.replace(self._place)
        else:
            self._temporary.unlink()
        self._temporary = None
        return Store(_Mapped(handle))

    def _made(self, place: Path) -> int:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        self._temporary = Path(name)
        return handle

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            batch = pa.concat_batches(self._waiting)
            self._file.write_batch(batch)
            self._rows.append(len(self._waiting))
            self._waiting.clear()
            self._tokens = 0


class _Sink:
    """A file with a checksum at its head, as Arrow writes into it.

    Args:
        handle: of a new file; it is closed with this, unless it was finished.
    """

    closed = False

    def __init__(self, handle: int) -> None:
        self._file = open(handle, "w+b", buffering=_BLOCK)  # noqa: SIM115  a handle
        self._digest = hashlib.sha256()
        self._file.write(_head("0" * 64))

    def write(self, data: Any) -> int:
        """Adds to the file."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Nothing: it is on disk when it is finished."""

    def close(self) -> None:
        """Nothing: see :meth:`finished`."""

    def finished(self) -> int:
        """The file, on disk, as a handle to read."""
        self._file.seek(0)
        self._file.write(_head(self._digest.hexdigest()))
        self._file.flush()
        os.fsync(self._file.fileno())
        handle = os.dup(self._file.fileno())
        self._file.close()
        return handle

    def abandoned(self) -> None:
        """Nothing more will be written, nor read."""
        with contextlib.suppress(OSError):  # what is left to write cannot be
            self._file.close()
