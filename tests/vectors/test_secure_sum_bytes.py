# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The bytes of ``fedcode-secagg/1``: ours, a second implementation's, and those written down."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from summing import Memory, Points, arrived

from fedcode.secure_sum import Session, Summation, SummingMember, masks, randomness, shamir
from fedcode.signing import SigningKey
from fedcode.wire import encode

sys.path.append(str(Path(__file__).parent))
import second_secure_sum as second

VECTORS = json.loads(second.PATH.read_text(encoding="utf-8"))
GIVEN, FOUND = VECTORS["given"], VECTORS["found"]


def key_of(text):
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text)))


def test_the_second_implementation_finds_what_is_written() -> None:
    """On the example, and without a look at ours."""
    assert second.example() == GIVEN
    assert second.a_sum(GIVEN) == FOUND


@pytest.fixture
def ours(monkeypatch):
    """Every message and digest of the same sum, by fedcode."""
    found = {}
    keys = {name: key_of(m["signing"]) for name, m in GIVEN["members"].items()}
    session = Session(
        GIVEN["agreement"],
        GIVEN["round"],
        GIVEN["plan"],
        GIVEN["weights"],
        key_of(GIVEN["coordinator"]).public,
        tuple((name, key.public) for name, key in keys.items()),
        GIVEN["length"],
    )

    def sent(name, message):
        found[name] = encode(message).hex()
        return arrived(message, session.length)

    coordinator = Summation(session, key_of(GIVEN["coordinator"]))
    members, latches = {}, {name: Memory() for name in keys}
    for name, values in GIVEN["members"].items():
        drawn = [bytearray.fromhex(values[key]) for key in ("seed", "sharing", "masking")]
        with monkeypatch.context() as patch:
            patch.setattr(randomness, "fresh", lambda size, drawn=drawn: drawn.pop(0))
            members[name] = SummingMember(session, name, keys[name], latches[name])
        coordinator.add_keys(sent(f"keys {name}", members[name].keys()))
    book = sent("key book", coordinator.book())
    for name, member in members.items():
        drawn = [int(c, 16) for c in GIVEN["members"][name]["coefficients"]]
        with monkeypatch.context() as patch:
            patch.setattr(randomness, "below", lambda limit, drawn=drawn: drawn.pop(0))
            coordinator.add_shares(sent(f"shares {name}", member.shares(book)))
    for name, delivery in coordinator.deliveries().items():
        members[name].accept(sent(f"delivery {name}", delivery))
    for name in GIVEN["dropped"]:
        del members[name]
    for name, member in members.items():
        masked = member.mask(Points(GIVEN["members"][name]["term"]))
        coordinator.add_masked(sent(f"masked {name}", masked))
    survivors = sent("survivors", coordinator.survivors())
    found["transcript"], found["sharers"] = survivors.transcript, survivors.sharers
    for name, member in members.items():
        coordinator.add_confirmation(sent(f"confirmation {name}", member.confirm(survivors)))
    (found["latch"],) = {latches[name].held["survivors"] for name in members}
    confirmations = sent("confirmations", coordinator.confirmations())
    for name, member in members.items():
        coordinator.add_reveal(sent(f"reveal {name}", member.reveal(confirmations)))
    found["total"] = coordinator.total().tolist()
    return found


def test_ours_finds_what_is_written_byte_for_byte(ours) -> None:
    written = {name: value for name, value in FOUND.items() if not name.startswith("mask key")}
    assert ours.keys() == written.keys()
    for name, value in written.items():
        assert ours[name] == value, name


def test_the_total_is_that_of_the_survivors() -> None:
    terms = [m["term"] for name, m in GIVEN["members"].items() if name not in GIVEN["dropped"]]
    assert FOUND["total"] == np.sum(terms, axis=0).tolist()


def test_mask_keys_are_the_same() -> None:
    from fedcode.secure_sum.keys import mask_key, private_key, public_of

    names = sorted(GIVEN["members"])
    private = {n: bytes.fromhex(m["masking"]) for n, m in GIVEN["members"].items()}
    checked = [name for name in FOUND if name.startswith("mask key")]
    assert len(checked) == 6
    for name in checked:
        i, j = map(int, name.split()[2:])
        one, other = private[names[i - 1]], private[names[j - 1]]
        for own, peer in ((one, other), (other, one)):
            found = mask_key(private_key(own), public_of(peer), FOUND["transcript"], i, j)
            assert found.hex() == FOUND[name]


def test_keystreams_are_the_same() -> None:
    key = bytes.fromhex(FOUND["mask key 1 2"])
    total = np.zeros(300, np.uint32)
    masks.add_masks(total, [key], [])
    assert total.tolist() == second.keystream(key, 300)


def test_keystreams_go_on_where_a_chunk_ends() -> None:
    key, n = bytes(32), masks._WORDS + 5
    long = np.zeros(2 * n, np.uint32)
    masks.add_masks(long, [key], [])
    short = np.zeros(n, np.uint32)
    masks.add_masks(short, [key], [])
    np.testing.assert_array_equal(long[:n], short)
    masks.add_masks(long, [], [key])
    assert not long.any()


def test_shares_at_a_fixed_polynomial_are_the_same(monkeypatch) -> None:
    secret, coefficients = bytes(range(32)), [5, second.FIELD - 1, 2**256]
    drawn = coefficients.copy()
    monkeypatch.setattr(randomness, "below", lambda limit: drawn.pop(0))
    assert shamir.split(secret, 4, 7) == second.shares(secret, coefficients, 7)


# The second implementation's own primitives, against the vectors of their RFCs.


def test_the_primitives_are_those_of_the_standards() -> None:
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    shared = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert second.x25519(scalar, point).hex() == shared  # RFC 7748, 5.2

    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    own = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert second.ed25519(secret).hex() == own  # RFC 8032, 7.1
    assert second.ed25519(secret, b"").hex().startswith("e5564300c360ac729086e2cc806e828a")

    key, block = bytes(range(32)), bytes.fromhex("00112233445566778899aabbccddeeff")
    cipher = "8ea2b7ca516745bfeafc49904b496089"
    assert second.aes256(second.round_keys(key), block).hex() == cipher  # FIPS 197, C.3

    info, salt = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"), bytes(range(13))
    assert (
        second.hkdf(b"\x0b" * 22, salt, info).hex().startswith("3cb25f25faacd57a90434f64d0362f2a")
    )
