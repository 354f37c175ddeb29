# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an active coordinator, and members that help it, may try: each attempt as a script.

The attacker holds the coordinator's signing key, and those of members where the script says so.
Whatever is refused leaves the sum as it was; where a signature proves the attack, the error names
who made it and brings the proof.
"""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from summing import Memory, Points, Round, names_of, session_of, signing_key

from fedcode.errors import Misbehaviour, PrivacyError, SecureSumError, WireError
from fedcode.secure_sum import Summation, SummingMember, randomness
from fedcode.secure_sum.keys import public_of, transcript
from fedcode.signing import SigningKey, signed
from fedcode.wire import (
    Confirmation,
    ConfirmationList,
    KeyBook,
    ShareDelivery,
    SurvivorList,
    encode,
    sign,
)

COORDINATOR = signing_key("coordinator")
WORDS = {
    b"K": "keys",
    b"B": "key-book",
    b"S": "shares",
    b"D": "share-delivery",
    b"M": "masked-update",
    b"L": "survivor-list",
    b"C": "confirmation",
    b"A": "confirmation-list",
    b"V": "reveal",
}


def holds(evidence, name):
    """Whether ``name`` has signed it: for whoever has the roster, and without our codec."""
    kind, header = evidence[9:10], json.loads(evidence[14:])
    signature = header.pop("signature")
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return signed(signing_key(name).public, signature, f"fedcode/1/{WORDS[kind]}", text)


def blamed(name, ask, match, pieces=1):
    """``ask`` ends in a proof against ``name``, of so many signed messages."""
    with pytest.raises(Misbehaviour, match=match) as caught:
        ask()
    error = caught.value
    assert error.culprit == name
    assert len(error.evidence) == len(set(error.evidence)) == pieces
    assert all(holds(piece, name) for piece in error.evidence)


def refused(ask, match):
    """``ask`` is refused, and nobody is blamed."""
    with pytest.raises((SecureSumError, PrivacyError), match=match) as caught:
        ask()
    assert not isinstance(caught.value, Misbehaviour)


def forged(message, key=COORDINATOR, **changed):
    """``message``, changed, and signed with the attacker's key."""
    return sign(replace(message, **changed), key)


def gone(member):
    """The member answers nothing more."""
    refused(member.keys, "over for this member")
    return not any(member._seed) and not member._held and not member._mask_keys


@pytest.fixture
def at():
    """A sum of 7 members, threshold 5, up to a step."""

    def begun(step=None, n=7, leaves=((), (), (), ())):
        run = Round(n)
        for name, leave in zip(("keys", "shares", "masked", "confirmed"), leaves, strict=True):
            if name == step:
                return run
            getattr(run, name)(leave)
        return run

    return begun


# Keys.


def test_keys_without_the_members_signature_stay_out(at) -> None:
    """The coordinator puts its own keys in the place of a member's."""
    run = at("keys")
    own = run.members["m001"].keys()
    run.keys(leave=["m001"])
    fake = sign(replace(own, sharing=public_of(randomness.fresh(32))), COORDINATOR)
    keys = sorted((*run.coordinator.book().keys, fake), key=lambda k: k.member)
    book = forged(run.coordinator.book(), keys=tuple(keys))
    blamed("coordinator", lambda: run.members["m000"].shares(book), "m001 is not signed by it")
    assert gone(run.members["m000"])


def test_swapped_keys_are_noticed(at) -> None:
    """Two members' keys under each other's names."""
    run = at("keys")
    book = run.keys()
    first, second, *rest = book.keys
    swapped = (replace(second, member=first.member), replace(first, member=second.member), *rest)
    blamed(
        "coordinator",
        lambda: run.members["m003"].shares(forged(book, keys=swapped)),
        "not signed by it",
    )


@pytest.mark.parametrize("changed", [{"round": 6}, {"plan": "bd" * 32}, {"agreement": "ad" * 32}])
def test_keys_of_another_sum_are_noticed(at, changed) -> None:
    """A replay: the member did sign these keys, in another round, plan or agreement."""
    run, other = at("keys"), Round(7, **changed)
    book = run.keys()
    old = other.members["m001"].keys()
    refused(lambda: Summation(run.session, COORDINATOR).add_keys(old), "of another sum")
    keys = tuple(old if keys.member == "m001" else keys for keys in book.keys)
    blamed(
        "coordinator",
        lambda: run.members["m000"].shares(forged(book, keys=keys)),
        "of another sum",
    )
    relabelled = replace(old, **{name: getattr(run.session, name) for name in changed})
    refused(lambda: Summation(run.session, COORDINATOR).add_keys(relabelled), "not signed by it")


def test_a_plan_that_changes_after_the_keys_gets_no_shares(at) -> None:
    run, other = at("keys"), Round(7, plan="bd" * 32)
    run.keys()
    refused(lambda: run.members["m000"].shares(other.keys()), "of another sum")


def test_keys_for_other_weights_than_the_plans_are_the_members_fault(at) -> None:
    run = at("keys")
    keys = forged(run.members["m001"].keys(), signing_key("m001"), weights="dd" * 32)
    blamed("m001", lambda: run.coordinator.add_keys(keys), "other weights")


LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
]
NOT_CANONICAL = [
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 19 + 9).to_bytes(32, "little"),
    b"\x09" + bytes(30) + b"\x80",
]


@pytest.mark.parametrize("point", LOW_ORDER + NOT_CANONICAL, ids=lambda p: p.hex()[:8])
@pytest.mark.parametrize("field", ["sharing", "masking"])
def test_points_without_a_secret_are_refused(at, point, field) -> None:
    """All-zero secrets, that everybody knows; and second spellings of a key."""
    run = at("keys")
    keys = forged(run.members["m001"].keys(), signing_key("m001"), **{field: point.hex()})
    blamed("m001", lambda: run.coordinator.add_keys(keys), "no secret is secret")
    book = run.keys(leave=["m001"])
    everybody = tuple(sorted((*book.keys, keys), key=lambda k: k.member))
    blamed(
        "m001",
        lambda: run.members["m000"].shares(forged(book, keys=everybody)),
        "no secret is secret",
    )


def test_a_members_keys_are_not_reflected_to_it() -> None:
    """A colluding member shows the victim's own public keys as its own."""
    for fields in (("sharing", "masking"), ("sharing",), ("masking",)):
        run = Round(7)
        victim = run.members["m000"].keys()
        copied = {field: getattr(victim, field) for field in fields}
        mirror = forged(run.members["m001"].keys(), signing_key("m001"), **copied)
        run.coordinator.add_keys(victim)
        refused(lambda r=run, m=mirror: r.coordinator.add_keys(m), "another member's key")
        book = run.keys(leave=["m001"])
        everybody = tuple(sorted((*book.keys, mirror), key=lambda k: k.member))
        blamed(
            "coordinator",
            lambda r=run, b=book, e=everybody: r.members["m000"].shares(forged(b, keys=e)),
            "a key stands twice",
        )


def test_one_key_for_shares_and_masks_is_refused(at) -> None:
    run = at("keys")
    own = run.members["m001"].keys()
    keys = forged(own, signing_key("m001"), masking=own.sharing)
    blamed("m001", lambda: run.coordinator.add_keys(keys), "one key for shares and masks")


def test_a_member_with_two_sets_of_keys_is_caught(at) -> None:
    run = at("keys")
    run.coordinator.add_keys(run.members["m001"].keys())
    again = SummingMember(run.session, "m001", signing_key("m001"), Memory()).keys()
    blamed("m001", lambda: run.coordinator.add_keys(again), "two answers", pieces=2)
    assert run.keys().keys[1] == run.members["m001"].keys()


def test_sybils_are_not_in_the_roster(at) -> None:
    """Members that the coordinator invents; and a roster key under another name."""
    run = at("keys")
    book = run.keys()
    sybil = forged(book.keys[0], signing_key("m999"), member="m999")
    refused(lambda: Summation(run.session, COORDINATOR).add_keys(sybil), "no member of the sum")
    blamed(
        "coordinator",
        lambda: run.members["m000"].shares(forged(book, keys=(*book.keys, sybil))),
        "m999 is no member of the sum",
    )
    taken = forged(book.keys[0], signing_key("m000"), member="m001")
    refused(lambda: Summation(run.session, COORDINATOR).add_keys(taken), "not signed by it")


def test_a_session_with_a_doubled_identity_is_none() -> None:
    members = [(name, signing_key(name).public) for name in names_of(4)]
    members[3] = ("m003", members[2][1])
    refused(lambda: session_of(4, members=tuple(members)), "stands twice")


def test_a_book_of_too_few_members_is_refused(at) -> None:
    """A low threshold: with fewer members there would be fewer to hide among."""
    run = at("keys")
    book = run.keys()
    few = forged(book, keys=book.keys[:4])
    blamed("coordinator", lambda: run.members["m000"].shares(few), "too few members")
    alone = Round(7)
    few = forged(book, keys=(alone.members["m000"].keys(),))
    blamed("coordinator", lambda: alone.members["m000"].shares(few), "too few members")


def test_the_threshold_counts_all_that_the_plan_names(at) -> None:
    """Six of seven in the book do not make it a sum of six."""
    run = at("shares", leaves=(["m006"], (), (), ()))
    assert run.session.threshold == 5
    run.shares(leave=["m006", "m005"])
    refused(lambda: run.masked(leave=["m004"]), "4 of 7 members have sent their terms, and 5")


def test_a_book_without_ones_own_keys_is_refused(at) -> None:
    run = at("keys")
    book = run.keys()
    without = forged(book, keys=book.keys[1:])
    refused(lambda: run.members["m000"].shares(without), "not hold the member's own keys")


def test_a_book_with_a_member_twice_cannot_be_read_nor_used(at) -> None:
    run = at("keys")
    book = run.keys()
    twice = forged(book, keys=(book.keys[0], *book.keys))
    with pytest.raises(WireError, match="twice"):
        run.arrived(twice)
    blamed("coordinator", lambda: run.members["m000"].shares(twice), "too few members")


