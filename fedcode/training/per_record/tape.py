# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the layers note during one forward and backward pass, by parameter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from fedcode.errors import TrainingError
from fedcode.training.per_record.outer import (
    Contribution,
    Outer,
    Samples,
    prefers_gram,
    squared_norms,
)

PLACES = 64
"""Of a typical record, where nobody says how many it has."""

_PIECE = 1 << 21  # numbers in a piece of gradients written out

Keep = Literal["norms", "samples", "sums"]
"""What is wanted of a batch: the norms of the records' gradients and then their weighted sum; the
gradients themselves; or, without privacy, their plain sum, which is made at once."""


class Buffers:
    """Large tensors that one batch leaves to the next: fresh memory costs more than it seems."""

    def __init__(self) -> None:
        self._all: list[Tensor] = []
        self._taken = 0

    def free(self) -> None:
        """All are free again."""
        self._taken = 0

    def take(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """One that is free, of this shape, with anything in it."""
        size = math.prod(shape)
        if self._taken == len(self._all):
            self._all.append(like.new_empty(size))
        held = self._all[self._taken]
        if held.numel() < size or held.dtype != like.dtype or held.device != like.device:
            held = self._all[self._taken] = like.new_empty(size)
        self._taken += 1
        return held[:size].view(shape)


class Tape:
    """One batch's gradients, each record's apart, in whatever form is cheapest.

    Args:
        parameters: those that are trained.
        batch: records in the batch; None where only sums are wanted: any tensor will do.
        keep: what is wanted.
        buffers: large tensors from the tape before, which is used up.
        places: of a typical record.
        faces: of parameters that go by another tensor outside of their layers, that tensor.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        batch: int | None,
        keep: Keep,
        buffers: Buffers,
        places: int,
        faces: Mapping[Tensor, Tensor] | None = None,
    ) -> None:
        self._faces = faces or {}
        self.batch = batch
        self.keep = keep
        self._places = places
        self._buffers = buffers
        buffers.free()
        self._parameters = tuple(parameters)
        self._wanted: frozenset[Tensor] = frozenset(parameters)
        self._uses: Counter[Tensor] = Counter()
        self._parts: dict[Tensor, list[Contribution]] = {}
        self._sums: dict[Tensor, Tensor] = {}
        self._squares: dict[Tensor, Tensor] = {}
        where = parameters[0].device if parameters else None
        self.anchor = torch.zeros((), requires_grad=True, device=where)

    @property
    def units(self) -> int:
        """Records in the batch."""
        if self.batch is None or self.keep == "sums":
            raise TrainingError("records were not told apart")
        return self.batch

    def wants(self, parameter: Tensor | None) -> bool:
        """Whether ``parameter`` is trained."""
        return self._face(parameter) in self._wanted

    def expect(self, *parameters: Tensor | None) -> None:
        """Announces, in the forward pass, one use of each: :meth:`add` will follow."""
        self._uses.update(p for p in map(self._face, parameters) if p in self._wanted)

    def add(self, parameter: Tensor | None, part: Callable[[], Contribution]) -> None:
        """Notes one use's gradient, in the backward pass, if ``parameter`` is trained.

        The last of the uses that were announced settles the parameter: its norms are computed
        while what they are made of is still in the processor's caches.
        """
        parameter = self._face(parameter)
        if parameter is None or parameter not in self._wanted:
            return
        if self.keep == "sums":
            self._sums[parameter] = part().total(None, self._sums.get(parameter))
            return
        parts = self._parts.setdefault(parameter, [])
        parts.append(part())
        if len(parts) == self._uses[parameter] and self.keep == "norms":
            self._settle(parameter)

    def _face(self, parameter: Tensor | None) -> Tensor | None:
        return None if parameter is None else self._faces.get(parameter, parameter)

    def buffer(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Memory with anything in it, for as long as this tape is in use."""
        return self._buffers.take(shape, like)

    def watch(
        self,
        compute: Callable[[], Tensor],
        inputs: Sequence[Any],
        note: Callable[[Tensor], None],
    ) -> Tensor:
        """What ``compute`` gives, of which ``note`` is told the gradient in the backward pass.

        Args:
            compute: the layer's own forward pass; its weights do not require gradients.
            inputs: what entered the layer.
            note: called with the gradient, of the output's shape.
        """
        if not torch.is_grad_enabled():
            return compute()
        if any(isinstance(i, Tensor) and i.requires_grad for i in inputs):
            output = _own(compute())
            output.register_hook(note)  # type: ignore[no-untyped-call]
            return output
        return cast("Tensor", _Watched.apply(self.anchor, compute, note))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def squares(self) -> Tensor:
        """Squared norms of every parameter's gradients, shape (parameters, batch).

        They are never too small, but for the rounding of the gradients themselves.
        """
        if self.keep != "norms":
            raise TrainingError(f"norms were not kept, but {self.keep}")
        for parameter in list(self._parts):
            self._settle(parameter)
        none = torch.zeros(self.units, device=self.anchor.device)
        return torch.stack([self._squares.get(p, none) for p in self._parameters])

    @torch.no_grad()
    def gather(self, owners: Tensor, totals: Sequence[Tensor]) -> None:
        """Adds every record's gradient to its owner's.

        Args:
            owners: of each record the number of its owner, shape (batch,).
            totals: of every parameter one tensor, shape (owners, *shape).
        """
        for parameter, total in zip(self._parameters, totals, strict=True):
            for records in self._pieces(parameter):
                for part in self._parts.get(parameter, ()):
                    found = part.samples(records)
                    total.index_add_(0, owners[records], found.view(-1, *parameter.shape))

    @torch.no_grad()
    def sums(self, factors: Tensor | None = None) -> list[Tensor]:
        """Every parameter's gradients times their factors, added up.

        Args:
            factors: finite, shape (batch,) or (parameters, batch). A record whose factor is 0 adds
                nothing, not even where its gradient is not finite. None where plain sums were kept.

        Returns:
            A tensor of each parameter's shape.
        """
        if factors is None:
            totals = [self._sums.get(p) for p in self._parameters]
        else:
            totals = list(self._weighted(factors.expand(len(self._parameters), -1)))
        return [
            torch.zeros_like(p) if total is None else total.view(p.shape)
            for p, total in zip(self._parameters, totals, strict=True)
        ]

    def _weighted(self, factors: Tensor) -> Iterator[Tensor | None]:
        none = (factors == 0).all(0)
        some = bool(none.any())
        for parameter, own in zip(self._parameters, factors, strict=True):
            total = None
            for part in self._parts.get(parameter, ()):
                total = (part.without(none) if some else part).total(own, total)
            yield total

    def _settle(self, parameter: Tensor) -> None:
        if parameter in self._squares:
            return
        parts = self._parts[parameter]
        outer = [part for part in parts if isinstance(part, Outer)]
        if len(outer) == len(parts) and self._by_gram(outer):
            self._squares[parameter] = squared_norms(outer)
            return
        only = parts[0]
        if len(parts) > 1 or isinstance(only, Outer):
            only = Samples(*self._written_out(parameter))
            self._parts[parameter] = [only]
        self._squares[parameter] = only.squared_norms()

    def by_gram(self, m: int, n: int, uses: int = 1) -> bool:
        """Whether the norms of gradients of (m, n) shall come from Gram matrices.

        Args:
            m: rows.
            n: columns.
            uses: of the weight.
        """
        return prefers_gram(uses * self._places, m, n)

    def _by_gram(self, parts: Sequence[Outer]) -> bool:
        if all(part.single for part in parts) or (len(parts) == 1 and parts[0].left.has_gram):
            return True
        return self.by_gram(parts[0].left.width, parts[0].right.width, len(parts))

    def _written_out(self, parameter: Tensor) -> Iterator[Tensor]:
        for records in self._pieces(parameter):
            found = [part.samples(records) for part in self._parts[parameter]]
            shape = (-1, *parameter.shape)
            yield sum((each.view(shape) for each in found[1:]), found[0].view(shape))

    def _pieces(self, parameter: Tensor) -> Iterator[slice]:
        """So many records at a time that an allocator keeps and reuses the memory."""
        size = max(1, _PIECE // parameter.numel())
        return (slice(start, start + size) for start in range(0, self.units, size))


def _own(output: Tensor) -> Tensor:
    """No view: where a later layer works in place on one, its gradient is not asked for."""
    return output.clone() if output._is_view() else output  # noqa: SLF001  no public name


class _Watched(torch.autograd.Function):
    """The output of a layer whose inputs need no gradient."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, compute: Callable[[], Tensor], note: Callable[[Tensor], None]
    ) -> Tensor:
        del anchor
        ctx.note = note
        return _own(compute())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        ctx.note(gradient)
        return None, None, None
