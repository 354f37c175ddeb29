# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A run's certificate: what an organization's officer signs of what its ledger has charged."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedcode.agreement import Agreement
from fedcode.errors import ConfigError
from fedcode.privacy.accountant import epsilon, epsilon_of_sums
from fedcode.privacy.assumptions import ADJACENCY, SHOWN, STOPS, assumptions
from fedcode.record import PrivacyUnit
from fedcode.rounds.verification import read, shown
from fedcode.signing import SigningKey, canonical, signed
from fedcode_client.budget.totals import AccountTotals

SCHEMA = "fedcode/certificate/1"
DOMAIN = "fedcode/certificate/1"
TRANSCRIPT = "transcript.jsonl"
_LARGEST_AUDIT = 16 << 20
_HINT = "name a file that `fedcode-client certificate` has written"


@dataclass(frozen=True, slots=True)
class Records:
    """What the organization itself has of a run.

    Attributes:
        run: its name.
        agreements: of its tasks.
        transcript: signed confirmations of who survived; None where nobody kept any.
    """

    run: str
    agreements: tuple[Agreement, ...]
    transcript: Path | None

    @classmethod
    def load(cls, folder: Path, transcript: Path | None = None) -> Records:
        """Reads ``agreement-TASK.json`` of every task, and ``transcript.jsonl`` if it is there.

        Raises:
            ConfigError: there is no agreement, or a file is not what it should be.
        """
        found = tuple(read(path).agreement for path in sorted(folder.glob("agreement-*.json")))
        if not found:
            raise ConfigError(
                f"{folder} holds no agreement", "name a run that the organization has a part in"
            )
        if len({(one.unit, one.delta) for one in found}) > 1:
            raise ConfigError(f"the agreements in {folder} are not of one run")
        own = folder / TRANSCRIPT
        return cls(folder.name, found, transcript or (own if own.exists() else None))


@dataclass(frozen=True, slots=True)
class _Charged:
    """A charge that was not given back.

    Attributes:
        step: noise multiplier and sampling rate.
        left: its message was kept, so that it may have left.
    """

    round: int
    step: tuple[float, float]
    steps: int
    left: bool


def document(
    records: Records,
    member: str,
    accounts: Sequence[AccountTotals],
    rows: Iterable[str],
    head: str,
    *,
    audits: Sequence[Path] = (),
    now: datetime | None = None,
) -> dict[str, Any]:
    """What is to be signed.

    Args:
        records: of the run.
        member: our name in its roster.
        accounts: that were charged; a release that several paid for counts once.
        rows: of the ledger, as it exports them, up to ``head``.
        head: of the ledger.
        audits: files of ``fedcode audit`` that belong to the run.
        now: the time.

    Raises:
        ConfigError: nothing was charged for the run, or an audit cannot be read.
    """
    charges = _charges(rows, {one.asset for one in accounts})
    every = [charges.get(agreed.digest(), []) for agreed in records.agreements]
    if not any(every):
        raise ConfigError(f"nothing was charged for {records.run}", "is this its ledger?")
    parts = [
        _part(a, records, member, own) for a, own in zip(records.agreements, every, strict=True)
    ]
    first = records.agreements[0]
    return {
        "schema": SCHEMA,
        "organization": accounts[0].organization,
        "member": member,
        "run": records.run,
        "federation": first.federation,
        "issued": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "unit": first.unit,
        "adjacency": ADJACENCY,
        "delta": first.delta,
        "accountant": {"shown": SHOWN, "stops": STOPS},
        "epsilon_local": _local([one for own in every for one in own], first.delta),
        "agreements": parts,
        "accounts": [
            {
                "asset": one.asset,
                "order": one.order,
                "delta": one.delta,
                "epsilon_cap": one.epsilon_cap,
                "epsilon_spent": one.epsilon_spent,
            }
            for one in accounts
        ],
        "assumptions": list(assumptions(PrivacyUnit(first.unit))),
        "audits": [_audit(path) for path in audits],
        "ledger_head": head,
    }


def sign(values: dict[str, Any], officer: str, key: SigningKey) -> dict[str, Any]:
    """The certificate: ``values`` and an officer's signature."""
    return {
        "certificate": values,
        "officer": officer,
        "key": key.public,
        "signature": key.sign(DOMAIN, _content(values, officer)),
    }


