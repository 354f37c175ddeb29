# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where the secrets of a sum are drawn: from the operating system."""

from __future__ import annotations

import os


def fresh(size: int) -> bytearray:
    """Uniform bytes, which can be wiped."""
    return bytearray(os.urandom(size))


def below(limit: int) -> int:
    """A uniform integer from 0 to ``limit`` - 1, by rejection."""
    bits = (limit - 1).bit_length()
    while True:
        drawn = int.from_bytes(fresh(bits + 7 >> 3), "big") & (1 << bits) - 1
        if drawn < limit:
            return drawn


def wipe(secret: bytearray) -> None:
    """Overwrites ``secret`` where it stands."""
    secret[:] = bytes(len(secret))
