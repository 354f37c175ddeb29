# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Certificates: what each is for, and what a request or a token must be."""

import stat
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store

from fedcode.certificates import (
    Authority,
    Invitation,
    check_request,
    common_name,
    fingerprint,
    load_certificate,
    load_key,
    new_key,
    pem,
    request,
)
from fedcode.errors import ConfigError

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
AUTHORITY = Authority.make("fedcode authority of ours", NOW)
SOON = int(time.time()) + 3600


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def purposes(certificate):
    return [use._name for use in extension(certificate, x509.ExtendedKeyUsage).value]


def test_an_authority_signs_leaves_and_no_other_authority() -> None:
    constraints = extension(AUTHORITY.certificate, x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = extension(AUTHORITY.certificate, x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature


def test_a_server_may_only_serve_and_a_member_only_call() -> None:
    key = new_key().public_key()
    serving = AUTHORITY.for_server(key, ["fed.example", "192.0.2.7", "::1"], 30, NOW)
    calling = AUTHORITY.for_member(key, "acme", 30, NOW)
    assert purposes(serving) == ["serverAuth"]
    assert purposes(calling) == ["clientAuth"]
    assert common_name(calling) == "acme"
    names = extension(serving, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fed.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]
    for leaf in (serving, calling):
        assert not extension(leaf, x509.BasicConstraints).value.ca
        assert not extension(leaf, x509.KeyUsage).value.key_cert_sign
        leaf.verify_directly_issued_by(AUTHORITY.certificate)
    assert serving.serial_number != calling.serial_number


def test_validity_starts_a_little_early_and_ends_on_the_day() -> None:
    made = AUTHORITY.for_member(new_key().public_key(), "acme", 30, NOW)
    assert made.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert made.not_valid_after_utc == NOW + timedelta(days=30)


def test_a_second_verifier_accepts_a_server_for_its_names_alone() -> None:
    leaf = AUTHORITY.for_server(new_key().public_key(), ["fed.example"], 30, NOW)
    policy = PolicyBuilder().store(Store([AUTHORITY.certificate])).time(NOW)
    policy.build_server_verifier(x509.DNSName("fed.example")).verify(leaf, [])
    with pytest.raises(x509.verification.VerificationError):
        policy.build_server_verifier(x509.DNSName("other.example")).verify(leaf, [])


def test_an_authority_comes_back_from_its_files(tmp_path) -> None:
    key, certificate = tmp_path / "ca.key", tmp_path / "ca.crt"
    AUTHORITY.save(key, certificate)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = Authority.load(key, certificate)
    assert again.fingerprint == AUTHORITY.fingerprint == fingerprint(load_certificate(certificate))
    again.for_member(new_key().public_key(), "acme", 1).verify_directly_issued_by(
        AUTHORITY.certificate
    )


def test_files_that_are_not_what_they_were_are_named(tmp_path) -> None:
    key, certificate = tmp_path / "ca.key", tmp_path / "ca.crt"
    with pytest.raises(ConfigError, match=r"ca\.key holds no key"):
        Authority.load(key, certificate)
    AUTHORITY.save(key, certificate)
    certificate.write_bytes(Authority.make("another").pem)
    with pytest.raises(ConfigError, match=r"ca\.crt is not for .*ca\.key"):
        Authority.load(key, certificate)
    certificate.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="holds no certificate"):
        load_certificate(certificate)
    key.write_bytes(key.read_bytes()[:-80])
    with pytest.raises(ConfigError, match="holds no key"):
        load_key(key)


def test_a_request_is_for_its_own_key_and_no_name() -> None:
    key = new_key()
    made = request(key)
    assert check_request(made) == key.public_key()
    assert not list(x509.load_der_x509_csr(made).subject)


def other_request(key, algorithm):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def forged():
    """A request whose signature is another key's: its public key put in place of the signer's."""
    made, shown = new_key(), new_key()
    spki = PublicFormat.SubjectPublicKeyInfo
    points = [key.public_key().public_bytes(Encoding.DER, spki) for key in (made, shown)]
    return request(made).replace(*points)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nothing",
        request(new_key())[:-1],
        request(new_key()) + bytes(5000),
        forged(),
        other_request(ec.generate_private_key(ec.SECP384R1()), SHA256()),
        other_request(ec.generate_private_key(ec.SECP256K1()), SHA256()),
        other_request(rsa.generate_private_key(65537, 2048), SHA256()),
        other_request(ed25519.Ed25519PrivateKey.generate(), None),
    ],
    ids=["empty", "text", "cut", "long", "forged", "P-384", "another curve", "RSA", "Ed25519"],
)
def test_other_requests_are_refused(data) -> None:
    with pytest.raises(ConfigError, match="no certificate request"):
        check_request(data)


