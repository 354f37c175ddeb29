# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes and messages are one to one: whatever was not written by us is refused."""

import hashlib
import json
from dataclasses import fields, replace
from functools import partial

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra import numpy as arrays

from fedcode import wire
from fedcode.errors import WireError
from fedcode.privacy.release import Masked, Unmasked
from fedcode.signing import SigningKey
from fedcode.weights import digest
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    Keys,
    MaskedUpdate,
    Plan,
    ReceivedMasked,
    ReceivedUpdate,
    Refusal,
    RefusalCode,
    Reveal,
    ShareDelivery,
    Shares,
    SurvivorList,
    Update,
    attested,
    encode,
    sign,
    verified,
)

enough = settings(deadline=None, derandomize=True, max_examples=150)


def texts(size):
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


DIGESTS, SHARES, CIPHERTEXTS, SIGNATURES = texts(32), texts(33), texts(82), texts(64)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
ROUNDS = st.integers(1, 1_000_000)
COHORTS = st.sets(NAMES, min_size=1, max_size=5).map(sorted).map(tuple)
VECTORS = arrays.arrays(
    np.float32,
    st.integers(0, 12),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
WORDS = arrays.arrays(np.uint32, st.integers(0, 12))


def pairs(text):
    return st.dictionaries(NAMES, text, max_size=4).map(lambda d: tuple(sorted(d.items())))


class Term(Unmasked):
    """A term without a release: what is encoded does not depend on where it came from."""

    def __init__(self, values):
        object.__setattr__(self, "values", values)


class Words(Masked):
    """The same of a masked term."""

    def __init__(self, values):
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "digest", hashlib.sha256(values.tobytes()).hexdigest())


def decode(data, *, weights):
    """With as many coordinates as weights."""
    return wire.decode(data, weights=weights, length=weights)


ROUND = (DIGESTS, ROUNDS)
SUM = (*ROUND, DIGESTS)
ABOUT = (*SUM, DIGESTS, DIGESTS)  # transcript and sharers
OF = (*SUM, NAMES, DIGESTS)  # a member, and the transcript

PLANS = st.builds(Plan, *ROUND, COHORTS, VECTORS, SIGNATURES)
UPDATES = st.builds(Update, *ROUND, NAMES, VECTORS.map(Term), SIGNATURES)
REFUSALS = st.builds(Refusal, *ROUND, NAMES, st.sampled_from(RefusalCode), SIGNATURES)
KEYS = st.builds(Keys, *SUM, DIGESTS, NAMES, DIGESTS, DIGESTS, DIGESTS, SIGNATURES)
BOOKS = st.lists(KEYS, max_size=3, unique_by=lambda keys: keys.member).map(
    lambda found: tuple(sorted(found, key=lambda keys: keys.member))
)
MASKED = st.builds(MaskedUpdate, *OF, DIGESTS, WORDS.map(Words), SIGNATURES)
MESSAGES = st.one_of(
    PLANS,
    UPDATES,
    REFUSALS,
    KEYS,
    st.builds(KeyBook, *SUM, BOOKS, SIGNATURES),
    st.builds(Shares, *OF, pairs(CIPHERTEXTS), SIGNATURES),
    st.builds(ShareDelivery, *OF, pairs(CIPHERTEXTS), SIGNATURES),
    MASKED,
    st.builds(SurvivorList, *ABOUT, COHORTS, SIGNATURES),
    st.builds(Confirmation, *OF, DIGESTS, COHORTS, SIGNATURES),
    st.builds(ConfirmationList, *ABOUT, COHORTS, pairs(SIGNATURES), SIGNATURES),
    st.builds(Reveal, *OF, DIGESTS, pairs(SHARES), pairs(SHARES), SIGNATURES),
)


def payload(message):
    """The numbers behind the header."""
    match message:
        case Plan():
            return message.weights
        case Update():
            return message.term.values
        case MaskedUpdate():
            return message.masked.values
        case _:
            return None


def size(message):
    """The number of weights that the receiver expects."""
    return 3 if payload(message) is None else len(payload(message))


def again(received):
    """What was decoded, encoded once more."""
    own = {"values", "digest"}
    values = {f.name: getattr(received, f.name) for f in fields(received) if f.name not in own}
    if isinstance(received, ReceivedUpdate):
        return encode(Update(**values, term=Term(received.values)))
    if isinstance(received, ReceivedMasked):
        return encode(MaskedUpdate(**values, masked=Words(received.values)))
    return encode(received)


