# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What was erased, and who opted out: never trained on, and no list says who or what."""

from __future__ import annotations

import json
import pickle

import pytest
from test_corpus_history import ANN, BOB, Repository

from fedcode.corpus import Screen, cache_folder, forget, read, without_authors
from fedcode.corpus.filters import Denied, Erased, digest, new_salt, opted_out
from fedcode.errors import ConfigError, CorpusError
from fedcode.filters import SWITCHES, FilterSettings

OFF = FilterSettings(**dict.fromkeys(SWITCHES, False))
CODE = "import os\n\n\ndef f(x):\n    return x + {n}\n\n\ndef g(x):\n    return x * {n}\n"


@pytest.fixture
def root(tmp_path):
    for n, path in enumerate(("a.py", "lib/b.py", "lib/c.py", "other/d.py")):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(CODE.replace("{n}", str(n)))
    return tmp_path


def erased(*pairs):
    made = Erased(new_salt())
    for what, name in pairs:
        made = made.having(what, name)
    return made.denied()


def left(root, denied):
    """Deny wins also where all other filters are off."""
    corpus = read(f"path:{root}", "o", screen=Screen(OFF, erased=denied))
    return [str(r.unit) for r in corpus.records()], corpus.taken


def test_a_unit_a_file_and_a_folder_are_erased(root):
    units, taken = left(
        root, erased(("unit", "a.py::f"), ("file", "lib/b.py"), ("repository", "other"))
    )
    assert units == [
        "a.py::g",
        "a.py::<module>",
        "lib/c.py::f",
        "lib/c.py::g",
        "lib/c.py::<module>",
    ]
    assert [(t.path, t.filter, t.name, t.reason) for t in taken] == [
        ("a.py", "erased", "(erased)", "unit"),
        ("lib/b.py", "erased", "", "file"),
        ("other/d.py", "erased", "", "file"),
    ]
    units, _ = left(root, erased(("unit", "a.py::<module>")))
    assert "a.py::<module>" not in units
    assert "a.py::f" in units
    with pytest.raises(CorpusError, match="filters leave nothing"):
        left(root, erased(("repository", "")))


def test_erased_tokens_are_in_no_file(root):
    corpus = read(f"path:{root}", "o", screen=Screen(OFF, erased=erased(("unit", "a.py::g"))))
    assert "*" not in corpus.files[0].tokens
    assert sum(len(r.tokens) for r in corpus.files[0].records) == len(corpus.files[0].tokens)


def test_the_cache_knows_the_list_and_the_policy(root, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def units(screen):
        corpus = read(f"path:{root}", "o", cache=cache, screen=screen)
        assert read(f"path:{root}", "o", cache=cache, screen=screen) == corpus
        return len(corpus.records()), len(corpus.taken)

    (root / "a.py").write_text("# Author: Ann Lee\n" + (root / "a.py").read_text())
    gone = erased(("unit", "a.py::f"))
    assert units(None) == (12, 0)
    assert units(Screen()) == (12, 1)
    assert units(Screen(erased=gone)) == (11, 2)
    assert units(Screen(FilterSettings(personal=False))) == (12, 0)
    assert len(list((cache / "corpus").iterdir())) == 4
    forget(cache)
    assert not list((cache / "corpus").iterdir())
    forget(cache / "nothing")


def test_a_screen_travels_between_processes():
    screen = Screen(
        FilterSettings(secrets=False), frozenset({"Ann"}), erased(("file", "a")), Denied()
    )
    assert pickle.loads(pickle.dumps(screen)) == screen
    assert "Ann" not in screen.key()


def test_the_list_is_whole_or_not_there_and_says_nothing(tmp_path):
    path = tmp_path / "erased.json"
    first = Erased.load(path)
    assert first.digests == ()
    again = first.having("author", "Ann@Firm.com").having("unit", "a.py::secret_name")
    again.save(path)
    assert Erased.load(path) == again == Erased.load(path).having("author", "ann@firm.com ")
    text = path.read_text().lower()
    assert "ann" not in text
    assert "secret_name" not in text
    assert again.denied().holds("author", "ANN@firm.com")
    assert not again.denied().holds("file", "ann@firm.com")
    assert (
        Erased(new_salt()).having("file", "a").digests
        != Erased(new_salt()).having("file", "a").digests
    )
    for damage in ("", "[]", "{}", text.replace("fedcode-erased/1", "x"), json.dumps(
        {"format": "fedcode-erased/1", "salt": "0", "digests": []}
    ), json.dumps({"format": "fedcode-erased/1", "salt": "0" * 32, "digests": ["x"]})):  # fmt: skip
        path.write_text(damage)
        with pytest.raises(ConfigError, match="not what was written"):
            Erased.load(path)


def test_who_opted_out_stands_in_plain_or_as_a_digest(tmp_path):
    path = tmp_path / "opted-out.txt"
    assert not opted_out(path)
    salt = new_salt()
    path.write_text(f"# people\n\nAnn@firm.com\n{salt}:{digest(salt, 'author', 'bob@firm.com')}\n")
    denied = opted_out(path)
    assert denied.holds("author", "ann@firm.com")
    assert denied.holds("author", "Bob@firm.com")
    assert not denied.holds("author", "eve@firm.com")
    path.write_text("ann\n")
    with pytest.raises(ConfigError, match=r"line 1: neither"):
        opted_out(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        opted_out(path)


@pytest.fixture
def repository(tmp_path):
    """Ann wrote a.py, Bob b.py; in c.py, which is Ann's, Bob wrote g."""
    made = Repository(tmp_path / "code")
    ours = ("def f(x):", "    y = x + 1", "    z = y + 2", "    return z", "", "")
    theirs = ("def g(x):", "    return x * 9")
    made.commit(ANN, a=("a = 1", "b = 2"), c=ours)
    made.commit(BOB, b=("c = 3", "d = 4"), c=(*ours, *theirs))
    (tmp_path / "code" / "new.py").write_text("e = 5\n")
    return made


@pytest.mark.parametrize(("name", "field"), [("opted_out", "opted_out"), ("erased", "erased")])
def test_files_and_functions_of_an_author_go(repository, name, field):
    source = f"path:{repository.root}"
    screen = Screen(**{field: erased(("author", BOB.upper()))})
    assert screen.asks_for_authors
    assert not Screen().asks_for_authors
    corpus = without_authors(read(source, "o"), source, screen.author)
    assert [str(r.unit) for r in corpus.records()] == [
        "a.py::<module>",
        "c.py::f",
        "new.py::<module>",
    ]
    assert [(t.filter, t.path, t.name, t.reason) for t in corpus.taken] == [
        (name, "b.py", "", "main-author"),
        (name, "c.py", "g", "main-author"),
    ]
    assert "*" not in corpus.files[1].tokens
    everybody = Screen(**{field: erased(("author", ANN), ("author", BOB))})
    (repository.root / "new.py").unlink()
    with pytest.raises(CorpusError, match="is left"):
        without_authors(read(source, "o"), source, everybody.author)


def test_who_is_on_no_list_loses_nothing(repository):
    source = f"path:{repository.root}"
    corpus = read(source, "o")
    assert without_authors(corpus, source, erased_of("eve@example.org")) is corpus
    assert without_authors(corpus, "package:x", erased_of(BOB)) is corpus


def erased_of(address):
    return Screen(erased=erased(("author", address))).author


def test_a_cache_folder_is_named():
    assert cache_folder()
