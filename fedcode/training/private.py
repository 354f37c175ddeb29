# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""DP-SGD at a member: Poisson batches, per-unit clipping in one backward pass, noise of our own.

The gradients of a privacy unit's records are added up before they are clipped, so that a unit is
clipped once, as a whole. The steps go on in the frame of Opacus' optimizer; its sampler and noise
are not used: indices and noise come from the mechanism, which counts the steps that the receipt
paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from fedcode.federation import TrainingSettings
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import ClippedSum, GaussianMechanism, NoisedSum, Release
from fedcode.record import Record
from fedcode.task import Losses
from fedcode.trainer import LocalReport
from fedcode.training.batches import examples_by_unit
from fedcode.training.clipping import Adaptive, Clipping, clipping_of, denominator, layers
from fedcode.training.network import device
from fedcode.training.optimizers import AdamBC, anchor_of, optimizer_of
from fedcode.training.per_record.recorder import Recorder
from fedcode.training.per_record.tape import PLACES
from fedcode.training.per_record.verify import verify
from fedcode.training.ranks import Alone, Ranks
from fedcode.training.shares import Drawn, Order, Share
from fedcode.training.sums import ClippedSums
from fedcode.weights import Vector

E = TypeVar("E")
B = TypeVar("B")

_ALONE = Alone()

NoiseOf = Callable[[Receipt], SecureGenerator]


class PrivateNetwork:
    """A network whose records' gradients can be told apart, on the device to train on.

    Args:
        model: an ordinary network; it stays one.
        by_opacus: names of layers whose gradients are Opacus' to compute.
        places: of a typical record; see :class:`Recorder`.

    Raises:
        TrainingError: a layer has no rule for per-record gradients.

    Attributes:
        model: the network itself.
        recorder: tells the records' gradients apart.
    """

    def __init__(
        self, model: nn.Module, by_opacus: Collection[str] = (), places: int = PLACES
    ) -> None:
        self.model = model.to(device())
        self.recorder = Recorder(self.model, by_opacus, places)
        self._verified: Losses[Any, Any] | None = None
        self._fitting: tuple[Losses[Any, Any], int, int] | None = None

    def verify(self, task: Losses[E, B], units: Sequence[Sequence[E]]) -> None:
        """Tries, once, whether records can be told apart with this task; see the function."""
        if self._verified is not task:
            self.train()
            verify(task, self.recorder, [example for unit in units for example in unit])
            self._verified = task

    def fitting(self, task: Losses[E, B], length: int, measure: Callable[[], int]) -> int:
        """How many examples may be in memory at once.

        Members that share a network share the number, until one has longer examples.

        Args:
            task: gives their losses.
            length: of the longest example.
            measure: finds the number for it.
        """
        known = self._fitting
        if known is None or known[0] is not task or known[1] < length:
            self.train()
            known = self._fitting = task, length, measure()
        return known[2]

    def train(self) -> None:
        """Ready to train, without dropout: it would only add to the noise.

        Products are float32's own: with fewer digits a record's would depend on its batch.
        """
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, (_DropoutNd, nn.RNNBase)):
                module.eval()


class PrivateOptimizer(ClippedSums, DPOptimizer):
    """Opacus' optimizer with our clipping choices, our noise and a public denominator.

    Args:
        optimizer: the torch optimizer that takes the step.
        mechanism: draws the noise of each step.
        settings: the kind of release, FedProx' mu, the nominal batch and the metrics.
        clipping: what gradients are multiplied by; an adaptive one moves with every step.
        layers: the number of its layer for each parameter.
        share: this rank's, whose parameters are trained.

    Attributes:
        noised: of ``gradient-sum``, all tensors of the step's sum, in order.
        metrics: the metrics' noised sums over all steps, (metrics,).
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        mechanism: GaussianMechanism,
        settings: TrainingSettings,
        clipping: Clipping,
        layers: Sequence[int],
        share: Share[Any, Any],
    ) -> None:
        ClippedSums.__init__(self, share.parameters, clipping, layers, settings)
        DPOptimizer.__init__(
            self,
            optimizer,
            noise_multiplier=mechanism.policy.noise_multiplier,
            max_grad_norm=mechanism.policy.clipping_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._mechanism = mechanism
        self._share = share
        self._steps_here = settings.kind == "local-steps"
        self.noised: list[NoisedSum] = []
        self.metrics = np.zeros(len(settings.metrics))

    def add_noise(self) -> None:
        """Sets each gradient to the clipped sum plus noise; an empty batch is noise alone.

        What is released as it is becomes no gradient.
        """
        for parameter in self.params:
            total = parameter.summed_grad
            if total is None:
                total = torch.zeros_like(parameter)
            clipped = ClippedSum(total.detach().cpu().numpy(), self.max_grad_norm)
            noised = self._mechanism.noised(clipped)
            if self._steps_here:
                parameter.grad = torch.from_numpy(noised.values).to(total.device)
            else:
                self.noised.append(noised)

    def scale_grad(self) -> None:
        """Divides by the agreement's nominal batch, never by the batch that was drawn."""
        by = denominator(self._clipping, self._settings.nominal_batch)
        for parameter in self.params:
            parameter.grad /= by
        if isinstance(self.original_optimizer, AdamBC):
            self.original_optimizer.noise_std = self._mechanism.policy.std / by

    def adapt(self) -> None:
        """Adds noise to the votes, which are coordinates of the step's sum too, and moves on."""
        if isinstance(self._clipping, Adaptive):
            votes = ClippedSum(np.array([self._votes]), self.max_grad_norm)
            noised = self._mechanism.noised(votes).values
            self._clipping.adapt(float(noised[0]), self._settings.nominal_batch)
        self._votes = 0.0

    def measure(self) -> None:
        """Adds noise to the metrics, which are the last coordinates of the step's sum."""
        if self._settings.metrics:
            noised = self._mechanism.noised(ClippedSum(self._metrics, self.max_grad_norm))
            self.metrics += noised.values
            if not self._steps_here:
                self.noised.append(noised)
        self._metrics = np.zeros(len(self._settings.metrics))

    def finish(self, anchor: dict[nn.Parameter, Tensor]) -> None:
        """Noise, denominator, FedProx' pull towards ``anchor``, and the optimizer's step.

        Of ``gradient-sum`` the noise alone.
        """
        with self._share.noising():
            self.add_noise()
            if self._steps_here:
                self.scale_grad()
            self.adapt()
            self.measure()
            self._mechanism.end_step(self._clipped)
        self._clipped = 0
        if self._steps_here:
            self._share.step(self.original_optimizer, anchor)
        self.zero_grad(set_to_none=True)


