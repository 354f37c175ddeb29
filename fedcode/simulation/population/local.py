# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members that protect themselves: DP-SGD with a budget each, one after the other or together.

A member takes part as an organization's agent does: it is charged before anything is computed, and
its noise comes from a mechanism of its own. The privacy unit is one record.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad, vmap

from fedcode.federation import TrainingSettings
from fedcode.privacy.accountant import Filter
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.receipt import Receipt
from fedcode.privacy.release import ClippedSum, GaussianMechanism
from fedcode.privacy.seeded import SeededGenerator
from fedcode.record import Record
from fedcode.simulation.population.problem import LocalProblem, World
from fedcode.simulation.population.stacking import pick, split, stacked, tensors_of
from fedcode.simulation.population.steps import Called, Engine, Part, Tally
from fedcode.training import network
from fedcode.training.private import PrivateNetwork, PrivateTrainer
from fedcode.weights import Vector

E = TypeVar("E")
B = TypeVar("B")

_ROUNDING = 1e-6  # as in PrivateTrainer
_MEMORY = 256 << 20


@dataclass(frozen=True, slots=True)
class LocalWork:
    """What members do in a round, and who pays.

    Attributes:
        training: a member's half of a round.
        policy: of every member.
        budget: of every member's account.
        ledger: the file, which all processes charge; or ``:memory:``.
        name: of the population.
        purpose: as the ledger has it.
        agreement: digest of what members take part in.
        task: name of the problem.
        seed: of the noise.
    """

    training: TrainingSettings
    policy: PrivacyPolicy
    budget: Filter
    ledger: Path | str
    name: str
    purpose: str
    agreement: str
    task: str
    seed: int

    def engine(self, name: str, world: World[Any, Any]) -> Engine:
        """See ``crew.Work``."""
        return (LocalTogether if name == "together" else LocalSequential)(
            world, self, BudgetLedger.open(self.ledger)
        )

    def aside(self) -> LocalWork:
        """The same with a ledger of its own, which is forgotten."""
        return replace(self, ledger=":memory:")

    def fits(self, examples: int) -> bool:
        """Whether a member of so many examples can take part: a real one refuses otherwise."""
        policy = self.policy
        return policy.delta * examples < 1 <= examples * policy.sampling_rate

    def charge(self, ledger: BudgetLedger, number: int, members: Sequence[int]) -> list[Receipt]:
        """Pays for members' round ``number``; accounts are opened when they are needed first."""
        if not members:
            return []
        policy, owners = self.policy, [asset(self.name, member) for member in members]
        ledger.open_many_simulated(
            [(owner, owner) for owner in owners], unit=policy.unit, budget=self.budget
        )
        return ledger.charge_many(
            self.budget.cost(policy.noise_multiplier, policy.sampling_rate, policy.steps_per_round),
            assets=owners,
            agreement=self.agreement,
            purpose=self.purpose,
            task=self.task,
            round=number,
        )

    def randomness(self, number: int, member: int) -> SeededGenerator:
        """A member's own, fresh in every round."""
        return SeededGenerator(self.seed, "population member", self.name, member, number)


def asset(name: str, member: int) -> str:
    """What the ledger calls a member's data."""
    return f"{name}/member {member}"


class _Charged(Generic[E, B]):
    """What both engines begin with."""

    def __init__(self, world: World[E, B], work: LocalWork, ledger: BudgetLedger) -> None:
        self._world, self._work, self._ledger = world, work, ledger

    def close(self) -> None:
        """Closes the ledger."""
        self._ledger.close()

    def _take_part(
        self, number: int, parts: Sequence[Sequence[int]]
    ) -> tuple[list[_Taking[E]], list[Part]]:
        """Members that can take part, all charged at once; and a sum of nothing for each part."""
        given = [
            (place, member, self._world.population.member(member))
            for place, members in enumerate(parts)
            for member in members
        ]
        fit = [one for one in given if self._work.fits(len(one[2]))]
        receipts = self._work.charge(self._ledger, number, [member for _, member, _ in fit])
        takes = Counter(place for place, _, _ in fit)
        found: list[Part] = [
            (np.zeros(self._work.policy.weights), Tally(len(m), refused=len(m) - takes[place]))
            for place, m in enumerate(parts)
        ]
        return [_Taking(*one, receipt) for one, receipt in zip(fit, receipts, strict=True)], found


class _Taking(NamedTuple, Generic[E]):
    """A member that has paid."""

    place: int  # of its part
    member: int
    examples: Sequence[E]
    receipt: Receipt


class LocalSequential(_Charged[E, B]):
    """One member after the other, by the trainer of an organization's agent."""

    def __init__(self, world: World[E, B], work: LocalWork, ledger: BudgetLedger) -> None:
        super().__init__(world, work, ledger)
        self._network = PrivateNetwork(copy.deepcopy(world.model))  # for itself alone
        self._task = _Encoded(world.problem)

    def run(self, weights: Vector, number: int, parts: Sequence[Sequence[int]]) -> list[Part]:
        """See ``steps.Engine``."""
        taking, found = self._take_part(number, parts)
        for place, member, examples, receipt in taking:
            self._task.own = examples
            trainer = PrivateTrainer(
                self._task,
                self._network,
                (),
                self._work.training,
                self._work.policy,
                partial(self._randomness, number, member),
            )
            total, tally = found[place]
            total += trainer.train(weights, receipt).vector
            report = trainer.report
            tally.trained += report.examples > 0
            tally.left_out += report.left_out > 0
            tally.loss += report.loss or 0.0
        return found

    def _randomness(self, number: int, member: int, receipt: Receipt) -> SeededGenerator:  # noqa: ARG002
        return self._work.randomness(number, member)


