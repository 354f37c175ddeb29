# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Source languages whose trees are not read: whole files of lexer tokens, without functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedcode.corpus.language import Reading
from fedcode.corpus.languages.braces import decoded
from fedcode.corpus.lexer import (
    BLOCK,
    DOLLAR_NAME,
    DOUBLE,
    RAW,
    SINGLE,
    SLASHES,
    TRIPLE,
    lines_of,
    pattern,
    prose_of,
    tokens_of,
)
from fedcode.corpus.syntax import encoded, written_lines

_OPERATORS = (
    "=== !== <=> ... ..< **= ??= &&= ||= <<= >>= >>> == != <= >= => -> <- := :: ++ -- && || ?? ?. "
    "?: |> <| += -= *= /= %= &= |= ^= .. << >> ** =~ !~ //="
)
_HASH = r"(?<![${\w])\#[^\n]*+"


def _lexer(*comments: str) -> re.Pattern[str]:
    strings: Sequence[str] = (TRIPLE, DOUBLE, SINGLE, RAW)
    return pattern(comments=comments, strings=strings, name=DOLLAR_NAME, operators=_OPERATORS)


_SLASHES = _lexer(SLASHES, BLOCK)
_HASHES = _lexer(_HASH)
_BOTH = _lexer(SLASHES, _HASH, BLOCK)
_DASHES = _lexer(r"--\[\[[\s\S]*?(?:\]\]|\Z)", r"--[^\n]*+", r"\{-[\s\S]*?(?:-\}|\Z)", BLOCK)
_ROUND = _lexer(SLASHES, r"\(\*[^*]*+(?:\*(?!\))[^*]*+)*+(?:\*\)|\Z)")
_SEMICOLONS = _lexer(r";[^\n]*+")
_PERCENTS = _lexer(r"%[^\n]*+")


@dataclass(frozen=True, slots=True)
class General:
    """A language of which tokens are all that is read."""

    name: str
    lexer: re.Pattern[str]

    def decode(self, data: bytes) -> str:
        """See :func:`fedcode.corpus.languages.braces.decoded`."""
        return decoded(data)

    def read(self, text: str) -> Reading:
        """See :class:`fedcode.corpus.language.Language`."""
        encoded(text)
        return Reading(
            tokens=tuple(tokens_of(self.lexer, text)),
            functions=(),
            lines=written_lines(text)[-1],
            ast=(),
            found=0,
            broken=False,
            places=lambda: tuple(lines_of(self.lexer, text)),
        )

    def prose(self, text: str) -> Iterator[tuple[int, int]]:
        """See :class:`fedcode.corpus.language.Language`."""
        return prose_of(self.lexer, text)


def of_pieces(path: str) -> General:
    """What reads some lines of a file, whatever they are cut out of: comments by its language."""
    suffix = f".{path.rpartition('.')[2]}"
    return GENERAL.get(suffix) or (_HASHED if suffix == ".py" else _SLASHED)


_NAMES = {
    _SLASHES: {
        "kotlin": ".kt .kts",
        "scala": ".scala .sc",
        "swift": ".swift",
        "dart": ".dart",
        "groovy": ".groovy .gradle",
        "objective-c": ".m .mm",
        "cuda": ".cu .cuh",
        "zig": ".zig",
        "solidity": ".sol",
    },
    _HASHES: {
        "ruby": ".rb .rake",
        "shell": ".sh .bash .zsh",
        "perl": ".pl .pm",
        "r": ".r .R",
        "julia": ".jl",
        "elixir": ".ex .exs",
        "crystal": ".cr",
        "nim": ".nim",
        "tcl": ".tcl",
        "powershell": ".ps1 .psm1",
        "cython": ".pyx .pxd",
    },
    _BOTH: {"php": ".php"},
    _DASHES: {"sql": ".sql", "lua": ".lua", "haskell": ".hs", "elm": ".elm"},
    _ROUND: {"f#": ".fs .fsx", "ocaml": ".ml .mli", "pascal": ".pas"},
    _SEMICOLONS: {"clojure": ".clj .cljs .cljc", "lisp": ".lisp .el .scm .rkt"},
    _PERCENTS: {"erlang": ".erl .hrl"},
}

GENERAL = {
    suffix: General(name, lexer)
    for lexer, names in _NAMES.items()
    for name, suffixes in names.items()
    for suffix in suffixes.split()
}
"""By file suffix."""

_HASHED, _SLASHED = General("lines", _HASHES), General("lines", _SLASHES)
