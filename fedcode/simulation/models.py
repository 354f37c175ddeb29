# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The models of a finished run, each a folder with its card: see :mod:`fedcode.card`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcode.card import MODELS, PAGE, WEIGHTS, Card, Measured, Protection, Row, digest_of_file
from fedcode.federation import Federation, TaskSettings
from fedcode.report.model_card import render
from fedcode.report.result import Arm, Result, TaskResult, read_result
from fedcode.report.table import largest_spent
from fedcode.rounds.verification import read as read_agreement
from fedcode.start import PUBLIC
from fedcode.storage import write_atomically
from fedcode.tasks import known, labels_of
from fedcode.weights import save_tensors

Tensors = Mapping[str, NDArray[np.float32]]

_OWN = ("federated", "federated-plain")
_COMPARED = ("public", "centralized-plain", "baseline")
"""Arms that say nothing of a single organization."""

_NOT_PRIVATE = "Trained without differential privacy: it may say word for word what it has read."
_SEEDED = (
    "Its noise came from a seed and can be drawn again: it protects nobody. It is for looking at, "
    "not for giving away."
)
_SPEAKS = (
    "What ε bounds is what it tells of one {unit}; habits that many share, in names or in style, "
    "can be seen in it."
)
_FEW = "It was measured on {number} organization{s}: on others it may do worse."


def write_models(
    folder: Path,
    federation: Federation,
    result: Mapping[str, Any],
    public: tuple[Path, str],
    tensors: Mapping[str, Tensors],
) -> None:
    """Writes ``models/TASK`` for every task.

    Args:
        folder: of the result, where the agreements lie already.
        federation: that was trained.
        result: what ``result.json`` holds.
        public: the public corpus as a file, and its digest.
        tensors: by task.
    """
    found = read_result(result)
    file, digest = public
    for task in found.tasks:
        place = folder / MODELS / task.name
        save_tensors(place / WEIGHTS, tensors[task.name])
        shutil.copyfile(file, place / PUBLIC)
        agreed = read_agreement(folder / f"agreement-{task.name}.json").agreement
        digests = (agreed.task_fingerprint, digest_of_file(place / WEIGHTS), digest)
        card = _card(federation.task(task.name), found, task, digests)
        write_atomically(place / PAGE, render(card).encode())
        card.save(place)


def _card(
    settings: TaskSettings, result: Result, task: TaskResult, digests: tuple[str, str, str]
) -> Card:
    entry = known(task.name)
    fingerprint, weights, public = digests
    own = next(arm for arm in task.arms if arm.key in _OWN)
    compared = [arm for arm in task.arms if arm.key in _COMPARED]
    unseen = sum(one.role == "unseen" for one in result.organizations)
    measured = any(arm.unseen for arm in (own, *compared))
    return Card(
        task=task.name,
        title=entry.title,
        settings=dict(settings.model),
        fingerprint=fingerprint,
        weights=weights,
        public=public,
        trained=task.weights,
        federation=result.name,
        purpose=result.purpose,
        created=result.created,
        version=version("fedcode"),
        members=len(result.members),
        simulated=result.simulation.simulated,
        protection=_protection(result, own),
        labels=result.labels.said if labels_of(task.name) != "none" else "",
        unseen=unseen,
        metrics=tuple(Measured(**metric.model_dump()) for metric in task.metrics),
        rows=tuple(_row(arm, own=arm is own) for arm in (own, *compared)) if measured else (),
        intended=entry.intended,
        limits=(*entry.limits, *_limits(result, unseen)),
    )


def _protection(result: Result, own: Arm) -> Protection | None:
    if result.privacy is None:
        return None
    return Protection(
        unit=str(result.privacy.unit),
        epsilon=largest_spent(result.ledger),
        task_epsilon=own.epsilon,
        delta=result.privacy.delta,
        adjacency=result.privacy.adjacency,
        assumptions=result.privacy.assumptions,
    )


def _row(arm: Arm, *, own: bool) -> Row:
    epsilon = 0.0 if arm.key == "public" else arm.epsilon
    figures = {key: one.mean for key, one in arm.unseen.items()}
    title = f"this model: {arm.title}" if own else arm.title
    return Row(title=title, own=own, epsilon=epsilon, figures=figures)


def _limits(result: Result, unseen: int) -> list[str]:
    found = []
    if result.privacy is None:
        found.append(_NOT_PRIVATE)
    else:
        found.append(_SPEAKS.format(unit=result.privacy.unit))
        if result.simulation.seeded_noise:
            found.append(_SEEDED)
    if unseen:
        found.append(_FEW.format(number=unseen, s="" if unseen == 1 else "s"))
    else:
        found.append("It was measured on no organization that did not train.")
    return found
