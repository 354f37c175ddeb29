# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Who is who, and who has signed what: one form of each document, and every signature counts."""

import copy
import dataclasses
import hashlib
import io
import json
from functools import cache

import pytest
from hypothesis import given, strategies
from rich.console import Console
from test_agreement import agreement

from fedcode.agreement import DOMAIN, Agreement, SignedAgreement
from fedcode.errors import ConfigError, PrivacyError
from fedcode.federation import AggregationSettings
from fedcode.identity import Roster, Signatures
from fedcode.report.agreements import summary
from fedcode.signing import canonical
from fedcode.signing import signed as verifies
from fedcode.simulation.identities import coordinator_of, key_of, roster_of

NAMES = ("acme", "globex", "initech")
ROSTER = roster_of("whole", 1, NAMES)


def signed(agreed=None, names=NAMES):
    made = SignedAgreement.unsigned(agreed or agreement(roster=ROSTER))
    for name in names:
        made = made.sign(name, key_of(1, name))
    return made


# Rosters.


def test_a_roster_is_one_sequence_of_bytes() -> None:
    plain = ROSTER.plain()
    assert Roster.read(json.loads(json.dumps(plain))) == ROSTER
    whole = b"fedcode/roster/1\x00" + canonical(plain)
    assert ROSTER.digest() == hashlib.sha256(whole).hexdigest()
    assert canonical(plain).isascii()
    assert b" " not in canonical(plain)
    turned = dict(reversed(plain.items()))
    assert Roster.read(turned).digest() == ROSTER.digest()


def test_every_field_of_a_roster_counts() -> None:
    one, *others = ROSTER.members
    changed = [
        dataclasses.replace(ROSTER, federation="other"),
        dataclasses.replace(ROSTER, epoch=2, previous="aa" * 32),
        dataclasses.replace(ROSTER, epoch=2, previous="bb" * 32),
        dataclasses.replace(ROSTER, coordinator=key_of(1, "x").public),
        dataclasses.replace(ROSTER, members=(*others,)),
        dataclasses.replace(ROSTER, members=((one[0], key_of(1, "x").public), *others)),
        dataclasses.replace(ROSTER, members=(("aaaa", one[1]), *others)),
    ]
    assert len({r.digest() for r in changed} | {ROSTER.digest()}) == len(changed) + 1


PRIME = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
WEAK = (0, 1, PRIME - 1, ORDER_8, PRIME - ORDER_8, PRIME, PRIME + 1)


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", WEAK, ids=["0", "1", "-1", "eighth", "-eighth", "p", "p+1"])
def test_a_key_with_which_everybody_can_sign_is_nobodys(y, sign) -> None:
    key = (y | sign << 255).to_bytes(32, "little")
    for turn in range(256):  # an eighth of all messages at least fit to R = this or that point
        message = bytes([turn])
        for point in (key, (1).to_bytes(32, "little")):
            assert not verifies(key.hex(), (point + bytes(32)).hex(), "any domain", message)
    for members in ((("a", key.hex()),), (("a", key_of(1, "a").public),)):
        coordinator = key.hex() if members[0][1] != key.hex() else coordinator_of(1).public
        with pytest.raises(ConfigError, match="with which everybody can sign"):
            Roster("f", 1, "", coordinator, members)


KEY, OTHER = "aa" * 32, "bb" * 32


@pytest.mark.parametrize(
    "changes",
    [
        {"members": ()},
        {"members": (("b", KEY), ("a", OTHER))},
        {"members": (("a", KEY), ("a", OTHER))},
        {"members": (("a", KEY), ("b", KEY))},
        {"members": (("a", "cc" * 32),)},
        {"members": (("a", KEY.upper()),)},
        {"members": (("a", KEY[1:]),)},
        {"members": (("a", KEY + "\n"),)},
        {"members": (("", KEY),)},
        {"members": (("a/b", KEY),)},
        {"members": (("a" * 65, KEY),)},
        {"coordinator": "cc"},
        {"epoch": 0},
        {"epoch": 2},
        {"previous": "aa" * 32},
    ],
)
def test_rosters_that_cannot_be_are_refused(changes) -> None:
    values = {
        "federation": "f",
        "epoch": 1,
        "previous": "",
        "coordinator": "cc" * 32,
        "members": (("a", KEY), ("b", OTHER)),
    }
    Roster(**values)
    with pytest.raises(ConfigError):
        Roster(**values | changes)