@enough
@given(MESSAGES)
def test_what_was_sent_arrives(message) -> None:
    received = decode(encode(message), weights=size(message))
    assert again(received) == encode(message)
    assert (received.agreement, received.round) == (message.agreement, message.round)
    if isinstance(message, Plan):
        assert isinstance(received, Plan)
        assert received.cohort == message.cohort
        np.testing.assert_array_equal(received.weights, message.weights)
    elif isinstance(message, Update | MaskedUpdate):
        assert isinstance(received, ReceivedUpdate | ReceivedMasked)
        assert received.member == message.member
        np.testing.assert_array_equal(received.values, payload(message))
    else:
        assert received == message


def meaning(received):
    """All that a receiver can see of a message."""
    return type(received), again(received)


@enough
@given(MESSAGES, st.data())
def test_a_flipped_bit_is_refused_or_says_something_else(message, data) -> None:
    """No two strings of bytes mean the same, so that a digest of the bytes pins the meaning."""
    sent = encode(message)
    place = data.draw(st.integers(0, 8 * len(sent) - 1))
    flipped = bytearray(sent)
    flipped[place // 8] ^= 1 << place % 8
    try:
        received = decode(bytes(flipped), weights=size(message))
    except WireError:
        return
    assert again(received) == bytes(flipped)
    assert meaning(received) != meaning(decode(sent, weights=size(message)))


def one_of_each():
    """A message of every kind, short."""
    at, said = ("ab" * 32, 7), {"signature": "5e" * 64}
    of, about = (*at, "cd" * 32, "a", "ef" * 32), (*at, "cd" * 32, "ef" * 32, "01" * 32)
    keys = [
        Keys(*at, "cd" * 32, "02" * 32, name, "03" * 32, "04" * 32, "05" * 32, **said)
        for name in "ab"
    ]
    sealed, names = (("b", "06" * 82),), ("a", "b")
    vector, words = np.array([1.5, -2.0, 0.25], np.float32), np.array([1, 2**32 - 1, 0], np.uint32)
    return [
        Plan(*at, names, vector, **said),
        Update(*at, "a", Term(vector), **said),
        Refusal(*at, "a", RefusalCode.RANGE, **said),
        keys[0],
        KeyBook(*at, "cd" * 32, tuple(keys), **said),
        Shares(*of, sealed, **said),
        ShareDelivery(*of, sealed, **said),
        MaskedUpdate(*of, "01" * 32, Words(words), **said),
        SurvivorList(*about, names, **said),
        Confirmation(*of, "01" * 32, names, **said),
        ConfirmationList(*about, names, (("a", "07" * 64), ("b", "08" * 64)), **said),
        Reveal(*of, "01" * 32, (("a", "09" * 33),), (("b", "0a" * 33),), **said),
    ]


def test_there_is_one_of_each() -> None:
    assert {type(message) for message in one_of_each()} == set(wire.Message.__args__)


@pytest.mark.parametrize("message", one_of_each(), ids=lambda m: type(m).__name__)
def test_every_single_bit_of_a_message_counts(message) -> None:
    sent = encode(message)
    body = len(sent) - (0 if payload(message) is None else 12)
    for place in range(8 * len(sent)):
        flipped = bytearray(sent)
        flipped[place // 8] ^= 1 << place % 8
        try:
            received = decode(bytes(flipped), weights=3)
        except WireError:
            continue
        assert place < 8 * body, "the payload's digest did not notice"
        assert again(received) == bytes(flipped) != sent


@pytest.mark.parametrize("message", one_of_each(), ids=lambda m: type(m).__name__)
def test_a_signature_is_of_everything_else(message) -> None:
    """And of the kind: another kind with the same header is another domain."""
    key = SigningKey.generate()
    own = sign(message, key)
    assert verified(own, key.public)
    assert verified(decode(encode(own), weights=3), key.public)
    assert not verified(message, key.public)
    assert not verified(own, SigningKey.generate().public)
    for field in fields(own):
        value = getattr(own, field.name)
        if isinstance(value, str) and field.name not in ("code", "digest"):
            changed = ("0" if value[0] != "0" else "1") + value[1:]
            assert not verified(replace(own, **{field.name: changed}), key.public), field.name
        elif isinstance(value, tuple):
            assert not verified(replace(own, **{field.name: value[:-1]}), key.public), field.name
    assert not verified(replace(own, round=8), key.public)
    if isinstance(own, Shares):
        values = {f.name: getattr(own, f.name) for f in fields(own)}
        assert not verified(ShareDelivery(**values), key.public)


@pytest.mark.parametrize("message", one_of_each(), ids=lambda m: type(m).__name__)
def test_what_is_not_signed_is_not_sent(message) -> None:
    with pytest.raises(WireError, match="only a signed message"):
        encode(replace(message, signature=""))


def test_what_was_received_is_not_sent() -> None:
    """A vector of which nothing is known stays out of messages."""
    for message in one_of_each():
        received = decode(encode(message), weights=3)
        if isinstance(received, ReceivedUpdate | ReceivedMasked):
            with pytest.raises(WireError, match="never what was received"):
                encode(received)


def largest():
    """The longest header of every kind: 100 members with names of 64 letters."""
    names = tuple(f"{'n' * 61}{i:03}" for i in range(100))
    at, said = ("ab" * 32, 1_000_000), {"signature": "5e" * 64}
    of, about = (*at, "cd" * 32, names[0], "ef" * 32), (*at, "cd" * 32, "ef" * 32, "01" * 32)
    filled = partial(lambda text: tuple((name, text) for name in names))
    keys = [
        Keys(*at, "cd" * 32, "02" * 32, n, "03" * 32, "04" * 32, "05" * 32, **said) for n in names
    ]
    return [
        Plan(*at, names, np.zeros(3, np.float32), **said),
        keys[0],
        KeyBook(*at, "cd" * 32, tuple(keys), **said),
        Shares(*of, filled("06" * 82), **said),
        SurvivorList(*about, names, **said),
        Confirmation(*of, "01" * 32, names, **said),
        ConfirmationList(*about, names, filled("07" * 64), **said),
        Reveal(*of, "01" * 32, filled("09" * 33), filled("0a" * 33), **said),
    ]


@pytest.mark.parametrize("message", largest(), ids=lambda m: type(m).__name__)
def test_a_hundred_members_fit(message) -> None:
    assert again(decode(encode(message), weights=3)) == encode(message)


def test_a_hundred_and_one_do_not() -> None:
    names = tuple(f"m{i:03}" for i in range(101))
    for message in one_of_each():
        for field, value in (
            ("survivors", names),
            ("confirmations", tuple((n, "07" * 64) for n in names)),
        ):
            if hasattr(message, field):
                with pytest.raises(WireError):
                    decode(encode(replace(message, **{field: value})), weights=3)


@enough
@given(PLANS, st.data())
def test_a_plans_payload_is_pinned_by_its_digest(plan, data) -> None:
    assume(len(plan.weights))
    sent = bytearray(encode(plan))
    place = data.draw(st.integers(1, 4 * len(plan.weights)))
    sent[-place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        decode(bytes(sent), weights=len(plan.weights))


@enough
@given(MESSAGES, st.data())
def test_a_message_that_is_cut_off_is_refused(message, data) -> None:
    sent = encode(message)
    end = data.draw(st.integers(0, len(sent) - 1))
    with pytest.raises(WireError):
        decode(sent[:end], weights=size(message))


@enough
@given(MESSAGES, st.binary(min_size=1, max_size=8), st.booleans())
def test_a_message_with_more_around_it_is_refused(message, more, before) -> None:
    sent = encode(message)
    with pytest.raises(WireError):
        decode(more + sent if before else sent + more, weights=size(message))


@enough
@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data) -> None:
    with pytest.raises(WireError):
        decode(data, weights=3)


@enough
@given(
    st.sampled_from(list("PURKBSDMLCAV")).map(str.encode), st.binary(max_size=80), st.integers(0, 3)
)
def test_other_headers_are_refused(kind, header, weights) -> None:
    with pytest.raises(WireError):
        decode(frame(header, kind=kind, payload=bytes(4 * weights)), weights=weights)


@enough
@given(st.one_of(PLANS, UPDATES, MASKED), st.integers(1, 12))
def test_a_payload_of_another_length_is_refused(message, more) -> None:
    weights = (size(message) + more) % 13  # another one of 0 to 12
    with pytest.raises(WireError, match="another length"):
        decode(encode(message), weights=weights)


# One message of each kind, and everything that can be wrong with it.

VECTOR = np.array([1.0, 2.0], np.float32)
NAMED = {"agreement": "ab" * 32, "round": 3, "signature": "5e" * 64}
HEADERS = {
    b"P": NAMED | {"cohort": ["a", "b"], "weights": digest(VECTOR)},
    b"U": NAMED | {"member": "a", "payload": digest(VECTOR)},
    b"R": NAMED | {"member": "a", "code": "budget"},
}


def frame(header, *, kind=b"U", payload=None, magic=b"fedcode/1", length=None):
    """A message with any header, a dictionary or bytes."""
    if isinstance(header, dict):
        header = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    if payload is None:
        payload = b"" if kind == b"R" else VECTOR.tobytes()
    length = len(header) if length is None else length
    return magic + kind + length.to_bytes(4, "big") + header + payload


@pytest.fixture(params=HEADERS)
def kind(request):
    return request.param


def refused(data, match=None):
    with pytest.raises(WireError, match=match):
        decode(data, weights=2)


def test_the_frame_written_here_is_ours(kind) -> None:
    assert again(decode(frame(HEADERS[kind], kind=kind), weights=2)) == frame(
        HEADERS[kind], kind=kind
    )


@pytest.mark.parametrize("other", [b"Q", b"p", b"\x00", b" "])
def test_an_unknown_kind_is_refused(other) -> None:
    refused(frame(HEADERS[b"U"], kind=other), "not a message of this version")


def test_another_version_is_refused(kind) -> None:
    refused(frame(HEADERS[kind], kind=kind, magic=b"fedcode/2"), "not a message of this version")


def test_a_message_of_one_kind_under_anothers_mark_is_refused(kind) -> None:
    for other in HEADERS.keys() - {kind}:
        refused(frame(HEADERS[kind], kind=other))


def test_keys_in_another_order_are_refused(kind) -> None:
    backwards = dict(sorted(HEADERS[kind].items(), reverse=True))
    text = json.dumps(backwards, separators=(",", ":")).encode()
    refused(frame(text, kind=kind), "not canonical")


def test_white_space_is_refused(kind) -> None:
    refused(frame(json.dumps(HEADERS[kind], sort_keys=True).encode(), kind=kind), "not canonical")
    text = json.dumps(HEADERS[kind], sort_keys=True, separators=(",", ":")).encode()
    refused(frame(text + b"\n", kind=kind), "not canonical")


def test_extra_and_missing_keys_are_refused(kind) -> None:
    refused(frame(HEADERS[kind] | {"text": "def f(): pass"}, kind=kind), "other keys")
    for key in HEADERS[kind]:
        refused(frame({k: v for k, v in HEADERS[kind].items() if k != key}, kind=kind))


def test_a_key_that_stands_there_twice_is_refused(kind) -> None:
    text = json.dumps(HEADERS[kind], sort_keys=True, separators=(",", ":"))
    refused(frame(text.replace("{", '{"agreement":"x",', 1).encode(), kind=kind), "not canonical")


def test_other_spellings_of_one_name_are_refused() -> None:
    text = json.dumps(HEADERS[b"U"], sort_keys=True, separators=(",", ":"))
    refused(frame(text.replace('"member":"a"', '"member":"\\u0061"').encode()), "not canonical")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("round", 0),
        ("round", -1),
        ("round", 1.0),
        ("round", True),
        ("round", "3"),
        ("round", None),
        ("round", 1_000_001),
        ("agreement", "AB" * 32),
        ("agreement", "ab" * 31),
        ("agreement", "ab" * 32 + "\n"),
        ("agreement", 5),
        ("member", ""),
        ("member", "../x"),
        ("member", "a b"),
        ("member", "ä"),
        ("member", "a\n"),
        ("member", "a" * 65),
        ("member", ["a"]),
        ("signature", ""),
        ("signature", "5e" * 63),
        ("signature", "5E" * 64),
        ("signature", None),
        ("payload", "ab" * 32),
        ("payload", None),
    ],
)
def test_values_of_another_form_are_refused(key, value) -> None:
    refused(frame(HEADERS[b"U"] | {key: value}), "not")


