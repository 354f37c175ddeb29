# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A model as a run leaves it, of weights that were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedcode.card import Card, Measured, Protection, Row, digest_of_file
from fedcode.corpus import save_public
from fedcode.record import Corpus
from fedcode.tasks import TASKS, make
from fedcode.training import network
from fedcode.weights import save_tensors


def write_model(
    folder: Path, task: str, settings: Mapping[str, Any], public: Corpus, seed: int = 1
) -> Path:
    """Writes a model of drawn weights; returns its folder."""
    made = make(task, settings, public)
    draw = np.random.default_rng(seed)
    shapes = {name: t.shape for name, t in network.tensors(made.build()).items()}
    tensors = {name: draw.normal(0, 0.3, shape).astype("f4") for name, shape in shapes.items()}
    save_tensors(folder / "weights.safetensors", tensors)
    digest = save_public(folder / "public.corpus", public)
    weights = digest_of_file(folder / "weights.safetensors")
    card_of(task, settings, made.fingerprint(), weights, digest).save(folder)
    return folder


def card_of(
    task: str,
    settings: Mapping[str, Any],
    fingerprint: str,
    weights: str,
    public: str,
    **changed: Any,
) -> Card:
    """A card of made-up figures."""
    values: dict[str, Any] = {
        "task": task,
        "title": TASKS[task].title,
        "settings": dict(settings),
        "fingerprint": fingerprint,
        "weights": weights,
        "public": public,
        "trained": 5,
        "federation": "three",
        "purpose": "research",
        "created": "2026-01-01T00:00:00+00:00",
        "version": "0.1.0",
        "members": 3,
        "simulated": True,
        "protection": Protection(
            unit="function",
            epsilon=5.874,
            task_epsilon=None,
            delta=1e-5,
            adjacency="add or remove one unit",
            assumptions=("Nobody <lies>.",),
        ),
        "labels": "",
        "unseen": 1,
        "metrics": (Measured(key="bits", title="bits", lower_is_better=True, digits=3),),
        "rows": (
            Row(title="this model", own=True, epsilon=5.87, figures={"bits": 9.1234}),
            Row(title="n-grams", own=False, epsilon=None, figures={"bits": 8.5}),
        ),
        "intended": "For tests.",
        "limits": ("None & all.",),
    }
    return Card(**values | changed)
