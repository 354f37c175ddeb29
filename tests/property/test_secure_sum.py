# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The sum is the exact integer sum, or there is none; and what leaves a member is uniform."""

import random
from functools import lru_cache

import hypothesis.strategies as st
import numpy as np
import pytest
import shamirs
from hypothesis import given, settings
from scipy import stats
from summing import Memory, Points, Round, arrived, names_of, session_of, signing_key

from fedcode.errors import PrivacyError, SecureSumError
from fedcode.secure_sum import SummingMember, checks, masks, randomness, shamir
from fedcode.wire import signatures

enough = settings(deadline=None, derandomize=True, max_examples=60)


@pytest.fixture
def quick(monkeypatch):
    """One check of a signature or key for all members: the checks have their own tests."""
    monkeypatch.setattr(signatures, "signed", lru_cache(4096)(signatures.signed))
    monkeypatch.setattr(checks, "usable", lru_cache(4096)(checks.usable))


STEPS = ("keys", "shares", "masked", "confirmed", "total")


def one_sum(seed, most=24):
    """A sum with random dropouts: what it needs, who is left at which step, and its outcome."""
    draw = random.Random(seed)
    n = 100 if seed % 1000 == 999 else draw.choice([3, 4, 6, 7, 9, 10, draw.randint(3, most)])
    run = Round(n, draw.randint(1, 3), seed)
    rate = draw.choice([0.0, 0.02, 0.04, 0.08])
    gone, left, result = set(), [], None
    for step in STEPS:
        gone |= {name for name in run.names if draw.random() < rate}
        left.append(n - len(gone))
        try:
            result = getattr(run, step)(gone)
        except SecureSumError:
            return run, left, None
    return run, left, result


def check_one_sum(seed):
    run, left, result = one_sum(seed)
    threshold = run.session.threshold
    assert threshold == 2 * len(run.names) // 3 + 1
    if min(left) < threshold:
        assert result is None
        assert len(left) == 1 + next(i for i, many in enumerate(left) if many < threshold)
        with pytest.raises(SecureSumError, match=rf"and {threshold} are needed"):
            run.coordinator.total()
        return "ended"
    np.testing.assert_array_equal(result, run.expected())
    assert len(run.coordinator.survivor_names) == left[2]
    return "dropped" if run.coordinator.dropped else "summed"


@pytest.mark.usefixtures("quick")
def test_a_sum_is_exact_or_ends() -> None:
    found = [check_one_sum(seed) for seed in range(250)]
    assert min(found.count(what) for what in ("ended", "dropped", "summed")) >= 20


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_sums_are_exact_or_end(part) -> None:
    found = [check_one_sum(1000 * part + i) for i in range(1000)]
    assert min(found.count(what) for what in ("ended", "dropped", "summed")) >= 60


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 10])
@pytest.mark.parametrize("step", range(5))
def test_at_the_threshold_there_is_a_sum_and_below_it_none(n, step) -> None:
    spare = n - session_of(n).threshold
    leaves = [()] * 5
    leaves[step] = names_of(n)[:spare]
    run = Round(n)
    np.testing.assert_array_equal(run.run(leaves), run.expected())
    leaves[step] = names_of(n)[: spare + 1]
    with pytest.raises(SecureSumError, match="are needed"):
        Round(n).run(leaves)


@pytest.mark.usefixtures("quick")
def test_the_largest_sum() -> None:
    run = Round(100, 2)
    names = run.names
    leaves = (names[:8], names[8:16], names[16:25], names[25:30], names[30:33])
    np.testing.assert_array_equal(run.run(leaves), run.expected())
    assert len(run.coordinator.revealed) == run.session.threshold == 67
    assert run.coordinator.dropped == names[16:25]


def test_a_sum_is_of_3_to_100_members() -> None:
    for n in (0, 1, 2, 101):
        with pytest.raises(SecureSumError, match="3 to 100 members"):
            session_of(n)
    assert [session_of(n).threshold for n in (3, 4, 5, 6, 9, 10, 100)] == [3, 3, 4, 5, 7, 7, 67]


