# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The card of our data: what there is, whose it is, and what depends on it. It stays with us."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedcode.corpus import described
from fedcode.corpus.filters.licences import FILTER as LICENCES
from fedcode.errors import CorpusError
from fedcode.privacy.accountant import epsilon
from fedcode.privacy.ledger import BudgetLedger, Charge
from fedcode.record import Corpus, PrivacyUnit, population
from fedcode_client.data import Acceptance, Snapshot, Snapshots
from fedcode_client.home import Home
from fedcode_client.ours import Ours, account_of

SCHEMA = "fedcode/data-card/1"


def card(
    home: Home,
    name: str,
    ours: Ours,
    snapshots: Snapshots,
    ledger: BudgetLedger | None,
    max_tokens: int | None,
) -> dict[str, Any]:
    """What ``data-card.json`` holds; docs/data.md says what every field means.

    Args:
        home: our folder.
        name: ours.
        ours: our code.
        snapshots: what was tested and accepted.
        ledger: ours, if there is one.
        max_tokens: that were read at most.

    Raises:
        CorpusError: the source is not there any more.
    """
    runs, sources = _runs(home), list[dict[str, Any]]()
    for one in ours.apart():
        asset = account_of(one.source)
        sources.append(
            _described(one, asset, max_tokens)
            | _tested(one, asset, snapshots)
            | _used(ledger, asset, runs)
        )
    known = {one["asset"] for one in sources}
    sources += [
        {"source": None, "asset": account.asset} | _used(ledger, account.asset, runs)
        for account in (ledger.accounts() if ledger else ())
        if account.asset not in known
    ]
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "organization": name,
        "private": True,
        "sources": sources,
    }


def _described(ours: Ours, asset: str | None, max_tokens: int | None) -> dict[str, Any]:
    """What was read."""
    corpus, near = ours.corpus, ours.distinct()
    languages = described.by_language(corpus)
    authors = None
    with suppress(CorpusError):  # no history says who wrote it
        authors = population(ours.owned(PrivacyUnit.AUTHOR).stream(), PrivacyUnit.AUTHOR)
    gaps = list(described.NEVER_READ)
    if max_tokens is not None:
        gaps.append(f"no more than {max_tokens:,} tokens are read (max_tokens)")
    if near.duplicates:
        gaps.append(
            f"records that equal another one, or are near one, are left out: {near.duplicates:,}"
        )
    if any(not one.language for one in languages):
        gaps.append("of some records no language is known")
    return {
        "source": ours.source,
        "asset": asset,
        "revision": described.revision_of(ours.source),
        "fingerprint": corpus.fingerprint,
        "authors": authors,
        "licences": described.licences(corpus, ours.source),
        "files": sum(1 for _ in corpus),
        "records": sum(one.records for one in languages),
        "lines": sum(one.lines for one in languages),
        "tokens": corpus.lexer_tokens,
        "languages": [asdict(one) for one in languages],
        "filters": {
            "taken": near.taken_by(),
            "refused": _refused(corpus),
            "off": list(ours.screen.settings.off()),
        },
        "gaps": gaps,
        "skipped": described.skipped(corpus),
    }


def _refused(corpus: Corpus) -> dict[str, int]:
    """Files by the licence for which they are not trained on."""
    found = Counter(one.reason for one in corpus.taken if one.filter == LICENCES)
    return dict(sorted(found.items()))


def _tested(ours: Ours, asset: str | None, snapshots: Snapshots) -> dict[str, Any]:
    """What tests found of this source, and what was accepted."""
    account = asset or ours.source
    latest = [one for one in snapshots.latest() if account in one.subject.assets]
    keys = {one.subject.key for one in latest}
    accepted = [one for one in snapshots.acceptances() if one.subject in keys]
    return {
        "data_tests": [_snapshot(one, snapshots) for one in latest],
        "acceptances": [_acceptance(one) for one in accepted],
    }


def _snapshot(one: Snapshot, snapshots: Snapshots) -> dict[str, Any]:
    profile = one.profile
    return {
        "time": _moment(one.time),
        "digest": one.digest,
        "labels": json.loads(one.subject.labels)["kind"] if one.subject.labels else None,
        "records": profile.records,
        "defective": profile.defective,
        "sound": profile.sound,
        "unlabelled": profile.unlabelled,
        "outcomes": [outcome.plain() for outcome in one.outcomes],
        "not_accepted": list(snapshots.missing(one)),
    }


def _acceptance(one: Acceptance) -> dict[str, Any]:
    said = one.plain()
    del said["profile"], said["subject"]
    return said | {"time": _moment(one.time)}


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _runs(home: Home) -> dict[str, str]:
    """The run of each agreement that we have said yes to, by digest."""
    found: dict[str, str] = {}
    for path in sorted((home.state / "agreements").glob("*/answer.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        found |= dict.fromkeys(said["agreements"], path.parent.name)
    return found


def _used(ledger: BudgetLedger | None, asset: str | None, runs: dict[str, str]) -> dict[str, Any]:
    """Which agreements were charged to an account, and what was spent."""
    if ledger is None or asset is None or ledger.account(asset) is None:
        return {"used_by": [], "epsilon": 0.0, "delta": None}
    by_agreement: dict[str, list[Charge]] = {}
    for charge in ledger.history(asset):
        if charge.state != "REFUNDED":
            by_agreement.setdefault(charge.agreement, []).append(charge)
    used = [_agreement(digest, runs.get(digest), some) for digest, some in by_agreement.items()]
    account = ledger.account(asset)
    delta = None if account is None else account.budget.delta
    return {"used_by": used, "epsilon": ledger.epsilon(asset), "delta": delta}


def _agreement(digest: str, run: str | None, charges: list[Charge]) -> dict[str, Any]:
    steps: dict[tuple[float, float], int] = {}
    for one in charges:
        step = (one.noise_multiplier, one.sampling_rate)
        steps[step] = steps.get(step, 0) + one.steps
    return {
        "run": run,
        "agreement": digest,
        "task": charges[0].task,
        "purpose": charges[0].purpose,
        "rounds": len({one.round for one in charges}),
        "first": charges[0].time,
        "last": charges[-1].time,
        "epsilon": epsilon(steps, charges[0].delta),
    }


def write(found: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Writes ``data-card.html`` and ``data-card.json``, for us alone; returns both paths."""
    from fedcode.report.card import render
    from fedcode.storage import write_atomically, write_json

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    page, plain = folder / "data-card.html", folder / "data-card.json"
    write_atomically(page, render(found).encode())
    write_json(plain, found)
    return page, plain
