# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Bug patterns as edits of a function's normalized lexer tokens.

:data:`PATTERNS` is the table. A pattern looks at one function and names the sites where it could
strike; every site has one or more equally likely replacements. Nothing is written back to source
text, so a bug leaves no trace of formatting; patterns that change the number of tokens exist in
both directions.

The patterns follow the literature on learned bug detectors: variable misuse (Allamanis et al.,
arXiv:1711.00740), swapped arguments and wrong operators (Pradel and Sen, arXiv:1805.11683),
off-by-one, negated conditions and wrong attributes (Karampatsis and Sutton, arXiv:1905.13334).
"""

from __future__ import annotations

import itertools
import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Tokens = tuple[str, ...]

OPENING, CLOSING = frozenset("([{"), frozenset(")]}")
CONSTANTS = frozenset({"None", "True", "False"})
PARAMETER_STARTS = frozenset({"(", ",", "*", "**"})
STATEMENT_ENDS = frozenset({"<NL>", "<IN>", "<DE>", ";"})
LARGEST_LITERAL = 998
LONGEST_ARGUMENT = 8
LONGEST_INDEX_NAME = 2


@dataclass(frozen=True, slots=True)
class Site:
    """Tokens ``start`` to ``stop`` of a function, and what a bug would put in their place."""

    start: int
    stop: int
    choices: tuple[Tokens, ...]

    def apply(self, tokens: Tokens, choice: int) -> Tokens:
        """``tokens`` with the bug that has the number ``choice``."""
        return tokens[: self.start] + self.choices[choice] + tokens[self.stop :]


def is_name(token: str) -> bool:
    """Whether ``token`` is an identifier and not a keyword."""
    return token.isidentifier() and not keyword.iskeyword(token)


def is_operand_end(token: str) -> bool:
    """Whether an operator after ``token`` is a binary one."""
    return is_name(token) or token in CLOSING or token in CONSTANTS or is_number(token)


def is_number(token: str) -> bool:
    """Whether ``token`` is a number or stands for one."""
    return token == "<NUM>" or token[:1].isdigit()


def receiver(tokens: Sequence[str], dot: int) -> str:
    """What stands before the dot: a name with no dot before it, or nothing in particular."""
    simple = dot > 0 and is_name(tokens[dot - 1]) and (dot < 2 or tokens[dot - 2] != ".")
    return tokens[dot - 1] if simple else ""


def attributes(tokens: Sequence[str]) -> dict[tuple[str, bool], tuple[str, ...]]:
    """The attribute names in some code, by receiver and by whether they are called, sorted."""
    found: dict[tuple[str, bool], set[str]] = {}
    for i in range(1, len(tokens) - 2):
        if tokens[i] == "." and is_operand_end(tokens[i - 1]) and is_name(tokens[i + 1]):
            key = receiver(tokens, i), tokens[i + 2] == "("
            found.setdefault(key, set()).add(tokens[i + 1])
    return {key: tuple(sorted(names)) for key, names in found.items()}


@dataclass(frozen=True)
class Function:
    """A function's tokens, as the patterns look at them.

    Attributes:
        tokens: normalized lexer tokens, decorators and signature included.
        attributes: what :func:`attributes` found in the function itself.
    """

    tokens: Tokens
    attributes: Mapping[tuple[str, bool], tuple[str, ...]]

    @cached_property
    def partner(self) -> dict[int, int]:
        """Positions of opening brackets, each with its closing one's."""
        pairs, stack = {}, []
        for i, token in enumerate(self.tokens):
            if token in OPENING:
                stack.append(i)
            elif token in CLOSING and stack:
                pairs[stack.pop()] = i
        return pairs

    @cached_property
    def enclosing(self) -> tuple[int, ...]:
        """For every position the innermost bracket that is open there; -1 is none."""
        stack, inside = [-1], []
        for i, token in enumerate(self.tokens):
            if token in CLOSING and len(stack) > 1:
                stack.pop()
            inside.append(stack[-1])
            if token in OPENING:
                stack.append(i)
        return tuple(inside)

    @cached_property
    def signature(self) -> tuple[int, int]:
        """Positions of the brackets around the parameters; (0, 0) where there is no ``def``."""
        for i, token in enumerate(self.tokens[:-2]):
            if token == "def" and i + 2 in self.partner:
                return i + 2, self.partner[i + 2]
        return 0, 0

    @cached_property
    def body(self) -> int:
        """Position of the first token after the signature's colon."""
        end = self.signature[1]
        for i in range(end, len(self.tokens)):
            if end and self.tokens[i] == ":" and self.enclosing[i] == -1:
                return i + 1
        return len(self.tokens)

    @cached_property
    def binding(self) -> dict[int, str]:
        """Positions where a variable gets its value, with its name; ``self`` is left out."""
        tokens, found = self.tokens, {}
        start, end = self.signature
        for i in range(start + 1, end):
            if (
                self.enclosing[i] == start
                and is_name(tokens[i])
                and tokens[i - 1] in PARAMETER_STARTS
            ):
                found[i] = tokens[i]
        for i in range(self.body, len(tokens)):
            if is_name(tokens[i]) and self._is_target(i):
                found[i] = tokens[i]
        return {i: name for i, name in found.items() if name not in ("self", "cls", "_")}

    def _is_target(self, i: int) -> bool:
        before, after = self.tokens[i - 1], self.tokens[i + 1 : i + 2]
        if before in ("for", "as") or after == (":=",):
            return True
        if after == ("=",):
            return self.enclosing[i] == -1 and before != "."
        if (
            self.enclosing[i] == -1
            and before in STATEMENT_ENDS | {","}
            and after in ((",",), ("in",))
        ):
            return self._begins_targets(i)
        return before == "," and after == ("in",) and "for" in self.tokens[max(0, i - 6) : i]

    def _begins_targets(self, i: int) -> bool:
        """Whether ``a, b = …`` or ``for a, b in …`` stands around position ``i``."""
        j = i
        while j + 2 < len(self.tokens) and self.tokens[j + 1] == ",":
            j += 2
        return self.tokens[j + 1 : j + 2] == ("=",) or "for" in self.tokens[max(0, i - 6) : i]

    def code(self) -> Iterator[tuple[int, str]]:
        """Positions and tokens of the body, without the last token."""
        return ((i, self.tokens[i]) for i in range(self.body, len(self.tokens) - 1))


