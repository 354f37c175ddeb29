# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an agreement is signed by all, and who survived its secure sums: by signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fedcode.agreement import Agreement, SignedAgreement
from fedcode.errors import ConfigError, SecureSumError
from fedcode.rounds.transcript import (
    Summed,
    TooFewConfirmed,
    against_sums,
    signed_survivors,
)
from fedcode.wire.forms import LAST_ROUND

_HINT = "name an agreement-TASK.json of a run's folder"


def read(path: Path) -> SignedAgreement:
    """A signed agreement from its file; signatures are not checked.

    Raises:
        ConfigError: it is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
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
        unproven: rounds of the agreement of which the transcript does not show enough confirmations
            for every sum: none came about, or somebody keeps them back.
        survivors: the fewest and the most of one sum; empty without sums.
        epsilon_release: ε against whoever sees the sums alone, by the number of members that tell
            their noise; empty where noises do not add up.
        wrong: what does not hold, a sentence each.
    """

    members: int
    epoch: int
    missing: tuple[str, ...]
    sums: int
    unproven: tuple[int, ...]
    survivors: tuple[int, ...]
    epsilon_release: Mapping[int, float]
    wrong: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def verify(path: Path, before: Path | None, transcript: Path | None) -> Verified:
    """Checks signatures, the roster's epochs, and the survivors of secure sums.

    A transcript is the coordinator's: it can prove too much, and keep back what it likes. How many
    confirmations a sum needs is not taken from it.

    Args:
        path: the signed agreement.
        before: the one of the epoch before.
        transcript: a run's, of which the lines of other tasks are passed over.

    Raises:
        ConfigError: a file is not what it should be.
    """
    signed = read(path)
    agreed = signed.agreement
    missing = signed.missing()
    wrong = [f"{name} has not signed, or not with the key of the roster" for name in missing]
    if before is not None:
        wrong += _wrong_before(agreed, read(before))
    found = proved(agreed, transcript) if transcript else Proved((), (), ())
    wrong += found.wrong
    survivors = [names for _, names in found.sums]
    sizes = tuple(sorted({len(names) for names in survivors}))
    spent: Mapping[int, float] = {}
    if survivors and agreed.training.kind == "gradient-sum":
        noise = agreed.noise_multiplier, agreed.training.sampling_rate
        sums = [Summed(names, *noise) for names in survivors]
        spent = against_sums(sums, agreed.delta, agreed.aggregation.colluding)
    return Verified(
        len(agreed.roster.members),
        agreed.roster.epoch,
        missing,
        len(survivors),
        found.unproven,
        sizes,
        spent,
        tuple(wrong),
    )


def shown(transcript: Path, agreed: Agreement) -> list[tuple[int, tuple[str, ...]]]:
    """The sums of a task whose survivors a transcript proves: round and names of each.

    What it does not prove, or gets wrong, is not there; nor is a line that a crash has cut off.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        lines = transcript.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{transcript} cannot be read", "name transcript.jsonl") from error
    found = []
    for text in lines:
        try:
            values = json.loads(text)
            if values["task"] == agreed.task:
                line = _line(values)
                found.append((line.round, line.survivors(agreed)))
        except (SecureSumError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return found


class Proved(NamedTuple):
    """What a transcript proves of one agreement's secure sums.

    Attributes:
        sums: round and survivors of each that is proved.
        unproven: rounds of which it does not show enough confirmations for every sum.
        wrong: what does not hold, a sentence each.
    """

    sums: tuple[tuple[int, tuple[str, ...]], ...]
    unproven: tuple[int, ...]
    wrong: tuple[str, ...]


def proved(agreed: Agreement, transcript: Path) -> Proved:
    """Checks who survived the secure sums of one agreement, by their signatures.

    Raises:
        ConfigError: the file is no transcript.
    """
    sums, unproven, wrong = [], set[int](), list[str]()
    there = set[tuple[int, str]]()
    for line in _lines_of(transcript, agreed.task):
        try:
            names = line.survivors(agreed)
        except TooFewConfirmed:
            unproven.add(line.round)
        except SecureSumError as error:
            wrong.append(f"round {line.round}: {error}")
        else:
            twice = [name for name in names if (line.round, name) in there]
            wrong += [f"round {line.round}: {name} is in two sums" for name in twice]
            there |= {(line.round, name) for name in names}
            sums.append((line.round, names))
    unproven |= set(range(1, agreed.rounds + 1)) - {number for number, _ in there}
    return Proved(tuple(sums), tuple(sorted(unproven)), tuple(wrong))


def _wrong_before(agreed: Agreement, before: SignedAgreement) -> list[str]:
    """Why the roster does not follow on what its members signed before."""
    earlier = before.agreement
    missing = before.missing()
    wrong = [f"{name} has not signed the epoch before" for name in missing]
    try:
        agreed.roster.check_follows(earlier.roster)
    except ConfigError as error:
        wrong.append(str(error))
    return wrong


@dataclass(frozen=True, slots=True)
class _Line:
    """What the coordinator shows of one sum."""

    round: int
    cohort: tuple[str, ...]
    confirmations: tuple[str, ...]

    def survivors(self, agreed: Agreement) -> tuple[str, ...]:
        """Who is in the sum.

        Raises:
            TooFewConfirmed: it is not proved that there could be a sum.
            SecureSumError: something is wrong.
        """
        if not set(self.cohort) <= set(agreed.roster.names):
            raise SecureSumError("the cohort names others than the roster's members")
        try:
            agreed.aggregation.check_members(len(self.cohort))
        except ValueError as error:
            raise SecureSumError("the cohort cannot be") from error
        return signed_survivors(agreed, self.round, self.cohort, self.confirmations)


def _lines_of(path: Path, task: str) -> list[_Line]:
    """The sums of one task."""
    try:
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [_line(one) for one in found if one["task"] == task]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be read as a transcript", "name transcript.jsonl"
        ) from error


def _line(values: Mapping[str, Any]) -> _Line:
    number, cohort, confirmations = (
        values["round"],
        values["cohort"],
        values["confirmations"],
    )
    texts = [*cohort, *confirmations]
    counted = type(number) is int and 1 <= number <= LAST_ROUND
    if not counted or not all(isinstance(one, str) for one in texts):
        raise ValueError("a line is not of this version")
    return _Line(number, tuple(sorted(set(cohort))), tuple(confirmations))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand there once: readers must not differ about what was signed."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
