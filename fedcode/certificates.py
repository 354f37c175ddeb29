# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""X.509 for mutual TLS: an authority, its certificates, requests for them, and invitations.

Keys are EC P-256, for which both sides of TLS 1.2 and 1.3 have fast and careful code everywhere. A
certificate names what it is for: a server's can do nothing but serve, a member's nothing but call.
"""

from __future__ import annotations

import ipaddress
import os
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedcode.errors import ConfigError
from fedcode.storage import write_atomically

EARLY = timedelta(minutes=5)
"""Validity starts before the clock says so: the other side's may be slow."""

AUTHORITY_DAYS = 3650
LONGEST_REQUEST = 4096
"""Bytes of a certificate request; one for a P-256 key has some 250."""

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256."""

_TOKEN_VERSION = 2
_TOKEN_BYTES = 1 + 32 + 8 + 32 + 4
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new key for TLS."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as it stands in a file: PKCS #8, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key in PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Reads what :func:`key_pem` made.

    Raises:
        ConfigError: the file cannot be read, or holds no key.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} holds no key", "bring it back from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path} holds a key of another kind", "bring it back from a backup")
    return key


def load_certificate(path: Path) -> x509.Certificate:
    """Reads a certificate in PEM.

    Raises:
        ConfigError: the file cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} holds no certificate", "bring it back from a backup") from error


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates in PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the certificate's DER: 32 bytes."""
    return certificate.fingerprint(SHA256())


def common_name(certificate: x509.Certificate) -> str:
    """The subject's name; empty where it has none, or several."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def hosts_of(certificate: x509.Certificate) -> set[str]:
    """The names and addresses that a server's certificate is for."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return {*names.get_values_for_type(x509.DNSName), *map(str, addresses)}


def request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate request, DER: it says no name, since the invitation has given one."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def check_request(data: bytes) -> ec.EllipticCurvePublicKey:
    """The key that a certificate request is for; nothing else in the request is looked at.

    Raises:
        ConfigError: it is no request, not signed by its key, or for a key of another kind.
    """
    wrong = ConfigError("this is no certificate request for a key on P-256")
    if len(data) > LONGEST_REQUEST:
        raise wrong
    try:
        asked = x509.load_der_x509_csr(data)
        key, good = asked.public_key(), asked.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise wrong from error
    if not good or not isinstance(key, ec.EllipticCurvePublicKey):
        raise wrong
    if not isinstance(key.curve, ec.SECP256R1):
        raise wrong
    return key


class Authority:
    """A certificate authority: its key signs certificates of servers and members, no others."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key, self.certificate = key, certificate

    @classmethod
    def make(cls, name: str, now: datetime | None = None) -> Self:
        """A new one; ``name`` is for people who look at certificates."""
        key, now = new_key(), now or datetime.now(UTC)
        subject = _named(name)
        builder = _builder(subject, subject, key.public_key(), now, timedelta(days=AUTHORITY_DAYS))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_usage(authority=True), True)
        builder = builder.add_extension(_identifier(key.public_key()), False)
        return cls(key, builder.sign(key, SHA256()))

    @classmethod
    def load(cls, key: Path, certificate: Path) -> Self:
        """Reads what :meth:`save` wrote.

        Raises:
            ConfigError: one of the files is missing, damaged, or not for the other.
        """
        found, made = load_key(key), load_certificate(certificate)
        if made.public_key() != found.public_key():
            raise ConfigError(f"{certificate} is not for {key}", "bring both back from a backup")
        return cls(found, made)

    def save(self, key: Path, certificate: Path) -> None:
        """Writes both files, readable for their owner only."""
        write_atomically(key, key_pem(self._key))
        write_atomically(certificate, self.pem)

    @property
    def pem(self) -> bytes:
        """Its certificate in PEM: what others trust."""
        return pem(self.certificate)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of its certificate's DER."""
        return fingerprint(self.certificate)

    def for_server(
        self,
        key: ec.EllipticCurvePublicKey,
        hosts: Sequence[str],
        days: float,
        now: datetime | None = None,
    ) -> x509.Certificate:
        """A certificate to serve under the names and addresses ``hosts``."""
        builder = self._leaf(key, hosts[0][:64], days, now, ExtendedKeyUsageOID.SERVER_AUTH)
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return builder.add_extension(names, False).sign(self._key, SHA256())

    def for_member(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        days: float,
        now: datetime | None = None,
    ) -> x509.Certificate:
        """A certificate to call as ``name``."""
        builder = self._leaf(key, name, days, now, ExtendedKeyUsageOID.CLIENT_AUTH)
        return builder.sign(self._key, SHA256())

    def _leaf(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        days: float,
        now: datetime | None,
        purpose: x509.ObjectIdentifier,
    ) -> x509.CertificateBuilder:
        now = now or datetime.now(UTC)
        ours = self._key.public_key()
        return (
            _builder(_named(name), self.certificate.subject, key, now, timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(authority=False), True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), False)
            .add_extension(_identifier(key), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), False)
        )


