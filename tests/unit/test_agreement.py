# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What members sign: the same bytes for the same agreement, and noise that reaches the end."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from fedcode.agreement import Agreement, agree
from fedcode.budgets import calibrated
from fedcode.errors import BudgetExhausted, ConfigError
from fedcode.federation import AggregationSettings, ServerSettings, TrainingSettings, parse
from fedcode.identity import Roster
from fedcode.privacy.ledger import BudgetLedger

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "agreement.json").read_text())

FEDERATION = parse("""
name = "whole"
aggregation = { mode = "open" }
purpose = "ein Zweck mit Ümläut"
[privacy]
epsilon = 4
delta = 1e-6
[[tasks]]
name = "completion"
rounds = 12
budget_share = 0.6
[tasks.training]
steps_per_round = 3
sampling_rate = 0.05
clipping = "normalized"
[tasks.server]
algorithm = "fedadam"
learning_rate = 0.01
[[tasks]]
name = "ngram"
rounds = 1
budget_share = 0.1
[[tasks]]
name = "defects"
rounds = 40
budget_share = 0.3
[tasks.training]
sampling_rate = 0.2
[[organizations]]
name = "globex"
source = "path:/srv/globex"
[[organizations]]
name = "acme"
source = "path:/srv/acme"
[[organizations]]
name = "initech"
source = "path:/srv/initech"
role = "unseen"
""")


ROSTER = Roster("whole", 1, "", "cc" * 32, (("acme", "aa" * 32), ("globex", "bb" * 32)))


def agreement(**changes):
    made = agree(
        FEDERATION,
        FEDERATION.tasks[0],
        fingerprint="0f" * 32,
        start="1e" * 32,
        weights=12345,
        noise_multiplier=1.25,
        roster=ROSTER,
    )
    return dataclasses.replace(made, **changes)


def test_the_golden_vector() -> None:
    """Other bytes are another agreement: members that signed the old one would refuse."""
    assert agreement().canonical() == VECTOR["canonical"].encode()
    assert agreement().digest() == VECTOR["digest"]
    whole = b"fedcode/agreement/3\x00" + VECTOR["canonical"].encode()
    assert hashlib.sha256(whole).hexdigest() == VECTOR["digest"]


def test_the_bytes_are_canonical() -> None:
    data = agreement().canonical()
    values = json.loads(data)
    assert json.dumps(values, sort_keys=True, separators=(",", ":")).encode() == data
    assert data.isascii()
    assert values["roster"]["members"] == [["acme", "aa" * 32], ["globex", "bb" * 32]]


def test_it_names_nothing_private() -> None:
    assert b"/srv" not in agreement().canonical()
    assert set(json.loads(agreement().canonical())) == {
        f.name for f in dataclasses.fields(Agreement)
    }


def test_the_order_of_the_file_does_not_matter() -> None:
    turned = FEDERATION.model_copy(update={"organizations": FEDERATION.organizations[::-1]})
    again = agree(
        turned,
        turned.tasks[0],
        fingerprint="0f" * 32,
        start="1e" * 32,
        weights=12345,
        noise_multiplier=1.25,
        roster=ROSTER,
    )
    assert again.digest() == agreement().digest()


OTHER = {
    "federation": "other",
    "purpose": "other",
    "task": "ngram",
    "task_fingerprint": "00" * 32,
    "start": "00" * 32,
    "weights": 12346,
    "rounds": 13,
    "roster": Roster("whole", 1, "", "cc" * 32, (("acme", "aa" * 32),)),
    "unit": "file",
    "epsilon": 4.000000001,
    "delta": 1.1e-6,
    "noise_multiplier": 1.2500001,
    "training": TrainingSettings(sampling_rate=0.05),
    "server": ServerSettings(),
    "aggregation": AggregationSettings(mode="open-robust"),
}


def test_every_field_is_signed() -> None:
    assert OTHER.keys() == {f.name for f in dataclasses.fields(Agreement)}
    digests = {agreement(**{name: value}).digest() for name, value in OTHER.items()}
    assert len(digests | {agreement().digest()}) == len(OTHER) + 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(value) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        agreement(epsilon=value).digest()


def pay(ledger, task, noise, budget, number):
    training = task.training
    cost = budget.cost(noise, training.sampling_rate, training.steps_per_round)
    return ledger.charge(
        cost, asset="code", agreement=task.name, purpose="research", task=task.name, round=number
    )


def test_calibrated_noise_reaches_the_last_round_of_every_task_and_no_further() -> None:
    calibration = calibrated(FEDERATION)
    with BudgetLedger.open(":memory:") as ledger:
        ledger.open_simulated(
            "code",
            organization="acme",
            unit=FEDERATION.privacy.unit,
            budget=calibration.filter,
        )
        for task, noise in zip(FEDERATION.tasks, calibration.noise_multipliers, strict=True):
            for number in range(1, task.rounds + 1):
                pay(ledger, task, noise, calibration.filter, number)
            share = task.budget_share * calibration.filter.budget_nano
            spent = ledger.spent("code", task.name)
            assert 0.98 * share < spent <= share
            assert spent / task.rounds * (task.rounds + 1) > share
        for task, noise in zip(FEDERATION.tasks, calibration.noise_multipliers, strict=True):
            with pytest.raises(BudgetExhausted):
                pay(ledger, task, noise, calibration.filter, task.rounds + 1)
        assert 0.5 * FEDERATION.privacy.epsilon < ledger.epsilon("code") <= 4.0


def test_every_member_finds_the_same_noise() -> None:
    """It depends on nothing that only one of them knows."""
    alone = FEDERATION.model_copy(update={"organizations": FEDERATION.organizations[:1]})
    assert calibrated(alone) == calibrated(FEDERATION)


def test_noise_that_is_written_down_is_kept() -> None:
    training = TrainingSettings(noise_multiplier=7.5)
    task = FEDERATION.tasks[0].model_copy(update={"training": training})
    federation = FEDERATION.model_copy(update={"tasks": (task, *FEDERATION.tasks[1:])})
    assert calibrated(federation).noise_multipliers[0] == 7.5


def test_a_budget_that_buys_nothing_is_refused() -> None:
    privacy = FEDERATION.privacy.model_copy(update={"epsilon": 1e-9})
    with pytest.raises(ConfigError) as found:
        calibrated(FEDERATION.model_copy(update={"privacy": privacy}))
    assert found.value.hint
