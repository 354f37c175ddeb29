# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A model is loaded with its card, and with no other weights, vocabulary or version."""

import json
import shutil

import numpy as np
import pytest
from cards import card_of, write_model

from fedcode.card import Card, digest_of_file
from fedcode.corpus import parse
from fedcode.errors import ConfigError, RunError
from fedcode.record import Corpus
from fedcode.report.model_card import render
from fedcode.tasks import TASKS
from fedcode.training import network
from fedcode.use.model import load
from fedcode.weights import load_tensors, save_tensors

SETTINGS = {"vocabulary": 300, "embedding": 8, "hidden": 8}
CODE = "def add(one, other):\n    total = one + other\n    return total\n"
PUBLIC = Corpus("public", (parse("a.py", CODE * 3),))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(
        tmp_path_factory.mktemp("models") / "completion", "completion", SETTINGS, PUBLIC
    )


def test_a_model_is_loaded_as_it_was_saved(model) -> None:
    found = load(model, "ngram", "completion")
    assert found.card == Card.load(model)
    saved = load_tensors(model / "weights.safetensors")
    assert saved.keys() == network.tensors(found.network).keys()
    for name, values in network.tensors(found.network).items():
        np.testing.assert_array_equal(values, saved[name])


def test_another_task_is_refused(model) -> None:
    with pytest.raises(ConfigError, match="is a model of completion"):
        load(model, "defects")


@pytest.mark.parametrize("name", ["weights.safetensors", "public.corpus"])
def test_one_changed_byte_is_refused(model, tmp_path, name) -> None:
    folder = shutil.copytree(model, tmp_path / "copy")
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(RunError, match=r"not (the file that the card names|what was written)"):
        load(folder, "completion")


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors", "public.corpus"])
def test_a_missing_file_is_refused(model, tmp_path, name) -> None:
    folder = shutil.copytree(model, tmp_path / "copy")
    (folder / name).unlink()
    with pytest.raises(RunError, match=r"has no card|cannot be read"):
        load(folder, "completion")


def test_a_card_of_other_settings_or_of_another_task_is_refused(model, tmp_path) -> None:
    plain = json.loads((model / "card.json").read_text(encoding="utf-8"))
    changes = (
        {"settings": {**SETTINGS, "hidden": 9}},
        {"fingerprint": "0" * 64},
    )
    for number, change in enumerate(changes):
        folder = shutil.copytree(model, tmp_path / str(number))
        (folder / "card.json").write_text(json.dumps(plain | change), encoding="utf-8")
        with pytest.raises(RunError, match="another version"):
            load(folder, "completion")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{" * 9999, '{"form": "fedcode/model/2"}', "\ud800"]
)
def test_what_is_no_card_is_one_error(model, tmp_path, text) -> None:
    folder = shutil.copytree(model, tmp_path / "copy")
    (folder / "card.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RunError, match=r"no card"):
        load(folder, "completion")


def test_weights_that_are_not_finite_are_refused(model, tmp_path) -> None:
    folder = shutil.copytree(model, tmp_path / "copy")
    tensors = load_tensors(folder / "weights.safetensors")
    next(iter(tensors.values())).flat[0] = np.nan
    save_tensors(folder / "weights.safetensors", tensors)
    plain = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    plain["weights"] = digest_of_file(folder / "weights.safetensors")
    (folder / "card.json").write_text(json.dumps(plain), encoding="utf-8")
    with pytest.raises(RunError, match="not finite"):
        load(folder, "completion")


def test_the_page_says_what_the_card_says(model) -> None:
    page = render(Card.load(model))
    for words in ("For tests.", "None &amp; all.", "Nobody &lt;lies&gt;.", "5.88", "9.123", "1e−5"):
        assert words in page
    assert Card.load(model).weights in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_of_a_model_without_privacy_says_so() -> None:
    digests = ("0" * 64, "1" * 64, "2" * 64)
    page = render(card_of("completion", SETTINGS, *digests, protection=None, rows=()))
    assert "no privacy" in page
    assert "Nothing was measured." in page


def test_every_task_says_what_it_is_for() -> None:
    for name, entry in TASKS.items():
        assert entry.intended.endswith("."), name
        assert all(limit.endswith(".") for limit in entry.limits), name
