# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A federation as a person writes it down: one TOML file, typed, unknown keys are errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fedcode.data_tests import SimulatedDataTests
from fedcode.errors import ConfigError
from fedcode.filters import FilterSettings
from fedcode.groups import FEWEST_GROUPS, FEWEST_MEMBERS, MOST_MEMBERS, check_groups, threshold
from fedcode.identity import COORDINATOR
from fedcode.record import PrivacyUnit, Role
from fedcode.rules import Combined, Rule, check_rule
from fedcode.strict import (
    Amount,
    Count,
    Fraction,
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

Seed = Annotated[int, Field(ge=0, lt=1 << 32, strict=True)]
Clip = Literal["flat", "per-layer", "normalized", "adaptive"]
Kind = Literal["local-steps", "gradient-sum"]
SharedMetric = Literal["units", "loss"]
Norm = Annotated[float, Field(ge=1e-6, le=1e6, strict=True)]
"""Of gradients whose squares float32 holds."""

OWN = "own"
"""The source of an organization whose own agent alone knows where its code lies."""

STARTED = "start"
"""The source of a public corpus that lies in the files that training starts from."""

CODE = "git:DIR, commits:DIR, path:DIR, package:NAME or wheel:FILE"
"""How a person names an organization's code."""

TABLE = "table:"
"""How sources begin that are tables."""

HISTORIES = ("git:", "commits:")
"""How sources begin that have a history to take labels from."""

_HERE = (*HISTORIES, "path:", "wheel:", TABLE)
"""How sources begin that name a place on this machine."""

Mode = Literal["secagg", "secagg-groups", "open-robust", "open"]
RULES: dict[Mode, tuple[Rule, ...]] = {
    "secagg-groups": ("median", "trimmed-mean"),
    "open-robust": ("trimmed-mean", "krum", "centred-clipping"),
}
"""What each mode may combine groups or members by; the first is taken where none is named."""

Precision = Literal["float32", "bfloat16"]
"""Of a network's products in training without privacy; its weights stay float32.

Private training has float32 alone: in half precision the rounding of one record's gradient depends
on what it shares a batch with, and over thousands of records that is no longer small against C.
"""


def _each_once(names: tuple[SharedMetric, ...]) -> tuple[SharedMetric, ...]:
    if len(set(names)) < len(names):
        raise ValueError("a metric is named twice")
    return tuple(sorted(names))


class PrivacySettings(Strict):
    """What every organization is promised, over all tasks of the federation together.

    Attributes:
        unit: what adjacency adds or removes.
        epsilon: the cap for each organization.
        delta: must be below one over every organization's number of units.
    """

    unit: PrivacyUnit = PrivacyUnit.FUNCTION
    epsilon: Positive = 8.0
    delta: Probability = 1e-5


class TrainingSettings(Strict):
    """One member's half of a round: K noised sums of clipped gradients.

    Attributes:
        kind: ``local-steps`` takes K DP-SGD steps and releases the change of weights (DP-FedAvg);
            ``gradient-sum`` takes no step and releases its one noised sum, which the coordinator
            takes a step with (DP-FedSGD).
        steps_per_round: K; 1 for ``gradient-sum``.
        sampling_rate: of units, Poisson, per step; the same for every member, and public.
        records_per_unit: of a sampled unit so many records take part in a step at most, others in
            every step. A function is one record.
        nominal_batch: the public constant that a step's noised sum is divided by.
        clipping: ``flat`` scales a gradient g by min(1, C/|g|), ``per-layer`` does so with each of
            L layers and C/√L, ``normalized`` scales by C/(|g| + 0.01 C), ``adaptive`` clips at a
            level that follows a quantile of the norms (``fedcode.training.clipping``).
        clipping_norm: C; also where ``adaptive`` starts.
        quantile: of ``adaptive``: the part of the units whose norm shall be below the level.
        quantile_rate: of ``adaptive``: how fast the level moves.
        noise_multiplier: std of the noise over the sensitivity; calibrated to the budget where it
            is absent.
        metrics: what leaves beside the weights, each as one more coordinate of the noised sum:
            ``units``, how many a step found, and ``loss`` (``fedcode.metrics``).
        loss_clip: of ``loss``: a unit's mean loss counts as so much at most.
        optimizer: the member's optimizer; ``adam-bc`` is Adam that takes the noise's variance off
            its second moment.
        learning_rate: the member's learning rate; of ``gradient-sum``, what the coordinator
            multiplies the mean gradient with.
        momentum: of ``sgd``.
        second_moment_floor: of ``adam-bc``: γ'.
        proximal: FedProx' mu; 0 is none.
        memory_mib: for the tensors of a step; as many examples are in memory at once as are
            measured to fit.
        physical_batch: examples in memory at once, where that is to be a fixed number.
        by_opacus: names of layers whose per-record gradients Opacus computes.

    The last three are a member's own: they change speed, not results, and nobody agrees on them.
    """

    kind: Kind = "local-steps"
    steps_per_round: Count = 1
    sampling_rate: Share = 0.1
    records_per_unit: Count = 64
    nominal_batch: Count = 256
    clipping: Clip = "flat"
    clipping_norm: Norm = 1.0
    quantile: Probability = 0.5
    quantile_rate: Positive = 0.2
    noise_multiplier: Positive | None = None
    metrics: Annotated[tuple[SharedMetric, ...], AfterValidator(_each_once)] = ()
    loss_clip: Norm = 10.0
    optimizer: Literal["sgd", "adam", "adam-bc"] = "sgd"
    learning_rate: Positive = 1.0
    momentum: Fraction = 0.0
    second_moment_floor: Positive = 5e-8
    proximal: Amount = 0.0
    memory_mib: Count = 512
    physical_batch: Count | None = None
    by_opacus: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _local_steps_alone(self) -> Self:
        """Refuses, where there are no local steps, what only these would use."""
        if self.kind == "gradient-sum":
            if self.steps_per_round != 1:
                raise ValueError("gradient-sum has one step a round: set steps_per_round = 1")
            if self.optimizer != "sgd" or self.momentum or self.proximal:
                raise ValueError(
                    "gradient-sum has no local step: optimizer must be sgd, and momentum and "
                    "proximal 0"
                )
            if self.clipping == "adaptive":
                raise ValueError(
                    "gradient-sum wants one clipping for all members: it cannot be adaptive"
                )
        return self

    def agreed(self) -> dict[str, Any]:
        """What all members must agree on, as JSON wants it."""
        own = {"memory_mib", "physical_batch", "by_opacus"}
        return self.model_dump(mode="json", exclude=own)

    def coordinates(self, weights: int) -> int:
        """How many numbers a step's sum has: weights, then adaptive votes, then metrics."""
        return weights + (self.clipping == "adaptive") + len(self.metrics)

    def released(self, weights: int) -> int:
        """How many numbers a release has: one for each weight, then one for each metric."""
        return weights + len(self.metrics)


class ServerSettings(Strict):
    """The coordinator's half: a Flower strategy.

    Attributes:
        algorithm: the strategy's name.
        learning_rate: the server's learning rate.
        momentum: beta_1 of the adaptive ones, the momentum of ``fedavgm``.
        second_momentum: beta_2 of the adaptive ones.
        tau: the adaptive ones' floor.
        average: the decay of the exponential moving average of the weights over the rounds, which
            is handed out in their place; 0 is none.
    """

    algorithm: Literal["fedavg", "fedavgm", "fedadam", "fedyogi", "fedprox"] = "fedavg"
    learning_rate: Positive = 1.0
    momentum: Fraction = 0.9
    second_momentum: Fraction = 0.99
    tau: Positive = 1e-3
    average: Fraction = 0.0


class AggregationSettings(Strict):
    """How the members' releases become one, and what the coordinator sees of them.

    Attributes:
        mode: ``secagg`` is one secure sum over the cohort: the coordinator learns the total and
            nothing else. ``secagg-groups`` is one for each of several groups, whose means are
            combined by ``rule``. ``open-robust`` masks nothing and combines the members' releases
            by ``rule``; ``open`` adds them up. See docs/decisions/0011-modes.md.
        groups: how many, of ``secagg-groups``; 3 if absent.
        rule: of ``secagg-groups`` and ``open-robust``; the mode's first if absent.
        malicious: as many members, or groups, may send anything, and the rule still holds; 1 if
            absent.
        radius: of ``centred-clipping``: how far a release may lie from the centre; 1 if absent.
        smallest_cohort: the fewest that a round of secure sums may ask; if absent, two thirds of
            the members, rounded down, and one.
        colluding: c: the ε that is shown against whoever sees sums alone is for up to so many
            members who tell their noise.
    """

    mode: Mode = "secagg"
    groups: Annotated[int, Field(ge=FEWEST_GROUPS, strict=True)] | None = None
    rule: Rule | None = None
    malicious: Count | None = None
    radius: Positive | None = None
    smallest_cohort: Count | None = None
    colluding: Annotated[int, Field(ge=0, lt=MOST_MEMBERS, strict=True)] = 1

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        """What the mode and the rule need, where it is not said."""
        if not isinstance(values, dict):
            return values
        filled = {key: value for key, value in values.items() if value is not None}
        rules = RULES.get(filled.get("mode", "secagg"), ())
        if rules:
            filled = {"rule": rules[0], "malicious": 1} | filled
        if filled.get("mode") == "secagg-groups":
            filled = {"groups": FEWEST_GROUPS} | filled
        if filled.get("rule") == "centred-clipping":
            filled = {"radius": 1.0} | filled
        return filled

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        allowed = RULES.get(self.mode, ())
        if self.rule is not None and self.rule not in allowed:
            others = f": take {' or '.join(allowed)}" if allowed else ", it adds up"
            raise ValueError(f"{self.mode} has no rule {self.rule}{others}")
        if self.groups is not None and self.mode != "secagg-groups":
            raise ValueError("groups is of secagg-groups alone")
        if self.radius is not None and self.rule != "centred-clipping":
            raise ValueError("radius is of centred-clipping alone")
        if self.smallest_cohort is not None and not self.masked:
            raise ValueError("smallest_cohort is of secure sums alone")
        if self.malicious is not None and self.rule is None:
            raise ValueError(f"{self.mode} trusts every member: leave malicious out")
        return self

    @property
    def masked(self) -> bool:
        """Whether members mask what they send."""
        return self.mode in ("secagg", "secagg-groups")

    def smallest(self, members: int) -> int:
        """The fewest of so many members that a round may ask."""
        if not self.masked:
            return 1
        return self.smallest_cohort or threshold(members)

    def possible(self, asked: int, members: int) -> bool:
        """Whether a round may ask so many of the members."""
        try:
            self.check_members(asked)
        except ValueError:
            return False
        return asked >= self.smallest(members)

    def check_members(self, members: int) -> None:
        """Whether so many can take part.

        Raises:
            ValueError: too few or too many.
        """
        few = FEWEST_MEMBERS if self.masked else 1
        if not few <= members <= MOST_MEMBERS:
            raise ValueError(
                f"mode {self.mode} is for {few} to {MOST_MEMBERS} members that train, not {members}"
                + (' (aggregation.mode = "open" adds up without masking)' if members < few else "")
            )
        try:
            if self.groups is not None:
                check_groups(members, self.groups)
            if self.rule is not None and self.malicious is not None:
                what: Combined = "members" if self.groups is None else "groups"
                check_rule(self.rule, self.malicious, self.groups or members, what)
        except ConfigError as error:
            raise ValueError(str(error)) from error


class WarmStartSettings(Strict):
    """Plain training on the public corpus before the federation starts.

    Attributes:
        epochs: passes over the public corpus.
        batch: see the task.
        learning_rate: of AdamW, at its highest.
        weight_decay: of AdamW.
        precision: of the network's products.
    """

    epochs: Amount = 1.0
    batch: Count = 32
    learning_rate: Positive = 3e-3
    weight_decay: Amount = 0.0
    precision: Precision = "float32"


class PlainSettings(Strict):
    """Training without privacy: the yardstick of a simulation, never what an agent does.

    Attributes:
        epochs: passes over the records, over all rounds.
        batch: records in a step; of the public steps, that of the warm start.
        learning_rate: of AdamW, at its highest.
        weight_decay: of AdamW.
        public_share: of all steps, so many go on with the public corpus as in the warm start.
        precision: of the network's products.
    """

    epochs: Positive = 2.0
    batch: Count = 32
    learning_rate: Positive = 1e-3
    weight_decay: Amount = 0.0
    public_share: Fraction = 0.0
    precision: Precision = "float32"


class TaskSettings(Strict):
    """One task of the federation.

    Attributes:
        name: a key of ``fedcode.tasks.TASKS``.
        continues: a task before it in the file, with the same network: this one starts from the
            weights that the other ends with, and has no warm start of its own. In a simulation
            alone: a start file is made before anything is trained.
        rounds: T.
        budget_share: the part of each organization's budget that this task may spend.
        model: the task's own settings; it checks them itself.
    """

    name: Name
    continues: Name | None = None
    rounds: Count = 10
    budget_share: Share = 1.0
    model: dict[str, Any] = Field(default_factory=dict)
    training: TrainingSettings = TrainingSettings()
    server: ServerSettings = ServerSettings()
    warm_start: WarmStartSettings = WarmStartSettings()
    plain: PlainSettings = PlainSettings()

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.continues is not None and self.warm_start != WarmStartSettings():
            raise ValueError(
                f"{self.name} starts from the weights of {self.continues}: leave warm_start out"
            )
        return self


class TableColumns(Strict):
    """What the columns of a table say of a function or class.

    Attributes:
        kind: what a row is.
        name: column of its name; of a class with its packages, joined by dots.
        path: of its file; where there is none, the name says it.
        line: of a line of it; of labels for code that was read, instead of the name.
        label: of the number of its defects, or of 0 and 1.
        lines: of its number of lines.
        ast: of the tokens of its syntax tree: a list, or a text with spaces between them.
        kinds: of their kinds, a letter each, where the tokens do not start with them.
        repository: of its repository.
        features: of numbers that are known of it.
        apart: columns that tell rows of one name apart, as its release.
    """

    kind: Literal["class", "function"] = "function"
    name: str = "name"
    path: str | None = None
    line: str | None = None
    label: str = "label"
    lines: str | None = None
    ast: str | None = None
    kinds: str | None = None
    repository: str | None = None
    features: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """All columns that a record is made of."""
        several = (self.name, self.path, self.label, self.lines, self.ast, self.kinds)
        one = tuple(column for column in (*several, self.repository) if column is not None)
        return (*one, *self.features, *self.apart)


Chosen = dict[str, str | tuple[str, ...]]
"""Values, or lists of values, that a table's rows must have by column."""


class InjectedLabels(Strict):
    """Bugs that are injected into real functions (``fedcode.corpus.labels``)."""

    kind: Literal["injected"] = "injected"


class TableLabelSettings(Strict):
    """Labels as a table has them; of history, so that no file is held out at random.

    Attributes:
        table: labels of code that was read; absent where the sources are tables themselves.
        columns: of that table; ``repository`` names the organization where it holds several.
        rows: which of its rows.
    """

    kind: Literal["table"]
    table: str | None = None
    columns: TableColumns = TableColumns()
    rows: Chosen = Field(default_factory=dict)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class FixSettings(Strict):
    """Which commits mend a bug, beside what their words say (docs/histories.md).

    Attributes:
        patterns: a message that one of them matches is a fix's.
        other: and these make it none.
        issues: the pattern of the tracker's keys.
        tracker: the tracker's export, CSV with columns key and type.
    """

    patterns: tuple[Pattern, ...] = ()
    other: tuple[Pattern, ...] = ()
    issues: Pattern | None = None
    tracker: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.issues is None) != (self.tracker is None):
            raise ValueError("issues and tracker belong together")
        return self


