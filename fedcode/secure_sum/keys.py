# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Digests and keys of a sum: every one under a label of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcode.secure_sum.session import Session
from fedcode.wire import Keys, attested

_PROTOCOL = "fedcode-secagg/1"
_NONCE = bytes(12)
_ORDER = (1 << 255) - 19
_PROBE = X25519PrivateKey.from_private_bytes(bytes(32))  # clamped, as every one is


def commitment(session: Session, index: int, seed: bytes | bytearray) -> str:
    """What pins the seed of a member's own mask: a wrong share ends in an error, not in a sum."""
    where = bytes.fromhex(session.agreement) + session.round.to_bytes(4, "big")
    return _digest("self", where, bytes.fromhex(session.plan), bytes([index]), seed)


def transcript(keys: Iterable[Keys]) -> str:
    """T: all that was signed in the first step, signatures included, in the book's order."""
    return _digest("transcript", *(attested(one) for one in keys))


def sharers_digest(transcript: str, names: Iterable[str]) -> str:
    """Names those between whom there are masks."""
    return _digest("sharers", bytes.fromhex(transcript), *_names(names))


def survivors_digest(transcript: str, sharers: str, names: Iterable[str]) -> str:
    """Names those whose terms are in the sum: what a member's latch holds."""
    found = bytes.fromhex(transcript) + bytes.fromhex(sharers)
    return _digest("survivors", found, *_names(names))


def private_key(data: bytes | bytearray) -> X25519PrivateKey:
    """An X25519 private key; the library wipes its own copy."""
    return X25519PrivateKey.from_private_bytes(data)


def public_of(data: bytes | bytearray) -> str:
    """The X25519 public key of a private one, in hexadecimal."""
    return private_key(data).public_key().public_bytes_raw().hex()


def usable(public: str) -> bool:
    """Whether a key is in its one form, and secrets with it are secret."""
    data = bytes.fromhex(public)
    if int.from_bytes(data, "little") >= _ORDER:
        return False
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(data))
    except ValueError:  # all zeros: a point of low order
        return False
    return True


def mask_key(
    private: X25519PrivateKey, public: str, transcript: str, one: int, other: int
) -> bytearray:
    """k_ij: the key of the mask between two members, the same for both.

    Args:
        private: the masking key of one of them.
        public: that of the other one, :func:`usable`.
        transcript: T.
        one: the index of either.
        other: the index of the other one.
    """
    return _derived(private, public, transcript, "mask", bytes([min(one, other), max(one, other)]))


def seal(
    private: X25519PrivateKey,
    public: str,
    transcript: str,
    way: tuple[int, int],
    text: bytes | bytearray,
) -> bytes:
    """Encrypts one member's shares for another one.

    Args:
        private: the sender's sharing key.
        public: the recipient's, :func:`usable`.
        transcript: T.
        way: the indices of sender and recipient.
        text: what is encrypted under the key of this way, which encrypts nothing else.
    """
    key = _derived(private, public, transcript, "share", bytes(way))
    return ChaCha20Poly1305(key).encrypt(_NONCE, text, bytes.fromhex(transcript) + bytes(way))


def unseal(
    private: X25519PrivateKey, public: str, transcript: str, way: tuple[int, int], data: bytes
) -> bytearray | None:
    """What :func:`seal` encrypted, with the recipient's private key; None for anything else."""
    key = _derived(private, public, transcript, "share", bytes(way))
    aad = bytes.fromhex(transcript) + bytes(way)
    try:
        return bytearray(ChaCha20Poly1305(key).decrypt(_NONCE, data, aad))
    except InvalidTag:
        return None


def _derived(
    private: X25519PrivateKey, public: str, transcript: str, use: str, who: bytes
) -> bytearray:
    secret = private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    info = f"{_PROTOCOL}/{use}".encode() + who
    return bytearray(HKDF(hashes.SHA256(), 32, bytes.fromhex(transcript), info).derive(secret))


def _digest(use: str, *parts: bytes | bytearray) -> str:
    label = f"{_PROTOCOL}/{use}".encode()
    state = hashlib.sha256(len(label).to_bytes(2, "big") + label)
    for part in parts:
        state.update(part)
    return state.hexdigest()


def _names(names: Iterable[str]) -> list[bytes]:
    return [bytes([len(name)]) + name.encode() for name in names]
