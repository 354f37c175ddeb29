# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`ngram`: a Kneser–Ney model of public code, corrected by one noised sum of private n-gram counts.

Coordinates are the commonest n-grams of the public code, so nothing private says what is counted.
A record adds the n-grams that it holds, each once and all of one size, so that their vector has the
norm 1 (a clipping norm of 1 cuts nothing): this measured better than counting repetitions.

The federation's sum S is compared with E, the same sum over the public records, through the ratio
of their totals ρ. At a coordinate with noise of standard deviation τ the best guess of the sum is

    post = ρE + v / (v + τ²) · (S - ρE),    v = (ρE)²

for a normal prior whose standard deviation is the expectation itself: what lies below the noise
stays as the public code has it, and no threshold is needed. The public model's n-grams are then
weighted by (1 + trust · post / ρE) / (1 + trust), in the spirit of adaptation by marginals
(Kneser, Peters and Klakow 1997, Eurospeech). τ is measured on silent coordinates, which no record
counts and which therefore hold noise alone: any multiple of the sum gives the same model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcode.corpus.tokenizer import Subwords
from fedcode.errors import ConfigError, TrainingError
from fedcode.models.kneser_ney import Discounts, KneserNey
from fedcode.models.ngrams import ABSENT, Indices, NgramTable, Pieces
from fedcode.record import Corpus, Record, SourceFile
from fedcode.strict import Count, Positive, Strict, checked
from fedcode.task import Labels, Metric, Metrics
from fedcode.tasks.language_measures import METRICS, LanguageMeasures
from fedcode.weights import Vector

Floats = NDArray[np.float64]

SILENT = 1024
"""Coordinates at the vector's end that no record counts: they tell the noise's size within 5 %."""


class NgramSettings(Strict):
    """The model and its coordinates.

    Attributes:
        order: length of the longest n-grams.
        vocabulary: pieces of the byte-level BPE, trained on public code.
        max_coordinates: n-grams that are counted: the ones that most public records hold.
        min_records: n-grams of fewer public records are not counted.
        trust: the federation's weight beside the public code's, whatever it holds.
    """

    order: Count = 5
    vocabulary: Count = 2048
    max_coordinates: Count = 300_000
    min_records: Count = 3
    trust: Positive = 1.0


