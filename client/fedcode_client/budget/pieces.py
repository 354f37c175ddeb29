# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Messages that are larger than gRPC should carry at once, in pieces."""

from __future__ import annotations

from collections.abc import Iterator

from fedcode.errors import PrivacyError

PIECE = 4 << 20
"""Bytes."""

CARRIED = PIECE + (64 << 10)
"""Bytes of the largest thing that is sent at once."""

LARGEST = 512 << 20
"""Bytes of a message that the ledger keeps."""

_SLOWEST = 8 << 20  # bytes a second


def cut(message: bytes) -> Iterator[bytes]:
    """The pieces, in order."""
    view = memoryview(message)
    for start in range(0, len(message), PIECE):
        yield bytes(view[start : start + PIECE])


def check_size(size: int) -> None:
    """Whether a message of ``size`` bytes is kept at all.

    Raises:
        PrivacyError: it is not.
    """
    if size > LARGEST:
        raise PrivacyError(f"a message of {size} bytes is more than {LARGEST}")


def joined(size: int, pieces: Iterator[bytes]) -> bytes:
    """The message of ``size`` bytes, which are never more in memory than there should be.

    Raises:
        PrivacyError: the pieces are more or less than that.
    """
    check_size(size)
    whole = bytearray()
    for piece in pieces:
        if len(whole) + len(piece) > size:
            raise PrivacyError("a message is longer than it was said to be")
        whole += piece
    if len(whole) != size:
        raise PrivacyError("a message is shorter than it was said to be")
    return bytes(whole)


def seconds(size: int) -> float:
    """That a message of ``size`` bytes may take beside what any call may."""
    return size / _SLOWEST
