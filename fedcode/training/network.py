# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A network's trainable weights as one flat vector, and back."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from fedcode.errors import TrainingError
from fedcode.federation import Precision
from fedcode.weights import Layout, Vector


def device() -> torch.device:
    """The device to train on: CUDA where there is one; that of its own under ``torchrun``."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = os.environ.get("LOCAL_RANK")
    if local is None:
        return torch.device("cuda")
    return torch.device("cuda", int(local) % torch.cuda.device_count())


def products(precision: Precision) -> torch.autocast:
    """A context in which a network multiplies in ``precision``."""
    return torch.autocast(device().type, torch.bfloat16, enabled=precision == "bfloat16")


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name; tied weights appear once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def layout(model: nn.Module) -> Layout:
    """Where each trainable tensor stands in the flat vector."""
    return Layout(tuple((name, tuple(p.shape)) for name, p in trainable(model).items()))


def part_of(values: Tensor, parameter: Tensor) -> Tensor:
    """What this rank stores of rank 0's ``values``, if ``parameter`` is sharded.

    Args:
        values: of the whole parameter's shape; only rank 0's count.
        parameter: as it is stored.
    """
    if not isinstance(parameter, DTensor):
        return values
    return distribute_tensor(values, parameter.device_mesh, parameter.placements)


def of_all(parameter: Tensor) -> Tensor:
    """The whole of what is stored. All ranks ask at once."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


def read(model: nn.Module) -> Vector:
    """The trainable weights, shape (d,). Of a sharded network all ranks read at once."""
    parts = [of_all(p.detach()).cpu().numpy().ravel() for p in trainable(model).values()]
    return np.concatenate(parts).astype(np.float32)


def write(model: nn.Module, vector: Vector) -> None:
    """Sets the trainable weights to ``vector`` of shape (d,).

    All ranks write to a sharded network at once, and rank 0's vector counts.
    """
    tensors = layout(model).unflatten(vector)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            values = torch.from_numpy(np.ascontiguousarray(tensors[name]))
            parameter.copy_(part_of(values, parameter))


def tensors(model: nn.Module) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """All weights by name, trainable or not, for safetensors."""
    return {name: p.detach().cpu().numpy().copy() for name, p in model.named_parameters()}


def load(
    model: nn.Module, values: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]
) -> None:
    """Sets all weights to ``values``, whose names and shapes must be the network's."""
    own = dict(model.named_parameters())
    if {k: tuple(v.shape) for k, v in own.items()} != {k: v.shape for k, v in values.items()}:
        raise TrainingError("these weights belong to another network")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(values[name])))
