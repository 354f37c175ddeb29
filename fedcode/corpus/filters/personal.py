# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Names and e-mail addresses of people, in comments and strings, become placeholders.

What is replaced stands in one line and holds no quote, bracket or backslash, and so do the
placeholders: lines stay where they are, and a file stays as sound as it was.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fedcode.corpus.filters.look import Look

FILTER = "personal"
NAME, ADDRESS = "NAME", "EMAIL"
"""The placeholders."""

Prose = Callable[[str], Iterable[tuple[int, int]]]
"""Gives where a text's comments, strings and white space stand, in order."""

_LOCAL = re.compile(r"[\w.+%-]{1,64}\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}+)\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_LONGEST_LOCAL = 64
_SHORTEST, _LONGEST = 3, 100
"""In characters: a name of three letters is too often something else."""

_NOBODY = re.compile(
    r"(?i)(?:^|\.)(?:example\.(?:com|org|net|edu)|[\w-]+\.(?:invalid|test|example|local))$"
)

_WORD = r"[^\W\d_](?:[\w.’-]|'(?=[^\W\d_])){0,40}"
_NAME = re.compile(rf"{_WORD}(?:(?:, | & | )(?:{_WORD})){{0,8}}")
_YEAR = r"\d{4}(?:[ \t]*[-–,][ \t]*(?:\d{2,4}|present|now))*"
_BEFORE_HOLDER = re.compile(rf"(?i:(?:[ \t]*(?:\(c\)|©|[:,]|{_YEAR}|by\b)){{1,8}}[ \t,:]*)")
_AFTER_TAG = re.compile(r"s?(?:[ \t]*(?:=|:)[ \t]*[\"']|[ \t]*:[ \t]*|__[ \t]*=[ \t]*[\"'])")
_AFTER_AT = re.compile(r"s?[ \t:]{1,8}")
_AFTER_BY = re.compile(r"[ \t]{1,4}")
_NO_NAMES = frozenset(
    {"the", "a", "an", "this", "that", "these", "all", "it", "its", "and", "or", "of", "for"}
    | {"with", "from", "hand", "default", "name", "names", "author", "authors", "none", "string"}
    | {"str", "user", "you", "your", "us", "me", "not", "any", "some", "each"}
)
_TODO = re.compile(r"\(([A-Za-z][\w.-]{1,40})\)")
_VERBS = (
    *("written", "created", "contributed", "maintained", "implemented", "developed", "modified"),
    *("ported", "rewritten", "original code", "based on code"),
)
_COMPANY_END = re.compile(r"(?i)[ ,.]*\ball rights reserved\b.*|[ ,.]+$")


@dataclass(frozen=True, slots=True)
class Person:
    """What stands in a text of a person.

    Attributes:
        start: its place.
        stop: after its end.
        placeholder: ``NAME`` or ``EMAIL``.
    """

    start: int
    stop: int
    placeholder: str


def replaced(
    look: Look, prose: Prose, people: Collection[str] = (), *, everywhere: bool = False
) -> tuple[str, Counter[str]]:
    """A text without persons, and how often which placeholder took the place of one.

    Args:
        look: the text.
        prose: of its language.
        people: names and addresses that are persons' wherever they stand.
        everywhere: addresses are replaced in code too: no code of the language looks like one.
    """
    found = sorted(_found(look, people), key=lambda one: (one.start, -one.stop))
    counts: Counter[str] = Counter()
    if not found:
        return look.text, counts
    free = everywhere and [one for one in found if one.placeholder == ADDRESS]
    inside = [*_inside(look.text, found, prose(look.text)), *(free or ())]
    parts, end = [], 0
    for one in sorted(inside, key=lambda one: (one.start, -one.stop)):
        if one.start >= end:
            parts += [look.text[end : one.start], one.placeholder]
            end = one.stop
            counts[one.placeholder] += 1
    return "".join([*parts, look.text[end:]]), counts


def _found(look: Look, people: Collection[str]) -> Iterator[Person]:
    if "@" in look.text:
        yield from _addresses(look.text)
    if "author" in look.low:
        yield from _authors(look)
    if "copyright" in look.low or "(c)" in look.low or "©" in look.text:
        yield from _copyrights(look)
    for at in look.places(" by "):
        if look.low.endswith(_VERBS, max(at - 20, 0), at):
            yield from _name(look.text, at + len(" by"), _AFTER_BY, titled=True)
    for tag in ("todo(", "fixme("):
        for at in look.places(tag):
            if match := _TODO.match(look.text, at + len(tag) - 1):
                yield Person(match.start(1), match.end(1), NAME)
    if people:
        for match in _any_of(frozenset(people)).finditer(look.low):
            placeholder = ADDRESS if "@" in match[0] else NAME
            yield Person(match.start(), match.end(), placeholder)


@cache
def _any_of(people: frozenset[str]) -> re.Pattern[str]:
    """Names and addresses as words, in lower case: a tree of letters, for there may be many."""
    tree: dict[str, Any] = {}
    for person in people:
        if _SHORTEST < len(person) < _LONGEST:
            node = tree
            for letter in person.lower():
                node = node.setdefault(letter, {})
            node[""] = {}
    return re.compile(rf"(?<!\w)(?:{_branches(tree) or '(?!)'})(?!\w)")


def _branches(node: dict[str, Any]) -> str:
    parts = [re.escape(c) + _branches(below) for c, below in sorted(node.items()) if c]
    if not parts:
        return ""
    return f"(?:{'|'.join(parts)}){'?' if '' in node else ''}"


def _letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def _addresses(text: str) -> Iterator[Person]:
    at = text.find("@")
    while at >= 0:
        before = text[at - 1 : at]
        if (
            before
            and (before.isalnum() or before in "._+-%")
            and (host := _HOST.match(text, at + 1))
        ):
            local = _LOCAL.search(text, max(at - _LONGEST_LOCAL, 0), at)
            if local and not _NOBODY.search(host[0]):
                yield Person(local.start(), host.end(), ADDRESS)
        at = text.find("@", at + 1)


def _authors(look: Look) -> Iterator[Person]:
    for at in look.places("author"):
        before = look.text[at - 1 : at] if at else ""
        if _letter(before) and before != "_":
            continue
        form = _AFTER_AT if before in ("@", "\\") else _AFTER_TAG
        yield from _name(look.text, at + len("author"), form, titled=form is _AFTER_TAG)


def _copyrights(look: Look) -> Iterator[Person]:
    for word in ("copyright", "(c)", "©"):
        for at in look.places(word):
            rest = _BEFORE_HOLDER.match(look.text, at + len(word))
            if rest and any(c.isdigit() or c in "©)" for c in rest[0] + word):
                yield from _name(look.text, rest.end(), None, titled=False)


def _name(text: str, at: int, before: re.Pattern[str] | None, *, titled: bool) -> Iterator[Person]:
    """The name that begins at a place, after what has to stand before it."""
    if before is not None:
        match = before.match(text, at)
        if match is None:
            return
        at = match.end()
    name = _NAME.match(text, at)
    if name is None:
        return
    said = _COMPANY_END.sub("", name[0]).rstrip(" .,")
    first = re.split(r"[ ,]", said)[0]
    if said and first.lower() not in _NO_NAMES and (not titled or first[:1].isupper()):
        if titled:
            said = _upper(said)
        yield Person(at, at + len(said), NAME)


def _upper(said: str) -> str:
    """The words of a name up to one that could be none: particles and capitals go on."""
    kept = []
    for word in said.split(" "):
        if not (word[:1].isupper() or word in ("&", "and", "van", "von", "de", "der", "la", "bin")):
            break
        kept.append(word)
    return " ".join(kept).rstrip(" .,&")


def _inside(
    text: str, found: Iterable[Person], regions: Iterable[tuple[int, int]]
) -> Iterator[Person]:
    """What of ``found`` stands in the regions; up to a quote where it leaves one."""
    places = iter(regions)
    begin = end = 0
    for one in found:
        while end <= one.start:
            begin, end = next(places, (len(text), len(text) + 1))
        if begin > one.start:
            continue
        stop = one.stop
        if stop > end:
            quote = re.search(r"[\"'`]", text[one.start : stop])
            stop = one.start + quote.start() if quote else 0
        if one.start < stop <= end:
            yield Person(one.start, stop, one.placeholder)
