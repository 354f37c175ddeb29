# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory a piece of training takes: measured, not guessed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ENOUGH = {"cpu": 64, "cuda": 1024}
"""Records in memory together, beyond which steps become no faster."""


def peak(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes that ``work`` holds in new tensors at one time.

    On a processor they are counted as they come and go: the same work, the same number.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
    with _Counted() as counted:
        work()
    return int(counted.most)


def fitting(step: Callable[[int], object], room: int, device: torch.device) -> int:
    """How many records a step may have in memory: the largest power of two that stays in ``room``.

    Args:
        step: takes a number of records through one step.
        room: bytes.
        device: where.
    """
    most = ENOUGH[device.type]
    few, more = 1, 4
    first = peak(partial(step, few), device)
    each = max(1.0, (peak(partial(step, more), device) - first) / (more - few))
    size = 1
    while 2 * size <= most and first + each * (2 * size - few) <= room:
        size *= 2
    while size > more and peak(partial(step, size), device) > room:
        size //= 2
    return size


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make, for as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._living: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        del types
        before = {_storage(each) for each in tree_leaves((args, kwargs)) if _holds(each)}
        found = func(*args, **(kwargs or {}))
        for each in tree_leaves(found):
            if _holds(each) and (own := _storage(each)) not in before:
                self._living.setdefault(own, each.untyped_storage().nbytes())
        self._living = {own: size for own, size in self._living.items() if not own.expired()}  # type: ignore[no-untyped-call]
        self.most = max(self.most, sum(self._living.values()))
        return found


def _holds(each: object) -> bool:
    return isinstance(each, Tensor) and each.device.type != "meta"


def _storage(each: Tensor) -> StorageWeakRef:
    return StorageWeakRef(each.untyped_storage())  # type: ignore[no-untyped-call]
