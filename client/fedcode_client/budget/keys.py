# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who may ask the organization's ledger for what: certificates of its own small authority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from fedcode.certificates import (
    Authority,
    common_name,
    key_pem,
    load_certificate,
    load_key,
    new_key,
    pem,
)
from fedcode.errors import ConfigError
from fedcode.storage import write_atomically

DAYS = 730
"""That a certificate holds; a third before its end it is made anew when the service starts."""

LOCAL = ("localhost", "127.0.0.1")
_SERVICE = "service"
_METHODS = "/fedcode.budget.v1.Budget/"


class Role(StrEnum):
    """Who asks."""

    TRAINER = "trainer"
    OFFICER = "officer"


_READ = {"GetAccount", "GetTotals", "GetHead", "CheckWitnessed"}
_SPEND = {"Charge", "CheckCharge", "Arm", "Sent", "SentAgain", "Refund", "Answer", "Latch"}
MAY = {
    Role.TRAINER: frozenset({*_READ, *_SPEND, "Witness"}),
    Role.OFFICER: frozenset({*_READ, "OpenAccounts", "Adopt", "Acknowledge", "Verify", "Export"}),
}
"""Nobody both spends and permits."""


def permits(certificate: x509.Certificate, method: str) -> bool:
    """Whether who holds a certificate of our authority may call a method."""
    try:
        role = Role(common_name(certificate))
    except ValueError:
        return False
    return method.startswith("/grpc.health.") or method.removeprefix(_METHODS) in MAY[role]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one side of a connection shows, in PEM.

    Attributes:
        ca: whom it trusts.
        key: its own.
        certificate: its own.
    """

    ca: bytes
    key: bytes
    certificate: bytes

    @classmethod
    def load(cls, keys: Path, name: str) -> Credentials:
        """Those of a role, or of the service.

        Raises:
            ConfigError: they are not there.
        """
        key, certificate = _files(keys, name)
        if name == Role.OFFICER and not key.exists() and (keys / "ca.crt").exists():
            raise ConfigError(
                f"this machine has no officer's key for the budget service ({key})",
                "only officers may do that: fedcode-client budget grant officer, on the ledger's",
            )
        found = (load_certificate(keys / "ca.crt"), load_key(key), load_certificate(certificate))
        return cls(pem(found[0]), key_pem(found[1]), pem(found[2]))


def make_keys(keys: Path, hosts: Sequence[str] = ()) -> list[Path]:
    """Makes what is missing, and certificates anew that end soon or lack a host.

    Args:
        keys: the folder; its owner's alone.
        hosts: under which the service is reached, beside this machine's own names.

    Returns:
        The files that were written.
    """
    keys.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    written: list[Path] = []
    files = (keys / "ca.key", keys / "ca.crt")
    if not any(file.exists() for file in files):
        Authority.make("fedcode budget").save(*files)
        written += files
    authority = Authority.load(*files)
    names = tuple(dict.fromkeys((*LOCAL, *hosts)))
    for name in (_SERVICE, *Role):
        written += _issued(authority, keys, name, names if name == _SERVICE else ())
    return written


def grant(keys: Path, role: Role, folder: Path) -> None:
    """Makes a key and a certificate for another machine, in a new folder to be carried there.

    Raises:
        ConfigError: the folder is there already, or we have no authority.
    """
    authority = Authority.load(keys / "ca.key", keys / "ca.crt")
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made", "name a folder that is not there") from error
    _issued(authority, folder, role, ())
    write_atomically(folder / "ca.crt", authority.pem)


def _issued(authority: Authority, keys: Path, name: str, hosts: Sequence[str]) -> list[Path]:
    key_file, file = _files(keys, name)
    if key_file.exists() and file.exists() and _lasts(load_certificate(file), hosts):
        return []
    key = load_key(key_file) if key_file.exists() else new_key()
    made = (
        authority.for_server(key.public_key(), hosts, DAYS)
        if hosts
        else authority.for_member(key.public_key(), name, DAYS)
    )
    write_atomically(key_file, key_pem(key))
    write_atomically(file, pem(made))
    return [key_file, file]


def _lasts(certificate: x509.Certificate, hosts: Sequence[str]) -> bool:
    if certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=DAYS / 3):
        return False
    if not hosts:
        return True
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(hosts) <= {str(name.value) for name in names}


def _files(keys: Path, name: str) -> tuple[Path, Path]:
    return keys / f"{name}.key", keys / f"{name}.crt"
