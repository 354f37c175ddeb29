# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the modules that several tests share importable by name, and draws examples steadily."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path += [str(Path(__file__).parent / name) for name in ("federation", "unit")]

# A change fails for what it does, not by luck; `make test-slow` draws other examples each time.
settings.register_profile("steady", derandomize=True, database=None)
settings.register_profile("searching", derandomize=False, print_blob=True)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def checked_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the type checker keeps what it has seen: libraries are read once in a run."""
    return tmp_path_factory.mktemp("types")