def test_epochs_chain() -> None:
    second = ROSTER.following(ROSTER.members[:2])
    third = second.following(ROSTER.members, key_of(2, "new").public)
    second.check_follows(ROSTER)
    third.check_follows(second)
    assert (second.epoch, third.epoch) == (2, 3)
    assert second.coordinator == ROSTER.coordinator != third.coordinator
    elsewhere = dataclasses.replace(ROSTER, federation="other")
    for later, before in (
        (third, ROSTER),
        (ROSTER, second),
        (second, second),
        (second, ROSTER.following(ROSTER.members)),
        (second, dataclasses.replace(ROSTER, members=ROSTER.members[1:])),
        (second, elsewhere),
        (dataclasses.replace(second, federation="other"), ROSTER),
        (dataclasses.replace(second, previous="00" * 32), ROSTER),
    ):
        with pytest.raises(ConfigError, match="does not follow"):
            later.check_follows(before)


def test_who_was_left_out_of_an_epoch_takes_a_later_one() -> None:
    second = ROSTER.following(ROSTER.members[:2])
    third = second.following(ROSTER.members)
    second.check_later(ROSTER)
    third.check_later(ROSTER)
    elsewhere = dataclasses.replace(ROSTER, federation="other")
    for later, before in (
        (ROSTER, ROSTER),
        (ROSTER, second),
        (second, third),
        (third, elsewhere),
        (second, dataclasses.replace(ROSTER, members=ROSTER.members[1:])),
        (dataclasses.replace(second, previous="00" * 32), ROSTER),
    ):
        with pytest.raises(ConfigError, match=r"does not follow|is not later"):
            later.check_later(before)


def test_a_key_is_asked_of_those_in_the_roster() -> None:
    assert ROSTER.key("acme") == key_of(1, "acme").public
    with pytest.raises(KeyError):
        ROSTER.key("stranger")


def test_keys_of_a_simulation_follow_from_seed_and_name_alone() -> None:
    names = [key_of(1, "a"), key_of(1, "b"), key_of(2, "a"), coordinator_of(1), coordinator_of(2)]
    assert len({key.public for key in names}) == 5
    assert roster_of("f", 1, ("b", "a")) == roster_of("f", 1, ("a", "b"))


# Signatures.


def test_all_signatures_make_an_agreement() -> None:
    signed().check()
    signed(names=NAMES[::-1]).check()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_foreign_signature_is_named(name) -> None:
    rest = tuple(n for n in NAMES if n != name)
    made, document = signed(names=rest), agreement(roster=ROSTER).canonical()
    other = next(iter(rest))
    wrong = {
        "none": made,
        "another key": made.sign(name, key_of(2, name)),
        "another member's": made.sign(name, key_of(1, other)),
        "the coordinator's": made.sign(name, coordinator_of(1)),
        "of another domain": with_signature(
            made, name, key_of(1, name).sign("fedcode/agreement/1", document)
        ),
        "of another document": with_signature(
            made, name, key_of(1, name).sign(DOMAIN, document + b" ")
        ),
        "no signature": with_signature(made, name, "zz"),
        "empty": with_signature(made, name, ""),
    }
    for what, one in wrong.items():
        with pytest.raises(PrivacyError, match=f"^{name} did not sign"):
            one.check()
        assert one.signatures.missing(ROSTER, document) == (name,), what


def with_signature(made, name, text):
    given = {**made.signatures.by_member, name: text}
    return SignedAgreement(made.agreement, Signatures(DOMAIN, given))


def test_a_changed_agreement_is_signed_by_nobody() -> None:
    made = signed()
    other = SignedAgreement(dataclasses.replace(made.agreement, rounds=13), made.signatures)
    with pytest.raises(PrivacyError, match="acme, globex, initech did not sign"):
        other.check()