@pytest.mark.parametrize("code", ["", "BUDGET", "budget ", "Traceback", ["budget"], None, 1])
def test_a_refusal_carries_one_of_its_codes_only(code) -> None:
    refused(frame(HEADERS[b"R"] | {"code": code}, kind=b"R"), "unknown refusal code")


@pytest.mark.parametrize(
    "cohort", [[], ["b", "a"], ["a", "a"], "ab", [1], [["a"]], {"a": 1}, None, ["a", ""]]
)
def test_a_cohort_of_another_form_is_refused(cohort) -> None:
    refused(frame(HEADERS[b"P"] | {"cohort": cohort}, kind=b"P"), "cohort")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value) -> None:
    vector = np.array([1.0, value], np.float32)
    update = HEADERS[b"U"] | {"payload": digest(vector)}
    refused(frame(update, payload=vector.tobytes()), "not finite")
    plan = HEADERS[b"P"] | {"weights": digest(vector)}
    refused(frame(plan, kind=b"P", payload=vector.tobytes()), "not finite")
    refused(encode(Plan("ab" * 32, 1, ("a",), vector, "5e" * 64)), "not finite")


def test_a_refusal_with_a_payload_is_refused() -> None:
    refused(frame(HEADERS[b"R"], kind=b"R", payload=VECTOR.tobytes()), "another length")