def test_both_sides_make_the_same_certificate_of_a_token() -> None:
    ours = Invitation.make(AUTHORITY.fingerprint, SOON)
    theirs = Invitation.read(ours.token)
    assert theirs == ours
    assert pem(theirs.certificate) == pem(ours.certificate) == pem(ours.certificate)
    assert theirs.certificate.public_key() == ours.key.public_key()


def test_the_certificate_of_a_seed_never_changes() -> None:
    """Who invites and who joins may have other versions of this program."""
    made = Invitation(bytes(32), 1_900_000_000, bytes(range(32)))
    assert fingerprint(made.certificate).hex() == FINGERPRINT


FINGERPRINT = "6a853e66ea71ef4be24da16a4a2bd6ba7f87bc67aba688a004dd4878ad90619d"


def test_seed_and_expiry_make_the_certificate() -> None:
    made = Invitation.make(AUTHORITY.fingerprint, SOON)
    later = Invitation(made.authority, SOON + 1, made.seed)
    other = Invitation.make(AUTHORITY.fingerprint, SOON)
    assert later.key.public_key() == made.key.public_key()
    assert len({fingerprint(each.certificate) for each in (made, later, other)}) == 3
    assert made.certificate.not_valid_after_utc.timestamp() == SOON


def test_an_invitation_is_for_calling_and_signs_nobody() -> None:
    made = Invitation.make(AUTHORITY.fingerprint, SOON).certificate
    assert purposes(made) == ["clientAuth"]
    assert not extension(made, x509.BasicConstraints).value.ca
    assert not extension(made, x509.KeyUsage).value.key_cert_sign


def test_a_token_is_one_line_that_survives_a_shell() -> None:
    token = Invitation.make(AUTHORITY.fingerprint, SOON).token
    assert len(token) == 103
    assert token.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: "C" + token[1:],
        lambda token: token + "=",
        lambda token: token[:40] + "é" + token[41:],
        lambda token: Invitation(bytes(32), 5, bytes(32)).token,
        lambda token: Invitation(bytes(32), 1 << 60, bytes(32)).token,
    ],
    ids=["empty", "cut", "longer", "version", "padded", "letter", "long ago", "no date"],
)
def test_other_tokens_are_refused(change) -> None:
    with pytest.raises(ConfigError, match="no invitation"):
        Invitation.read(change(Invitation.make(AUTHORITY.fingerprint, SOON).token))


def test_a_letter_that_was_copied_wrongly_is_noticed_wherever_it_stands() -> None:
    token = Invitation.make(AUTHORITY.fingerprint, SOON).token
    for place, letter in enumerate(token):
        for other in "AQz_":
            altered = token[:place] + other + token[place + 1 :]
            if other != letter:
                with pytest.raises(ConfigError, match="no invitation: was all of it copied"):
                    Invitation.read(altered)


def test_two_tokens_of_one_authority_are_told_apart_as_they_are_shown() -> None:
    made = [Invitation.make(AUTHORITY.fingerprint, SOON) for _ in range(20)]
    assert len({one.shown for one in made}) == 20
    assert all(len(one.shown) == 11 and one.token.endswith(one.shown[-6:]) for one in made)
