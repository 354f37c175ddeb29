# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is said beside every ε: in results, reports and certificates the same words."""

from __future__ import annotations

from fedcode.record import PrivacyUnit

ADJACENCY = "add or remove one unit"
SHOWN, STOPS = "PLD", "Rényi filter"
"""The accountant of the ε that is shown, and the one that stops."""

_AUTHOR = (
    "A file's author is who wrote most of its lines, by its git history: the lines of others in it "
    "are protected as that author's."
)

_ALWAYS = (
    "Each organization's own program samples, clips and adds the noise.",
    "Vocabulary, warm start and settings come from public code alone.",
    "ε does not count what was looked at to choose the settings.",
    "An external cryptographic review has not taken place.",
)


def assumptions(unit: PrivacyUnit) -> tuple[str, ...]:
    """What must hold for ε to mean what it says of one ``unit``."""
    same = "author" if unit is PrivacyUnit.AUTHOR else f"{unit} or author"
    several = f"ε is per organization: if the same {same} stands in several, their ε add up."
    first, *rest = _ALWAYS
    return (first, several, *([_AUTHOR] if unit is PrivacyUnit.AUTHOR else []), *rest)
