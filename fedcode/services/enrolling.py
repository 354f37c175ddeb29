# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What enrolment says of keys, the same on both sides."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fedcode.certificates import public_pem
from fedcode.errors import ConfigError
from fedcode.services import enrollment_pb2 as messages
from fedcode.signing import SigningKey, canonical, signed

SERVICE = "fedcode.enrollment.v1.Enrollment"
LONGEST_NODE_KEY = 1024

_DOMAIN = "fedcode/enrolment/1"


def enrol_request(
    key: SigningKey, certificate_request: bytes, node_key: bytes, authority: bytes
) -> messages.EnrollRequest:
    """A request to enrol, signed by ``key``.

    Args:
        key: the roster's.
        certificate_request: DER, for the key of TLS.
        node_key: the public one, PEM.
        authority: fingerprint of the federation's: the signature is good there alone.
    """
    request = messages.EnrollRequest(
        certificate_request=certificate_request, signing_key=key.public, node_key=node_key
    )
    request.signature = key.sign(_DOMAIN, _document(request, authority))
    return request


def proved(request: messages.EnrollRequest, authority: bytes) -> bool:
    """Whether who enrols has the signing key, and means these keys and this federation."""
    document = _document(request, authority)
    return signed(request.signing_key, request.signature, _DOMAIN, document)


def check_node_key(data: bytes) -> str:
    """A public key for Flower's node authentication, in its one form.

    Raises:
        ConfigError: it is none, or on another curve than P-384.
    """
    wrong = ConfigError("this is no public key on P-384 in PEM")
    if len(data) > LONGEST_NODE_KEY:
        raise wrong
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise wrong from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise wrong
    return public_pem(key).decode()


def _document(request: messages.EnrollRequest, authority: bytes) -> bytes:
    return canonical(
        {
            "authority": authority.hex(),
            "certificate_request": request.certificate_request.hex(),
            "node_key": request.node_key.hex(),
            "signing_key": request.signing_key,
        }
    )
