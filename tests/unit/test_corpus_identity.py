# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An asset is what it is, whatever it is called and wherever it lies."""

import shutil
import subprocess
import zipfile

import pytest

from fedcode.corpus import asset_of, register
from fedcode.corpus.identity import REGISTERED
from fedcode.errors import CorpusError


def git(folder, *words):
    settings = ("user.name=ada", "user.email=ada@example.org", "init.defaultBranch=main")
    pairs = [word for setting in settings for word in ("-c", setting)]
    done = subprocess.run(
        ["git", "-C", str(folder), *pairs, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "ours"
    (folder / "src").mkdir(parents=True)
    git(folder, "init")
    (folder / "src" / "a.py").write_text("def f(): pass\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


def of(folder):
    return asset_of(f"path:{folder}")


def test_a_repository_is_its_first_commit(repository, tmp_path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    assert of(repository) == of(repository / "src") == f"git:{first}"
    (repository / "b.py").write_text("x = 1\n", encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    git(tmp_path, "clone", str(repository), "a fork")
    git(tmp_path / "a fork", "commit", "--allow-empty", "-m", "of the fork")
    moved = repository.rename(tmp_path / "moved")
    shutil.copytree(moved, tmp_path / "copied")
    assert {of(tmp_path / name) for name in ("a fork", "moved", "copied")} == {f"git:{first}"}


def test_another_history_that_is_merged_changes_nothing(repository) -> None:
    before = of(repository)
    git(repository, "checkout", "--orphan", "other")
    git(repository, "commit", "-m", "another first")
    git(repository, "checkout", "main")
    git(repository, "merge", "--allow-unrelated-histories", "-s", "ours", "-m", "both", "other")
    assert of(repository) == before


def test_a_history_that_is_cut_off_is_refused(repository, tmp_path) -> None:
    git(repository, "commit", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "--depth", "1", f"file://{repository}", "cut")
    with pytest.raises(CorpusError, match="is cut off"):
        of(tmp_path / "cut")


def test_a_folder_keeps_the_number_that_it_was_given(tmp_path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    with pytest.raises(CorpusError, match="no history and is not registered") as caught:
        of(folder)
    assert "--register" in caught.value.hint
    given = register(folder)
    assert given == register(folder) == of(folder)
    assert given.startswith("folder:")
    moved = folder.rename(tmp_path / "moved")
    (moved / "more.py").write_text("x = 1\n", encoding="utf-8")
    assert of(moved) == given
    other = tmp_path / "other"
    other.mkdir()
    assert register(other) != given


def test_a_folder_of_a_named_folder_is_that_one(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    given = register(tmp_path)
    assert register(tmp_path / "sub") == of(tmp_path / "sub") == given
    assert not (tmp_path / "sub" / REGISTERED).exists()


def test_what_is_no_folder_is_refused(tmp_path) -> None:
    for act in (of, register):
        with pytest.raises(CorpusError, match="is no folder"):
            act(tmp_path / "none")


def test_a_repository_needs_no_number(repository) -> None:
    assert register(repository / "src") == of(repository)
    assert not (repository / "src" / REGISTERED).exists()
    assert register(repository) == of(repository)
    assert not (repository / REGISTERED).exists()


def test_a_folder_of_repositories_is_several_assets(repository) -> None:
    for act in (of, register):
        with pytest.raises(CorpusError, match="holds repositories, ours for one"):
            act(repository.parent)


def test_a_number_that_was_changed_is_refused(tmp_path) -> None:
    register(tmp_path)
    (tmp_path / REGISTERED).write_text("1\n", encoding="ascii")
    with pytest.raises(CorpusError, match="is not what was written"):
        of(tmp_path)


@pytest.fixture
def wheel(tmp_path):
    """A wheel of scikit-learn that somebody has given another name."""
    path = tmp_path / "renamed-2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scikit_learn-1.0.dist-info/METADATA", "Name: Scikit.Learn\n")
    return path


def test_a_package_is_its_distribution(wheel) -> None:
    sources = ("package:Scikit_Learn", "package:scikit-learn", "package:sklearn", f"wheel:{wheel}")
    assert {asset_of(source) for source in sources} == {"package:scikit-learn"}
    assert asset_of("package:Not.Installed") == "package:not-installed"


def test_a_wheel_that_is_none_is_refused(tmp_path) -> None:
    (tmp_path / "a.whl").write_bytes(b"no zip")
    for name in ("a.whl", "none.whl"):
        with pytest.raises(CorpusError, match="no wheel that says its name"):
            asset_of(f"wheel:{tmp_path / name}")


def test_a_repository_that_holds_another_is_several_assets(repository, tmp_path) -> None:
    git(tmp_path, "clone", str(repository), "other")
    inner = (tmp_path / "other").rename(repository / "src" / "inner")
    for source in (repository, repository / "src"):
        with pytest.raises(CorpusError, match="holds repositories"):
            of(source)
    assert of(inner).startswith("git:")


@pytest.mark.parametrize("source", ["stdlib", "path:", "package:", "svn:x", ""])
def test_what_is_no_source_is_refused(source) -> None:
    with pytest.raises(CorpusError, match="is no organization's source") as caught:
        asset_of(source)
    assert caught.value.hint