def variable_misuse(function: Function) -> Iterator[Site]:
    """Another variable of the function, bound above, in place of the right one."""
    tokens, bound = function.tokens, sorted(function.binding)
    first = {function.binding[i]: i for i in reversed(bound)}
    for i, token in function.code():
        keyword_argument = tokens[i + 1] == "=" and function.enclosing[i] != -1
        if token not in first or i in function.binding or tokens[i - 1] == "." or keyword_argument:
            continue
        others = sorted(name for name, at in first.items() if at < i and name != token)
        if others and tokens[i + 1] != "(":
            yield Site(i, i + 1, tuple((name,) for name in others))


def swapped_arguments(function: Function) -> Iterator[Site]:
    """Two neighbouring positional arguments of a call, exchanged."""
    tokens = function.tokens
    for opening, token in function.code():
        if token != "(" or not (is_name(tokens[opening - 1]) or tokens[opening - 1] in CLOSING):
            continue
        if tokens[opening - 1] in ("max", "min") or tokens[opening - 2] in ("def", "class"):
            continue
        parts = _arguments(function, opening)
        for (a, b), (c, d) in itertools.pairwise(parts):
            first, second = tokens[a:b], tokens[c:d]
            if first != second and _is_positional(first) and _is_positional(second):
                yield Site(a, d, ((*second, ",", *first),))


def _arguments(function: Function, opening: int) -> list[tuple[int, int]]:
    """Start and stop of every argument between the brackets that open at ``opening``."""
    closing = function.partner.get(opening, opening)
    commas = [
        i
        for i in range(opening + 1, closing)
        if function.tokens[i] == "," and function.enclosing[i] == opening
    ]
    edges = [opening, *commas, closing]
    return [(a + 1, b) for a, b in itertools.pairwise(edges) if b > a + 1]


def _is_positional(argument: Tokens) -> bool:
    return len(argument) <= LONGEST_ARGUMENT and not {"=", "*", "**", "for", "lambda"} & {*argument}


OPERATORS: Mapping[str, tuple[str, ...]] = {
    "==": ("!=",),
    "!=": ("==",),
    "<": (">",),
    ">": ("<",),
    "<=": (">=",),
    ">=": ("<=",),
    "+": ("-",),
    "-": ("+",),
    "*": ("/", "+"),
    "/": ("*",),
    "//": ("/", "*"),
    "+=": ("-=", "="),
    "-=": ("+=", "="),
    "and": ("or",),
    "or": ("and",),
}


def wrong_operator(function: Function) -> Iterator[Site]:
    """Another comparison, arithmetic or boolean operator."""
    tokens = function.tokens
    for i, token in function.code():
        if token not in OPERATORS or not is_operand_end(tokens[i - 1]):
            continue
        text = any(t == "<STR>" or t[-1:] in ("'", '"') for t in (tokens[i - 1], tokens[i + 1]))
        if not (text and token in ("+", "*", "+=")):
            yield Site(i, i + 1, tuple((other,) for other in OPERATORS[token]))


BOUNDS: Mapping[str, str] = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


