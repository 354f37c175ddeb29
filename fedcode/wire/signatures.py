# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One scheme for all messages: Ed25519, each kind under a domain of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from fedcode.signing import SigningKey, signed
from fedcode.wire.codec import statement
from fedcode.wire.messages import Message, Received

Sent = TypeVar("Sent", bound=Message)


def sign(message: Sent, key: SigningKey) -> Sent:
    """``message`` with the signature of ``key``."""
    return replace(message, signature=key.sign(*statement(message)))


def verified(message: Message | Received, public: str) -> bool:
    """Whether the owner of the key ``public`` has signed ``message``."""
    return signed(public, message.signature, *statement(message))