@pytest.mark.parametrize(
    "change",
    [
        {"agreement": "AA" * 32},
        {"plan": "bb"},
        {"weights": ""},
        {"coordinator": "xyz"},
        {"round": 0},
        {"length": 0},
        {"members": (("b", "11" * 32), ("a", "22" * 32), ("c", "33" * 32))},
        {"members": (("a", "11" * 32), ("a", "22" * 32), ("c", "33" * 32))},
        {"members": (("a", "11" * 32), ("b", "22" * 32), ("coordinator", "33" * 32))},
        {"members": (("a b", "11" * 32), ("b", "22" * 32), ("c", "33" * 32))},
        {"members": (("a", "11" * 32), ("b", "11" * 32), ("c", "33" * 32))},
    ],
    ids=str,
)
def test_a_session_that_cannot_be_is_refused(change) -> None:
    with pytest.raises(SecureSumError):
        session_of(3, **change)


def test_extreme_terms_add_up() -> None:
    limit = (2**31 - 1) // 3
    for value in (limit, -limit):
        run = Round(3, 2)
        run.terms = dict.fromkeys(run.names, np.full(2, value, np.int32))
        assert run.run().tolist() == [3 * value, 3 * value]


# What leaves a member.


def uniform(values):
    """p-value of the words being uniform, by their bytes and by their whole size."""
    octets = np.bincount(values.view(np.uint8), minlength=256)
    whole = stats.kstest(values.astype(np.float64) / 2**32, "uniform").pvalue
    return min(stats.chisquare(octets).pvalue, whole)


LENGTH = 20_000


@pytest.fixture(scope="module")
def masked():
    """Constant terms of three members under their masks, with all keys known."""
    run, kept = Round(3, LENGTH), {}
    run.keys()
    run.shares()
    for name, delivery in run.coordinator.deliveries().items():
        member = run.members[name]
        member.accept(run.arrived(delivery))
        kept[name] = bytes(member._seed), {k: bytes(v) for k, v in member._mask_keys.items()}
        run.terms[name] = np.full(LENGTH, 12345, np.int32)
    sent = {n: m.mask(Points(run.terms[n])).masked.values for n, m in run.members.items()}
    return run, sent, kept


def test_a_masked_term_is_uniform(masked) -> None:
    run, sent, _ = masked
    for name in run.names:
        assert uniform(sent[name]) > 1e-6
        assert abs(np.corrcoef(sent[name], np.arange(LENGTH))[0, 1]) < 5 / np.sqrt(LENGTH)


def test_the_test_of_uniformity_rejects_what_is_not_masked(masked) -> None:
    run, sent, kept = masked
    assert uniform(run.terms["m000"].view(np.uint32)) < 1e-12
    noise = np.random.default_rng(1).normal(0, 2**20, LENGTH).astype(np.int32)
    assert uniform(noise.view(np.uint32)) < 1e-12
    seed, keys = kept["m000"]
    bare = sent["m000"].copy()
    masks.add_masks(bare, [], [seed, *keys.values()])
    assert (bare == 12345).all(), "these are all masks"
    assert uniform(bare) < 1e-12


def test_every_mask_alone_makes_it_uniform(masked) -> None:
    """With all other keys known, as to members who collude, the term is still hidden."""
    _, sent, kept = masked
    seed, keys = kept["m001"]
    all_keys = [seed, *keys.values()]
    for left in range(len(all_keys)):
        part = sent["m001"].copy()
        known = [key for i, key in enumerate(all_keys) if i != left]
        first = [k for k in known if k in (seed, keys["m002"])]  # added, by the order of names
        masks.add_masks(part, [k for k in known if k not in first], first)
        assert uniform(part) > 1e-6
        assert not (part == 12345).any()


