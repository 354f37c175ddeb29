# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What has to be written down so that a run can be repeated."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from fedcode.federation import Federation

SCHEMA = "fedcode/manifest/1"


def manifest(federation: Federation, options: Mapping[str, Any], created: str) -> dict[str, Any]:
    """All that a run depends on, but for what is found out on the way.

    Args:
        federation: the full configuration, after the command line's changes.
        options: what else the command line asked for.
        created: UTC, ISO 8601.
    """
    return {
        "schema": SCHEMA,
        "created": created,
        "federation": federation.model_dump(mode="json"),
        "options": dict(options),
        "seed": federation.seed,
        "seeded_noise": options["private"],
        **surroundings(),
        "fingerprints": {},
        "weights": {},
    }


def surroundings() -> dict[str, Any]:
    """What every run depends on beside what it was asked: the command, machine and programs."""
    return {
        "command": ["fedcode", *sys.argv[1:]],
        "hardware": hardware(),
        "platform": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "fedcode": version("fedcode"),
        },
        "revision": revision(),
        "packages": packages(),
    }


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and accelerator."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def packages() -> dict[str, str]:
    """Every installed distribution and its version."""
    found = {d.metadata["Name"]: d.version for d in distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def revision() -> str | None:
    """The commit that the source code stands at, with ``+changes`` if files differ from it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        state = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+changes" if state.stdout.strip() else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
