# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``result.json`` and ``manifest.json`` as types; docs/result.md says what every field means.

A field that this version does not know is passed over; a field that is missing is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedcode.errors import RunError
from fedcode.record import PrivacyUnit, Role

Metrics = dict[str, float | None]
"""Figures by metric key; None where a figure is not defined."""

ArmKey = Literal["public", "alone", "federated", "federated-plain", "centralized-plain", "baseline"]


class Part(BaseModel):
    """Frozen and typed."""

    model_config = ConfigDict(frozen=True)


class Simulation(Part):
    """What is true of a simulation only, or that the run was none."""

    seeded_noise: bool
    note: str = ""
    simulated: bool = True


class Accountant(Part):
    """How ε was computed, and what stops a run."""

    shown: str
    stops: str
    order: float


class Against(Part):
    """ε against whoever sees sums alone, if so many members tell their noise."""

    colluding: int
    epsilon: float


class Privacy(Part):
    """What every organization was promised, over all tasks."""

    unit: PrivacyUnit
    adjacency: str
    epsilon: float
    delta: float
    accountant: Accountant
    assumptions: tuple[str, ...]
    epsilon_release: tuple[Against, ...] | None = None


class SkippedFile(Part):
    """A file that was not read."""

    path: str
    reason: str


class OrganizationLocal(Part):
    """Private data of one organization."""

    duplicates: int
    skipped: tuple[SkippedFile, ...] = ()
    taken: dict[str, int] = Field(default_factory=dict)
    languages: dict[str, int] = Field(default_factory=dict)
    labelled: int = 0
    defective: int = 0


class Organization(Part):
    """One organization and what it holds, as far as anybody but itself knows it."""

    name: str
    source: str | tuple[str, ...]
    role: Role
    files: int | None
    records: int | None
    units: int | None = None
    lexer_tokens: int | None
    fingerprint: str | None
    local: OrganizationLocal | None

    @property
    def sources(self) -> tuple[str, ...]:
        """Each of them."""
        return (self.source,) if isinstance(self.source, str) else self.source


FEWEST_OF_A_KIND = 20
"""Records, defective or sound: of fewer an area under a curve is mostly chance."""


class TestedData(Part):
    """What one test found of a member's data."""

    test: str
    state: Literal["passed", "failed", "not-applicable", "off"]
    said: str
    value: float | None = None
    threshold: float | None = None


class DataTests(Part):
    """Tests of every member's data, and what was accepted although it failed."""

    off: tuple[str, ...]
    accepted: dict[str, str]
    organizations: dict[str, tuple[TestedData, ...]]


class LedgerRow(Part):
    """One account of one organization's ledger."""

    organization: str
    asset: str
    epsilon_cap: float
    epsilon_spent: float
    charges: int
    budget_nano: int
    spent_nano: int


class Metric(Part):
    """A figure that a task reports."""

    key: str
    title: str
    lower_is_better: bool
    digits: int = Field(ge=0, le=9)


class MemberRound(Part):
    """Private data of one member: its half of one round."""

    loss: float | None
    examples: int
    empty_steps: int
    left_out: int
    level: float | None = None


class Shared(Part):
    """A figure that left the members as a coordinate of their noised sum."""

    value: float
    std: float


class Lost(Part):
    """A member that dropped out of a secure sum."""

    step: str
    why: str


class SumStory(Part):
    """One secure sum, as the coordinator saw it."""

    members: tuple[str, ...]
    threshold: int
    lost: dict[str, Lost]
    sharers: tuple[str, ...]
    survivors: tuple[str, ...]
    self_masks: tuple[str, ...]
    keys: tuple[str, ...]
    seconds: dict[str, float]
    aborted: str
    blamed: tuple[str, ...]


class Round(Part):
    """One round of the federated run of the first seed."""

    round: int
    metrics: Metrics
    survivors: tuple[str, ...]
    refusals: dict[str, str]
    epsilon: dict[str, float]
    seconds: float
    local: dict[str, MemberRound]
    charged: tuple[str, ...] = ()
    shared: dict[str, Shared] = Field(default_factory=dict)
    sums: tuple[SumStory, ...] = ()
    changed: bool = True


class SeedLocal(Part):
    """Private data: figures on the members' own held-out files."""

    heldout: dict[str, Metrics] = Field(default_factory=dict)


