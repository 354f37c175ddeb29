# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where in a repository a report of a bug points to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedcode.corpus import cache_folder
from fedcode.corpus.revisions import folder_of
from fedcode.corpus.searched import searched
from fedcode.errors import CorpusError
from fedcode.tasks.localization_features import Question
from fedcode.use.model import Model

TASKS = ("localization",)

_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Suspect:
    """A file.

    Attributes:
        path: relative to the repository's root.
        share: of all files' shares, as the model puts it.
    """

    path: str
    share: float


def suspects(model: Model, report: Path, repository: str) -> list[Suspect]:
    """Every source file of the commit that is checked out, the likeliest first.

    Args:
        model: of one of :data:`TASKS`.
        report: a text; its first line that is not blank is the summary.
        repository: ``DIR``, or ``DIR@REVISION``.

    Raises:
        CorpusError: the report or the repository cannot be read, or the report is empty.
    """
    try:
        text = report.read_text(encoding="utf-8") if report.stat().st_size <= _LONGEST else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{report} cannot be read", "name a text in UTF-8") from error
    lines = [line.strip("# \t") for line in text.splitlines() if line.strip("# \t")]
    if not lines:
        raise CorpusError(f"{report} is empty, or longer than 1 MiB", "name a report of a bug")
    folder = folder_of(repository)
    place = f"{Path(folder).resolve()}{repository.removeprefix(folder)}"
    candidates = searched(place, text, cache_folder())
    ranked = model.task.ranked(model.network, Question(lines[0], text), candidates)
    return [Suspect(one.path, share) for one, share in ranked]
