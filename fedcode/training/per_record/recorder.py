# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the rules in place of the layers' forward passes while a batch is recorded."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial

from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from fedcode.errors import TrainingError
from fedcode.training.per_record.outer import Samples
from fedcode.training.per_record.rules import Rule, batch_first, rules
from fedcode.training.per_record.tape import Buffers, Keep, Tape


class Recorder:
    """Records what each record of a batch does to the gradients of a network, as it is.

    Args:
        model: its parameters that require gradients are trained; layers that hold them must have
            a rule. It is not changed: outside :meth:`recording` it is an ordinary network.
        by_opacus: names of layers whose gradients are Opacus' to compute, one for each record.

    Raises:
        TrainingError: a layer has no rule, or mixes records.

    Attributes:
        parameters: the trained ones, in the model's order; tied ones stand once.
    """

    def __init__(self, model: nn.Module, by_opacus: Collection[str] = ()) -> None:
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self._rules = dict(_rules_of(model, frozenset(by_opacus)))
        self._buffers = Buffers()

    @contextmanager
    def recording(self, batch: int, keep: Keep = "norms") -> Iterator[Tape]:
        """Within, the model's forward pass on ``batch`` records, and one backward pass.

        The tape before is used up.
        """
        tape = Tape(self.parameters, batch, keep, self._buffers)
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        for layer, rule in self._rules.items():
            layer.__dict__["forward"] = partial(rule, layer, tape)
        try:
            yield tape
        finally:
            for layer in self._rules:
                del layer.__dict__["forward"]
            for parameter in self.parameters:
                parameter.requires_grad_(True)


def _rules_of(model: nn.Module, by_opacus: frozenset[str]) -> Iterator[tuple[nn.Module, Rule]]:
    known = rules()
    named = dict(model.named_modules())
    for name in by_opacus - named.keys():
        raise TrainingError(f"the network has no layer {name}", f"it has: {', '.join(named)}")
    for name, layer in named.items():
        if isinstance(layer, _NormBase):
            raise TrainingError(
                f"{name or 'the network'} is a {type(layer).__name__}, which mixes records",
                "use GroupNorm or LayerNorm",
            )
        trained = any(p.requires_grad for p in layer.parameters(recurse=False))
        if name in by_opacus:
            yield layer, _by_opacus(name, layer)
        elif type(layer) in known and any(p.requires_grad for p in layer.parameters()):
            yield layer, known[type(layer)]
        elif trained:
            raise TrainingError(
                f"{name or 'the network'} is a {type(layer).__name__}, which has no rule for "
                "per-record gradients",
                "build it of layers that have one, or let Opacus compute them: by_opacus",
            )


def _by_opacus(name: str, layer: nn.Module) -> Rule:
    """The rule that asks Opacus' sampler."""
    sampler = GradSampleModule.GRAD_SAMPLERS.get(type(layer))
    if sampler is None:
        raise TrainingError(f"Opacus has no sampler for {name}, a {type(layer).__name__}")

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
                    found = samples[parameter]
                    tape.add(parameter, lambda found=found: Samples(found))

        return tape.watch(lambda: type(layer).forward(layer, x), [x], note)

    return rule
