# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The messages: a closed set. Each is signed by its sender, see :mod:`fedcode.wire.signatures`.

``agreement``, ``plan``, ``transcript`` and ``sharers`` are digests, keys and shares are
numbers: all of them in hexadecimal. Names and pairs are sorted by name, each name once. A message
without its signature yet has an empty one; it is not encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fedcode.privacy.release import Masked, Unmasked
from fedcode.weights import Vector

Pairs = tuple[tuple[str, str], ...]
"""Members' names, each with something in hexadecimal."""


class RefusalCode(StrEnum):
    """Why a member takes no part in a round. A code, never text: text can hold source code."""

    BUDGET = "budget"
    AGREEMENT = "agreement"
    PLAN = "plan"
    POLICY = "policy"
    DATA = "data"
    RANGE = "range"
    PROTOCOL = "protocol"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The coordinator's offer of one round.

    Attributes:
        agreement: the agreement's digest.
        round: from 1.
        cohort: the members asked, sorted.
        weights: the current weights, shape (d,).
        signature: the coordinator's.
        digest: of the weights, once it is known.
    """

    agreement: str
    round: int
    cohort: tuple[str, ...]
    weights: Vector
    signature: str = ""
    digest: str = field(default="", init=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What a member sends after its local steps, where there is no masking.

    Attributes:
        agreement: the agreement's digest.
        round: the plan's.
        member: the sender's name.
        term: noised and paid for, shape (d,).
        signature: the member's.
    """

    agreement: str
    round: int
    member: str
    term: Unmasked
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A member takes no part in this round."""

    agreement: str
    round: int
    member: str
    code: RefusalCode
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """R0: a member's keys for one sum.

    Attributes:
        weights: digest of the weights in the plan.
        sharing: X25519 public key, for the pairwise keys under which shares travel.
        masking: X25519 public key, for the pairwise masks.
        commitment: digest of the seed of the member's own mask.
    """

    agreement: str
    round: int
    plan: str
    weights: str
    member: str
    sharing: str
    masking: str
    commitment: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class KeyBook:
    """R0, the coordinator's answer: the keys of all who sent theirs, sorted by member."""

    agreement: str
    round: int
    plan: str
    keys: tuple[Keys, ...]
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Shares:
    """R1: a member's secrets in shares, each encrypted for one of the others.

    Attributes:
        transcript: digest of the key book's contents.
        ciphertexts: by recipient.
    """

    agreement: str
    round: int
    plan: str
    member: str
    transcript: str
    ciphertexts: Pairs = field(repr=False)
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ShareDelivery:
    """R1, the coordinator's answer to one member.

    Attributes:
        member: the recipient. It and the senders are the sum's sharers.
        ciphertexts: by sender.
    """

    agreement: str
    round: int
    plan: str
    member: str
    transcript: str
    ciphertexts: Pairs = field(repr=False)
    signature: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class MaskedUpdate:
    """R2: a member's term under its masks.

    Attributes:
        sharers: digest of those between whom there are masks.
        masked: uniform on its own, shape (d,).
    """

    agreement: str
    round: int
    plan: str
    member: str
    transcript: str
    sharers: str
    masked: Masked
    signature: str = ""


@dataclass(frozen=True, slots=True)
class SurvivorList:
    """R2, the coordinator's answer: whose terms are in the sum, sorted."""

    agreement: str
    round: int
    plan: str
    transcript: str
    sharers: str
    survivors: tuple[str, ...]
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """R3: a member has confirmed these survivors, and will confirm no others."""

    agreement: str
    round: int
    plan: str
    member: str
    transcript: str
    sharers: str
    survivors: tuple[str, ...]
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ConfirmationList:
    """R3, the coordinator's answer.

    Attributes:
        confirmations: the signature of each member's :class:`Confirmation` of these survivors.
    """

    agreement: str
    round: int
    plan: str
    transcript: str
    sharers: str
    survivors: tuple[str, ...]
    confirmations: Pairs
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Reveal:
    """R4: a member's shares of what cancels the masks of the sum.

    Attributes:
        seeds: of the own masks of those who survived.
        keys: of the masking keys of those who dropped out after they had shared.
    """

    agreement: str
    round: int
    plan: str
    member: str
    transcript: str
    sharers: str
    seeds: Pairs = field(repr=False)
    keys: Pairs = field(repr=False)
    signature: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedUpdate:
    """An :class:`Update` as it arrives: a vector, shape (d,), of which nothing is known."""

    agreement: str
    round: int
    member: str
    values: Vector
    signature: str = ""
    digest: str = field(default="", init=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedMasked:
    """A :class:`MaskedUpdate` as it arrives.

    Attributes:
        values: modulo 2^32, shape (d,); read-only, in the memory of the bytes that arrived.
    """

    agreement: str
    round: int
    plan: str
    member: str
    transcript: str
    sharers: str
    values: NDArray[np.uint32] = field(repr=False)
    signature: str = ""
    digest: str = field(default="", init=False, repr=False)


Plain = (
    Plan
    | Refusal
    | Keys
    | KeyBook
    | Shares
    | ShareDelivery
    | SurvivorList
    | Confirmation
    | ConfirmationList
    | Reveal
)
Message = Plain | Update | MaskedUpdate
Received = Plain | ReceivedUpdate | ReceivedMasked
