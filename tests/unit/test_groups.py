# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of a cohort: found by everybody, chosen by nobody."""

import hashlib
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from fedcode.errors import ConfigError
from fedcode.groups import check_groups, groups

AGREEMENT = hashlib.sha256(b"an agreement").hexdigest()
NAMES = tuple(f"org-{number:02}" for number in range(40))
TWELVE = NAMES[:12]


@settings(deadline=None, derandomize=True)
@given(st.integers(3, 10), st.data())
def test_every_member_is_in_one_group_of_four_or_more(count, data) -> None:
    cohort = data.draw(st.permutations(NAMES).map(lambda names: names[: 4 * count + count // 2]))
    found = groups(AGREEMENT, data.draw(st.integers(1, 10**6)), cohort, count)
    assert len(found) == count
    assert sorted(name for group in found for name in group) == sorted(cohort)
    sizes = [len(group) for group in found]
    assert min(sizes) >= 4
    assert max(sizes) - min(sizes) <= 1
    assert all(list(group) == sorted(group) for group in found)


def test_the_cohorts_order_changes_nothing() -> None:
    assert groups(AGREEMENT, 1, TWELVE, 3) == groups(AGREEMENT, 1, TWELVE[::-1], 3)


def test_they_are_what_is_written_down() -> None:
    """Dealt out by the digest of domain, agreement, round and name: another program must agree."""

    def rank(name):
        return hashlib.sha256(f"fedcode/groups/1\0{AGREEMENT}\0{7}\0{name}".encode()).hexdigest()

    wanted: list[list[str]] = [[], [], []]
    for place, name in enumerate(sorted(TWELVE, key=rank)):
        wanted[place % 3].append(name)
    assert groups(AGREEMENT, 7, TWELVE, 3) == tuple(tuple(sorted(group)) for group in wanted)
    assert groups(AGREEMENT, 7, TWELVE, 3)[0] == ("org-01", "org-05", "org-07", "org-11")


def test_another_round_or_agreement_has_other_groups() -> None:
    other = hashlib.sha256(b"another agreement").hexdigest()
    found = {groups(AGREEMENT, number, TWELVE, 3) for number in range(1, 30)}
    assert len(found) == 29
    assert groups(other, 1, TWELVE, 3) not in found


def test_any_two_members_meet_equally_often() -> None:
    rounds = 3000
    met = dict.fromkeys(combinations(TWELVE, 2), 0)
    for number in range(1, rounds + 1):
        for group in groups(AGREEMENT, number, TWELVE, 3):
            for pair in combinations(group, 2):
                met[pair] += 1
    share = 3 / 11  # of the eleven others three are in a member's group
    spread = np.sqrt(rounds * share * (1 - share))
    assert np.abs(np.array(list(met.values())) - rounds * share).max() < 5 * spread


@pytest.mark.parametrize(
    ("members", "count", "message"),
    [
        (12, 2, "at least 3 groups"),
        (12, 1, "at least 3 groups"),
        (12, 0, "at least 3 groups"),
        (11, 3, "11 members are too few for 3 groups of at least 4"),
        (15, 4, "15 members are too few for 4 groups"),
    ],
)
def test_too_few_members_or_groups(members, count, message) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_groups(members, count)
    assert caught.value.hint
    with pytest.raises(ConfigError, match=message):
        groups(AGREEMENT, 1, NAMES[:members], count)


def test_a_member_that_is_named_twice() -> None:
    with pytest.raises(ConfigError, match="twice"):
        groups(AGREEMENT, 1, [*TWELVE, TWELVE[0]], 3)
