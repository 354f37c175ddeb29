# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a member itself keeps of a sum: the signed proof of who survived, before it reveals."""

import pytest
from few_numbers import FOUR, agreement_of
from test_secure_rounds import federation_of

from fedcode.federation import AggregationSettings, TrainingSettings
from fedcode.rounds.verification import shown
from fedcode.storage import append_line

TWELVE = tuple("abcdefghijkl")
SUMS = TrainingSettings(kind="gradient-sum", sampling_rate=0.5, clipping_norm=0.1, nominal_batch=4)


@pytest.mark.parametrize("mode", ["secagg", "secagg-groups"])
def test_a_members_own_records_prove_who_survived(tmp_path, mode) -> None:
    roster, aggregation = FOUR, AggregationSettings(mode=mode)
    if mode == "secagg-groups":
        roster, aggregation = TWELVE, AggregationSettings(mode=mode, groups=3, rule="median")
    agreed = agreement_of(roster=roster, training=SUMS, aggregation=aggregation)
    federation = federation_of(agreed)
    files = {}
    for name, member in federation.members.items():
        files[name] = tmp_path / f"{name}.jsonl"
        member.confirmed = lambda proof, file=files[name]: append_line(file, proof)
    federation.run(2)
    for name, file in files.items():
        found = shown(file, agreed)
        assert [number for number, _ in found] == [1, 2]
        assert all(name in names and len(names) == 4 for _, names in found)
    cut = files["a"].read_text().replace("\n", "", 1)[:-20]  # two lines in one, and a half
    files["a"].write_text(cut)
    assert shown(files["a"], agreed) == []


def test_a_proof_is_there_before_shares_leave(tmp_path) -> None:
    agreed = agreement_of(roster=FOUR, training=SUMS, mode="secagg")
    federation = federation_of(agreed)

    def fails(_proof):
        raise OSError

    federation.members["a"].confirmed = fails
    _, (outcome,) = federation.run(1)
    assert isinstance(federation.members["a"].error, OSError)
    assert outcome.survivors == FOUR  # its term was in the sum; the others' shares are enough