@pytest.mark.parametrize("length", [0, 1, (1 << 20) + 1, (1 << 32) - 1])
def test_a_header_of_another_length_is_refused(length) -> None:
    refused(frame(HEADERS[b"U"], length=length))


def test_a_header_that_is_too_long_is_refused_though_it_is_there() -> None:
    refused(frame({"member": "a" * (1 << 20)}), "another length")


@pytest.mark.parametrize(
    "header",
    [b"", b"null", b"[]", b"3", b'"a"', b"{", b"\xff\xfe", b"NaN", b"[" * 200_000, b"1" * 10_000,
     b'{"a":' * 100_000, '{"member":"a"}'.encode("utf-16")],
    ids=lambda h: repr(h[:12]),
)  # fmt: skip
def test_a_header_that_is_no_object_is_refused(header) -> None:
    refused(frame(header))


def test_what_arrives_shares_no_memory_with_the_bytes() -> None:
    data = bytearray(encode(Update("ab" * 32, 1, "a", Term(VECTOR), "5e" * 64)))
    received = decode(data, weights=2)
    data[-4:] = bytes(4)
    np.testing.assert_array_equal(received.values, VECTOR)


def test_the_digest_that_is_remembered_is_of_these_numbers_alone() -> None:
    """A message with others is not taken for what was signed."""
    key = SigningKey.generate()
    for message, name in (
        (Plan("ab" * 32, 1, ("a",), VECTOR), "weights"),
        (Update("ab" * 32, 1, "a", Term(VECTOR)), "values"),
    ):
        received = decode(encode(sign(message, key)), weights=2)
        assert received.digest == hashlib.sha256(VECTOR.tobytes()).hexdigest()
        assert verified(received, key.public)
        other = replace(received, **{name: VECTOR + 1})
        assert not other.digest
        assert not verified(other, key.public)


def test_a_masked_update_is_read_where_it_lies() -> None:
    """No copy of a long vector; and nobody changes what was signed."""
    data = encode(MaskedUpdate("ab" * 32, 1, "cd" * 32, "a", "ef" * 32, "01" * 32,
                               Words(np.array([1, 2], np.uint32)), "5e" * 64))  # fmt: skip
    received = decode(data, weights=2)
    assert np.shares_memory(received.values, np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        received.values[0] = 9


def test_the_bytes_of_version_1() -> None:
    """Golden: another layout is another version."""
    refusal = Refusal("ab" * 32, 3, "acme", RefusalCode.BUDGET, "5e" * 64)
    header = (
        f'{{"agreement":"{"ab" * 32}","code":"budget","member":"acme","round":3,'
        f'"signature":"{"5e" * 64}"}}'
    ).encode()
    assert encode(refusal) == b"fedcode/1R" + len(header).to_bytes(4, "big") + header
    assert attested(refusal) == encode(refusal)
    update = encode(
        Update("ab" * 32, 3, "acme", Term(np.array([1.0, -0.5], np.float32)), "5e" * 64)
    )
    assert update.endswith(b'5e5e"}\x00\x00\x80?\x00\x00\x00\xbf')
