# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Masks: the keystreams of AES-256 in counter mode, added up modulo 2^32."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

_WORDS = 1 << 15  # at once: sum and keystream stay in the cache
_ZEROS = memoryview(bytes(4 * _WORDS))


def add_masks(
    total: NDArray[np.uint32],
    added: Iterable[bytes | bytearray],
    subtracted: Iterable[bytes | bytearray],
) -> None:
    """Adds the keystreams of some keys to ``total``, shape (d,), and subtracts those of others.

    A keystream is little-endian words of 32 bits. Each key makes one keystream in its life, so that
    the counter starts at zero.
    """
    streams: list[tuple[CipherContext, np.ufunc]] = [(_keystream(key), np.add) for key in added]
    streams += [(_keystream(key), np.subtract) for key in subtracted]
    words = np.empty(_WORDS, "<u4")
    for start in range(0, total.size, _WORDS):
        part = total[start : start + _WORDS]
        mask = words[: part.size]
        zeros, into = _ZEROS[: 4 * part.size], mask.view(np.uint8).data
        for stream, operation in streams:
            stream.update_into(zeros, into)
            operation(part, mask, out=part)


def _keystream(key: bytes | bytearray) -> CipherContext:
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
