# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which secure sums count for the ε of the sums: all of which there could be a total."""

from types import SimpleNamespace

import numpy as np
from small import write_federation

from fedcode.budgets import calibrated
from fedcode.federation import load
from fedcode.privacy.ledger import BudgetLedger
from fedcode.rounds.transcript import Summed
from fedcode.simulation.arms import Arm, Bench, Noise


def test_what_members_have_confirmed_counts_though_no_line_tells_of_it(tmp_path) -> None:
    """After a kill in mid-round, say: their own ledgers know."""
    federation = load(write_federation(tmp_path))
    training = federation.tasks[0].training.model_copy(update={"kind": "gradient-sum"})
    noise = Noise(calibrated(federation), 1.0)
    settings = federation.tasks[0].model_copy(update={"training": training})
    learner = SimpleNamespace(start=lambda: np.zeros(3, np.float32))
    bench = Bench(federation, settings, None, learner, "0" * 64, "1" * 64, [], noise, 1)
    arm = Arm("federated", ("alpha", "beta", "delta"))
    line = {"round": 1, "sums": [{"survivors": list(arm.members), "threshold": 3}]}
    told = line["sums"][0] | {"confirmations": ["", "", ""]}
    with BudgetLedger.open(":memory:") as ledger:
        for organization in federation.members:
            ledger.open_simulated(
                organization.source,
                organization=organization.name,
                unit=federation.privacy.unit,
                budget=noise.calibration.filter,
            )
        asset, digest = federation.members[0].source, bench.agreement(arm).digest()
        for number in (1, 2):
            ledger.latch(asset, digest, number, "survivors", "ab")
            ledger.latch(asset, digest, number, "keys", "ab")
        assert ledger.latched(asset, digest, "survivors") == {1, 2}
        found = bench.summed(arm, [line | {"sums": [told]}], ledger)
        assert found == [
            Summed(arm.members, 1.0, 0.3, 1, None),
            Summed(("alpha",), 1.0, 0.3, 1, 3),
        ]
        assert (
            len(bench.summed(arm, [line | {"sums": [told | {"confirmations": []}]}], ledger)) == 2
        )
