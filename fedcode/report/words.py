# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a result says, in sentences that a privacy officer and a researcher both understand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedcode.modes import counted
from fedcode.record import PrivacyUnit
from fedcode.report import sums
from fedcode.report.result import Privacy, Result, TaskResult
from fedcode.report.table import (
    Row,
    best,
    condensed_rows,
    delta,
    epsilon,
    figure,
    largest_spent,
    number,
)

SEEDED = "Noise from a seed protects nobody"

_UNITS = {
    PrivacyUnit.FUNCTION: "A function stands with its decorators and all that is nested "
    "in it; what its file holds outside of functions counts as one more.",
    PrivacyUnit.FILE: "A file stands with everything in it.",
    PrivacyUnit.AUTHOR: "An author stands with every file of which they wrote most lines, and "
    "with others' lines in those files.",
    PrivacyUnit.REPOSITORY: "A repository stands with everything in it.",
}

_NOT_CLAIMED = (
    "That the models are anonymous, or that ε is safety. ε bounds what can be learned of one "
    "privacy unit; a large ε bounds little.",
    "Protection of more than one unit at once. What k units of one organization have in common "
    "is protected much less than that: its style, its names, a secret that stands in many {units}.",
    "Protection of a person. {person}, is not covered by one organization's ε.",
    "Protection of the figures in this report. Losses, numbers of records and results on "
    "organizations' files are computed without noise; ε does not cover them, nor what is chosen "
    "by looking at them.",
    "One ε for the whole table. A row's ε is that of one model with one seed; releasing several "
    "rows, or several seeds, trained on the same code costs the sum.",
    "A defence against a member that lies. Its own program clips what it sends; in a sum it moves "
    "the total as far as it likes, and rules that bear a few who lie only bound it.",
    "That others have checked it. No external review of the cryptography or of the accounting "
    "has taken place.",
)

_CODES = {
    "budget": "its budget did not cover it",
    "agreement": "the agreement is not what it signed",
    "plan": "the plan is not what was agreed on, or of a round begun before",
    "failed": "its training failed",
    "policy": "its policy does not permit the round",
    "range": "its numbers did not fit into the sum",
    "protocol": "the request did not fit into its secure sum",
    "absent": "it did not answer",
    "malformed": "what it sent could not be read",
    "refused": "it broke the protocol",
}


_LOST = ("absent", "malformed", "refused")


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def headline(result: Result) -> str:
    """What was trained, and by how many."""
    models = counted(len(result.tasks), "model")
    together = " together" if len(result.members) > 1 else ""
    return f"{counted(len(result.members), 'organization')} trained {models}{together}"


def summary(result: Result) -> list[str]:
    """With whom, and on what, in a few sentences."""
    unseen = [o.name for o in result.organizations if o.role == "unseen"]
    said = [
        f"Models: {listed([task.title for task in result.tasks])}. "
        f"Members: {listed(result.members)}.",
        "This is a simulation: one machine held every organization's code and played every part."
        if result.simulation.simulated
        else f"This is {result.simulation.note}.",
    ]
    if unseen:
        said.append(f"What was learned is measured on code never trained on: {listed(unseen)}.")
    return said


def not_claimed(privacy: Privacy | None) -> list[str]:
    """What nobody should read into the figures; without privacy the units are functions."""
    unit = privacy.unit if privacy else PrivacyUnit.FUNCTION
    person = "An author whose code stands in several organizations, or in many units of one"
    if unit is PrivacyUnit.AUTHOR:
        person = (
            "An author whose code stands in several organizations, or in files that others mainly "
            "wrote, or under several addresses"
        )
    return [claim.format(units=unit.plural, person=person) for claim in _NOT_CLAIMED]


def guarantee(privacy: Privacy, spent: float) -> list[str]:
    """The promise, with its unit, δ, adjacency and accountant, and what ε means."""
    cap, factor = epsilon(privacy.epsilon), math.exp(min(privacy.epsilon, 700))
    times = f"{factor:,.2f}" if factor < 10 else f"{factor:,.0f}" if factor < 1e7 else "10⁷ or more"
    return [
        f"The most that any organization spent is {_glued('ε', epsilon(spent))}, over all models "
        f"together, at {_glued('δ', delta(privacy.delta))}; the federation's cap is {cap}. The "
        f"privacy unit is one {privacy.unit}; adjacency is {privacy.adjacency}. "
        f"{_UNITS[privacy.unit]}",
        f"In words: with one {privacy.unit} more or less in an organization's code, no outcome of "
        f"the training becomes more likely than e^ε times what it was, plus δ. At the cap of "
        f"{cap} that is a factor of {times}: a smaller ε promises more.",
        f"The accountant of the ε shown is {privacy.accountant.shown}. What stops an organization "
        f"before the round that would pass its cap: {privacy.accountant.stops}, at order "
        f"{privacy.accountant.order:g}.",
    ]