def test_sums_of_fewer_than_all_are_uniform(masked) -> None:
    """The masks cancel in the whole sum only, and the members' own never by themselves."""
    run, sent, kept = masked
    two = sent["m000"] + sent["m001"]
    masks.add_masks(two, [], [kept["m000"][0], kept["m001"][0]])
    assert uniform(two) > 1e-6
    whole = sum(sent[name].astype(np.uint64) for name in run.names).astype(np.uint32)
    assert uniform(whole) > 1e-6
    masks.add_masks(whole, [], [kept[name][0] for name in run.names])
    assert (whole == 3 * 12345).all()


def test_two_sums_of_the_same_terms_have_nothing_in_common(masked) -> None:
    _, sent, _ = masked
    run = Round(3, LENGTH)
    run.keys()
    run.shares()
    run.members["m000"].accept(run.arrived(run.coordinator.deliveries()["m000"]))
    other = run.members["m000"].mask(Points(np.full(LENGTH, 12345))).masked.values
    assert uniform(other - sent["m000"]) > 1e-6


# Shamir's shares, and an implementation that is not ours.

SECRETS = st.binary(min_size=32, max_size=32)


@enough
@given(SECRETS, st.data())
def test_any_t_shares_give_the_secret(secret, data) -> None:
    n = data.draw(st.integers(1, 20))
    t = data.draw(st.integers(1, n))
    shares = shamir.split(secret, t, n)
    holders = data.draw(st.permutations(range(1, n + 1)))[:t]
    weights = shamir.weights_at_zero(holders)
    assert shamir.combine([shares[i - 1] for i in holders], weights) == secret


@enough
@given(SECRETS, st.integers(2, 12), st.data())
def test_another_library_reads_our_shares_and_we_read_its(secret, n, data) -> None:
    """``shamirs`` takes any prime; most libraries have one field, and not this one."""
    t = data.draw(st.integers(2, n))
    ours = [
        shamirs.share(x, int.from_bytes(value, "big"), shamir.PRIME)
        for x, value in enumerate(shamir.split(secret, t, n), 1)
    ]
    chosen = data.draw(st.permutations(ours))[:t]
    assert shamirs.interpolate(chosen, threshold=t) == int.from_bytes(secret, "big")
    theirs = shamirs.shares(int.from_bytes(secret, "big"), n, shamir.PRIME, t)
    some = data.draw(st.permutations(list(theirs)))[:t]
    weights = shamir.weights_at_zero([share.index for share in some])
    assert shamir.combine([share.value.to_bytes(33, "big") for share in some], weights) == secret


def test_fewer_than_t_shares_fit_every_secret() -> None:
    """For each other secret there is a polynomial through the same t - 1 shares."""
    holders = (2, 3, 5, 6)
    shares = [shamir.split(b"\x01" * 32, 4, 6)[i - 1] for i in holders]
    weights = shamir.weights_at_zero(holders)
    known = sum(w * int.from_bytes(s, "big") for w, s in zip(weights[:3], shares[:3], strict=True))
    for other in (bytes(32), b"\x01" * 32, b"\xff" * 32):
        last = (int.from_bytes(other, "big") - known) * pow(weights[3], -1, shamir.PRIME)
        shares[3] = bytearray((last % shamir.PRIME).to_bytes(33, "big"))
        assert shamir.is_share(shares[3])
        assert shamir.combine(shares, weights) == other


def test_shares_are_uniform() -> None:
    """One share of a constant secret, and with t = 1 the secret itself: the test rejects that."""

    def p_value(threshold):
        found = [shamir.split(bytes(32), threshold, 3)[1] for _ in range(2000)]
        parts = [int.from_bytes(share, "big") / shamir.PRIME for share in found]
        return stats.kstest(parts, "uniform").pvalue

    assert p_value(2) > 1e-6
    assert p_value(1) < 1e-12


