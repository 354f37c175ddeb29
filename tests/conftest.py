# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the modules that several tests share importable by name."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent / name) for name in ("federation", "unit")]
