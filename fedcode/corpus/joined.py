# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Several sources of one organization as one corpus: each lies in a folder, which is its label.

What two sources have in common goes as it does within one, when records are compared: a file that
stands in both is trained on once, and never if it is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fedcode.corpus.reading import SAME_AS
from fedcode.corpus.revisions import folder_of
from fedcode.corpus.views import Joined
from fedcode.record import Corpus, Skipped

_UNSAFE = re.compile(r"[^\w.+-]+")


def label_sources(sources: Sequence[str]) -> tuple[str, ...]:
    """A short name for each source, from what it is: all differ, and each may be a folder's.

    Of a folder it is the last part without ``.git``, whatever its revision; of a wheel what stands
    before the version; of a package its name. What has the name of one before it gets ``-2``, the
    next ``-3``: a source that is added at the end changes no label.

    Args:
        sources: ``git:DIR``, ``commits:DIR``, ``path:DIR``, ``package:NAME`` or ``wheel:FILE``.
    """
    found: dict[str, None] = {}
    for source in sources:
        name = label = _name(source)
        number = 1
        while label in found:
            number += 1
            label = f"{name}-{number}"
        found[label] = None
    return tuple(found)


def join(name: str, parts: Iterable[tuple[str, Corpus]]) -> Corpus:
    """One corpus of several: the files of each in a folder that is called by its label.

    Paths, units, what was skipped and what filters took get ``LABEL/`` before them; a record's
    repository is ``LABEL``, or ``LABEL/INNER``. No file is made before it is looked at.

    Args:
        name: the organization's.
        parts: label and corpus of each; the labels differ.

    Returns:
        A single part as it is; of several, all in path order, with their duplicates added up.
    """
    own = sorted(parts, key=lambda part: in_order(part[0]))
    if len(own) == 1:
        return own[0][1]
    return Corpus(
        name,
        Joined((label, corpus.files) for label, corpus in own),
        tuple(_skipped(label, one) for label, corpus in own for one in corpus.skipped),
        sum(corpus.duplicates for _, corpus in own),
        taken=tuple(
            replace(one, path=f"{label}/{one.path}")
            for label, corpus in own
            for one in corpus.taken
        ),
    )


def in_order(label: str) -> str:
    """A key that sorts labels as the paths below them are sorted."""
    return f"{label}/"


def _name(source: str) -> str:
    scheme, _, rest = source.partition(":")
    if scheme == "package":
        name = rest
    elif scheme == "wheel":
        name = Path(rest).name.partition("-")[0].removesuffix(".whl")
    else:
        place = Path(rest if scheme == "path" else folder_of(rest) or rest)
        if place.name in ("", ".."):
            place = place.resolve()
        name = (place.parent if place.name == ".git" else place).name.removesuffix(".git")
    return _UNSAFE.sub("-", name).strip(".-") or "source"


def _skipped(label: str, one: Skipped) -> Skipped:
    reason = one.reason
    if reason.startswith(SAME_AS):
        reason = f"{SAME_AS}{label}/{reason.removeprefix(SAME_AS)}"
    return Skipped(f"{label}/{one.path}", reason)
