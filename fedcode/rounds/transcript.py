# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The story of a secure sum, as the coordinator saw it and as anybody can check it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from fedcode.agreement import Agreement
from fedcode.errors import SecureSumError, WireError
from fedcode.groups import threshold
from fedcode.privacy.accountant import epsilon_of_sums
from fedcode.rounds.sessions import parts
from fedcode.wire import Confirmation, decode, verified


@dataclass(frozen=True, slots=True)
class Lost:
    """A member that dropped out.

    Attributes:
        step: the message that it did not send.
        why: a refusal's code, or ``absent``, ``malformed`` or ``refused``.
    """

    step: str
    why: str


@dataclass(frozen=True, slots=True)
class Story:
    """One secure sum.

    Attributes:
        members: those who were asked.
        threshold: the fewest that must be left.
        lost: who dropped out, when, and why.
        sharers: those whose secrets are shared.
        survivors: those whose terms are in the sum.
        self_masks: of whom enough shares of the self-mask were revealed.
        keys: of whom enough shares of the masking key were revealed, for their terms did not come.
        confirmations: the survivors' signed messages about who survived, in hexadecimal.
        seconds: by step.
        aborted: why there is no sum; empty if there is one.
        blamed: who has signed what proves that they broke the protocol.
        evidence: the signed messages that prove it, in hexadecimal, without payloads.
    """

    members: tuple[str, ...]
    threshold: int
    lost: Mapping[str, Lost]
    sharers: tuple[str, ...]
    survivors: tuple[str, ...]
    self_masks: tuple[str, ...]
    keys: tuple[str, ...]
    confirmations: tuple[str, ...]
    seconds: Mapping[str, float]
    aborted: str
    blamed: tuple[str, ...]
    evidence: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


class TooFewConfirmed(SecureSumError):
    """There was no sum; or the confirmations of more members are kept back."""


def signed_survivors(
    agreement: Agreement, number: int, cohort: Sequence[str], confirmations: Sequence[str]
) -> tuple[str, ...]:
    """The survivors of one secure sum of round ``number``, by their own signatures.

    Args:
        agreement: with the roster whose keys must have signed.
        number: of the round.
        cohort: the members that the plan named.
        confirmations: encoded messages, in hexadecimal.

    Raises:
        TooFewConfirmed: too few signatures, of which nothing is wrong.
        SecureSumError: signatures on several sets, or by others than their members.
    """
    if not confirmations:
        raise TooFewConfirmed("nobody's confirmation is there")
    found: dict[str, Confirmation] = {}
    for text in confirmations:
        try:
            message = decode(
                bytes.fromhex(text), weights=agreement.weights, length=agreement.length
            )
        except (WireError, ValueError) as error:
            raise SecureSumError("a confirmation cannot be read") from error
        if not isinstance(message, Confirmation) or message.member not in agreement.roster.names:
            raise SecureSumError("that is no member's confirmation")
        if not verified(message, agreement.roster.key(message.member)):
            raise SecureSumError(f"{message.member} did not sign its confirmation")
        found[message.member] = message
    claims = {
        (m.agreement, m.round, m.plan, m.transcript, m.sharers, m.survivors) for m in found.values()
    }
    if len(claims) != 1:
        raise SecureSumError("the confirmations are not about one set of survivors")
    (digest, signed_round, _, _, _, survivors) = claims.pop()
    if digest != agreement.digest():
        raise SecureSumError("the confirmations are of another agreement")
    if signed_round != number:
        raise SecureSumError("the confirmations are of another round")
    members = next((g for g in parts(agreement, number, cohort) if set(survivors) <= set(g)), None)
    if members is None or not set(found) <= set(survivors):
        raise SecureSumError("the confirmations are of others than the sum's members")
    if len(found) < threshold(len(members)):
        raise TooFewConfirmed(f"{len(found)} of {len(members)} members confirmed: too few")
    return tuple(survivors)


def confirmed(story: Mapping[str, Any]) -> bool:
    """Whether the coordinator could have had the total of a sum, whose story is as JSON has it.

    It could as soon as enough members had confirmed the survivors, whatever it says of the rest.
    """
    return bool(len(story["confirmations"]) >= story["threshold"])


class Summed(NamedTuple):
    """A secure sum, as far as it matters to the ε against whoever sees the total.

    Attributes:
        survivors: whose noises are in it; signed, see :func:`signed_survivors`.
        noise_multiplier: σ of each member's own noise.
        sampling_rate: q.
        steps: K.
        noises: how many add up: one alone with local steps, or of a sum whose survivors are not
            known as many as there must be; None for all the survivors'.
    """

    survivors: tuple[str, ...]
    noise_multiplier: float
    sampling_rate: float
    steps: int = 1
    noises: int | None = None


def against_sums(sums: Sequence[Summed], delta: float, colluding: int) -> dict[int, float]:
    """ε against whoever sees sums alone, by the number of members that tell their noise.

    Args:
        sums: all that there were, of one task or of several.
        delta: δ.
        colluding: the largest number that is wanted.

    Returns:
        For every number from 0 on the ε of the member for whom it is largest.
    """
    profiles: dict[str, Counter[tuple[float, float, int]]] = {}
    for one in sums:
        key = (one.noise_multiplier, one.sampling_rate, one.noises or len(one.survivors))
        for member in one.survivors:
            profiles.setdefault(member, Counter())[key] += one.steps
    distinct = {tuple(sorted(own.items())) for own in profiles.values()}
    return {
        c: max((epsilon_of_sums(dict(own), delta, c) for own in distinct), default=0.0)
        for c in range(colluding + 1)
    }
