# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Our own errors as gRPC carries them, and back: each kind as the same kind.

Both sides are one organization's, so that our own messages pass, with their hints: an officer must
read why. What is not ours never does (``fedcode.services.serving``).
"""

from __future__ import annotations

import json

import grpc

from fedcode.errors import (
    BudgetExhausted,
    ConfigError,
    FedcodeError,
    LedgerDamaged,
    LedgerUnreachable,
    PolicyRefusal,
    PrivacyError,
    UsageError,
)
from fedcode.services.serving import Refused

_LONGEST = 2000
_KINDS = (BudgetExhausted, PolicyRefusal, LedgerDamaged, PrivacyError, ConfigError)

LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
    }
)
"""What says nothing of whether a call has been done: it can be asked again."""


def refused(error: FedcodeError) -> Refused:
    """What leaves of one of our errors.

    One code for all: gRPC itself has uses for the others, and a message that is too large must
    not be taken for a budget that is exhausted.
    """
    kinds = [kind for kind in _KINDS if isinstance(error, kind)]
    kind = kinds[0] if kinds else ConfigError if isinstance(error, UsageError) else PrivacyError
    words = {"kind": kind.__name__, "text": str(error)[:_LONGEST], "hint": error.hint[:_LONGEST]}
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, json.dumps(words))


def told(error: grpc.RpcError) -> FedcodeError:
    """The error that :func:`refused` was given, or what else has happened."""
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return PrivacyError("the budget service does not permit this to our certificate")
    if error.code() in LOST:
        return LedgerUnreachable(
            "the budget service does not answer", "is `fedcode-client budget serve` running?"
        )
    try:
        words = json.loads(error.details() or "")
        kind = next(kind for kind in _KINDS if kind.__name__ == words["kind"])
        return kind(str(words["text"]), str(words["hint"]))
    except (ValueError, KeyError, TypeError, StopIteration):
        return PrivacyError(f"the budget service has failed: {error.code().name}")
