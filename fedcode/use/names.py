# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Other names for functions, where the model is sure of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcode.use.code import Place, functions
from fedcode.use.model import Model

TASKS = ("names-attention", "names-bilinear")


@dataclass(frozen=True, slots=True)
class Naming:
    """A function, and what it might be called.

    Attributes:
        place: of the function.
        own: its present name, without what it stands in.
        name: the proposal, in the same style.
        chance: of just this name, as the model puts it.
    """

    place: Place
    own: str
    name: str
    chance: float


def namings(model: Model, paths: Sequence[Path], confidence: float) -> tuple[list[Naming], int]:
    """Functions whose likeliest name is another one and likelier than ``confidence``.

    Args:
        model: of one of :data:`TASKS`.
        paths: files and folders.
        confidence: a chance from 0 to 1.

    Returns:
        The surest first; and how many functions were read.
    """
    places = functions(paths)
    suggested = model.task.suggestions(model.network, [place.record for place in places], 1)
    found = []
    for place, names in zip(places, suggested, strict=True):
        own = place.record.name.partition("#")[0].rpartition(".")[2]
        found += [
            Naming(place, own, name, chance)
            for name, chance in names
            if chance > confidence and name != own
        ]
    return sorted(found, key=lambda one: -one.chance), len(places)
