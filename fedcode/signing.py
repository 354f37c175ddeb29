# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Ed25519 signatures, each under a domain of its own: one never passes for another."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from fedcode.errors import ConfigError

_PRIME = (1 << 255) - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_WEAK = {0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8}
"""The y-coordinates of Ed25519's points of low order."""


class SigningKey:
    """A private key; it is never printed and never leaves its owner's file."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, hint: str = "name an officer's key file") -> Self:
        """Reads what :meth:`save` wrote.

        Args:
            path: the file.
            hint: what to do where there is no key.

        Raises:
            ConfigError: the file cannot be read, or holds no key.
        """
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(path.read_bytes()))
        except FileNotFoundError as error:
            raise ConfigError(f"{path} is missing", hint) from error
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} holds no signing key", hint) from error

    def save(self, path: Path) -> None:
        """Writes the key, 32 bytes, to a new file that only its owner can read.

        Raises:
            ConfigError: there is a file already.
            OSError: it cannot be written.
        """
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError as error:
            raise ConfigError(
                f"{path} cannot be made: it is there", "name a file that is not there"
            ) from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._key.private_bytes_raw())
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @property
    def public(self) -> str:
        """The public key, 64 hexadecimal digits."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, domain: str, data: bytes) -> str:
        """The signature of ``data``, 128 hexadecimal digits."""
        return self._key.sign(_framed(domain, data)).hex()


def canonical(values: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no white space: equal values, equal bytes, which can be signed.

    Raises:
        ValueError: numbers that JSON does not have.
    """
    return json.dumps(
        values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def usable(public: str) -> bool:
    """Whether a key, 64 hexadecimal digits, is in its one form, and not of low order.

    Under a key of low order one signature fits many messages, and everybody can make it: it proves
    nothing. OpenSSL takes such keys.
    """
    y = int.from_bytes(bytes.fromhex(public), "little") & ((1 << 255) - 1)
    return y < _PRIME and y not in _WEAK


def signed(public: str, signature: str, domain: str, data: bytes) -> bool:
    """Whether ``signature`` is that of ``public``, :func:`usable`, on ``data`` in ``domain``."""
    try:
        if not usable(public):
            return False
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), _framed(domain, data))
    except (InvalidSignature, ValueError):
        return False
    return True


def _framed(domain: str, data: bytes) -> bytes:
    name = domain.encode()
    return len(name).to_bytes(2, "big") + name + data
