# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The only place where noise and sampling randomness is drawn.

AES-256 in counter mode under a fresh key of the operating system's: the stream cannot be told from
uniform bits without the key, which never leaves the object. Normal samples are made by the
Box-Muller transform over 53-bit uniforms. What is added to data are integers, so that no low bits
of a floating-point sum tell the data from the noise (Mironov 2012, "On significance of the least
significant bits for differential privacy").
"""

from __future__ import annotations

import math
import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from fedcode.errors import PrivacyError
from fedcode.privacy import _validate

_PAIRS = 1 << 15  # of normal samples made at once: their buffers stay in the cache
_ZEROS = bytes(16 * _PAIRS)
_ULP = 2.0**-53
_LARGEST_STD = 2.0**48  # nine deviations, which no sample reaches, are below 2^53


class SecureGenerator:
    """Cryptographically secure randomness for noise and sampling.

    One object, one process: a forked copy would draw the same stream and is refused.
    """

    def __init__(self) -> None:
        self._start(os.urandom(32))

    @property
    def seeded(self) -> bool:
        """Whether whoever knows a seed can draw the same numbers again."""
        return False

    def uniform(self, n: int) -> NDArray[np.float64]:
        """Uniform on the multiples of 2^-53 in [0, 1), shape (n,)."""
        out = np.empty(n)
        for start in range(0, n, 2 * _PAIRS):
            part = out[start : start + 2 * _PAIRS]
            np.multiply(self._integers(part.size), _ULP, out=part)
        return out

    def gaussian(self, n: int, std: float) -> NDArray[np.float64]:
        """Normal samples of mean 0 and standard deviation ``std``, shape (n,)."""
        _validate.positive(std=std)
        out = np.empty(n)
        for start in range(0, n, 2 * _PAIRS):
            self._box_muller(out[start : start + 2 * _PAIRS], std)
        return out

    def rounded_gaussian(self, n: int, std: float) -> NDArray[np.int64]:
        """Normal samples of mean 0 and standard deviation ``std``, rounded to integers, shape (n,).

        Added to an integer they are the same as a normal sample added to it and then rounded: the
        Gaussian mechanism, and post-processing.

        Raises:
            PrivacyError: ``std`` is so large that samples would not be exact integers.
        """
        if std > _LARGEST_STD:
            raise PrivacyError(f"noise of standard deviation {std:g} is too large for the lattice")
        out = np.empty(n, np.int64)
        for start in range(0, n, 2 * _PAIRS):
            part = out[start : start + 2 * _PAIRS]
            part[:] = np.rint(self.gaussian(part.size, std))
        return out

    def poisson_sample(self, population: int, rate: float) -> NDArray[np.int64]:
        """Takes each of ``range(population)`` with probability ``rate``, independently.

        Returns:
            The indices taken, ascending; there may be none.
        """
        _validate.rate(sampling_rate=rate)
        return np.flatnonzero(self.uniform(population) < rate).astype(np.int64)

    def _start(self, key: bytes) -> None:
        # A key is used for one stream only, so that a constant first counter block repeats nothing.
        self._stream: CipherContext = Cipher(
            algorithms.AES256(key), modes.CTR(bytes(16))
        ).encryptor()
        self._process = os.getpid()

    def _integers(self, n: int) -> NDArray[np.uint64]:
        """Uniform 53-bit integers, shape (n,), n <= 2 * _PAIRS."""
        if self._process != os.getpid():
            raise PrivacyError("a generator of another process would repeat that process' noise")
        words = np.empty(n, np.uint64)
        if n:
            self._stream.update_into(memoryview(_ZEROS)[: 8 * n], words.view(np.uint8).data)
        words >>= np.uint64(11)
        return words

    def _box_muller(self, out: NDArray[np.float64], std: float) -> None:
        half = (out.size + 1) // 2
        radius = self._integers(half).astype(np.float64)
        angle = self._integers(half).astype(np.float64)
        radius += 1.0  # in (0, 1] after scaling: the logarithm is finite
        radius *= _ULP
        np.log(radius, out=radius)
        radius *= -2.0
        np.sqrt(radius, out=radius)
        radius *= std
        angle *= 2 * math.pi * _ULP
        np.multiply(radius, np.cos(angle), out=out[:half])
        rest = out.size - half
        np.multiply(radius[:rest], np.sin(angle[:rest]), out=out[half:])
