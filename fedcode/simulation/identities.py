# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The keys that play the parties of a simulation: from its seed, so that a run can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcode.identity import Roster
from fedcode.signing import SigningKey

_COORDINATOR = "coordinator/"  # no member's name: those have no slash


def key_of(seed: int, name: str) -> SigningKey:
    """The key of a party; whoever knows the seed can make it."""
    info = b"fedcode/simulated identity/1\x00" + f"{seed}/{name}".encode()
    secret = HKDF(SHA256(), length=32, salt=None, info=info).derive(b"simulation")
    return SigningKey(Ed25519PrivateKey.from_private_bytes(secret))


def coordinator_of(seed: int) -> SigningKey:
    """The coordinator's key."""
    return key_of(seed, _COORDINATOR)


def roster_of(federation: str, seed: int, names: Sequence[str]) -> Roster:
    """The only epoch of a simulation's roster."""
    keys: Mapping[str, str] = {name: key_of(seed, name).public for name in sorted(names)}
    return Roster(federation, 1, "", coordinator_of(seed).public, tuple(keys.items()))
