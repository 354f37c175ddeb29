# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The officers' policy: strict, signed, two to raise and one to lower."""

import pytest
from officers import KEYS, NAMES, STRANGER, policy, values

from fedcode.errors import ConfigError, PolicyRefusal, PrivacyError
from fedcode.privacy.organization import OrganizationPolicy, SignedPolicy, beside
from fedcode.record import PrivacyUnit
from fedcode.signing import SigningKey, signed

TEXT = f"""
organization = "acme"
version = 3
delta = 1e-6

[caps]
epsilon = 8
per_30_days = 2.5
purposes = {{ "code completion" = 4.0 }}

[permitted]
purposes = ["code completion", "research"]
tasks = ["completion"]
units = ["function"]
minimum_cohort = 5

[[officers]]
name = "ada"
key = "{KEYS[0].public}"

[[officers]]
name = "grace"
key = "{KEYS[1].public}"
"""
ASKED = {"purpose": "research", "task": "completion", "unit": PrivacyUnit.FUNCTION, "cohort": 5}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_policy_is_read_from_toml(path) -> None:
    read = SignedPolicy.load(path)
    assert read.signatures == ()
    assert read.policy.caps.epsilon == 8.0
    assert read.policy.caps.purposes == {"code completion": 4.0}
    assert read.policy.permitted.units == (PrivacyUnit.FUNCTION,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 3", "version = 0", "version: "),
        ("version = 3", "version = 3\nsensitivity = 1.0", "sensitivity: unknown key"),
        ("epsilon = 8", "epsilon = 0", "caps.epsilon: "),
        ("epsilon = 8", "epsilon = inf", "caps.epsilon: "),
        ("epsilon = 8", 'epsilon = "8"', "caps.epsilon: "),
        ("epsilon = 8\n", "", "caps.epsilon: "),
        ("per_30_days = 2.5", "per_30_days = nan", "caps.per_30_days: "),
        ('"code completion" = 4.0', '"code completion" = 9.0', "above the cap for everything"),
        ('"code completion" = 4.0', '"other" = 4.0', "other has a cap, and is not permitted"),
        ('units = ["function"]', 'units = ["line"]', "permitted.units.0: "),
        ("minimum_cohort = 5", "minimum_cohort = 0", "permitted.minimum_cohort: "),
        ('tasks = ["completion"]', "tasks = []", "permitted.tasks: "),
        ("delta = 1e-6", "delta = 1.0", "delta: "),
        ('name = "grace"', 'name = "ada"', "two officers have one name"),
        (KEYS[1].public, KEYS[0].public, "two officers have one key"),
        (KEYS[1].public, "ab", "officers.1.key: "),
        (TEXT[TEXT.rindex("[[officers]]") :], "", "officers: "),
        ("[caps]", "[caps", "is not TOML"),
    ],
)
def test_what_is_wrong_is_one_line_with_a_hint(path, old, new, message) -> None:
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        SignedPolicy.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_policy_that_is_not_there_is_said(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        SignedPolicy.load(tmp_path / "none.toml")


def test_signatures_stand_in_the_file_beside(path) -> None:
    SignedPolicy.load(path).sign(KEYS[0]).save_signatures(path)
    SignedPolicy.load(path).sign(KEYS[1]).save_signatures(path)
    SignedPolicy.load(path).sign(KEYS[1]).save_signatures(path)  # twice is once
    read = SignedPolicy.load(path)
    assert read.signers(read.policy.officers) == ("ada", "grace")
    read.check(None)
    assert SignedPolicy.read(read.plain()) == read


def test_a_changed_policy_has_no_signatures_any_more(path) -> None:
    SignedPolicy.load(path).sign(KEYS[0]).sign(KEYS[1]).save_signatures(path)
    path.write_text(TEXT.replace("epsilon = 8", "epsilon = 80"), encoding="utf-8")
    read = SignedPolicy.load(path)
    assert read.signers(read.policy.officers) == ()
    with pytest.raises(PrivacyError, match="needs 2 officers' signatures, it has 0"):
        read.check(None)


def test_white_space_and_order_change_no_signature(path) -> None:
    SignedPolicy.load(path).sign(KEYS[0]).save_signatures(path)
    lines = TEXT.replace("version = 3\ndelta = 1e-6", "delta   = 1.0e-6\nversion = 3")
    path.write_text(lines, encoding="utf-8")
    read = SignedPolicy.load(path)
    assert read.signers(read.policy.officers) == ("ada",)


def test_a_file_of_signatures_that_is_none_is_refused(path) -> None:
    beside(path).write_text("hello\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not of keys and signatures"):
        SignedPolicy.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"purpose": "marketing"}, "the purpose marketing is not one of research, test"),
        ({"task": "defects"}, "the task defects is not one of"),
        ({"cohort": 0}, "0 members are fewer than 1"),
    ],
)
def test_a_round_that_is_not_permitted_is_refused(changes, message) -> None:
    terms = policy().policy
    terms.check(**ASKED)
    with pytest.raises(PolicyRefusal, match=message):
        terms.check(**ASKED | changes)


