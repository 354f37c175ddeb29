# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""From blocked lines to what of a file stays."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cached_property

from fedcode.corpus.filters.look import Block
from fedcode.corpus.language import Function, Reading

Why = tuple[str, str]
"""A filter's name, and a reason."""

_JUST_ABOVE = 3
"""Lines: so far above a function a comment speaks of it."""


def blocked(found: Reading, blocks: Iterable[Block]) -> tuple[dict[int, Why], Why | None]:
    """What of a reading stands in blocked lines.

    Returns:
        Why each function goes, by its index, and why what stands between them goes, if it does.
    """
    lines, gone, rest = _Lines(found), dict[int, Why](), None
    for block in blocks:
        why = block.filter, block.reason
        inside = lines.inside(block)
        if not inside and block.above and (below := lines.below(block)):
            inside = below
        elif rest is None and lines.outside(block, inside):
            rest = why
        for index in inside:
            gone.setdefault(index, why)
    return gone, rest


def without(found: Reading, gone: Collection[int], rest: bool) -> Reading:
    """A reading without some functions and, if ``rest``, without what is between them."""
    kept: list[range] = []
    functions: list[Function] = []
    end = length = 0
    for index, function in enumerate(found.functions):
        if not rest:
            kept.append(range(end, function.start))
            length += function.start - end
        end = function.stop
        if index not in gone:
            kept.append(range(function.start, end))
            start, length = length, length + end - function.start
            functions.append(replace(function, start=start, stop=length))
    if not rest:
        kept.append(range(end, len(found.tokens)))
    return replace(
        found,
        tokens=_chosen(found.tokens, kept),
        functions=tuple(functions),
        lines=0 if rest else found.lines,
        ast=() if rest else found.ast,
        places=lambda: tuple(line for one in kept for line in found.places()[one.start : one.stop]),
    )


def _chosen(tokens: tuple[str, ...], kept: Iterable[range]) -> tuple[str, ...]:
    return tuple(token for one in kept for token in tokens[one.start : one.stop])


class _Lines:
    """Where functions stand, which are ascending and disjoint."""

    def __init__(self, found: Reading) -> None:
        self._found = found
        self._first = [function.first for function in found.functions]
        self._last = [function.last for function in found.functions]

    def inside(self, block: Block) -> range:
        """The functions in which a block lies, or a part of it."""
        # two functions can share a line: the last lines ascend as the first ones do
        return range(bisect_left(self._last, block.first), bisect_right(self._first, block.last))

    def below(self, block: Block) -> range:
        """The function that begins just below a block."""
        index = bisect_right(self._first, block.last)
        near = index < len(self._first) and self._first[index] - block.last <= _JUST_ABOVE
        return range(index, index + near)

    def outside(self, block: Block, inside: range) -> bool:
        """Whether anything of a block is, or may be, in no function."""
        line = block.first
        for index in inside:
            if self._first[index] > line:
                return True
            line = max(line, self._last[index] + 1)
        if line <= block.last:
            return True
        edges = {edge for i in inside for edge in (self._first[i], self._last[i])}
        return any(block.first <= edge <= block.last and edge in self._between for edge in edges)

    @cached_property
    def _between(self) -> set[int]:
        """Lines in which a token begins that is in no function."""
        places, end = self._found.places(), 0
        lines: set[int] = set()
        for function in self._found.functions:
            lines.update(places[end : function.start])
            end = function.stop
        return lines.union(places[end:])
