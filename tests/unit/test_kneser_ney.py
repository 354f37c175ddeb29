# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from fedcode.models import kneser_ney
from fedcode.models.kneser_ney import KneserNey
from fedcode.models.ngrams import ABSENT, NgramTable

SIZE = 12


def text(seed, files=6, length=60):
    """Sequences with structure: half the time the next piece follows from the last two."""
    rng = np.random.default_rng(seed)
    sequences = []
    for _ in range(files):
        pieces = list(rng.integers(SIZE - 2, size=2))
        while len(pieces) < length:
            expected = (pieces[-1] * 3 + pieces[-2]) % (SIZE - 2)
            pieces.append(expected if rng.random() < 0.5 else rng.integers(SIZE - 2))
        sequences.append(np.array(pieces, np.int32))
    return sequences


def test_bigrams_computed_by_hand():
    # 01 twice, 10 and 12 once: D = 2 / (2 + 2·1) = 1/2. Pieces 0, 1, 2 each follow one other piece;
    # none follows two, so their discount is 1/2 too: p(3) = (3 · 1/2) / 3 / 4.
    model = KneserNey.fit([np.array([0, 1, 0, 1, 2])], 2, 4, "single")
    seen = 0.5 / 3 + 0.125
    np.testing.assert_allclose(model.distribution([]), [seen, seen, seen, 0.125])
    np.testing.assert_allclose(
        model.distribution([1]), [0.25 + seen / 2, seen / 2, 0.25 + seen / 2, 0.0625]
    )
    (score,) = model.score([np.array([0, 1, 2, 3])])
    expected = [seen, 0.75 + 0.25 * seen, 0.25 + seen / 2, 0.125]
    np.testing.assert_allclose(np.exp2(score.log2p), expected)
    assert score.ranks.tolist() == [1, 1, 1, 4]


def test_modified_discounts_computed_by_hand():
    # Four pieces once, two twice, one three times, one four times: Y = 4 / 8,
    # D2 = 2 - 3·Y·1/2 = 1.25, D3 = 3 - 4·Y·1/1 = 1; one piece of nine is never seen.
    pieces = np.repeat(np.arange(8), [1, 1, 1, 1, 2, 2, 3, 4])
    p = KneserNey.fit([pieces], 1, 9, "modified").distribution([])
    rest = (4 * 0.5 + 2 * 1.25 + 1 + 1) / 15 / 9
    np.testing.assert_allclose(p[[0, 4, 6, 7, 8]], np.array([0.5, 0.75, 2, 3, 0]) / 15 + rest)


@pytest.mark.parametrize("discounts", ["single", "modified"])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_every_distribution_sums_to_one(order, discounts):
    model = KneserNey.fit(text(0), order, SIZE, discounts)
    rng = np.random.default_rng(1)
    seen = [s[i : i + n] for s in text(0) for i in range(0, 50, 9) for n in range(6)]
    for context in [*seen, *(rng.integers(SIZE, size=n) for n in range(7))]:
        p = model.distribution(context)
        assert p.sum() == pytest.approx(1, abs=1e-9)
        assert p.min() > 0


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize(("few", "pairs"), [(1, 1 << 18), (10**9, 1 << 18), (4, 16)])
def test_scores_and_ranks_agree_with_full_distributions(order, few, pairs, monkeypatch):
    monkeypatch.setattr(kneser_ney, "_FEW", few)
    monkeypatch.setattr(kneser_ney, "_PAIRS", pairs)
    model = KneserNey.fit(text(0), order, SIZE)
    sequences = [*text(2, files=3), np.array([SIZE - 1, SIZE - 1, 0]), np.array([], np.int64)]
    for sequence, score in zip(sequences, model.score(sequences), strict=True):
        assert len(score.log2p) == len(score.ranks) == len(sequence)
        for i, piece in enumerate(sequence):
            p = model.distribution(sequence[:i])
            assert np.exp2(score.log2p[i]) == pytest.approx(p[piece], rel=1e-12)
            assert score.ranks[i] == 1 + np.count_nonzero(p > p[piece] * (1 + 1e-9))


