# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Secrets from shares of which some may be wrong: what a secret must be is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, islice

from fedcode.errors import SecureSumError
from fedcode.secure_sum import shamir

MOST_SETS = 200
"""Of holders, that are tried: all there are for one wrong share among up to 100 members."""


def recovered(
    threshold: int,
    shares: Mapping[int, Mapping[str, str]],
    fits: Callable[[str, bytearray], bool],
) -> dict[str, bytearray]:
    """The secrets that fit, by owner; of some owners there may be none.

    Whoever reveals or deals a wrong share ends a sum only where there are no others to take.

    Args:
        threshold: t, the shares that make a secret.
        shares: by the holder's index, then by owner, in hexadecimal.
        fits: whether a secret is the owner's.
    """
    left = {owner for held in shares.values() for owner in held}
    found: dict[str, bytearray] = {}
    for holders in _sets(sorted(shares), threshold):
        weights = shamir.weights_at_zero(holders)
        for owner in sorted(left):
            parts = [bytes.fromhex(shares[holder][owner]) for holder in holders]
            try:
                secret = shamir.combine(parts, weights)
            except SecureSumError:
                continue
            if fits(owner, secret):
                found[owner] = secret
        left -= found.keys()
        if not left:
            break
    return found


def _sets(holders: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """Sets of so many holders: those who stand next to one another in a ring, then any."""
    ring = (*holders, *holders)
    around = (ring[start : start + size] for start in range(len(holders)))
    return islice(chain(around, combinations(holders, size)), MOST_SETS)
