# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What every member of a federation has agreed to, as canonical bytes and their digest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pydantic import TypeAdapter

from fedcode.errors import ConfigError, PrivacyError
from fedcode.federation import (
    AggregationSettings,
    Federation,
    ServerSettings,
    TaskSettings,
    TrainingSettings,
)
from fedcode.groups import SMALLEST_GROUP, threshold
from fedcode.identity import HEX, Roster, Signatures
from fedcode.privacy.lattice import Lattice, spacing_for
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.record import PrivacyUnit
from fedcode.signing import SigningKey, canonical
from fedcode.strict import Name, Purpose, checked

DOMAIN = "fedcode/agreement/3"

_NAME, _PURPOSE = TypeAdapter[str](Name), TypeAdapter[str](Purpose)
_PLAIN = {"str": str, "int": int, "bool": bool, "float": float}


@dataclass(frozen=True, slots=True)
class Agreement:
    """One task of a federation, as far as members and coordinator must agree on it.

    It names nothing private: no path, no record count.

    Attributes:
        federation: its name.
        purpose: what the trained model is for.
        task: the task's name.
        task_fingerprint: everything public that the task was made from, see ``Task.fingerprint``.
        start: SHA-256 of the task's start file, in hexadecimal: what training starts from, see
            ``fedcode.start``.
        weights: number of trainable weights.
        rounds: T.
        roster: the members and the coordinator, with their keys.
        unit: what adjacency adds or removes.
        epsilon: the federation's cap for each member, over all its tasks.
        delta: of the guarantee.
        noise_multiplier: std of the noise over the sensitivity (``PrivacyPolicy``).
        training: the members' half of a round.
        server: the coordinator's half.
        aggregation: how the members' releases become one.
    """

    federation: str
    purpose: str
    task: str
    task_fingerprint: str
    start: str
    weights: int
    rounds: int
    roster: Roster
    unit: str
    epsilon: float
    delta: float
    noise_multiplier: float
    training: TrainingSettings
    server: ServerSettings
    aggregation: AggregationSettings

    def canonical(self) -> bytes:
        """JSON with sorted keys and no white space: equal agreements, equal bytes."""
        return canonical(self.plain())

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self) | {
            "unit": str(self.unit),
            "roster": self.roster.plain(),
            "training": self.training.agreed(),
            "server": self.server.model_dump(mode="json"),
            "aggregation": self.aggregation.model_dump(mode="json"),
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Agreement:
        """What :meth:`plain` wrote.

        Raises:
            ConfigError: it is not an agreement.
        """
        try:
            made = cls(
                **{
                    **values,
                    "roster": Roster.read(values["roster"]),
                    "training": checked(TrainingSettings, values["training"], "the agreement"),
                    "server": checked(ServerSettings, values["server"], "the agreement"),
                    "aggregation": checked(
                        AggregationSettings, values["aggregation"], "the agreement"
                    ),
                }
            )
            made._check_types()
            same = made.canonical() == canonical(values)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError("this is not an agreement of this version") from error
        if not same:
            raise ConfigError("this is not an agreement of this version")
        return made

    def _check_types(self) -> None:
        """What the dataclass does not look at.

        Raises:
            ValueError: a field is not of its type, or out of its range.
        """
        for field in fields(self):
            value, wanted = getattr(self, field.name), _PLAIN.get(str(field.type))
            if wanted is not None and type(value) is not wanted:
                raise ValueError(f"{field.name} is not of its type")
        for text, form in ((self.federation, _NAME), (self.task, _NAME), (self.purpose, _PURPOSE)):
            form.validate_python(text)
        if not HEX.fullmatch(self.start):
            raise ValueError("start is no digest")
        PrivacyUnit(self.unit)
        if min(self.weights, self.rounds) < 1:
            raise ValueError("weights and rounds count from 1")
        noise = self.noise_multiplier
        if not (self.epsilon > 0 and 0 < self.delta < 1 and (noise == 0 or noise >= _LITTLE)):
            raise ValueError("that is no guarantee")
        if self.roster.federation != self.federation:
            raise ValueError("the roster is of another federation")
        self.aggregation.check_members(len(self.roster.members))

    def digest(self) -> str:
        """SHA-256 of :meth:`canonical` under its own domain, in hexadecimal."""
        return hashlib.sha256(DOMAIN.encode() + b"\x00" + self.canonical()).hexdigest()

    @property
    def length(self) -> int:
        """Coordinates of what a member sends: the weights, and what is measured beside them."""
        return self.weights + len(self.training.metrics)

    def possible(self, asked: int) -> bool:
        """Whether a round may ask so many of the members."""
        return self.aggregation.possible(asked, len(self.roster.members))

    @property
    def fewest_survivors(self) -> int:
        """The fewest whose noises can be in a secure sum of a round."""
        asked = self.aggregation.smallest(len(self.roster.members))
        return threshold(asked if self.aggregation.groups is None else SMALLEST_GROUP)

    @property
    def factor(self) -> float:
        """What turns a member's mean term into a mean change of weights.

        A noised sum of gradients is divided by the nominal batch, never by the batch that was
        drawn, and one step is taken down it; a change of weights is what it is.
        """
        if self.training.kind == "local-steps":
            return 1.0
        return -self.training.learning_rate / self.training.nominal_batch

    @property
    def policy(self) -> PrivacyPolicy:
        """What one round does to a member's data.

        Raises:
            ConfigError: it is an agreement without privacy.
        """
        return PrivacyPolicy(
            unit=PrivacyUnit(self.unit),
            clipping_norm=self.training.clipping_norm,
            weights=self.training.coordinates(self.weights),
            noise_multiplier=self.noise_multiplier,
            sampling_rate=self.training.sampling_rate,
            steps_per_round=self.training.steps_per_round,
            delta=self.delta,
            max_epsilon=self.epsilon,
        )

    def lattice(self) -> Lattice:
        """The integers that members add up, from public numbers alone.

        A noised sum keeps the points of its own lattice, or every 2^k-th where so many members
        would not fit otherwise. A change of weights has the finest lattice that holds what so many
        steps can be expected to change at most. What does not fit is refused, never wrapped.

        Raises:
            ConfigError: the points would be too far apart for the noise to add up.
        """
        training, policy = self.training, self.policy
        terms = len(self.roster.members)
        steps = training.steps_per_round
        sums = steps * (_FULL * training.nominal_batch * policy.clipping_norm + _NOISE * policy.std)
        spacing = max(policy.spacing, policy.spacing * spacing_for(sums / policy.spacing, terms))
        summed = training.kind == "gradient-sum" or training.metrics
        if summed and policy.std < _POINTS * spacing:
            raise ConfigError(
                f"the sums of {terms} members do not fit into integers with their noise",
                "fewer members, or a smaller nominal_batch",
            )
        if training.kind == "gradient-sum":
            return Lattice(((self.length, spacing),), terms)
        blocks = [(self.weights, spacing_for(_largest_change(training, sums), terms))]
        if training.metrics:
            blocks.append((len(training.metrics), spacing))
        return Lattice(tuple(blocks), terms)


_FULL, _NOISE = 64.0, 16.0
"""What a coordinate of a sum is expected to stay below: so many nominal batches whose units all
have their whole norm in it, and so many standard deviations of the noise."""

_LITTLE = 0.05  # of noise: with less, ε has four digits and takes minutes to be computed
_POINTS = 4.0  # of the sum to one deviation of a member's noise: docs/privacy.md says why
_ADAM = 4.0  # times its learning rate: more than a step moves a weight with the usual moments
_LEVEL = 16.0  # times C: how far an adaptive level is expected to rise


def _largest_change(training: TrainingSettings, sums: float) -> float:
    """What a round's steps are expected to change a weight by at most."""
    steps, rate = training.steps_per_round, training.learning_rate
    if training.optimizer == "adam":
        return steps * rate * _ADAM
    gradient = sums / training.nominal_batch
    if training.clipping == "adaptive":
        gradient *= _LEVEL
    if training.optimizer == "adam-bc":
        return rate * max(steps * _ADAM, gradient / math.sqrt(training.second_moment_floor))
    return rate * gradient / (1 - training.momentum)


def agree(
    federation: Federation,
    settings: TaskSettings,
    *,
    fingerprint: str,
    start: str,
    weights: int,
    noise_multiplier: float,
    roster: Roster,
    aggregation: AggregationSettings | None = None,
) -> Agreement:
    """The agreement on one task of ``federation``; it aggregates as the file says unless given."""
    return Agreement(
        federation=federation.name,
        purpose=federation.purpose,
        task=settings.name,
        task_fingerprint=fingerprint,
        start=start,
        weights=weights,
        rounds=settings.rounds,
        roster=roster,
        unit=federation.privacy.unit,
        epsilon=federation.privacy.epsilon,
        delta=federation.privacy.delta,
        noise_multiplier=noise_multiplier,
        training=settings.training,
        server=settings.server,
        aggregation=aggregation or federation.aggregation,
    )


@dataclass(frozen=True, slots=True)
class SignedAgreement:
    """An agreement and its members' signatures.

    Attributes:
        agreement: the document.
        signatures: of its canonical bytes, which name the roster and all its keys.
    """

    agreement: Agreement
    signatures: Signatures

    @classmethod
    def unsigned(cls, agreement: Agreement) -> SignedAgreement:
        """Nobody has signed yet."""
        return cls(agreement, Signatures(DOMAIN, {}))

    def sign(self, name: str, key: SigningKey) -> SignedAgreement:
        """With one more signature."""
        document = self.agreement.canonical()
        return SignedAgreement(self.agreement, self.signatures.adding(name, key, document))

    def with_signature(self, name: str, signature: str) -> SignedAgreement:
        """With a signature that was made elsewhere; see :meth:`missing`."""
        made = dict(sorted({**self.signatures.by_member, name: signature}.items()))
        return SignedAgreement(self.agreement, Signatures(DOMAIN, made))

    def missing(self) -> tuple[str, ...]:
        """The members without a signature that fits."""
        return self.signatures.missing(self.agreement.roster, self.agreement.canonical())

    def check(self) -> None:
        """Whether every member of the roster has signed.

        Raises:
            PrivacyError: somebody has not, or not with the key of the roster.
        """
        missing = self.missing()
        if missing:
            raise PrivacyError(f"{', '.join(missing)} did not sign the agreement")

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return {
            "agreement": self.agreement.plain(),
            "digest": self.agreement.digest(),
            "signatures": dict(self.signatures.by_member),
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> SignedAgreement:
        """What :meth:`plain` wrote; signatures are not checked.

        Raises:
            ConfigError: it is not that, or the digest is another agreement's.
        """
        try:
            agreement = Agreement.read(values["agreement"])
            given, digest = values["signatures"], values["digest"]
            found = cls(agreement, Signatures(DOMAIN, dict(given)))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError("this is not a signed agreement") from error
        texts = (*found.signatures.by_member, *found.signatures.by_member.values())
        same = given == found.signatures.by_member and set(values) == set(found.plain())
        if not same or not all(isinstance(text, str) for text in texts):
            raise ConfigError("this is not a signed agreement")
        if digest != agreement.digest():
            raise ConfigError("the digest is not that of the agreement", "it was changed by hand")
        return found
