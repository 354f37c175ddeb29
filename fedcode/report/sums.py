# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What became of the secure sums: who was lost when, who survived, what was revealed."""

from __future__ import annotations

from collections.abc import Sequence

from fedcode.report.result import Against, Round, SumStory, TaskResult
from fedcode.report.table import epsilon

HEAD = ("Round", "Asked", "Needed", "Seconds", "In the sum", "Lost", "Revealed")

_STEPS = {
    "keys": "before its keys",
    "shares": "before its shares",
    "masked": "before its masked update",
    "confirmation": "before it confirmed the survivors",
    "reveal": "before it revealed shares",
}
_WHY = {
    "absent": "did not answer",
    "malformed": "sent what cannot be read",
    "refused": "broke the protocol",
}


def rows(task: TaskResult) -> list[list[str]]:
    """One row for every secure sum of the task's curve."""
    return [_row(entry, story) for entry in task.curves for story in entry.sums]


def _row(entry: Round, story: SumStory) -> list[str]:
    lost = "; ".join(
        f"{name} {_STEPS[one.step]} ({_WHY.get(one.why, one.why)})"
        for name, one in sorted(story.lost.items())
    )
    return [
        str(entry.round),
        str(len(story.members)),
        str(story.threshold),
        f"{sum(story.seconds.values()):.1f}",
        f"no sum: {story.aborted}" if story.aborted else f"{len(story.survivors)} members",
        lost or "nobody",
        _revealed(story),
    ]


def _revealed(story: SumStory) -> str:
    if not story.self_masks:
        return "nothing"
    said = f"own masks of {len(story.self_masks)} in the sum"
    return f"{said}, pairwise keys of {', '.join(story.keys)}" if story.keys else said


def lost(tasks: Sequence[TaskResult]) -> tuple[int, int, int]:
    """How many secure sums there were, how many ended without a total, and members lost."""
    stories = [story for task in tasks for entry in task.curves for story in entry.sums]
    return (
        len(stories),
        sum(bool(story.aborted) for story in stories),
        sum(len(story.lost) for story in stories),
    )


def against(found: Sequence[Against] | None) -> list[tuple[int, str]]:
    """ε against whoever sees sums alone, by the number of members who tell their noise."""
    return [(one.colluding, epsilon(one.epsilon)) for one in found or ()]