def test_a_longer_context_predicts_better():
    bits = [
        -np.concatenate([s.log2p for s in KneserNey.fit(text(0), k, SIZE).score(text(3))]).mean()
        for k in (1, 2, 3)
    ]
    assert bits[2] < bits[1] - 0.2 < bits[0]


def test_files_start_with_an_empty_context_and_earlier_pieces_alone_count():
    model = KneserNey.fit(text(0), 5, SIZE)
    first, second = text(4, files=2)
    together, alone = model.score([first, second]), model.score([second])
    np.testing.assert_array_equal(together[1].log2p, alone[0].log2p)
    changed = first.copy()
    changed[30:] = 0
    (other,) = model.score([changed])
    np.testing.assert_array_equal(other.log2p[:30], together[0].log2p[:30])
    assert not np.array_equal(other.log2p[30:], together[0].log2p[30:])


def test_no_ngram_crosses_two_files():
    table = NgramTable.of([np.array([0, 1]), np.array([2, 3])], 3, SIZE)
    assert [len(k) for k in table.keys] == [SIZE, 2, 0]
    levels = table.locate([np.array([0, 1, 2, 3])]).levels
    assert levels[1].tolist() == [ABSENT, 0, ABSENT, 1]


def test_equal_weights_change_nothing_and_real_valued_ones_give_a_distribution():
    table = NgramTable.of(text(0), 4, SIZE)
    ngrams = table.offsets[-1]
    fitted = KneserNey.fit(text(0), 4, SIZE).score(text(5))
    (plain, doubled) = (KneserNey(table, weights=np.full(ngrams, w)) for w in (1.0, 2.0))
    for model in (plain, doubled):
        for score, same in zip(model.score(text(5)), fitted, strict=True):
            np.testing.assert_allclose(score.log2p, same.log2p, rtol=1e-12)
            np.testing.assert_array_equal(score.ranks, same.ranks)
    rng = np.random.default_rng(0)
    noised = np.maximum(rng.normal(1, 1, ngrams), 0)
    model = KneserNey(table, weights=noised)
    for sequence in text(0):
        assert model.distribution(sequence[:4]).sum() == pytest.approx(1, abs=1e-9)


def test_a_heavier_ngram_is_more_probable():
    table = NgramTable.of([np.array([0, 1, 0, 2, 0, 1, 0, 2, 0, 3])], 2, 4)
    weights = np.ones(table.offsets[-1])
    weights[table.offsets[1] + table.keys[1].tolist().index(0 * 4 + 2)] = 3
    before, after = KneserNey(table), KneserNey(table, weights=weights)
    assert after.distribution([0])[2] > before.distribution([0])[2]
    assert after.distribution([0])[1] < before.distribution([0])[1]
    np.testing.assert_allclose(after.distribution([1]), before.distribution([1]))


def test_weights_of_nothing_leave_the_uniform_distribution():
    table = NgramTable.of(text(0), 3, SIZE)
    model = KneserNey(table, weights=np.zeros(table.offsets[-1]))
    np.testing.assert_allclose(model.distribution(text(0)[0][:2]), 1 / SIZE)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_refuses_weights_that_are_no_weights(bad):
    table = NgramTable.of(text(0), 2, SIZE)
    weights = np.ones(table.offsets[-1])
    with pytest.raises(ValueError, match="finite weights"):
        KneserNey(table, weights=weights[:-1])
    weights[3] = bad
    with pytest.raises(ValueError, match="finite weights"):
        KneserNey(table, weights=weights)


def test_refuses_pieces_outside_the_vocabulary():
    for piece in (-1, SIZE):
        with pytest.raises(ValueError, match="not in 0"):
            KneserNey.fit([np.array([0, piece])], 2, SIZE)
    with pytest.raises(ValueError, match="order"):
        KneserNey.fit(text(0), 0, SIZE)


def test_a_model_of_nothing_is_uniform():
    model = KneserNey.fit([], 3, SIZE)
    (score,) = model.score([np.array([1, 2, 3])])
    np.testing.assert_allclose(np.exp2(score.log2p), 1 / SIZE)
    assert score.ranks.tolist() == [1, 1, 1]
    assert model.score([]) == []
