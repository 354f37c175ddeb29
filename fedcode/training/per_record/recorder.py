# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the rules in place of the layers' forward passes while a batch is recorded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from fedcode.errors import TrainingError
from fedcode.models.vocabulary import TokenLosses
from fedcode.training.per_record.outer import Samples
from fedcode.training.per_record.rules import Rule, batch_first, rules
from fedcode.training.per_record.tape import PLACES, Buffers, Keep, Tape
from fedcode.training.sharding import kind, stored, whole


class Recorder:
    """Records what each record of a batch does to the gradients of a network, as it is.

    Args:
        model: its parameters that require gradients are trained; layers that hold them must have
            a rule. It is not changed: outside :meth:`recording` it is an ordinary network.
        by_opacus: names of layers whose gradients are Opacus' to compute, one for each record.
        places: of a typical record. A public number: it decides how norms are computed.

    Raises:
        TrainingError: a layer has no rule, or mixes records.

    Attributes:
        parameters: the trained ones, in the model's order; tied ones stand once. Of a sharded
            model the whole ones, which hold values only while their layers compute.
    """

    def __init__(
        self, model: nn.Module, by_opacus: Collection[str] = (), places: int = PLACES
    ) -> None:
        _refuse(model)
        ruled = _rules_of(model, frozenset(by_opacus))
        for name, layer in model.named_modules():
            if layer not in ruled and _trains(layer):
                raise TrainingError(
                    f"{name or 'the network'} is a {kind(layer).__name__}, which has no rule for "
                    "per-record gradients",
                    "build it of layers that have one, or let Opacus compute them: by_opacus",
                )
        # What FSDP gathers takes requires_grad from what is stored.
        self._hold(model, whole(model), ruled, places, stored(model))

    @classmethod
    def of_sums(cls, model: nn.Module) -> Recorder:
        """For training without privacy: gradients are the tape's sums and what autograd adds.

        Layers without a rule stay autograd's, and so does every use of a weight past its layer.
        """
        ruled = _rules_of(model, frozenset())
        held = {p for m in ruled for p in m.parameters()}
        recorder = cls.__new__(cls)
        own = [p for p in model.parameters() if p.requires_grad and p in held]
        recorder._hold(model, own, ruled, PLACES)  # noqa: SLF001  of its own class
        recorder._alone = False  # noqa: SLF001
        return recorder

    def _hold(
        self,
        model: nn.Module,
        parameters: list[nn.Parameter],
        ruled: Mapping[nn.Module, Rule],
        places: int,
        beside: Sequence[nn.Parameter] = (),
    ) -> None:
        self.model = model
        self.parameters = parameters
        self._trained = list(dict.fromkeys([*parameters, *beside]))
        self._faces: dict[Tensor, Tensor] = dict(zip(beside, parameters, strict=False))
        self._rules = ruled
        self._buffers = Buffers()
        self._places = places
        self._alone = True  # no gradients by autograd beside the tape's

    @property
    def movable(self) -> list[nn.Parameter]:
        """Parameters whose values can be changed in place: none of a sharded model."""
        return [p for p in self.parameters if self._faces.get(p) is p]

    @contextmanager
    def recording(self, batch: int | None, keep: Keep = "norms") -> Iterator[Tape]:
        """Within, the model's forward pass on ``batch`` records, and one backward pass.

        The tape before is used up.

        Args:
            batch: records; None where only sums are kept.
            keep: what is wanted.
        """
        tape = Tape(self.parameters, batch, keep, self._buffers, self._places, self._faces)
        if self._alone:
            _require(self._trained, wanted=False)
        for layer, rule in self._rules.items():
            layer.__dict__["forward"] = partial(_called, rule, layer, tape)
        try:
            yield tape
        finally:
            for layer in self._rules:
                del layer.__dict__["forward"]
            _require(self._trained, wanted=True)


def _trains(layer: nn.Module) -> bool:
    """Whether it has trained parameters of its own."""
    return any(p.requires_grad for p in layer.parameters(recurse=False))


def _called(rule: Rule, layer: nn.Module, tape: Tape, *args: Any, **given: Any) -> Any:
    """What a layer gives by its rule; autograd has no part in its weights.

    A rule's parameters have the order of ``forward``'s, not its names.
    """
    if given:
        bound = signature(kind(layer).forward).bind(layer, *args, **given)
        bound.apply_defaults()
        args = bound.args[1:]
    own = [p for p in layer.parameters() if p.requires_grad and tape.wants(p)]
    _require(own, wanted=False)
    try:
        return rule(layer, tape, *args)
    finally:
        _require(own, wanted=True)


def _require(parameters: Iterable[nn.Parameter], *, wanted: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(wanted)


def _refuse(model: nn.Module) -> None:
    """What no rule could help."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype not in (torch.float32, torch.float64):
            raise TrainingError(
                f"{name} is {str(parameter.dtype).removeprefix('torch.')}, whose norms round",
                "train float32 weights",
            )
    for name, layer in model.named_modules():
        if isinstance(layer, _NormBase):
            raise TrainingError(
                f"{name or 'the network'} is a {type(layer).__name__}, which mixes records",
                "use GroupNorm or LayerNorm",
            )


def _rules_of(model: nn.Module, by_opacus: frozenset[str]) -> dict[nn.Module, Rule]:
    """The layers that hold trained weights and have a rule."""
    known = rules()
    named = dict(model.named_modules())
    for name in by_opacus - named.keys():
        raise TrainingError(f"the network has no layer {name}", f"it has: {', '.join(named)}")
    found = {named[name]: _by_opacus(name, named[name]) for name in by_opacus}
    for layer in named.values():
        trained = any(p.requires_grad for p in layer.parameters())
        if kind(layer) in known and layer not in found and trained and _is_plain(layer):
            found[layer] = known[kind(layer)]
    return found


def _is_plain(layer: nn.Module) -> bool:
    """Whether ``forward`` is its type's, and so is that of an output layer that it looks into."""
    if not isinstance(layer, TokenLosses):
        return "forward" not in layer.__dict__
    output = layer.output
    hooked = output._forward_hooks or output._forward_pre_hooks  # noqa: SLF001  no public name
    return kind(output) is nn.Linear and not hooked and _is_plain(output)


def _by_opacus(name: str, layer: nn.Module) -> Rule:
    """The rule that asks Opacus' sampler."""
    sampler = GradSampleModule.GRAD_SAMPLERS.get(kind(layer))
    if sampler is None:
        raise TrainingError(f"Opacus has no sampler for {name}, a {kind(layer).__name__}")

    def rule(layer: nn.Module, tape: Tape, x: Tensor) -> Tensor:
        x = batch_first(layer, tape, x)
        own = list(layer.parameters(recurse=False))
        tape.expect(*own)
        entered = [x.detach()]

        def note(gradient: Tensor) -> None:
            for parameter in own:
                parameter.requires_grad_(tape.wants(parameter))
            samples = sampler(layer, [entered.pop()], gradient)
            for parameter in own:
                parameter.requires_grad_(False)
                if parameter in samples:
                    tape.add(parameter, partial(Samples, samples[parameter]))

        return tape.watch(lambda: type(layer).forward(layer, x), [x], note)

    return rule
