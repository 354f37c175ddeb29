# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Findings as SARIF, which code hosts and editors show.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcode.card import Card
from fedcode.use.code import Place

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result.

    Attributes:
        places: where; the first is the place itself, others are related.
        message: in a sentence.
        share: how much it matters, in [0, 1].
        known_as: what tells it from others although lines move.
    """

    places: Sequence[Place]
    message: str
    share: float
    known_as: str


def sarif(card: Card, rule: str, title: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """A log of one run; paths are relative to where the program runs, if they lie below it.

    Args:
        card: of the model that found them.
        rule: the rule's identifier.
        title: what the rule finds.
        findings: in the order of their ranks.
    """
    driver = {
        "name": "fedcode",
        "version": card.version,
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": title},
                "fullDescription": {"text": f"{card.intended} {' '.join(card.limits)}"},
                "defaultConfiguration": {"level": "note"},
            }
        ],
    }
    results = [
        {
            "ruleId": rule,
            "ruleIndex": 0,
            "level": "note",
            "rank": round(100 * one.share, 1),
            "message": {"text": one.message},
            "locations": [_location(one.places[0])],
            "relatedLocations": [
                {"id": number, **_location(place)}
                for number, place in enumerate(one.places[1:], start=1)
            ],
            "partialFingerprints": {"fedcode/1": one.known_as},
        }
        for one in findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _location(place: Place) -> dict[str, Any]:
    last = max(place.line, place.record.last)
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(place.file)},
            "region": {"startLine": place.line, "endLine": last},
        },
        "logicalLocations": [{"fullyQualifiedName": place.record.name, "kind": "function"}],
    }


def _uri(file: Path) -> str:
    from urllib.parse import quote

    whole = file.resolve()
    here = Path.cwd().resolve()
    return (
        quote(whole.relative_to(here).as_posix()) if whole.is_relative_to(here) else whole.as_uri()
    )
