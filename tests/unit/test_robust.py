# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Rules that bear harmful updates: what they compute, and what harm cannot do to them."""

import math
import time
import tracemalloc
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedMedian, FedTrimmedAvg, Krum
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings

from fedcode.errors import ConfigError, TrainingError
from fedcode.rounds.robust import combined
from fedcode.rules import check_rule, fewest

RULES = ["median", "trimmed-mean", "krum", "centred-clipping"]
BY_COORDINATE = ["median", "trimmed-mean"]
RADIUS = 0.7
quick = settings(max_examples=60, deadline=None, derandomize=True)


def named(rows):
    return {f"m{number:03}": row for number, row in enumerate(rows)}


def result(rows, rule, malicious, radius=RADIUS):
    return combined(named(rows), rule, malicious=malicious, radius=radius)


@st.composite
def cases(draw, rules=tuple(RULES)):
    """A rule, f, and updates of which at least as many as the rule wants."""
    rule, malicious = draw(st.sampled_from(rules)), draw(st.integers(0, 4))
    count = fewest(rule, malicious) + draw(st.integers(0, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** draw(st.integers(-6, 6))
    rows = generator.standard_normal((count, draw(st.integers(1, 9)))) * scale
    if draw(st.booleans()):
        rows = np.round(rows / scale) * scale  # ties
    return rule, malicious, rows.astype(np.float32)


# What the rules compute, one number at a time.


def naive_median(values):
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def naive_trimmed_mean(values, malicious):
    kept = sorted(values)[malicious : len(values) - malicious]
    return math.fsum(kept) / len(kept)


def naive_scores(rows, malicious):
    def distance(a, b):
        return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    nearest = len(rows) - malicious - 2
    return [
        math.fsum(sorted(distance(a, b) for j, b in enumerate(rows) if j != i)[:nearest])
        for i, a in enumerate(rows)
    ]


def naive_centred_clipping(rows, radius):
    centre = [0.0] * len(rows[0])
    for _ in range(3):
        steps = []
        for row in rows:
            way = [x - v for x, v in zip(row, centre, strict=True)]
            norm = math.sqrt(math.fsum(w * w for w in way))
            steps.append([w if norm <= radius else w * radius / norm for w in way])
        means = (math.fsum(column) / len(rows) for column in zip(*steps, strict=True))
        centre = [v + step for v, step in zip(centre, means, strict=True)]
    return centre


@quick
@given(cases())
def test_each_rule_is_what_its_paper_says(case) -> None:
    rule, malicious, rows = case
    plain = rows.astype(float).tolist()
    found = result(rows, rule, malicious)
    assert found.dtype == np.float64
    close = {"rtol": 1e-12, "atol": 1e-12 * float(np.abs(rows).max())}
    if rule == "median":
        wanted = [naive_median(column) for column in zip(*plain, strict=True)]
        np.testing.assert_array_equal(found, wanted)
    elif rule == "trimmed-mean":
        wanted = [naive_trimmed_mean(column, malicious) for column in zip(*plain, strict=True)]
        np.testing.assert_allclose(found, wanted, **close)
    elif rule == "krum":
        scores = naive_scores(plain, malicious)
        chosen = [s for row, s in zip(plain, scores, strict=True) if row == found.tolist()]
        assert chosen
        assert min(chosen) <= min(scores) * (1 + 1e-9) + 1e-9 * float(np.square(rows).max())
    else:
        np.testing.assert_allclose(found, naive_centred_clipping(plain, RADIUS), **close)


def test_krum_counts_the_nearest_that_its_paper_counts() -> None:
    """With one neighbour more or less it would often choose another update."""
    other = {-1: 0, 1: 0}
    for seed in range(60):
        rows = np.random.default_rng(seed).standard_normal((9, 2)).astype(np.float32)
        chosen = {f: int(np.argmin(naive_scores(rows.tolist(), f))) for f in (1, 2, 3)}
        np.testing.assert_array_equal(result(rows, "krum", 2), rows[chosen[2]])
        for change in other:
            other[change] += chosen[2] != chosen[2 + change]
    assert min(other.values()) > 10


@pytest.fixture
def identity():
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


@pytest.mark.parametrize("malicious", [0, 1, 3])
def test_flowers_strategies_find_the_same(malicious, identity) -> None:
    rows = np.random.default_rng(5).standard_normal((11, 40)).astype(np.float32)
    strategies = {
        "median": FedMedian(),
        "trimmed-mean": FedTrimmedAvg(beta=(malicious + 0.5) / 11),
        "krum": Krum(num_malicious_nodes=malicious),
    }
    for rule, strategy in strategies.items():
        contents = [
            RecordDict({"a": ArrayRecord([row]), "m": MetricRecord({"num-examples": 1})})
            for row in rows.astype(np.float64)
        ]
        replies = [Message(content, 1, MessageType.TRAIN) for content in contents]
        arrays, _ = strategy.aggregate_train(1, replies)
        np.testing.assert_array_equal(
            result(rows, rule, malicious), arrays.to_numpy_ndarrays()[0], err_msg=rule
        )


def test_the_trimmed_mean_cuts_as_many_as_it_should_of_every_number() -> None:
    for count in range(1, 101):
        values = np.arange(count, dtype=np.float64) ** 2
        for malicious in range((count + 1) // 2):
            found = result(values[:, None], "trimmed-mean", malicious)
            wanted = naive_trimmed_mean(values.tolist(), malicious)
            np.testing.assert_allclose(found, [wanted], rtol=1e-12, err_msg=f"{malicious}/{count}")


@quick
@given(cases(), st.randoms(use_true_random=False))
def test_names_and_the_order_of_arrival_change_nothing(case, random) -> None:
    rule, malicious, rows = case
    updates = list(named(rows).items())
    found = combined(dict(updates), rule, malicious=malicious, radius=RADIUS)
    random.shuffle(updates)
    again = combined(dict(updates), rule, malicious=malicious, radius=RADIUS)
    assert again.tobytes() == found.tobytes()
    other = list(rows)
    random.shuffle(other)
    renamed = result(other, rule, malicious)
    if rule != "krum":  # of two that are equally good it takes one
        close = 1e-12 * float(np.abs(rows).max())
        np.testing.assert_allclose(renamed, found, rtol=1e-12, atol=close)
    elif len(set(naive_scores(rows.astype(float).tolist(), malicious))) == len(rows):
        np.testing.assert_array_equal(renamed, found)


def test_blocks_of_coordinates_leave_no_seam() -> None:
    rows = np.random.default_rng(7).standard_normal((5, 40_000)).astype(np.float32)
    np.testing.assert_array_equal(
        result(rows, "median", 1), np.median(rows.astype(np.float64), axis=0)
    )
    kept = np.sort(rows.astype(np.float64), axis=0)[1:-1]
    np.testing.assert_allclose(result(rows, "trimmed-mean", 1), kept.mean(axis=0), atol=1e-15)


# What harm cannot do.

HONEST = np.random.default_rng(11).normal(0.5, 0.1, (9, 300))
F = 3


def large(honest):
    return np.full((F, honest.shape[1]), 1e30)


def sign_flip(honest):
    return np.tile(-10 * honest.mean(axis=0), (F, 1))


def all_equal(honest):
    return np.tile(np.linspace(-40, 40, honest.shape[1]), (F, 1))


def little_is_enough(honest):
    """Within the honest ones' spread, all to one side (Baruch et al. 2019, arXiv:1902.06156)."""
    return np.tile(honest.mean(axis=0) - 1.2 * honest.std(axis=0), (F, 1))


ATTACKS = [large, sign_flip, all_equal, little_is_enough]


def inside(found, honest):
    return ((honest.min(axis=0) <= found) & (found <= honest.max(axis=0))).all()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("rule", BY_COORDINATE)
def test_no_coordinate_leaves_the_honest_range(rule, attack) -> None:
    rows = np.concatenate([attack(HONEST), HONEST]).astype(np.float32)
    assert inside(result(rows, rule, F), rows[F:])
    if attack is not little_is_enough:  # which hides where honest updates are
        assert not inside(rows.astype(np.float64).mean(axis=0), rows[F:])


@pytest.mark.parametrize("attack", [large, sign_flip, all_equal])
def test_krum_takes_an_honest_update_where_the_others_stand_out(attack) -> None:
    rows = np.concatenate([attack(HONEST), HONEST]).astype(np.float32)
    found = result(rows, "krum", F)
    assert any(np.array_equal(found, row) for row in rows[F:])


@pytest.mark.parametrize("attack", ATTACKS)
def test_centred_clipping_moves_little(attack) -> None:
    radius = float(np.linalg.norm(HONEST, axis=1).max())
    rows = np.concatenate([attack(HONEST), HONEST]).astype(np.float32)
    found = result(rows, "centred-clipping", F, radius)
    without = result(HONEST, "centred-clipping", 0, radius)
    assert np.linalg.norm(found - without) <= 6 * radius * F / len(rows)
    if attack is large:
        assert np.linalg.norm(rows.astype(np.float64).mean(axis=0) - without) > 1e6


@st.composite
def attacked(draw, rule):
    """Honest updates around a point, and f that may be anything."""
    malicious = draw(st.integers(1, 3))
    honest = fewest(rule, malicious) - malicious + draw(st.integers(0, 3))
    length = draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    good = generator.normal(draw(st.floats(-3, 3)), 1, (honest, length)).astype(np.float32)
    number = st.floats(-1e6, 1e6, width=32) | st.sampled_from([-3e38, 3e38])
    row = st.lists(number, min_size=length, max_size=length)
    near = st.sampled_from(range(honest)).map(lambda i: good[i].tolist())
    bad = draw(st.lists(row | near, min_size=malicious, max_size=malicious))
    return good, np.array(bad, np.float32)


def mixed(good, bad):
    """The harmful ones in front of the honest ones, and behind them."""
    return [np.concatenate([bad, good]), np.concatenate([good, bad])]


@pytest.mark.parametrize("rule", BY_COORDINATE)
def test_whatever_the_harmful_ones_send_no_coordinate_leaves(rule) -> None:
    @quick
    @given(attacked(rule))
    def holds(case):
        good, bad = case
        exact = np.float64(1e-12) * np.abs(good).max()
        for rows in mixed(good, bad):
            found = result(rows, rule, len(bad))
            assert (found >= good.min(axis=0) - exact).all()
            assert (found <= good.max(axis=0) + exact).all()

    holds()


@quick
@given(attacked("krum"))
def test_whatever_they_send_krum_stays_near_an_honest_update(case) -> None:
    good, bad = (rows.astype(np.float64) for rows in case)
    widest = max(np.linalg.norm(a - b) for a, b in combinations(good, 2))
    for rows in mixed(good, bad):
        found = result(rows, "krum", len(bad))
        nearest = np.linalg.norm(good - found, axis=1).min()
        # One of its n - f - 2 nearest is honest, and an honest update scores (n - f - 2) D².
        assert nearest <= math.sqrt(len(rows) - len(bad) - 2) * widest * (1 + 1e-9)


@quick
@given(attacked("centred-clipping"), st.floats(0.01, 100))
def test_whatever_they_send_centred_clipping_moves_at_most_its_radius(case, radius) -> None:
    good, bad = case
    instead = np.concatenate([good[:1]] * len(bad) + [good])
    for rows in mixed(good, bad):
        found = result(rows, "centred-clipping", len(bad), radius)
        honest = result(instead, "centred-clipping", 0, radius)
        # A step is no further from another's than their centres are, but for f that pull apart.
        bound = 6 * radius * len(bad) / len(rows)
        assert np.linalg.norm(found - honest) <= bound * (1 + 1e-9) + 1e-9


# How many are wanted.


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [("median", 5), ("trimmed-mean", 5), ("krum", 7), ("centred-clipping", 5)],
)
def test_with_fewer_than_wanted_there_is_no_result(rule, wanted) -> None:
    rows = np.eye(wanted, 3, dtype=np.float32)
    assert fewest(rule, 2) == wanted
    assert result(rows, rule, 2) is not None
    assert result(rows[1:], rule, 2) is None
    assert combined({}, rule, malicious=0, radius=1.0) is None
    check_rule(rule, 2, wanted)
    with pytest.raises(ConfigError, match=f"wants {wanted} members, not {wanted - 1}") as caught:
        check_rule(rule, 2, wanted - 1)
    assert "more members" in caught.value.hint


def test_groups_are_combined_coordinate_by_coordinate() -> None:
    check_rule("median", 1, 3, "groups")
    check_rule("trimmed-mean", 1, 3, "groups")
    with pytest.raises(ConfigError, match="wants 5 groups, not 4"):
        check_rule("median", 2, 4, "groups")
    for rule in ("krum", "centred-clipping"):
        with pytest.raises(ConfigError, match="not for sums of groups") as caught:
            check_rule(rule, 1, 100, "groups")
        assert "open-robust" in caught.value.hint


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("rule", RULES)
def test_updates_that_are_not_finite_are_refused(rule, bad) -> None:
    rows = np.zeros((7, 3))
    rows[4, 1] = bad
    with pytest.raises(TrainingError, match="not finite"):
        result(rows, rule, 2)


def test_updates_of_several_lengths_are_refused() -> None:
    for other in (np.zeros(4), np.zeros((3, 1)), np.zeros(())):
        with pytest.raises(TrainingError, match="one length"):
            result([np.zeros(3), np.zeros(3), other], "median", 1)


@pytest.mark.parametrize(
    ("rule", "vectors"),
    [("median", 3), ("trimmed-mean", 3), ("krum", 64), ("centred-clipping", 5)],
)
def test_a_million_coordinates_of_twenty_members(rule, vectors) -> None:
    length = 1_000_000
    generator = np.random.default_rng(1)
    rows = [generator.standard_normal(length, np.float32) for _ in range(20)]
    tracemalloc.start()
    start = time.process_time()
    assert result(rows, rule, 4, radius=300.0) is not None
    taken, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 5
    assert peak < vectors * 8 * length
