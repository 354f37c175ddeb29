# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Two sources of an organization never hold the same file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fedcode.corpus.identity import register
from fedcode.corpus.own import read_own
from fedcode.errors import CorpusError

CODE = "def {name}(a, b):\n    for x in range(a):\n        b = b + x * a\n    return b\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two folders and two commits, of which the second is tagged ``later``."""
    root = tmp_path / "whole"
    for folder in ("lib", "tools"):
        (root / folder).mkdir(parents=True)
        (root / folder / "code.py").write_text(CODE.format(name=folder), encoding="utf-8")
    _git(root, "init", "-q")
    _git(root, "add", ".")
    _git(root, "commit", "-q", "-m", "first")
    (root / "lib" / "code.py").write_text(CODE.format(name="other") * 2, encoding="utf-8")
    _git(root, "commit", "-q", "-am", "second")
    _git(root, "tag", "later")
    return root


def _git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *words], cwd=root, check=True)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("git:{}", "git:{}@later~1"),
        ("git:{}", "path:{}"),
        ("git:{}", "path:{}/lib"),
        ("path:{}/lib", "path:{}"),
        ("path:{}", "path:{}/../copy"),
    ],
)
def test_files_in_common_are_refused(repository: Path, one: str, two: str) -> None:
    shutil.copytree(repository, repository.parent / "copy")
    sources = [one.format(repository), two.format(repository)]
    with pytest.raises(CorpusError, match="files in common"):
        read_own("acme", sources)


def test_so_are_folders_without_history_of_which_one_is_in_the_other(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    with pytest.raises(CorpusError, match="in common"):
        read_own("acme", [f"path:{repository}", f"path:{repository}/tools"])


def test_a_registration_of_its_own_parts_no_folder_from_the_one_that_it_is_in(
    repository: Path,
) -> None:
    shutil.rmtree(repository / ".git")
    assert register(repository / "tools") != register(repository)
    with pytest.raises(CorpusError, match="in common"):
        read_own("acme", [f"path:{repository}", f"path:{repository}/tools"])


def test_folders_beside_one_another_are_a_list(repository: Path) -> None:
    parts = read_own("acme", [f"path:{repository}/lib", f"path:{repository}/tools"])
    assert [part.label for part in parts] == ["lib", "tools"]
    shutil.rmtree(repository / ".git")
    assert len(read_own("acme", [f"path:{repository}/lib", f"path:{repository}/tools"])) == 2
