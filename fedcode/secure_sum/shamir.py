# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Shamir's secret sharing of 32 bytes, over the integers modulo a prime just above 2^256.

The secret is the value at 0 of a polynomial of degree t - 1 with uniform coefficients; the share
of a holder is the value at its index, from 1, in 33 bytes, big-endian.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedcode.errors import SecureSumError
from fedcode.secure_sum import randomness

PRIME = (1 << 256) + 297
"""The smallest prime above 2^256."""

SECRET, SHARE = 32, 33
"""Lengths in bytes."""


def split(secret: bytes | bytearray, threshold: int, holders: int) -> list[bytearray]:
    """The shares of holders 1 to ``holders``; any ``threshold`` of them give the secret."""
    if len(secret) != SECRET or not 1 <= threshold <= holders < PRIME:
        raise SecureSumError("a secret is of 32 bytes, and its threshold at most its holders")
    polynomial = [randomness.below(PRIME) for _ in range(threshold - 1)]
    polynomial.append(int.from_bytes(secret, "big"))
    shares = []
    for x in range(1, holders + 1):
        value = 0
        for coefficient in polynomial:
            value = (value * x + coefficient) % PRIME
        shares.append(bytearray(value.to_bytes(SHARE, "big")))
    return shares


def weights_at_zero(holders: Sequence[int]) -> list[int]:
    """Lagrange's coefficients: the secret is their product with the shares of ``holders``."""
    found = []
    for own in holders:
        above, below = 1, 1
        for other in holders:
            if other != own:
                above = above * other % PRIME
                below = below * (other - own) % PRIME
        found.append(above * pow(below, -1, PRIME) % PRIME)
    return found


def combine(shares: Sequence[bytes], weights: Sequence[int]) -> bytearray:
    """The secret of which these are shares, with the ``weights`` of their holders.

    Raises:
        SecureSumError: they are shares of no 32 bytes.
    """
    total = 0
    for share, weight in zip(shares, weights, strict=True):
        total = (total + int.from_bytes(share, "big") * weight) % PRIME
    if total >> 8 * SECRET:
        raise SecureSumError("the shares are those of no secret")
    return bytearray(total.to_bytes(SECRET, "big"))


def is_share(share: bytes | bytearray) -> bool:
    """Whether ``share`` is an element of the field, in its one form."""
    return len(share) == SHARE and int.from_bytes(share, "big") < PRIME
