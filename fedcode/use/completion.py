# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How a file goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcode.corpus.beginnings import tokens_until
from fedcode.errors import ConfigError
from fedcode.use.code import text_of
from fedcode.use.model import Model
from fedcode.use.spelling import spelled

TASKS = ("completion",)

_SPARE = 2
"""Tokens that differ may be typed in the same way."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A way to go on.

    Attributes:
        text: as it may be typed: strings and long numbers are not guessed.
        chance: of just these tokens, as the model puts it.
    """

    text: str
    chance: float


def proposals(model: Model, file: Path, line: int, most: int) -> Sequence[Proposal]:
    """What may follow the end of a line, the likeliest first. What stands below is not read.

    Raises:
        ConfigError: the file has no such line.
        CorpusError: what stands before cannot be read.
    """
    lines = text_of(file).replace("\r\n", "\n").split("\n")
    if not 1 <= line <= len(lines):
        raise ConfigError(f"{file} has no line {line}", f"name one of 1 to {len(lines)}")
    tokens = tokens_until(file.name, "\n".join(lines[:line]))
    found: dict[str, Proposal] = {}
    for one in model.task.continuations(model.network, tokens, _SPARE * most):
        text = spelled(one.tokens)
        found.setdefault(text, Proposal(text, one.chance))
    return list(found.values())[:most]
