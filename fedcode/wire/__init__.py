# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What travels: a closed set of messages in strict, bounded, versioned bytes."""

from fedcode.wire.messages import Message, Plan, Refusal, RefusalCode, Update, decode, encode

__all__ = ["Message", "Plan", "Refusal", "RefusalCode", "Update", "decode", "encode"]
