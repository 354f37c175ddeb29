# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Syntax trees by tree-sitter: one parse and one query a text, whatever the language.

A language's query names what it finds by these captures:

- ``function``: what can be a function; the outermost of them are. Its name is its first ``d``.
- ``scope``: a class or the like, whose name goes before its functions' names.
- ``c``, ``d``: the name where something is called or made, or declared.
- ``if``, ``for`` and the other kinds of ``f:kind``: where control flows.
- ``chained``: an ``if`` that is the ``else`` of another one: it nests no deeper.
- ``ternary``: a conditional expression. ``assignment``, ``parameters``, ``comment``: as they say.
- ``attribute``: what belongs to the function that follows it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import accumulate, repeat
from sys import intern
from typing import TYPE_CHECKING

from fedcode.errors import CorpusError
from fedcode.record import Metrics

if TYPE_CHECKING:
    from tree_sitter import Language as Grammatical
    from tree_sitter import Node, Query, Tree

GRAMMARS = (
    *("tree-sitter", "tree-sitter-python", "tree-sitter-java", "tree-sitter-javascript"),
    *("tree-sitter-typescript", "tree-sitter-c", "tree-sitter-cpp", "tree-sitter-c-sharp"),
    *("tree-sitter-go", "tree-sitter-rust"),
)
"""Distributions; another version may give another tree."""

_NO_KIND = frozenset(
    {"function", "scope", "c", "d", "chained", "ternary", "assignment", "parameters", "comment"}
    | {"attribute"}
)
_LOOKED_UP = frozenset({"d", "parameters", "comment", "attribute"})
_BRANCHES = frozenset({"if", "for", "while", "do", "case", "catch", "ternary"})
_NESTING = frozenset({"if", "for", "while", "do", "switch", "try", "with", "synchronized"})
_NO_PARAMETER = frozenset(
    {"comment", "line_comment", "block_comment", "attribute_item"}
    | {"keyword_separator", "positional_separator"}
)

_STEPS, _BYTES_A_STEP = 1000, 5
"""What a text may cost: parsers of ambiguous grammars take memory with the square of some texts.
A step is a hundred of the parser's; code takes one for every two hundred bytes."""

_DEEPEST = 10_000
"""Brackets in one another, those in strings and comments included; parsers recur for each."""
_SIGNS = {**dict.fromkeys(b"([{", 1), **dict.fromkeys(b")]}", -1)}
_NO_BRACKETS = bytes(code for code in range(256) if code not in _SIGNS)

_LONGEST_ERROR = 2000
"""In nodes, side by side."""

_ANGLES = 400
_UNCLOSED = re.compile(rb"(?:<[^<>;{}]*+){%d}" % _ANGLES)
"""What could be so many comparisons or lists of types in one another; the steps do not tell."""

_MOST_KNOWN = 100_000
_UNUSUAL = re.compile(rb"[#/*]|\w, \w+ ")
"""What may stand in a parameter list that is no parameter, or several in one."""

_LINE_COMMENTS = re.compile(rb"//[^\n]*")
_ARGUMENTS = re.compile(r"<[^<>()]*>(?=::|$)|\s+")

Name = Callable[["Node", bytes], str]
"""What goes before a function's name or is a scope's name."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar's module, the function in it, and what is asked of its trees.

    ``angles`` says that ``<`` may open a list of types, so that many of them are hard to tell.
    """

    module: str
    query: str
    function: str = "language"
    angles: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """Where an outermost function stands: bytes, and lines from 1."""

    name: str
    start: int
    stop: int
    first: int
    last: int
    sound: bool


@dataclass(frozen=True, slots=True)
class Details:
    """What a function is made of, as in :class:`fedcode.corpus.language.Function`."""

    ast: tuple[str, ...]
    metrics: Metrics
    comments: tuple[tuple[int, int], ...]


def encoded(text: str) -> bytes:
    """The bytes that are parsed.

    Raises:
        CorpusError: no source text is like this.
    """
    if "\x00" in text:
        raise CorpusError("holds characters that no source text can")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError("holds characters that no source text can") from error


@cache
def _tools(grammar: Grammar) -> tuple[Grammatical, Query]:
    from tree_sitter import Language, Query

    language = Language(getattr(import_module(grammar.module), grammar.function)())
    return language, Query(language, grammar.query)


