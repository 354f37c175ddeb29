# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that no device holds as a whole: torch's FSDP2, and what private training asks of it.

A sharded parameter has two faces. One is stored: this rank's part, a DTensor, which the optimizer
moves. The other is whole: what a layer sees while it computes, gathered before and freed after;
records' gradients are told apart by it. Without sharding both are the same tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from fedcode.errors import ConfigError, TrainingError
from fedcode.training.network import device, part_of


def sharded(model: nn.Module, blocks: Iterable[nn.Module]) -> nn.Module:
    """Shards ``model`` over all ranks, in place, once they have found one another.

    Args:
        model: with the same weights on all ranks, as far as they are not trained.
        blocks: parts of it of which one at a time shall be whole; what they leave is one more. A
            weight that several layers use must be in none of them, or all of its layers in one.

    Raises:
        ConfigError: there are no ranks.
    """
    if not dist.is_initialized():
        raise ConfigError("a network is sharded over ranks", "make them first: Distributed()")
    mesh = init_device_mesh(device().type, (dist.get_world_size(),))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def is_sharded(model: nn.Module) -> bool:
    """Whether any parameter is."""
    return any(isinstance(p, DTensor) for p in model.parameters())


def stored(model: nn.Module) -> list[nn.Parameter]:
    """The trained parameters, as this rank stores them."""
    return [p for p in model.parameters() if p.requires_grad]


def whole(model: nn.Module) -> list[nn.Parameter]:
    """The same parameters in the same order, as layers see them. All ranks ask at once.

    Raises:
        TrainingError: a parameter is sharded by other means.
    """
    found = {name: p for name, p in model.named_parameters() if not isinstance(p, DTensor)}
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.unshard()
            now = {n: p for n, p in model.named_parameters() if not isinstance(p, DTensor)}
            found = now | found
            module.reshard()
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if any(name not in found for name in names):
        raise TrainingError("a parameter is sharded otherwise than by fully_shard")
    return [found[name] for name in names]


def kind(module: nn.Module) -> type[nn.Module]:
    """The module's own class, which sharding hides behind one that it makes."""
    own = type(module)
    if not isinstance(module, FSDPModule):
        return own
    return next(c for c in own.__mro__[1:] if issubclass(c, nn.Module))


def hand_out(whole: Sequence[nn.Parameter], stored: Sequence[nn.Parameter]) -> None:
    """Gives each rank its part of rank 0's gradients, one parameter after another."""
    for parameter, part in zip(whole, stored, strict=True):
        if parameter is not part:
            gradient = parameter.grad
            if gradient is None:  # on the other ranks
                gradient = torch.zeros(parameter.shape, device=parameter.device)
            parameter.grad, part.grad = None, part_of(gradient, part)
