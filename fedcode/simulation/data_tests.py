# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of every member's data before a simulation trains: one that fails stops it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcode.corpus.data_tests import Outcome, failing, leaks, run
from fedcode.corpus.labels import Labeller
from fedcode.corpus.profile import profile, texts
from fedcode.data_tests import SimulatedDataTests
from fedcode.errors import CorpusError
from fedcode.federation import Federation
from fedcode.simulation.dataset import Dataset
from fedcode.task import Labels
from fedcode.tasks import labels_of

Found = Mapping[str, tuple[Outcome, ...]]
"""Every member's outcomes."""


def examine(federation: Federation, data: Dataset, labeller: Labeller | None) -> Found:
    """Tests what every member would train on. A simulation has no history: nothing drifts.

    Args:
        federation: the whole file.
        data: before labels are injected, which may by chance make one function of another.
        labeller: of the records; None where they have their labels already.

    Raises:
        CorpusError: a test fails that nobody has accepted.
    """
    wanted: Labels = "none"
    if any(labels_of(task.name) == "defects" for task in federation.tasks):
        wanted = "defects"
    measured: set[bytes] = set()
    for corpora in (data.heldout, data.validation, data.unseen):
        for corpus in corpora.values():
            measured |= texts(corpus)
    found = {}
    for name, corpus in data.train.items():
        leaked = leaks(texts(corpus), measured)
        labelled = labeller.label(corpus) if labeller and wanted != "none" else corpus
        found[name] = run(profile(labelled), federation.data_tests, labels=wanted, leaked=leaked)
    _check(found, federation.data_tests)
    return found


def _check(found: Found, settings: SimulatedDataTests) -> None:
    """Whether a test fails that nobody has accepted.

    Raises:
        CorpusError: the first that does.
    """
    wrong = [
        (name, one)
        for name, outcomes in found.items()
        for one in outcomes
        if one.state == "failed" and one.test not in settings.accept
    ]
    if wrong:
        name, one = wrong[0]
        more = f" ({len(wrong) - 1} more fail)" if len(wrong) > 1 else ""
        raise CorpusError(
            f"{name} fails the data test {one.test}: {one.said}: {one.value:.4g} instead of "
            f"{one.threshold:.4g}{more}",
            f'mend the data, or write why it may be so: [data_tests.accept] {one.test} = "…"',
        )


def plain(found: Found, settings: SimulatedDataTests) -> dict[str, Any]:
    """As ``result.json`` has it; ``accepted`` are those that fail somewhere."""
    failed = {test for outcomes in found.values() for test in failing(outcomes)}
    return {
        "off": list(settings.off),
        "accepted": {test: why for test, why in settings.accept.items() if test in failed},
        "organizations": {
            name: [one.plain() for one in outcomes] for name, outcomes in found.items()
        },
    }
