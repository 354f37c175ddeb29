# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Fetches the pinned wheels of this example into ``wheels/``: no package code is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Runs pip, which checks every wheel against its hash."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "-r", str(HERE / "wheels.txt"), "-d", str(HERE / "wheels")]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
