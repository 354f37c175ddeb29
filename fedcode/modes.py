# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is given up for what in each mode of aggregation, in a sentence for people."""

from __future__ import annotations

from fedcode.federation import AggregationSettings, TrainingSettings
from fedcode.groups import threshold

_OPEN = (
    "nothing is masked: the coordinator sees each member's noised release, and its own ε is all "
    "that protects it"
)


def counted(count: int, one: str, many: str = "") -> str:
    """``1 model``, ``2 models``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def tradeoff(aggregation: AggregationSettings, members: int) -> str:
    """What the coordinator learns, how many members may be lost, and what lies are borne."""
    if aggregation.mode == "open":
        return f"{_OPEN}; a member that lies is believed"
    if aggregation.mode == "open-robust":
        liars = "1 that lies" if aggregation.malicious == 1 else f"{aggregation.malicious} that lie"
        return f"{_OPEN}; {aggregation.rule} bears {liars}"
    if aggregation.groups is None:
        smallest = aggregation.smallest(members)
        asked = f"{members}" if smallest == members else f"{smallest} to {members}"
        return (
            f"secure sum of {asked}: the coordinator learns the total and nothing else; "
            f"{_losses(members)}; a member that lies cannot be told from the others"
        )
    sizes = members // aggregation.groups, -(-members // aggregation.groups)
    size = f"{sizes[0]}" if sizes[0] == sizes[1] else f"{sizes[0]} or {sizes[1]}"
    liars = counted(aggregation.malicious or 0, "group")
    return (
        f"{aggregation.groups} secure sums of {size} members: the coordinator learns the total of "
        f"each group; in each {_losses(sizes[0])}; {aggregation.rule} bears {liars} with members "
        "that lie; less noise adds up in a group than in a cohort"
    )


def leaving(training: TrainingSettings) -> str:
    """What a member's release is, before it is masked."""
    steps = training.steps_per_round
    release = (
        "a noised sum of gradients"
        if training.kind == "gradient-sum"
        else f"the change of weights after {counted(steps, 'local step')}"
    )
    return f"{release}, with {' and '.join(training.metrics)}" if training.metrics else release


def _losses(members: int) -> str:
    bearable = members - threshold(members)
    if not bearable:
        return "not one of them may be lost, or the round is"
    return f"up to {counted(bearable, 'member')} may be lost in a round"