def test_a_second_book_for_one_member_is_proof(at) -> None:
    run = at("keys")
    book = run.keys()
    first = run.members["m000"].shares(book)
    assert run.members["m000"].shares(book) is first, "the same request, the same answer"
    other = forged(book, keys=book.keys[:-1])
    blamed("coordinator", lambda: run.members["m000"].shares(other), "two key books", pieces=2)
    assert gone(run.members["m000"])


def test_members_with_different_books_open_nothing_of_each_other(at) -> None:
    """Every signature in both books is good; only their members differ."""
    run = at("keys")
    book = run.keys()
    smaller = forged(book, keys=book.keys[:-1])
    left = run.members["m000"].shares(book)
    right = {n: run.members[n].shares(smaller) for n in names_of(7)[1:6]}
    assert left.transcript != right["m001"].transcript
    sent = {"m000": left, **right}
    pairs = tuple((n, dict(s.ciphertexts)["m001"]) for n, s in sent.items() if n != "m001")
    place = run.session.agreement, run.session.round, run.session.plan
    delivery = sign(ShareDelivery(*place, "m001", right["m001"].transcript, pairs), COORDINATOR)
    refused(lambda: run.members["m001"].accept(delivery), "shares of m000 are none")
    other = forged(delivery, transcript=left.transcript)
    blamed_two = run.members["m001"]
    with pytest.raises(Misbehaviour, match="two key books") as caught:
        blamed_two.accept(other)
    assert len(caught.value.evidence) == 2
    assert all(holds(piece, "coordinator") for piece in caught.value.evidence)


# Shares.


def tampered(delivery, change):
    """A delivery whose ciphertexts went through ``change``, signed again."""
    return forged(delivery, ciphertexts=tuple(sorted(change(dict(delivery.ciphertexts)).items())))


def flipped(text):
    return ("0" if text[0] != "0" else "1") + text[1:]


def test_ciphertexts_that_were_changed_swapped_or_sent_back_do_not_open(at) -> None:
    run = at("masked")
    deliveries = run.coordinator.deliveries()
    other = dict(deliveries["m002"].ciphertexts)
    for change in (
        lambda c: c | {"m001": flipped(c["m001"])},
        lambda c: c | {"m001": c["m002"], "m002": c["m001"]},
        lambda c: c | {"m001": other["m001"]},  # for another recipient
        lambda c: c | {"m001": dict(deliveries["m001"].ciphertexts)["m000"]},  # one's own, back
        lambda c: c | {"m001": "00" * 82},
    ):
        bad = tampered(deliveries["m000"], change)
        refused(lambda bad=bad: run.members["m000"].accept(bad), "are none for m000")
    run.members["m000"].accept(deliveries["m000"])


def test_ciphertexts_of_another_round_do_not_open(at) -> None:
    """With the same members and the same signing keys."""
    run, old = at("masked"), Round(7, round=6)
    old.keys()
    old.shares()
    replayed = dict(old.coordinator.deliveries()["m000"].ciphertexts)
    bad = tampered(run.coordinator.deliveries()["m000"], lambda c: c | {"m001": replayed["m001"]})
    refused(lambda: run.members["m000"].accept(bad), "are none for m000")
    refused(
        lambda: run.members["m000"].accept(old.coordinator.deliveries()["m000"]), "of another sum"
    )


def test_shares_outside_the_field_are_refused(at, monkeypatch) -> None:
    """A colluding member encrypts what is no share: noticed before anything is trained."""
    from fedcode.secure_sum import member as module

    run = at("keys")
    book = run.keys()
    good = module.seal
    monkeypatch.setattr(module, "seal", lambda *a: good(*a[:-1], b"\xff" * 66))
    bad = run.members["m001"].shares(book)
    monkeypatch.undo()
    run.coordinator.add_shares(bad)
    run.shares(leave=["m001"])
    refused(
        lambda: run.members["m000"].accept(run.coordinator.deliveries()["m000"]),
        "shares of m001 are none",
    )


def test_dropped_senders_leave_too_few(at) -> None:
    run = at("masked")
    delivery = run.coordinator.deliveries()["m000"]
    few = tampered(delivery, lambda c: dict(list(c.items())[:3]))
    blamed("coordinator", lambda: run.members["m000"].accept(few), "too few members")
    assert gone(run.members["m000"])


def test_two_deliveries_are_proof(at) -> None:
    run = at("masked")
    delivery = run.coordinator.deliveries()["m000"]
    run.members["m000"].accept(delivery)
    run.members["m000"].accept(delivery)
    fewer = tampered(delivery, lambda c: dict(list(c.items())[:5]))
    blamed("coordinator", lambda: run.members["m000"].accept(fewer), "two deliveries", pieces=2)


