# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The exact bytes of messages, sealed: whoever reads the ledger cannot read them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedcode.errors import PrivacyError
from fedcode.privacy.ledger.chain import Chain, Entry

_NONCE = 12


class Seal:
    """AES-256-GCM under one key.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def fresh(cls) -> Self:
        """A key that nobody keeps."""
        return cls(os.urandom(32))

    @classmethod
    def beside(cls, ledger: Path) -> Self:
        """The key in the file beside ``ledger``, made where there is none; its owner's alone.

        Raises:
            PrivacyError: it cannot be read or made.
        """
        path = ledger.with_suffix(".key")
        try:
            if not path.exists():
                _make(path)
            return cls(path.read_bytes())
        except (OSError, ValueError) as error:
            raise PrivacyError(
                f"the ledger's key {path} cannot be used: {error}",
                "without it no message in the outbox can be sent again; move it away to go on",
            ) from error

    def seal(self, message: bytes, charge: str) -> bytes:
        """``message`` encrypted, and bound to the hash of the charge that paid for it."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, message, charge.encode())

    def open(self, sealed: bytes, charge: str) -> bytes:
        """What :meth:`seal` was given.

        Raises:
            PrivacyError: sealed under another key, for another charge, or damaged.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], charge.encode())
        except (InvalidTag, ValueError) as error:
            raise PrivacyError("a message in the outbox cannot be opened") from error


class Outbox:
    """The latest message of each asset and agreement, in the ledger's file.

    Args:
        chain: the file; writing is to be called inside its transaction.
        seal: encrypts what is in the outbox.
    """

    def __init__(self, chain: Chain, seal: Seal) -> None:
        self._chain, self._seal = chain, seal

    def put(self, charge: Entry, message: bytes) -> None:
        """Keeps ``message``, which ``charge`` paid for, in the place of an earlier round's."""
        whose = (charge.asset, charge.values["agreement"])
        self._chain.execute("DELETE FROM outbox WHERE asset = ? AND agreement = ?", whose)
        sealed = self._seal.seal(message, charge.hash)
        self._chain.execute("INSERT INTO outbox VALUES (?, ?, ?, ?)", (charge.seq, *whose, sealed))

    def get(self, charge: int) -> bytes | None:
        """The message that a charge paid for, if it is still there.

        Raises:
            PrivacyError: it cannot be opened.
        """
        kept = self._chain.query(
            "SELECT sealed, hash FROM outbox JOIN entries ON seq = charge WHERE charge = ?",
            (charge,),
        )
        return self._seal.open(*kept[0]) if kept else None

    def clear(self) -> None:
        """Drops everything."""
        self._chain.execute("DELETE FROM outbox")


def _make(path: Path) -> None:
    """Writes a new key; of several who do it at once, one wins and all use its key."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(os.urandom(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
