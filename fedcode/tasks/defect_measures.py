# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is reported of a defect model, and the simple models beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedcode.record import Record, SourceFile
from fedcode.task import Metric, Metrics

METRICS: tuple[Metric, ...] = (
    Metric("auc", "AUC", lower_is_better=False),
    Metric("average_precision", "average precision", lower_is_better=False),
    Metric("mcc", "MCC at 0.5", lower_is_better=False),
    Metric("recall20", "recall at 20 % of lines", lower_is_better=False),
)
"""What defect models are compared by; the first one leads."""

EFFORT = 0.2
"""Share of all lines that somebody reads, worst functions first."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def labelled(files: Sequence[SourceFile]) -> list[Record]:
    """The functions that have a label, in file order."""
    return [
        record
        for file in files
        for record in file.records
        if record.kind == "function" and record.label is not None
    ]


def measures(probabilities: Floats, records: Sequence[Record]) -> Metrics:
    """Figures of ``probabilities`` of being defective, one for each labelled record.

    Nothing is measured unless there are defective and other functions: the result is then empty.
    """
    labels = _labels(records)
    if not 0 < labels.sum() < len(labels):
        return {}
    from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score

    lines = np.array([record.lines for record in records], dtype=np.int64)
    return {
        "auc": float(roc_auc_score(labels, probabilities)),
        "average_precision": float(average_precision_score(labels, probabilities)),
        "mcc": float(matthews_corrcoef(labels, probabilities >= 0.5)),
        "recall20": recall_at_effort(probabilities, labels, lines),
    }


def recall_at_effort(
    probabilities: Floats, labels: Labels, lines: Labels, effort: float = EFFORT
) -> float:
    """Share of the defective functions found by reading ``effort`` of all lines.

    Functions are read by decreasing probability, equal ones in the order given, for as long as the
    whole function still fits.
    """
    order = np.argsort(-probabilities, kind="stable")
    read = np.cumsum(lines[order]) <= effort * lines.sum()
    return float(labels[order][read].sum() / labels.sum())


def lines_baseline(
    train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
) -> Mapping[str, Metrics]:
    """Logistic regression on the number of lines, by set of files."""

    def features(records: Sequence[Record]) -> Floats:
        return np.log1p([[record.lines] for record in records])

    return _regression(features, labelled(train), test)


def tokens_baseline(
    train: Sequence[SourceFile], test: Mapping[str, Sequence[SourceFile]]
) -> Mapping[str, Metrics]:
    """Logistic regression on tf-idf of a function's tokens, by set of files."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    records = labelled(train)
    if not records:
        return {name: {} for name in test}
    bag = TfidfVectorizer(analyzer=_tokens, sublinear_tf=True).fit(records)
    return _regression(bag.transform, records, test)


def _tokens(record: Record) -> Sequence[str]:
    return record.tokens


def _regression(
    features: Callable[[Sequence[Record]], object],
    train: Sequence[Record],
    test: Mapping[str, Sequence[SourceFile]],
) -> Mapping[str, Metrics]:
    """Figures of a logistic regression; empty where ``train`` knows only one kind of function."""
    from sklearn.linear_model import LogisticRegression

    labels = _labels(train)
    if not 0 < labels.sum() < len(labels):
        return {name: {} for name in test}
    model = LogisticRegression(max_iter=1000).fit(features(train), labels)
    figures: dict[str, Metrics] = {}
    for name, files in test.items():
        records = labelled(files)
        chances = model.predict_proba(features(records))[:, 1] if records else np.zeros(0)
        figures[name] = measures(chances, records)
    return figures


def _labels(records: Sequence[Record]) -> Labels:
    return np.array([record.label for record in records], dtype=np.int64)