Date = Annotated[
    str,
    formed(r"^\d{4}-\d\d-\d\d$", "a date, as 2024-01-31"),
    BeforeValidator(lambda value: value.isoformat() if isinstance(value, date) else value),
]
"""TOML has dates of its own: with quotation marks or without."""


class HistoryLabelSettings(Strict):
    """Labels by SZZ: a function is defective if a later fix changes a line that stood in it.

    Attributes:
        horizon_days: how long after the snapshot fixes are looked for.
        later: a date: members are measured on what was new or other then; absent for not at all.
        most_files: a commit that changes more source files mends no single bug.
        insertions: whether lines that a fix adds inside a function count as well.
        fixes: which commits mend a bug.
    """

    kind: Literal["history"]
    horizon_days: Count = 365
    later: Date | None = None
    most_files: Count = 10
    insertions: Annotated[bool, Field(strict=True)] = False
    fixes: FixSettings = FixSettings()


LabelSettings = Annotated[
    InjectedLabels | TableLabelSettings | HistoryLabelSettings, Field(discriminator="kind")
]
"""Where the labels come from that a task may need."""


_SOURCE = re.compile(r"own|(git|commits|package|wheel|path|table):.+")


def _sources(value: Any) -> Any:
    """Refuses what is neither a source nor a list of them; a list of one is that one."""
    several = listed(value, _SOURCE, f"{CODE}, or a list of them; or table:FILE")
    if len(several) == 1:
        return several[0]
    for one in several:
        if one == OWN or one.startswith(TABLE):
            what = "a table" if one != OWN else f'"{OWN}"'
            raise ValueError(f"{what} is a source alone: it cannot stand in a list with others")
    check_distinct(several)
    return several


