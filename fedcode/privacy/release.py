# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What training computes, by how far it may go.

``ClippedSum`` (private, lives one step) → ``NoisedSum`` (one step) → ``Release`` (all steps, and
paid for) → ``Term`` (the same as integers) → ``Masked``, one term of a secure sum; or, where there
is no masking, ``Release`` → ``Unmasked``. Messages are made of the last ones only. None is a kind
of another, so that a type checker refuses to send what must not leave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import PrivacyError, TrainingError
from fedcode.privacy import _validate
from fedcode.privacy.lattice import Lattice
from fedcode.privacy.noise import SecureGenerator
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.receipt import Receipt

_LARGEST_POINT = 2.0**52


@dataclass(frozen=True, slots=True, eq=False)
class ClippedSum:
    """A sum of clipped contributions. Private: it never leaves the step that made it.

    Attributes:
        values: any shape.
        clipping_norm: the largest L2 norm of one privacy unit's part of the step's whole sum.
    """

    values: NDArray[np.float32] | NDArray[np.float64] = field(repr=False)
    clipping_norm: float

    def __post_init__(self) -> None:
        _validate.positive(clipping_norm=self.clipping_norm)


@dataclass(frozen=True, slots=True, eq=False)
class NoisedSum:
    """One step's sum with its noise: what an optimizer may use. Other steps may follow.

    Attributes:
        points: on the lattice, any shape.
        spacing: of the lattice.
    """

    points: NDArray[np.int64] = field(repr=False)
    spacing: float

    @property
    def values(self) -> NDArray[np.float32]:
        """The sum in the units of what was summed, of the points' shape."""
        return np.asarray(self.points * self.spacing, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """The result of all steps that a receipt paid for: noised, finite, accounted.

    Attributes:
        vector: shape (d,), read-only.
        receipt: what was paid.
        steps_taken: noised sums that it was computed from; must be all that were paid for.
        seeded: whether its noise can be drawn again by whoever knows a seed.
        sum: the one step's noised sum, shape (d,), of which ``vector`` holds the values; None for
            a change of weights.
    """

    vector: NDArray[np.float32] = field(repr=False)
    receipt: Receipt
    steps_taken: InitVar[int]
    seeded: bool
    sum: NoisedSum | None = field(default=None, repr=False)

    def __post_init__(self, steps_taken: int) -> None:
        if not isinstance(self.receipt, Receipt):
            raise PrivacyError("a release needs the ledger's receipt")
        if steps_taken != self.receipt.steps:
            raise PrivacyError(
                f"{steps_taken} steps were taken, and {self.receipt.steps} were paid for"
            )
        if self.seeded and not self.receipt.seeded:
            raise PrivacyError(
                "seeded noise protects nobody: it is for a simulation's account only"
            )
        vector = np.array(self.vector, np.float32)
        if vector.ndim != 1:
            raise PrivacyError(f"a release is one vector, not of shape {vector.shape}")
        if not np.isfinite(vector).all():
            raise TrainingError("the release is not finite", "lower the learning rate")
        vector.flags.writeable = False
        object.__setattr__(self, "vector", vector)

    def unmasked(self) -> Unmasked:
        """The term of a plain sum. The ledger must have noted it as sent before it goes."""
        return Unmasked(self)

    def term(self, lattice: Lattice) -> Term:
        """The integers that a secure sum masks.

        Raises:
            OutOfRange: the lattice does not hold them.
        """
        return Term(self, lattice)


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A release as the integers of a sum's lattice. It stays until it is masked.

    Attributes:
        values: shape (d,), read-only.
    """

    release: InitVar[Release]
    lattice: InitVar[Lattice]
    values: NDArray[np.int32] = field(init=False, repr=False)

    def __post_init__(self, release: Release, lattice: Lattice) -> None:
        if not isinstance(release, Release):
            raise PrivacyError("a term of a sum is made from a release")
        if release.sum is None:
            values = lattice.points(release.vector)
        else:
            values = lattice.kept(release.sum.points, release.sum.spacing)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """One term of a secure sum: uniform on its own, meaningful only in the total.

    Attributes:
        term: what is masked.
        mask: modulo 2^32, shape (d,); it becomes the masked values, in its own memory.
        values: the sum of both modulo 2^32, shape (d,), read-only.
        digest: SHA-256 of the values, little-endian, in hexadecimal: what is signed of them.
    """

    term: InitVar[Term]
    mask: InitVar[NDArray[np.uint32]]
    values: NDArray[np.uint32] = field(init=False, repr=False)
    digest: str = field(init=False)

    def __post_init__(self, term: Term, mask: NDArray[np.uint32]) -> None:
        if not isinstance(term, Term):
            raise PrivacyError("only a term of a sum is masked")
        if mask.shape != term.values.shape or mask.dtype != np.uint32:
            raise PrivacyError("the mask is not of the term's shape")
        np.add(mask, term.values.view(np.uint32), out=mask)
        mask.flags.writeable = False
        object.__setattr__(self, "values", mask)
        little = np.ascontiguousarray(mask, "<u4")
        object.__setattr__(self, "digest", hashlib.sha256(little.view(np.uint8).data).hexdigest())


@dataclass(frozen=True, slots=True, eq=False)
class Unmasked:
    """One term of a plain sum: what a coordinator sees where there is no masking.

    Attributes:
        values: shape (d,), read-only; all that a message carries of the release.
    """

    release: InitVar[Release]
    values: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self, release: Release) -> None:
        if not isinstance(release, Release):
            raise PrivacyError("a term of a plain sum is made from a release")
        object.__setattr__(self, "values", release.vector)


class GaussianMechanism:
    """Poisson sampling and Gaussian noise for the steps of one receipt, and for no more.

    A step is: :meth:`sample` once, :meth:`subset` of units that are too large, :meth:`noised` once
    per tensor, :meth:`end_step`. A step that sampled nothing takes its noise all the same. After
    the last step :meth:`release`. Anything out of this order is a :class:`PrivacyError`.

    Sums are rounded to the policy's lattice, and the noise, rounded to it too, is added in
    integers. The rounding of the sum is charged (``PrivacyPolicy.sensitivity``), that of the noise
    is post-processing.

    Args:
        policy: what the organization demands.
        generator: secure; a seeded one needs the receipt of a simulation's account.
        receipt: what was paid, for the policy's numbers exactly. It is used up.
    """

    def __init__(self, policy: PrivacyPolicy, generator: SecureGenerator, receipt: Receipt) -> None:
        _check_paid(policy, receipt)
        if generator.seeded and not receipt.seeded:
            raise PrivacyError(
                "seeded noise protects nobody: it is for a simulation's account only"
            )
        receipt.use()
        self._policy, self._generator, self._receipt = policy, generator, receipt
        self._steps = 0
        self._sampled: int | None = None  # units of this step
        self._noised = 0  # coordinates in this step
        self._released = False

    @property
    def policy(self) -> PrivacyPolicy:
        """The numbers of the guarantee."""
        return self._policy

    @property
    def steps_taken(self) -> int:
        """Steps that have ended."""
        return self._steps

    def sample(self, population: int) -> NDArray[np.int64]:
        """Draws a step's batch: each of ``population`` units with the policy's probability.

        Returns:
            The units' indices, ascending; there may be none, and the step is taken all the same.
        """
        self._check_open()
        if self._sampled is not None:
            raise PrivacyError("a step samples once; end the step before the next sample")
        self._policy.check_population(population)
        units = self._generator.poisson_sample(population, self._policy.sampling_rate)
        self._sampled = len(units)
        return units

    def subset(self, size: int, most: int) -> NDArray[np.int64]:
        """Which of a sampled unit's ``size`` records take part in this step: ``most`` at most.

        Every subset is as likely as another one, and fresh in every step. Whatever it is, the clip
        of the whole unit's part bounds what it adds.

        Returns:
            Indices, ascending; all of them, and nothing drawn, if there are no more than ``most``.
        """
        self._check_open()
        if self._sampled is None or self._noised:
            raise PrivacyError("a subset before sampling, or after the step's noise")
        _validate.count(most=most)
        if size <= most:
            return np.arange(size)
        return np.sort(np.argsort(self._generator.uniform(size), kind="stable")[:most])

    def noised(self, clipped: ClippedSum) -> NoisedSum:
        """One tensor of the step's sum with its noise.

        Raises:
            PrivacyError: clipped to anything else than the policy's clipping norm.
            TrainingError: values that are not finite, or beyond what the lattice holds.
        """
        self._check_open()
        if self._sampled is None:
            raise PrivacyError("noise before sampling: the step's batch is not the policy's")
        if clipped.clipping_norm != self._policy.clipping_norm:
            raise PrivacyError(
                f"the sum is clipped to {clipped.clipping_norm}, and the policy says "
                f"{self._policy.clipping_norm}"
            )
        values, spacing = clipped.values, self._policy.spacing
        scaled = np.asarray(values, np.float64) / spacing
        if not (np.abs(scaled) < _LARGEST_POINT).all():
            raise TrainingError(
                "the clipped sum is not finite, or too large for the lattice",
                "lower the learning rate",
            )
        self._noised += values.size
        noise = self._generator.rounded_gaussian(values.size, self._policy.std / spacing)
        return NoisedSum(np.rint(scaled).astype(np.int64) + noise.reshape(values.shape), spacing)

    def end_step(self, units: int) -> None:
        """Ends a step whose sum has all its noise.

        Args:
            units: how many contributions were clipped and added up.

        Raises:
            PrivacyError: they are not those that were sampled, as with a batch of fixed size or
                from a shuffled loader; or noise was drawn for other coordinates than the policy's.
        """
        self._check_open()
        if self._noised != self._policy.weights:
            raise PrivacyError(
                f"{self._noised} coordinates had noise, and the policy has {self._policy.weights}"
            )
        if units != self._sampled:
            raise PrivacyError(
                f"{units} units were clipped, and {self._sampled} were sampled: the batch is not "
                "the Poisson sample that the accounting is about"
            )
        self._noised, self._sampled = 0, None
        self._steps += 1

    def release_sum(self, parts: Sequence[NoisedSum]) -> Release:
        """The one step's own noised sum, flat, for the one step that was paid for.

        Args:
            parts: all that :meth:`noised` gave in the step, in order.

        Raises:
            PrivacyError: more than one step, a step not ended, or not all coordinates.
        """
        points = np.concatenate([part.points.ravel() for part in parts])
        if self._policy.steps_per_round != 1 or points.size != self._policy.weights:
            raise PrivacyError("the sum of one whole step is released, and nothing else")
        whole = NoisedSum(points, self._policy.spacing)
        return self._released_as(whole.values, whole)

    def release(self, vector: NDArray[np.float32]) -> Release:
        """Wraps what the steps have made, shape (d,): once, and after exactly the steps paid for.

        Raises:
            PrivacyError: too few steps, a step not ended, or more values than had noise.
            TrainingError: values that are not finite.
        """
        if vector.size > self._policy.weights:
            raise PrivacyError(f"{vector.size} values, of which {self._policy.weights} had noise")
        return self._released_as(vector, None)

    def _released_as(self, vector: NDArray[np.float32], whole: NoisedSum | None) -> Release:
        if self._released or self._sampled is not None:
            raise PrivacyError("released already, or in the middle of a step")
        release = Release(vector, self._receipt, self._steps, self._generator.seeded, whole)
        self._released = True
        return release

    def _check_open(self) -> None:
        if self._released or self._steps >= self._receipt.steps:
            raise PrivacyError(f"all {self._receipt.steps} steps that were paid for are taken")


def _check_paid(policy: PrivacyPolicy, receipt: Receipt) -> None:
    if not isinstance(receipt, Receipt):
        raise PrivacyError("training needs the ledger's receipt")
    for name, wanted, paid in (
        ("unit", policy.unit, receipt.unit),
        ("noise_multiplier", policy.noise_multiplier, receipt.noise_multiplier),
        ("sampling_rate", policy.sampling_rate, receipt.sampling_rate),
        ("steps", policy.steps_per_round, receipt.steps),
    ):
        if wanted != paid:
            raise PrivacyError(f"{name} is {wanted} in the policy, and {paid} was paid for")