class NgramTask:
    """Predicts the next piece of source code from the four before it; see the module."""

    name = "ngram"
    metrics: Sequence[Metric] = METRICS
    labels: Labels = "none"

    def __init__(self, settings: NgramSettings, subwords: Subwords, public: Corpus) -> None:
        self.settings = settings
        self.subwords = subwords
        files = subwords.encode_many([file.tokens for file in public.files])
        self._table = NgramTable.of(files, settings.order, subwords.size)
        records = subwords.encode_many([record.tokens for record in public.records()])
        rows, ngrams = self._held(records)
        holding = np.bincount(ngrams, minlength=int(self._table.offsets[-1]))
        self._ngrams = _commonest(holding, settings.min_records, settings.max_coordinates)
        self._coordinate = np.full(len(holding), ABSENT)
        self._coordinate[self._ngrams] = np.arange(len(self._ngrams))
        counted = self._coordinate[ngrams] != ABSENT
        rows, coordinates = rows[counted], self._coordinate[ngrams[counted]]
        sizes = 1 / np.sqrt(np.maximum(np.bincount(rows, minlength=len(records)), 1))
        expected = np.bincount(coordinates, sizes[rows], len(self._ngrams))
        self._expected = expected.astype(np.float64)
        self._digest = hashlib.sha256(
            (settings.model_dump_json() + subwords.digest + public.fingerprint).encode()
        ).hexdigest()

    @classmethod
    def make(cls, settings: Mapping[str, Any], public: Corpus) -> NgramTask:
        """The task with its vocabulary and its coordinates from ``public``.

        Raises:
            ConfigError: a setting is unknown or out of range, or the public code is too small.
        """
        known = checked(NgramSettings, settings, cls.name)
        task = cls(known, Subwords.train(public.files, known.vocabulary), public)
        if task.size == SILENT:
            raise ConfigError(
                f"{cls.name}: no n-gram stands in {known.min_records} public records",
                "lower min_records, or name more public code",
            )
        return task

    @property
    def size(self) -> int:
        """Number of coordinates, the silent ones included."""
        return len(self._ngrams) + SILENT

    def fingerprint(self) -> str:
        """SHA-256 over settings, vocabulary and public code."""
        return self._digest

    def counts(self, record: Record) -> tuple[Indices, NDArray[np.float32]]:
        """The coordinates that a record holds, each with 1 / √(their number): norm 1, or none."""
        _, ngrams = self._held([self.subwords.encode(record.tokens)])
        coordinates = np.sort(self._coordinate[ngrams])
        coordinates = coordinates[coordinates != ABSENT]
        value = 1 / np.sqrt(max(len(coordinates), 1))
        return coordinates, np.full(len(coordinates), value, np.float32)

    def model(self, counts: Vector) -> KneserNey:
        """The public model, corrected by summed ``counts`` of shape (size,).

        Raises:
            TrainingError: the counts have another shape or are not finite.
        """
        if counts.shape != (self.size,) or not np.isfinite(counts).all():
            raise TrainingError(f"{self.size} finite counts were expected")
        weights = np.ones(self._table.offsets[-1])
        weights[self._ngrams] = corrections(
            counts[:-SILENT].astype(np.float64),
            self._expected,
            float(np.sqrt(np.mean(np.square(counts[-SILENT:], dtype=np.float64)))),
            self.settings.trust,
        )
        return KneserNey(self._table, weights=weights)

    def measure_counts(self, counts: Vector, files: Sequence[SourceFile]) -> Metrics:
        """Figures of :meth:`model` on ``files``; counts of 0 measure the public model."""
        return _measure(self.model(counts), self.subwords, files)

    def baselines(
        self,
        train: Sequence[SourceFile],  # noqa: ARG002
        test: Mapping[str, Sequence[SourceFile]],  # noqa: ARG002
    ) -> Mapping[str, Mapping[str, Metrics]]:
        """None: this task is itself the baseline of others."""
        return {}

    def _held(self, records: Sequence[Pieces]) -> tuple[Indices, Indices]:
        """The different n-grams of each record: (its number, the n-gram's index in all orders)."""
        located = self._table.locate(records)
        row = np.repeat(np.arange(len(records)), [len(r) for r in records])
        all_ngrams = int(self._table.offsets[-1])
        found = []
        for level, offset in zip(located.levels, self._table.offsets[:-1], strict=True):
            here = level != ABSENT
            found.append(np.unique(row[here] * all_ngrams + offset + level[here]))
        pairs = np.concatenate(found)
        return pairs // all_ngrams, pairs % all_ngrams


def corrections(sums: Floats, expected: Floats, noise_std: float, trust: float) -> Floats:
    """The weight of each coordinate's n-gram; see the module.

    Args:
        sums: S, the noised private sum, shape (coordinates,).
        expected: E, the public sum, positive.
        noise_std: τ; 0 without privacy.
        trust: the federation's weight beside the public code's.

    Returns:
        Non-negative weights; all 1 where the sum says nothing.
    """
    ratio = sums.sum() / expected.sum()
    if ratio <= 0:
        return np.ones(len(sums))
    prior = ratio * expected
    share = prior**2 / (prior**2 + noise_std**2)
    posterior = np.maximum(prior + share * (sums - prior), 0)
    weights: Floats = (1 + trust * posterior / prior) / (1 + trust)
    return weights


def kneser_ney_baseline(
    subwords: Subwords,
    train: Sequence[SourceFile],
    test: Mapping[str, Sequence[SourceFile]],
    discounts: Discounts = "modified",
) -> dict[str, Metrics]:
    """Figures of a Kneser–Ney 5-gram model of ``train``, without privacy, on sets of files."""
    sequences = subwords.encode_many([file.tokens for file in train])
    model = KneserNey.fit(sequences, 5, subwords.size, discounts)
    return {name: _measure(model, subwords, files) for name, files in test.items()}


def _commonest(holding: Indices, least: int, most: int) -> Indices:
    """The n-grams of at least ``least`` records, or the ``most`` commonest of them; ascending."""
    common = np.flatnonzero(holding >= least)
    return np.sort(common[np.argsort(-holding[common], kind="stable")[:most]])


def _measure(model: KneserNey, subwords: Subwords, files: Sequence[SourceFile]) -> Metrics:
    pieces = subwords.encode_many([file.tokens for file in files])
    measures = LanguageMeasures(subwords.ends)
    for file, own, score in zip(files, pieces, model.score(pieces), strict=True):
        measures.add(own, score.log2p, score.ranks, file.tokens)
    return measures.metrics()
