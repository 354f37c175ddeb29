# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What travels: a closed set of signed messages in strict, bounded, versioned bytes."""

from fedcode.wire.codec import agreement_of, attested, decode, encode
from fedcode.wire.messages import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Keys,
    MaskedUpdate,
    Message,
    Plan,
    Received,
    ReceivedMasked,
    ReceivedUpdate,
    Refusal,
    RefusalCode,
    Reveal,
    ShareDelivery,
    Shares,
    SurvivorList,
    Update,
)
from fedcode.wire.signatures import sign, verified

__all__ = [
    "Confirmation",
    "ConfirmationList",
    "KeyBook",
    "Keys",
    "MaskedUpdate",
    "Message",
    "Plan",
    "Received",
    "ReceivedMasked",
    "ReceivedUpdate",
    "Refusal",
    "RefusalCode",
    "Reveal",
    "ShareDelivery",
    "Shares",
    "SurvivorList",
    "Update",
    "agreement_of",
    "attested",
    "decode",
    "encode",
    "sign",
    "verified",
]
