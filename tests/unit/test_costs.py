# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization's accounts still pay for, of what was agreed on."""

from few_numbers import agreement_of

from fedcode.privacy.accountant import price
from fedcode.privacy.ledger import Left
from fedcode_client.budget.totals import AccountTotals, Part
from fedcode_client.costs import rounds_left


def test_a_round_that_was_missed_was_not_charged_and_does_not_come_again() -> None:
    agreed = agreement_of(rounds=6, noise_multiplier=1.0)
    training = agreed.training
    each = price(4.0, 1.0, training.sampling_rate, training.steps_per_round)

    def left(nano: int, charges: int, last: int) -> tuple[int, int, int]:
        part = Part(charges * each, 1.0, charges, last)
        account = AccountTotals(
            asset="path:code",
            organization="a",
            unit=str(agreed.unit),
            delta=agreed.delta,
            order=4.0,
            epsilon_cap=8.0,
            epsilon_spent=1.0,
            budget_nano=10 * each,
            left_nano=nano,
            left=nano / (10 * each),
            charges=charges,
            seeded=False,
            caps=(Left("in all", None, 8.0, 10 * each, nano),),
            purposes={},
            months={},
            agreements={agreed.digest(): part},
        )
        (found,) = rounds_left([account], [agreed])
        return found.planned, found.charged, found.left

    assert left(9 * each, 3, 3) == (6, 3, 3)
    assert left(9 * each, 3, 4) == (6, 3, 2)  # one of four was missed
    assert left(9 * each, 5, 6) == (6, 5, 0)
    assert left(2 * each - 1, 3, 3) == (6, 3, 1)