def verify(path: Path) -> dict[str, Any]:
    """The certificate in a file, if its signature is its key's.

    Raises:
        ConfigError: it is none, or it was changed.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        values, officer = found["certificate"], found["officer"]
        key, signature = str(found["key"]), str(found["signature"])
        data = _content(values, officer)
        known = values["schema"] == SCHEMA
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a certificate", _HINT) from error
    if not known:
        raise ConfigError(f"{path} is a certificate of another version", _HINT)
    if not signed(key, signature, DOMAIN, data):
        raise ConfigError(f"{path} is not what its officer has signed", "ask for it again")
    return dict(found)


def _content(values: dict[str, Any], officer: str) -> bytes:
    return canonical({"certificate": values, "officer": officer})


def _charges(rows: Iterable[str], assets: Container[str]) -> dict[str, list[_Charged]]:
    """By agreement; what several accounts paid for is one charge."""
    reserved: dict[int, dict[str, Any]] = {}
    ended: dict[str, set[int]] = {"ARMED": set(), "REFUNDED": set()}
    for line in rows:
        row = json.loads(line)
        if row["asset"] not in assets or "of" in row["body"]:
            continue
        if row["kind"] == "RESERVED":
            reserved[row["seq"]] = row["body"]
        elif row["kind"] in ended:
            ended[row["kind"]].add(row["body"]["charge"])
    found: dict[str, list[_Charged]] = {}
    for seq, body in reserved.items():
        if seq not in ended["REFUNDED"]:
            step = (body["noise_multiplier"], body["sampling_rate"])
            charged = _Charged(body["round"], step, body["steps"], seq in ended["ARMED"])
            found.setdefault(body["agreement"], []).append(charged)
    return found


def _part(
    agreed: Agreement, records: Records, member: str, own: Sequence[_Charged]
) -> dict[str, Any]:
    proved = shown(records.transcript, agreed) if records.transcript else []
    sizes = {number: len(names) for number, names in proved if member in names}
    left = {one.round for one in own if one.left}
    return {
        "digest": agreed.digest(),
        "task": agreed.task,
        "purpose": agreed.purpose,
        "mode": agreed.aggregation.mode,
        "kind": agreed.training.kind,
        "noise_multiplier": agreed.noise_multiplier,
        "sampling_rate": agreed.training.sampling_rate,
        "steps_per_round": agreed.training.steps_per_round,
        "members": list(agreed.roster.names),
        "rounds": agreed.rounds,
        "rounds_charged": len({one.round for one in own}),
        "charges": len(own),
        "epsilon_local": _local(own, agreed.delta),
        "sums_proved": len(left & sizes.keys()),
        "sums_not_proved": len(left - sizes.keys()) if agreed.aggregation.masked else 0,
        "epsilon_release": _release(agreed, own, sizes),
    }


def _local(own: Sequence[_Charged], delta: float) -> float:
    steps: Counter[tuple[float, float]] = Counter()
    for one in own:
        steps[one.step] += one.steps
    return epsilon(steps, delta)


def _release(
    agreed: Agreement, own: Sequence[_Charged], sizes: dict[int, int]
) -> list[dict[str, float]] | None:
    """ε against whoever sees sums alone; None where no noises add up.

    All that may have left is taken to be in a sum. Of one whose survivors no signatures show us,
    there were as few as there can have been.
    """
    if not agreed.aggregation.masked or agreed.training.kind != "gradient-sum":
        return None
    sums: Counter[tuple[float, float, int]] = Counter()
    for one in own:
        if one.left:
            survivors = sizes.get(one.round, agreed.fewest_survivors)
            sums[(*one.step, survivors)] += one.steps
    return [
        {"colluding": c, "epsilon": epsilon_of_sums(sums, agreed.delta, c)}
        for c in range(agreed.aggregation.colluding + 1)
    ]


def _audit(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()[:_LARGEST_AUDIT]
        found = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as an audit", "name an audit.json") from error
    return {"file": path.name, "digest": hashlib.sha256(data).hexdigest(), "found": found}
