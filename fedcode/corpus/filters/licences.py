# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which licence a file is under, as its header or the nearest licence file says, and if it may be.

A licence is an SPDX expression (SPDX 3.0, annex B). Texts are known by phrases that no other common
licence has.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from fedcode.corpus.filters.look import Look

FILTER = "licences"

UNREADABLE = "unreadable-expression"
"""What is reported where an SPDX line is no expression."""

_HEAD = 4000
_TAG = "spdx-license-identifier:"
_STATED = re.compile(r"[ \t]*+([A-Za-z0-9.+:() \t-]{1,300}+)")
_PARTS = re.compile(r"\(|\)|[A-Za-z0-9.+:-]+")
_DEEPEST = 20

LICENCE_FILE = re.compile(r"(?i)(?:un)?licen[cs]e(?:[._-].*)?|copying(?:[._-].*)?|mit-license.*")
"""Names of files that hold a folder's licence; of programs, too, which have other suffixes."""

_PHRASES = (
    (r"python software foundation licen[sc]e version 2|psf licen[sc]e agreement", "Python-2.0"),
    (r"gnu affero general public licen[sc]e", "AGPL-3.0-or-later"),
    (r"gnu (?:lesser|library) general public licen[sc]e", "LGPL-2.1-or-later"),
    (r"gnu general public licen[sc]e(?:.{0,60}?)version 3", "GPL-3.0-or-later"),
    (r"gnu general public licen[sc]e", "GPL-2.0-or-later"),
    (r"server side public licen[sc]e", "SSPL-1.0"),
    (r"business source licen[sc]e", "BUSL-1.1"),
    (r"mozilla public licen[sc]e,? ?(?:version|v\.?)? ?1\.1", "MPL-1.1"),
    (r"mozilla public licen[sc]e", "MPL-2.0"),
    (r"eclipse public licen[sc]e ?-? ?(?:version|v\.?) ?1\.0", "EPL-1.0"),
    (r"eclipse public licen[sc]e", "EPL-2.0"),
    (r"common development and distribution licen[sc]e", "CDDL-1.0"),
    (r"european union public licen[sc]e", "EUPL-1.2"),
    (r"creative commons attribution-(?:non ?commercial|sharealike)", "CC-BY-SA-4.0"),
    (r"apache licen[sc]e,? ?(?:version)? ?2\.0", "Apache-2.0"),
    (r"permission is hereby granted, free of charge, to any person obtaining a copy", "MIT"),
    (
        r"redistribution and use in source and binary forms",
        "BSD",
    ),
    (
        r"permission to use, copy, modify,? (?:and[/ ]or|and) distribute this software for any",
        "ISC",
    ),
    (r"this is free and unencumbered software released into the public domain", "Unlicense"),
    (r"cc0 1\.0 universal", "CC0-1.0"),
    (r"boost software licen[sc]e", "BSL-1.0"),
)
_KNOWN = re.compile("|".join(f"(?P<p{n}>{form})" for n, (form, _) in enumerate(_PHRASES)))
_PLAIN = re.compile(
    r"^[^\w\n]*_*(?:licen[sc]ed under|licen[sc]e)_*[ \t\"'*]*:?[:= \t][ \t\"'(*]*([^\n\"']{2,60})",
    re.MULTILINE,
)
"""A line that states a licence by its name: ``License: GPLv3``, ``__license__ = "MIT"``."""

_NAMES = (
    (r"\bagpl|\baffero\b", "AGPL-3.0-or-later"),
    (r"\blgpl|\blesser general public\b", "LGPL-2.1-or-later"),
    (r"\bgpl[ -]?v?\.?3|\bgnu general public.{0,20}3", "GPL-3.0-or-later"),
    (r"\bgpl|\bgnu\b", "GPL-2.0-or-later"),
    (r"\bsspl\b", "SSPL-1.0"),
    (r"\bbusl\b|\bbusiness source\b", "BUSL-1.1"),
    (r"\bmpl\b|\bmozilla\b", "MPL-2.0"),
    (r"\bepl\b|\beclipse public\b", "EPL-2.0"),
    (r"\bcddl\b", "CDDL-1.0"),
    (r"\beupl\b", "EUPL-1.2"),
    (r"\bcc[ -]by[ -](?:nc|sa)", "CC-BY-SA-4.0"),
    (r"\bproprietary\b|\ball rights reserved\b", "LicenseRef-Proprietary"),
    (r"\bapache\b", "Apache-2.0"),
    (r"\bmit\b", "MIT"),
    (r"\bbsd\b", "BSD-3-Clause"),
    (r"\bisc\b", "ISC"),
    (r"\bpsf\b", "PSF-2.0"),
    (r"\bunlicense\b|\bpublic domain\b", "Unlicense"),
)
"""What a licence is called where only its name is said, the stricter first."""

