# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An organization's folder: its settings, its keys, and what it is a member of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from fedcode.certificates import key_pem, load_key, new_key
from fedcode.errors import ConfigError, MembershipError
from fedcode.federation import anchored
from fedcode.folders import Folder
from fedcode.signing import SigningKey
from fedcode.storage import write_atomically
from fedcode.strict import Key, Name, Strict, checked, parsed, read
from fedcode_client.settings import HINT, TOML, ClientSettings, Port

_LOST = (
    "bring it back from a backup; without it `fedcode-client init` makes another one, to `join` "
    "with when the coordinator has invited us again (`fedcode-server renew`)"
)


class Membership(Strict):
    """``state/membership.json``: who we are, and where.

    Attributes:
        member: our name; the invitation gave it.
        federation: its name.
        host: of the coordinator.
        enrolment: port of its enrolment service.
        fleet: port of the rounds.
        coordinator: its Ed25519 key, 64 hexadecimal digits.
    """

    member: Name
    federation: Name
    host: str
    enrolment: Port
    fleet: Port
    coordinator: Key

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the enrolment service."""
        return joined(self.host, self.enrolment)


def joined(host: str, port: int) -> str:
    """``HOST:PORT``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Home(Folder):
    """An organization's folder.

    Attributes:
        root: made by ``fedcode-client init``.
    """

    PROGRAM = "fedcode-client"
    OWNER = "organization"
    VARIABLE = "FEDCODE_CLIENT_HOME"
    SETTINGS = "client.toml"
    PARTS = ("keys", "state", "ledger", "log", "data")

    @property
    def ledger(self) -> Path:
        """The budget's own folder."""
        return self.root / "ledger"

    @property
    def data(self) -> Path:
        """What our data was like, and what was accepted of it."""
        return self.root / "data"

    @property
    def certificate(self) -> Path:
        """Ours for TLS, PEM."""
        return self.keys / "tls.crt"

    @property
    def authority(self) -> Path:
        """The federation's, PEM: the only one that is trusted."""
        return self.keys / "ca.crt"

    def settings(self) -> ClientSettings:
        """What stands in ``client.toml``."""
        return parsed(ClientSettings, read(self.toml), str(self.toml), HINT)

    def sources(self) -> tuple[str, ...]:
        """Where our code lies, as ``client.toml`` names it; none where it names none."""
        return tuple(anchored(source, self.root) for source in self.settings().source)

    def signing_key(self) -> SigningKey:
        """Ours in the roster."""
        return SigningKey.load(self.keys / "signing.key", _LOST)

    def node_key(self) -> ec.EllipticCurvePrivateKey:
        """Ours for Flower's node authentication."""
        return load_key(self.keys / "node.key")

    def tls_key(self) -> ec.EllipticCurvePrivateKey:
        """Ours for TLS."""
        return load_key(self.keys / "tls.key")

    def member_of(self) -> Membership | None:
        """What we are a member of; None before `join` and after `leave`."""
        path = self.state / "membership.json"
        if not path.exists():
            return None
        try:
            values = json.loads(read(path))
        except ValueError as error:
            raise ConfigError(f"{path} is damaged", "bring it back from a backup") from error
        return checked(Membership, values, str(path), "bring it back from a backup")

    def membership(self) -> Membership:
        """What we are a member of.

        Raises:
            MembershipError: nothing.
        """
        found = self.member_of()
        if found is None:
            raise MembershipError(
                f"{self.root} has not joined a federation", "fedcode-client join TOKEN@HOST"
            )
        return found

    def keep(self, membership: Membership, certificate: bytes, authority: bytes) -> None:
        """Becomes a member: what was there is replaced only when all of the new is on disk."""
        path = self.state / "membership.json"
        text = json.dumps(membership.model_dump(), indent=1) + "\n"
        contents = {
            self.authority: authority,
            self.certificate: certificate,
            path: text.encode(),
        }
        staged = {path.with_name(f"{path.name}.new"): path for path in contents}
        try:
            for new, path in staged.items():
                write_atomically(new, contents[path])
            for new, path in staged.items():
                new.replace(path)
        finally:
            for new in staged:
                new.unlink(missing_ok=True)

    def renew(self, certificate: bytes) -> None:
        """Has another certificate, PEM, for the same key."""
        write_atomically(self.certificate, certificate)

    def forget(self) -> None:
        """Is a member no more; keys, agreements and the ledger stay."""
        for path in (self.state / "membership.json", self.certificate, self.authority):
            path.unlink(missing_ok=True)


def make(root: Path) -> list[Path]:
    """Makes what the folder lacks: settings and keys; returns what it made.

    Raises:
        ConfigError: something else is there.
    """
    home, made = Home(root), list[Path]()
    if not home.toml.exists():
        home.check_new()
    home.make()
    signing = home.keys / "signing.key"
    if not signing.exists():
        SigningKey.generate().save(signing)
        made.append(signing)
    node = key_pem(ec.generate_private_key(ec.SECP384R1()))
    others = {"node.key": node, "tls.key": key_pem(new_key())}
    contents = {home.keys / name: content for name, content in others.items()}
    for path, content in (contents | {home.toml: TOML.encode()}).items():
        if not path.exists():
            write_atomically(path, content)
            made.append(path)
    return made