def test_field_elements_are_uniform_below_their_limit() -> None:
    drawn = [randomness.below(5) for _ in range(5000)]
    assert set(drawn) == set(range(5))
    assert stats.chisquare(np.bincount(drawn)).pvalue > 1e-6
    assert max(randomness.below(shamir.PRIME) for _ in range(200)) < shamir.PRIME


def test_shares_of_no_secret_are_refused() -> None:
    for total in (2**256, shamir.PRIME - 1):
        with pytest.raises(SecureSumError, match="of no secret"):
            shamir.combine([total.to_bytes(33, "big")], [1])
    for wrong in ((b"", 1, 1), (bytes(33), 1, 1), (bytes(32), 0, 1), (bytes(32), 2, 1)):
        with pytest.raises(SecureSumError):
            shamir.split(*wrong)


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (bytes(33), True),
        ((shamir.PRIME - 1).to_bytes(33, "big"), True),
        (shamir.PRIME.to_bytes(33, "big"), False),
        (b"\xff" * 33, False),
        (bytes(32), False),
        (bytes(34), False),
    ],
)
def test_a_share_has_one_form(data, good) -> None:
    assert shamir.is_share(data) is good


def test_the_prime_is_the_first_above_the_secrets() -> None:
    from sympy import nextprime

    assert nextprime(2**256) == shamir.PRIME


# Wiping.


def test_secrets_are_wiped_as_soon_as_they_are_used() -> None:
    run = Round(4)
    member = run.members["m001"]
    seed, masking, sharing = member._seed, member._masking, member._sharing
    book = run.keys()
    assert any(seed)
    run.shares()
    assert not any(masking), "shared: nobody needs it here"
    assert book is not None
    kept = []
    original = SummingMember.accept

    def watched(self, delivery):
        original(self, delivery)
        own = [*self._mask_keys.values(), *self._held.values()]
        assert all(any(secret) for secret in own)
        kept.extend(own)

    SummingMember.accept = watched
    try:
        run.masked()
    finally:
        SummingMember.accept = original
    assert not any(seed)
    assert not any(sharing)
    run.confirmed()
    run.total()
    for secret in kept:
        assert not any(secret)


def test_a_member_that_gives_up_is_empty() -> None:
    run = Round(4)
    run.keys()
    run.shares()
    member = run.members["m001"]
    delivery = run.arrived(run.coordinator.deliveries()["m001"])
    member.accept(delivery)
    secrets = [member._seed, *member._mask_keys.values(), *member._held.values()]
    member.wipe()
    assert not any(any(secret) for secret in secrets)
    for ask in (member.keys, lambda: member.accept(delivery), lambda: member.mask(Points([1] * 4))):
        with pytest.raises(SecureSumError, match="over for this member"):
            ask()
    member.wipe()


def test_no_text_shows_a_secret() -> None:
    run = Round(3)
    run.run()
    shown = repr(list(run.members.values())) + repr(run.coordinator)
    for member in run.members.values():
        reveal = member._reveal
        shown += repr(reveal) + repr(member._shares)
        assert reveal.seeds[0][1] not in shown


def test_a_term_is_of_the_sums_length_and_of_no_other_kind() -> None:
    run = Round(3)
    run.keys()
    run.shares()
    member = run.members["m000"]
    member.accept(run.arrived(run.coordinator.deliveries()["m000"]))
    for term in (Points([1] * 5), Points([[1] * 4]), np.zeros(4, np.int32), None):
        with pytest.raises(PrivacyError, match="4 coordinates"):
            member.mask(term)
    assert arrived(member.mask(Points([1] * 4))).values.shape == (4,)


def test_a_member_and_a_coordinator_have_the_sessions_keys() -> None:
    from fedcode.secure_sum import Summation

    session = session_of(3)
    for name, key in (("m000", "m001"), ("stranger", "stranger"), ("m000", "coordinator")):
        with pytest.raises(SecureSumError, match="with this key"):
            SummingMember(session, name, signing_key(key), Memory())
    with pytest.raises(SecureSumError, match="with this key"):
        Summation(session, signing_key("m000"))