def test_a_unit_that_is_not_permitted_is_refused(path) -> None:
    path.write_text(TEXT.replace('units = ["function"]', 'units = ["file"]'), encoding="utf-8")
    terms = SignedPolicy.load(path).policy
    with pytest.raises(PolicyRefusal, match="the unit function is not one of"):
        terms.check(**ASKED)


LOWER = [
    {"caps": {"epsilon": 7.9}},
    {"caps": {"per_30_days": 1.0}},
    {"caps": {"purposes": {"research": 1.0}}},
    {"permitted": {"purposes": ["research"]}},
    {"permitted": {"tasks": ["toy"]}},
    {"permitted": {"minimum_cohort": 3}},
    {},
]
HIGHER = [
    {"caps": {"epsilon": 8.1}},
    {"permitted": {"purposes": ["research", "test", "sale"]}},
    {"permitted": {"tasks": ["completion", "toy", "t", "defects"]}},
    {"organization": "other"},
    {"delta": 1e-7},
    {"officers": values()["officers"][:2]},
    {"officers": [*values()["officers"], {"name": "eve", "key": STRANGER.public}]},
    {"caps": {"epsilon": 7.0}, "permitted": {"tasks": ["other"]}},
]


@pytest.mark.parametrize("changes", LOWER)
def test_one_officer_lowers(changes) -> None:
    before = policy().policy
    policy(KEYS[2], version=2, **changes).check(before)
    for keys in ((), (STRANGER,)):
        with pytest.raises(PrivacyError, match=r"permits less .* 1 officers' signatures, it has 0"):
            policy(*keys, version=2, **changes).check(before)


@pytest.mark.parametrize("changes", HIGHER)
def test_two_officers_raise(changes) -> None:
    before = policy().policy
    policy(*KEYS[1:], version=2, **changes).check(before)
    for keys in ((KEYS[0],), (KEYS[0], STRANGER), (KEYS[0], KEYS[0])):
        with pytest.raises(PrivacyError, match=r"permits more .* 2 officers' signatures, it has 1"):
            policy(*keys, version=2, **changes).check(before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"per_30_days": 1.0}, {}),
        ({"per_30_days": 1.0}, {"per_30_days": 1.1}),
        ({"purposes": {"test": 1.0}}, {}),
        ({"purposes": {"test": 1.0}}, {"purposes": {"research": 1.0}}),
        ({"purposes": {"test": 1.0}}, {"purposes": {"test": 2.0}}),
    ],
)
def test_a_cap_that_falls_away_or_grows_is_a_raise(before, after) -> None:
    lower, higher = policy(caps=before).policy, policy(caps=after).policy
    assert not higher.permits_no_more_than(lower)


def test_a_smaller_cohort_is_a_raise() -> None:
    larger = policy(permitted={"minimum_cohort": 3}).policy
    assert not policy(permitted={"minimum_cohort": 2}).policy.permits_no_more_than(larger)


@pytest.mark.parametrize("purpose", ["", "a\0b", "a\nb", "x" * 201])
def test_a_purpose_is_a_short_text_that_can_be_printed(purpose) -> None:
    with pytest.raises(ValueError, match="purposes"):
        policy(permitted={"purposes": [purpose]})


def test_new_officers_sign_only_when_the_old_ones_have_let_them_in() -> None:
    before = policy().policy
    mine = [{"name": n, "key": STRANGER.public} for n in ("eve",)] + values()["officers"][:1]
    with pytest.raises(PrivacyError, match="it has 1"):
        policy(STRANGER, KEYS[0], version=2, officers=mine).check(before)


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_version_does_not_come_back(version) -> None:
    before = policy(version=2).policy
    with pytest.raises(PrivacyError, match=f"version {version} of the policy does not follow 2"):
        policy(*KEYS, version=version).check(before)


def test_a_signature_is_for_one_domain_and_one_key() -> None:
    signature = KEYS[0].sign("a", b"data")
    assert signed(KEYS[0].public, signature, "a", b"data")
    assert not signed(KEYS[0].public, signature, "b", b"data")
    assert not signed(KEYS[0].public, signature, "a", b"Data")
    assert not signed(KEYS[1].public, signature, "a", b"data")
    assert not signed(KEYS[0].public, "zz", "a", b"data")
    assert not signed("00", signature, "a", b"data")


def test_a_key_is_kept_in_a_file_of_its_owners(tmp_path) -> None:
    key, path = SigningKey.generate(), tmp_path / "ada.key"
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).public == key.public
    with pytest.raises(ConfigError, match="cannot be made"):
        key.save(path)
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match="holds no signing key"):
        SigningKey.load(path)


def test_names_of_signers_are_the_officers(path) -> None:
    assert policy(*KEYS, STRANGER).signers(policy().policy.officers) == NAMES
    assert OrganizationPolicy.model_validate(values()) == policy().policy