def off_by_one(function: Function) -> Iterator[Site]:
    """A bound taken in or left out; a small number, an index or a length one too high or low."""
    tokens = function.tokens
    for i, token in function.code():
        before, after = tokens[i - 1], tokens[i + 1]
        indexing = before in ("[", ":") and _is_index(function, i)
        if token in BOUNDS:
            yield Site(i, i + 1, ((BOUNDS[token],),))
        elif token.isdecimal() and int(token) <= LARGEST_LITERAL:
            if indexing or before in ("+", "-", *BOUNDS, "==", "!=") or _in_range(function, i):
                choices = ((str(int(token) + 1),), (str(int(token) - 1),))
                yield Site(i, i + 1, choices if int(token) else choices[:1])
        elif token in ("+", "-") and after == "1" and is_operand_end(before):
            if function.enclosing[i] != -1 and tokens[i + 2] in ("]", ")", ":", ","):
                yield Site(i, i + 2, ((),))
        elif is_name(token) and after in ("]", ":", ")"):
            counts = before == ":" or after == ":" or len(token) <= LONGEST_INDEX_NAME
            if (indexing and counts) or _in_range(function, i):
                yield Site(i + 1, i + 1, (("+", "1"), ("-", "1")))


def _is_index(function: Function, i: int) -> bool:
    opening = function.enclosing[i]
    return function.tokens[opening] == "[" and is_operand_end(function.tokens[opening - 1])


def _in_range(function: Function, i: int) -> bool:
    opening = function.enclosing[i]
    return opening > 0 and function.tokens[opening - 1] == "range"


CONDITIONS = frozenset({"if", "elif", "while", "and", "or", "not", "assert"})


def negated_condition(function: Function) -> Iterator[Site]:
    """A ``not`` too many or too few, in front of a condition or inside ``is`` and ``in``."""
    tokens = function.tokens
    loops = 0
    for i, token in function.code():
        before, after = tokens[i - 1], tokens[i + 1]
        loops += token == "for"
        if token == "not" and after != "in" and before != "is":
            yield Site(i, i + 1, ((),))
        elif token in ("is", "not") and after in ("not", "in"):
            keep = "is" if token == "is" else "in"
            yield Site(i, i + 2, ((keep,),))
        elif token == "is":
            yield Site(i, i + 1, (("is", "not"),))
        elif token == "in" and before != "not":
            if loops:
                loops -= 1
            else:
                yield Site(i, i + 1, (("not", "in"),))
        elif before in CONDITIONS and before != "not" and _is_operand(function, i):
            yield Site(i, i, (("not",),))


def _is_operand(function: Function, start: int) -> bool:
    """Whether a name with its attributes, calls and indices is all that is tested at ``start``."""
    tokens, i = function.tokens, start + 1
    if not is_name(tokens[start]):
        return False
    while i < len(tokens) and tokens[i] in (".", "(", "["):
        i = i + 2 if tokens[i] == "." else function.partner.get(i, len(tokens)) + 1
    return tokens[i : i + 1] in ((":",), ("and",), ("or",), ("<NL>",), ("else",), (")",))


def wrong_attribute(function: Function) -> Iterator[Site]:
    """Another attribute that the function uses: of the same receiver where it has others."""
    tokens = function.tokens
    for i, token in function.code():
        if token != "." or not is_operand_end(tokens[i - 1]) or not is_name(tokens[i + 1]):
            continue
        name, after = tokens[i + 1], tokens[i + 2] if i + 2 < len(tokens) else ""
        if after == "=" and function.enclosing[i] == -1:
            continue
        others = function.attributes.get((receiver(tokens, i), after == "("), ())
        choices = tuple((other,) for other in others if other != name)
        if choices:
            yield Site(i + 1, i + 2, choices)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One row of the table.

    Attributes:
        name: what the bug is called.
        find: the sites where it could strike in a function.
        weight: how often it is drawn, relative to the others that could strike there. Wherever
            there is an attribute a wrong one could stand: without weights nearly half of all bugs
            would be that.
    """

    name: str
    find: Callable[[Function], Iterator[Site]]
    weight: int


PATTERNS: tuple[Pattern, ...] = (
    Pattern("variable misuse", variable_misuse, 2),
    Pattern("swapped arguments", swapped_arguments, 4),
    Pattern("wrong operator", wrong_operator, 4),
    Pattern("off by one", off_by_one, 4),
    Pattern("negated condition", negated_condition, 4),
    Pattern("wrong attribute", wrong_attribute, 1),
)


def sites(function: Function) -> dict[Pattern, list[Site]]:
    """Every pattern that could strike in ``function``, and where."""
    return {pattern: found for pattern in PATTERNS if (found := list(pattern.find(function)))}
