# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Heads of a ledger, signed by somebody who keeps them elsewhere.

A ledger that is set back to an earlier state (a restored snapshot, a copy of last week's file) is
whole in itself. Whoever signed a later head remembers that there was one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from fedcode.errors import PrivacyError
from fedcode.signing import SigningKey, signed

DOMAIN = "fedcode/head/1"


@dataclass(frozen=True, slots=True)
class CountersignedHead:
    """A witness saw this ledger with this head. It says nothing of what is in the ledger.

    Attributes:
        ledger: the hash of the ledger's first row.
        head: the hash of its last row then.
        witness: public Ed25519 key.
        signature: of the above.
    """

    ledger: str
    head: str
    witness: str
    signature: str

    @classmethod
    def make(cls, ledger: str, head: str, key: SigningKey) -> Self:
        """What a witness answers when it is shown a head; it keeps the last one of each ledger."""
        return cls(ledger, head, key.public, key.sign(DOMAIN, _content(ledger, head)))

    def check(self, witnesses: frozenset[str]) -> None:
        """Whether one of ``witnesses`` has signed it.

        Raises:
            PrivacyError: it has not.
        """
        data = _content(self.ledger, self.head)
        if self.witness not in witnesses or not signed(self.witness, self.signature, DOMAIN, data):
            raise PrivacyError("a head is not signed by a witness that we know")

    def plain(self) -> dict[str, Any]:
        """As rows of the ledger have it."""
        return {"head": self.head, "witness": self.witness, "signature": self.signature}


def _content(ledger: str, head: str) -> bytes:
    return f"{ledger}\n{head}".encode()
