# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What `make proto` writes is what is there."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "fedcode" / "services"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proto")
    protos = sorted(str(path.relative_to(ROOT)) for path in SERVICES.glob("*.proto"))
    outs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", "-I.", *outs, *protos],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    return folder / "fedcode" / "services"


def test_the_services_are_what_their_protos_say(written) -> None:
    made = {path.name: path.read_text() for path in written.iterdir()}
    there = {path.name: path.read_text() for path in SERVICES.glob("*_pb2*") if path.is_file()}
    assert sorted(there) == sorted(made)
    for name, text in made.items():
        assert there[name] == text, f"{name}: run `make proto`"
