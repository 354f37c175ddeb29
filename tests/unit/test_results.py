# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison is said to show."""

import pytest

from fedcode.privacy.assumptions import assumptions
from fedcode.record import PrivacyUnit
from fedcode.simulation.results import interval, verdict
from fedcode.task import Metric

BITS = Metric("bits", "bits", lower_is_better=True, digits=3)
AUC = Metric("auc", "AUC", lower_is_better=False, digits=3)


def row(key, *figures, metric=BITS):
    return {"key": key, "seeds": [{"unseen": {metric.key: figure}} for figure in figures]}


def test_lower_is_better_for_bits_and_higher_for_auc() -> None:
    for metric, holds in ((BITS, True), (AUC, False)):
        rows = [row("public", 0.6, metric=metric), row("federated", 0.5, metric=metric)]
        (claim,) = verdict(rows, metric)
        assert claim["holds"] is holds
        assert claim["detail"] == f"0.500 against 0.600 {metric.title}"


def test_the_rival_is_the_best_of_those_alone() -> None:
    rows = [row("public", 9.0), row("alone", 7.0), row("alone", 5.0), row("federated", 6.0)]
    warm, alone = verdict(rows, BITS)
    assert (warm["holds"], alone["holds"]) == (True, False)
    assert "6.000 against 5.000" in alone["detail"]


def test_seeds_are_compared_with_their_own() -> None:
    """The mean is better, but in one seed an organization alone does better."""
    rows = [row("public", 9, 9), row("alone", 8, 4), row("alone", 6, 7), row("federated", 5, 5)]
    warm, alone = verdict(rows, BITS)
    assert warm["detail"].endswith("; in 2 of 2 seeds")
    assert alone["holds"]
    assert alone["detail"] == "5.000 against 6.000 bits; in 1 of 2 seeds"


def test_an_equal_figure_is_not_better() -> None:
    assert not verdict([row("public", 5.0), row("federated", 5.0)], BITS)[0]["holds"]


def test_without_a_private_federated_row_nothing_is_claimed() -> None:
    assert verdict([row("public", 5.0), row("federated-plain", 4.0)], BITS) == []


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 6.0])
    assert found["mean"] == 3.0
    assert found["high"] - 3.0 == pytest.approx(4.302653 * 7**0.5 / 3**0.5)
    assert interval([2.0]) == {"mean": 2.0, "low": 2.0, "high": 2.0, "seeds": 1}


@pytest.mark.parametrize("unit", list(PrivacyUnit))
def test_what_is_assumed_follows_the_unit(unit) -> None:
    said = assumptions(unit)
    assert sum(f"if the same {unit}" in one for one in said) == 1
    assert any("by its git history" in one for one in said) == (unit is PrivacyUnit.AUTHOR)


def test_nothing_is_claimed_where_nothing_was_measured() -> None:
    metric = Metric("bits", "bits", lower_is_better=True)
    rows = [
        {"key": key, "seeds": [{"unseen": found}]}
        for key, found in (("public", {}), ("federated", {}))
    ]
    assert verdict(rows, metric) == []
    measured = [row | {"seeds": [{"unseen": {"bits": 1.0}}]} for row in rows]
    assert len(verdict(measured, metric)) == 1