class PrivateTrainer(Generic[E, B]):
    """Trains one organization's copy of the network on its records.

    Args:
        task: builds batches and losses.
        network: may be shared by trainers that take turns.
        records: the organization's training records.
        settings: the member's half of a round.
        policy: what the receipt pays for.
        noise: gives the randomness of the round that a receipt paid for.
        level: where adaptive clipping goes on; it starts at C if None.
        ranks: the organization's processes, of which this one is rank 0; the others assist.

    An adaptive level lives as long as the trainer, over its rounds: it was computed from noised
    votes, and each round's charge paid for them. Where it is lost, in a restart, the next rounds
    are charged the same, and the level is found again.

    Raises:
        ConfigError: the ranks do not train the same.
        TrainingError: the losses of a batch look at one another, or a layer does; or not every use
            of a weight is noted. It is found out before anything is charged or sampled.
    """

    def __init__(
        self,
        task: Losses[E, B],
        network: PrivateNetwork,
        records: Iterable[Record],
        settings: TrainingSettings,
        policy: PrivacyPolicy,
        noise: NoiseOf,
        level: float | None = None,
        ranks: Ranks = _ALONE,
    ) -> None:
        self.units = examples_by_unit(task, records, policy.unit)
        policy.check_population(len(self.units))
        self._share = Share(task, network, self.units, settings, policy, ranks)
        self._share.agree(records)
        network.verify(task, self.units)
        self._share.measure()
        self._clipping = clipping_of(settings, level)
        self.report = LocalReport(level=self._level, physical_batch=self._share.size)
        self._network = network
        self._settings = settings
        self._policy = policy
        self._noise = noise

    def train(self, weights: Vector, receipt: Receipt) -> Release:
        """K steps from ``weights``: the noised change of weights, then the metrics' noised sums.

        Of ``gradient-sum`` the noised sum of the gradients at ``weights``, then of the metrics.
        After the first sample nothing fails because of what is in the records: a refusal would say
        without noise what was sampled.

        Raises:
            TrainingError: there is not one loss per example, the weights have run away, or a rank
                failed.
        """
        self._share.ready()
        mechanism = GaussianMechanism(self._policy, self._noise(receipt), receipt)
        self._share.begin(weights)
        anchor = anchor_of(self._settings, self._share.stored)
        optimizer = PrivateOptimizer(
            optimizer_of(self._settings, self._share.stored),
            mechanism,
            self._settings,
            self._clipping,
            layers(self._network.model),
            self._share,
        )
        seen, empty = 0, 0
        for left in reversed(range(self._policy.steps_per_round)):
            chosen = self._chosen(mechanism)
            self._share.lead(Order(chosen, self._level, last=not left), optimizer)
            optimizer.finish(anchor)
            seen += sum(len(examples) for _, examples in chosen)
            empty += not chosen
        mean = optimizer.loss / seen if seen else None
        self.report = LocalReport(
            mean,
            seen,
            empty,
            optimizer.left_out,
            self._level,
            physical_batch=self._share.size,
        )
        if self._settings.kind == "gradient-sum":
            return mechanism.release_sum(optimizer.noised)
        change = self._share.result() - weights
        return mechanism.release(np.concatenate([change, optimizer.metrics], dtype=np.float32))

    def _chosen(self, mechanism: GaussianMechanism) -> Drawn:
        """A step's units, each with the examples of it that take part."""
        most = self._settings.records_per_unit
        sampled = map(int, mechanism.sample(len(self.units)))
        return [(unit, mechanism.subset(len(self.units[unit]), most)) for unit in sampled]

    @property
    def _level(self) -> float | None:
        return self._clipping.level if isinstance(self._clipping, Adaptive) else None


def clip(values: np.ndarray[Any, np.dtype[np.float32]], norm: float) -> Vector:
    """``values`` scaled to an L2 norm of at most ``norm``."""
    length = float(np.linalg.norm(values.astype(np.float64)))
    return (values * min(1.0, norm / length) if length else values).astype(np.float32)
