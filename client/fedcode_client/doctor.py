# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an organization's side is as it should be, check by check, each with a hint."""

from __future__ import annotations

import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from fedcode.certificates import load_certificate
from fedcode.checks import Check, examined, private, room
from fedcode.corpus import asset_of, check_apart
from fedcode.federation import anchored
from fedcode.privacy.ledger import BudgetLedger
from fedcode.services.enrollment_pb2_grpc import EnrollmentStub
from fedcode_client import witness
from fedcode_client.connection import asking, connect
from fedcode_client.data import Snapshots
from fedcode_client.home import Home
from fedcode_client.joining import standing
from fedcode_client.offers import Desk

APART = 5.0
"""Seconds; the coordinator's Flower takes no signature that is further ahead of its clock."""

_SECONDS = 5.0


def examine(home: Home) -> Iterator[Check]:
    """All checks."""
    of_us = (_settings, _keys, _certificate, _standing, _clock)
    looks = (*of_us, _source, _account, _data, _ledger, _offers, _agent, _disk)
    return examined(looks, home)


def _settings(home: Home) -> Check:
    home.settings()
    return Check(f"{home.toml} can be read", True)


def _keys(home: Home) -> Check:
    home.signing_key(), home.node_key(), home.tls_key()
    return private(home.root.rglob("*.key"))


def _certificate(home: Home) -> Check:
    member = home.membership()
    days = (load_certificate(home.certificate).not_valid_after_utc - datetime.now(UTC)).days
    if days < 0:
        return Check(
            "our certificate has expired", False, f"fedcode-server renew {member.member}, there"
        )
    return Check(f"our certificate: good for {days} days; `up` renews it", True)


def _standing(home: Home) -> Check:
    member = home.membership()
    found = standing(home)
    if found.state != "approved":
        return Check(
            f"the coordinator at {member.host} has us as {found.state}",
            False,
            f"fedcode-server approve {member.member}, there",
        )
    return Check(f"the coordinator at {member.host} knows us as {found.member}, approved", True)


def _clock(home: Home) -> Check:
    before = time.time()
    theirs = standing(home).clock / 1000
    return apart(before - theirs, time.time() - theirs)


def apart(least: float, most: float) -> Check:
    """Of two clocks: ours is at least and at most so many seconds ahead of the coordinator's."""
    nearest = least if least > 0 else min(most, 0.0)
    if abs(nearest) <= APART:
        return Check("our clock is the coordinator's, within some seconds", True)
    word = "ahead of" if nearest > 0 else "behind"
    return Check(
        f"our clock is {abs(nearest):,.0f} s {word} the coordinator's",
        False,
        "set both by a time server: requests that seem to be from another time are refused",
    )


def _source(home: Home) -> Check:
    sources = home.sources()
    if not sources:
        return Check("client.toml names no source", False, 'write source = "git:DIR" there')
    check_apart(sources)
    said = [f"{source}, account {asset_of(source)}" for source in sources]
    return Check(f"{'source' if len(said) == 1 else 'sources'}: {'; '.join(said)}", True)


def _account(home: Home) -> Check:
    settings = home.settings()
    if settings.budget is not None:
        return Check(f"the budget service is at {settings.budget}", True)
    path = home.ledger / "ledger.sqlite"
    sources = home.sources()
    if not sources or not path.exists():
        return Check("there is no account yet", False, _creating(home, sources))
    with BudgetLedger.open(path, read_only=True) as ledger:
        found = {source: ledger.account(asset_of(source)) for source in sources}
    missing = [source for source, account in found.items() if account is None]
    if missing:
        what = "our code has" if len(missing) == len(sources) else f"{', '.join(missing)}:"
        return Check(f"{what} no account", False, _creating(home, missing))
    caps = dict.fromkeys(
        f"ε ≤ {one.budget.epsilon:g} for a {one.unit}" for one in found.values() if one
    )
    return Check(f"{'account' if len(found) == 1 else 'accounts'}: {', '.join(caps)}", True)


def _data(home: Home) -> Check:
    """Whether what was tested last may be trained on."""
    snapshots = Snapshots(home.data, home.settings().data_tests, noting=False)
    latest = snapshots.latest()
    if not latest:
        return Check("our data was not tested yet: `fedcode-client data RUN` does", True)
    waiting = sorted({str(test) for one in latest for test in snapshots.missing(one)})
    if waiting:
        what = f"our data fails {', '.join(waiting)}: no round trains on it until it is accepted"
        return Check(what, False, "fedcode-client data, and then fedcode-client accept-data")
    return Check("our data passed its tests, or was accepted", True)


def _ledger(home: Home) -> Check:
    """Whether its rows chain, and it has what the coordinator has countersigned."""
    path = home.ledger / "ledger.sqlite"
    if home.settings().budget is not None or not path.exists():
        return Check("the ledger is not here: nothing to check of it", True)
    member = home.membership()
    with BudgetLedger.open(path, read_only=True) as ledger:
        rows = ledger.verify()
        with connect(home) as opened, asking(member.address):
            witness.check(ledger, EnrollmentStub(opened), member.coordinator)
    return Check(f"the ledger: {rows:,} rows in order, no countersigned head is missing", True)


def _creating(home: Home, sources: Sequence[str]) -> str:
    named = sources or [anchored("path:DIR", home.root)]
    words = ["fedcode-client", "budget", "create", *named, "--policy", "POLICY.toml"]
    return shlex.join([*words, "--unit", "function", "--home", str(home.root)])


def _offers(home: Home) -> Check:
    desk = Desk(home)
    found, accepted = desk.offers(only_open=True), desk.accepted()
    waiting = [o.run for o in found if o.state == "offered" and o.run not in accepted]
    if waiting:
        hint = f"fedcode-client accept {waiting[0]}"
        return Check(f"{', '.join(waiting)} waits for us", False, hint)
    return Check("no offer waits for an answer of ours", True)


def _agent(home: Home) -> Check:
    found = health(home)
    if found is None:
        return Check("the agent is not up", False, "fedcode-client up")
    if not found["ok"]:
        return Check("the agent does not reach the coordinator", False, "see log/client.log")
    return Check(f"the agent is up, in {len(found['agreements'])} agreements", True)


def health(home: Home) -> dict[str, Any] | None:
    """What our agent says of itself, if it is up."""
    try:
        port = int((home.state / "local").read_text(encoding="ascii"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        found = json.load(error)
    except (OSError, ValueError):
        return None
    return found


def _disk(home: Home) -> Check:
    return room(home.root.resolve(), "make room")
