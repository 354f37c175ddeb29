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

FIELD: tuple[Metric, ...] = (
    *METRICS,
    Metric("f1", "F1 at 0.5", lower_is_better=False),
    Metric(
        "recall20_density", "recall at 20 % of lines, by chance per line", lower_is_better=False
    ),
    Metric("ifa", "false alarms before the first hit", lower_is_better=True, digits=1),
)
"""What defect models are compared by in the field."""

EFFORT = 0.2
"""Share of all lines that somebody reads, worst functions first."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Measure = Callable[[Floats, Sequence[Record]], Metrics]
"""From chances of being defective, one for each record, to figures."""


def labelled(files: Sequence[SourceFile]) -> list[Record]:
    """The functions, classes and commits that have a label, in file order."""
    return [
        record
        for file in files
        for record in file.records
        if record.kind != "module" and record.label is not None
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


def field_measures(probabilities: Floats, records: Sequence[Record]) -> Metrics:
    """As :func:`measures`, with the rest of :data:`FIELD`."""
    found = measures(probabilities, records)
    if not found:
        return {}
    from sklearn.metrics import f1_score

    labels = _labels(records)
    lines = np.array([record.lines for record in records], dtype=np.int64)
    density = probabilities / (lines + 1)
    return {
        **found,
        "f1": float(f1_score(labels, probabilities >= 0.5)),
        "recall20_density": recall_at_effort(density, labels, lines),
        "ifa": float(false_alarms(probabilities, labels)),
    }


def false_alarms(probabilities: Floats, labels: Labels) -> int:
    """How many sound records are looked at before the first defective one (IFA).

    They are looked at by decreasing probability, equal ones in the order given.

    Source: Kochhar et al. 2016, doi:10.1145/2931037.2931051.
    """
    order = np.argsort(-probabilities, kind="stable")
    return int(np.argmax(labels[order]))


def intervals(
    measure: Measure,
    probabilities: Floats,
    records: Sequence[Record],
    *,
    times: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Mapping[str, tuple[float, float]]:
    """Bootstrap intervals of every figure, by its key; none where there is no figure.

    As many defective and as many sound records as there are are drawn with replacement each time,
    so that every draw can be measured. They say how far chance in the records goes, not in
    training.

    Args:
        measure: gives the figures.
        probabilities: one for each record.
        records: labelled.
        times: draws.
        level: the share of the draws that lie within.
        seed: of the draws.
    """
    labels = _labels(records)
    if not 0 < labels.sum() < len(labels):
        return {}
    draw = np.random.default_rng(seed)
    kinds = [np.flatnonzero(labels == kind) for kind in (0, 1)]
    found = []
    for _ in range(times):
        chosen = np.concatenate([draw.choice(own, len(own)) for own in kinds])
        found.append(measure(probabilities[chosen], [records[i] for i in chosen]))
    ends = ((1 - level) / 2, (1 + level) / 2)
    values = {key: [figures[key] for figures in found] for key in found[0]}
    return {
        key: (float(low), float(high))
        for key, (low, high) in ((k, np.quantile(v, ends)) for k, v in values.items())
    }


def size_of(record: Record) -> tuple[float, ...]:
    """A record's size as numbers: lines, tokens of its syntax tree, and its metrics."""
    m = record.metrics
    ast = (float(len(record.ast)), float(len(set(record.ast))))
    own = (m.parameters, m.branches, m.calls, m.returns, m.assignments, m.nesting)
    return (float(record.lines), *ast, *map(float, own))


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
    train: Sequence[SourceFile],
    test: Mapping[str, Sequence[SourceFile]],
    measure: Measure = measures,
) -> Mapping[str, Metrics]:
    """Logistic regression on the number of lines, by set of files."""

    def features(records: Sequence[Record]) -> Floats:
        return np.log1p([[record.lines] for record in records])

    return _regression(features, labelled(train), test, measure)


def numbers_baseline(
    train: Sequence[SourceFile],
    test: Mapping[str, Sequence[SourceFile]],
    measure: Measure = measures,
) -> Mapping[str, Metrics]:
    """Logistic regression on a record's size and the features that all have, by set of files."""
    records = labelled(train)
    if not records:
        return {name: {} for name in test}
    names = sorted(set.intersection(*({name for name, _ in r.features} for r in records)))

    def features(records: Sequence[Record]) -> Floats:
        rows = []
        for record in records:
            known = dict(record.features)
            rows.append([*size_of(record), *(known.get(name, 0.0) for name in names)])
        return np.log1p(np.abs(rows))

    return _regression(features, records, test, measure)


def tokens_baseline(
    train: Sequence[SourceFile],
    test: Mapping[str, Sequence[SourceFile]],
    measure: Measure = measures,
) -> Mapping[str, Metrics]:
    """Logistic regression on tf-idf of a record's tokens, by set of files.

    Where a record has none, those of its syntax tree.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    records = labelled(train)
    if not records:
        return {name: {} for name in test}
    bag = TfidfVectorizer(analyzer=_tokens, sublinear_tf=True).fit(records)
    return _regression(bag.transform, records, test, measure)


def _tokens(record: Record) -> Sequence[str]:
    return record.tokens or record.ast


def _regression(
    features: Callable[[Sequence[Record]], object],
    train: Sequence[Record],
    test: Mapping[str, Sequence[SourceFile]],
    measure: Measure,
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
        figures[name] = measure(chances, records)
    return figures


def _labels(records: Sequence[Record]) -> Labels:
    return np.array([record.label for record in records], dtype=np.int64)
