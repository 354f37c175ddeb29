# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Three privacy officers, what they sign, and accounts under their policy."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedcode.privacy.organization import OrganizationPolicy, SignedPolicy
from fedcode.record import PrivacyUnit
from fedcode.signing import SigningKey

NAMES = ("ada", "grace", "mary")
KEYS = [SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2, 3)]
STRANGER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32))


def values(**changes):
    """A policy as TOML would give it; ``caps`` and ``permitted`` are merged."""
    plain = {
        "organization": "o",
        "version": 1,
        "delta": 1e-5,
        "caps": {"epsilon": 8.0},
        "permitted": {
            "purposes": ["research", "test"],
            "tasks": ["completion", "toy", "t"],
            "units": [str(unit) for unit in PrivacyUnit],
            "minimum_cohort": 1,
        },
        "officers": [{"name": n, "key": k.public} for n, k in zip(NAMES, KEYS, strict=True)],
    }
    for key, value in changes.items():
        plain[key] = plain[key] | value if isinstance(value, dict) else value
    return plain


def policy(*keys, **changes):
    """A policy and the signatures of ``keys``."""
    made = SignedPolicy(OrganizationPolicy.model_validate(values(**changes)))
    for key in keys:
        made = made.sign(key)
    return made


def open_real(ledger, asset, *, unit=PrivacyUnit.FUNCTION, order=4.0, epsilon=8.0, delta=1e-5):
    """An account under a policy that two officers have signed."""
    signed = policy(*KEYS[:2], caps={"epsilon": epsilon}, delta=delta)
    return ledger.open_account(asset, policy=signed, unit=unit, order=order)
