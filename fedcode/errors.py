# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Every exception that fedcode raises on purpose.

FedcodeError
├── UsageError              a person can mend it: one line, a hint, exit code 2
│   ├── ConfigError         a federation, task or policy that cannot be
│   ├── CorpusError         source code that cannot be read as asked
│   ├── DataRefused         data that fails a test, and that nobody has accepted
│   ├── CacheDamaged        a cached file that is not what was written
│   ├── RunError            a result folder that cannot be written, resumed or shown
│   ├── MembershipError     an invitation or membership that cannot be made or used
│   └── Interrupted         stopped by a person; the run can be continued
├── PrivacyError            a step that would break the guarantee: nothing leaves
│   ├── BudgetExhausted     the ledger refuses the charge
│   ├── PolicyRefusal       the organization's policy does not permit it
│   ├── OutOfRange          a release that does not fit into the integers of a sum
│   ├── LedgerDamaged       a ledger whose rows do not chain
│   └── LedgerUnreachable   a ledger in another process that does not answer
├── SecureSumError          a secure sum that ends without a total: no term is revealed
│   └── Misbehaviour        and who is to blame for it, by their own signature
├── TrainingError           numbers that are not finite, weights that do not fit
├── WireError               bytes that are not one of our messages
├── TransportError          the other side cannot be reached now: try again
└── TransportRefusal        the other side does not take it, and will not
"""

from __future__ import annotations

from typing import Any


class FedcodeError(Exception):
    """Base of all errors here.

    Args:
        message: one line, no capital at the start, no full stop at the end.
        hint: what the reader can do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[type[FedcodeError], tuple[Any, ...]]:
        """Errors cross process boundaries with their hints."""
        return type(self), (str(self), self.hint)


class UsageError(FedcodeError):
    """Something that a person can mend: shown as one line and a hint, exit code 2."""


class ConfigError(UsageError):
    """A federation, task or policy that cannot be."""


class CorpusError(UsageError):
    """Source code that cannot be read as asked."""


class DataRefused(UsageError):
    """Our data fails a test, and nobody has accepted that: it is not trained on."""


class CacheDamaged(UsageError):
    """A cached file that is not what was written."""


class RunError(UsageError):
    """A result folder that cannot be written, resumed or shown."""


class MembershipError(UsageError):
    """An invitation or membership that cannot be made or used."""


class Interrupted(UsageError):
    """Stopped by a person; what was finished is kept."""


class PrivacyError(FedcodeError):
    """A step that would break the guarantee was asked for; nothing was released."""


class BudgetExhausted(PrivacyError):
    """The next charge would pass the budget."""


class PolicyRefusal(PrivacyError):
    """The organization's policy does not permit the round."""


class OutOfRange(PrivacyError):
    """A release that does not fit into the integers of a sum; told from its noised values."""


class LedgerDamaged(PrivacyError):
    """The ledger's rows do not chain, or are not what this version writes."""


class LedgerUnreachable(PrivacyError):
    """The process that has the ledger does not answer; what was asked of it may have been done."""


class SecureSumError(FedcodeError):
    """A secure sum ends without a total; no term is revealed."""


class Misbehaviour(SecureSumError):
    """Somebody broke the protocol, and has signed what proves it.

    Args:
        culprit: whose signatures prove it: a member's name, or ``coordinator``.
        message: one line.
        evidence: the signed messages, as they arrived.
    """

    def __init__(self, culprit: str, message: str, evidence: tuple[bytes, ...]) -> None:
        super().__init__(message)
        self.culprit, self.evidence = culprit, evidence

    def __reduce__(self) -> tuple[type[FedcodeError], tuple[Any, ...]]:
        """With its evidence."""
        return type(self), (self.culprit, str(self), self.evidence)


class TrainingError(FedcodeError):
    """Training produced something that must not be used: a loss or weight that is not finite."""


class WireError(FedcodeError):
    """Bytes that are not one of our messages."""


class TransportError(FedcodeError):
    """The other side cannot be reached now; the same may be tried again."""


class TransportRefusal(FedcodeError):
    """The other side does not take it: who sends it is not let in, or nobody waits for it."""