def test_a_strangers_signature_changes_nothing() -> None:
    made = signed().sign("stranger", key_of(1, "stranger"))
    made.check()
    assert signed(names=NAMES[:2]).sign("stranger", key_of(1, "initech")).signatures.missing(
        ROSTER, made.agreement.canonical()
    ) == ("initech",)


# Reading.


def test_what_was_written_is_read() -> None:
    made = signed()
    again = SignedAgreement.read(json.loads(json.dumps(made.plain())))
    assert again == made
    assert again.agreement.digest() == made.agreement.digest()
    again.check()


@cache
def plain():
    return json.dumps(signed().plain())


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


PLACES = sorted(places(json.loads(plain())), key=str)
ODD = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=5)
    | strategies.sampled_from(["function", "secagg", "ab" * 32, "1", 1e400, -0.0]),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(strategies.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)


def changed(whole, path, how, value):
    """``whole`` with something else at ``path``."""
    if not path:
        return value
    made = copy.deepcopy(whole)
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    if how == "replace":
        parent[key] = value
    elif how == "remove":
        del parent[key]
    elif isinstance(parent, dict):
        parent[str(value)] = parent[key]
    else:
        parent.insert(key, value)
    return made


@given(
    strategies.sampled_from(PLACES),
    strategies.sampled_from(["replace", "remove", "add"]),
    ODD,
)
def test_whatever_is_changed_is_refused_or_makes_signatures_fail(path, how, value) -> None:
    whole = json.loads(plain())
    other = changed(whole, path, how, value)
    try:
        read = SignedAgreement.read(other)
    except ConfigError:
        return
    assert canonical(read.plain()) == canonical(other), "it is read as something else"
    if canonical(other) != canonical(whole):
        assert path[:1] == ("signatures",)
        stranger = set(read.signatures.by_member) - set(NAMES)
        assert stranger or read.signatures.missing(ROSTER, read.agreement.canonical())


@given(strategies.sampled_from(PLACES), ODD)
def test_an_agreement_or_roster_is_read_in_one_form_alone(path, value) -> None:
    for kind, one in ((Agreement, agreement(roster=ROSTER)), (Roster, ROSTER)):
        whole = json.loads(json.dumps(one.plain()))
        inside = path[1:] if path[:1] == ("agreement",) else path[2:]
        try:
            other = changed(whole, inside, "replace", value)
        except (KeyError, TypeError, IndexError):
            continue
        try:
            read = kind.read(other)
        except ConfigError:
            continue
        assert canonical(read.plain()) == canonical(other)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "12345"},
        {"weights": True},
        {"weights": 0},
        {"rounds": -1},
        {"epsilon": 4},
        {"epsilon": -4.0},
        {"delta": 1.0},
        {"noise_multiplier": -1.0},
        {"unit": "line"},
        {"federation": "other"},
        {"purpose": None},
        {"aggregation": {}},
        {"aggregation": AggregationSettings(mode="open").model_dump() | {"groups": 3}},
        {"training": {}},
        {"more": 1},
    ],
)
def test_agreements_that_cannot_be_are_not_read(changes) -> None:
    whole = agreement(roster=ROSTER).plain()
    Agreement.read(whole)
    with pytest.raises(ConfigError):
        Agreement.read(whole | changes)


def test_an_agreement_that_was_changed_by_hand_is_told_from_another_file() -> None:
    whole = signed().plain()
    whole["agreement"]["rounds"] = 13
    with pytest.raises(ConfigError, match="digest is not that") as found:
        SignedAgreement.read(whole)
    assert found.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "ok\x1b[2J"},
        {"purpose": "to the \u202eleft"},
        {"purpose": "\ud800"},
        {"purpose": ""},
        {"task": "two words"},
    ],
)
def test_texts_that_a_terminal_would_obey_are_in_no_agreement(changes) -> None:
    values = signed(dataclasses.replace(agreement(roster=ROSTER), **changes)).plain()
    with pytest.raises(ConfigError):
        SignedAgreement.read(values)


def test_a_purpose_is_shown_as_it_is() -> None:
    purpose = "research [/red] [black on black]and sale[/]"
    out = io.StringIO()
    made = signed(dataclasses.replace(agreement(roster=ROSTER), purpose=purpose))
    Console(file=out, width=200).print(summary(made))
    assert purpose in out.getvalue()