class _Encoded(Generic[E, B]):
    """A problem whose examples are made already: ``fedcode.task.Losses`` for one member.

    Attributes:
        own: the examples of the member whose turn it is.
    """

    def __init__(self, problem: LocalProblem[E, B]) -> None:
        self.own: Sequence[E] = ()
        self.length, self.collate, self.losses = problem.length, problem.collate, problem.losses

    def examples(self, records: Sequence[Record]) -> Sequence[E]:  # noqa: ARG002  there are none
        """The member's."""
        return self.own


class LocalTogether(_Charged[E, B]):
    """Many members in one program; see ``steps.Together`` for what it asks of the network.

    Batches are each member's own Poisson samples; a shorter one repeats its last row, and what is
    repeated is multiplied by nothing.
    """

    def __init__(self, world: World[E, B], work: LocalWork, ledger: BudgetLedger) -> None:
        super().__init__(world, work, ledger)
        self._called = Called(world)
        shapes = network.trainable(world.model)
        self._names, self._like = [f"model.{name}" for name in shapes], list(shapes.values())
        rows = vmap(grad(self._loss, has_aux=True), in_dims=(None, 0))
        self._gradients = vmap(rows)

    def run(self, weights: Vector, number: int, parts: Sequence[Sequence[int]]) -> list[Part]:
        """See ``steps.Engine``. A program holds members of one part, so that its bits stay."""
        taking, found = self._take_part(number, parts)
        copies = 4 + 2 * self._work.training.nominal_batch
        size = max(1, _MEMORY // (4 * copies * len(weights)))
        paid = [[one for one in taking if one.place == place] for place in range(len(found))]
        for program in (part[i : i + size] for part in paid for i in range(0, len(part), size)):
            members = [
                _Member(
                    one.examples,
                    GaussianMechanism(
                        self._work.policy,
                        self._work.randomness(number, one.member),
                        one.receipt,
                    ),
                )
                for one in program
            ]
            ends = self._train(weights, members)
            for one, member, end in zip(program, members, ends, strict=True):
                total, tally = found[one.place]
                total += member.mechanism.release(end - weights).vector
                tally.trained += member.seen > 0
                tally.left_out += member.left_out
                tally.loss += member.loss / max(1, member.seen)
        return found

    def _train(self, weights: Vector, members: Sequence[_Member[E]]) -> NDArray[np.float32]:
        """Members' weights after their steps, (members, d)."""
        start = split(torch.tensor(weights), self._like)
        stack = [p.expand(len(members), *p.shape).clone() for p in start]
        for _ in range(self._work.policy.steps_per_round):
            sums = self._step(stack, members)
            for weight, change in zip(stack, self._noised(sums, members), strict=True):
                weight.sub_(change, alpha=self._work.training.learning_rate)
        ends: NDArray[np.float32] = torch.cat([w.flatten(1) for w in stack], 1).numpy()
        return ends

    def _step(self, stack: list[Tensor], members: Sequence[_Member[E]]) -> list[Tensor]:
        """The clipped sums of one step, (members, *shape) for each tensor of weights."""
        sums = [torch.zeros_like(w) for w in stack]
        drawn = [member.sample() for member in members]
        some = [place for place, rows in enumerate(drawn) if len(rows)]
        if not some:
            return sums
        collated: list[Any] = [
            self._world.problem.collate(pick(members[p].examples, drawn[p])) for p in some
        ]
        columns, here = stacked([tensors_of(batch) for batch in collated])
        named = {name: w[some] for name, w in zip(self._names, stack, strict=True)}
        found, losses = self._gradients(named, columns)
        gradients = [found[name] for name in self._names]
        each = [torch.linalg.vector_norm(g.flatten(2), dim=2) for g in gradients]
        norms = torch.linalg.vector_norm(torch.stack(each), dim=0)
        finite = torch.isfinite(norms)
        factors = (self._limit / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1) * here
        for total, gradient in zip(sums, gradients, strict=True):
            if not finite.all():
                gradient[~finite] = 0
            weighted = torch.where(finite, factors, 0)
            total[some] = torch.einsum("mb,mb...->m...", weighted, gradient)
        lost = ((~finite) & here.bool()).any(1)
        for place, loss, out in zip(
            some, (losses.nan_to_num(0, 0, 0) * here).sum(1), lost, strict=True
        ):
            members[place].loss += float(loss)
            members[place].left_out |= bool(out)
        return sums

    @property
    def _limit(self) -> float:
        return self._work.policy.clipping_norm * (1 - _ROUNDING)

    def _noised(self, sums: list[Tensor], members: Sequence[_Member[E]]) -> list[Tensor]:
        """Every member's sums with its own noise, over the public batch."""
        noised = [torch.empty_like(total) for total in sums]
        for place, member in enumerate(members):
            for total, out in zip(sums, noised, strict=True):
                clipped = ClippedSum(total[place].numpy(), self._work.policy.clipping_norm)
                values = member.mechanism.noised(clipped).values
                out[place] = torch.from_numpy(values)
            member.end_step()
        return [total.div_(self._work.training.nominal_batch) for total in noised]

    def _loss(self, weights: dict[str, Tensor], row: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        batch = tuple(column[None] for column in row)
        loss = functional_call(self._called, weights, (batch,))[0]
        return loss, loss.detach()


@dataclass(slots=True)
class _Member(Generic[E]):
    """One member's round."""

    examples: Sequence[E]
    mechanism: GaussianMechanism
    loss: float = 0.0
    seen: int = 0
    sampled: int = 0
    left_out: bool = False

    def sample(self) -> NDArray[np.int64]:
        """The rows of the next step."""
        rows = self.mechanism.sample(len(self.examples))
        self.sampled = len(rows)
        return rows

    def end_step(self) -> None:
        self.mechanism.end_step(self.sampled)
        self.seen += self.sampled