def test_what_others_were_sent_honestly_proves_nothing(at) -> None:
    """A delivery for somebody else, and the messages of another group's sum of the same plan."""
    run = at("masked")
    one, other = (run.coordinator.deliveries()[name] for name in ("m000", "m001"))
    run.members["m000"].accept(one)
    refused(lambda: run.members["m000"].accept(other), "for another member")
    names = tuple(f"n{i}" for i in range(4))
    group = Round(4, members=tuple((name, signing_key(name).public) for name in names))
    book = group.keys()
    deliveries = group.shares()
    survivors = group.masked()
    confirmations = group.confirmed()
    member = run.members["m000"]
    for ask, message in (
        (member.shares, book),
        (member.accept, deliveries["n0"]),
        (member.confirm, survivors),
        (member.reveal, confirmations),
    ):
        refused(lambda ask=ask, message=message: ask(message), "of another sum")
    run.masked()
    run.confirmed()
    assert (run.total() == run.expected()).all(), "nobody has given up"


def test_a_delivery_for_another_member_or_from_a_stranger_is_refused(at) -> None:
    run = at("masked")
    deliveries = run.coordinator.deliveries()
    refused(lambda: run.members["m000"].accept(deliveries["m001"]), "for another member")
    more = tampered(deliveries["m000"], lambda c: c | {"m999": "00" * 82})
    blamed("coordinator", lambda: run.members["m000"].accept(more), "others than the key book's")


def test_a_delivery_from_oneself_is_refused(at) -> None:
    run = at("masked")
    own = tampered(run.coordinator.deliveries()["m000"], lambda c: c | {"m000": "00" * 82})
    blamed("coordinator", lambda: run.members["m000"].accept(own), "others than the key book's")


def test_deliveries_that_differ_between_members_end_without_a_reveal(at) -> None:
    """One member is told of fewer sharers: nobody confirms with it."""
    run = at("masked")
    deliveries = run.coordinator.deliveries()
    run.members["m000"].accept(tampered(deliveries["m000"], lambda c: dict(list(c.items())[:5])))
    masked = run.members["m000"].mask(Points([1] * 4))
    blamed("m000", lambda: run.coordinator.add_masked(run.arrived(masked)), "other sharers")
    survivors = run.masked(leave=["m000"])
    list_for_all = forged(survivors, survivors=names_of(6))
    with pytest.raises(Misbehaviour, match="two sets of sharers") as caught:
        run.members["m000"].confirm(list_for_all)
    assert all(holds(piece, "coordinator") for piece in caught.value.evidence)


def test_shares_for_others_than_the_book_says_are_the_members_fault(at) -> None:
    run = at("shares")
    sent = run.members["m001"].shares(run.coordinator.book())
    for changed in (
        {"ciphertexts": sent.ciphertexts[1:]},
        {"ciphertexts": (*sent.ciphertexts, ("m999", "00" * 82))},
        {"transcript": "ef" * 32},
    ):
        bad = forged(sent, signing_key("m001"), **changed)
        blamed("m001", lambda bad=bad: run.coordinator.add_shares(bad), "key book's")
    assert run.coordinator.sharers == ()
    run.coordinator.add_shares(sent)
    other = forged(sent, signing_key("m001"), ciphertexts=run.members["m002"].shares(
        run.coordinator.book()).ciphertexts)  # fmt: skip
    blamed("m001", lambda: run.coordinator.add_shares(other), "two answers", pieces=2)


# Masked terms.


def test_nothing_is_masked_twice(at) -> None:
    """Two terms under one mask give their difference."""
    run = at("confirmed")
    refused(lambda: run.members["m000"].mask(Points([1] * 4)), "masked once")


def test_after_a_failed_masking_there_is_no_second_one(at, monkeypatch) -> None:
    from fedcode.secure_sum import member as module

    def fails(*_):
        raise MemoryError

    run = at("masked")
    run.members["m000"].accept(run.coordinator.deliveries()["m000"])
    monkeypatch.setattr(module, "add_masks", fails)
    with pytest.raises(MemoryError):
        run.members["m000"].mask(Points([1] * 4))
    monkeypatch.undo()
    refused(lambda: run.members["m000"].mask(Points([1] * 4)), "masked once")


def test_keys_that_are_wiped_under_a_masking_mask_nothing_that_leaves(at, monkeypatch) -> None:
    """Keystreams of zeros are known to everybody, and the term with them."""
    from fedcode.secure_sum import member as module

    run = at("masked")
    member = run.members["m000"]
    member.accept(run.coordinator.deliveries()["m000"])
    add_masks = module.add_masks

    def wiped(*arguments):
        member.wipe()
        add_masks(*arguments)

    monkeypatch.setattr(module, "add_masks", wiped)
    refused(lambda: member.mask(Points([1] * 4)), "over for this member")


def test_after_a_failed_sharing_there_is_no_second_one(at, monkeypatch) -> None:
    """A wiped masking key would be shared, and its masks known to everybody."""
    from fedcode.secure_sum import member as module

    def fails(*_):
        raise MemoryError

    run = at("keys")
    book = run.keys()
    monkeypatch.setattr(module, "sign", fails)
    with pytest.raises(MemoryError):
        run.members["m000"].shares(book)
    monkeypatch.undo()
    refused(lambda: run.members["m000"].shares(book), "over for this member")
    assert gone(run.members["m000"])


