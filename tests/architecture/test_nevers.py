# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What must never be: promises to the people whose source code is at stake."""

import ast
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fedcode

ROOT = Path(__file__).parents[2]
PACKAGES = ["fedcode", "server/fedcode_server", "client/fedcode_client"]
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if not path.stem.endswith(("_pb2", "_pb2_grpc"))  # written by protoc
)

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

sys.meta_path.insert(0, Missing())
"""
HEAVY = (
    "torch",
    "opacus",
    "tokenizers",
    "sklearn",
    "altair",
    "vl_convert",
    "jinja2",
    "tree_sitter",
)


def interpreter(code, *, without=HEAVY, cwd=None):
    """Runs ``code`` in a fresh interpreter in which some packages are not installed."""
    whole = WITHOUT.format(names=set(without)) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def test_a_blocked_package_cannot_be_imported() -> None:
    done = interpreter("import torch")
    assert done.returncode == 1
    assert "blocked" in done.stderr


FEDERATION = """
name = "small"
[privacy]
epsilon = 6
[[tasks]]
name = "completion"
rounds = 5
[[organizations]]
name = "acme"
source = "path:acme"
[[organizations]]
name = "globex"
source = "path:globex"
[[organizations]]
name = "hooli"
source = "path:hooli"
"""


def test_the_coordinator_runs_without_torch(tmp_path) -> None:
    (tmp_path / "federation.toml").write_text(FEDERATION)
    done = interpreter(
        """
        import sys
        sys.argv = ["fedcode-server", "plan", "federation.toml"]
        from fedcode_server.cli import main
        import fedcode.rounds.coordinator
        main()
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "small: 3 members" in done.stdout
    assert done.stderr == ""


def test_a_round_can_be_coordinated_without_torch() -> None:
    done = interpreter(
        """
        import numpy as np
        from fedcode.agreement import agree
        from fedcode.budgets import calibrated
        from fedcode.federation import parse
        from fedcode.rounds.coordinator import Coordinator, State
        from fedcode.transport.flower import member_app
        from fedcode.transport.in_memory import InMemoryGrid
        from fedcode.identity import Roster
        from fedcode.signing import SigningKey
        from fedcode.wire import Refusal, RefusalCode, encode, sign
        federation = parse('''FEDERATION''')
        noise = calibrated(federation).noise_multipliers[0]
        keys = {o.name: SigningKey.generate() for o in federation.members}
        coordinator = SigningKey.generate()
        roster = Roster("small", 1, "", coordinator.public,
                        tuple((name, key.public) for name, key in sorted(keys.items())))
        agreement = agree(federation, federation.tasks[0], fingerprint="0" * 64, start="1" * 64,
                          weights=3, noise_multiplier=noise, roster=roster)
        def refuse(name):
            refusal = Refusal(agreement.digest(), 1, name, RefusalCode.BUDGET)
            return member_app(lambda _: encode(sign(refusal, keys[name])))
        grid = InMemoryGrid({name: refuse(name) for name in agreement.roster.names})
        state, outcome = Coordinator(agreement, grid, grid.nodes, coordinator).run(
            State(0, np.zeros(3, np.float32)))
        assert outcome.refusals == dict.fromkeys(keys, "budget"), outcome
        assert state.round == 1
        assert state.spent == set(keys)
        """.replace("FEDERATION", FEDERATION.replace("\n", "\n        "))
    )
    assert done.returncode == 0, done.stderr


LIGHT = [
    "fedcode",
    "fedcode.agreement",
    "fedcode.certificates",
    "fedcode.cli",
    "fedcode.federation",
    "fedcode.identity",
    "fedcode.privacy.accountant",
    "fedcode.privacy.calibration",
    "fedcode.privacy.ledger",
    "fedcode.privacy.release",
    "fedcode.privacy.seeded",
    "fedcode.rounds.coordinator",
    "fedcode.rounds.member",
    "fedcode.secure_sum",
    "fedcode.start",
    "fedcode.services.serving",
    "fedcode.task",
    "fedcode.trainer",
    "fedcode.transport.flower",
    "fedcode.transport.in_memory",
    "fedcode.weights",
    "fedcode.wire",
    "fedcode_server.enrolment",
]


