# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members' examples in order, ahead of their turn, and stacked for a program of many members."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedcode.simulation.population.data import Population, Rows

E = TypeVar("E")

_MEMORY = 256 << 20
_COPIES = 4  # of a member's weights: its own, its gradient, and its change in float64
_MOST = 128  # members of one program: beyond it nothing is gained
_AHEAD = 2  # members that are read before their turn


def ahead(population: Population[E], members: Sequence[int]) -> Iterator[Sequence[E]]:
    """Members' examples in order, read by a thread before they are asked for."""
    found: queue.Queue[Sequence[E] | BaseException] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def read() -> None:
        for member in members:
            try:
                one: Sequence[E] | BaseException = population.member(member)
            except BaseException as error:  # noqa: BLE001  raised again where it is waited for
                one = error
            while not stop.is_set():
                try:
                    found.put(one, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if stop.is_set() or isinstance(one, BaseException):
                return

    thread = threading.Thread(target=read, daemon=True, name="members' data")
    thread.start()
    try:
        for _ in members:
            one = found.get()
            if isinstance(one, BaseException):
                raise one
            yield one
    finally:
        stop.set()
        thread.join()


def pick(examples: Sequence[E], chosen: NDArray[np.int64]) -> Sequence[E]:
    """The examples at ``chosen``: a view where they follow one another."""
    first, last = int(chosen[0]), int(chosen[-1])
    if last - first + 1 == len(chosen):
        return examples[first : last + 1]
    if isinstance(examples, Rows):
        return cast("Sequence[E]", examples.take(chosen))
    return [examples[i] for i in chosen]


def tensors_of(batch: Any) -> tuple[Tensor, ...]:
    """``batch``, if members' batches of its kind can be stacked.

    Raises:
        TypeError: it is not a tuple of tensors.
    """
    if not isinstance(batch, tuple) or not all(isinstance(part, Tensor) for part in batch):
        raise TypeError("batches are not tuples of tensors")
    return batch


def stacked(
    rows: Sequence[tuple[Tensor, ...]], batch: int = 1
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Members' columns as one tensor each, (members, rows, ...).

    Args:
        rows: of each member.
        batch: there will be a multiple of it, so that a member's steps have the same shape, and
            the same bits, in any company.

    Returns:
        The columns; and 1 where there is a row, 0 where one is repeated, (members, rows).
    """
    lengths = torch.tensor([len(columns[0]) for columns in rows])
    most = -(-int(lengths.max()) // batch) * batch
    here = (torch.arange(most) < lengths[:, None]).float()
    if int(lengths.min()) < most:
        rows = [tuple(_repeated(column, most) for column in columns) for columns in rows]
    return tuple(map(torch.stack, zip(*rows, strict=True))), here


def _repeated(column: Tensor, size: int) -> Tensor:
    """A column with its last row repeated."""
    return torch.cat([column, column[-1:].expand(size - len(column), *column.shape[1:])])


def programs(
    parts: Sequence[Sequence[int]], size: int
) -> Iterator[list[tuple[int, Sequence[int]]]]:
    """What is trained together: at most ``size`` members, of whole parts if they are so small.

    A part is cut in the same places whatever other parts there are, so that its sum is the same.

    Returns:
        For each program its pieces: the number of the part, and members of it.
    """
    program: list[tuple[int, Sequence[int]]] = []
    filled = 0
    for place, members in enumerate(parts):
        for first in range(0, len(members), size):
            piece = members[first : first + size]
            if program and filled + len(piece) > size:
                yield program
                program, filled = [], 0
            program.append((place, piece))
            filled += len(piece)
    if program:
        yield program


def at_once(weights: int) -> int:
    """How many members' weights are in memory together: public, and the same on every machine."""
    return max(1, min(_MOST, _MEMORY // (4 * _COPIES * weights)))


def split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A flat vector as tensors of the shapes of ``like``: views."""
    parts = torch.split(vector, [p.numel() for p in like])
    return [part.view(p.shape) for part, p in zip(parts, like, strict=True)]
