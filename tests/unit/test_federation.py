# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A federation's file: strict, and clear about what is wrong with it."""

import json

import pytest

from fedcode.budgets import calibrated
from fedcode.errors import ConfigError
from fedcode.federation import Federation, TrainingSettings, check, load, parse
from fedcode.record import PrivacyUnit
from fedcode.tasks import check_settings

SMALL = """
name = "small"
aggregation = { mode = "open" }
[[tasks]]
name = "completion"
[[organizations]]
name = "acme"
source = "path:acme"
"""

WHOLE = """
name = "whole"
purpose = "testing"
seed = 7
[privacy]
epsilon = 4
delta = 1e-6
[aggregation]
mode = "open"
[public]
source = "stdlib"
max_tokens = 1000
[[tasks]]
name = "completion"
rounds = 3
budget_share = 0.75
model = { vocabulary = 512, cell = "lstm" }
[tasks.training]
steps_per_round = 2
sampling_rate = 0.2
clipping = "normalized"
optimizer = "adam"
learning_rate = 1e-3
[tasks.server]
algorithm = "fedyogi"
[[tasks]]
name = "ngram"
budget_share = 0.25
[[organizations]]
name = "acme"
source = "path:acme"
epsilon = 2.0
[[organizations]]
name = "globex"
source = "wheel:../globex-1.0.whl"
[[organizations]]
name = "initech"
source = "package:initech"
role = "unseen"
"""


def test_few_lines_are_enough() -> None:
    federation = parse(SMALL)
    assert (federation.name, federation.privacy.epsilon) == ("small", 8.0)
    assert federation.privacy.unit is PrivacyUnit.FUNCTION
    assert [o.name for o in federation.members] == ["acme"]
    assert federation.tasks[0].training.steps_per_round == 1


def test_every_line_is_read() -> None:
    federation = parse(WHOLE)
    task = federation.tasks[0]
    assert (federation.purpose, federation.seed, federation.public.max_tokens) == (
        "testing",
        7,
        1000,
    )
    assert (task.rounds, task.budget_share, task.model["cell"]) == (3, 0.75, "lstm")
    assert (task.training.optimizer, task.server.algorithm) == ("adam", "fedyogi")
    assert [o.name for o in federation.members] == ["acme", "globex"]
    assert [federation.cap(o) for o in federation.organizations] == [2.0, 4.0, 4.0]


@pytest.mark.parametrize("clipping", ["flat", "per-layer", "normalized"])
def test_a_sum_of_gradients_may_be_clipped_by_what_all_members_know(clipping) -> None:
    text = with_task(SUM + f'clipping = "{clipping}"\nlearning_rate = 0.5')
    assert parse(text).tasks[0].training.kind == "gradient-sum"


def test_metrics_are_the_same_in_any_order() -> None:
    one, two = (
        parse(with_task(TRAINING + f"metrics = {names}")).tasks[0].training
        for names in ('["units", "loss"]', '["loss", "units"]')
    )
    assert one.metrics == ("loss", "units")
    assert one.agreed() == two.agreed()


@pytest.mark.parametrize(
    ("clipping", "metrics", "summed", "released"),
    [("flat", (), 100, 100), ("flat", ("loss",), 101, 101), ("adaptive", (), 101, 100),
     ("adaptive", ("loss", "units"), 103, 102)],
)  # fmt: skip
def test_votes_and_metrics_are_coordinates_and_only_metrics_leave(
    clipping, metrics, summed, released
) -> None:
    training = TrainingSettings(clipping=clipping, metrics=metrics)
    assert (training.coordinates(100), training.released(100)) == (summed, released)


def test_an_organizations_cap_only_lowers_the_federations() -> None:
    federation = parse(SMALL + "epsilon = 20.0")
    assert federation.cap(federation.members[0]) == 8.0


def test_a_stored_federation_is_the_same() -> None:
    federation = parse(WHOLE)
    assert check(json.loads(json.dumps(federation.model_dump(mode="json")))) == federation


def test_nothing_can_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(SMALL).privacy.epsilon = 100.0


def wrong(text, name="federation"):
    """The error that ``text`` is refused with, in one line and with a hint."""
    with pytest.raises(ConfigError) as found:
        parse(text, name)
    message = str(found.value)
    assert message.startswith(name)
    assert "\n" not in message
    assert not message.endswith(".")
    assert found.value.hint
    return message