def test_a_masked_term_of_another_length_is_refused(at) -> None:
    run = at("masked")
    run.members["m000"].accept(run.coordinator.deliveries()["m000"])
    sent = run.members["m000"].mask(Points([1] * 4))
    with pytest.raises(WireError, match="another length"):
        Round(3, 5).arrived(sent)
    for values in (np.zeros(3, np.uint32), np.zeros(5, np.uint32), np.zeros(4, np.int64)):
        bad = replace(run.arrived(sent), values=values)
        refused(lambda bad=bad: run.coordinator.add_masked(bad), "of another length")
    bad = replace(run.arrived(sent), values=np.zeros(4, np.uint32))
    refused(lambda: run.coordinator.add_masked(bad), "not signed by it")
    assert run.coordinator.survivor_names == ()


def test_a_term_is_added_once_and_a_second_one_is_proof(at) -> None:
    run = at("confirmed")
    place = run.coordinator._masked["m000"]
    header = json.loads(place[14:])
    run = at("masked")
    run.members["m000"].accept(run.coordinator.deliveries()["m000"])
    sent = run.arrived(run.members["m000"].mask(Points([1] * 4)))
    run.coordinator.add_masked(sent)
    run.coordinator.add_masked(sent)
    np.testing.assert_array_equal(run.coordinator._sum, sent.values)
    other = forged(sent, signing_key("m000"), values=sent.values + np.uint32(1))
    blamed("m000", lambda: run.coordinator.add_masked(other), "two masked terms", pieces=2)
    np.testing.assert_array_equal(run.coordinator._sum, sent.values)
    assert header["member"] == "m000"


# Survivors.


def test_equivocation_about_survivors_is_proof(at) -> None:
    """The classic: each member sees the others dropped, so that all masks could be lifted."""
    run = at("confirmed")
    survivors = run.coordinator.survivors()
    first = run.members["m000"].confirm(survivors)
    assert run.members["m000"].confirm(survivors) is first
    other = forged(survivors, survivors=names_of(7)[:5])
    ask = run.members["m000"]
    blamed("coordinator", lambda: ask.confirm(other), "two sets of survivors", pieces=2)
    assert gone(ask)


@pytest.mark.parametrize(
    ("survivors", "match"),
    [
        (names_of(4), "too few survivors"),
        (("m000",), "too few survivors"),
        ((*names_of(7), "m999"), "not shared"),
        ((*names_of(5), "m006"), "not shared"),
        (names_of(6)[::-1], "not shared"),
        ((*names_of(5), "m004"), "not shared"),
    ],
)
def test_survivors_that_cannot_be_are_proof(at, survivors, match) -> None:
    """m006 is in the key book and has not shared."""
    run = at("confirmed", leaves=((), ["m006"], ["m006"], ()))
    bad = forged(run.coordinator.survivors(), survivors=survivors)
    blamed("coordinator", lambda: run.members["m000"].confirm(bad), match)
    assert not run.latches["m000"].held.get("survivors")


def test_survivors_without_oneself_are_not_confirmed(at) -> None:
    """Its masking key would be revealed, and its term may be in the sum all the same."""
    run = at("confirmed")
    without = forged(run.coordinator.survivors(), survivors=names_of(7)[1:])
    refused(lambda: run.members["m000"].confirm(without), "not among the survivors")


def test_one_latch_has_one_answer_even_for_a_restored_member(at) -> None:
    """The latch remembers what the process has forgotten."""
    run = at("confirmed")
    survivors = run.coordinator.survivors()
    run.members["m000"].confirm(survivors)
    run.members["m000"]._survivors = run.members["m000"]._confirmation = None
    other = forged(survivors, survivors=names_of(6))
    refused(lambda: run.members["m000"].confirm(other), "another answer was latched")
    run.members["m000"]._survivors = None
    run.members["m000"].confirm(survivors)


def test_a_crash_between_latch_and_answer_changes_no_answer(at) -> None:
    run = at("confirmed")
    survivors = run.coordinator.survivors()
    run.latches["m000"].fails = True
    with pytest.raises(OSError, match="power cut"):
        run.members["m000"].confirm(survivors)
    other = forged(survivors, survivors=names_of(6))
    confirmation = run.members["m000"].confirm(survivors)
    assert confirmation.survivors == survivors.survivors
    blamed("coordinator", lambda: run.members["m000"].confirm(other), "two sets", pieces=2)


def test_after_a_crash_a_member_has_no_second_set_of_keys(at) -> None:
    run = at("keys")
    latch = run.latches["m000"]
    latch.fails = True
    with pytest.raises(OSError, match="power cut"):
        run.members["m000"].keys()
    run.coordinator.add_keys(run.members["m000"].keys())
    assert latch.held["keys"] == hashlib.sha256(encode(run.members["m000"].keys())).hexdigest()
    restarted = SummingMember(run.session, "m000", signing_key("m000"), latch)
    refused(restarted.keys, "another answer was latched")
    refused(lambda: restarted.shares(run.keys(["m000"])), "before the one")


# Confirmations.


@pytest.fixture
def asked(at):
    """Everybody has confirmed, with m006 dropped."""
    run = at(leaves=((), (), ["m006"], ["m006"]))
    return run, run.coordinator.confirmations()


