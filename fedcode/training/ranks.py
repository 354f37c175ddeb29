# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of one organization that train together, one for each device.

Rank 0 has the receipt, draws, adds the noise and releases. The others get indices and weights from
it and give back clipped sums: whatever passes between ranks stays inside the organization, and is
numbers in tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from fedcode.errors import ConfigError, TrainingError
from fedcode.training.network import device

Numbers = NDArray[np.int64]


class Ranks(Protocol):
    """What ranks say to one another. All of them call the same in the same order.

    Attributes:
        rank: this process' number.
        size: how many there are.
    """

    rank: int
    size: int

    def order(self, numbers: Numbers | None) -> Numbers:
        """What rank 0 gives, on all ranks. The others, which give None, may wait long for it."""
        ...

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Gives the tensors of all ranks the values of rank 0's."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """Around what each rank does by itself: where one fails, all do, before they go on.

        Raises:
            TrainingError: another rank failed, or fell out.
        """
        ...

    def agree(self, digest: bytes) -> bool:
        """Whether these bytes, of which all have equally many, are the same on all ranks."""
        ...

    def count(self, numbers: Sequence[float]) -> list[float]:
        """Each number's sum over the ranks, in their order, on all of them."""
        ...

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Adds the tensors of all ranks to those of rank 0, always in the same order.

        What the other ranks' tensors hold afterwards is of no use.
        """
        ...


class Alone:
    """One process, as nearly always."""

    rank = 0
    size = 1

    def order(self, numbers: Numbers | None) -> Numbers:
        """The numbers, which only rank 0 gives."""
        if numbers is None:
            raise ConfigError("rank 0 trains; only other ranks assist it")
        return numbers

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Nothing: there is nobody else."""

    def together(self) -> AbstractContextManager[None]:
        """Nothing: there is nobody else."""
        return nullcontext()

    def agree(self, digest: bytes) -> bool:
        """They are: there is nobody else."""
        del digest
        return True

    def count(self, numbers: Sequence[float]) -> list[float]:
        """The numbers."""
        return list(numbers)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Nothing: there is nobody else."""


class Distributed:
    """The processes that ``torchrun`` started: NCCL between GPUs, gloo for all the rest.

    As a context it ends well for all ranks or for none: where rank 0 leaves it by an exception, or
    any process dies, the others fail too.

    Args:
        timeout: how long a rank waits for the others' parts of a step.
        idle: how long the others wait for rank 0's next order, which may be a round away.
        store: where the ranks find one another; ``torchrun`` has it in the environment.
        rank: of this process; from the environment if it is -1.
        size: how many there are; from the environment if it is -1.

    Raises:
        ConfigError: not started as one of several processes.
    """

    def __init__(
        self,
        timeout: timedelta = timedelta(minutes=10),
        idle: timedelta = timedelta(days=7),
        store: str = "env://",
        rank: int = -1,
        size: int = -1,
    ) -> None:
        where = device()
        if where.type == "cuda":
            torch.cuda.set_device(where)
        try:
            both = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
            dist.init_process_group(both, store, timeout, size, rank)
        except ValueError as error:
            raise ConfigError(
                f"the ranks cannot find one another: {error}", "start them by torchrun"
            ) from error
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # Few numbers go by gloo even beside GPUs: it says at once when a peer is gone.
        self._groups = {
            "orders": dist.new_group(timeout=idle, backend="gloo"),
            "answers": dist.new_group(timeout=timeout, backend="gloo"),
            "tensors": dist.new_group(
                timeout=timeout, backend="nccl" if where.type == "cuda" else "gloo"
            ),
        }
        self._waited_for = False  # whether the others wait for orders, or soon will
        self._failed = False  # a round, and all ranks know
        self._lost = False  # a rank

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with suppress(TrainingError):  # whoever is gone already waits for nothing
                    self.dismiss()
        finally:
            self._groups.clear()  # so that connections end here, and the others see it
            dist.destroy_process_group()

    def dismiss(self) -> None:
        """On rank 0: the others need not wait for further orders of this training."""
        if self.rank == 0 and self._waited_for and not self._lost:
            self._waited_for = False
            with self._talking():
                self._give(np.zeros(0, np.int64))

    def order(self, numbers: Numbers | None) -> Numbers:
        """See :class:`Ranks`.

        Raises:
            TrainingError: on rank 0, if a rank has failed before: there is no next round.
            ConfigError: on the wrong rank.
        """
        if (numbers is None) == (self.rank == 0):
            raise ConfigError("rank 0 gives orders, and the other ranks wait for them")
        if self.rank == 0 and self._failed:
            raise TrainingError("a rank has failed", "start all of them again")
        with self._talking():
            return self._give(numbers)

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """See :class:`Ranks`."""
        with self._talking():
            for tensor in tensors:
                dist.broadcast(tensor, 0, group=self._groups["tensors"])

    @contextmanager
    def together(self) -> Iterator[None]:
        """See :class:`Ranks`."""
        try:
            yield
        except BaseException:
            self._failed = True
            self._gathered(torch.ones(1))
            raise
        if any(self._gathered(torch.zeros(1))):
            self._failed = True
            raise TrainingError("another rank has failed", "it says itself why")

    def agree(self, digest: bytes) -> bool:
        """See :class:`Ranks`. Where they are not, nobody goes on."""
        found = self._gathered(torch.frombuffer(bytearray(digest), dtype=torch.uint8))
        same = all(torch.equal(found[0], other) for other in found)
        self._failed, self._waited_for = self._failed or not same, same
        return same

    def count(self, numbers: Sequence[float]) -> list[float]:
        """See :class:`Ranks`."""
        found = self._gathered(torch.tensor(list(numbers), dtype=torch.float64))
        return [sum(map(float, column)) for column in zip(*found, strict=True)]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """See :class:`Ranks`. Pairs add up, then pairs of pairs, and so on."""
        reach = 1
        with self._talking():
            while reach < self.size and not self.rank % reach:
                if self.rank % (2 * reach):
                    for tensor in tensors:
                        dist.send(
                            tensor.contiguous(), self.rank - reach, group=self._groups["tensors"]
                        )
                elif self.rank + reach < self.size:
                    for tensor in tensors:
                        other = torch.empty_like(tensor, memory_format=torch.contiguous_format)
                        dist.recv(other, self.rank + reach, group=self._groups["tensors"])
                        tensor.add_(other)
                reach *= 2

    def _give(self, numbers: Numbers | None) -> Numbers:
        given = np.zeros(0, np.int64) if numbers is None else numbers
        length = torch.tensor([len(given)])
        dist.broadcast(length, 0, group=self._groups["orders"])
        if self.rank:
            given = np.empty(int(length), np.int64)
        if len(given):
            dist.broadcast(torch.from_numpy(given), 0, group=self._groups["orders"])
        return given

    def _gathered(self, own: Tensor) -> list[Tensor]:
        found = [torch.empty_like(own) for _ in range(self.size)]
        with self._talking():
            dist.all_gather(found, own, group=self._groups["answers"])
        return found

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Whatever goes wrong within, this rank and the others are no longer of one mind."""
        if self._lost:
            raise TrainingError("a rank has fallen out", "start all of them again")
        try:
            yield
        except BaseException as error:
            self._lost = True
            if isinstance(error, RuntimeError):
                raise TrainingError(
                    "another rank has fallen out, or did not answer in time",
                    "start all of them again",
                ) from error
            raise
