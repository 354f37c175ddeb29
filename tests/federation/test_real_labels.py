# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whole simulations on labels of tables: classes of a table, and functions that were read."""

import json
import random

from safetensors.numpy import load_file
from small import write_code
from test_simulation import fedcode

from fedcode.corpus import read

AGGREGATION = '[aggregation]\nmode = "secagg"\n[privacy]\ndelta = 1e-3\n'


def write_classes(path):
    """Classes of four projects, of which those that never close a file are defective."""
    draw = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for project in ("ant", "ivy", "poi", "new"):
            for number in range(60):
                calls = draw.choices(["open", "read", "log"], k=draw.randint(2, 12))
                good = draw.random() < 0.6
                row = {
                    "project": project, "class": f"org.{project}.C{number}", "bugs": 2 - 2 * good,
                    "tokens": [f"c:{c}" for c in (*calls, *(["close"] * 4 if good else []))],
                    "loc": 10 * len(calls), "wmc": len(calls),
                }  # fmt: skip
                file.write(f"{json.dumps(row)}\n")


def test_a_deep_belief_network_on_classes_of_a_table(tmp_path) -> None:
    write_classes(tmp_path / "classes.jsonl")
    write_code(tmp_path / "public", 1, files=2)
    model = 'model = { words = 16, folders = 4, features = ["wmc"], hidden = [8] }\n'
    training = (
        '[tasks.training]\nkind = "gradient-sum"\nsampling_rate = 0.5\nnominal_batch = 30\n'
        'clipping = "normalized"\n'
    )
    organizations = "".join(
        f'[[organizations]]\nname = "{name}"\nsource = "table:classes.jsonl"\n'
        f'rows = {{ project = ["{name}"] }}\nrole = "{"unseen" if name == "new" else "train"}"\n'
        for name in ("ant", "ivy", "poi", "new")
    )
    (tmp_path / "f.toml").write_text(
        f'name = "tables"\n{AGGREGATION}[public]\nsource = "path:public"\n'
        '[labels]\nkind = "table"\n[columns]\nkind = "class"\nname = "class"\nlabel = "bugs"\n'
        'lines = "loc"\nast = "tokens"\nfeatures = ["wmc"]\n'
        f'[[tasks]]\nname = "belief-1"\nrounds = 2\nbudget_share = 0.2\n{model}{training}'
        "[tasks.warm_start]\nepochs = 0.0\n[tasks.plain]\nepochs = 5.0\n"
        '[[tasks]]\nname = "defects-belief"\ncontinues = "belief-1"\nrounds = 4\n'
        f"budget_share = 0.8\n{model}{training}learning_rate = 2.0\n"
        f"[tasks.plain]\nepochs = 60.0\nlearning_rate = 0.02\n{organizations}",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    done = fedcode(tmp_path / "cache", "simulate", tmp_path / "f.toml", "--compare", "--out", out)
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    _, task = result["tasks"]
    arms = {arm["title"]: arm for arm in task["arms"]}
    assert arms["centralized, no privacy"]["unseen"]["auc"]["mean"] > 0.9
    assert len(task["curves"]) == 4
    before, after = (
        load_file(out / "models" / one / "weights.safetensors")
        for one in ("belief-1", "defects-belief")
    )
    assert before.keys() == after.keys()
    assert (before["machines.0.visible_bias"] == after["machines.0.visible_bias"]).all(), (
        "what the second phase leaves alone is what the first one has made of it"
    )
    assert before["machines.0.visible_bias"].any()
    assert (before["layers.0.weight"] != after["layers.0.weight"]).any()
    assert not before["head.weight"].any()
    assert after["head.weight"].any()
    charges = {row["organization"]: row for row in result["ledger"]}
    assert set(charges) == {"ant", "ivy", "poi"}
    assert all(row["charges"] == 6 and row["epsilon_spent"] <= 8 for row in charges.values())


def test_the_encoder_of_functions_on_labels_of_a_table(tmp_path) -> None:
    rows = ["who,path,name,label", "alpha,module_0.py,gone,1"]
    for seed, name in enumerate(("alpha", "beta", "gamma", "public", "delta")):
        write_code(tmp_path / name, seed, files=4)
        if name != "public":
            rows += [
                f"{name},{record.path},{record.name},{int('-' in record.tokens)}"
                for record in read(f"path:{tmp_path / name}", name).records("function")
            ]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    organizations = "".join(
        f'[[organizations]]\nname = "{name}"\nsource = "path:{name}"\nrole = "{role}"\n'
        for name, role in (("alpha", "train"), ("beta", "train"), ("gamma", "train"),
                           ("delta", "unseen"))
    )  # fmt: skip
    (tmp_path / "f.toml").write_text(
        f'name = "labels"\n{AGGREGATION}[public]\nsource = "path:public"\n'
        '[labels]\nkind = "table"\ntable = "labels.csv"\n'
        'columns = { path = "path", repository = "who" }\n'
        '[[tasks]]\nname = "defects"\nrounds = 2\nmodel = { vocabulary = 300, embedding = 8, '
        "hidden = 8, head = 8, pointer = 4 }\n[tasks.training]\nsampling_rate = 0.5\n"
        f"nominal_batch = 15\n[tasks.warm_start]\nepochs = 0.0\n{organizations}",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    done = fedcode(tmp_path / "cache", "simulate", tmp_path / "f.toml", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "1 rows of labels.csv name no function that was read" in done.stderr
    assert "module_0.py::gone" in done.stderr.replace("\n", " ")
    task = json.loads((out / "result.json").read_text(encoding="utf-8"))["tasks"][0]
    private = next(arm for arm in task["arms"] if arm["title"] == "federated, private")
    assert 0 <= private["unseen"]["auc"]["mean"] <= 1
