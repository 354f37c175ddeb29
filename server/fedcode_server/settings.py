# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A coordinator's folder: what a person set in it, and where everything else lies."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cryptography import x509
from pydantic import AfterValidator, Field

from fedcode.certificates import (
    Authority,
    hosts_of,
    key_pem,
    load_certificate,
    load_key,
    pem,
)
from fedcode.folders import Folder
from fedcode.signing import SigningKey
from fedcode.storage import write_atomically
from fedcode.strict import Amount, Count, Name, Positive, Strict, parsed, read

HINT = "the comments in server.toml say what there is"

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DNS = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def _host(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if not _DNS.fullmatch(value):
            raise ValueError(f"{value!r} is no name or address of a machine") from None
    return value.lower()


Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=0, lt=1 << 16, strict=True)]


class ListenSettings(Strict):
    """Where the coordinator can be reached.

    Attributes:
        address: of this machine, for enrolment and fleet.
        enrolment: port of the enrolment service.
        fleet: port of the rounds.
        local: port of health and metrics, on loopback.
    """

    address: Annotated[str, AfterValidator(lambda value: str(ipaddress.ip_address(value)))] = (
        "0.0.0.0"  # noqa: S104  members are elsewhere
    )
    enrolment: Port = 9471
    fleet: Port = 9472
    local: Port = 9473

    def at(self, port: int) -> str:
        """``HOST:PORT``, as gRPC wants it."""
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"


class CertificateSettings(Strict):
    """How long certificates are good; both kinds are renewed when a third of it is left."""

    member_days: Count = 90
    server_days: Count = 365


class RoundSettings(Strict):
    """How rounds go on when members do not answer.

    Attributes:
        answer_seconds: for what a member says at once.
        training_seconds: for what it trains first.
        away_seconds: a member whose agent is gone for so long is not waited for in this round.
        gather_seconds: so long a round waits for all members before it begins with those there.
        lost_in_a_row: after so many rounds without a total the run stops: members have paid.
        largest_mib: of a message.
    """

    answer_seconds: Positive = 120.0
    training_seconds: Positive = 7200.0
    away_seconds: Positive = 60.0
    gather_seconds: Amount = 30.0
    lost_in_a_row: Count = 5
    largest_mib: Count = 512


class ServerSettings(Strict):
    """``server.toml``.

    Attributes:
        federation: its name; stands in all that members sign.
        hosts: names and addresses under which members reach this machine.
    """

    federation: Name
    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    listen: ListenSettings = ListenSettings()
    certificates: CertificateSettings = CertificateSettings()
    rounds: RoundSettings = RoundSettings()


@dataclass(frozen=True, slots=True)
class Home(Folder):
    """A coordinator's folder.

    Attributes:
        root: made by ``fedcode-server init``.
    """

    PROGRAM = "fedcode-server"
    OWNER = "coordinator"
    VARIABLE = "FEDCODE_SERVER_HOME"
    SETTINGS = "server.toml"
    PARTS = ("keys", "state", "runs", "log")

    @property
    def registry(self) -> Path:
        """Who is invited, and who is a member."""
        return self.state / "registry.sqlite"

    @property
    def runs(self) -> Path:
        """A folder for each run."""
        return self.root / "runs"

    def settings(self) -> ServerSettings:
        """What stands in ``server.toml``."""
        return parsed(ServerSettings, read(self.toml), str(self.toml), HINT)

    def signing_key(self) -> SigningKey:
        """With which the coordinator signs all that it sends."""
        return SigningKey.load(self.keys / "signing.key", "bring it back from a backup")

    def authority(self) -> Authority:
        """Which makes the certificates of this server and of all members."""
        return Authority.load(self.keys / "ca.key", self.keys / "ca.crt")

    def server_key(self) -> bytes:
        """The key of the server's certificate, PEM."""
        return key_pem(load_key(self.keys / "server.key"))

    def server_chain(self, now: datetime | None = None) -> bytes:
        """The server's certificate and the authority's, PEM.

        A new one is made, for the same key, when a third of its life is left or the settings name
        other hosts than it.
        """
        path, now = self.keys / "server.crt", now or datetime.now(UTC)
        settings = self.settings()
        if not path.exists() or _due(load_certificate(path), settings, now):
            key = load_key(self.keys / "server.key").public_key()
            days = settings.certificates.server_days
            made = self.authority().for_server(key, settings.hosts, days, now)
            write_atomically(path, pem(made))
        return pem(load_certificate(path), load_certificate(self.keys / "ca.crt"))


def _due(there: x509.Certificate, settings: ServerSettings, now: datetime) -> bool:
    life = timedelta(days=settings.certificates.server_days)
    return there.not_valid_after_utc - now < life / 3 or hosts_of(there) != set(settings.hosts)