def test_too_few_confirmations_reveal_nothing(asked) -> None:
    run, confirmations = asked
    few = forged(confirmations, confirmations=confirmations.confirmations[:4])
    blamed("coordinator", lambda: run.members["m000"].reveal(few), "too few confirmations")
    assert gone(run.members["m000"])


def test_a_confirmation_counts_once(asked) -> None:
    run, confirmations = asked
    signatures = confirmations.confirmations
    twice = forged(confirmations, confirmations=(signatures[0], *signatures[:4]))
    with pytest.raises(WireError, match="twice"):
        run.arrived(twice)
    ask = run.members["m000"]
    blamed("coordinator", lambda: ask.reveal(twice), "others than survivors")
    renamed = [(name, signatures[0][1]) for name, _ in signatures[:5]]
    ask = run.members["m001"]
    bad = forged(confirmations, confirmations=tuple(renamed))
    blamed("coordinator", lambda: ask.reveal(bad), "a forged confirmation of m001")


def test_a_forged_confirmation_is_proof(asked) -> None:
    run, confirmations = asked
    (_, own), *rest = confirmations.confirmations
    for asked_one, other in (("m001", flipped(own)), ("m002", "00" * 64)):
        member = run.members[asked_one]
        bad = forged(confirmations, confirmations=(("m000", other), *rest))
        blamed("coordinator", lambda m=member, b=bad: m.reveal(b), "a forged confirmation of m000")


def test_who_dropped_confirms_nothing(asked) -> None:
    """A colluding member that is not among the survivors lends its signature."""
    run, confirmations = asked
    about = {f: getattr(confirmations, f) for f in
             ("agreement", "round", "plan", "transcript", "sharers", "survivors")}  # fmt: skip
    lent = sign(Confirmation(member="m006", **about), signing_key("m006")).signature
    signatures = (*confirmations.confirmations[:4], ("m006", lent))
    bad = forged(confirmations, confirmations=signatures)
    blamed("coordinator", lambda: run.members["m000"].reveal(bad), "others than survivors")


def test_confirmations_of_another_set_are_proof(asked) -> None:
    """Even if enough colluding members have signed it."""
    run, confirmations = asked
    names = names_of(7)[:5]
    about = {f: getattr(confirmations, f) for f in
             ("agreement", "round", "plan", "transcript", "sharers")}  # fmt: skip
    signatures = tuple(
        (
            name,
            sign(Confirmation(member=name, survivors=names, **about), signing_key(name)).signature,
        )
        for name in names
    )
    bad = sign(ConfirmationList(survivors=names, confirmations=signatures, **about), COORDINATOR)
    ask = run.members["m000"]
    blamed("coordinator", lambda: ask.reveal(bad), "two sets of survivors", pieces=2)
    member = run.members["m001"]
    member.reveal(confirmations)
    blamed("coordinator", lambda: member.reveal(bad), "two sets of survivors", pieces=2)


def test_no_member_is_in_both_lists(asked) -> None:
    run, confirmations = asked
    for name in names_of(6):
        reveal = run.members[name].reveal(confirmations)
        seeds, keys = dict(reveal.seeds), dict(reveal.keys)
        assert not seeds.keys() & keys.keys()
        assert tuple(seeds) == names_of(6)
        assert tuple(keys) == ("m006",)
        both = forged(reveal, signing_key(name), keys=(("m000", "00" * 33), *reveal.keys))
        blamed(name, lambda b=both: run.coordinator.add_reveal(b), "other shares")


def test_a_member_that_would_reveal_both_reveals_nothing(asked) -> None:
    """Whatever else went wrong: the last line of defence."""
    run, confirmations = asked
    member = run.members["m000"]
    member._sharers = names_of(6)
    refused(lambda: member.reveal(confirmations), "both shares of one member would be revealed")


def test_a_member_that_confirms_something_else_is_caught(at) -> None:
    run = at("confirmed")
    own = run.members["m000"].confirm(run.coordinator.survivors())
    bad = forged(own, signing_key("m000"), survivors=names_of(6))
    blamed("m000", lambda: run.coordinator.add_confirmation(bad), "other survivors")
    for field in ("transcript", "sharers"):
        bad = forged(own, signing_key("m000"), **{field: "ef" * 32})
        blamed("m000", lambda bad=bad: run.coordinator.add_confirmation(bad), "other sharers")
    assert run.coordinator.confirmed == ()


# Reveals.


def test_a_wrong_share_of_a_seed_gives_no_sum(asked) -> None:
    """Without the commitment the sum would be wrong, and nobody would know."""
    run, confirmations = asked
    for name in names_of(6)[:5]:
        reveal = run.members[name].reveal(confirmations)
        if name == "m002":
            (first, share), *rest = reveal.seeds
            changed = (first, share[:-1] + ("0" if share[-1] != "0" else "1"))
            reveal = forged(reveal, signing_key(name), seeds=(changed, *rest))
        run.coordinator.add_reveal(reveal)
    refused(run.coordinator.total, "m000's seed do|of no secret")