def standing(result: Result) -> str:
    """The privacy of a run in one line of a terminal."""
    if result.privacy is None:
        return "no differential privacy: the weights may hold the code they were trained on"
    privacy = result.privacy
    most = "" if result.simulation.simulated else "at most "
    return (
        f"largest ε {most}{epsilon(largest_spent(result.ledger))}, cap {epsilon(privacy.epsilon)}, "
        f"δ {delta(privacy.delta)}, {privacy.unit}, {privacy.adjacency}, {privacy.accountant.shown}"
    )


def summing(result: Result) -> list[str]:
    """What the secure sums bring, in lines of a terminal."""
    done, aborted, lost = sums.lost(result.tasks)
    if not done:
        return [result.aggregation.tradeoff] if result.privacy else []
    said = [
        f"{counted(done, 'secure sum')}: {counted(lost, 'member')} lost on the way, "
        f"{aborted or 'none'} without a total"
    ]
    against = sums.against(result.privacy.epsilon_release if result.privacy else None)
    if against:
        colluding, spent = against[-1]
        others = f", {counted(colluding, 'other member')} colluding" if colluding else ""
        said.append(f"ε {spent} against whoever sees the sums alone{others}; never charged instead")
    return said


def findings(task: TaskResult) -> list[tuple[Row, str]]:
    """The rows that matter most, the best baseline too, with their leading figures."""
    every = condensed_rows(task)
    firsts: list[Row] = []
    for key in ("federated", "public", "alone", "federated-plain", "centralized-plain"):
        firsts += [row for row in every if row.key == key][:1]
    baseline = best([row for row in every if row.key == "baseline"], task.leading)
    firsts += [baseline] if baseline else []
    return [
        (row, number(value, task.leading.digits))
        for row in firsts
        if (value := figure(row, task.leading)) is not None
    ]


def stops(tasks: Sequence[TaskResult]) -> list[str]:
    """Who took no part in which rounds, and why: a sentence for each."""
    missed: dict[tuple[str, str], dict[str, list[int]]] = {}
    for task in tasks:
        for entry in task.curves:
            for member, code in sorted(entry.refusals.items()):
                rounds = missed.setdefault((member, code), {}).setdefault(task.name, [])
                rounds.append(entry.round)
    idle = {
        task.name: [entry.round for entry in task.curves if not entry.changed] for task in tasks
    }
    nothing = [f"{name} {_spans(rounds)}" for name, rounds in idle.items() if rounds]
    changed = [
        f"{listed(nothing)} changed nothing: too few were left, or the step was not finite; what "
        "was charged stays charged"
    ]
    return (changed if nothing else []) + [
        f"{member} {'was lost in' if code in _LOST else 'took no part in'} "
        f"{listed([f'{n} {_spans(r)}' for n, r in rounds.items()])}: {_CODES.get(code, code)}"
        for (member, code), rounds in missed.items()
    ]


def _glued(name: str, value: str) -> str:
    """``name = value``, with no place where a line could break."""
    return f"{name} = {value}".replace(" ", "\N{NO-BREAK SPACE}")


def spans(numbers: Sequence[int]) -> str:
    """Numbers as ranges: ``3``, ``10–12``, ``2, 10–12``."""
    found: list[list[int]] = []
    for number_ in numbers:
        if found and number_ == found[-1][-1] + 1:
            found[-1].append(number_)
        else:
            found.append([number_])
    return ", ".join(f"{s[0]}" if len(s) == 1 else f"{s[0]}–{s[-1]}" for s in found)


def _spans(numbers: Sequence[int]) -> str:
    """Rounds as ranges: ``round 3``, ``rounds 10–12``."""
    return f"{'round' if len(numbers) == 1 else 'rounds'} {spans(numbers)}"
