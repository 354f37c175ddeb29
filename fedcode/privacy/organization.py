# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization permits: its officers' policy, and their signatures.

Whoever is to permit more than before needs the signatures of two of the officers before; one is
enough to permit less. Without a policy there is no account, and without an account no round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from fedcode.errors import ConfigError, PolicyRefusal, PrivacyError
from fedcode.record import PrivacyUnit
from fedcode.signing import SigningKey, canonical, signed
from fedcode.storage import write_atomically
from fedcode.strict import (
    Count,
    Key,
    Name,
    Positive,
    Probability,
    Purpose,
    Strict,
    checked,
    parsed,
    read,
)

DOMAIN = "fedcode/policy/1"
TO_RAISE, TO_LOWER = 2, 1
"""Signatures that a policy needs when it permits something new, and when it does not."""

_HINT = "docs/policy.md lists every key"


class CapSettings(Strict):
    """The most that one data asset may ever spend.

    Attributes:
        epsilon: over all tasks, purposes, agreements and years.
        per_30_days: within any 30 days.
        purposes: over all agreements for one purpose.
    """

    epsilon: Positive
    per_30_days: Positive | None = None
    purposes: dict[Purpose, Positive] = Field(default_factory=dict)


class Permitted(Strict):
    """What the organization's code may be used for.

    Attributes:
        purposes: as agreements name them.
        tasks: by name.
        units: what adjacency may add or remove.
        minimum_cohort: the fewest members of a round, ourselves included; of a secure sum, the
            fewest whose terms can be in it, t of n: the coordinator says who dropped out.
    """

    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1)]
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    units: Annotated[tuple[PrivacyUnit, ...], Field(min_length=1)]
    minimum_cohort: Count = 3


class Officer(Strict):
    """A person who may sign.

    Attributes:
        name: for people.
        key: the public Ed25519 key, 64 hexadecimal digits.
    """

    name: Name
    key: Key


