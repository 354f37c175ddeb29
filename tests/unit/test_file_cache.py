# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from fedcode.models.file_cache import WEIGHTS, cached, recall

FILE = list("a=f(a,b);a=f(a,c);b=f(a,b)")


def test_computed_by_hand():
    own, left = recall(list("abab"))
    # Nothing is known; then a, of one kind in one; then a and b; then what follows a.
    np.testing.assert_allclose(own, [0, 0, 0.1 * 1 / 4, 0.2 * (1 + 1 / 5) / 2])
    np.testing.assert_allclose(left, [1, 0.9 + 0.1 / 2, 0.9 + 0.1 * 2 / 4, 0.8 + 0.2 * 2 / 5 / 2])
    mixed = cached(np.full(4, -2.0), list("abab"))
    np.testing.assert_allclose(np.exp2(mixed), own + left / 4)


def test_sums_to_one_over_all_units_at_every_place():
    kinds = sorted(set(FILE))
    for i in range(len(FILE)):
        ends = [recall([*FILE[:i], unit]) for unit in [*kinds, "never seen"]]
        left = {tail[-1] for _, tail in ends}
        assert len(left) == 1
        assert sum(own[-1] for own, _ in ends) + left.pop() == pytest.approx(1, abs=1e-12)
        assert ends[-1][0][-1] == 0


def test_looks_at_earlier_units_alone():
    base = np.full(len(FILE), -3.0)
    whole = cached(base, FILE)
    for i in range(len(FILE)):
        np.testing.assert_array_equal(cached(base[:i], FILE[:i]), whole[:i])


def test_weight_grows_with_the_longest_context_seen():
    for length, weight in enumerate(WEIGHTS):
        # "x" followed the whole context once; the piece before it was another one each time.
        context = list("abcdefg"[:length])
        own, left = recall([*context, "x", "y", *context, "x"])
        known = 1 - left[-1]
        assert known <= weight
        assert own[-1] <= weight
        if length:
            assert own[-1] > WEIGHTS[length - 1] / 2


def test_repetition_gets_cheap_and_novelty_costs_little():
    base = np.full(200, -10.0)
    repeated = cached(base, list("abcde" * 40))
    assert repeated[20:].min() > -2
    new = cached(base, list(range(200)))
    assert new.min() > -10.2


def test_pieces_and_tokens_are_alike():
    names = {unit: i for i, unit in enumerate(dict.fromkeys(FILE))}
    base = np.linspace(-9, -1, len(FILE))
    np.testing.assert_array_equal(cached(base, FILE), cached(base, [names[u] for u in FILE]))


def test_refuses_other_lengths():
    with pytest.raises(ValueError, match="2 probabilities for 3 units"):
        cached(np.zeros(2), list("abc"))


def test_an_empty_file():
    assert cached(np.zeros(0), []).shape == (0,)
