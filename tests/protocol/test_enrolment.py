# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Enrolment with both programs over loopback: what people type, and what must not get through."""

import contextlib
import dataclasses
import errno
import io
import json
import socket
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fedcode_client.cli
import fedcode_server.cli
from fedcode.certificates import (
    Authority,
    Invitation,
    common_name,
    fingerprint,
    key_pem,
    load_certificate,
    new_key,
    pem,
    public_pem,
    request,
)
from fedcode.errors import ConfigError, MembershipError
from fedcode.services import enrollment_pb2 as messages
from fedcode.services import enrollment_pb2_grpc as stubs
from fedcode.services import serving
from fedcode.services.enrolling import SERVICE, enrol_request
from fedcode.services.serving import channel, server
from fedcode.signing import SigningKey
from fedcode.transport.front import Listener
from fedcode_client import doctor, joining
from fedcode_client.connection import NotAccepted, connect
from fedcode_client.home import Home as OurHome
from fedcode_client.home import make
from fedcode_server import enrolment, founding
from fedcode_server.registry import Registry
from fedcode_server.settings import Home as TheirHome

DAY = 86400
CODES = grpc.StatusCode


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Invitations are noticed within a moment."""
    monkeypatch.setattr(serving, "LOOK", 0.02)


class Clock:
    """The registry's, which a test can set."""

    ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


@dataclass
class Coordinator:
    """A coordinator that serves."""

    home: TheirHome
    registry: Registry
    clock: Clock
    port: int

    def ticket(self, name, *, host="localhost", expires=None, **more):
        """An invitation in a member's hands."""
        invitation = Invitation.make(
            self.home.authority().fingerprint, expires or int(time.time()) + 3600
        )
        self.registry.invite(invitation, name, **more)
        return joining.Ticket(invitation, host, self.port)

    def member(self, name):
        return next(member for member in self.registry.members() if member.name == name)


@contextlib.contextmanager
def coordinating(folder, **more):
    founding.found(folder, "ours", ["localhost", "127.0.0.1"])
    home, clock = TheirHome(folder), Clock()
    text = home.toml.read_text().replace("enrolment = 9471", "enrolment = 0")
    home.toml.write_text(text.replace('address = "0.0.0.0"', 'address = "127.0.0.1"'))
    with (
        Registry.open(home.registry, clock) as registry,
        enrolment.serve(home, enrolment.Enrolment(home, registry)) as serving,
    ):
        yield Coordinator(home, registry, clock, serving.port)


@pytest.fixture
def coordinator(tmp_path):
    with coordinating(tmp_path / "coordinator") as found:
        yield found


@pytest.fixture
def acme(tmp_path):
    make(tmp_path / "acme")
    return OurHome(tmp_path / "acme")


@pytest.fixture
def globex(tmp_path):
    make(tmp_path / "globex")
    return OurHome(tmp_path / "globex")


def files(home):
    return {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}


def held(home):
    return {
        "ca": home.authority.read_bytes(),
        "key": key_pem(home.tls_key()),
        "certificate": home.certificate.read_bytes(),
    }


EVERY = [f"{SERVICE}/{name}" for name in vars(stubs.EnrollmentServicer) if name[0] != "_"]
"""Methods that are tried again where the port has just been handed over."""


def settled(opened) -> None:
    """Waits while the port is handed over."""
    with contextlib.suppress(grpc.FutureTimeoutError):
        grpc.channel_ready_future(opened).result(1.5)


@contextlib.contextmanager
def as_invited(coordinator, ticket):
    """A channel with an invitation's certificate, soon after it was made."""
    time.sleep(0.15)
    with channel(
        f"localhost:{coordinator.port}",
        ca=coordinator.home.authority().pem,
        key=key_pem(ticket.invitation.key),
        certificate=pem(ticket.invitation.certificate),
        idempotent=EVERY,
    ) as opened:
        settled(opened)
        yield stubs.EnrollmentStub(opened)


@contextlib.contextmanager
def as_member(coordinator, holding):
    with channel(f"localhost:{coordinator.port}", **holding, idempotent=EVERY) as opened:
        settled(opened)
        yield stubs.EnrollmentStub(opened)


def asked(coordinator, *, signing=None, key=None, node=None):
    """A good request to enrol, but for what is given."""
    signing, key = signing or SigningKey.generate(), key or new_key()
    node = node or public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())
    return enrol_request(signing, request(key), node, coordinator.home.authority().fingerprint)


