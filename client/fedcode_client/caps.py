# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The next version of a policy, with another cap: written, signed, and put in force when it may."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcode.errors import ConfigError, PrivacyError
from fedcode.privacy.organization import (
    TO_LOWER,
    TO_RAISE,
    OrganizationPolicy,
    SignedPolicy,
)
from fedcode.signing import SigningKey
from fedcode.storage import write_atomically


@dataclass(frozen=True, slots=True)
class Signed:
    """What became of a version.

    Attributes:
        path: of the file; the signatures stand beside it.
        version: its number.
        epsilon: the cap on everything.
        signed_by: officers whose signatures count.
        missing: how many signatures are still needed; 0 where it is in force.
        may_sign: officers who have not signed.
    """

    path: str
    version: int
    epsilon: float
    signed_by: tuple[str, ...]
    missing: int
    may_sign: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def with_cap(
    force: OrganizationPolicy, epsilon: float, per_30_days: float | None = None
) -> OrganizationPolicy:
    """The version that follows ``force``: the same but for the cap on everything.

    Caps for a purpose and for 30 days that would be above it come down to it.

    Args:
        force: the policy in force.
        epsilon: the new cap.
        per_30_days: the new one for 30 days, where it is to be another, too.

    Raises:
        ConfigError: it is no cap.
    """
    values = force.model_dump(mode="json")
    caps = values["caps"]
    values["version"] = force.version + 1
    caps["epsilon"] = epsilon
    caps["purposes"] = {purpose: min(cap, epsilon) for purpose, cap in caps["purposes"].items()}
    window = per_30_days or caps["per_30_days"]
    caps["per_30_days"] = None if window is None else min(window, epsilon)
    try:
        return OrganizationPolicy.model_validate(values)
    except ValueError as error:
        raise ConfigError(f"{epsilon:g} is no cap", "name an ε above 0") from error


def as_toml(policy: OrganizationPolicy) -> str:
    """A policy as a person writes it."""
    caps, permitted = policy.caps, policy.permitted
    lines = [
        f"organization = {_text(policy.organization)}",
        f"version = {policy.version}",
        f"delta = {policy.delta!r}",
        "\n[caps]",
        f"epsilon = {caps.epsilon!r}",
    ]
    if caps.per_30_days is not None:
        lines.append(f"per_30_days = {caps.per_30_days!r}")
    if caps.purposes:
        pairs = ", ".join(f"{_text(name)} = {cap!r}" for name, cap in caps.purposes.items())
        lines.append(f"purposes = {{ {pairs} }}")
    lines += [
        "\n[permitted]",
        *(f"{name} = {_texts(getattr(permitted, name))}" for name in ("purposes", "tasks")),
        f"units = {_texts([str(unit) for unit in permitted.units])}",
        f"minimum_cohort = {permitted.minimum_cohort}",
    ]
    for officer in policy.officers:
        lines += ["\n[[officers]]", f"name = {_text(officer.name)}", f"key = {_text(officer.key)}"]
    return "\n".join(lines) + "\n"


def sign_next(
    path: Path, force: OrganizationPolicy, wanted: OrganizationPolicy, key: SigningKey
) -> tuple[SignedPolicy, Signed]:
    """Writes ``wanted`` beside the policy at ``path`` if it is not there yet, and signs it.

    Raises:
        ConfigError: another version of this number is there, or the key is no officer's.
    """
    check_officer(force, key)
    file = path.with_name(f"{_stem(path, force.version)}-{wanted.version}.toml")
    if not file.exists():
        write_atomically(file, as_toml(wanted).encode())
        file.chmod(0o644)
    signed = SignedPolicy.load(file)
    if signed.policy != wanted:
        raise ConfigError(
            f"{file} is another version {wanted.version}", "sign that one, or move it away"
        )
    signed = signed.sign(key)
    signed.save_signatures(file)
    by = signed.signers(force.officers)
    needed = TO_LOWER if wanted.permits_no_more_than(force) else TO_RAISE
    return signed, Signed(
        str(file),
        wanted.version,
        wanted.caps.epsilon,
        by,
        max(0, needed - len(by)),
        tuple(officer.name for officer in force.officers if officer.name not in by),
    )


def check_officer(force: OrganizationPolicy, key: SigningKey) -> None:
    """Whether a key is one of the officers'.

    Raises:
        ConfigError: it is nobody's who may sign.
    """
    if key.public not in {officer.key for officer in force.officers}:
        raise ConfigError("this key is no officer's", "name the key file of one of the officers")


def check_direction(force: OrganizationPolicy, epsilon: float, *, up: bool) -> None:
    """Whether a cap is raised, or lowered, as it was said.

    Raises:
        ConfigError: it is not.
    """
    now = force.caps.epsilon
    if (epsilon > now) != up or epsilon == now:
        word = "raise" if up else "lower"
        other = "lower" if up else "raise"
        raise ConfigError(
            f"the cap is ε = {now:g}, and {epsilon:g} does not {word} it",
            f"fedcode-client budget {other}" if epsilon != now else "",
        )


def in_force(policies: list[OrganizationPolicy]) -> OrganizationPolicy:
    """The policy of an organization's accounts, which is one.

    Raises:
        PrivacyError: there is no account under a policy.
    """
    if not policies:
        raise PrivacyError("there is no account yet", "fedcode-client budget create")
    return policies[0]


def _stem(path: Path, version: int) -> str:
    return path.stem.removesuffix(f"-{version}")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _texts(values: Any) -> str:
    return f"[{', '.join(_text(value) for value in values)}]"