def test_a_wrong_share_of_a_key_gives_no_sum(asked) -> None:
    run, confirmations = asked
    for name in names_of(6)[:5]:
        reveal = run.members[name].reveal(confirmations)
        if name == "m002":
            ((dropped, share),) = reveal.keys
            changed = (dropped, share[:-1] + ("0" if share[-1] != "0" else "1"))
            reveal = forged(reveal, signing_key(name), keys=(changed,))
        run.coordinator.add_reveal(reveal)
    refused(run.coordinator.total, "m006's masking key do|of no secret")


@pytest.mark.parametrize("liars", [["m000"], ["m003"], ["m001", "m004"], ["m000", "m006"]])
def test_wrong_shares_among_enough_others_end_nothing(at, liars) -> None:
    run = at("revealed")
    confirmations = run.coordinator.confirmations()
    for name in run.coordinator.survivor_names:
        reveal = run.members[name].reveal(confirmations)
        if name in liars:
            wrong = tuple(
                (owner, f"{number:066x}") for number, (owner, _) in enumerate(reveal.seeds)
            )
            reveal = forged(reveal, signing_key(name), seeds=wrong)
        run.coordinator.add_reveal(reveal)
    assert (run.coordinator.total() == run.expected()).all()


def test_a_wrong_share_for_one_holder_ends_nothing(at, monkeypatch) -> None:
    """Its holder cannot see that it is wrong, and reveals it."""
    from fedcode.secure_sum import shamir

    run = at("keys")
    book = run.keys()
    good = shamir.split

    def crooked(*given):
        shares = good(*given)
        shares[0] = bytearray(33)
        return shares

    monkeypatch.setattr(shamir, "split", crooked)
    run.coordinator.add_shares(run.members["m003"].shares(book))
    monkeypatch.undo()
    run.shares(leave=["m003"])
    run.masked()
    run.confirmed()
    assert (run.total() == run.expected()).all()


def test_a_dealer_that_shares_another_seed_gives_no_sum(at, monkeypatch) -> None:
    """The shares fit each other, and not what it has committed to."""
    from fedcode.secure_sum import shamir

    run = at("keys")
    book = run.keys()
    good = shamir.split
    monkeypatch.setattr(shamir, "split", lambda secret, *a: good(b"\x07" * 32, *a))
    run.coordinator.add_shares(run.members["m003"].shares(book))
    monkeypatch.undo()
    run.shares(leave=["m003"])
    run.masked()
    run.confirmed()
    refused(run.total, "m003's seed do not fit its commitment")


def test_what_is_no_share_is_the_members_fault(asked) -> None:
    run, confirmations = asked
    reveal = run.members["m000"].reveal(confirmations)
    for changed in (
        {"seeds": (("m000", "ff" * 33), *reveal.seeds[1:])},
        {"keys": (("m006", "ff" * 33),)},
    ):
        bad = forged(reveal, signing_key("m000"), **changed)
        blamed("m000", lambda bad=bad: run.coordinator.add_reveal(bad), "what are no shares")
    for changed in ({"seeds": reveal.seeds[1:]}, {"keys": ()}, {"keys": (("m005", "00" * 33),)}):
        bad = forged(reveal, signing_key("m000"), **changed)
        blamed("m000", lambda bad=bad: run.coordinator.add_reveal(bad), "other shares")


def test_who_dropped_reveals_nothing(asked) -> None:
    run, confirmations = asked
    reveal = run.members["m000"].reveal(confirmations)
    bad = forged(reveal, signing_key("m006"), member="m006")
    refused(lambda: run.coordinator.add_reveal(bad), "no part in an earlier step")
    refused(lambda: run.members["m006"].reveal(confirmations), "before the one")


# Order, senders, domains.


def test_steps_out_of_order_are_refused(at) -> None:
    """Every later request, to a member that has done only the steps before."""
    whole = at()
    book, survivors = whole.coordinator.book(), whole.coordinator.survivors()
    delivery = whole.coordinator.deliveries()["m000"]
    confirmations = whole.coordinator.confirmations()
    fresh = SummingMember(whole.session, "m000", signing_key("m000"), Memory())
    early = [
        lambda: fresh.shares(book),
        lambda: fresh.accept(delivery),
        lambda: fresh.mask(Points([1] * 4)),
        lambda: fresh.confirm(survivors),
        lambda: fresh.reveal(confirmations),
    ]
    for ask in early:
        refused(ask, "before the one")
    fresh.keys()
    for ask in early[1:]:
        refused(ask, "before the one")
    run = at("shares")
    member = run.members["m000"]
    member.shares(run.coordinator.book())
    refused(lambda: member.mask(Points([1] * 4)), "before the one")
    run = at("masked")
    member = run.members["m000"]
    member.accept(run.coordinator.deliveries()["m000"])
    refused(lambda: member.confirm(survivors), "before the one")


def test_a_reveal_before_the_confirmation_is_refused(at) -> None:
    run = at("confirmed")
    run.confirmed(leave=["m000"])
    refused(lambda: run.members["m000"].reveal(run.coordinator.confirmations()), "before the one")


