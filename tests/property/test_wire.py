# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes and messages are one to one: whatever was not written by us is refused."""

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.extra import numpy as arrays

from fedcode.errors import WireError
from fedcode.privacy.release import Unmasked
from fedcode.weights import digest
from fedcode.wire import Plan, Refusal, RefusalCode, Update, decode, encode
from fedcode.wire.messages import ReceivedUpdate

enough = settings(deadline=None, derandomize=True, max_examples=150)

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
ROUNDS = st.integers(1, 1_000_000)
VECTORS = arrays.arrays(
    np.float32,
    st.integers(0, 12),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


class Term(Unmasked):
    """A term without a release: what is encoded does not depend on where it came from."""

    def __init__(self, values):
        object.__setattr__(self, "values", values)


PLANS = st.builds(
    Plan, DIGESTS, ROUNDS, st.sets(NAMES, min_size=1, max_size=5).map(sorted).map(tuple), VECTORS
)
UPDATES = st.builds(Update, DIGESTS, ROUNDS, NAMES, VECTORS.map(Term))
REFUSALS = st.builds(Refusal, DIGESTS, ROUNDS, NAMES, st.sampled_from(RefusalCode))
MESSAGES = st.one_of(PLANS, UPDATES, REFUSALS)


def size(message):
    """The number of weights that the receiver expects."""
    return {Plan: lambda m: len(m.weights), Update: lambda m: len(m.term.values)}.get(
        type(message), lambda _: 3
    )(message)


def again(received):
    """What was decoded, encoded once more."""
    if isinstance(received, ReceivedUpdate):
        term = Term(received.values)
        return encode(Update(received.agreement, received.round, received.member, term))
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
    elif isinstance(message, Update):
        assert isinstance(received, ReceivedUpdate)
        assert received.member == message.member
        np.testing.assert_array_equal(received.values, message.term.values)
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


def test_every_single_bit_of_a_message_counts() -> None:
    vector = np.array([1.5, -2.0, 0.25], np.float32)
    for message in (
        Plan("ab" * 32, 7, ("a", "b"), vector),
        Update("ab" * 32, 7, "a", Term(vector)),
        Refusal("ab" * 32, 7, "a", RefusalCode.BUDGET),
    ):
        sent = encode(message)
        body = len(sent) - 4 * 3 if not isinstance(message, Refusal) else len(sent)
        for place in range(8 * len(sent)):
            flipped = bytearray(sent)
            flipped[place // 8] ^= 1 << place % 8
            try:
                received = decode(bytes(flipped), weights=3)
            except WireError:
                continue
            assert again(received) == bytes(flipped) != sent
            if place >= 8 * body:
                assert isinstance(received, ReceivedUpdate), "the plan's digest did not notice"


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
@given(st.sampled_from([b"P", b"U", b"R"]), st.binary(max_size=80), st.integers(0, 3))
def test_other_headers_are_refused(kind, header, weights) -> None:
    with pytest.raises(WireError):
        decode(frame(header, kind=kind, payload=bytes(4 * weights)), weights=weights)


@enough
@given(MESSAGES, st.integers(0, 12))
def test_a_payload_of_another_length_is_refused(message, weights) -> None:
    assume(weights != size(message) and not isinstance(message, Refusal))
    with pytest.raises(WireError, match="another length"):
        decode(encode(message), weights=weights)


# One message of each kind, and everything that can be wrong with it.

VECTOR = np.array([1.0, 2.0], np.float32)
NAMED = {"agreement": "ab" * 32, "round": 3}
HEADERS = {
    b"P": NAMED | {"cohort": ["a", "b"], "weights": digest(VECTOR)},
    b"U": NAMED | {"member": "a"},
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
    refused(frame(HEADERS[b"U"], payload=vector.tobytes()), "not finite")
    plan = HEADERS[b"P"] | {"weights": digest(vector)}
    refused(frame(plan, kind=b"P", payload=vector.tobytes()), "not finite")
    refused(encode(Plan("ab" * 32, 1, ("a",), vector)), "not finite")


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
    data = bytearray(encode(Update("ab" * 32, 1, "a", Term(VECTOR))))
    received = decode(bytes(data), weights=2)
    received.values[0] = 9.0
    assert bytes(data) == encode(Update("ab" * 32, 1, "a", Term(VECTOR)))


def test_the_bytes_of_version_1() -> None:
    """Golden: another layout is another version."""
    refusal = Refusal("ab" * 32, 3, "acme", RefusalCode.BUDGET)
    header = f'{{"agreement":"{"ab" * 32}","code":"budget","member":"acme","round":3}}'.encode()
    assert encode(refusal) == b"fedcode/1R" + len(header).to_bytes(4, "big") + header
    update = encode(Update("ab" * 32, 3, "acme", Term(np.array([1.0, -0.5], np.float32))))
    assert update.endswith(b'"round":3}\x00\x00\x80?\x00\x00\x00\xbf')