TASK = '[[tasks]]\nname = "completion"\n'
MEASURED = """
[[organizations]]
name = "measured"
source = "path:/srv/measured"
role = "unseen"
[[organizations]]
name = "package"
source = "package:click"
role = "validation"
"""
TRAINING = "[tasks.training]\n"
SUM = TRAINING + 'kind = "gradient-sum"\n'


def with_top(line):
    return line + SMALL


def with_privacy(line):
    return SMALL.replace(TASK, f"[privacy]\n{line}\n{TASK}")


def with_public(source):
    return SMALL.replace(TASK, f'[public]\nsource = "{source}"\n{TASK}')


def of_sources(*sources):
    return SMALL.replace('"path:acme"', json.dumps(sources))


def with_task(lines):
    return SMALL.replace(TASK, TASK + lines + "\n")


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        (with_top("rouns = 3"), "rouns", "unknown key"),
        (with_task("epochs = 3"), "tasks.0.epochs", "unknown key"),
        (with_task(TRAINING + "sigma = 1.0"), "tasks.0.training.sigma", "unknown key"),
        (SMALL + "secret = true", "organizations.0.secret", "unknown key"),
        (with_task("rounds = 0"), "tasks.0.rounds", "greater than or equal to 1"),
        (with_task("rounds = 2.0"), "tasks.0.rounds", "valid integer"),
        (with_task('rounds = "2"'), "tasks.0.rounds", "valid integer"),
        (with_task("rounds = true"), "tasks.0.rounds", "valid integer"),
        (with_task("budget_share = 1.5"), "tasks.0.budget_share", "less than or equal to 1"),
        (with_task("budget_share = 0"), "tasks.0.budget_share", "greater than 0"),
        (with_task(TRAINING + "sampling_rate = 1.01"), "sampling_rate", "less than or equal to 1"),
        (with_task(TRAINING + "sampling_rate = 0"), "sampling_rate", "greater than 0"),
        (with_task(TRAINING + "sampling_rate = '0.5'"), "sampling_rate", "valid number"),
        (with_task(TRAINING + "clipping_norm = -1.0"), "clipping_norm", "greater than or equal to"),
        (with_task(TRAINING + "noise_multiplier = 0"), "noise_multiplier", "greater than 0"),
        (with_task(TRAINING + "noise_multiplier = nan"), "noise_multiplier", "finite"),
        (with_task(TRAINING + "learning_rate = inf"), "learning_rate", "finite"),
        (with_task(TRAINING + "proximal = inf"), "proximal", "finite"),
        (with_task(TRAINING + "momentum = 1.0"), "momentum", "less than 1"),
        (with_task(TRAINING + 'clipping = "median"'), "clipping", "'flat', 'per-layer'"),
        (with_task(TRAINING + 'optimizer = "lion"'), "optimizer", "'sgd', 'adam' or 'adam-bc'"),
        (with_task(TRAINING + 'kind = "gradient"'), "kind", "'local-steps' or 'gradient-sum'"),
        (with_task(SUM + "steps_per_round = 2"), "tasks.0.training", "set steps_per_round = 1"),
        (with_task(SUM + 'optimizer = "adam"'), "tasks.0.training", "no local step"),
        (with_task(SUM + "momentum = 0.9"), "tasks.0.training", "no local step"),
        (with_task(SUM + "proximal = 0.1"), "tasks.0.training", "no local step"),
        (with_task(SUM + 'clipping = "adaptive"'), "tasks.0.training", "cannot be adaptive"),
        (with_task(TRAINING + 'metrics = ["accuracy"]'), "metrics.0", "'units' or 'loss'"),
        (with_task(TRAINING + 'metrics = ["loss", "loss"]'), "metrics", "named twice"),
        (with_task(TRAINING + "loss_clip = 0"), "loss_clip", "greater than or equal to 0.000001"),
        (with_task(TRAINING + "loss_clip = 1e308"), "loss_clip", "less than or equal to"),
        (
            SMALL.replace('"open" }', '"open", colluding = 100 }'),
            "aggregation.colluding",
            "less than 100",
        ),
        (with_task('[tasks.server]\nalgorithm = "krum"'), "tasks.0.server.algorithm", "'fedavg'"),
        (with_top("seed = -1"), "seed", "greater than or equal to 0"),
        (with_top("seed = 4294967296"), "seed", "less than 4294967296"),
        (with_top("heldout_every = 1"), "heldout_every", "greater than or equal to 2"),
        (with_privacy('unit = "person"'), "privacy.unit", "'file', 'author' or 'repository'"),
        (with_privacy("epsilon = 0"), "privacy.epsilon", "greater than 0"),
        (with_privacy("epsilon = -1"), "privacy.epsilon", "greater than 0"),
        (with_privacy("epsilon = nan"), "privacy.epsilon", "finite"),
        (with_privacy("epsilon = inf"), "privacy.epsilon", "finite"),
        (with_privacy("epsilon = true"), "privacy.epsilon", "valid number"),
        (with_privacy("delta = 0"), "privacy.delta", "greater than 0"),
        (with_privacy("delta = 1"), "privacy.delta", "less than 1"),
        (SMALL + "epsilon = 0.0", "organizations.0.epsilon", "greater than 0"),
        (SMALL + "max_tokens = 0", "organizations.0.max_tokens", "greater than or equal to 1"),
        (SMALL + 'role = "member"', "organizations.0.role", "'train'"),
        (SMALL.replace("path:acme", "acme"), "organizations.0.source", "should be "),
        (SMALL.replace("path:acme", "path:"), "organizations.0.source", "should be "),
        (SMALL.replace("path:acme", "start"), "organizations.0.source", "should be "),
        (of_sources(), "organizations.0.source", "the list is empty"),
        (of_sources("path:a", "b"), "organizations.0.source", "or a list of them"),
        (of_sources("path:a", "stdlib"), "organizations.0.source", "or a list of them"),
        (SMALL.replace('"path:acme"', "3"), "organizations.0.source", "should be git:DIR"),
        (SMALL.replace('"path:acme"', '["path:a", 3]'), "organizations.0.source", "should be git:"),
        (of_sources("path:a", "own"), "organizations.0.source", '"own" is a source alone'),
        (of_sources("path:a", "table:b"), "organizations.0.source", "a table is a source alone"),
        (of_sources("git:a", "path:b", "git:a"), "organizations.0.source", "git:a is named twice"),
        (with_public("own"), "public.source", "should be "),
        (SMALL.replace('"acme"', '"../acme"'), "organizations.0.name", "should be "),
        (SMALL.replace('name = "small"\n', ""), "name", "field required"),
        (SMALL.replace(TASK, ""), "tasks", "field required"),
        (SMALL.replace(TASK, "tasks = []\n"), "federation", "there is no task"),
        (SMALL.replace(TASK, "tasks = 3\n"), "tasks", "list"),
        ('name = "x"\n' + TASK, "organizations", "field required"),
        (SMALL + 'role = "unseen"', "federation", "no organization has the role train"),
        (
            SMALL + '[[organizations]]\nname = "acme"\nsource = "package:b"',
            "federation",
            "organization acme is named twice",
        ),
        (SMALL + TASK, "federation", "task completion is named twice"),
        (
            WHOLE.replace("budget_share = 0.25", "budget_share = 0.26"),
            "federation",
            "budget_share add up to more than 1",
        ),
    ],
    ids=lambda value: value.splitlines()[0][:30] if value else "",
)
def test_what_cannot_be_is_refused_with_its_place(text, place, reason) -> None:
    message = wrong(text)
    assert place in message
    assert reason in message
    assert "more)" not in message


