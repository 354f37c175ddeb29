# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An agreement as people look at it: what was signed, and by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from fedcode.agreement import Agreement, SignedAgreement
from fedcode.federation import TrainingSettings
from fedcode.modes import counted, leaving, tradeoff
from fedcode.report.table import delta, epsilon
from fedcode.report.words import spans


def shown(signed: SignedAgreement) -> dict[str, Any]:
    """What :func:`summary` says, for machines."""
    missing = signed.signatures.missing(signed.agreement.roster, signed.agreement.canonical())
    return {**signed.plain(), "roster_digest": signed.agreement.roster.digest(), "missing": missing}


def summary(signed: SignedAgreement) -> Table:
    """The agreement in about twenty lines."""
    agreed = signed.agreement
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _lines(agreed):
        table.add_row(name, Text(value))  # a purpose is anybody's text, and no markup
    missing = signed.signatures.missing(agreed.roster, agreed.canonical())
    for name, key in agreed.roster.members:
        said = "has not signed" if name in missing else "has signed"
        table.add_row(name, f"{key} {said}")
    return table


def _lines(agreed: Agreement) -> list[tuple[str, str]]:
    training, members = agreed.training, len(agreed.roster.members)
    before = agreed.roster.previous or "none: the first"
    lines = [
        ("agreement", agreed.digest()),
        ("federation", f"{agreed.federation}, purpose: {agreed.purpose}"),
        ("task", f"{agreed.task}, {agreed.weights:,} weights, {agreed.rounds:,} rounds"),
        ("start", agreed.start),
        ("privacy", _privacy(agreed)),
        (
            "round",
            f"{leaving(training)}, {counted(training.steps_per_round, 'step')} at rate "
            f"{training.sampling_rate:g},"
            f" {training.clipping} clipping at {training.clipping_norm:g}, "
            f"nominal batch {training.nominal_batch}",
        ),
        ("metrics", _metrics(training)),
        ("coordinator", f"{agreed.server.algorithm}, {agreed.roster.coordinator}"),
        ("aggregation", tradeoff(agreed.aggregation, members)),
        ("roster", f"epoch {agreed.roster.epoch}, {agreed.roster.digest()}"),
        ("roster before", before),
    ]
    return [(name, str(value)) for name, value in lines]


def _metrics(training: TrainingSettings) -> str:
    if not training.metrics:
        return "none leaves a member"
    cut = f"; a loss is cut to {training.loss_clip:g}" if "loss" in training.metrics else ""
    return ", ".join(training.metrics) + cut


def _privacy(agreed: Agreement) -> str:
    if not agreed.noise_multiplier:
        return "none"
    return (
        f"ε ≤ {agreed.epsilon:g}, δ = {delta(agreed.delta)}, unit {agreed.unit}, noise multiplier "
        f"{agreed.noise_multiplier:.4g}"
    )


def verdict(
    *,
    members: int,
    epoch: int,
    missing: Sequence[str],
    sums: int,
    unproven: Sequence[int],
    survivors: Sequence[int],
    epsilon_release: Mapping[int, float],
    wrong: Sequence[str],
) -> list[str]:
    """What checking an agreement found, a line each; see ``fedcode.rounds.verification``."""
    lines = [f"WRONG: {one}" for one in wrong]
    if not missing:
        lines.append(f"signed by all {members} members of epoch {epoch}")
    if sums:
        fewest, most = survivors[0], survivors[-1]
        several = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        lines.append(f"proved by signatures: who is in {counted(sums, 'secure sum')}, of {several}")
    if unproven:
        which = "round " if len(unproven) == 1 else "rounds "
        lines.append(
            f"not proved of every sum of {which}{spans(unproven)}: there was none, or it is kept "
            "back; your own ledger knows in which rounds you confirmed survivors"
        )
    least = "at least " if unproven or wrong else ""
    for colluding, value in epsilon_release.items():
        lines.append(
            f"ε = {least}{epsilon(value)} against whoever sees these sums alone, "
            f"{colluding} colluding"
        )
    return lines