def test_the_core_needs_no_torch() -> None:
    """One interpreter for all: what is blocked stays blocked."""
    done = interpreter("\n".join(f"import {name}" for name in LIGHT))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["fedcode", "fedcode.cli", "fedcode_server.cli"])
def test_torch_is_not_loaded_though_it_is_there(name) -> None:
    code = f"import {name}, sys; print(sorted({set(HEAVY)} & set(sys.modules)))"
    assert interpreter(code, without=()).stdout == "[]\n"


def test_the_coordinator_reads_no_source_code() -> None:
    """Neither directly nor by way of another package: after a whole plan, no reader is loaded."""
    code = """
    import fedcode_server.cli, fedcode.rounds.coordinator, sys
    private = ("fedcode.corpus", "fedcode.tasks", "fedcode.training", "fedcode.models",
               "fedcode.simulation", "tokenize")
    print([name for name in sys.modules if name.startswith(private[:-1])])
    """
    assert interpreter(code, without=()).stdout == "[]\n"


def test_an_agent_does_not_load_seeded_noise() -> None:
    code = """
    import fedcode_client.cli, sys
    print([n for n in sys.modules if n.startswith(("fedcode.privacy.seeded", "fedcode.sim"))])
    """
    assert interpreter(code, without=()).stdout == "[]\n"


# What the source tree must not hold.

RUNNERS = {"eval", "exec", "compile", "__import__"}
LOADERS = {("torch", "load"), ("torch", "save"), ("np", "load"), ("numpy", "load")}
FORBIDDEN = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "runpy", "shelve"}


def runs_what_arrives(tree):
    """Line and name of everything in ``tree`` that could run what arrives."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.partition(".")[0] in FORBIDDEN]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.partition(".")[0] in FORBIDDEN:
                names = [module]
            names += [f"{module}.{a.name}" for a in node.names if (module, a.name) in LOADERS]
        elif isinstance(node, ast.Name) and node.id in RUNNERS:
            names = [node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            place = (node.value.id, node.attr)
            if place in LOADERS or (place[0] == "builtins" and node.attr in RUNNERS):
                names = [".".join(place)]
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            names = ["allow_pickle"]
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            names = ["shell"]
        for name in names:
            yield getattr(node, "lineno", 0), name


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ("eval('1')", "eval"),
        ("exec(text)", "exec"),
        ("run = eval", "eval"),
        ("import builtins; builtins.exec(text)", "builtins.exec"),
        ("compile(text, 'x', 'exec')", "compile"),
        ("__import__(name)", "__import__"),
        ("import pickle", "pickle"),
        ("import os, marshal as m", "marshal"),
        ("def f():\n    from joblib import load", "joblib"),
        ("from pickle import loads", "pickle"),
        ("import torch; torch.load(path)", "torch.load"),
        ("from torch import load", "torch.load"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("subprocess.run(text, shell=True)", "shell"),
    ],
)
def test_the_search_finds_what_is_planted(planted, name) -> None:
    assert name in [found for _, found in runs_what_arrives(ast.parse(planted))]


def test_the_search_leaves_the_rest_alone() -> None:
    harmless = """
    model.eval()
    re.compile("x")
    weights.load(path)
    text = "pickle eval("
    """
    assert not list(runs_what_arrives(ast.parse(textwrap.dedent(harmless))))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_that_arrives_is_ever_run(path) -> None:
    assert list(runs_what_arrives(ast.parse(path.read_text(encoding="utf-8")))) == []


def imported(path):
    """Every module that a file imports, however deep."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def test_flowers_internals_are_used_in_one_place_only() -> None:
    public = ("flwr.app", "flwr.clientapp", "flwr.serverapp")
    found = {
        str(path.relative_to(ROOT).parent)
        for path in SOURCES
        for name in imported(path)
        if name.partition(".")[0] == "flwr" and not name.startswith(public)
    }
    assert found == {"fedcode/transport/internals"}


