# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Named tensors and one flat vector: the form in which weights are summed, masked and sent.

Weights are stored as safetensors and as nothing else: reading them runs no code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fedcode.errors import RunError, TrainingError
from fedcode.storage import write_atomically

Vector = NDArray[np.float32]
"""All trainable weights, concatenated in the order of their names' layout: shape (d,)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which tensor stands where in the vector.

    Attributes:
        shapes: name and shape of each tensor, in order.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.float32]]) -> Layout:
        """The layout of ``tensors``, in their own order."""
        return cls(tuple((name, tuple(t.shape)) for name, t in tensors.items()))

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(prod(shape) for _, shape in self.shapes)

    def flatten(self, tensors: Mapping[str, NDArray[np.float32]]) -> Vector:
        """Concatenates ``tensors``; their names and shapes must be the layout's."""
        if Layout.of(tensors) != self:
            raise TrainingError("the tensors do not have the layout's names and shapes")
        return np.concatenate([np.ravel(t) for t in tensors.values()]).astype(np.float32)

    def unflatten(self, vector: Vector) -> dict[str, NDArray[np.float32]]:
        """The named tensors, as views into ``vector``."""
        if vector.shape != (self.size,):
            raise TrainingError(f"a vector of {self.size} weights was expected, not {vector.shape}")
        tensors, start = {}, 0
        for name, shape in self.shapes:
            end = start + prod(shape)
            tensors[name] = vector[start:end].reshape(shape)
            start = end
        return tensors


def digest(vector: Vector) -> str:
    """SHA-256 of the vector's bytes, little-endian float32."""
    return hashlib.sha256(np.ascontiguousarray(vector, dtype="<f4").tobytes()).hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Writes ``tensors`` to ``path`` as safetensors, all or nothing."""
    write_atomically(path, save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))


def load_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads what :func:`save_tensors` wrote."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as safetensors", "is the file complete?") from error
