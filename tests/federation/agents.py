# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Three organizations with code and accounts of their own, and what they have signed, for tests."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from small import write_federation

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from officers import KEYS, policy

from fedcode.agreement import SignedAgreement
from fedcode.federation import Federation, load
from fedcode.identity import Roster
from fedcode.privacy.ledger import BudgetLedger
from fedcode.record import PrivacyUnit
from fedcode.signing import SigningKey
from fedcode.simulation.preparation import prepare
from fedcode.start import expected_agreement
from fedcode_client.ours import Ours, StartFiles

NAMES = ("alpha", "beta", "delta")


@dataclass(frozen=True)
class Run:
    """A run before its first round.

    Attributes:
        base: a folder with everybody's code, ``start`` and ``federation.toml``.
        whole: the federation as its file has it.
        federation: as it is published.
    """

    base: Path
    whole: Federation
    federation: Federation
    files: StartFiles
    keys: dict[str, SigningKey]
    signed: SignedAgreement
    ours: dict[str, Ours]


def made_run(base: Path, rounds: int, edits: Mapping[str, str] | None = None) -> Run:
    """All of it in ``base``; ``edits`` of the federation's file, by what they replace."""
    path = write_federation(base, rounds=rounds)
    text = path.read_text(encoding="utf-8")
    for old, new in (edits or {}).items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    whole = load(path)
    task = whole.tasks[0].name
    for number, name in enumerate(NAMES):
        (base / name / ".fedcode-asset").write_text(f"{number:032x}\n")
    prepare(whole, base / "start")
    federation = whole.published()
    files = StartFiles.load(base / "start", [task])
    keys = {name: SigningKey.generate() for name in (*NAMES, "coordinator")}
    members = tuple((name, keys[name].public) for name in NAMES)
    roster = Roster("small", 1, "", keys["coordinator"].public, members)
    expected = expected_agreement(federation, task, files.starts[task], roster)
    signed = SignedAgreement.unsigned(expected)
    for name in NAMES:
        signed = signed.sign(name, keys[name])
    ours = {name: Ours.read(name, [f"path:{base / name}"]) for name in NAMES}
    return Run(base, whole, federation, files, keys, signed, ours)


def ledgers(
    run: Run, order: float, *, epsilon: float = 8.0, unit: PrivacyUnit = PrivacyUnit.FUNCTION
) -> dict[str, BudgetLedger]:
    """Everybody's, with an account for its code under a policy that officers have signed."""
    permitted = {"tasks": ["completion", "defects", "ngram"]}
    signed = policy(*KEYS[:2], caps={"epsilon": epsilon}, delta=1e-3, permitted=permitted)
    found = {}
    for name in NAMES:
        found[name] = BudgetLedger.open(":memory:")
        found[name].open_account(run.ours[name].assets[0], policy=signed, unit=unit, order=order)
    return found
