# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Noise, calibration, accounting, the ledger and the audits."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fedcode.privacy.accountant import epsilon
from fedcode.privacy.calibration import Plan, calibrate
from fedcode.privacy.noise import SecureGenerator
from fedcode.training.audit import step_audit
from tests.benchmarks.figure import Figure, at_least, at_most, seconds


def figures() -> list[Figure]:
    """The privacy core, one thread."""
    generator = SecureGenerator()
    drawn = 4_000_000 / seconds(lambda: generator.rounded_gaussian(4_000_000, 2.0**18))
    plans = [Plan(0.1, 20), Plan(0.05, 50, share=0.5)]
    halves = [Plan(p.sampling_rate, p.rounds, share=0.5) for p in plans]
    steps = iter(range(1, 10_000))  # no two calls alike: nothing comes from a cache
    calibration = seconds(lambda: calibrate(8.0 + next(steps) / 100, 1e-5, halves))
    shown = seconds(lambda: epsilon({(0.9, 0.1): next(steps)}, 1e-5), 9)
    audited = seconds(lambda: step_audit(10_000), 1)
    return [
        at_most("privacy", "step audit of 10,000 trials", audited, "s", 60),
        at_least("privacy", "Gaussian noise on the lattice", drawn / 1e6, "M samples/s", 20),
        at_most("privacy", "calibration of two tasks", calibration, "s", 1.0),
        Figure("privacy", "epsilon shown, once per round", shown, "s"),
        *_audits(),
    ]


def _audits() -> list[Figure]:
    """The built-in federation's run, audited."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(sys.executable).parent / "fedcode")
        out = f"{folder}/demo"
        subprocess.run([program, "simulate", "--out", out], capture_output=True, check=True)
        done = subprocess.run(
            [program, "audit", out, "--json"], capture_output=True, text=True, check=True
        )
    found = json.loads(done.stdout)
    figures = [Figure("privacy", "audit of the built-in federation", found["seconds"], "s")]
    for task in found["tasks"]:
        name, one = f"one-run audit, {task['name']}", task["one_run"]
        figures.append(Figure("privacy", name, task["seconds"], "s"))
        figures.append(at_most("privacy", f"{name}: found", one["found"], "ε", one["claimed"]))
        could = at_least("privacy", f"{name}: findable", one["detectable"], "ε", one["claimed"])
        figures.append(could)
    return figures
