# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a coordinator's folder and process are as they should be, check by check."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedcode.certificates import hosts_of, load_certificate
from fedcode.checks import Check, examined, private, room
from fedcode_server.registry import Registry
from fedcode_server.settings import Home

_SECONDS = 5.0


def examine(home: Home) -> Iterator[Check]:
    """All checks."""
    yield from examined((_settings, _keys, _certificate, _disk, _members), home)
    yield from _process(home)


def _settings(home: Home) -> Check:
    found = home.settings()
    return Check(f"server.toml: {found.federation}, under {', '.join(found.hosts)}", True)


def _keys(home: Home) -> Check:
    home.authority()
    home.signing_key()
    return private(home.keys.glob("*.key"))


def _certificate(home: Home) -> Check:
    made = load_certificate(home.keys / "server.crt")
    days = (made.not_valid_after_utc - datetime.now(UTC)).days
    others = set(home.settings().hosts) ^ hosts_of(made)
    if days < 0 or others:
        return Check("the server's certificate is not good", False, "start `up` again: it is made")
    return Check(f"the server's certificate: good for {days} days", True)


def _disk(home: Home) -> Check:
    return room(home.root, "messages lie there: make room")


def _members(home: Home) -> Check:
    with Registry.open(home.registry) as registry:
        known = registry.members()
    waiting = [one.name for one in known if one.state == "pending"]
    approved = sum(one.state == "approved" for one in known)
    if waiting:
        names = " ".join(waiting)
        return Check(f"{names} wait for approval", False, f"fedcode-server approve {names}")
    return Check(f"{approved} approved members", True)


def health(home: Home) -> dict[str, Any] | None:
    """What the coordinator's process says of itself, if it is up and well."""
    try:
        url = f"http://127.0.0.1:{home.settings().listen.local}/health"
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return None
    return found


def _process(home: Home) -> Iterator[Check]:
    listen, found = home.settings().listen, health(home)
    if found is None:
        yield Check("it is not up, or not healthy", False, "fedcode-server up; see log/server.log")
        return
    there = ", ".join(found["online"]) or "nobody"
    yield Check(f"it is up; online: {there}", True)
    for name, port in (("enrolment", listen.enrolment), ("rounds", listen.fleet)):
        yield _refuses(name, listen.address, port, home.keys / "ca.crt")


def _refuses(name: str, address: str, port: int, authority: Path) -> Check:
    """Whether nobody gets in without a certificate."""
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False
    host = "127.0.0.1" if address in ("0.0.0.0", "::") else address  # noqa: S104
    try:
        with (
            socket.create_connection((host, port), _SECONDS) as plain,
            context.wrap_socket(plain) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            answered = bool(secure.recv(1))
    except ssl.SSLError:
        answered = False
    except OSError:
        return Check(f"{name}: no answer at port {port}", False, "is another program there?")
    if answered:
        return Check(f"{name}: answers without a certificate", False, "is a proxy in between?")
    return Check(f"{name}: asks for a certificate at port {port}", True)
