# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Weights as one vector, as bytes on disk, and as a digest."""

import hashlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from fedcode.errors import RunError, TrainingError
from fedcode.weights import Layout, digest, load_tensors, save_tensors

TENSORS = {
    "embedding": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bias": np.array([7.0], np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.array(8.0, np.float32),
}

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@settings(deadline=None, derandomize=True)
@given(SHAPES, st.data())
def test_flat_and_back(shapes, data) -> None:
    tensors = {
        f"t{i}": data.draw(arrays.arrays(np.float32, s, elements=st.floats(width=32)))
        for i, s in enumerate(shapes)
    }
    layout = Layout.of(tensors)
    vector = layout.flatten(tensors)
    assert vector.shape == (layout.size,)
    assert vector.dtype == np.float32
    back = layout.unflatten(vector)
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name], tensor)
        assert back[name].shape == tensor.shape


def test_the_vector_is_in_the_layouts_order() -> None:
    vector = Layout.of(TENSORS).flatten(TENSORS)
    np.testing.assert_array_equal(vector, [0, 1, 2, 3, 4, 5, 7, 8])


def test_tensors_that_are_not_contiguous_are_read_in_their_own_order() -> None:
    turned = {"t": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    np.testing.assert_array_equal(Layout.of(turned).flatten(turned), [0, 3, 1, 4, 2, 5])


def test_unflattened_tensors_are_views() -> None:
    vector = np.zeros(8, np.float32)
    Layout.of(TENSORS).unflatten(vector)["bias"][0] = 3.0
    assert vector[6] == 3.0


@pytest.mark.parametrize(
    "other",
    [
        {"bias": TENSORS["bias"]},
        dict(reversed(TENSORS.items())),
        TENSORS | {"bias": np.zeros(2, np.float32)},
        TENSORS | {"more": np.zeros(2, np.float32)},
        {k.upper(): v for k, v in TENSORS.items()},
    ],
    ids=["fewer", "order", "shape", "more", "names"],
)
def test_tensors_of_another_layout_are_refused(other) -> None:
    with pytest.raises(TrainingError, match="names and shapes"):
        Layout.of(TENSORS).flatten(other)


@pytest.mark.parametrize("shape", [(7,), (9,), (8, 1), (2, 4), ()])
def test_a_vector_of_another_length_is_refused(shape) -> None:
    with pytest.raises(TrainingError, match="8 weights was expected"):
        Layout.of(TENSORS).unflatten(np.zeros(shape, np.float32))


def test_the_digest_is_of_little_endian_float32() -> None:
    vector = np.array([1.0, -2.5], np.float32)
    assert digest(vector) == hashlib.sha256(b"\x00\x00\x80\x3f\x00\x00\x20\xc0").hexdigest()
    assert digest(vector.astype(">f4")) == digest(vector)
    assert digest(np.repeat(vector, 2)[::2]) == digest(vector)
    assert digest(np.nextafter(vector, np.float32(9))) != digest(vector)
    assert digest(np.array([0.0], np.float32)) != digest(np.array([-0.0], np.float32))


def test_what_was_saved_is_loaded(tmp_path) -> None:
    path = tmp_path / "folder" / "weights.safetensors"
    save_tensors(path, TENSORS | {"turned": TENSORS["embedding"].T})
    found = load_tensors(path)
    np.testing.assert_array_equal(found.pop("turned"), TENSORS["embedding"].T)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(found[name], tensor)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, TENSORS)
    before = path.read_bytes()

    def full(_handle):
        raise OSError("no space left on device")

    monkeypatch.setattr("fedcode.storage.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_tensors(path, {"bias": np.ones(5, np.float32)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def damaged(data, how):
    return {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "short": data[:-1],
        "long": data + b"\x00",
        "header": data[:8] + b"x" + data[9:],
        "length": b"\xff" * 8 + data[8:],
        "pickle": b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.",
    }[how]


@pytest.mark.parametrize("how", ["empty", "cut", "short", "long", "header", "length", "pickle"])
def test_a_damaged_file_is_refused(tmp_path, how) -> None:
    path = tmp_path / "weights.safetensors"
    save_tensors(path, TENSORS)
    path.write_bytes(damaged(path.read_bytes(), how))
    with pytest.raises(RunError, match="cannot be read as safetensors") as found:
        load_tensors(path)
    assert found.value.hint
    assert "\n" not in str(found.value)


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(RunError, match="cannot be read") as found:
            load_tensors(path)
        assert str(path) in str(found.value)