def code_of(call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call(*words)
    return caught.value.code(), caught.value.details()


EVERY_OTHER = [
    ("Renew", messages.RenewRequest()),
    ("Standing", messages.StandingRequest()),
    ("Leave", messages.LeaveRequest()),
    ("Offers", messages.OffersRequest()),
    ("Answer", messages.AnswerRequest()),
    ("Countersign", messages.Head()),
    ("Countersigned", messages.CountersignedRequest()),
]
NOT_ACCEPTED = (CODES.UNAUTHENTICATED, "certificate not accepted")


# The way of a member.


def test_an_organization_joins_and_is_approved(coordinator, acme) -> None:
    membership = joining.join(acme, coordinator.ticket("acme"))
    assert membership == acme.membership()
    assert (membership.member, membership.federation) == ("acme", "ours")
    assert membership.coordinator == coordinator.home.signing_key().public
    assert (membership.host, membership.enrolment) == ("localhost", coordinator.port)
    assert joining.standing(acme).state == "pending"
    coordinator.registry.approve(["acme"])
    found = joining.standing(acme)
    assert (found.member, found.state) == ("acme", "approved")
    ends = datetime.now(UTC) + timedelta(days=90)
    assert abs(found.expires - ends.timestamp()) < 60
    there = coordinator.member("acme")
    assert there.signing_key == acme.signing_key().public
    assert there.node_key == public_pem(acme.node_key().public_key()).decode()


def test_approval_can_be_given_in_advance(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    assert joining.standing(acme).state == "approved"


def test_who_is_pending_or_out_is_not_admitted_to_the_rounds(coordinator, acme, globex) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    joining.join(globex, coordinator.ticket("globex", approve=True))
    ours, theirs = load_certificate(acme.certificate), load_certificate(globex.certificate)
    registry, der = coordinator.registry, ours.public_bytes(Encoding.DER)
    node = public_pem(acme.node_key().public_key())
    assert registry.admits(ours) is None
    assert not registry.admission(der, node)
    registry.approve(["acme"])
    assert (registry.admits(ours), registry.admits(theirs)) == ("acme", "globex")
    assert registry.admission(der, node)
    assert not registry.admission(der, public_pem(globex.node_key().public_key()))
    assert not registry.admission(b"", node)
    registry.revoke("acme")
    assert registry.admits(ours) is None
    assert not registry.admission(der, node)


def test_what_is_sent_holds_no_private_key_and_no_seed(acme, tmp_path, monkeypatch) -> None:
    sent, enroll = [], enrolment.Enrolment.Enroll

    def recorded(self, request, context):
        headers = repr(context.invocation_metadata()).encode()
        sent.append(request.SerializeToString() + headers)
        return enroll(self, request, context)

    monkeypatch.setattr(enrolment.Enrolment, "Enroll", recorded)
    with coordinating(tmp_path / "coordinator") as coordinator:
        ticket = coordinator.ticket("acme")
        joining.join(acme, ticket)
        stored = coordinator.home.registry.read_bytes()
        stored += Path(f"{coordinator.home.registry}-wal").read_bytes()
    (data,) = sent
    secrets = [ticket.invitation.seed, acme.keys.joinpath("signing.key").read_bytes()]
    for key in (acme.tls_key(), acme.node_key(), ticket.invitation.key):
        number = key.private_numbers().private_value
        secrets.append(number.to_bytes((key.key_size + 7) // 8, "big"))
    for secret in secrets:
        assert secret not in data
        assert secret.hex().encode() not in data
    assert b"PRIVATE" not in data
    assert acme.tls_key().public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ) in data  # fmt: skip
    assert ticket.invitation.seed not in stored
    assert ticket.invitation.token.encode() not in stored
    assert pem(ticket.invitation.certificate) in stored


def test_keys_and_folders_are_their_owners_alone(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    for home in (acme, coordinator.home):
        for path in [home.root, *home.root.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path


# Invitations.


def test_a_token_is_good_once(coordinator, acme, globex) -> None:
    ticket = coordinator.ticket("acme")
    joining.join(acme, ticket)
    before = files(globex)
    with pytest.raises(MembershipError, match="does not take this invitation"):
        joining.join(globex, ticket)
    assert files(globex) == before
    assert joining.standing(acme).member == "acme"


def test_a_used_token_is_refused_on_an_open_connection_too(coordinator) -> None:
    with as_invited(coordinator, coordinator.ticket("acme")) as stub:
        stub.Enroll(asked(coordinator))
        assert code_of(stub.Enroll, asked(coordinator)) == NOT_ACCEPTED


def test_of_two_at_once_one_is_taken(coordinator) -> None:
    ticket = coordinator.ticket("acme")
    with as_invited(coordinator, ticket) as one, as_invited(coordinator, ticket) as other:
        calls = [stub.Enroll.future(asked(coordinator)) for stub in (one, other)]
        codes = sorted(str(call.code()) for call in calls)
    assert codes == ["StatusCode.OK", "StatusCode.UNAUTHENTICATED"]


def test_an_expired_token_is_refused_on_both_sides(coordinator, acme) -> None:
    ticket = coordinator.ticket("acme", expires=int(time.time()) - 1)
    with pytest.raises(MembershipError, match="has expired"):
        joining.join(acme, ticket)
    with as_invited(coordinator, ticket) as stub:
        assert code_of(stub.Enroll, asked(coordinator))[0] is CODES.UNAVAILABLE
    ticket = coordinator.ticket("acme")
    with as_invited(coordinator, ticket) as stub:
        assert code_of(stub.Enroll, messages.EnrollRequest())[0] is CODES.INVALID_ARGUMENT
        coordinator.clock.ahead = 3601
        assert code_of(stub.Enroll, asked(coordinator)) == NOT_ACCEPTED
    assert coordinator.registry.members() == []


def test_another_expiry_makes_another_invitation(coordinator, acme) -> None:
    ticket = coordinator.ticket("acme", expires=int(time.time()) - 10)
    longer = dataclasses.replace(ticket.invitation, expires=int(time.time()) + 3600)
    with pytest.raises(MembershipError, match="does not take this invitation"):
        joining.join(acme, dataclasses.replace(ticket, invitation=longer))


def test_an_altered_token_is_refused(coordinator, acme) -> None:
    ticket = coordinator.ticket("acme")
    for place in (1, 40, 50, 97, 102):
        token = list(ticket.invitation.token)
        token[place] = "A" if token[place] != "A" else "Q"
        with pytest.raises((ConfigError, MembershipError)):
            joining.join(acme, joining.Ticket.read(f"{''.join(token)}@localhost:{ticket.port}"))
    assert coordinator.registry.members() == []


def test_a_later_invitation_replaces_the_one_before(coordinator, acme) -> None:
    first, second = coordinator.ticket("acme"), coordinator.ticket("acme")
    with pytest.raises(MembershipError):
        joining.join(acme, first)
    joining.join(acme, second)


def test_an_invitation_calls_nothing_but_enrol(coordinator) -> None:
    ticket = coordinator.ticket("acme")
    with as_invited(coordinator, ticket) as stub:
        for name, message in EVERY_OTHER:
            assert code_of(getattr(stub, name), message) == NOT_ACCEPTED, name
        pieces = stub.Start(messages.StartRequest())
        assert code_of(lambda: next(pieces)) == NOT_ACCEPTED
        assert stub.Enroll(asked(coordinator)).member == "acme"


def test_an_invitation_signs_no_certificate_of_its_own(coordinator) -> None:
    """Whoever holds it could make another one in its name; the server takes that one alone."""
    invitation = coordinator.ticket("acme").invitation
    good, key = invitation.certificate, new_key()
    for signed_for in (key, invitation.key):
        builder = x509.CertificateBuilder(
            issuer_name=good.subject, subject_name=good.subject,
            public_key=signed_for.public_key(), serial_number=2,
            not_valid_before=good.not_valid_before_utc, not_valid_after=good.not_valid_after_utc,
            extensions=list(good.extensions),
        )  # fmt: skip
        forged = builder.sign(invitation.key, SHA256())
        holding = {"ca": coordinator.home.authority().pem, "key": key_pem(signed_for),
                   "certificate": pem(forged)}  # fmt: skip
        with as_member(coordinator, holding) as stub:
            code, _ = code_of(stub.Enroll, asked(coordinator))
            assert code in (CODES.UNAVAILABLE, CODES.UNAUTHENTICATED)
    assert coordinator.registry.members() == []


# What a request to enrol must be.


WEAK = (1).to_bytes(32, "little").hex()
P256 = public_pem(new_key().public_key())
P384 = public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"certificate_request": b"nothing"}, "certificate request"),
        ({"certificate_request": bytes(5000)}, "certificate request"),
        ({"node_key": P256}, "node key"),
        ({"node_key": b"\xff" * 2000}, "node key"),
        ({"signing_key": WEAK}, "signing key"),
        ({"signing_key": "AB" * 32}, "signing key"),
        ({"signing_key": ""}, "signing key"),
        ({"signing_key": SigningKey.generate().public}, "signature"),
        ({"certificate_request": request(new_key())}, "signature"),
        ({"node_key": P384}, "signature"),
        ({"signature": ""}, "signature"),
        ({"signature": "0" * 128}, "signature"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_request_that_is_not_whole_uses_nothing_up(coordinator, changes, word) -> None:
    with as_invited(coordinator, coordinator.ticket("acme")) as stub:
        wrong = asked(coordinator)
        for name, value in changes.items():
            setattr(wrong, name, value)
        assert code_of(stub.Enroll, wrong) == (CODES.INVALID_ARGUMENT, word)
        assert coordinator.registry.members() == []
        assert stub.Enroll(asked(coordinator)).member == "acme"


def test_a_signature_for_another_federation_is_not_for_this_one(coordinator) -> None:
    with as_invited(coordinator, coordinator.ticket("acme")) as stub:
        node = public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())
        other = enrol_request(SigningKey.generate(), request(new_key()), node, bytes(32))
        assert code_of(stub.Enroll, other) == (CODES.INVALID_ARGUMENT, "signature")


def test_the_invitation_gives_the_name_whatever_the_request_says(coordinator) -> None:
    key, signing = new_key(), SigningKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "globex")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    data = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    node = public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())
    ask = enrol_request(signing, data, node, coordinator.home.authority().fingerprint)
    with as_invited(coordinator, coordinator.ticket("acme")) as stub:
        answer = stub.Enroll(ask)
    made = x509.load_der_x509_certificate(answer.certificate)
    assert (answer.member, common_name(made)) == ("acme", "acme")
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_key_is_one_members(coordinator, acme, globex) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    node = public_pem(acme.node_key().public_key())
    ours = coordinator.home.signing_key()
    with as_invited(coordinator, coordinator.ticket("globex")) as stub:
        taken = asked(coordinator, signing=acme.signing_key())
        assert code_of(stub.Enroll, taken) == (CODES.ALREADY_EXISTS, "signing key")
        taken = asked(coordinator, node=node)
        assert code_of(stub.Enroll, taken) == (CODES.ALREADY_EXISTS, "node key")
        taken = asked(coordinator, signing=ours)
        assert code_of(stub.Enroll, taken) == (CODES.ALREADY_EXISTS, "signing key")
    coordinator.registry.revoke("acme")
    (globex.keys / "signing.key").write_bytes((acme.keys / "signing.key").read_bytes())
    with pytest.raises(MembershipError, match="another member has our signing key"):
        joining.join(globex, coordinator.ticket("globex"))


@pytest.mark.parametrize("name", ["", "coordinator", "a b", "é", "-x", "x" * 65, "../x"])
def test_a_name_is_a_name(coordinator, name) -> None:
    with pytest.raises(MembershipError, match="cannot be a member's name"):
        coordinator.ticket(name)


# Certificates of members.


def test_a_member_does_not_enrol(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    coordinator.ticket("globex")
    with as_member(coordinator, held(acme)) as stub:
        assert code_of(stub.Enroll, asked(coordinator)) == NOT_ACCEPTED


def test_a_revoked_certificate_ends_at_the_next_call(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    with connect(acme) as opened:
        stub = stubs.EnrollmentStub(opened)
        check = health_pb2_grpc.HealthStub(opened).Check
        assert stub.Standing(messages.StandingRequest()).state == "approved"
        coordinator.registry.revoke("acme")
        for name, message in EVERY_OTHER:
            assert code_of(getattr(stub, name), message) == NOT_ACCEPTED, name
        assert code_of(check, health_pb2.HealthCheckRequest()) == NOT_ACCEPTED
    with pytest.raises(NotAccepted):
        joining.standing(acme)


def test_a_certificate_that_the_registry_does_not_know_is_refused(coordinator, acme) -> None:
    """The authority's signature is not enough: one could have been made and not been kept."""
    joining.join(acme, coordinator.ticket("acme", approve=True))
    stray = coordinator.home.authority().for_member(acme.tls_key().public_key(), "acme", 1)
    with as_member(coordinator, held(acme) | {"certificate": pem(stray)}) as stub:
        assert code_of(stub.Standing, messages.StandingRequest()) == NOT_ACCEPTED
    assert coordinator.registry.admits(stray) is None


def test_a_certificate_ends_with_its_day_on_an_open_connection_too(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    with connect(acme) as opened:
        stub = stubs.EnrollmentStub(opened)
        stub.Standing(messages.StandingRequest())
        coordinator.clock.ahead = 90 * DAY + 1
        assert code_of(stub.Standing, messages.StandingRequest()) == NOT_ACCEPTED


def test_a_certificate_is_renewed_when_a_third_is_left(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    first, now = acme.certificate.read_bytes(), datetime.now(UTC)
    assert not joining.renewed_if_due(acme, now + timedelta(days=59))
    assert acme.certificate.read_bytes() == first
    assert joining.renewed_if_due(acme, now + timedelta(days=61))
    second = acme.certificate.read_bytes()
    assert second != first
    assert joining.standing(acme).state == "approved"


def test_a_renewed_certificate_ends_the_one_before_when_it_is_used(coordinator, acme) -> None:
    """Not earlier: the answer with the new one may be lost."""
    joining.join(acme, coordinator.ticket("acme", approve=True))
    before, later = held(acme), datetime.now(UTC) + timedelta(days=61)
    with as_member(coordinator, before) as stub:
        assert joining.renewed_if_due(acme, later)
        assert stub.Standing(messages.StandingRequest()).state == "approved"
        assert joining.standing(acme).state == "approved"
        assert code_of(stub.Standing, messages.StandingRequest()) == NOT_ACCEPTED


def test_of_two_renewed_certificates_the_later_is_good(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    ask = messages.RenewRequest(certificate_request=request(acme.tls_key()))
    with connect(acme) as opened:
        stub = stubs.EnrollmentStub(opened)
        lost, kept = (x509.load_der_x509_certificate(stub.Renew(ask).certificate) for _ in "ab")
    assert coordinator.registry.admits(lost) is None
    assert coordinator.registry.admits(load_certificate(acme.certificate)) == "acme"
    assert coordinator.registry.admits(kept) == "acme"
    assert coordinator.registry.admits(load_certificate(acme.certificate)) is None


def test_renewing_takes_no_other_request(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    with as_member(coordinator, held(acme)) as stub:
        wrong = messages.RenewRequest(certificate_request=b"nothing")
        assert code_of(stub.Renew, wrong) == (CODES.INVALID_ARGUMENT, "certificate request")


def test_an_invitation_to_renew_changes_keys_only_when_it_is_used(
    coordinator, acme, tmp_path
) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    before, key = held(acme), acme.signing_key().public
    ticket = coordinator.ticket("acme", again=True)
    with as_member(coordinator, before) as stub:
        assert stub.Standing(messages.StandingRequest()).state == "approved"
        assert coordinator.member("acme").signing_key == key
        make(tmp_path / "new")
        new = OurHome(tmp_path / "new")
        joining.join(new, ticket)
        assert code_of(stub.Standing, messages.StandingRequest()) == NOT_ACCEPTED
    assert coordinator.member("acme").signing_key == new.signing_key().public != key
    assert joining.standing(new).state == "pending"


def test_who_renews_with_the_same_key_stays_approved(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    joining.join(acme, coordinator.ticket("acme", again=True))
    assert joining.standing(acme).state == "approved"
    coordinator.registry.revoke("acme")
    joining.join(acme, coordinator.ticket("acme", again=True))
    assert joining.standing(acme).state == "pending"


def test_who_is_known_is_renewed_and_who_is_not_is_invited(coordinator, acme) -> None:
    with pytest.raises(MembershipError, match="acme is no member"):
        coordinator.ticket("acme", again=True)
    joining.join(acme, coordinator.ticket("acme"))
    with pytest.raises(MembershipError, match="has enrolled before, and is pending"):
        coordinator.ticket("acme")


def test_revoking_withdraws_invitations(coordinator, acme) -> None:
    ticket = coordinator.ticket("acme")
    coordinator.registry.revoke("acme")
    with pytest.raises(MembershipError):
        joining.join(acme, ticket)
    with pytest.raises(MembershipError, match="acme is no member"):
        coordinator.registry.revoke("acme")


def test_who_leaves_is_out_on_both_sides(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    before = held(acme)
    joining.leave(acme)
    assert acme.member_of() is None
    assert not acme.certificate.exists()
    assert (acme.keys / "signing.key").exists()
    assert coordinator.member("acme").state == "left"
    with as_member(coordinator, before) as stub:
        assert code_of(stub.Standing, messages.StandingRequest()) == NOT_ACCEPTED
    with pytest.raises(MembershipError, match="acme is left"):
        coordinator.registry.approve(["acme"])
    joining.join(acme, coordinator.ticket("acme", again=True))
    assert joining.standing(acme).state == "pending"


def test_who_was_revoked_can_leave_all_the_same(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    coordinator.registry.revoke("acme")
    joining.leave(acme)
    assert acme.member_of() is None
    assert coordinator.member("acme").state == "revoked"


# The coordinator that is shown.


@contextlib.contextmanager
def impostor(authority, *, hosts=("localhost",), now=None, shows=None):
    """A server that counts calls, with a certificate of ``authority``."""
    calls, key = [], new_key()

    class Servicer(stubs.EnrollmentServicer):
        def Enroll(self, request, context):
            calls.append(request)
            return messages.Certificate()

    leaf = authority.for_server(key.public_key(), hosts, 1, now)
    with server(
        "127.0.0.1:0",
        servicers=[partial(stubs.add_EnrollmentServicer_to_server, Servicer())],
        private_key=key_pem(key),
        chain=pem(leaf, (shows or authority).certificate),
        trusted=lambda: authority.pem,
        permits=lambda *_: True,
    ) as running:
        yield running.port, calls


def ticket_for(authority, port, host="localhost"):
    return joining.Ticket(
        Invitation.make(authority.fingerprint, int(time.time()) + 3600), host, port
    )


OURS, OTHERS = Authority.make("ours"), Authority.make("others")
LONG_AGO = datetime.now(UTC) - timedelta(days=2)


@pytest.mark.parametrize(
    ("shown", "host", "words"),
    [
        ({"authority": OTHERS}, "localhost", "is not the coordinator that the invitation is from"),
        ({"authority": OURS, "now": LONG_AGO}, "localhost", "has expired"),
        ({"authority": OURS, "hosts": ["elsewhere.example"]}, "localhost", "is not for localhost"),
        ({"authority": OURS}, "127.0.0.1", r"is not for 127\.0\.0\.1"),
        ({"authority": OTHERS, "shows": OURS}, "localhost", "is not for localhost"),
    ],
    ids=["another authority", "expired", "another host", "an address", "another's chain"],
)
def test_nothing_is_sent_to_another_server(acme, shown, host, words) -> None:
    before = files(acme)
    with impostor(**shown) as (port, calls):
        with pytest.raises(MembershipError, match=words):
            joining.join(acme, ticket_for(OURS, port, host))
        assert calls == []
    assert files(acme) == before


def test_nobody_at_home_is_told(acme) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(MembershipError, match="no coordinator answers at"):
            joining.join(acme, ticket_for(OURS, port))


@pytest.mark.parametrize("kind", ["no certificate", "another key", "another name", "a member's"])
def test_an_answer_that_is_not_for_us_changes_nothing(coordinator, acme, monkeypatch, kind) -> None:
    authority, ours = coordinator.home.authority(), acme.tls_key().public_key()
    der = {
        "no certificate": b"nothing",
        "another key": authority.for_member(new_key().public_key(), "acme", 1),
        "another name": authority.for_member(ours, "globex", 1),
        "a member's": OTHERS.for_member(ours, "acme", 1),
    }[kind]
    data = der if isinstance(der, bytes) else der.public_bytes(Encoding.DER)
    answer = enrolment.Enrolment._answer

    def lying(self, name, made):
        told = answer(self, name, made)
        told.certificate = data
        return told

    monkeypatch.setattr(enrolment.Enrolment, "_answer", lying)
    before = files(acme)
    with pytest.raises(MembershipError, match="no certificate for us"):
        joining.join(acme, coordinator.ticket("acme"))
    assert files(acme) == before


def test_a_folder_is_of_one_federation(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    before = files(acme)
    with impostor(OTHERS) as (port, calls):
        with pytest.raises(MembershipError, match="is a member of ours"):
            joining.join(acme, ticket_for(OTHERS, port))
        assert calls == []
    assert files(acme) == before


def test_keeping_a_membership_fails_as_a_whole(coordinator, acme, monkeypatch) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    before, write = files(acme), fedcode_client.home.write_atomically

    def full(path, content):
        if "membership" in path.name:
            raise OSError("no space")
        write(path, content)

    monkeypatch.setattr("fedcode_client.home.write_atomically", full)
    with pytest.raises(OSError, match="no space"):
        joining.join(acme, coordinator.ticket("acme", again=True))
    assert files(acme) == before


# The registry's file.


def test_what_another_process_writes_counts_at_once(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    with Registry.open(coordinator.home.registry) as other:
        other.approve(["acme"])
        assert joining.standing(acme).state == "approved"
        other.revoke("acme")
    with pytest.raises(NotAccepted):
        joining.standing(acme)


def test_revoke_is_true_when_the_program_returns(coordinator, acme) -> None:
    joining.join(acme, coordinator.ticket("acme", approve=True))
    with connect(acme) as opened:
        stub = stubs.EnrollmentStub(opened)
        assert stub.Standing(messages.StandingRequest()).state == "approved"
        program = "from fedcode_server.cli import main; main()"
        words = ["revoke", "acme", "--home", str(coordinator.home.root)]
        subprocess.run([sys.executable, "-c", program, *words], check=True, timeout=60)
        assert code_of(stub.Standing, messages.StandingRequest()) == NOT_ACCEPTED


def test_a_file_of_another_version_is_refused(coordinator, tmp_path) -> None:
    with coordinator.registry.database.writing() as session:
        session.connection().exec_driver_sql("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="another version"):
        Registry.open(coordinator.home.registry)
    (tmp_path / "text").write_text("nothing of the kind, but long enough to be looked at" * 99)
    with pytest.raises(ConfigError, match="is no database"):
        Registry.open(tmp_path / "text")


def test_the_servers_certificate_follows_its_settings(coordinator) -> None:
    home, now = coordinator.home, datetime.now(UTC)
    first = home.server_chain()
    assert home.server_chain(now + timedelta(days=240)) == first
    assert home.server_chain(now + timedelta(days=250)) != first
    second = home.server_chain()
    home.toml.write_text(home.toml.read_text().replace('"127.0.0.1"]', '"fed.example"]'))
    assert home.server_chain() != second
    assert home.server_chain() == home.server_chain()


# As people type it.


@pytest.fixture
def typed(tmp_path):
    """Runs a command line in a folder of its own, in this process; code, stdout, stderr."""

    def run(line):
        program, *words = line.split()
        main = {
            "fedcode-server": fedcode_server.cli.main,
            "fedcode-client": fedcode_client.cli.main,
        }
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(tmp_path),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", [program, *words])
            with pytest.raises(SystemExit) as left:
                main[program]()
        return left.value.code or 0, out.getvalue(), err.getvalue()

    return run


def test_three_commands_on_each_side(typed, coordinator) -> None:
    code, out, _ = typed("fedcode-server init coordinator")
    assert (code, out.splitlines()[0]) == (0, "coordinator is complete; nothing was changed")
    code, out, _ = typed("fedcode-server invite acme --home coordinator")
    token = out.splitlines()[0].partition("@")[0]
    assert typed("fedcode-client init acme")[0] == 0
    code, out, err = typed(f"fedcode-client join {token}@localhost:{coordinator.port} --home acme")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "acme is a member of ours: pending"
    assert coordinator.home.signing_key().public in out
    key = OurHome(coordinator.home.root.parent / "acme").signing_key().public
    approved = typed("fedcode-server approve acme --home coordinator")[1]
    assert approved == f"acme is approved, key {key}\n"
    listed = typed("fedcode-server members --home coordinator")[1].splitlines()
    assert listed[1].split()[:2] == ["acme", "approved"]
    assert listed[1].split()[-1] == key
    assert [line.split() for line in listed[-2:]] == [
        ["authority", coordinator.home.authority().fingerprint.hex()],
        ["coordinator", coordinator.home.signing_key().public],
    ]
    code, out, _ = typed("fedcode-client leave --home acme --yes")
    assert (code, out) == (0, "acme has left ours; keys and ledger are still here\n")


def test_every_command_speaks_json(typed, coordinator) -> None:
    def said(line):
        code, out, err = typed(f"{line} --json")
        assert (code, err) == (0, "")
        return json.loads(out)

    assert said("fedcode-server init coordinator")["made"] == []
    assert "keys/signing.key" in said("fedcode-client init acme")["made"]
    token = said("fedcode-server invite acme --approve --home coordinator")["token"]
    place = f"localhost:{coordinator.port}"
    joined = said(f"fedcode-client join {token}@{place} --home acme")
    assert (joined["member"], joined["state"]) == ("acme", "approved")
    ours = OurHome(coordinator.home.root.parent / "acme").signing_key().public
    assert joined["ours"] == ours
    assert said("fedcode-server invite globex --hours 1 --days 0 --home coordinator")["expires"]
    listed = said("fedcode-server members --home coordinator")
    assert [each["name"] for each in listed["members"]] == ["acme"]
    assert [each["name"] for each in listed["invited"]] == ["globex"]
    assert listed["coordinator"] == coordinator.home.signing_key().public
    assert listed["authority"] == coordinator.home.authority().fingerprint.hex()
    token = said("fedcode-server renew acme --home coordinator")["token"]
    assert said(f"fedcode-client join {token}@{place} --home acme")["state"] == "approved"
    key = OurHome(coordinator.home.root.parent / "acme").signing_key().public
    approved = said("fedcode-server approve acme --home coordinator")
    assert approved == {"approved": ["acme"], "signing_keys": {"acme": key}}
    assert said("fedcode-client leave --yes --home acme")["state"] == "left"
    assert said("fedcode-server revoke acme --home coordinator") == {"revoked": "acme"}


@pytest.mark.parametrize(
    "line",
    [
        "fedcode-server invite acme --home nowhere",
        "fedcode-server invite no/name --home coordinator",
        "fedcode-server invite acme --days 0 --home coordinator",
        "fedcode-server invite acme --hours 0 --home coordinator",
        "fedcode-server invite acme --hours -1 --home coordinator",
        "fedcode-server renew acme --hours 0 --home coordinator",
        "fedcode-server renew acme --home coordinator",
        "fedcode-server approve acme --home coordinator",
        "fedcode-server revoke acme --home coordinator",
        "fedcode-server init coordinator --federation others",
        "fedcode-server init coordinator --host elsewhere.example",
        "fedcode-server init . --federation ours",
        "fedcode-server init new --host no/host",
        "fedcode-server init new --federation no/name",
        "fedcode-client init .",
        "fedcode-client join token@localhost --home acme",
        f"fedcode-client join {Invitation.make(bytes(32), 1 << 34).token} --home acme",
        f"fedcode-client join {Invitation.make(bytes(32), 1 << 34).token}@localhost:x --home acme",
        f"fedcode-client join {Invitation.make(bytes(32), 1700000000).token}@localhost --home acme",
        "fedcode-client join token@localhost --home nowhere",
        "fedcode-client leave --home acme",
    ],
)
def test_refusals_are_one_line_and_a_hint(typed, coordinator, acme, line) -> None:
    before = files(coordinator.home)
    code, out, err = typed(line)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"{line.split()[0]}: ")
    assert not first.endswith(".")
    assert second.startswith("hint: ")
    after = files(coordinator.home)
    assert {p: after[p] for p in after if "sqlite" not in p.name} == {
        p: before[p] for p in before if "sqlite" not in p.name
    }
    assert not (coordinator.home.root.parent / "new").exists()


def test_a_doctor_sees_all_that_is_not_as_it_should_be(
    typed, coordinator, acme, monkeypatch
) -> None:
    joining.join(acme, coordinator.ticket("acme"))
    (acme.keys / "tls.key").chmod(0o644)
    code, out, err = typed("fedcode-client doctor --home acme")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert "BAD  the coordinator at localhost has us as pending" in lines
    assert "     hint: fedcode-server approve acme, there" in lines
    assert "BAD  others can read acme/keys/tls.key" in lines
    assert "     hint: chmod 600 acme/keys/tls.key" in lines
    assert "BAD  client.toml names no source" in lines
    assert "BAD  the agent is not up" in lines
    assert "ok   our clock is the coordinator's, within some seconds" in lines
    coordinator.registry.approve(["acme"])
    (acme.keys / "tls.key").chmod(0o600)
    found = json.loads(typed("fedcode-client doctor --home acme --json")[1])
    good = {one["what"]: one["good"] for one in found}
    assert good["the coordinator at localhost knows us as acme, approved"]
    assert good["keys: there, and readable for their owner alone"]


def test_a_doctor_refuses_sources_that_have_files_in_common(typed, acme) -> None:
    inner = acme.root / "whole" / "inner"
    inner.mkdir(parents=True)
    toml = acme.root / "client.toml"
    named = f'source = ["path:{inner.parent}", "path:{inner}"]\n'
    toml.write_text(named + toml.read_text(encoding="utf-8"), encoding="utf-8")
    lines = typed("fedcode-client doctor --home acme")[1].splitlines()
    assert any(line.startswith("BAD") and "have files in common" in line for line in lines)


def test_a_doctor_says_each_thing_once(typed, acme) -> None:
    told = typed("fedcode-client doctor --home acme")[1].splitlines()
    assert len([line for line in told if "has not joined a federation" in line]) == 1
    assert len(set(told)) == len(told)


def test_a_doctors_hint_can_be_typed(typed, acme, tmp_path) -> None:
    text = acme.toml.read_text()
    (tmp_path / "c;d" / ".git").mkdir(parents=True)
    acme.toml.write_text(f'source = "path:../c;d"\n{text}')
    told = typed("fedcode-client doctor --home acme")[1]
    source = f"'path:{tmp_path / 'c;d'}'"
    hint = f"budget create {source} --policy POLICY.toml --unit function --home acme"
    assert f"     hint: fedcode-client {hint}" in told.splitlines()
    acme.toml.write_text(f'source = ["path:../c;d", "package:rich"]\n{text}')
    told = typed("fedcode-client doctor --home acme")[1]
    hint = f"budget create {source} package:rich --policy POLICY.toml --unit function --home acme"
    assert f"     hint: fedcode-client {hint}" in told.splitlines()


def test_a_signing_key_that_is_missing_is_told_with_what_to_do(typed, acme) -> None:
    (acme.keys / "signing.key").unlink()
    told = typed("fedcode-client doctor --home acme")[1].splitlines()
    place = told.index("BAD  acme/keys/signing.key is missing")
    assert "bring it back from a backup" in told[place + 1]
    assert "fedcode-server renew" in told[place + 1]
    assert not any("officer" in line for line in told)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fedcode-server init new --federation a+b", "1 to 64 of A-Z a-z 0-9 . _ -"),
        ("fedcode-client ingest --home wrong", "source: should be git:DIR, commits:DIR, path:DIR"),
        ("fedcode-client ingest path:nowhere --home acme", "nowhere is not there"),
        ("fedcode-server approve nobody --home coordinator", "there is no member nobody"),
    ],
)
def test_what_is_wrong_is_said_in_words(typed, coordinator, acme, tmp_path, line, words) -> None:
    make(tmp_path / "wrong")
    (tmp_path / "wrong" / "client.toml").write_text('source = "code"\n')
    code, out, err = typed(line)
    assert (code, out) == (2, "")
    assert words in err
    assert "pattern" not in err
    assert "stdlib" not in err
    assert "not enrolled" not in err


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (-0.2, 0.4, None),
        (4.0, 4.5, None),
        (-4.5, -4.0, None),
        (-90.0, 0.5, None),  # a slow answer says little
        (6.2, 6.4, "our clock is 6 s ahead of the coordinator's"),
        (-7200.3, -7200.2, "our clock is 7,200 s behind the coordinator's"),
    ],
)
def test_clocks_that_are_apart(least, most, said) -> None:
    """More than five seconds ahead, and the coordinator takes no request (tests/contract)."""
    found = doctor.apart(least, most)
    assert found.good == (said is None)
    assert said is None or (found.what == said and "time server" in found.hint)


def test_keys_that_are_missing_are_not_made_anew(typed, coordinator) -> None:
    (coordinator.home.keys / "ca.key").unlink()
    code, _, err = typed("fedcode-server init coordinator")
    assert code == 2
    assert "ca.key is missing, and members may rely on it" in err


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("", 7 * DAY), ("--days 2", 2 * DAY), ("--hours 5", 5 * 3600), ("--days 1 --hours 0", DAY)],
)
def test_an_invitation_is_good_for_as_long_as_was_said(typed, coordinator, words, seconds) -> None:
    code, out, _ = typed(f"fedcode-server invite acme {words} --home coordinator --json")
    assert code == 0
    assert abs(json.loads(out)["expires"] - time.time() - seconds) < 60


@pytest.mark.parametrize("port", ["abc", "", "0", "65536", "٣"])
def test_a_port_is_a_number(port) -> None:
    token = Invitation.make(bytes(32), 1 << 34).token
    with pytest.raises(ConfigError, match="is no number of a port"):
        joining.Ticket.read(f"{token}@127.0.0.1:{port}")


def test_the_port_of_the_rounds_is_told_from_that_of_enrolment(coordinator, acme) -> None:
    """They have one certificate; the one speaks HTTP/1.1, the other gRPC."""
    ticket, before = coordinator.ticket("acme"), files(acme)
    chain, key = coordinator.home.keys / "server.crt", coordinator.home.keys / "server.key"
    ca = coordinator.home.keys / "ca.crt"
    fleet = Listener(None, "127.0.0.1", 0, (chain, key, ca))
    fleet.start()
    try:
        with pytest.raises(MembershipError, match="but not its port of enrolment"):
            joining.join(acme, dataclasses.replace(ticket, port=fleet.port))
    finally:
        fleet.stop()
    assert files(acme) == before
    joining.join(acme, ticket)


def test_what_is_to_be_typed_next_is_quoted(typed, tmp_path) -> None:
    for program, more in (("client", ""), ("server", " --federation f")):
        code, out, _ = typed(f"fedcode-{program} init a;b/{program}{more}")
        assert code == 0
        assert f"--home 'a;b/{program}'" in out.splitlines()[-1]
    assert "fedcode-server up --home 'a;b/server', then fedcode-server invite NAME" in out
    (tmp_path / "a;b" / "client" / "keys" / "tls.key").chmod(0o644)
    told = typed("fedcode-client doctor --home a;b/client")[1]
    assert "hint: chmod 600 'a;b/client/keys/tls.key'" in told


def test_an_address_of_version_6_is_read() -> None:
    token = Invitation.make(bytes(32), 1 << 34).token
    found = joining.Ticket.read(f"{token}@[2001:db8::1]:99")
    assert (found.host, found.port, found.address) == ("2001:db8::1", 99, "[2001:db8::1]:99")
    assert joining.Ticket.read(f"{token}@fed.example").port == joining.PORT
    assert fingerprint(found.invitation.certificate)


# Places that cannot be written.


@pytest.mark.parametrize("program", ["client", "server"])
def test_a_folder_cannot_be_made_in_a_file(typed, tmp_path, program) -> None:
    (tmp_path / "file").write_text("mine")
    code, out, err = typed(f"fedcode-{program} init file/ours")
    assert (code, out) == (2, "")
    words = f"fedcode-{program}: file/ours would lie in a file, not in a folder"
    assert err.splitlines() == [words, "hint: name another place"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("program", ["client", "server"])
@pytest.mark.parametrize("folder", ["new", "there", "there/new"])
def test_a_folder_that_cannot_be_written_stays_as_it_is(
    typed, tmp_path, monkeypatch, program, folder
) -> None:
    (tmp_path / "there").mkdir()
    mkdir = Path.mkdir

    def refusing(path, *words, **more):
        if path.name in ("state", "new"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        mkdir(path, *words, **more)

    monkeypatch.setattr(Path, "mkdir", refusing)
    code, out, err = typed(
        f"fedcode-{program} init {folder} {'--federation f' * (program[0] == 's')}"
    )
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.endswith(" cannot be read or written: permission denied")
    assert second.startswith("hint: ")
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_disk_that_is_full_while_a_folder_is_made_is_told(typed, tmp_path, monkeypatch) -> None:
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fedcode.storage.os.fsync", full)
        code, _, err = typed("fedcode-server init new")
    first, second = err.splitlines()
    assert code == 2
    assert first == "fedcode-server: new/keys/ca.key cannot be written: the disk is full"
    assert second == "hint: make room"
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == []
    assert typed("fedcode-server init new")[0] == 0
