# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A federation of three small folders of made-up code, for tests."""

from __future__ import annotations

import random
from pathlib import Path

_VERBS = ("load", "store", "merge", "count", "check", "split", "order", "apply")
_NOUNS = ("row", "table", "path", "user", "item", "graph", "page", "token")


def write_code(folder: Path, seed: int, files: int = 5, functions: int = 10) -> None:
    """Functions that differ from one another, over several files."""
    draw = random.Random(seed)
    for number in range(files):
        lines = ["import os", ""]
        for one in range(functions):
            verb, noun, other = draw.choice(_VERBS), draw.choice(_NOUNS), draw.choice(_NOUNS)
            name = f"{verb}_{noun}_{seed}_{number}_{one}"
            lines += [
                f"def {name}({noun}, limit, start={draw.randint(0, 9)}):",
                f"    total = start + {draw.randint(1, 99)}",
                f"    for {other}_index in range(limit):",
                f"        if {noun}[{other}_index] > total and limit != start:",
                f"            total = total {draw.choice('+-*')} {noun}[{other}_index]",
                f"    return os.path.join(str(total), str({noun}))",
                "",
            ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module_{number}.py").write_text("\n".join(lines), encoding="utf-8")


def write_federation(folder: Path, *, rounds: int = 3, extra: str = "", task: str = "") -> Path:
    """A TOML of three members, one unseen organization and a public folder; returns its path."""
    for seed, name in enumerate(("alpha", "beta", "gamma", "public", "delta")):
        write_code(folder / name, seed, files=4 if name == "gamma" else 8)
    path = folder / "federation.toml"
    path.write_text(
        f"""
name = "small"
heldout_every = 3
{extra}
[privacy]
delta = 1e-3
[public]
source = "path:public"
[[tasks]]
name = "completion"
rounds = {rounds}
model = {{ vocabulary = 300, embedding = 8, hidden = 8, record_pieces = 32 }}
{task}
[tasks.training]
sampling_rate = 0.3
nominal_batch = 20
[tasks.server]
algorithm = "fedadam"
learning_rate = 0.01
[tasks.warm_start]
epochs = 0.5
batch = 4
[[organizations]]
name = "alpha"
source = "path:alpha"
[[organizations]]
name = "beta"
source = "path:beta"
[[organizations]]
name = "delta"
source = "path:delta"
[[organizations]]
name = "gamma"
source = "path:gamma"
role = "unseen"
""",
        encoding="utf-8",
    )
    return path