def test_only_the_transport_and_the_rounds_know_flower() -> None:
    found = {
        path.parent.name
        for path in SOURCES
        for name in imported(path)
        if name.partition(".")[0] == "flwr"
    }
    assert found <= {"transport", "internals", "rounds"}


def test_the_secure_sum_opens_nothing() -> None:
    """No file, no output, no clock: messages in, messages out."""
    opening = {"open", "print", "input"}
    outside = {"io", "pathlib", "time", "datetime", "sys", "shutil", "socket", "sqlite3", "logging"}
    for path in SOURCES:
        if "secure_sum" not in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {node.func.id for node in ast.walk(tree)
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert not called & opening, path
        assert not {name.partition(".")[0] for name in imported(path)} & outside, path
        if path.name != "randomness.py":
            assert "os" not in set(imported(path)), path


def test_randomness_for_privacy_is_drawn_in_one_place() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if "os.urandom" in path.read_text(encoding="utf-8")
    }
    assert found == {
        "fedcode/privacy/noise.py",
        "fedcode/secure_sum/randomness.py",  # keys, seeds and polynomials of a sum
        "fedcode/certificates.py",  # an invitation's seed
        "fedcode/corpus/filters/denied.py",  # the salt of a list
        "client/fedcode_client/budget/remote.py",  # what names a request
        "client/fedcode_client/supernode.py",  # what a SuperNode's workers know it by
        "fedcode/privacy/ledger/outbox.py",  # the key and the nonces of what waits to be sent
    }


def test_every_file_names_its_licence() -> None:
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# SPDX-FileCopyrightText: "), path
        assert lines[1] == "# SPDX-License-Identifier: Apache-2.0", path


def test_every_folder_of_modules_is_a_package() -> None:
    """One without __init__ escapes the import contracts."""
    for folder in {path.parent for path in SOURCES}:
        assert (folder / "__init__.py").exists(), folder


def test_the_public_names_are_sorted_and_there() -> None:
    assert fedcode.__all__ == sorted(fedcode.__all__)
    assert len(fedcode.__all__) == len(set(fedcode.__all__))
    for name in fedcode.__all__:
        assert getattr(fedcode, name).__doc__, name


# The import contracts themselves.


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The source tree once more, to plant imports in."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            folder / Path(package).name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder):
    lint_imports = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [lint_imports, "--no-cache"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        timeout=120,
    )


def test_the_import_contracts_hold(copied) -> None:
    done = lint(copied)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("place", "planted", "contract"),
    [
        (
            "fedcode_server/plan.py",
            "import fedcode.corpus.reading",
            "The coordinator can neither read source code nor build a model",
        ),
        (
            "fedcode/wire/messages.py",
            "from fedcode.tasks import known",
            "What travels knows nothing of what is private",
        ),
        (
            "fedcode/services/enrolling.py",
            "import fedcode.corpus.reading",
            "What travels knows nothing of what is private",
        ),
        ("fedcode_client/desk.py", "import fedcode_server.plan", "Server and client never import"),
        ("fedcode/secure_sum/member.py", "import socket", "The secure sum does no I/O"),
        ("fedcode/secure_sum/keys.py", "import tempfile", "The secure sum does no I/O"),
        ("fedcode/weights.py", "import pickle", "Nothing that arrives is ever run"),
        (
            "fedcode_client/cli.py",
            "import fedcode.simulation.learners",
            "An agent cannot reach noise from a seed, nor a member without privacy",
        ),
        ("fedcode/privacy/policy.py", "import fedcode.rounds.member", "Each layer imports only"),
        ("fedcode/utils.py", "", "Each layer imports only"),
    ],
    ids=lambda value: value[:25],
)
def test_the_contracts_find_what_is_planted(copied, place, planted, contract) -> None:
    path = copied / place
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{planted}\n")
    try:
        done = lint(copied)
    finally:
        path.write_text(before) if before is not None else path.unlink()
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(contract) for line in broken), done.stdout
