# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import sys
import zipfile
from importlib.machinery import ModuleSpec

import pytest

from fedcode.corpus import read
from fedcode.corpus.files import LONGEST_FILE
from fedcode.corpus.sources import Entry, contents, find
from fedcode.errors import CorpusError

BOMB = "raise SystemExit('this must never run')\n"


def write(folder, files):
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def wheel(file, members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return f"wheel:{file}"


def paths(listing):
    return sorted(listing.entries)


def reasons(listing_or_corpus):
    return {s.path: s.reason for s in listing_or_corpus.skipped}


def test_tests_documentation_and_vendored_code_are_left_out(tmp_path):
    kept = ["p/a.py", "p/latest.py", "p/contest.py", "p/documents/a.py"]
    left_out = [
        *("p/tests/a.py", "test/a.py", "p/testing/x/a.py", "docs/conf.py", "doc/a.py"),
        *("examples/a.py", "p/example/a.py", "vendor/a.py", "p/_vendor/x/a.py", "third_party/a.py"),
        *(
            "p/test_a.py",
            "p/a_test.py",
            "p/test.py",
            "p/tests.py",
            "conftest.py",
            "p/a.pyi",
            "p/a.txt",
        ),
    ]
    elsewhere = [".hidden/a.py", "env/lib/a.py", "p/__pycache__/a.py", "node_modules/a.py"]
    write(tmp_path, dict.fromkeys([*kept, *left_out, *elsewhere, "env/pyvenv.cfg"], "x"))
    assert paths(find(f"path:{tmp_path}")) == sorted(kept)
    members = [(path, "x") for path in [*kept, *left_out]]
    assert paths(find(wheel(tmp_path / "w.whl", members))) == sorted(kept)


def test_what_is_left_out_of_other_languages(tmp_path):
    kept = ["src/main/App.java", "src/Latest.java", "a/Contest.java", "web/app.ts", "lib/spec.rb",
            "cmd/main.go", "src/lib.rs", "p/build/a.py", "p/dist/a.py", "a.min.ts"]  # fmt: skip
    left_out = [
        *("src/test/App.java", "a/AppTest.java", "a/AppTests.java", "a/AppIT.java", "TestApp.java"),
        *("a/app_test.go", "a/app.test.ts", "a/app.spec.tsx", "__tests__/a.js", "a/app_spec.rb"),
        *("spec/a.rb", "target/a.java", "build/a.js", "dist/a.js", "a/app-test.js", "a/app.min.js"),
        *("a/app.d.ts", "a/app.pb.go", "testdata/a.go", "vendor/a.go", "node_modules/a/b.js"),
        *(".venv/a.js", "a/Form.Designer.cs"),
    ]
    write(tmp_path, dict.fromkeys([*kept, *left_out, "a/notes.txt"], "x"))
    assert paths(find(f"path:{tmp_path}")) == sorted(kept)


def test_a_package_is_read_as_python_alone(tmp_path):
    members = [("p/a.py", "x"), ("p/b.js", "x"), ("p/c.c", "x")]
    assert paths(find(wheel(tmp_path / "w.whl", members))) == ["p/a.py"]
    assert {path.rpartition(".")[2] for path in paths(find("stdlib"))} == {"py"}


def test_links_are_not_followed_and_those_that_lead_astray_are_named(tmp_path):
    outside = write(tmp_path / "outside", {"secret.py": "x"})
    root = write(tmp_path / "root", {"a.py": "x", "real/b.py": "y"})
    (root / "loop").symlink_to(root)
    (root / "real" / "up").symlink_to("..")
    (root / "self.py").symlink_to("self.py")
    (root / "nothing.py").symlink_to("gone.py")
    (root / "out").symlink_to(outside)
    (root / "out.py").symlink_to(outside / "secret.py")
    (root / "inside").symlink_to("real")
    (root / "inside.py").symlink_to("a.py")
    (root / "notes").symlink_to(outside / "notes.txt")
    listing = find(f"path:{root}")
    assert paths(listing) == ["a.py", "real/b.py"]
    assert reasons(listing) == {
        "loop": "symbolic link in a loop",
        "real/up": "symbolic link in a loop",
        "self.py": "symbolic link in a loop or to nothing",
        "nothing.py": "symbolic link in a loop or to nothing",
        "out": "symbolic link out of the folder",
        "out.py": "symbolic link out of the folder",
    }


def test_a_linked_root_is_read(tmp_path):
    write(tmp_path / "root", {"a.py": "x"})
    (tmp_path / "link").symlink_to("root")
    assert paths(find(f"path:{tmp_path / 'link'}")) == ["a.py"]


def test_every_kind_of_bad_file_is_named_and_none_is_fatal(tmp_path, monkeypatch):
    write(
        tmp_path,
        {
            "good.py": "x = 1\n",
            "again.py": "x  =  1  # the same\n",
            "empty.py": "",
            "syntax.py": "x = = 1\n",
            "encoding.py": b"\n\n\n# \xff\n",
            "huge.py": "x\n" * LONGEST_FILE,
            "larger.py": "x\n" * (3 * LONGEST_FILE),
            "closed.py": "y",
        },
    )
    os.mkfifo(tmp_path / "pipe.py")
    write(tmp_path, {os.fsdecode(b"\xff.py"): "z", "line\nbreak.py": "z"})
    forbid(monkeypatch, tmp_path / "closed.py")
    corpus = read(f"path:{tmp_path}", "o")
    assert [f.path for f in corpus] == ["again.py"]
    assert reasons(corpus) == {
        "good.py": "same tokens as again.py",
        "syntax.py": "syntax error in line 1",
        "encoding.py": "not decodable as utf-8",
        "huge.py": "over 200,000 characters",
        "larger.py": "over 200,000 characters",
        "closed.py": "unreadable (PermissionError)",
        "pipe.py": "not a regular file",
        "'\\udcff.py'": "its name is not printable, or there twice",
        "'line\\nbreak.py'": "its name is not printable, or there twice",
    }


def forbid(monkeypatch, file):
    """As a file without permission is to everybody but root."""
    opened = os.open

    def refuse(path, *args, **kwargs):
        if str(path) == str(file):
            raise PermissionError
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    write(tmp_path, {"a.py": "x", "closed/b.py": "y"})
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = find(f"path:{tmp_path}")
    assert paths(listing) == ["a.py"]
    assert reasons(listing) == {"closed": "unreadable folder (PermissionError)"}


def test_a_wheel_is_read_in_place_and_its_paths_stay_inside(tmp_path):
    bad = ["../", "/", "p/../../", "C:/", "p//", "./", "..\\"]
    members = [("p/a.py", "x = 1"), *[(f"{folder}b.py", "x") for folder in bad]]
    source = wheel(tmp_path / "p.whl", [*members, ("p-1.dist-info/METADATA", "Name: p")])
    before = sorted(tmp_path.rglob("*"))
    corpus = read(source, "o")
    assert [f.path for f in corpus] == ["p/a.py"]
    assert reasons(corpus) == {f"{folder}b.py": "its path leads out of the wheel" for folder in bad}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_read_once(tmp_path):
    corpus = read(wheel(tmp_path / "p.whl", [("a.py", "x"), ("a.py", "y")]), "o")
    assert len(corpus.files) == 1
    assert reasons(corpus) == {"a.py": "its name is not printable, or there twice"}


def test_a_damaged_member_is_named(tmp_path):
    source = wheel(tmp_path / "p.whl", [("a.py", "x = 1\n"), ("b.py", "y = 2\n" * 50)])
    raw = bytearray((tmp_path / "p.whl").read_bytes())
    raw[raw.index(b"b.py") + 6] ^= 0xFF
    (tmp_path / "p.whl").write_bytes(raw)
    assert reasons(read(source, "o")) == {"b.py": "damaged in its archive"}


def test_a_member_larger_than_any_source_is_not_unpacked(tmp_path):
    source = wheel(tmp_path / "p.whl", [("a.py", "x"), ("bomb.py", b" " * 50_000_000)])
    assert reasons(read(source, "o")) == {"bomb.py": "over 200,000 characters"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_package_is_found_without_being_imported(site):
    write(site, {"loud/__init__.py": BOMB, "loud/sub/a.py": BOMB + "x", "loud/tests/b.py": "x"})
    assert paths(find("package:loud")) == ["loud/__init__.py", "loud/sub/a.py"]
    assert len(read("package:loud", "o").files) == 2
    assert "loud" not in sys.modules


def test_a_single_module_and_a_namespace_package(site):
    write(site, {"alone.py": BOMB, "space/part/a.py": BOMB})
    assert paths(find("package:alone")) == ["alone.py"]
    assert paths(find("package:space")) == ["space/part/a.py"]


def test_a_distribution_gives_what_it_installed(site):
    record = ["dashed/a.py,,", "other.py,,", "../../bin/run.py,,", "dashed/tests/b.py,,"]
    write(
        site,
        {
            "dashed/a.py": BOMB,
            "dashed/left_behind.py": "x",
            "other.py": BOMB + "x",
            "dashed_name-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: dashed-name\n",
            "dashed_name-1.0.dist-info/RECORD": "\n".join(record) + "\n",
        },
    )
    assert paths(find("package:dashed-name")) == ["dashed/a.py", "other.py"]


def test_an_editable_installation_is_read_where_it_lies(site, tmp_path, monkeypatch):
    write(
        site,
        {
            "__editable___mine_finder.py": "x",
            "mine-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine\n",
            "mine-1.0.dist-info/RECORD": "__editable___mine_finder.py,,\n",
        },
    )
    write(tmp_path / "checkout", {"mine/a.py": BOMB})
    monkeypatch.syspath_prepend(str(tmp_path / "checkout"))
    assert paths(find("package:mine")) == ["mine/a.py"]


@pytest.mark.parametrize("spec", [None, ModuleSpec("odd", None)])
def test_a_module_of_which_nothing_is_known(monkeypatch, spec):
    odd = type(sys)("odd")
    odd.__spec__ = spec
    monkeypatch.setitem(sys.modules, "odd", odd)
    with pytest.raises(CorpusError, match="no package odd"):
        find("package:odd")


def test_the_standard_library_without_tests_and_programs():
    found = paths(find("stdlib"))
    assert {"argparse.py", "asyncio/events.py", "json/decoder.py"} <= set(found)
    folders = {part for path in found for part in path.split("/")[:-1]}
    assert folders.isdisjoint(
        {"test", "tests", "idlelib", "site-packages", "lib2to3", "turtledemo"}
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("git:", "unknown source"),
        ("git:x", "x is not there"),
        ("package:", "unknown source"),
        ("stdlib:x", "unknown source"),
        ("package:not-there-at-all", "no package not-there-at-all"),
        ("package:sys", "no package sys"),
        ("package:../x", "is not a package's name"),
        ("package:os.path", r"no package os\.path"),
        ("wheel:/nowhere.whl", "is not there"),
        (f"wheel:{__file__}", "is not a wheel"),
        ("path:/nowhere", "is not a folder"),
        (f"path:{__file__}", "is not a folder"),
    ],
)
def test_sources_that_are_not_there(source, message):
    with pytest.raises(CorpusError, match=message) as caught:
        read(source, "o")
    assert caught.value.hint


def test_sources_that_hold_nothing(tmp_path):
    with pytest.raises(CorpusError, match="no source files"):
        read(f"path:{tmp_path}", "o")
    write(tmp_path, {"a.py": "x = = 1"})
    with pytest.raises(CorpusError, match=r"\(1 skipped\)") as caught:
        read(f"path:{tmp_path}", "o")
    assert "a.py: syntax error in line 1" in caught.value.hint


def test_a_file_that_vanishes_before_it_is_read(tmp_path):
    ((_, reason),) = contents([Entry("a.py", str(tmp_path / "a.py"))])
    assert reason == "unreadable (FileNotFoundError)"