def listed(value: Any, form: re.Pattern[str], words: str) -> tuple[str, ...]:
    """What a file names as a source, or as a list of them.

    Args:
        value: as it stands in the file.
        form: of a source.
        words: what it should be.

    Raises:
        ValueError: it is something else, or an empty list.
    """
    several = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not several:
        raise ValueError("the list is empty: name a source, or leave it out")
    if not all(isinstance(one, str) and form.fullmatch(one) for one in several):
        raise ValueError(f"should be {words}")
    return several


def check_distinct(sources: Sequence[str]) -> None:
    """Whether no source is named twice.

    Raises:
        ValueError: one is.
    """
    twice = next((one for i, one in enumerate(sources) if one in sources[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice")


class OrganizationSettings(Strict):
    """One organization and where its code lies.

    Attributes:
        source: ``git:DIR`` (or ``git:DIR@REVISION``, or ``@DATE``), ``path:DIR``, ``wheel:FILE`` or
            ``package:NAME`` (installed); ``commits:DIR`` for commits as records; or several of
            these, which differ. In a simulation also ``table:FILE`` for records that others have
            measured; or ``own``: the organization's own agent knows, and nobody else.
        rows: of a table: which of its rows are the organization's.
        role: ``train`` (a member), ``validation`` or ``unseen`` (never trained on).
        max_tokens: of each source: read files, in an order fixed by their names' digests, up to so
            many tokens.
        epsilon: a lower cap than the federation's, held by this organization alone.
    """

    name: Name
    source: Annotated[str | tuple[str, ...], BeforeValidator(_sources)] = OWN
    role: Role = "train"
    rows: Chosen = Field(default_factory=dict)
    max_tokens: Count | None = None
    epsilon: Positive | None = None

    @model_validator(mode="after")
    def _rows_of_a_table(self) -> Self:
        if self.is_table:
            if self.max_tokens is not None:
                raise ValueError("a table is read by rows: leave max_tokens out")
        elif self.rows:
            raise ValueError("rows is of a source table:FILE alone")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Each of them, in the file's order."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def is_table(self) -> bool:
        """Whether its records are those of a table."""
        return self.sources[0].startswith(TABLE)

    @property
    def assets(self) -> tuple[str, ...]:
        """What a simulation's ledger calls its data: an account for each source, in their order."""
        rows = f" {json.dumps(self.rows, sort_keys=True)}" if self.rows else ""
        return tuple(f"{source}{rows}" for source in self.sources)


class PublicSettings(Strict):
    """The public corpus, for the vocabulary and the warm start.

    Code that also stands in an organization whose source is known is taken out of it first.

    Attributes:
        source: ``stdlib``, ``stdlib+tests``, ``package:NAME``, ``wheel:FILE`` or ``path:DIR``; or
            ``start``: it lies in the files that training starts from.
        max_tokens: as of an organization.
    """

    source: Annotated[
        str,
        formed(
            r"^(start|stdlib|stdlib\+tests|(package|wheel|path):.+)$",
            "stdlib, stdlib+tests, path:DIR, package:NAME, wheel:FILE or start",
        ),
    ] = "stdlib"
    max_tokens: Count | None = None


class Federation(Strict):
    """The whole file.

    Attributes:
        heldout_every: one file in so many of every member is held out for measuring; none where
            labels are of history (see ``heldout``).
        columns: of the tables that are sources.
        threads: of each worker process; part of what makes a run repeatable.
        filters: of a simulation: what no organization trains on, or is measured on. An agent has
            its own.
        data_tests: of a simulation: when members' data may not be trained on. An agent has its own.
    """

    name: Name
    purpose: Purpose = "research"
    seed: Seed = 1
    threads: Count = 1
    heldout_every: Annotated[int, Field(ge=2, strict=True)] = 20
    privacy: PrivacySettings = PrivacySettings()
    aggregation: AggregationSettings = AggregationSettings()
    public: PublicSettings = PublicSettings()
    labels: LabelSettings = InjectedLabels()
    columns: TableColumns = TableColumns()
    filters: FilterSettings = FilterSettings()
    data_tests: SimulatedDataTests = SimulatedDataTests()
    tasks: tuple[TaskSettings, ...]
    organizations: tuple[OrganizationSettings, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("organization", [o.name for o in self.organizations]),
            ("task", [t.name for t in self.tasks]),
        ):
            twice = {n for n in names if names.count(n) > 1}
            if twice:
                raise ValueError(f"{what} {min(twice)} is named twice")
        if any(o.name == COORDINATOR for o in self.members):
            raise ValueError("an organization that trains cannot be called coordinator")
        if not self.tasks:
            raise ValueError("there is no task")
        for number, task in enumerate(self.tasks):
            before = [t.name for t in self.tasks[:number]]
            if task.continues is not None and task.continues not in before:
                raise ValueError(
                    f"{task.name} continues {task.continues}, which is no task before it"
                )
        if not self.members:
            raise ValueError("no organization has the role train")
        tables = [o.name for o in self.organizations if o.is_table]
        if tables and self.labels != TableLabelSettings(kind="table"):
            raise ValueError(f'{tables[0]} is a table: its labels are labels.kind = "table" alone')
        if tables and self.privacy.unit not in (PrivacyUnit.FUNCTION, PrivacyUnit.FILE):
            raise ValueError(f"{tables[0]} is a table: privacy.unit must be function or file")
        if self.labels.kind == "history":
            known = [o for o in self.organizations if o.source != OWN]
            bare = [(o, s) for o in known for s in o.sources if not s.startswith(HISTORIES)]
            if bare:
                (one, source), *_ = bare
                what = one.name if one.sources == (source,) else f"{source} of {one.name}"
                raise ValueError(f"{what} has no history to take labels from: name it as git:DIR")
        if sum(t.budget_share for t in self.tasks) > 1 + 1e-9:
            raise ValueError("the tasks' budget_share add up to more than 1")
        self.aggregation.check_members(len(self.members))
        if (self.aggregation.smallest_cohort or 0) > len(self.members):
            raise ValueError("aggregation.smallest_cohort is more than there are members")
        if self.aggregation.masked and self.aggregation.colluding >= len(self.members):
            raise ValueError("aggregation.colluding is more than there are other members")
        return self

    @property
    def heldout(self) -> int | None:
        """One file in so many is held out; None for none.

        Labels of history are never split at random: what was fixed together would stand on both
        sides. Measure on a later snapshot, or on another project.
        """
        return self.heldout_every if self.labels.kind == "injected" else None

    @property
    def members(self) -> tuple[OrganizationSettings, ...]:
        """The organizations that train, in the file's order."""
        return tuple(o for o in self.organizations if o.role == "train")

    def member(self, name: str) -> OrganizationSettings:
        """The organization ``name``, which trains.

        Raises:
            ConfigError: it does not, or is not there.
        """
        found = next((o for o in self.members if o.name == name), None)
        if found is None:
            members = ", ".join(o.name for o in self.members)
            raise ConfigError(f"{name} is no member of {self.name}", f"members: {members}")
        return found

    def task(self, name: str) -> TaskSettings:
        """The settings of the task ``name``.

        Raises:
            ConfigError: the federation has no such task.
        """
        found = next((t for t in self.tasks if t.name == name), None)
        if found is None:
            tasks = ", ".join(t.name for t in self.tasks)
            raise ConfigError(f"{self.name} has no task {name}", f"tasks: {tasks}")
        return found

    def check_sources(self) -> None:
        """Whether all code of the federation can be read here.

        Raises:
            ConfigError: an organization's, or the public corpus, lies elsewhere.
        """
        own = next((o.name for o in self.organizations if o.source == OWN), None)
        if own is not None:
            raise ConfigError(
                f"only its own agent knows where the code of {own} lies",
                f"to have it read here, give {own} a source, as git:DIR or path:DIR",
            )
        self.check_public()

    def check_public(self) -> None:
        """Whether the public corpus can be read here.

        Raises:
            ConfigError: it lies in the start files.
        """
        if self.public.source == STARTED:
            raise ConfigError(
                "the public corpus lies in the start files alone", "give public.source, as stdlib"
            )

    def published(self) -> Federation:
        """The same settings without what is its owner's: what all parties may know.

        No member's source or its size stays, and no path of this machine.
        """

        def of(organization: OrganizationSettings) -> OrganizationSettings:
            if organization.role == "train":
                return organization.model_copy(
                    update={"source": OWN, "rows": {}, "max_tokens": None}
                )
            if any(source.startswith(_HERE) for source in organization.sources):
                return organization.model_copy(update={"source": OWN, "rows": {}})
            return organization

        labels = self.labels
        if isinstance(labels, TableLabelSettings) and labels.table is not None:
            labels = labels.model_copy(update={"table": None, "rows": {}})
        elif isinstance(labels, HistoryLabelSettings):
            labels = labels.model_copy(update={"fixes": FixSettings()})
        public = self.public
        if public.source.startswith(_HERE):
            public = public.model_copy(update={"source": STARTED})
        organizations = tuple(of(o) for o in self.organizations)
        return self.model_copy(
            update={
                "public": public,
                "labels": labels,
                "data_tests": SimulatedDataTests(),
                "organizations": organizations,
            }
        )

    def check_labels(self) -> None:
        """Whether every member can make the labels by itself, without this file's paths.

        Raises:
            ConfigError: they lie in a table of this machine.
        """
        if self.labels.kind == "table":
            raise ConfigError(
                "labels of a table are for simulations: members do not have it",
                'run it with fedcode simulate, or set labels.kind = "injected"',
            )
        if self.labels.kind == "history" and self.labels.fixes != FixSettings():
            raise ConfigError(
                "labels.fixes is for simulations: members have words and trackers of their own",
                "leave it out; client.toml has a table [fixes]",
            )

    def check_beginnings(self, what: str) -> None:
        """Whether all tasks start from public code alone, as ``what`` needs it.

        Raises:
            ConfigError: one continues another.
        """
        one = next((t for t in self.tasks if t.continues is not None), None)
        if one is not None:
            raise ConfigError(
                f"{one.name} continues {one.continues}, whose weights {what} does not know",
                "run it with fedcode simulate, or leave continues out",
            )

    def cap(self, organization: OrganizationSettings) -> float:
        """The ε that ``organization`` may spend: the lower of its own and the federation's."""
        return min(self.privacy.epsilon, organization.epsilon or self.privacy.epsilon)


def parse(text: str, name: str = "federation") -> Federation:
    """Reads a federation from TOML.

    Raises:
        ConfigError: what is wrong, in one line, with the key's place.
    """
    return parsed(Federation, text, name)


def check(values: Mapping[str, Any], name: str = "federation") -> Federation:
    """A federation from plain values (as ``manifest.json`` stores them)."""
    return checked(Federation, values, name)


def load(path: Path) -> Federation:
    """Reads a federation from a file; what it names on this machine is relative to it."""
    federation = parse(read(path), str(path))
    source = anchored(federation.public.source, path.parent)
    public = federation.public.model_copy(update={"source": source})
    labels = federation.labels
    if isinstance(labels, TableLabelSettings) and labels.table is not None:
        table = str((path.parent / labels.table).resolve())
        labels = labels.model_copy(update={"table": table})
    if isinstance(labels, HistoryLabelSettings) and labels.fixes.tracker is not None:
        tracker = str((path.parent / labels.fixes.tracker).resolve())
        fixes = labels.fixes.model_copy(update={"tracker": tracker})
        labels = labels.model_copy(update={"fixes": fixes})
    return federation.model_copy(
        update={
            "public": public,
            "labels": labels,
            "organizations": tuple(_at(o, path) for o in federation.organizations),
        }
    )


def anchored(source: str, folder: Path) -> str:
    """``source``, with a path taken relative to ``folder``."""
    scheme, _, rest = source.partition(":")
    return f"{scheme}:{(folder / rest).resolve()}" if source.startswith(_HERE) else source


def _at(organization: OrganizationSettings, file: Path) -> OrganizationSettings:
    """``organization`` as ``file`` names it.

    Raises:
        ConfigError: it names one place in two ways.
    """
    sources = tuple(anchored(source, file.parent) for source in organization.sources)
    try:
        check_distinct(sources)
    except ValueError as error:
        said = f"{file}: source of {organization.name}: {error}"
        raise ConfigError(said, "name each source once") from error
    source = sources[0] if isinstance(organization.source, str) else sources
    return organization.model_copy(update={"source": source})