@dataclass(frozen=True, slots=True)
class Invitation:
    """What one token says: a seed, of which both sides make one key and one certificate.

    The token goes from person to person. The seed never goes over the network: whoever joins shows
    the certificate, and with TLS proves to have its key.

    Attributes:
        authority: the fingerprint of the authority that the server's certificate must come from.
        expires: seconds since 1970; the certificate ends then.
        seed: 32 random bytes.
    """

    authority: bytes
    expires: int
    seed: bytes

    @classmethod
    def make(cls, authority: bytes, expires: int) -> Self:
        """A new one."""
        return cls(authority, expires, os.urandom(32))

    @classmethod
    def read(cls, token: str) -> Self:
        """What :attr:`token` gave.

        Raises:
            ConfigError: it is not one, or of a later version.
        """
        wrong = ConfigError(
            "this is no invitation: was all of it copied?",
            "copy the whole token, as it was printed",
        )
        try:
            data = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError as error:
            raise wrong from error
        if len(data) != _TOKEN_BYTES or data[0] != _TOKEN_VERSION:
            raise wrong
        made = cls(data[1:33], int.from_bytes(data[33:41], "big"), data[41:73])
        if made.token != token or not _EPOCH.timestamp() < made.expires < 1 << 36:
            raise wrong
        return made

    @property
    def token(self) -> str:
        """103 letters, for a person to hand over; a checksum ends them.

        CRC-32 misses no change within 32 bits, so that one letter is always noticed, or a few in a
        row. It is for what is copied wrongly; what somebody forges fails elsewhere.
        """
        ends = self.expires.to_bytes(8, "big")
        data = bytes([_TOKEN_VERSION]) + self.authority + ends + self.seed
        data += zlib.crc32(data).to_bytes(4, "big")
        return urlsafe_b64encode(data).decode().rstrip("=")

    @property
    def shown(self) -> str:
        """What a person knows the token by, and cannot join with."""
        return f"{self.token[:4]}…{self.token[-6:]}"

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key that the seed makes."""
        # 48 bytes reduced modulo the order: within 2^-128 of uniform (FIPS 186-5, A.2.1).
        wide = HKDF(SHA256(), 48, None, b"fedcode/invitation/1").derive(self.seed)
        return ec.derive_private_key(int.from_bytes(wide, "big") % (_ORDER - 1) + 1, ec.SECP256R1())

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate that key and expiry make: always the same bytes.

        It signs itself, and is no authority: who trusts it trusts nothing else.
        """
        key, subject = self.key, _named("invitation")
        ends = datetime.fromtimestamp(self.expires, UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(_EPOCH)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(authority=False), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .sign(key, SHA256(), ecdsa_deterministic=True)
        )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + life)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _identifier(key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
