# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What whoever operates the programs is promised: metrics, units, images."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fedcode_client.answering import Counts
from fedcode_client.up import Measured as OfAgent
from fedcode_server.metrics import Measured as OfCoordinator

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def served(registry: CollectorRegistry) -> set[str]:
    """The names under which Prometheus knows what a program counts."""
    types = re.findall(r"^# TYPE (\S+) \S+$", generate_latest(registry).decode(), re.MULTILINE)
    return {name for name in types if not name.endswith("_created")}


def agents() -> CollectorRegistry:
    answering = SimpleNamespace(agreements=(), counts=Counts())
    return OfAgent(SimpleNamespace(connected=True), answering).registry  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("whose", "registry"), [("coordinator", OfCoordinator().registry), ("agent", agents())]
)
def test_every_metric_is_described_and_no_other(whose: str, registry: CollectorRegistry) -> None:
    rows = re.findall(r"^\| `(fedcode_\w+)` \| (\w+) \|", OPERATIONS, re.MULTILINE)
    described = [name for name, of in rows if of == whose]
    assert len(described) == len(set(described))
    assert set(described) == served(registry)


def events() -> set[str]:
    """The fixed words of all events that a program logs."""
    found = set()
    for folder in ("fedcode", "server/fedcode_server", "client/fedcode_client"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r'\bevent\(\s*logger,\s*"([^"]+)"', text))
    return found


def test_every_event_is_described_and_no_other() -> None:
    table = OPERATIONS.partition("| event | fields |")[2]
    rows = re.findall(r"^\| ([a-z, ]+) \|", table, re.MULTILINE)
    assert {words for row in rows for words in row.split(", ")} == events()


# Images.


def instructions(path: Path) -> list[tuple[str, str]]:
    """A Containerfile's instructions, without comments and broken lines."""
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line[:1] != "#"]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in whole.split("\n") if line.strip())
    ]


SIDES = ("server", "client")


@pytest.mark.parametrize("side", SIDES)
def test_an_image_is_made_of_named_versions_and_runs_as_nobody_in_particular(side: str) -> None:
    found = instructions(ROOT / side / "Containerfile")
    values = defaultdict(list)
    for word, rest in found:
        values[word].append(rest)
    base = dict(one.split("=", 1) for one in values["ARG"])["BASE"]
    assert re.search(r":\d+\.\d+-|@sha256:", base)
    assert values["FROM"] == ["${BASE} AS build", "${BASE}"]
    assert values["USER"] == ["9470:9470"]
    words = [word for word, _ in found]
    assert "RUN" not in words[words.index("USER") :]
    assert any("--constraint constraints.txt" in one for one in values["RUN"])
    assert len(values["HEALTHCHECK"]) == 1
    assert "/health" in values["HEALTHCHECK"][0]
    assert json.loads(values["ENTRYPOINT"][0]) == [f"fedcode-{side}"]
    assert json.loads(values["CMD"][0]) == ["up"]


@pytest.mark.parametrize("side", SIDES)
def test_an_image_has_nothing_but_code_in_it(side: str) -> None:
    """Sources are named one by one, and the build sees no others."""
    found = instructions(ROOT / side / "Containerfile")
    assert "ADD" not in {word for word, _ in found}
    copied = {name for word, rest in found if word == "COPY" for name in rest.split()[:-1]}
    files = {"constraints.txt", "pyproject.toml", "README.md", "CHANGELOG.md"}
    assert copied == files | {"fedcode", side, "--from=build", "/opt/fedcode"}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    seen = {line[1:] for line in ignored if line[:1] == "!"}
    assert "*" in ignored
    assert seen == files | {"fedcode"} | {
        f"{each}/{name}"
        for each in SIDES
        for name in ("pyproject.toml", "README.md", f"fedcode_{each}")
    }
    assert all((ROOT / name).exists() for name in seen)


# Units.

UNITS = {
    "server/systemd/fedcode-server.service": "fedcode-server up",
    "client/systemd/fedcode-client.service": "fedcode-client up",
    "client/systemd/fedcode-budget.service": "fedcode-client budget serve",
}
HARD = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "ProtectProc": "invisible",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
    "StateDirectoryMode": "0700",
    "UMask": "0077",
}


def unit(name: str) -> dict[str, list[str]]:
    found = defaultdict(list)
    for line in (ROOT / name).read_text(encoding="utf-8").split("\n"):
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_gives_its_program_no_more_than_its_folder(name: str) -> None:
    found = unit(name)
    assert {key: found[key] for key in HARD} == {key: [value] for key, value in HARD.items()}
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged"]
    assert found["ReadWritePaths"] == [f"/var/lib/{found['StateDirectory'][0]}"]
    assert found["ExecStart"][0].startswith(f"/opt/fedcode/bin/{UNITS[name]}")
    writes_code = "MemoryDenyWriteExecute" not in found
    assert writes_code == (name == "client/systemd/fedcode-client.service")  # torch does


def test_the_ledger_has_another_user_than_the_agent() -> None:
    users = [unit(name)["User"][0] for name in UNITS]
    assert len(set(users)) == len(users)
    assert "root" not in users
