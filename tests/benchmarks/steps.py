# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Steps of one network, timed in turn in a process of their own.

``python -m tests.benchmarks.steps CASE ROUNDS VARIANT...`` prints what it found as JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from torch import Tensor, nn

from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.record import PrivacyUnit
from fedcode.training.clipping import Flat, by_layer, layers
from fedcode.training.network import device, read
from fedcode.training.per_record.recorder import Recorder
from tests.benchmarks.networks import CASES, Case

_NORM, _RATE, _STEPS = 1.0, 0.01, 1000

Step = Callable[[], None]


def _network(case: Case, *, looped: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return case.build(looped).to(device())


def _adam(network: nn.Module) -> torch.optim.Optimizer:
    trained = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.Adam(trained, lr=1e-4, fused=True)


def stock(case: Case) -> Step:
    """Without privacy, as everybody writes it."""
    network, inputs = _network(case), case.inputs()
    optimizer = _adam(network)

    def step() -> None:
        optimizer.zero_grad()
        if case.opacus:
            x, y = inputs
            loss = nn.functional.cross_entropy(network(x).view(y.numel(), -1), y.flatten())
        else:
            loss = network(*inputs).mean()
        loss.backward()
        optimizer.step()

    return step


def kernels(case: Case) -> Step:
    """Without privacy, by the recorder's rules."""
    return _recorded(case, "sums", None)


def private(case: Case) -> Step:
    """Clipped record by record, without noise."""
    return _recorded(case, "norms", None)


def noised(case: Case) -> Step:
    """Clipped record by record, with a mechanism's sampling and noise."""
    return _recorded(case, "norms", _mechanism(len(read(_network(case)))))


def _recorded(
    case: Case, keep: Literal["norms", "sums"], mechanism: GaussianMechanism | None
) -> Step:
    network, inputs = _network(case), case.inputs()
    optimizer, losses = _adam(network), case.recorded(network)
    recorder, clipping = Recorder(losses, places=case.places), Flat(_NORM)
    numbers = layers(losses)
    own = torch.tensor(numbers, device=device())

    def step() -> None:
        with recorder.recording(case.batch, keep) as tape:
            losses(*inputs).sum().backward()
        factors = None
        if keep == "norms":
            factors = clipping.factors(by_layer(tape.squares(), numbers))[own]
        for parameter, total in zip(recorder.parameters, tape.sums(factors), strict=True):
            parameter.grad = total
        if mechanism is not None:
            _add_noise(mechanism, recorder.parameters, case.batch)
        for parameter in recorder.parameters:
            parameter.grad /= case.batch
        optimizer.step()

    return step


def _mechanism(weights: int) -> GaussianMechanism:
    policy = PrivacyPolicy(
        PrivacyUnit.FUNCTION, _NORM, weights, 1.0, _RATE, _STEPS, delta=1e-6, max_epsilon=1e6
    )
    with BudgetLedger.open(":memory:") as ledger:
        budget = Filter.for_budget(1e6, policy.delta, 4.0)
        ledger.open_simulated("a", organization="a", unit=policy.unit, budget=budget)
        cost = budget.cost(policy.noise_multiplier, _RATE, _STEPS)
        paid = ledger.charge(cost, asset="a", agreement="a", purpose="a", task="t", round=1)
    return GaussianMechanism(policy, SecureGenerator(), paid)


def _add_noise(mechanism: GaussianMechanism, parameters: list[nn.Parameter], batch: int) -> None:
    """The records stay those of the case, so that all variants do the same work."""
    sampled = mechanism.sample(round(batch / _RATE))
    for parameter in parameters:
        clipped = ClippedSum(parameter.grad.cpu().numpy(), _NORM)
        noised = torch.from_numpy(mechanism.noised(clipped).values)
        parameter.grad = noised.to(parameter.device)
    mechanism.end_step(len(sampled))


def hooks(case: Case) -> Step:
    """Opacus' hooks and optimizer, without noise."""
    network, (x, y) = _network(case, looped=True), case.inputs()
    called = GradSampleModule(network)
    optimizer = DPOptimizer(
        _adam(network), noise_multiplier=0.0, max_grad_norm=_NORM, expected_batch_size=case.batch
    )

    def step() -> None:
        optimizer.zero_grad()
        case.by_record(called(x), y).mean().backward()
        optimizer.step()

    return step


def ghost(case: Case) -> Step:
    """Opacus' ghost clipping, without noise."""
    network, (x, y) = _network(case, looped=True), case.inputs()
    called = GradSampleModuleFastGradientClipping(network, max_grad_norm=_NORM)
    optimizer = DPOptimizerFastGradientClipping(
        _adam(network), noise_multiplier=0.0, max_grad_norm=_NORM, expected_batch_size=case.batch
    )

    def step() -> None:
        optimizer.zero_grad()
        losses: Tensor = case.by_record(called(x), y)
        DPTensorFastGradientClipping(called, optimizer, losses, "mean").backward()
        optimizer.step()

    return step


VARIANTS = {step.__name__: step for step in (stock, kernels, private, noised, hooks, ghost)}


def measured(case: Case, rounds: int, variants: list[str]) -> dict[str, Any]:
    """Seconds of every round, variants in turn; processor time where that is the work.

    Returns:
        ``seconds`` and ``refused`` (what a variant said that cannot do this network), by variant;
        ``peak``, MiB of memory; ``device``.
    """
    ready, refused = {}, {}
    for name in variants:
        try:
            step = VARIANTS[name](case)
            step()
        except (NotImplementedError, RuntimeError, ValueError) as error:
            refused[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        else:
            ready[name] = step
    taken: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(rounds + 1):
        for name, step in ready.items():
            seconds = _seconds(step)
            if number:
                taken[name].append(seconds)
    return {"seconds": taken, "refused": refused, "peak": _peak(), "device": _machine()}


def _seconds(step: Step) -> float:
    if device().type != "cuda":
        start = process_time()
        step()
        return process_time() - start
    torch.cuda.synchronize()
    start = perf_counter()
    step()
    torch.cuda.synchronize()
    return perf_counter() - start


def _peak() -> float:
    """MiB: the processor's, or CUDA's where the networks are there."""
    if device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


def _machine() -> str:
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return "CPU"


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    print(json.dumps(measured(CASES[sys.argv[1]], int(sys.argv[2]), sys.argv[3:])))
