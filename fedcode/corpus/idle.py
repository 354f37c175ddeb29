# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the lines that a fix takes away cannot have been wrong.

The known filters of SZZ: blank lines, comments and brackets alone; lines that were only laid out
otherwise, or moved; and lines in which nothing but a name changed that changed elsewhere too, as a
refactoring does.

Sources: Śliwerski et al. 2005, doi:10.1145/1082983.1083147; Kim et al. 2006,
doi:10.1109/ASE.2006.23; Neto et al. 2018, doi:10.1109/SANER.2018.8330225.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from fedcode.corpus.changes import Change, Hunk

RENAMED = 3
"""So many lines in which one name became another are a renaming, not a mending."""

_SPACES = re.compile(rb"\s+")
_LAYOUT = re.compile(rb"[\s\\,;]+")
_WORD = re.compile(rb"\w+|[^\w\s]")
_NAME = re.compile(rb"[A-Za-z_]\w*")
_HASH = (".py", ".pyi", ".rb", ".sh", ".pl", ".r", ".R", ".yml", ".yaml", ".toml", ".ex", ".exs")
_SAYS = re.compile(rb"\w")


def idle(changes: Sequence[Change]) -> list[list[frozenset[int]]]:
    """For each hunk of each change the indices, among the lines taken, of those that say nothing.

    Args:
        changes: of one commit, with the text of their lines.
    """
    moved = {_squeezed(line) for change in changes for hunk in change.hunks for line in hunk.new}
    pairs = Counter(
        pair
        for change in changes
        for hunk in change.hunks
        for pair in {pair for _, pair in _renamed(hunk)}
    )
    lines = Counter(
        pair for change in changes for hunk in change.hunks for _, pair in _renamed(hunk)
    )
    usual = {pair for pair, number in lines.items() if number >= RENAMED and pairs[pair] > 1}
    return [[_idle(hunk, change.path, moved, usual) for hunk in change.hunks] for change in changes]


def _idle(
    hunk: Hunk, path: str, moved: set[bytes], usual: set[tuple[bytes, bytes]]
) -> frozenset[int]:
    if not hunk.old:
        return frozenset()
    if hunk.new and _plain(hunk.old) == _plain(hunk.new):
        return frozenset(range(hunk.taken))
    remarks = (b"#",) if path.endswith(_HASH) else (b"//", b"/*", b"*")
    found = {
        number
        for number, line in enumerate(hunk.old)
        if not _SAYS.search(line) or line.lstrip().startswith(remarks) or _squeezed(line) in moved
    }
    found |= {number for number, pair in _renamed(hunk) if pair in usual}
    return frozenset(found)


def _renamed(hunk: Hunk) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """Lines that differ from the ones in their place by one name alone, and the two names."""
    if len(hunk.old) != len(hunk.new):
        return
    for number, (old, new) in enumerate(zip(hunk.old, hunk.new, strict=True)):
        before, after = _WORD.findall(old), _WORD.findall(new)
        if len(before) != len(after):
            continue
        pairs = {(a, b) for a, b in zip(before, after, strict=True) if a != b}
        if len(pairs) == 1:
            ((a, b),) = pairs
            if _NAME.fullmatch(a) and _NAME.fullmatch(b):
                yield number, (a, b)


def _squeezed(line: bytes) -> bytes:
    return _SPACES.sub(b"", line)


def _plain(lines: Sequence[bytes]) -> bytes:
    """A text without its layout: spaces, line breaks, commas before brackets, kinds of quotes."""
    return _LAYOUT.sub(b"", b"".join(lines)).replace(b"'", b'"')
