# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Functions ranked by how likely they are defective, and what speaks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcode.task import Judgement
from fedcode.use.code import Place, functions
from fedcode.use.model import Model
from fedcode.use.sarif import Finding

TASKS = ("defects", "defects-belief")
RULE = "fedcode/defects"
TITLE = "A function that a model ranks as likely to be defective"

_REASONS = 3


@dataclass(frozen=True, slots=True)
class Risk:
    """A function and what the model says of it."""

    place: Place
    judgement: Judgement

    @property
    def finding(self) -> Finding:
        """As SARIF has it."""
        said = "; ".join(words for words, _ in self.judgement.because)
        message = f"{self.place.record.name}: risk {self.judgement.chance:.3f}"
        tokens = "\x00".join((self.place.record.name, *self.place.record.tokens))
        return Finding(
            (self.place,),
            f"{message}; what speaks for it: {said}" if said else message,
            self.judgement.chance,
            hashlib.sha256(tokens.encode("utf-8", "surrogatepass")).hexdigest(),
        )


def risks(model: Model, paths: Sequence[Path], since: str | None) -> list[Risk]:
    """All functions, the riskiest first.

    Args:
        model: of one of :data:`TASKS`.
        paths: files and folders.
        since: see :func:`fedcode.use.code.functions`.
    """
    places = functions(paths, since)
    records = [place.record for place in places]
    found = map(Risk, places, model.task.judgements(model.network, records, _REASONS))
    return sorted(found, key=lambda risk: -risk.judgement.chance)
