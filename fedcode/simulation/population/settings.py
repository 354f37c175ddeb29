# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A population as a person writes it down: one TOML file, typed, unknown keys are errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fedcode.federation import PublicSettings, Seed, TrainingSettings, WarmStartSettings
from fedcode.strict import (
    Count,
    Name,
    Positive,
    Probability,
    Purpose,
    Share,
    Strict,
    checked,
    formed,
    parsed,
    read,
)

KEYS = "docs/population.md lists every key"
"""A hint."""

_PATHS = ("path", "wheel", "packed")


class PopulationPrivacy(Strict):
    """Who is protected from whom.

    Attributes:
        mode: ``central``: a trusted aggregator clips each member's change and adds noise to their
            sum; ``local``: every member adds its own; ``none``.
        epsilon: the cap: of the population's account, or of each member's.
        delta: below one over the number of privacy units.
        clipping_norm: C: of a member's whole change, or of one record's gradient.
        noise_multiplier: std of the noise over the sensitivity; calibrated where it is absent.
        sampling_rate: ``local``: of a member's records, Poisson, per step.
        participations: ``local``: rounds that a member's budget pays for; all if absent.
    """

    mode: Literal["central", "local", "none"] = "central"
    epsilon: Positive = 8.0
    delta: Probability = 1e-5
    clipping_norm: Positive = 0.5
    noise_multiplier: Positive | None = None
    sampling_rate: Share | None = None
    participations: Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        own = (self.sampling_rate, self.participations)
        if self.mode == "local" and self.sampling_rate is None:
            raise ValueError("the mode local needs a sampling_rate")
        if self.mode != "local" and any(value is not None for value in own):
            raise ValueError("sampling_rate and participations are for the mode local")
        return self


class LocalTraining(Strict):
    """What a member does in a round, and what is done with the sum.

    Attributes:
        steps: gradient steps.
        batch: records of a step; in the mode ``local`` the number that a noised sum is divided by.
        learning_rate: of plain SGD.
        server_learning_rate: what the mean change is multiplied by.
    """

    steps: Count = 5
    batch: Count = 10
    learning_rate: Positive = 0.1
    server_learning_rate: Positive = 1.0


class SyntheticSettings(Strict):
    """Made-up members; see ``fedcode.simulation.population.problem.Synthetic``."""

    records: Count = 50
    features: Count = 64
    shift: Annotated[float, Field(ge=0, strict=True)] = 0.3


class NetworkSettings(Strict):
    """The dense network of array data.

    Attributes:
        hidden: widths of its layers.
        classes: how many there are; public.
    """

    hidden: tuple[Count, ...] = (128,)
    classes: Annotated[int, Field(ge=2, strict=True)] = 2


class CodeTask(Strict):
    """What members learn of their code; see docs/federation.md.

    Attributes:
        name: a key of ``fedcode.tasks.TASKS`` that has a network.
        model: the task's own settings.
        warm_start: on public code.
    """

    name: Name
    model: dict[str, Any] = Field(default_factory=dict)
    warm_start: WarmStartSettings = WarmStartSettings()


class PopulationSettings(Strict):
    """The whole file.

    Attributes:
        members: how many; of what there is already, so many of the first ones.
        cohort: members of a round on average: each is taken with probability cohort / members.
        heldout: members of array data that are not trained on but measured.
        measure_every: rounds between two measurements; the last is always measured.
        workers: processes of one thread each; if absent as many as cores, where that pays.
        engine: how cohorts are trained; chosen by a measurement if it is ``auto``.
        split: what makes a member of a code corpus.
    """

    name: Name
    purpose: Purpose = "research"
    seed: Seed = 1
    source: Annotated[
        str,
        formed(
            r"^(synthetic|stdlib|stdlib\+tests|(packed|package|wheel|path):.+)$",
            "synthetic, stdlib, stdlib+tests, packed:DIR, path:DIR, package:NAME or wheel:FILE",
        ),
    ]
    members: Count | None = None
    cohort: Count
    rounds: Count = 20
    heldout: Count = 20
    measure_every: Count = 10
    workers: Count | None = None
    engine: Literal["auto", "together", "sequential"] = "auto"
    split: Literal["file", "folder", "author"] | None = None
    privacy: PopulationPrivacy = PopulationPrivacy()
    training: LocalTraining = LocalTraining()
    synthetic: SyntheticSettings | None = None
    network: NetworkSettings | None = None
    task: CodeTask | None = None
    public: PublicSettings | None = None

    @property
    def is_code(self) -> bool:
        """Whether members are parts of a code corpus."""
        return not self.source.startswith(("synthetic", "packed:"))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source == "synthetic" and self.members is None:
            raise ValueError("a synthetic population needs members")
        if self.source != "synthetic" and self.synthetic is not None:
            raise ValueError("the table synthetic is for the source synthetic")
        if self.is_code and (self.split is None or self.task is None):
            raise ValueError("a code corpus needs split and a table task")
        code = (self.split, self.task, self.public)
        if not self.is_code and any(value is not None for value in code):
            raise ValueError("split, task and public are for code corpora")
        if self.is_code and self.network is not None:
            raise ValueError("the table network is for array data; a task has its own")
        if self.members is not None and self.cohort > self.members:
            raise ValueError("cohort is larger than members")
        return self

    def local_settings(self) -> TrainingSettings:
        """A member's DP-SGD in the mode ``local``."""
        training, privacy = self.training, self.privacy
        return TrainingSettings(
            steps_per_round=training.steps,
            sampling_rate=privacy.sampling_rate or 1.0,
            nominal_batch=training.batch,
            clipping_norm=privacy.clipping_norm,
            learning_rate=training.learning_rate,
        )


def check(values: Mapping[str, Any], name: str = "population") -> PopulationSettings:
    """A population from plain values (as ``manifest.json`` stores them).

    Raises:
        ConfigError: what is wrong, in one line, with the key's place.
    """
    return checked(PopulationSettings, values, name, KEYS)


def load(path: Path) -> PopulationSettings:
    """Reads a population from a file; paths in it are taken relative to it."""
    settings = parsed(PopulationSettings, read(path), str(path), KEYS)
    changes: dict[str, Any] = {"source": _anchored(settings.source, path.parent)}
    if settings.public is not None:
        source = _anchored(settings.public.source, path.parent)
        changes["public"] = settings.public.model_copy(update={"source": source})
    return settings.model_copy(update=changes)


def _anchored(source: str, folder: Path) -> str:
    scheme, _, rest = source.partition(":")
    return f"{scheme}:{(folder / rest).resolve()}" if scheme in _PATHS else source