class OrganizationPolicy(Strict):
    """The whole file.

    Attributes:
        organization: whose policy it is.
        version: grows with every change.
        delta: δ of every guarantee; fixed for good when the first account is opened.
        caps: how much.
        permitted: what for.
        officers: who signs the next version.
    """

    organization: Name
    version: Count
    delta: Probability
    caps: CapSettings
    permitted: Permitted
    officers: Annotated[tuple[Officer, ...], Field(min_length=TO_RAISE)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what in ("name", "key"):
            if len({getattr(officer, what) for officer in self.officers}) < len(self.officers):
                raise ValueError(f"two officers have one {what}")
        beyond = [p for p, epsilon in self.caps.purposes.items() if epsilon > self.caps.epsilon]
        if beyond:
            raise ValueError(f"the cap for {min(beyond)} is above the cap for everything")
        unknown = set(self.caps.purposes) - set(self.permitted.purposes)
        if unknown:
            raise ValueError(f"{min(unknown)} has a cap, and is not permitted")
        return self

    def canonical(self) -> bytes:
        """JSON with sorted keys and no white space: what is signed."""
        return canonical(self.model_dump(mode="json"))

    def check(self, *, purpose: str, task: str, unit: PrivacyUnit, cohort: int) -> None:
        """Whether a round may be taken part in.

        Raises:
            PolicyRefusal: it may not; for our own people: what leaves is a code.
        """
        permitted = self.permitted
        for what, value, allowed in (
            ("purpose", purpose, permitted.purposes),
            ("task", task, permitted.tasks),
            ("unit", unit, permitted.units),
        ):
            if value not in allowed:
                raise PolicyRefusal(f"the {what} {value} is not one of {', '.join(allowed)}")
        if cohort < permitted.minimum_cohort:
            raise PolicyRefusal(f"{cohort} members are fewer than {permitted.minimum_cohort}")

    def permits_no_more_than(self, before: OrganizationPolicy) -> bool:
        """Whether everything that this policy permits was permitted before.

        Other officers, and another organization or δ, count as more.
        """
        same = ("organization", "delta", "officers")
        mine, theirs = self.permitted, before.permitted
        return (
            all(getattr(self, name) == getattr(before, name) for name in same)
            and _within(self.caps, before.caps, mine.purposes)
            and set(mine.purposes) <= set(theirs.purposes)
            and set(mine.tasks) <= set(theirs.tasks)
            and set(mine.units) <= set(theirs.units)
            and mine.minimum_cohort >= theirs.minimum_cohort
        )


def _within(caps: CapSettings, before: CapSettings, purposes: Iterable[str]) -> bool:
    def no_more(mine: float | None, theirs: float | None) -> bool:
        return theirs is None or (mine is not None and mine <= theirs)

    return (
        no_more(caps.epsilon, before.epsilon)
        and no_more(caps.per_30_days, before.per_30_days)
        and all(no_more(caps.purposes.get(p), before.purposes.get(p)) for p in purposes)
    )


@dataclass(frozen=True, slots=True)
class SignedPolicy:
    """A policy and what officers have signed of it.

    Attributes:
        policy: the file's content.
        signatures: signature by public key.
    """

    policy: OrganizationPolicy
    signatures: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a policy, and the signatures from the file beside it (see :func:`beside`).

        Raises:
            ConfigError: what is wrong, in one line, with the key's place.
        """
        policy = parsed(OrganizationPolicy, read(path), str(path), _HINT)
        lines = read(beside(path)).split("\n") if beside(path).exists() else []
        pairs = [tuple(line.split()) for line in lines if line.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ConfigError(f"{beside(path)} is not of keys and signatures", "sign anew")
        return cls(policy, tuple((key, signature) for key, signature in pairs))

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """What :meth:`plain` wrote."""
        policy = checked(OrganizationPolicy, values["policy"], "the policy", _HINT)
        return cls(policy, tuple((key, signature) for key, signature in values["signatures"]))

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return {
            "policy": self.policy.model_dump(mode="json"),
            "signatures": [list(pair) for pair in self.signatures],
        }

    def sign(self, key: SigningKey) -> SignedPolicy:
        """The same with one signature more.

        Raises:
            ConfigError: the key is not an officer's.
        """
        signature = key.sign(DOMAIN, self.policy.canonical())
        others = tuple(pair for pair in self.signatures if pair[0] != key.public)
        return SignedPolicy(self.policy, (*others, (key.public, signature)))

    def save_signatures(self, path: Path) -> None:
        """Writes the signatures to the file beside the policy's."""
        text = "".join(f"{key} {signature}\n" for key, signature in self.signatures)
        write_atomically(beside(path), text.encode())
        beside(path).chmod(0o644)  # the next officer is another person

    def signers(self, officers: Iterable[Officer]) -> tuple[str, ...]:
        """The names of those of ``officers`` who have signed."""
        data, given = self.policy.canonical(), dict(self.signatures)
        return tuple(
            officer.name
            for officer in officers
            if officer.key in given and signed(officer.key, given[officer.key], DOMAIN, data)
        )

    def _unfit(self, who: tuple[str, ...]) -> str:
        """Who has signed, and how many signatures are of something or somebody else."""
        others = len(self.signatures) - len(who)
        words = ", ".join(who) or "nobody signed"
        return f"{words}; {others} that fit to no officer or to other content" if others else words

    def check(self, before: OrganizationPolicy | None) -> None:
        """Whether this policy may follow ``before``, or be the first.

        Raises:
            PrivacyError: too few signatures, or it is not a later version.
        """
        policy = self.policy
        if before is not None and policy.version <= before.version:
            raise PrivacyError(
                f"version {policy.version} of the policy does not follow {before.version}",
                "count the version up with every change",
            )
        lower = before is not None and policy.permits_no_more_than(before)
        needed = TO_LOWER if lower else TO_RAISE
        who = self.signers((before or policy).officers)
        if len(who) < needed:
            what = "permits less than before" if lower else "permits more than before"
            raise PrivacyError(
                f"the policy {what} and needs {needed} officers' signatures, it has {len(who)}"
                f" ({self._unfit(who)})",
                "fedcode-client policy sign POLICY.toml --key FILE",
            )


def beside(path: Path) -> Path:
    """Where the signatures of the policy at ``path`` stand: one ``key signature`` a line."""
    return path.with_name(path.name + ".signatures")