def parsed(grammar: Grammar, data: bytes) -> Tree:
    """The tree of a text, with its errors in it.

    Raises:
        CorpusError: it would cost too much, by a measure that is the same on every machine.
    """
    from tree_sitter import Parser

    brackets = data.translate(None, _NO_BRACKETS)
    if len(brackets) > _DEEPEST and max(accumulate(map(_SIGNS.__getitem__, brackets))) > _DEEPEST:
        raise CorpusError("nested too deeply")
    if grammar.angles and data.count(b"<") >= _ANGLES and _UNCLOSED.search(data):
        raise CorpusError("takes too long to parse")
    steps = 0

    def too_much(offset: int, _: bool) -> bool:
        nonlocal steps
        steps += 1
        return steps > _STEPS + offset // _BYTES_A_STEP

    views: list[memoryview] = []

    def following(offset: int, _: object) -> memoryview:
        views.append(memoryview(data)[offset:])
        return views[-1]

    try:
        return Parser(_tools(grammar)[0]).parse(following, progress_callback=too_much)
    except ValueError as error:
        raise CorpusError("takes too long to parse") from error
    finally:
        for view in views:  # tree-sitter 0.26 forgets to let them go
            view.release()


class _Tokens(dict[bytes, str]):
    """Names as bytes of a text, each with its token of the syntax tree."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __missing__(self, raw: bytes) -> str:
        if len(self) > _MOST_KNOWN:
            self.clear()
        name = plain(raw).rpartition(".")[2]
        self[raw] = token = intern(f"{self._kind}:{name}")
        return token


_NAMES = {"c": _Tokens("c"), "d": _Tokens("d")}


def plain(raw: bytes) -> str:
    """A name without quotes, type arguments and white space, its parts joined by dots."""
    text = raw.decode()
    if text.isidentifier():
        return text
    if not text.startswith("operator"):
        text = _ARGUMENTS.sub("", text)
    return " ".join(text.strip("'\"`").replace("::", ".").split()) or "_"


class Outline:
    """What a query found in a text.

    Args:
        grammar: of the text.
        tree: of the text.
        data: the text.
    """

    def __init__(self, grammar: Grammar, tree: Tree, data: bytes) -> None:
        from tree_sitter import QueryCursor

        found = QueryCursor(_tools(grammar)[1]).captures(tree.root_node)
        self._data = data
        self._found = found
        events: list[tuple[int, str]] = []
        places: dict[str, list[int]] = {}
        nests: list[tuple[int, int]] = []
        for name, nodes in found.items():
            if name in _NAMES:
                tokens = _NAMES[name]
                ranges = [node.byte_range for node in nodes]
                events += [(a, tokens[data[a:b]]) for a, b in ranges]
                places[name] = [a for a, _ in ranges]
                continue
            if name in _NESTING:
                ranges = [node.byte_range for node in nodes]
                nests += ranges
                starts = [a for a, _ in ranges]
            else:
                starts = [node.start_byte for node in nodes]
            places[name] = starts
            if name not in _NO_KIND:
                events += zip(starts, repeat(f"f:{name}"))
        events.sort()
        self._starts = [start for start, _ in events]
        self._tokens = [token for _, token in events]
        # a query's patterns end in another order than they begin
        self._nodes = {
            name: dict(zip(places[name], found[name], strict=True))
            for name in _LOOKED_UP & places.keys()
        }
        self._places = {name: sorted(starts) for name, starts in places.items()}
        self._branches = sorted([a for kind in _BRANCHES & places.keys() for a in places[kind]])
        chained = set(places.get("chained", ()))
        self._nests = sorted([nest for nest in nests if nest[0] not in chained])

    def spans(self, scope: Name, owner: Name | None = None) -> list[Span]:
        """The outermost functions, in order, with unique names.

        Args:
            scope: a scope's name.
            owner: what goes before the name of a function that stands in no scope; a dot after it.
        """
        kinds = (("scope", False), ("function", True))
        items = [
            (node.start_byte, -node.end_byte, is_function, index, node)
            for kind, is_function in kinds
            for index, node in enumerate(self._found.get(kind, ()))
        ]
        times: Counter[str] = Counter()
        inside: list[tuple[int, str]] = []
        spans: list[Span] = []
        end = 0
        for start, stop, is_function, _, node in sorted(items, key=lambda item: item[:4]):
            if start < end:
                continue
            while inside and inside[-1][0] <= start:
                inside.pop()
            before = inside[-1][1] if inside else ""
            if not is_function:
                name = scope(node, self._data)
                inside.append((-stop, f"{before}{name}." if name else before))
                continue
            if owner is not None:
                before += owner(node, self._data)
            end = -stop
            name = before + self._name(start, end)
            times[name] += 1
            unique = name if times[name] == 1 else f"{name}#{times[name]}"
            own, first = self._with_attributes(start, node.start_point[0] + 1)
            last = node.end_point[0] + 1
            spans.append(Span(unique, own, end, first, last, not node.has_error))
        return spans

    def _first(self, kind: str, start: int, stop: int) -> Node | None:
        places = self._places.get(kind, ())
        index = bisect_left(places, start)
        if index < len(places) and places[index] < stop:
            return self._nodes[kind][places[index]]
        return None

    def _name(self, start: int, stop: int) -> str:
        node = self._first("d", start, stop)
        return plain(self._data[slice(*node.byte_range)]) if node else "<anonymous>"

    def _with_attributes(self, start: int, first: int) -> tuple[int, int]:
        places = self._places.get("attribute", ())
        for place in reversed(places[: bisect_left(places, start)]):
            node = self._nodes["attribute"][place]
            if _LINE_COMMENTS.sub(b"", self._data[node.end_byte : start]).strip():
                break
            start, first = place, node.start_point[0] + 1
        return start, first

    def details(self, start: int, stop: int) -> Details:
        """What stands between two bytes."""
        a, b = bisect_left(self._starts, start), bisect_left(self._starts, stop)
        own = tuple(self._tokens[a:b])
        metrics = Metrics(
            parameters=self._count_parameters(start, stop),
            branches=bisect_left(self._branches, stop) - bisect_left(self._branches, start),
            calls=self._count("c", start, stop),
            returns=own.count("f:return"),
            assignments=self._count("assignment", start, stop),
            nesting=self._nesting(start, stop),
        )
        return Details(own, metrics, self._comments(start, stop))

    def _count(self, kind: str, start: int, stop: int) -> int:
        places = self._places.get(kind, ())
        return bisect_left(places, stop) - bisect_left(places, start)

    def _comments(self, start: int, stop: int) -> tuple[tuple[int, int], ...]:
        places = self._places.get("comment", ())
        a, b = bisect_left(places, start), bisect_left(places, stop)
        if a == b:
            return ()
        nodes = map(self._nodes["comment"].__getitem__, places[a:b])
        return tuple((node.start_point[0] + 1, node.end_point[0] + 1) for node in nodes)

    def rest(self, spans: Sequence[tuple[int, int]]) -> tuple[str, ...]:
        """The tree's tokens outside of ``spans``, which are ascending and disjoint."""
        kept: list[str] = []
        end = 0
        for start, stop in spans:
            kept += self._tokens[end : bisect_left(self._starts, start)]
            end = bisect_left(self._starts, stop)
        return tuple(kept + self._tokens[end:])

    def _count_parameters(self, start: int, stop: int) -> int:
        node = self._first("parameters", start, stop)
        if node is None:
            return 0
        a, b = node.byte_range
        text = self._data[a:b]
        if text[:1] not in (b"(", b"|", b"["):
            return 1
        if text[1:-1].strip() == b"void":
            return 0
        if not _UNUSUAL.search(text):
            return node.named_child_count
        own = [child for child in node.named_children if child.type not in _NO_PARAMETER]
        # Go declares several at a time
        return sum(max(1, len(child.children_by_field_name("name"))) for child in own)

    def _nesting(self, start: int, stop: int) -> int:
        nests = self._nests
        a, b = bisect_left(nests, (start, 0)), bisect_left(nests, (stop, 0))
        if b - a < 2:
            return b - a
        deepest, ends = 0, list[int]()
        for inner, end in nests[a:b]:
            while ends and ends[-1] <= inner:
                ends.pop()
            ends.append(end)
            deepest = max(deepest, len(ends))
        return deepest


def named(node: Node, data: bytes) -> str:
    """The name that a class or the like gives itself; empty for none."""
    name = node.child_by_field_name("name") or node.child_by_field_name("type")
    return plain(data[name.start_byte : name.end_byte]) if name else ""


def first_error(tree: Tree) -> int:
    """The line, from 1, of the first syntax error in a tree; 0 if there is none.

    Raises:
        CorpusError: an error is so long that to look into it would take time with its square.
    """
    lines: list[int] = []
    waiting = [tree.root_node] if tree.root_node.has_error else []
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            lines.append(node.start_point[0] + 1)
            if node.child_count > _LONGEST_ERROR:
                raise CorpusError(f"syntax error in line {lines[-1]}")
        waiting += [child for child in node.children if child.has_error]
    return min(lines, default=0)


def written_lines(text: str) -> list[int]:
    """How many of the first 0, 1, 2, ... lines are not blank."""
    return [0, *accumulate(map(bool, map(str.strip, text.split("\n"))))]