def test_several_mistakes_are_counted() -> None:
    assert wrong(with_top("a = 1\nb = 2\n")).endswith("(and 1 more)")


@pytest.mark.parametrize("text", ["name = ", "name = 'a'\nname = 'b'", "= 3", "[[x]", "\x00"])
def test_what_is_not_toml_is_refused_with_its_line(text) -> None:
    assert "is not TOML" in wrong(text)


def test_the_file_is_named(tmp_path) -> None:
    path = tmp_path / "federation.toml"
    path.write_text("name = 3\n")
    with pytest.raises(ConfigError, match=r"federation\.toml: name: input should be"):
        load(path)


def test_paths_are_taken_from_the_files_folder(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    path = folder / "federation.toml"
    path.write_text(WHOLE.replace('source = "stdlib"', 'source = "path:public"'))
    monkeypatch.chdir(tmp_path)
    federation = load(path)
    assert [o.source for o in federation.organizations] == [
        f"path:{folder}/acme",
        f"wheel:{tmp_path}/globex-1.0.whl",
        "package:initech",
    ]
    assert federation.public.source == f"path:{folder}/public"
    assert isinstance(federation, Federation)


def test_an_organization_may_have_several_sources(tmp_path) -> None:
    path = tmp_path / "federation.toml"
    path.write_text(of_sources("git:billing.git@2024-01-31", "path:../old", "package:ours"))
    federation = load(path)
    (acme,) = federation.organizations
    anchored = f"git:{tmp_path}/billing.git@2024-01-31", f"path:{tmp_path.parent}/old"
    assert acme.source == acme.sources == acme.assets == (*anchored, "package:ours")
    assert check(json.loads(json.dumps(federation.model_dump(mode="json")))) == federation
    path.write_text(of_sources("path:old", "path:x/../old"))
    with pytest.raises(ConfigError, match=r"source of acme: path:.*old is named twice") as no:
        load(path)
    assert no.value.hint


def test_a_list_of_one_source_is_that_source() -> None:
    assert parse(of_sources("path:acme")) == parse(SMALL)
    (acme,) = parse(SMALL).organizations
    assert (acme.sources, acme.assets) == (("path:acme",), ("path:acme",))


def test_no_source_of_several_is_published_that_lies_here() -> None:
    unseen = 'role = "unseen"\n[[organizations]]\nname = "member"\nsource = "path:m"\n'
    told = parse(of_sources("package:a", "path:/srv/b") + unseen).published()
    assert [o.source for o in told.organizations] == ["own", "own"]
    packages = parse(of_sources("package:a", "package:b") + unseen).published()
    assert packages.organizations[0].source == ("package:a", "package:b")
    assert "/srv" not in told.model_dump_json()


def test_an_organization_need_not_say_where_its_code_lies() -> None:
    federation = parse(SMALL.replace('source = "path:acme"\n', ""))
    assert federation.organizations[0].source == "own"
    with pytest.raises(ConfigError, match="only its own agent knows where the code of acme") as no:
        federation.check_sources()
    assert "acme a source" in no.value.hint
    federation.check_public()
    parse(SMALL).check_sources()


def test_what_is_published_names_nobodys_code() -> None:
    """But for what everybody can have: installed packages that are measured."""
    federation = parse(WHOLE + MEASURED)
    told = federation.published()
    assert "/srv" not in told.model_dump_json()
    assert {o.source for o in told.members} == {"own"}
    assert {o.max_tokens for o in told.members} == {None}
    others = {o.name: o.source for o in told.organizations if o.role != "train"}
    assert others["measured"] == "own"
    assert others["package"] == "package:click"
    assert told.published() == told
    assert [o.name for o in told.organizations] == [o.name for o in federation.organizations]
    assert calibrated(told) == calibrated(federation)
    assert told.model_copy(update={"organizations": federation.organizations}) == federation


def test_a_public_folder_is_published_as_what_lies_in_the_start_files() -> None:
    told = parse(with_public("path:/srv/public")).published()
    assert told.public.source == "start"
    with pytest.raises(ConfigError, match="the public corpus lies in the start files"):
        told.check_public()
    assert parse(with_public("stdlib")).published().public.source == "stdlib"


def test_a_whole_path_stays_as_it_is(tmp_path) -> None:
    path = tmp_path / "federation.toml"
    path.write_text(SMALL.replace("path:acme", "path:/srv/acme"))
    assert load(path).organizations[0].source == "path:/srv/acme"


def test_a_file_that_cannot_be_read_is_named(tmp_path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.toml", tmp_path, binary):
        with pytest.raises(ConfigError, match="cannot be read") as found:
            load(path)
        assert str(path) in str(found.value)
        assert found.value.hint


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("completion", {"dropout": "0.1"}),
        ("completion", {"dropout": 1.0}),
        ("defects", {"guessing": "0.4"}),
        ("defects", {"guessing": -0.1}),
    ],
)
def test_a_tasks_numbers_are_numbers(task, settings) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        check_settings(task, settings)
