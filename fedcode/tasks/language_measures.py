# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is reported of a language model of code, whatever it is made of.

A lexer token of several pieces pays the sum of their bits. Its rank is the worst of their ranks:
it is among the first k if each of its pieces is, at its own place, given the ones before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcode.corpus.lexer import is_identifier
from fedcode.errors import CorpusError, TrainingError
from fedcode.models.file_cache import cached
from fedcode.task import Metric, Metrics

METRICS: tuple[Metric, ...] = (
    Metric("bits", "bits per lexer token", lower_is_better=True),
    Metric("bits_cached", "bits per lexer token, with file cache", lower_is_better=True),
    Metric("top1", "top-1 accuracy", lower_is_better=False),
    Metric("top5", "top-5 accuracy", lower_is_better=False),
    Metric("top10", "top-10 accuracy", lower_is_better=False),
    Metric("mrr", "mean reciprocal rank", lower_is_better=False),
    Metric("identifier_bits", "bits per identifier", lower_is_better=True),
    Metric("identifier_top1", "identifiers: top-1 accuracy", lower_is_better=False),
    Metric("identifier_top5", "identifiers: top-5 accuracy", lower_is_better=False),
    Metric("identifier_top10", "identifiers: top-10 accuracy", lower_is_better=False),
    Metric("identifier_mrr", "identifiers: mean reciprocal rank", lower_is_better=False),
)
"""What language models are compared by; the first one leads."""

_TOP = (1, 5, 10)


class LanguageMeasures:
    """Adds up one model's figures file by file.

    Args:
        ends: shape (vocabulary,): whether a piece ends a lexer token.
    """

    def __init__(self, ends: NDArray[np.bool_]) -> None:
        self._ends = ends
        self._cached = 0.0
        self._all = np.zeros(len(_TOP) + 3)
        self._identifiers = np.zeros(len(_TOP) + 3)

    def add(
        self,
        pieces: NDArray[np.int32],
        log2p: NDArray[np.floating],
        ranks: NDArray[np.int64],
        tokens: Sequence[str],
    ) -> None:
        """One file.

        Args:
            pieces: the file's pieces, shape (pieces,).
            log2p: log2 of the probability that the model gave each of them.
            ranks: 1 where no piece of the vocabulary was more probable, and so on.
            tokens: the file's lexer tokens.

        Raises:
            TrainingError: a probability is not finite.
            ValueError: the pieces are not those of as many lexer tokens.
        """
        last = np.flatnonzero(self._ends[pieces])
        if len(last) != len(tokens) or (len(pieces) and not self._ends[pieces[-1]]):
            raise ValueError(f"pieces of {len(last)} lexer tokens, not of {len(tokens)}")
        if not len(log2p) == len(ranks) == len(pieces):
            raise ValueError(
                f"{len(log2p)} probabilities, {len(ranks)} ranks: {len(pieces)} pieces"
            )
        if not np.isfinite(log2p).all():
            raise TrainingError("the model gave a piece a probability that is not finite or is 0")
        if not len(pieces):
            return
        first = np.concatenate([[0], last[:-1] + 1])
        bits = -np.add.reduceat(log2p.astype(np.float64), first)
        worst = np.maximum.reduceat(ranks, first)
        named = np.fromiter(map(is_identifier, tokens), dtype=np.bool_, count=len(tokens))
        self._cached -= cached(log2p.astype(np.float64), pieces.tolist()).sum()
        self._all += _sums(bits, worst)
        self._identifiers += _sums(bits[named], worst[named])

    def metrics(self) -> Metrics:
        """The figures of all files so far, by :data:`METRICS`; identifiers' only if there are any.

        Raises:
            CorpusError: no lexer token was added.
        """
        if not self._all[0]:
            raise CorpusError("the files to measure on hold no tokens", "name other files")
        figures = {**_means("", self._all), "bits_cached": float(self._cached / self._all[0])}
        if self._identifiers[0]:
            figures |= _means("identifier_", self._identifiers)
        return {metric.key: figures[metric.key] for metric in METRICS if metric.key in figures}


def _sums(bits: NDArray[np.float64], ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    within = [np.count_nonzero(ranks <= k) for k in _TOP]
    return np.array([len(bits), bits.sum(), *within, (1 / ranks).sum()])


def _means(prefix: str, sums: NDArray[np.float64]) -> dict[str, float]:
    names = ("bits", *(f"top{k}" for k in _TOP), "mrr")
    return {
        prefix + name: float(value) for name, value in zip(names, sums[1:] / sums[0], strict=True)
    }
