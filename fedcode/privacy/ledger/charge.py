# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A charge, and what was answered for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge, as the ledger has it."""

    seq: int
    time: str
    asset: str
    agreement: str
    purpose: str
    task: str
    round: int
    cost_nano: int
    spent_nano: int
    noise_multiplier: float
    sampling_rate: float
    steps: int
    delta: float
    state: Literal["RESERVED", "ARMED", "SENT", "REFUNDED"]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class ChargeId:
    """Names a charge to the ledger, for a caller in another process.

    Such a caller asks again where an answer was lost: the same request, once more, changes nothing.

    Attributes:
        seq: the ledger's row.
        hash: of that row.
    """

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a round.

    Attributes:
        plan: digest of what was asked.
        message: the exact bytes; None where a later round's have taken their place.
    """

    plan: str
    message: bytes | None
