# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of functions or classes, as others have measured them: records, and labels for code.

A table is a file of CSV or JSON lines, gzip'ed or not, or of Parquet. It is data and nothing else:
what is not of the form that its columns ask for is an error, and names its line.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from fedcode.corpus.views import changed
from fedcode.errors import CorpusError
from fedcode.federation import TableColumns
from fedcode.record import Corpus, Record, SourceFile, UnitId

Row = Mapping[str, Any]
"""One line by column; CSV has texts alone."""

MOST_ROWS = 2_000_000
MOST_TEXT = 1 << 30
"""Characters of a table, once it is unpacked."""

_LONGEST_CELL = 16 << 20
_FORMS = ".csv, .csv.gz, .jsonl, .jsonl.gz or .parquet"


def rows(path: Path) -> Iterator[Row]:
    """A table's lines, in order.

    Raises:
        CorpusError: it is not there, too large, or not of the form that its name says.
    """
    name = path.name.removesuffix(".gz")
    try:
        if path.name.endswith(".parquet"):
            yield from _parquet(path)
        elif name.endswith(".csv"):
            yield from _csv(path)
        elif name.endswith(".jsonl"):
            yield from _json_lines(path)
        else:
            raise CorpusError(f"{path} is not a table that is known", f"name one of {_FORMS}")
    except FileNotFoundError as error:
        raise CorpusError(f"{path} is not there", "is the table's path right?") from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} cannot be read as a table", "is it damaged?") from error


def corpus(path: Path, name: str, columns: TableColumns, chosen: Mapping[str, Any]) -> Corpus:
    """The records of a table, each in a file of its own.

    Args:
        path: of the table.
        name: the organization's.
        columns: what its columns say of a record.
        chosen: values, or lists of values, that rows must have by column; others are left out.

    Raises:
        CorpusError: see :func:`rows`; a column is missing, a value is not of its kind, a record is
            there twice, or no row was chosen.
    """
    found = [_record(row, columns, place) for place, row in _chosen(path, columns.used, chosen)]
    if not found:
        raise CorpusError(f"no row of {path} is of {name}", "do the values of rows stand in it?")
    _refuse_twice((record.unit for record in found), path)
    found.sort(key=lambda record: record.unit)
    files = tuple(SourceFile(record.unit, record.tokens, (record,)) for record in found)
    digest = hashlib.sha256(repr(found).encode("utf-8", "surrogatepass")).hexdigest()
    return Corpus(name, files, known_as=digest)


@dataclass(frozen=True, slots=True)
class TableLabels:
    """Labels for code that was read, from a table's columns of paths, and names or lines.

    A row is a function's if its path is the function's, and its name is the function's or its line
    is one of the function's lines. Functions that no row names stay unlabelled.

    Attributes:
        table: where it lies.
        labels: (organization, path, name) -> label; every organization's where it is empty.
        lines: (organization, path, line) -> label, of a table with lines instead of names.
    """

    table: Path
    labels: Mapping[tuple[str, str, str], int]
    lines: Mapping[tuple[str, str, int], int]

    @classmethod
    def load(cls, path: Path, columns: TableColumns, chosen: Mapping[str, Any]) -> TableLabels:
        """Reads a table of labels.

        Args:
            path: of the table.
            columns: ``path``, ``label``, ``name`` or ``line``, and ``repository`` are used.
            chosen: as of :func:`corpus`.

        Raises:
            CorpusError: see :func:`corpus`.
        """
        if columns.path is None:
            raise CorpusError("labels of code need the column of paths", "set labels.columns.path")
        key = columns.name if columns.line is None else columns.line
        owner = () if columns.repository is None else (columns.repository,)
        labels: dict[tuple[str, str, str], int] = {}
        lines: dict[tuple[str, str, int], int] = {}
        for place, row in _chosen(path, (columns.path, key, columns.label, *owner), chosen):
            whose = _text(row, owner[0], place) if owner else ""
            file, label = _text(row, columns.path, place), _label(row, columns.label, place)
            known = len(labels) + len(lines)
            if columns.line is None:
                labels[whose, file, _text(row, key, place)] = label
            else:
                lines[whose, file, int(_number(row, key, place))] = label
            if len(labels) + len(lines) == known:
                raise CorpusError(f"{place} labels {file} where an earlier row does", _ONCE)
        return cls(path, labels, lines)

    def label(self, corpus: Corpus) -> Corpus:
        """``corpus`` with labels on the functions that a row names, and on no others."""
        labels, lines = self._own(corpus.name)

        def of(record: Record) -> int | None:
            if record.kind != "function":
                return None
            inside = range(record.first, record.last + 1) if lines else ()
            found = [lines.get((record.path, i)) for i in inside]
            found.append(labels.get((record.path, record.name)))
            return max((one for one in found if one is not None), default=None)

        def labelled(_: int, file: SourceFile) -> SourceFile:
            records = (replace(r, label=of(r), place=None) for r in file.records)
            return replace(file, records=tuple(records))

        return replace(corpus, files=changed(corpus.files, labelled))

    def unmatched(self, corpora: Iterable[Corpus]) -> list[str]:
        """The rows that name no function of ``corpora``, as ``path::name`` or ``path:line``."""
        rest: set[tuple[str, str, Any]] = {*self.labels, *self.lines}
        for corpus in corpora:
            for r in corpus.stream("function"):
                for whose in ("", corpus.name):
                    rest.discard((whose, r.path, r.name))
                    if self.lines:
                        rest -= {(whose, r.path, i) for i in range(r.first, r.last + 1)}
        return sorted(
            f"{path}::{what}" if isinstance(what, str) else f"{path}:{what}"
            for _, path, what in rest
        )

    def _own(self, name: str) -> tuple[dict[tuple[str, str], int], dict[tuple[str, int], int]]:
        """The labels of the organization ``name``, and those of every organization."""
        labels = {where[1:]: one for where, one in self.labels.items() if where[0] in ("", name)}
        lines = {where[1:]: one for where, one in self.lines.items() if where[0] in ("", name)}
        return labels, lines