class Seed(Part):
    """One arm's run with one seed."""

    seed: int
    seconds: float
    unseen: Metrics
    by_organization: dict[str, Metrics]
    local: SeedLocal = SeedLocal()


class Interval(Part):
    """Mean and 95 % t-interval over the seeds."""

    mean: float | None
    low: float | None
    high: float | None
    seeds: int


class Aggregation(Part):
    """How the members' releases became one."""

    mode: str
    tradeoff: str


class Arm(Part):
    """One way of training: a row of the comparison."""

    key: ArmKey
    title: str
    private: bool
    epsilon: float | None
    epsilon_release: tuple[Against, ...] | None = None
    member: str | None
    seeds: tuple[Seed, ...]
    unseen: dict[str, Interval]


class Verdict(Part):
    """A claim, and whether the figures bear it out."""

    claim: str
    holds: bool
    detail: str


class TaskResult(Part):
    """One trained system."""

    name: str
    title: str
    rounds_planned: int
    seconds: float
    metrics: tuple[Metric, ...] = Field(min_length=1)
    noise_multiplier: float | None = None
    sampling_rate: float | None = None
    steps_per_round: int | None = None
    records_per_unit: int | None = None
    clipping_norm: float | None = None
    clipping: str | None = None
    kind: str | None = None
    weights: int
    curves: tuple[Round, ...]
    arms: tuple[Arm, ...]
    verdict: tuple[Verdict, ...]

    @property
    def leading(self) -> Metric:
        """The metric that leads tables and charts."""
        return self.metrics[0]


class LabelsFrom(Part):
    """Where labels came from, for tasks that need any."""

    kind: Literal["injected", "table", "history"]
    horizon_days: int | None = None
    later: str | None = None

    @property
    def said(self) -> str:
        """In a sentence."""
        if self.kind == "injected":
            return "Labels: bugs injected into real functions, where a task needs them."
        if self.kind == "table":
            return "Labels: as tables have them."
        later = (
            f"; members are measured at {self.later}, on what is new there" if self.later else ""
        )
        return (
            "Labels: defective is what a fix changed within "
            f"{self.horizon_days} days after the commit that was read{later}."
        )


class Result(Part):
    """The whole of ``result.json``."""

    schema_: Literal["fedcode/result/1"] = Field(alias="schema")
    name: str
    purpose: str
    created: str
    seconds: float
    finished: bool
    simulation: Simulation
    privacy: Privacy | None
    aggregation: Aggregation
    labels: LabelsFrom
    organizations: tuple[Organization, ...]
    ledger: tuple[LedgerRow, ...]
    tasks: tuple[TaskResult, ...]
    data_tests: DataTests | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the organizations that train."""
        return tuple(o.name for o in self.organizations if o.role == "train")

    @property
    def few(self) -> tuple[str, ...]:
        """Sentences on organizations that are measured with too few records of a kind."""
        return tuple(
            f"{one.name} has {one.local.defective:,} defective records of "
            f"{one.local.labelled:,}: too few to tell; what is measured there is mostly chance."
            for one in self.organizations
            if one.role != "train"
            and one.local is not None
            and one.local.labelled
            and min(one.local.defective, one.local.labelled - one.local.defective)
            < FEWEST_OF_A_KIND
        )


class Manifest(Part):
    """What ``manifest.json`` says about the run, as far as a report shows it."""

    created: str
    command: str | tuple[str, ...]
    seed: int
    hardware: dict[str, Any]
    platform: dict[str, Any]
    revision: str | None
    packages: dict[str, str]
    fingerprints: dict[str, str]
    weights: dict[str, tuple[str, ...]]
    seeded_noise: bool


P = TypeVar("P", bound=Part)


def read_result(values: Mapping[str, Any]) -> Result:
    """``result.json`` as types.

    Raises:
        RunError: what is wrong, in one line, with its place.
    """
    return read(Result, values, "result.json")


def read_manifest(values: Mapping[str, Any]) -> Manifest:
    """``manifest.json`` as types.

    Raises:
        RunError: what is wrong, in one line, with its place.
    """
    return read(Manifest, values, "manifest.json")


def read(model: type[P], values: Mapping[str, Any], name: str) -> P:
    """The JSON object of the file ``name`` as types.

    Raises:
        RunError: what is wrong, in one line, with its place.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        message = first["msg"]
        raise RunError(
            f"{name}: {place}: {message[0].lower()}{message[1:]}",
            "is the folder of this version of fedcode? docs/result.md lists every field",
        ) from error
