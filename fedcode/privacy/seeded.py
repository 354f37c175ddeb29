# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Noise that can be drawn again: for simulation only.

Whoever knows the seed can take the noise off a release, so nothing drawn here protects anybody. It
stands in a module of its own so that a program that handles real source code can be kept from it.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcode.privacy.noise import SecureGenerator


class SeededGenerator(SecureGenerator):
    """The same stream for the same seed and labels; independent streams for different ones.

    Args:
        seed: of the whole run.
        labels: what the stream is for, from the general to the special: task, organization, round.
    """

    def __init__(self, seed: int, *labels: str | int) -> None:
        info = b"fedcode/simulated noise/1"
        for label in (seed, *labels):
            text = f"{type(label).__name__}:{label}".encode()
            info += len(text).to_bytes(4, "big") + text
        self._start(HKDF(SHA256(), length=32, salt=None, info=info).derive(b"simulation"))

    @property
    def seeded(self) -> bool:
        """True: these numbers protect nobody."""
        return True
