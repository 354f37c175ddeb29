# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an agreement is signed by all, and who survived its secure sums: by signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcode.agreement import Agreement, SignedAgreement
from fedcode.errors import ConfigError, SecureSumError
from fedcode.rounds.transcript import against_sums, confirmed, signed_survivors

_HINT = "name an agreement-TASK.json of a run's folder"


def read(path: Path) -> SignedAgreement:
    """A signed agreement from its file; signatures are not checked.

    Raises:
        ConfigError: it is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a signed agreement", _HINT) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is no signed agreement", _HINT)
    return SignedAgreement.read(values)


@dataclass(frozen=True, slots=True)
class Verified:
    """What checking an agreement found.

    Attributes:
        members: of the roster.
        epoch: of the roster.
        missing: members without a signature that fits.
        sums: secure sums whose survivors were checked.
        survivors: the fewest and the most of one sum; empty without sums.
        epsilon_release: ε against whoever sees the sums alone, by the number of members that tell
            their noise; empty where noises do not add up.
        wrong: what does not hold, a sentence each.
    """

    members: int
    epoch: int
    missing: tuple[str, ...]
    sums: int
    survivors: tuple[int, ...]
    epsilon_release: Mapping[int, float]
    wrong: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def verify(path: Path, before: Path | None, transcript: Path | None) -> Verified:
    """Checks signatures, the roster's epochs, and the survivors of secure sums.

    Args:
        path: the signed agreement.
        before: the one of the epoch before.
        transcript: a run's, of which the lines of other tasks are passed over.

    Raises:
        ConfigError: a file is not what it should be.
    """
    signed = read(path)
    agreed = signed.agreement
    missing = signed.signatures.missing(agreed.roster, agreed.canonical())
    wrong = [f"{name} has not signed, or not with the key of the roster" for name in missing]
    if before is not None:
        try:
            agreed.roster.check_follows(read(before).agreement.roster)
        except ConfigError as error:
            wrong.append(str(error))
    survivors = []
    for line in _lines_of(transcript, agreed.task) if transcript else []:
        try:
            survivors.append(_survivors(agreed, line))
        except SecureSumError as error:
            wrong.append(f"round {line.get('round')}: {error}")
    sizes = tuple(sorted({len(names) for names in survivors}))
    spent: Mapping[int, float] = {}
    if survivors and agreed.training.kind == "gradient-sum":
        spent = against_sums(
            survivors,
            agreed.noise_multiplier,
            agreed.training.sampling_rate,
            agreed.delta,
            agreed.aggregation.colluding,
        )
    return Verified(
        len(agreed.roster.members),
        agreed.roster.epoch,
        missing,
        len(survivors),
        sizes,
        spent,
        tuple(wrong),
    )


def _survivors(agreed: Agreement, line: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        number, cohort = int(line["round"]), [str(name) for name in line["cohort"]]
        confirmations = [str(one) for one in line["confirmations"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError("a line of the transcript is not of this version") from error
    return signed_survivors(agreed, number, cohort, confirmations)


def _lines_of(path: Path, task: str) -> list[dict[str, Any]]:
    """The sums of one task of which there is a total, or can be: enough have confirmed it."""
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        own = [one for one in found if one["task"] == task]
        return [one for one in own if confirmed(one) or not one["aborted"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be read as a transcript", "name transcript.jsonl"
        ) from error