_ONCE = "keep one row for each"


def _chosen(
    path: Path, used: Sequence[str], chosen: Mapping[str, Any]
) -> Iterator[tuple[str, Row]]:
    """The rows that have all values asked for, each with its place in words."""
    wanted = {c: {str(v) for v in ([o] if isinstance(o, str) else o)} for c, o in chosen.items()}
    for number, row in enumerate(rows(path), start=1):
        place = f"{path}, row {number}"
        missing = next((c for c in (*used, *wanted) if c not in row), None)
        if missing is not None:
            known = ", ".join(map(str, row))
            raise CorpusError(f"{place} has no column {missing}", f"its columns: {known}")
        if all(str(row[column]) in values for column, values in wanted.items()):
            yield place, row


def _record(row: Row, columns: TableColumns, place: str) -> Record:
    name = _text(row, columns.name, place)
    path = name.replace(".", "/") if columns.path is None else _text(row, columns.path, place)
    parts = [_text(row, column, place) for column in columns.apart]
    lines = 0 if columns.lines is None else int(_number(row, columns.lines, place))
    if lines < 0:
        raise CorpusError(f"{place}: {columns.lines} is below 0", "lines are counted")
    return Record(
        UnitId("::".join([*parts, path, name])),
        path,
        name,
        columns.kind,
        (),
        lines,
        _label(row, columns.label, place),
        repository="" if columns.repository is None else _text(row, columns.repository, place),
        ast=() if columns.ast is None else _tokens(row, columns, place),
        features=tuple((c, _number(row, c, place)) for c in columns.features),
    )


def _tokens(row: Row, columns: TableColumns, place: str) -> tuple[str, ...]:
    """Tokens of the syntax tree, with their kinds before them where these stand apart."""
    tokens = row[columns.ast or ""]
    if isinstance(tokens, str):
        tokens = tokens.split()
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CorpusError(f"{place}: {columns.ast} is no list of tokens", "give texts")
    if columns.kinds is None:
        return tuple(tokens)
    kinds = row[columns.kinds]
    if not isinstance(kinds, str) or len(kinds) != len(tokens):
        raise CorpusError(f"{place}: {columns.kinds} is no letter for each token", "give a text")
    # 'n' makes an object, which calls a constructor
    return tuple(f"{'c' if k == 'n' else k}:{t}" for k, t in zip(kinds, tokens, strict=True))


def _text(row: Row, column: str, place: str) -> str:
    value = row[column]
    if isinstance(value, bool) or not isinstance(value, str | int) or str(value) == "":
        raise CorpusError(f"{place}: {column} is no text", "fill it in, or choose another column")
    return str(value)


def _number(row: Row, column: str, place: str) -> float:
    """A finite number; what is empty is 0: unknown and none are not told apart."""
    value = row[column]
    if value is None or value == "":
        return 0.0
    try:
        number = math.nan if isinstance(value, bool | list | dict) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise CorpusError(f"{place}: {column} is no number", "leave unknown ones empty")
    return number


def _label(row: Row, column: str, place: str) -> int:
    """1 for any number of defects above 0."""
    value = row[column]
    if value is None or value == "" or _number(row, column, place) < 0:
        raise CorpusError(f"{place}: {column} is no label", "give 0, or a number of defects")
    return int(_number(row, column, place) > 0)


def _refuse_twice(units: Iterable[str], path: Path) -> None:
    seen: set[str] = set()
    for unit in units:
        if unit in seen:
            raise CorpusError(
                f"{path} has {unit} twice", "choose rows by more columns, or name more in apart"
            )
        seen.add(unit)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    """Lines, for as long as they are not too many or too long to be a table."""
    total = 0
    for number in range(MOST_ROWS + 2):
        line = file.readline(_LONGEST_CELL + 1)
        total += len(line)
        if len(line) > _LONGEST_CELL or total > MOST_TEXT or number > MOST_ROWS:
            raise CorpusError(f"{path} is too large", f"at most {MOST_ROWS:,} rows can be read")
        if not line:
            return
        yield line


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    with _opened(path) as file:
        reader = csv.reader(_lines(file, path), strict=True)
        names = next(reader, [])
        if not names or len(set(names)) < len(names):
            raise CorpusError(f"{path} names no columns, or one twice", "its first line is names")
        for number, values in enumerate(reader, start=1):
            if len(values) != len(names):
                raise CorpusError(
                    f"{path}, row {number} has {len(values)} fields, not {len(names)}",
                    "is a field with commas without quotes?",
                )
            yield dict(zip(names, values, strict=True))


def _json_lines(path: Path) -> Iterator[Row]:
    with _opened(path) as file:
        for number, line in enumerate(_lines(file, path), start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise CorpusError(f"{path}, row {number} is no JSON object", "one object a line")
            yield row


def _parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        if file.metadata.num_rows > MOST_ROWS:
            raise CorpusError(f"{path} is too large", f"at most {MOST_ROWS:,} rows can be read")
        for batch in file.iter_batches():
            yield from batch.to_pylist()
    except ArrowException as error:
        raise CorpusError(f"{path} cannot be read as a table", "is it damaged?") from error