_THIRD_CLAUSE = re.compile(r"neither the names? of|names? of .{0,80}? may not be used to endorse")
_EITHER = re.compile(r"alternatively, |dual[- ]licen|either of the following|tri-licen")
_DECORATION = re.compile(r"[\s*#/;%\"!-]+")


def of_header(look: Look) -> str:
    """The expression that a file's own first lines state; empty if they state none."""
    head = look.low[:_HEAD]
    if _TAG in head:
        stated = []
        at = head.find(_TAG)
        while at >= 0:
            if match := _STATED.match(look.text, at + len(_TAG)):
                stated.append(match[1].strip().rstrip("-").strip())
            at = head.find(_TAG, at + 1)
        return _both(stated)
    if "licen" not in head and "redistribution" not in head and "permission" not in head:
        return ""
    plain = _DECORATION.sub(" ", head)
    found = list(dict.fromkeys(_identified(plain, match) for match in _KNOWN.finditer(plain)))
    if not found:
        line = _PLAIN.search(head)
        return _by_name(line[1]) if line else ""
    return " OR ".join(found) if _EITHER.search(plain) else found[0]


def of_text(text: str) -> str:
    """The expression of a licence file: what it is first; empty for a text that is not known."""
    look = Look.at(text)
    if _TAG in look.low[:_HEAD]:
        return of_header(look)
    plain = _DECORATION.sub(" ", look.low)
    match = _KNOWN.search(plain)
    return _identified(plain, match) if match else ""


def of_files(expressions: Iterable[str]) -> str:
    """The expression of a folder with several licence files: all of them hold."""
    return _both([one for one in dict.fromkeys(expressions) if one])


def allowed(expression: str, licences: Container[str]) -> bool:
    """Whether an expression leaves a way to use the file under allowed licences alone.

    Args:
        expression: SPDX: identifiers, ``AND``, ``OR``, ``WITH`` and brackets. ``MIT+`` is MIT or
            later. An exception permits more: ``WITH`` is allowed where its licence is.
        licences: identifiers, in lower case.
    """
    parts = _PARTS.findall(expression)
    if "".join(parts) != re.sub(r"\s", "", expression):
        return False
    try:
        holds, rest = _alternatives(parts, licences, 0)
    except ValueError:
        return False
    return holds and not rest


def readable(expression: str) -> bool:
    """Whether an expression is one."""
    try:
        parts = _PARTS.findall(expression)
        return bool(parts) and not _alternatives(parts, frozenset(), 0)[1]
    except ValueError:
        return False


def _both(expressions: list[str]) -> str:
    if len(expressions) < 2:
        return "".join(expressions)
    return " AND ".join(f"({one})" for one in expressions)


def _by_name(stated: str) -> str:
    return next((name for form, name in _NAMES if re.search(form, stated)), "")


def _identified(plain: str, match: re.Match[str]) -> str:
    name = _PHRASES[int(str(match.lastgroup)[1:])][1]
    if name == "BSD":
        near = plain[match.end() : match.end() + 1500]
        return "BSD-3-Clause" if _THIRD_CLAUSE.search(near) else "BSD-2-Clause"
    return name


def _alternatives(parts: list[str], licences: Container[str], depth: int) -> tuple[bool, list[str]]:
    holds, parts = _together(parts, licences, depth)
    while parts and parts[0].upper() == "OR":
        more, parts = _together(parts[1:], licences, depth)
        holds = holds or more
    return holds, parts


def _together(parts: list[str], licences: Container[str], depth: int) -> tuple[bool, list[str]]:
    holds, parts = _one(parts, licences, depth)
    while parts and parts[0].upper() == "AND":
        more, parts = _one(parts[1:], licences, depth)
        holds = holds and more
    return holds, parts


def _one(parts: list[str], licences: Container[str], depth: int) -> tuple[bool, list[str]]:
    if not parts or depth > _DEEPEST:
        raise ValueError("no expression")
    first, *rest = parts
    if first == "(":
        holds, rest = _alternatives(rest, licences, depth + 1)
        if not rest or rest[0] != ")":
            raise ValueError("a bracket is not closed")
        return holds, rest[1:]
    if first == ")" or first.upper() in ("AND", "OR", "WITH"):
        raise ValueError("a licence is missing")
    name = first.lower()
    names = {name, name.removesuffix("+"), f"{name.removesuffix('+')}-or-later"}
    holds = any(one in licences for one in (names if name.endswith("+") else {name}))
    if rest and rest[0].upper() == "WITH":
        if len(rest) < 2 or rest[1] in ("(", ")"):
            raise ValueError("an exception is missing")
        holds = holds or f"{name} with {rest[1].lower()}" in licences
        rest = rest[2:]
    return holds, rest
