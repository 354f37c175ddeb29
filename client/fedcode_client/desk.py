# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization's people look at before they say yes, and afterwards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedcode.budgets import calibrated, permitted_rounds
from fedcode.corpus import asset_of, named
from fedcode.corpus import register as registered
from fedcode.errors import CorpusError
from fedcode.federation import Federation
from fedcode.privacy.accountant import epsilon
from fedcode.privacy.ledger import BudgetLedger, Ledger
from fedcode.privacy.policy import check_population
from fedcode.record import Corpus, PrivacyUnit, population
from fedcode.storage import write_atomically
from fedcode_client.ours import Ours, StartFiles, account_of


@dataclass(frozen=True, slots=True)
class TaskPreview:
    """One task, as it would be for this organization.

    Attributes:
        task: its name.
        rounds: that the federation plans.
        rounds_affordable: that the federation's cap for us permits, of this task's share.
        expected_batch: privacy units that a step looks at, on average.
        noise_multiplier: σ.
        epsilon: of all planned rounds (PLD).
        seconds: that a round's training would take here; None where it was not tried.
    """

    task: str
    rounds: int
    rounds_affordable: int
    expected_batch: float
    noise_multiplier: float
    epsilon: float
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be asked of an organization.

    Attributes:
        files: that were read.
        records: to train on.
        units: privacy units that they belong to.
        epsilon_cap: ours.
        epsilon: of all rounds of all tasks together (PLD).
        tasks: in the federation's order.
    """

    files: int
    records: int
    units: int
    epsilon_cap: float
    epsilon: float
    tasks: tuple[TaskPreview, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account of a ledger.

    Attributes:
        left: the unspent share of the budget of Rényi divergence, which stops training.
        seeded: it was opened for a simulation, whose noise can be drawn again.
    """

    asset: str
    organization: str
    unit: str
    epsilon_cap: float
    epsilon_spent: float
    delta: float
    charges: int
    left: float
    seeded: bool

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def asset(source: str, *, register: bool) -> str:
    """The account that pays for a source; a folder without history is named if asked for."""
    source = named(source)
    scheme, _, folder = source.partition(":")
    if register and scheme == "path":
        return registered(Path(folder))
    return asset_of(source)


def preview(
    federation: Federation,
    name: str,
    ours: Ours,
    files: StartFiles | None = None,
    memory_mib: int | None = None,
) -> Preview:
    """What the federation would ask of our code. Nothing is charged, kept or sent.

    Args:
        federation: its settings.
        name: ours in it.
        ours: our code.
        files: what training starts from: only with them is it known how long it takes, and which of
            our code is public.
        memory_mib: for the tensors of a step.

    Raises:
        ConfigError: we are no member, or our data is too small for what is asked.
    """
    member = federation.member(name)
    unit, privacy = federation.privacy.unit, federation.privacy
    public = files.public if files else Corpus("public", ())
    train = ours.trained_on(federation, public)
    members = population(train.stream(), unit)
    calibration = calibrated(federation)
    permitted = permitted_rounds(federation, member, calibration)
    tasks: list[TaskPreview] = []
    steps: dict[tuple[float, float], int] = {}
    for task, noise in zip(federation.tasks, calibration.noise_multipliers, strict=True):
        training = task.training
        check_population(members, privacy.delta, training.sampling_rate, unit)
        step, taken = (noise, training.sampling_rate), task.rounds * training.steps_per_round
        steps[step] = steps.get(step, 0) + taken
        tasks.append(
            TaskPreview(
                task.name,
                task.rounds,
                permitted[task.name],
                members * training.sampling_rate,
                noise,
                epsilon({step: taken}, privacy.delta),
                _round_seconds(federation, task.name, files, ours, noise, memory_mib),
            )
        )
    return Preview(
        len(ours.corpus.files),
        sum(1 for _ in train.stream()),
        members,
        federation.cap(member),
        epsilon(steps, federation.privacy.delta),
        tuple(tasks),
    )


def _round_seconds(
    federation: Federation,
    task: str,
    files: StartFiles | None,
    ours: Ours,
    noise: float,
    memory_mib: int | None,
) -> float | None:
    if files is None:
        return None
    from fedcode_client.training import round_seconds

    return round_seconds(federation, task, files, ours, noise, memory_mib=memory_mib)


@dataclass(frozen=True, slots=True)
class Ingested:
    """What was found in a source.

    Attributes:
        functions: records that are functions.
        commits: records that are commits.
        tokens: lexer tokens.
        skipped: path and reason of every file that was not read as a whole.
        units: how many of each privacy unit there are; without those that the source does not say.
        asset: the account that pays for it; None for a folder that is not registered.
        account: whether the ledger has it; None where there is no ledger.
        taken: how much each filter took.
        filters_off: filters that are switched off.
        report: the file that lists all that was taken.
    """

    source: str
    files: int
    functions: int
    commits: int
    records: int
    tokens: int
    skipped: tuple[tuple[str, str], ...]
    units: Mapping[str, int]
    asset: str | None
    account: bool | None
    taken: Mapping[str, int]
    filters_off: tuple[str, ...]
    report: str

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def ingest(ours: Ours, ledger: Ledger | None, report: Path, *, more: bool = False) -> Ingested:
    """What ``ours`` holds, as it was read, and whose account would pay for it.

    Args:
        ours: our code, of one source.
        ledger: ours, if there is one.
        report: a file to list in what filters took, a line of JSON each.
        more: whether what the file holds is another source's, and stays.
    """
    corpus = ours.corpus
    near = ours.distinct()
    told = ({"source": ours.source, **asdict(one)} for one in near.taken)
    lines = [json.dumps(one, sort_keys=True) + "\n" for one in told]
    before = report.read_bytes() if more else b""
    write_atomically(report, before + "".join(lines).encode())
    kinds, paths, tokens = Counter[str](), set[str](), 0
    for file in corpus:  # once: its files may lie in a store
        kinds.update(record.kind for record in file.records)
        paths.update(record.path for record in file.records)
        tokens += len(file.tokens)
    counted = {str(PrivacyUnit.FUNCTION): kinds.total(), str(PrivacyUnit.FILE): len(paths)}
    for unit in (PrivacyUnit.AUTHOR, PrivacyUnit.REPOSITORY):
        with suppress(CorpusError):  # authors are not known everywhere
            counted[str(unit)] = population(ours.owned(unit).stream(), unit)
    paying = account_of(ours.source)
    known = None
    if ledger is not None:
        known = paying is not None and ledger.account(paying) is not None
    return Ingested(
        ours.source,
        len(corpus.files),
        kinds["function"],
        kinds["commit"],
        kinds.total(),
        tokens,
        tuple((one.path, one.reason) for one in corpus.skipped),
        counted,
        paying,
        known,
        near.taken_by(),
        ours.screen.settings.off(),
        str(report),
    )


def accounts(ledger: BudgetLedger, units: int = 1) -> list[AccountRow]:
    """Every account of ``ledger``, in the order of opening; ε for the owner of so many units."""
    return [
        AccountRow(
            account.asset,
            account.organization,
            str(account.unit),
            account.budget.epsilon,
            ledger.epsilon(account.asset, units),
            account.budget.delta,
            ledger.charges(account.asset),
            ledger.remaining(account.asset) / max(1, account.budget.budget_nano),
            account.seeded,
        )
        for account in ledger.accounts()
    ]
