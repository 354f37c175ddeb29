# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from fedcode.errors import CorpusError, TrainingError
from fedcode.models.file_cache import cached
from fedcode.tasks.language_measures import METRICS, LanguageMeasures

# foo is the pieces 1 and 2, = is 3, bar is 4.
ENDS = np.array([False, False, True, True, True])
PIECES = np.array([1, 2, 3, 4], np.int32)
LOG2P = np.array([-1.0, -2.0, -0.5, -4.0])
RANKS = np.array([1, 7, 1, 3])
TOKENS = ["foo", "=", "bar"]


def measured(*files):
    measures = LanguageMeasures(ENDS)
    for file in files:
        measures.add(*file)
    return measures.metrics()


def test_computed_by_hand():
    figures = measured((PIECES, LOG2P, RANKS, TOKENS))
    assert figures == pytest.approx(
        {
            "bits": 7.5 / 3,
            "bits_cached": -cached(LOG2P, [1, 2, 3, 4]).sum() / 3,
            "top1": 1 / 3,
            "top5": 2 / 3,
            "top10": 1,
            "mrr": (1 / 7 + 1 + 1 / 3) / 3,
            "identifier_bits": 7 / 2,
            "identifier_top1": 0,
            "identifier_top5": 1 / 2,
            "identifier_top10": 1,
            "identifier_mrr": (1 / 7 + 1 / 3) / 2,
        }
    )
    assert list(figures) == [metric.key for metric in METRICS]


def test_files_weigh_by_their_tokens_and_each_has_its_own_cache():
    one = (PIECES, LOG2P, RANKS, TOKENS)
    short = (PIECES[2:3], np.array([-6.5]), np.array([20]), ["="])
    assert measured(one, one) == pytest.approx(measured(one))
    both = measured(one, short)
    assert both["bits"] == pytest.approx((7.5 + 6.5) / 4)
    assert both["top10"] == pytest.approx(3 / 4)
    assert both["identifier_bits"] == pytest.approx(3.5)


def test_keywords_and_placeholders_are_no_identifiers():
    tokens = ["return", "<STR>", "12", "name"]
    bits = np.array([-1.0, -2.0, -4.0, -8.0])
    figures = measured((np.array([3, 4, 3, 2], np.int32), bits, np.ones(4, np.int64), tokens))
    assert figures["identifier_bits"] == pytest.approx(8)


def test_files_without_identifiers_have_no_figures_of_them():
    figures = measured((PIECES[2:3], LOG2P[2:3], RANKS[2:3], ["="]))
    assert "bits" in figures
    assert not any(key.startswith("identifier") for key in figures)


def test_an_empty_file_changes_nothing():
    empty = (PIECES[:0], LOG2P[:0], RANKS[:0], [])
    one = (PIECES, LOG2P, RANKS, TOKENS)
    assert measured(empty, one) == measured(one)
    with pytest.raises(CorpusError, match="no tokens"):
        measured(empty)


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="3 lexer tokens, not of 2"):
        measured((PIECES, LOG2P, RANKS, TOKENS[:2]))
    with pytest.raises(ValueError, match="2 lexer tokens, not of 3"):
        measured((PIECES[:3], LOG2P[:3], RANKS[:3], TOKENS))
    with pytest.raises(ValueError, match="2 ranks"):
        measured((PIECES, LOG2P, RANKS[:2], TOKENS))
    with pytest.raises(ValueError, match="lexer tokens"):
        measured((PIECES[[2, 3, 0]], LOG2P[:3], RANKS[:3], ["=", "bar"]))


@pytest.mark.parametrize("bad", [-np.inf, np.nan])
def test_refuses_probabilities_that_are_not_finite(bad):
    with pytest.raises(TrainingError, match="not finite"):
        measured((PIECES, np.array([bad, -1, -1, -1]), RANKS, TOKENS))