def test_a_coordinator_that_is_too_early_or_too_late_takes_nothing(at) -> None:
    run = at()
    messages = {
        "add_shares": run.members["m000"]._shares,
        "add_confirmation": run.members["m000"]._confirmation,
    }
    early = Summation(run.session, COORDINATOR)
    for name, message in messages.items():
        refused(lambda n=name, m=message: getattr(early, n)(m), "has not begun")
    late = at("confirmed", leaves=(["m000"], ["m000"], ["m000"], ()))
    refused(lambda: late.coordinator.add_keys(late.members["m000"].keys()), "too late")
    for result in (early.book, early.deliveries, early.survivors, early.confirmations, early.total):
        refused(result, "are needed")


def test_a_member_does_not_speak_for_the_coordinator(at) -> None:
    run = at()
    for message, step in (
        (run.coordinator.book(), "shares"),
        (run.coordinator.deliveries()["m000"], "accept"),
        (run.coordinator.survivors(), "confirm"),
        (run.coordinator.confirmations(), "reveal"),
    ):
        bad = sign(message, signing_key("m001"))
        ask = getattr(run.members["m000"], step)
        refused(lambda ask=ask, bad=bad: ask(bad), "coordinator's name is not signed")


def test_a_member_does_not_speak_for_another(at) -> None:
    run = at()
    reveal = run.members["m001"].reveal(run.coordinator.confirmations())
    for message, add in (
        (run.members["m001"].keys(), "add_keys"),
        (run.members["m001"]._shares, "add_shares"),
        (run.members["m001"]._confirmation, "add_confirmation"),
        (reveal, "add_reveal"),
    ):
        bad = forged(message, signing_key("m002"))
        ask = getattr(run.coordinator, add)
        refused(lambda ask=ask, bad=bad: ask(bad), "not signed by it")


def test_a_signature_of_another_domain_proves_nothing(at) -> None:
    """The same header, signed as another kind."""
    from fedcode.wire.codec import statement

    run = at("shares")
    keys = run.members["m000"].keys()
    _, text = statement(keys)
    other = replace(keys, signature=signing_key("m000").sign("fedcode/1/refusal", text))
    refused(lambda: Summation(run.session, COORDINATOR).add_keys(other), "not signed by it")


def test_a_signature_by_another_key_of_the_same_name_proves_nothing(at) -> None:
    run = at("keys")
    keys = sign(run.members["m000"].keys(), SigningKey.generate())
    refused(lambda: run.coordinator.add_keys(keys), "not signed by it")


def test_an_oversized_list_is_not_read(at) -> None:
    run = at("confirmed")
    many = forged(run.coordinator.survivors(), survivors=tuple(f"m{i:04}" for i in range(101)))
    with pytest.raises(WireError, match="1 to 100 names"):
        run.arrived(many)
    long = forged(many, survivors=tuple(f"{'m' * 60}{i:04}" for i in range(1000)))
    with pytest.raises(WireError, match="another length"):
        run.arrived(long)


def test_a_refused_message_leaves_a_sum_that_still_succeeds(at) -> None:
    """All of a step's attacks one after another, and then the sum."""
    run = at("keys")
    for name in run.names:
        keys = run.members[name].keys()
        refused(lambda k=keys: run.coordinator.add_keys(forged(k, signing_key("x"))), "not signed")
        run.coordinator.add_keys(keys)
    run.shares()
    run.masked(leave=["m003"])
    run.confirmed(leave=["m003"])
    bad = forged(run.members["m000"].keys(), signing_key("m000"), commitment="00" * 32)
    blamed("m000", lambda: run.coordinator.add_keys(bad), "two answers", pieces=2)
    np.testing.assert_array_equal(run.total(leave=["m003"]), run.expected())


def test_old_lists_of_survivors_and_confirmations_are_refused(at) -> None:
    old, run = Round(7, round=6), at("confirmed")
    old.run()
    member = run.members["m000"]
    refused(lambda: member.confirm(old.coordinator.survivors()), "of another sum")
    member.confirm(run.coordinator.survivors())
    refused(lambda: member.reveal(old.coordinator.confirmations()), "of another sum")
    relabelled = sign(replace(old.coordinator.confirmations(), round=7), COORDINATOR)
    with pytest.raises(Misbehaviour, match="two sets of sharers"):
        member.reveal(relabelled)


def test_a_transcript_is_of_all_keys_in_order(at) -> None:
    run = at("keys")
    keys = run.keys().keys
    assert transcript(keys) != transcript(keys[::-1])
    assert transcript(keys) != transcript(keys[:-1])
    assert transcript(keys) != transcript((replace(keys[0], signature="00" * 64), *keys[1:]))


def test_the_kinds_of_lists_are_not_exchanged(at) -> None:
    """One kind's bytes, given to the step of another."""
    run = at("confirmed")
    survivors = run.coordinator.survivors()
    values = {f: getattr(survivors, f) for f in SurvivorList.__slots__ if f != "signature"}
    other = ConfirmationList(**values, confirmations=(), signature=survivors.signature)
    run.members["m000"].confirm(survivors)
    refused(lambda: run.members["m000"].reveal(other), "not signed by it")
    assert KeyBook.__slots__ != SurvivorList.__slots__
